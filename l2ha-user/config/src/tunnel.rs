//! `[[tunnels]]`.

use std::{
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
};

use ipnet::IpNet;
use l2ha_ebpf::abi::{Dscp, OuterForm};
use l2ha_ebpf::plan::{Encapsulation, Sublayer};

use crate::{
    address::{self, Shown},
    cookie_file::Files,
    edge, names,
    report::{Found, Place, Unique},
    section::Section,
    tunnel_keys, tunnel_ospf,
    types::{DEFAULT_PORT, Tunnel, TunnelOspf},
    underlay::{ReadUnderlay, interface},
};

/// From what IPv6 needs (RFC 8200 section 5) to 65535, a veth's largest, less the Ethernet header.
pub(crate) const MTUS: RangeInclusive<i128> = 1280..=65_521;

/// What tunnels refer to.
pub(crate) struct Context<'a> {
    /// Where cookies are.
    pub(crate) files: &'a Files,
    /// `[underlay]`, if there is one.
    pub(crate) underlay: Option<&'a ReadUnderlay>,
    /// What `[ospf]` says for all, if it is there.
    pub(crate) ospf: Option<TunnelOspf>,
}

/// A tunnel as far as it could be read.
pub(crate) struct ReadTunnel {
    /// The whole, if it could be read.
    pub(crate) tunnel: Option<Tunnel>,
    /// The addresses that are good.
    pub(crate) addresses: Vec<Found<IpNet>>,
    /// Whether OSPF was switched off.
    without_ospf: bool,
}

/// What one tunnel only may have.
#[derive(Default)]
struct Taken {
    names: Unique<String>,
    interfaces: Unique<String>,
    session_ids: Unique<u32>,
    peers: Unique<String>,
    addresses: Unique<IpAddr>,
}

pub(crate) fn tunnels(context: &Context<'_>, sections: &[Section<'_>]) -> Vec<ReadTunnel> {
    let mut taken = Taken::default();
    if let Some(underlay) = context.underlay {
        taken.interfaces.put(Found {
            value: "lo".to_owned(),
            place: Place {
                line: underlay
                    .interface
                    .as_ref()
                    .map_or(1, |found| found.place.line),
                key: "the loopback".to_owned(),
            },
        });
        if let Some(interface) = &underlay.interface {
            taken.interfaces.put(interface.clone());
        }
        for address in &underlay.addresses {
            taken.addresses.put(address.clone());
        }
    }
    sections
        .iter()
        .map(|section| tunnel(context, section, &mut taken))
        .collect()
}

/// OSPF needs a tunnel to run over.
pub(crate) fn ospf_has_interfaces(ospf: &Section<'_>, tunnels: &[ReadTunnel]) {
    let (what, remedy) = if tunnels.is_empty() {
        (
            "there is no tunnel to run over",
            "add a section `[[tunnels]]`, or remove `[ospf]`",
        )
    } else if tunnels.iter().all(|tunnel| tunnel.without_ospf) {
        (
            "every tunnel has `ospf = false`",
            "write `ospf = true` in one of them, or remove `[ospf]`",
        )
    } else {
        return;
    };
    ospf.report.error(&ospf.place, what, remedy);
}

fn tunnel(context: &Context<'_>, section: &Section<'_>, taken: &mut Taken) -> ReadTunnel {
    // An interface is named after it, unless it has a name of its own.
    let longest = match section.place_of("interface") {
        Some(_) => names::LONGEST_NAME,
        None => names::LONGEST - names::VISIBLE.len(),
    };
    let name = names::label(section, &mut taken.names, longest);
    let interface = visible(section, name.as_deref(), taken);
    let remote = remote(context, section);
    let encapsulation = encapsulation(section);
    let session_id = section.unique("session_id", 1..=u32::MAX, &mut taken.session_ids);
    let peer_session_id = section.integer::<u32>("peer_session_id", 1..=i128::from(u32::MAX));
    if let (Some(id), Some((_, remote)), Some(encapsulation)) =
        (&peer_session_id, remote, encapsulation)
    {
        one_session_per_peer(section, taken, id, remote, encapsulation);
    }
    let cookies = tunnel_keys::cookies(section, context.files);
    let keys = tunnel_keys::keys(section, context.files);
    let sublayers = [("none", Sublayer::None), ("default", Sublayer::Default)];
    let sublayer = section.choice("sublayer", &sublayers).unwrap_or_default();
    let form = form(section, sublayer);
    let mtu = section.integer("mtu", MTUS).map(|found| found.value);
    let addresses = addresses(section, taken);
    let (ospf, without_ospf) = tunnel_ospf::read(context.ospf, section);
    let edge = edge::read(section, ospf);

    let whole = || {
        let (local, remote) = remote?;
        let (cookies, keys) = (cookies?, keys?);
        let interface = interface?;
        Some(Tunnel {
            name: name?,
            hidden: names::hidden(&interface),
            interface,
            local,
            remote,
            encapsulation: encapsulation?,
            session_id: session_id?,
            peer_session_id: peer_session_id?.value,
            send_cookie: cookies.send,
            previous_send_cookie: cookies.previous_send,
            receive_cookie: cookies.receive,
            previous_cookie: cookies.previous_receive,
            sublayer,
            form,
            mtu,
            addresses: addresses.iter().map(|found| found.value).collect(),
            ospf,
            edge,
            ospf_key: keys.ospf,
            bfd_key: keys.bfd,
        })
    };
    let tunnel = whole();
    ReadTunnel {
        tunnel,
        addresses,
        without_ospf,
    }
}

/// What of the outer headers can be chosen.
fn form(section: &Section<'_>, sublayer: Sublayer) -> OuterForm {
    let default = OuterForm::default();
    let number = |key, range, default| {
        section
            .integer(key, range)
            .map_or(default, |found| found.value)
    };
    let (send_sequence, receive_sequence) = sequence(section, sublayer);
    OuterForm {
        ttl: number("ttl", 1..=255, default.ttl),
        dscp: dscp(section).unwrap_or(default.dscp),
        ecn: section
            .choice("ecn", &[("none", false), ("copy", true)])
            .unwrap_or(default.ecn),
        udp_checksum: section
            .boolean("udp_checksum")
            .map_or(default.udp_checksum, |found| found.value),
        flow_ports: section
            .choice("source_port", &[("fixed", false), ("flow", true)])
            .unwrap_or(default.flow_ports),
        send_sequence,
        receive_sequence,
    }
}

/// A number, or a word.
fn dscp(section: &Section<'_>) -> Option<Dscp> {
    if section.is_text("dscp") {
        return section.choice("dscp", &[("copy", Dscp::Copy)]);
    }
    let found = section.integer("dscp", 0..=63)?;
    Some(Dscp::Fixed(found.value))
}

/// Whether packets are numbered when they are sent, and must be when they are received.
fn sequence(section: &Section<'_>, sublayer: Sublayer) -> (bool, bool) {
    let choices = [
        ("none", (false, false)),
        ("send", (true, false)),
        ("recv", (false, true)),
        ("both", (true, true)),
    ];
    let wanted = section.choice("sequence", &choices).unwrap_or_default();
    if wanted != (false, false)
        && sublayer == Sublayer::None
        && let Some(place) = section.place_of("sequence")
    {
        section.report.error(
            &place,
            "sequence numbers are in the default L2-specific sublayer (RFC 3931 4.6)",
            "write `sublayer = \"default\"` here, and use it at the peer",
        );
    }
    wanted
}

/// The virtual interface's name. Its hidden end's name is taken along with it.
fn visible(section: &Section<'_>, name: Option<&str>, taken: &mut Taken) -> Option<String> {
    let found = match section.place_of("interface") {
        Some(_) => interface(section, "interface")?,
        None => {
            let name = name?;
            let value = format!("{}{name}", names::VISIBLE);
            let place = section.place_of("name")?;
            if let Some(problem) = names::problem(&value) {
                let good = names::corrected(&value, names::LONGEST, names::problem);
                section.report.error(
                    &place,
                    format!("the interface cannot be named after the tunnel: {problem}"),
                    format!("add `interface = \"{}\"`", good.unwrap_or_default()),
                );
                return None;
            }
            Found { value, place }
        }
    };
    let visible = found.value.clone();
    let remedy = |others: &Unique<String>| {
        let fits = |name: &String| {
            names::problem(name).is_none()
                && !others.has(name)
                && !others.has(&names::hidden(name))
                && *name != visible
        };
        let own = name.map(str::to_owned).into_iter();
        let good = own
            .chain((1..).map(|n| format!("wire-{n}")))
            .find(fits)
            .unwrap_or_default();
        format!("write another, as `interface = \"{good}\"`")
    };
    let hidden = names::hidden(&visible);
    let place = Place {
        key: format!("{} (its hidden end)", found.place.key),
        ..found.place.clone()
    };
    if taken.interfaces.take(section.report, found, remedy) {
        let hidden = Found {
            value: hidden,
            place,
        };
        taken.interfaces.take(section.report, hidden, remedy);
    }
    Some(visible)
}

/// The peer's address and the local one of its family.
fn remote(context: &Context<'_>, section: &Section<'_>) -> Option<(IpAddr, IpAddr)> {
    let shown = Shown {
        key: "remote",
        array: false,
        example: "10.77.0.9",
        of: "the peer",
    };
    let text = section.string("remote")?;
    let found = address::host(section.report, &text, &shown)?;
    let remote = found.value;
    let underlay = context.underlay?;
    let Some(local) = underlay.local_for(remote) else {
        // Mistakes in the underlay's addresses would be said twice.
        if underlay.complete {
            let (family, example) = match remote {
                IpAddr::V4(_) => ("IPv4", "10.77.0.1"),
                IpAddr::V6(_) => ("IPv6", "2001:db8:77::1"),
            };
            let known = underlay
                .addresses
                .iter()
                .map(|found| found.value.to_string());
            let all: Vec<String> = known.chain([example.to_owned()]).collect();
            section.report.error(
                &found.place,
                format!("`{remote}` is {family}, but [underlay] has no {family} address"),
                format!(
                    "write `addresses = {all:?}` below [underlay], with this host's own address"
                ),
            );
        }
        return None;
    };
    if local.value == remote {
        section.report.error(
            &found.place,
            format!(
                "`{remote}` is this node's own address (line {})",
                local.place.line
            ),
            format!(
                "{}, with the address of the peer",
                shown.write(shown.example)
            ),
        );
        return None;
    }
    Some((local.value, remote))
}

fn encapsulation(section: &Section<'_>) -> Option<Encapsulation> {
    let words = [("udp", true), ("ip", false)];
    let udp = match section.place_of("encapsulation") {
        Some(_) => section.choice("encapsulation", &words),
        None => Some(true),
    };
    let port = |key| {
        if udp == Some(false)
            && let Some(place) = section.place_of(key)
        {
            section.report.error(
                &place,
                "IP protocol 115 has no ports",
                "remove it, or write `encapsulation = \"udp\"`",
            );
            return DEFAULT_PORT;
        }
        let found = section.integer(key, 1..=65535);
        found.map_or(DEFAULT_PORT, |found| found.value)
    };
    let local_port = port("local_port");
    let remote_port = port("remote_port");
    match udp? {
        true => Some(Encapsulation::Udp {
            local_port,
            remote_port,
        }),
        false => Some(Encapsulation::Ip),
    }
}

/// Two tunnels must not end in the same session of the same peer.
fn one_session_per_peer(
    section: &Section<'_>,
    taken: &mut Taken,
    id: &Found<u32>,
    remote: IpAddr,
    encapsulation: Encapsulation,
) {
    let peer = match encapsulation {
        Encapsulation::Udp { remote_port, .. } => SocketAddr::new(remote, remote_port).to_string(),
        Encapsulation::Ip => remote.to_string(),
    };
    let value = |id: u32| format!("{id} at {peer}");
    taken
        .peers
        .take(section.report, id.with(value(id.value)), |others| {
            let free = (id.value..=u32::MAX)
                .chain(1..id.value)
                .find(|id| !others.has(&value(*id)));
            format!(
                "write the peer's other session, as `peer_session_id = {}`",
                free.unwrap_or_default()
            )
        });
}

fn addresses(section: &Section<'_>, taken: &mut Taken) -> Vec<Found<IpNet>> {
    let texts = section
        .strings("addresses", address::is_interface)
        .map_or_else(Vec::new, |strings| strings.good);
    let networks: Vec<_> = texts
        .iter()
        .filter_map(|text| address::interface(section.report, text))
        .collect();
    for found in &networks {
        taken
            .addresses
            .take(section.report, found.with(found.value.addr()), |_| {
                "write another address, or remove one of the two".to_owned()
            });
    }
    networks
}
