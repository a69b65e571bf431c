//! The two ends of a tunnel: OSPF and BFD.

use std::fmt::Display;

use super::{
    files::NodeFile,
    keys,
    misfit::{Misfits, Says},
    pairs::End,
};
use crate::{
    bfd,
    types::{Ospf, OspfNetwork, TunnelOspf},
};

/// Adds what keeps the two from becoming neighbours, or from staying it.
pub(super) fn compare(found: &mut Misfits, one: &End<'_>, other: &End<'_>) {
    let subject = format!("tunnel {}", one.tunnel.name);
    let (a, b) = match (one.tunnel.ospf, other.tunnel.ospf) {
        (None, None) => return,
        (Some(_), None) => return one_sided(found, &subject, one, other),
        (None, Some(_)) => return one_sided(found, &subject, other, one),
        (Some(a), Some(b)) => (a, b),
    };
    of_the_tunnel(found, &subject, (one, a), (other, b));
    if let (Some(a), Some(b)) = (&one.file.config().ospf, &other.file.config().ospf) {
        of_the_nodes(found, (one.file, a), (other.file, b));
    }
    keys::ospf(found, one, other);
    if a.bfd.is_some() && b.bfd.is_some() {
        keys::bfd(found, one, other);
    }
}

/// OSPF at `with` only.
fn one_sided(found: &mut Misfits, subject: &str, with: &End<'_>, without: &End<'_>) {
    let what = format!(
        "{subject}: OSPF runs at {}, but not at {}",
        with.file.name(),
        without.file.name()
    );
    let path = without.file.path().display();
    let remedy = match without.file.config().ospf {
        Some(_) => format!(
            "write `ospf = true` in {path}, or `ospf = false` in {}",
            with.file.path().display()
        ),
        None => format!(
            "add to {path} a line `[ospf]`, and below it a `router_id` that no other node has; or write \
             `ospf = false` in {}",
            with.file.path().display()
        ),
    };
    let places = [with, without].map(|end| end.file.spot(&[end.key("ospf")]));
    found.add("ospf", places, what, remedy);
}

/// What a tunnel says by itself, or `[ospf]` for all.
fn of_the_tunnel(
    found: &mut Misfits,
    subject: &str,
    (one, a): (&End<'_>, TunnelOspf),
    (other, b): (&End<'_>, TunnelOspf),
) {
    let quoted = |text: &dyn Display| format!("\"{text}\"");
    let areas = (quoted(&a.area), quoted(&b.area));
    found.same(
        "area",
        subject,
        inherited(one, "area", areas.0),
        inherited(other, "area", areas.1),
    );
    if a.area == b.area {
        let [left, right] = [one, other].map(|end| stub(end.file, a));
        found.same("stub", &format!("area {}", a.area), left, right);
    }
    let network = |ospf: TunnelOspf| match ospf.network {
        OspfNetwork::PointToPoint => "\"point-to-point\"",
        OspfNetwork::Broadcast => "\"broadcast\"",
    };
    found.same(
        "ospf-network",
        subject,
        one.says("ospf_network", network(a)),
        other.says("ospf_network", network(b)),
    );
    // The intervals are agreed upon by BFD itself (RFC 5880 6.8.3, 6.8.4).
    if a.bfd.is_some() != b.bfd.is_some() {
        let value = |ospf: TunnelOspf| quoted(&bfd::text(ospf.bfd));
        found.same(
            "bfd",
            subject,
            inherited(one, "bfd", value(a)),
            inherited(other, "bfd", value(b)),
        );
    }
}

/// What a tunnel says by a key that `[ospf]` has for all.
fn inherited<'a>(end: &End<'a>, key: &'static str, value: String) -> Says<'a> {
    Says {
        places: vec![end.key(key), format!("ospf.{key}")],
        ..end.says(key, value)
    }
}

/// Whether the area is a stub area at this node; both must say the same (RFC 2328 section 10.5, the E bit).
fn stub(file: &NodeFile, ospf: TunnelOspf) -> Says<'_> {
    let areas = &file.config().ospf_areas;
    let index = areas.iter().position(|area| area.area == ospf.area);
    let places = match index {
        Some(index) => vec![
            format!("ospf_areas[{index}].stub"),
            format!("ospf_areas[{index}]"),
        ],
        None => vec!["ospf.area".to_owned()],
    };
    let is_stub = index.is_some_and(|index| areas[index].config.stub);
    Says {
        file,
        places,
        key: "stub",
        value: is_stub.to_string(),
    }
}

/// What `[ospf]` says for all tunnels.
fn of_the_nodes(found: &mut Misfits, (one, a): (&NodeFile, &Ospf), (other, b): (&NodeFile, &Ospf)) {
    let mut same = |id, key: &'static str, left: &dyn Display, right: &dyn Display| {
        let says = |file, value: &dyn Display| Says {
            file,
            places: vec![format!("ospf.{key}")],
            key,
            value: value.to_string(),
        };
        found.same(id, "OSPF", says(one, left), says(other, right));
    };
    let hello = (a.hello_interval, b.hello_interval);
    same("hello-interval", "hello_interval", &hello.0, &hello.1);
    let dead = (a.dead_interval, b.dead_interval);
    same("dead-interval", "dead_interval", &dead.0, &dead.1);
    let instance = (a.instance_id, b.instance_id);
    same("instance-id", "instance_id", &instance.0, &instance.1);
    match (a.ipv4, b.ipv4) {
        (Some(left), Some(right)) => same("ipv4-instance-id", "ipv4_instance_id", &left, &right),
        (left, right) => same("ipv4", "ipv4", &left.is_some(), &right.is_some()),
    }
}
