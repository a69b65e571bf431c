//! A foreign decoder reads in our packets what we meant: `ospf-parser`.
//!
//! Three things it cannot read are left out: LSAs of types that RFC 5340 does not have, those of
//! IPv4 (RFC 5838), and prefixes whose length is no multiple of 32, whose padding it forgets.

use std::net::{Ipv4Addr, Ipv6Addr};

use ospf_parser::{
    Ospfv3IPv6AddressPrefix as TheirPrefix, Ospfv3LinkStateAdvertisement as TheirLsa,
    Ospfv3LinkStateAdvertisementHeader as TheirLsaHeader, Ospfv3Packet as TheirPacket,
    Ospfv3PacketHeader as TheirHeader, parse_ospfv3_packet,
};
use proptest::prelude::*;

use super::proptests::{SOURCE, packet};
use super::*;

fn ip(bytes: &[u8]) -> Ipv6Addr {
    <[u8; 16]>::try_from(bytes).unwrap().into()
}

fn header(theirs: &TheirHeader) -> Header {
    Header {
        router_id: theirs.source_router(),
        area: theirs.area_id.into(),
        instance_id: theirs.instance_id,
    }
}

fn lsa_header(theirs: &TheirLsaHeader) -> LsaHeader {
    LsaHeader {
        age: theirs.ls_age,
        key: LsaKey {
            ty: LsaType(theirs.link_state_type.0),
            id: theirs.link_state_id,
            adv: theirs.advertising_router(),
        },
        sequence: theirs.ls_seq_number.cast_signed(),
        checksum: theirs.ls_checksum,
        length: theirs.length,
    }
}

fn entry(theirs: &TheirPrefix) -> PrefixEntry {
    let mut address = [0; 16];
    address[..theirs.address_prefix.len()].copy_from_slice(&theirs.address_prefix);
    PrefixEntry {
        prefix: Prefix::new(Ipv6Addr::from(address), theirs.prefix_length).unwrap(),
        options: PrefixOptions::from_bits(theirs.prefix_options),
        metric: theirs.reserved,
    }
}

fn routers(theirs: &[u32]) -> Vec<Ipv4Addr> {
    theirs.iter().copied().map(Ipv4Addr::from).collect()
}

fn lsa(theirs: &TheirLsa) -> Lsa {
    let (head, body) = match theirs {
        TheirLsa::Router(it) => {
            let links = it.links.iter().map(|link| RouterLink {
                kind: match link.link_type.0 {
                    1 => LinkKind::PointToPoint,
                    2 => LinkKind::Transit,
                    4 => LinkKind::Virtual,
                    other => LinkKind::Other(other),
                },
                metric: link.metric,
                interface_id: link.interface_id,
                neighbor_interface_id: link.neighbor_interface_id,
                neighbor_router_id: link.neighbor_router_id(),
            });
            let body = Router {
                bits: RouterBits {
                    virtual_link: it.flags & 4 != 0,
                    external: it.flags & 2 != 0,
                    border: it.flags & 1 != 0,
                },
                options: Options::from_bits(it.options),
                links: links.collect(),
            };
            (&it.header, LsaBody::Router(body))
        }
        TheirLsa::Network(it) => {
            let body = Network {
                options: Options::from_bits(it.options),
                attached: routers(&it.attached_routers),
            };
            (&it.header, LsaBody::Network(body))
        }
        TheirLsa::InterAreaPrefix(it) => {
            let prefix = entry(&it.prefix);
            let body = InterAreaPrefix {
                metric: it.metric,
                prefix: prefix.prefix,
                options: prefix.options,
            };
            (&it.header, LsaBody::InterAreaPrefix(body))
        }
        TheirLsa::InterAreaRouter(it) => {
            let body = InterAreaRouter {
                options: Options::from_bits(it.options),
                metric: it.metric,
                destination: it.destination_router_id.into(),
            };
            (&it.header, LsaBody::InterAreaRouter(body))
        }
        TheirLsa::ASExternal(it) | TheirLsa::NSSA(it) => {
            let prefix = entry(&it.address_prefix);
            let forwarding = it.forwarding_address.as_deref();
            let body = AsExternal {
                type2: it.flags & 4 != 0,
                metric: it.metric,
                prefix: prefix.prefix,
                options: prefix.options,
                forwarding: forwarding.map(|bytes| ip(bytes).into()),
                tag: it.external_route_tag,
                referenced: it
                    .referenced_link_state_id
                    .map(|id| (LsaType(it.address_prefix.reserved), id)),
            };
            (&it.header, LsaBody::AsExternal(body))
        }
        TheirLsa::Link(it) => {
            let body = LinkBody {
                priority: it.router_priority,
                options: Options::from_bits(it.options),
                link_local: ip(&it.link_local_interface_address).into(),
                prefixes: it.address_prefixes.iter().map(entry).collect(),
            };
            (&it.header, LsaBody::Link(body))
        }
        TheirLsa::IntraAreaPrefix(it) => {
            let body = IntraAreaPrefix {
                referenced_type: LsaType(it.referenced_ls_type),
                referenced_id: it.referenced_link_state_id,
                referenced_router: it.referenced_advertising_router.into(),
                prefixes: it.address_prefixes.iter().map(entry).collect(),
            };
            (&it.header, LsaBody::IntraAreaPrefix(body))
        }
    };
    let head = lsa_header(head);
    let lsa = Lsa::build(head.key, head.sequence, &body).unwrap();
    // With the length and the checksum that it reads.
    assert_eq!(*lsa.header(), head);
    lsa
}

/// What it reads, in our words.
fn read(theirs: &TheirPacket) -> Packet {
    let (head, body) = match theirs {
        TheirPacket::Hello(it) => {
            let hello = Hello {
                interface_id: it.interface_id,
                priority: it.router_priority,
                options: Options::from_bits(it.options),
                hello_interval: it.hello_interval,
                dead_interval: it.router_dead_interval,
                designated_router: it.designated_router(),
                backup_router: it.backup_designated_router(),
                neighbors: routers(&it.neighbor_list),
            };
            (&it.header, PacketBody::Hello(hello))
        }
        TheirPacket::DatabaseDescription(it) => {
            let dd = DatabaseDescription {
                options: Options::from_bits(it.options),
                mtu: it.if_mtu,
                // RFC 5838 2.7: of its time it is not, and reads the bit as one of the byte.
                other_mtu: it.db_description & 0x10 != 0,
                flags: DdFlags {
                    init: it.db_description & 4 != 0,
                    more: it.db_description & 2 != 0,
                    master: it.db_description & 1 != 0,
                },
                sequence: it.dd_sequence_number,
                headers: it.lsa_headers.iter().map(lsa_header).collect(),
            };
            (&it.header, PacketBody::DatabaseDescription(dd))
        }
        TheirPacket::LinkStateRequest(it) => {
            let keys = it.requests.iter().map(|request| LsaKey {
                ty: LsaType(request.link_state_type.try_into().unwrap()),
                id: request.link_state_id,
                adv: request.advertising_router.into(),
            });
            (&it.header, PacketBody::LinkStateRequest(keys.collect()))
        }
        TheirPacket::LinkStateUpdate(it) => {
            let lsas = it.lsa.iter().map(|theirs| Ok(lsa(theirs)));
            (&it.header, PacketBody::LinkStateUpdate(lsas.collect()))
        }
        TheirPacket::LinkStateAcknowledgment(it) => {
            let headers = it.lsa_headers.iter().map(lsa_header);
            (&it.header, PacketBody::LinkStateAck(headers.collect()))
        }
    };
    let header = header(head);
    Packet { header, body }
}

/// Whether it knows what is in there.
fn is_known(lsa: &Lsa) -> bool {
    let whole = |prefix: Prefix| prefix.len().is_multiple_of(32);
    match lsa.body() {
        LsaBody::Router(_) | LsaBody::Network(_) | LsaBody::InterAreaRouter(_) => true,
        LsaBody::InterAreaPrefix(it) => whole(it.prefix),
        LsaBody::AsExternal(it) => whole(it.prefix),
        LsaBody::Link(it) => it.prefixes.iter().all(|it| whole(it.prefix)),
        LsaBody::IntraAreaPrefix(it) => it.prefixes.iter().all(|it| whole(it.prefix)),
        LsaBody::Grace(_) | LsaBody::Unknown(_) => false,
    }
}

/// The packet without what it does not know.
fn known(mut packet: Packet) -> Packet {
    if let PacketBody::LinkStateUpdate(lsas) = &mut packet.body {
        if Family::of_instance(packet.header.instance_id) == Family::Ipv4 {
            packet.header.instance_id = 0;
            lsas.clear();
        }
        lsas.retain(|lsa| lsa.as_ref().is_ok_and(is_known));
    }
    packet
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        cases: 2000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn another_decoder_reads_what_we_meant(packet in packet()) {
        let packet = known(packet);
        let bytes = packet.encode(SOURCE, ALL_SPF_ROUTERS);
        let (rest, theirs) = parse_ospfv3_packet(&bytes).unwrap();
        prop_assert!(rest.is_empty());
        prop_assert_eq!(read(&theirs), packet);
    }
}
