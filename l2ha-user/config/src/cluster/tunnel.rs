//! `[[tunnels]]` of one node, and the keys of each.

use std::net::IpAddr;

use crate::{names, report::Place, section::Section};

use super::{
    derive::Public,
    keys::Keys,
    schema::{OWN, SHARED},
    source::inline,
    types::{Cluster, Member, Role, UNDERLAY_MTUS},
    writer::Writer,
};

/// Writes the tunnel between a member and its peer, as the member has it.
pub(crate) fn tunnel(
    writer: &mut Writer<'_>,
    cluster: &Cluster<'_>,
    (member, peer): (&Member<'_>, &Member<'_>),
    keys: &Keys,
    public: &Public,
) {
    let Some(remote) = remote(member, peer) else {
        return;
    };
    let pair = cluster.pair(member.name, peer.name);
    let here = pair.map_or_else(|| peer.place.clone(), |pair| pair.place.clone());
    writer.line(&here, "\n[[tunnels]]");
    writer.line(&here, &format!("name = \"{}\"", peer.name));
    if names::VISIBLE.len() + peer.name.len() > names::LONGEST {
        let begin: String = peer.name.chars().take(5).collect();
        let digits = public.interface_digits(peer.name);
        writer.line(
            &here,
            &format!("interface = \"{}{begin}-{digits}\"", names::VISIBLE),
        );
    }
    writer.line(&here, &format!("remote = \"{remote}\""));
    for (key, of) in [("local_port", member), ("remote_port", peer)] {
        if let Some((text, place)) = setting(of, "port") {
            writer.line(&place, &format!("{key} = {text}"));
        }
    }
    let (send, receive) = (
        public.session_id(member.name, peer.name),
        public.session_id(peer.name, member.name),
    );
    writer.line(&here, &format!("session_id = {receive}"));
    writer.line(&here, &format!("peer_session_id = {send}"));
    edge(writer, &here, peer, public);
    secrets(writer, &here, cluster, (member, peer), keys);
    for key in SHARED {
        let found = pair
            .and_then(|pair| value(pair, key))
            .or_else(|| setting(member, key))
            .or_else(|| setting(peer, key));
        if let Some((text, place)) = found {
            writer.line(&place, &format!("{key} = {text}"));
        }
    }
    for key in OWN {
        let found = pair.and_then(|pair| value(pair, key));
        if let Some((text, place)) = found.or_else(|| setting(member, key)) {
            writer.line(&place, &format!("{key} = {text}"));
        }
    }
    if let Some((text, place)) = pair.and_then(|pair| value(pair, "mtu")) {
        writer.line(&place, &format!("mtu = {text}"));
    } else if let (Some(one), Some(other)) =
        (underlay_mtu(cluster, member), underlay_mtu(cluster, peer))
    {
        let udp = !is(cluster, (member, peer), "encapsulation", "\"ip\"");
        let mtu = one.min(other).saturating_sub(overhead(remote, udp));
        writer.line(&here, &format!("mtu = {mtu}"));
    }
}

/// Writes what is taken from a peer by its role: of a client its own addresses, of a gateway its networks too.
fn edge(writer: &mut Writer<'_>, here: &Place, peer: &Member<'_>, public: &Public) {
    if peer.role == Role::Server {
        return;
    }
    let router_id = setting(peer, "router_id").map_or_else(
        || format!("\"{}\"", public.router_id(peer.name)),
        |(text, _)| text,
    );
    writer.line(here, &format!("peer_router_id = {router_id}"));
    let mut prefixes = format!("\"{}/128\"", public.address(peer.name));
    if let Some((text, _)) = setting(peer, "ipv4") {
        prefixes.push_str(&format!(", \"{}/32\"", text.trim_matches('"')));
    }
    if let Some((text, _)) = setting(peer, "prefixes") {
        let inside = text.trim_start_matches('[').trim_end_matches(']');
        if !inside.trim().is_empty() {
            prefixes.push_str(&format!(", {inside}"));
        }
    }
    writer.line(here, &format!("peer_prefixes = [{prefixes}]"));
}

/// Writes the cookies and keys of a tunnel, and the former ones while the secret is changed.
fn secrets(
    writer: &mut Writer<'_>,
    here: &Place,
    cluster: &Cluster<'_>,
    (member, peer): (&Member<'_>, &Member<'_>),
    keys: &Keys,
) {
    let bfd = !is(cluster, (member, peer), "bfd", "\"off\"");
    let shared = keys.pair(cluster, member, peer);
    for (keys, (age, ending)) in shared.iter().zip([("", ""), ("_previous", ".old")]) {
        let mut file = |what: &str, key: &str, text| {
            let name = format!("{}.{what}{ending}", peer.name);
            writer.file(here, &format!("{key}{age}_file"), name, text);
        };
        file(
            "receive",
            "receive_cookie",
            keys.cookie(peer.name, member.name),
        );
        file("send", "send_cookie", keys.cookie(member.name, peer.name));
        if cluster.authentication {
            file("ospf", "ospf_key", keys.ospf());
            writer.line(here, &format!("ospf_key{age}_id = {}", keys.sa_id()));
        }
        if cluster.authentication && bfd {
            writer.file(
                here,
                &format!("bfd_key{age}_file"),
                format!("{}.bfd{ending}", peer.name),
                keys.bfd(),
            );
            writer.line(here, &format!("bfd_key{age}_id = {}", keys.bfd_id()));
        }
    }
}

/// The peer's address that the tunnel leads to: IPv4 where both ends have it.
pub(crate) fn remote(member: &Member<'_>, peer: &Member<'_>) -> Option<IpAddr> {
    let of = |member: &Member<'_>, ipv4: bool| {
        let mut addresses = member.addresses.iter().copied();
        addresses.find(|address| address.is_ipv4() == ipv4)
    };
    [true, false]
        .into_iter()
        .find_map(|ipv4| of(member, ipv4).and(of(peer, ipv4)))
}

/// Outer bytes of a frame with a cookie of 8 bytes, inner Ethernet header included.
fn overhead(remote: IpAddr, udp: bool) -> u16 {
    let ip = if remote.is_ipv4() { 20 } else { 40 };
    let udp = if udp { 12 } else { 0 };
    ip + udp + 4 + 8 + 14
}

/// MTU of a member's underlay, if the file says it.
pub(crate) fn underlay_mtu(cluster: &Cluster<'_>, member: &Member<'_>) -> Option<u16> {
    let own = member
        .own
        .as_ref()
        .and_then(|own| own.integer("mtu", UNDERLAY_MTUS));
    own.or_else(|| cluster.section.integer("mtu", UNDERLAY_MTUS))
        .map(|found| found.value)
}

/// Whether a tunnel has this value of a key, by whoever says it.
fn is(
    cluster: &Cluster<'_>,
    (one, other): (&Member<'_>, &Member<'_>),
    key: &str,
    text: &str,
) -> bool {
    let pair = cluster.pair(one.name, other.name);
    let found = pair
        .and_then(|pair| value(pair, key))
        .or_else(|| setting(one, key))
        .or_else(|| setting(other, key))
        .or_else(|| of_cluster(cluster, key));
    found.is_some_and(|(found, _)| found == text)
}

/// What the cluster says for all.
pub(crate) fn of_cluster(cluster: &Cluster<'_>, key: &str) -> Option<(String, Place)> {
    CLUSTER_WIDE
        .contains(&key)
        .then(|| value(&cluster.section, key))?
}

/// Keys of tunnels that `[cluster]` has for all.
const CLUSTER_WIDE: &[&str] = &["bfd"];

/// What a member has of its own, as TOML.
pub(crate) fn setting(member: &Member<'_>, key: &str) -> Option<(String, Place)> {
    value(member.own.as_ref()?, key)
}

fn value(section: &Section<'_>, key: &str) -> Option<(String, Place)> {
    let found = section.value(key)?;
    Some((inline(found.value.get_ref()), found.place))
}
