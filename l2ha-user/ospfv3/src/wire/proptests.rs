//! Encoding and decoding are each other's inverse, and no bytes make the decoder panic.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

fn ipv4() -> impl Strategy<Value = Ipv4Addr> {
    any::<u32>().prop_map(Ipv4Addr::from_bits)
}

fn ipv6() -> impl Strategy<Value = Ipv6Addr> {
    any::<u128>().prop_map(Ipv6Addr::from_bits)
}

fn options() -> impl Strategy<Value = Options> {
    any::<u32>().prop_map(Options::from_bits)
}

fn u24() -> impl Strategy<Value = u32> {
    0u32..1 << 24
}

/// An address field of a family.
fn address(family: Family) -> BoxedStrategy<IpAddr> {
    match family {
        Family::Ipv6 => ipv6().prop_map(IpAddr::V6).boxed(),
        Family::Ipv4 => ipv4().prop_map(IpAddr::V4).boxed(),
    }
}

/// A prefix as packets of a family may have it: in those of IPv4, what is too long is IPv6.
fn prefix(family: Family) -> BoxedStrategy<Prefix> {
    let new = |(addr, len): (IpAddr, u8)| Prefix::new(addr, len).unwrap();
    // Whole words often: where padding ends.
    let lengths = |from| prop_oneof![from..=128u8, Just(64), Just(128)];
    let long = |from| (address(Family::Ipv6), lengths(from)).prop_map(new);
    match family {
        Family::Ipv6 => long(0).boxed(),
        Family::Ipv4 => {
            let short = (address(Family::Ipv4), 0..=32u8).prop_map(new);
            prop_oneof![9 => short, 1 => long(33)].boxed()
        }
    }
}

fn entry(family: Family) -> impl Strategy<Value = PrefixEntry> {
    (prefix(family), any::<u8>(), any::<u16>()).prop_map(|(prefix, options, metric)| PrefixEntry {
        prefix,
        options: PrefixOptions::from_bits(options),
        metric,
    })
}

fn link() -> impl Strategy<Value = RouterLink> {
    let kind = prop_oneof![
        Just(LinkKind::PointToPoint),
        Just(LinkKind::Transit),
        Just(LinkKind::Virtual),
        Just(LinkKind::Other(3)),
        Just(LinkKind::Other(200)),
    ];
    (kind, any::<u16>(), any::<u32>(), any::<u32>(), ipv4()).prop_map(
        |(kind, metric, interface_id, neighbor_interface_id, neighbor_router_id)| RouterLink {
            kind,
            metric,
            interface_id,
            neighbor_interface_id,
            neighbor_router_id,
        },
    )
}

fn router() -> impl Strategy<Value = (LsaType, LsaBody)> {
    (
        any::<[bool; 3]>(),
        options(),
        prop::collection::vec(link(), 0..6),
    )
        .prop_map(|([virtual_link, external, border], options, links)| {
            let bits = RouterBits {
                virtual_link,
                external,
                border,
            };
            (
                LsaType::ROUTER,
                LsaBody::Router(Router {
                    bits,
                    options,
                    links,
                }),
            )
        })
}

fn external(family: Family) -> impl Strategy<Value = (LsaType, LsaBody)> {
    let optional = (
        prop::option::of(address(family)),
        prop::option::of(any::<u32>()),
        prop::option::of((1u16.., any::<u32>())),
    );
    (any::<bool>(), u24(), prefix(family), any::<u8>(), optional).prop_map(
        |(type2, metric, prefix, options, (forwarding, tag, referenced))| {
            let options = PrefixOptions::from_bits(options);
            let referenced = referenced.map(|(ty, id)| (LsaType(ty), id));
            let body = AsExternal {
                type2,
                metric,
                prefix,
                options,
                forwarding,
                tag,
                referenced,
            };
            (LsaType::AS_EXTERNAL, LsaBody::AsExternal(body))
        },
    )
}

fn reason() -> impl Strategy<Value = GraceReason> {
    prop_oneof![
        Just(GraceReason::Unknown),
        Just(GraceReason::SoftwareRestart),
        Just(GraceReason::SoftwareUpgrade),
        Just(GraceReason::SwitchToRedundant),
        (4u8..).prop_map(GraceReason::Other),
    ]
}

fn body(family: Family) -> impl Strategy<Value = (LsaType, LsaBody)> {
    let entries = || prop::collection::vec(entry(family), 0..6);
    prop_oneof![
        router(),
        external(family),
        (options(), prop::collection::vec(ipv4(), 0..6)).prop_map(|(options, attached)| {
            (
                LsaType::NETWORK,
                LsaBody::Network(Network { options, attached }),
            )
        }),
        (u24(), prefix(family), any::<u8>()).prop_map(|(metric, prefix, options)| {
            let options = PrefixOptions::from_bits(options);
            let body = InterAreaPrefix {
                metric,
                prefix,
                options,
            };
            (LsaType::INTER_AREA_PREFIX, LsaBody::InterAreaPrefix(body))
        }),
        (options(), u24(), ipv4()).prop_map(|(options, metric, destination)| {
            let body = InterAreaRouter {
                options,
                metric,
                destination,
            };
            (LsaType::INTER_AREA_ROUTER, LsaBody::InterAreaRouter(body))
        }),
        (any::<u8>(), options(), address(family), entries()).prop_map(
            |(priority, options, link_local, prefixes)| {
                let body = LinkBody {
                    priority,
                    options,
                    link_local,
                    prefixes,
                };
                (LsaType::LINK, LsaBody::Link(body))
            }
        ),
        (any::<u16>(), any::<u32>(), ipv4(), entries()).prop_map(
            |(ty, referenced_id, referenced_router, prefixes)| {
                let body = IntraAreaPrefix {
                    referenced_type: LsaType(ty),
                    referenced_id,
                    referenced_router,
                    prefixes,
                };
                (LsaType::INTRA_AREA_PREFIX, LsaBody::IntraAreaPrefix(body))
            }
        ),
        (any::<u32>(), reason()).prop_map(|(period, reason)| {
            (LsaType::GRACE, LsaBody::Grace(Grace { period, reason }))
        }),
        prop::collection::vec(any::<u8>(), 0..64)
            .prop_map(|bytes| (LsaType(0x8123), LsaBody::Unknown(bytes))),
    ]
}

fn lsa(family: Family) -> impl Strategy<Value = Lsa> {
    (
        body(family),
        any::<u32>(),
        ipv4(),
        INITIAL_SEQUENCE..=MAX_SEQUENCE,
    )
        .prop_map(|((ty, body), id, adv, sequence)| {
            Lsa::build(LsaKey { ty, id, adv }, sequence, &body).unwrap()
        })
}

fn key() -> impl Strategy<Value = LsaKey> {
    (any::<u16>(), any::<u32>(), ipv4()).prop_map(|(ty, id, adv)| LsaKey {
        ty: LsaType(ty),
        id,
        adv,
    })
}

fn header() -> impl Strategy<Value = LsaHeader> {
    (0..=MAX_AGE, key(), any::<i32>(), any::<u16>(), any::<u16>()).prop_map(
        |(age, key, sequence, checksum, length)| LsaHeader {
            age,
            key,
            sequence,
            checksum,
            length,
        },
    )
}

fn packet_body(family: Family) -> impl Strategy<Value = PacketBody> {
    let hello = (
        any::<u32>(),
        any::<u8>(),
        options(),
        any::<[u16; 2]>(),
        ipv4(),
        ipv4(),
    );
    let flags = any::<[bool; 3]>().prop_map(|[init, more, master]| DdFlags { init, more, master });
    let headers = || prop::collection::vec(header(), 0..6);
    prop_oneof![
        (hello, prop::collection::vec(ipv4(), 0..6)).prop_map(
            |((interface_id, priority, options, [hello, dead], dr, bdr), neighbors)| {
                PacketBody::Hello(Hello {
                    interface_id,
                    priority,
                    options,
                    hello_interval: hello,
                    dead_interval: dead,
                    designated_router: dr,
                    backup_router: bdr,
                    neighbors,
                })
            }
        ),
        (
            options(),
            any::<(u16, bool)>(),
            flags,
            any::<u32>(),
            headers()
        )
            .prop_map(|(options, (mtu, other_mtu), flags, sequence, headers)| {
                let dd = DatabaseDescription {
                    other_mtu,
                    options,
                    mtu,
                    flags,
                    sequence,
                    headers,
                };
                PacketBody::DatabaseDescription(dd)
            }),
        prop::collection::vec(key(), 0..6).prop_map(PacketBody::LinkStateRequest),
        prop::collection::vec(lsa(family).prop_map(Ok), 0..6).prop_map(PacketBody::LinkStateUpdate),
        headers().prop_map(PacketBody::LinkStateAck),
    ]
}

pub(super) fn packet() -> impl Strategy<Value = Packet> {
    let of = |instance_id| {
        let body = packet_body(Family::of_instance(instance_id));
        (ipv4(), ipv4(), Just(instance_id), body)
    };
    let instances = prop_oneof![any::<u8>(), Just(0), Just(64)];
    instances
        .prop_flat_map(of)
        .prop_map(|(router_id, area, instance_id, body)| Packet {
            header: Header {
                router_id,
                area,
                instance_id,
            },
            body,
        })
}

pub(super) const SOURCE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_encoded_is_decoded(packet in packet()) {
        let bytes = packet.encode(SOURCE, ALL_SPF_ROUTERS);
        prop_assert_eq!(Packet::decode(&bytes, SOURCE, ALL_SPF_ROUTERS), Ok(packet));
    }

    #[test]
    fn any_flipped_bit_is_noticed(packet in packet(), at in any::<usize>(), bit in 0..8u32) {
        let mut bytes = packet.encode(SOURCE, ALL_SPF_ROUTERS);
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        prop_assert!(Packet::decode(&bytes, SOURCE, ALL_SPF_ROUTERS).is_err());
    }

    #[test]
    fn truncation_is_noticed(packet in packet(), cut in any::<usize>()) {
        let bytes = packet.encode(SOURCE, ALL_SPF_ROUTERS);
        let short = &bytes[..cut % bytes.len()];
        prop_assert!(Packet::decode(short, SOURCE, ALL_SPF_ROUTERS).is_err());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), ty in 1u8..6) {
        let _ = Packet::decode(&bytes, SOURCE, ALL_SPF_ROUTERS);
        // The same past version, type, length and checksum.
        let mut bytes = bytes;
        bytes.splice(0..0, [0; HEADER_LEN]);
        bytes[0] = 3;
        bytes[1] = ty;
        let length = bytes.len() as u16;
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        let checksum = pseudo_header_checksum(SOURCE, ALL_SPF_ROUTERS, &bytes);
        bytes[12..14].copy_from_slice(&checksum.to_be_bytes());
        let decoded = Packet::decode(&bytes, SOURCE, ALL_SPF_ROUTERS);
        prop_assert_ne!(decoded, Err(DecodeError::Checksum));
    }

    #[test]
    fn arbitrary_bodies_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..120),
        ty in prop::sample::select(vec![0x2001u16, 0x2002, 0x2003, 0x2004, 0x4005, 8, 0x2009]),
    ) {
        for family in [Family::Ipv6, Family::Ipv4] {
            let _ = LsaBody::decode(family, LsaType(ty), &mut Reader::new(&bytes));
        }
    }

    #[test]
    fn what_is_shown_is_read((ty, body) in body(Family::Ipv6)) {
        let shown = serde_json::to_string(&(ty, body)).unwrap();
        let read: (LsaType, LsaBody) = serde_json::from_str(&shown).unwrap();
        prop_assert_eq!(serde_json::to_string(&read).unwrap(), shown);
    }

    #[test]
    fn fletcher_verifies(lsa in lsa(Family::Ipv6)) {
        let mut bytes = Vec::new();
        lsa.encode(&mut bytes);
        prop_assert!(fletcher_ok(&bytes));
        prop_assert_eq!(fletcher(&bytes), lsa.header().checksum);
    }

    #[test]
    fn newer_is_an_order(a in header(), b in header()) {
        prop_assert_eq!(a.compare(&b), b.compare(&a).reverse());
        prop_assert!(a.compare(&a).is_eq());
    }
}

#[test]
fn newer_by_age() {
    let base = LsaHeader {
        age: 10,
        key: LsaKey {
            ty: LsaType::ROUTER,
            id: 0,
            adv: Ipv4Addr::LOCALHOST,
        },
        sequence: 5,
        checksum: 7,
        length: 24,
    };
    let with = |age, sequence, checksum| LsaHeader {
        age,
        sequence,
        checksum,
        ..base
    };
    assert!(with(10, 6, 0).compare(&base).is_gt());
    assert!(with(10, -6, 9).compare(&base).is_lt());
    assert!(with(10, 5, 8).compare(&base).is_gt());
    assert!(with(MAX_AGE, 5, 7).compare(&base).is_gt());
    assert!(with(910, 5, 7).compare(&base).is_eq());
    assert!(
        with(911, 5, 7).compare(&base).is_lt(),
        "the younger is newer"
    );
}

/// A Hello as FRR 8.4 lays it out, octet by octet.
#[test]
fn octets_of_a_hello() {
    let header = Header {
        router_id: Ipv4Addr::new(1, 1, 1, 1),
        area: Ipv4Addr::UNSPECIFIED,
        instance_id: 0,
    };
    let hello = Hello {
        interface_id: 7,
        priority: 1,
        options: Options::V6.union(Options::E).union(Options::R),
        hello_interval: 10,
        dead_interval: 40,
        designated_router: Ipv4Addr::UNSPECIFIED,
        backup_router: Ipv4Addr::UNSPECIFIED,
        neighbors: vec![Ipv4Addr::new(2, 2, 2, 2)],
    };
    let bytes = Packet {
        header,
        body: PacketBody::Hello(hello),
    }
    .encode(SOURCE, ALL_SPF_ROUTERS);
    #[rustfmt::skip]
    let expected = [
        3, 1, 0, 40, 1, 1, 1, 1, 0, 0, 0, 0, bytes[12], bytes[13], 0, 0,
        0, 0, 0, 7, 1, 0, 0, 0x13, 0, 10, 0, 40, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 2, 2,
    ];
    assert_eq!(bytes, expected);
    assert_eq!(pseudo_header_checksum(SOURCE, ALL_SPF_ROUTERS, &bytes), 0);
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Prefixes take as many 32-bit words as their length needs.
#[test]
fn prefix_words() {
    let prefix = Prefix::new(ip("2001:db8:ffff:ffff::1"), 33).unwrap();
    assert_eq!(prefix.to_string(), "2001:db8:8000::/33");
    assert_eq!(prefix.encoded_len(), 8);
    assert_eq!(Prefix::new(SOURCE, 0).unwrap().encoded_len(), 0);
    assert_eq!(Prefix::new(SOURCE, 129), None);
    assert!(prefix.contains(ip("2001:db8:8000:1::")));
    assert!(!prefix.contains(ip("2001:db8::")));
    assert!(!prefix.contains(ip("32.1.13.184")), "another family");
}

/// RFC 5838 2.3: one word, or none.
#[test]
fn prefixes_of_ipv4() {
    let prefix = Prefix::new(ip("192.0.2.80"), 24).unwrap();
    assert_eq!(prefix.to_string(), "192.0.2.0/24");
    assert_eq!(prefix.encoded_len(), 4);
    assert!(prefix.contains(ip("192.0.2.255")) && !prefix.contains(ip("192.0.3.0")));
    assert_eq!(Prefix::new(ip("192.0.2.80"), 33), None);
    assert_eq!(Prefix::default_of(Family::Ipv4).to_string(), "0.0.0.0/0");
    assert_eq!(Prefix::default_of(Family::Ipv4).encoded_len(), 0);
    let host = Prefix::host(ip("192.0.2.80"));
    assert!(host.is_host() && host.len() == 32 && !prefix.is_host());
    let bytes = [32, 2, 0, 0, 192, 0, 2, 80];
    let entry = |family| PrefixEntry::decode(family, &mut Reader::new(&bytes)).unwrap();
    assert_eq!(entry(Family::Ipv4).prefix, host);
    assert_eq!(entry(Family::Ipv6).prefix.to_string(), "c000:250::/32");
}

/// RFC 5838 2.5 and 2.6: IPv4 in the first 32 bits of an address field, zeros behind it.
#[test]
fn addresses_of_ipv4() {
    let mut bytes = Vec::new();
    Family::encode(ip("192.0.2.1"), &mut bytes);
    assert_eq!(bytes, [192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes[4..].fill(7);
    let read = Family::Ipv4.decode(&mut Reader::new(&bytes));
    assert_eq!(read, Ok(ip("192.0.2.1")), "what is behind it is ignored");
}

/// RFC 5838 2.1.
#[test]
fn families_of_instances() {
    for (family, instances) in [
        (Family::Ipv6, 0..=31),
        (Family::Ipv4, 64..=95),
        (Family::Ipv6, 128..=255),
    ] {
        for instance in instances {
            assert_eq!(Family::of_instance(instance), family, "{instance}");
        }
        assert_eq!(Family::of_instance(family.instance()), family);
    }
}

/// RFC 5838 2.2 and 2.7: the AF and M6 bits.
#[test]
fn octets_of_an_ipv4_database_description() {
    let options = Options::AF.union(Options::E).union(Options::R);
    let flags = DdFlags {
        init: true,
        more: true,
        master: true,
    };
    let mut bytes = Vec::new();
    let dd = DatabaseDescription {
        options,
        mtu: 1400,
        other_mtu: true,
        flags,
        sequence: 9,
        headers: Vec::new(),
    };
    dd.encode(&mut bytes);
    assert_eq!(bytes, [0, 0, 1, 0x12, 5, 0x78, 0, 0x17, 0, 0, 0, 9]);
}

#[test]
fn scopes() {
    assert_eq!(LsaType::ROUTER.scope(), Some(Scope::Area));
    assert_eq!(LsaType::AS_EXTERNAL.scope(), Some(Scope::As));
    assert_eq!(LsaType::LINK.scope(), Some(Scope::Link));
    // RFC 5340 4.5.1: unknown, U bit clear: link-local; U bit set: as the scope bits say.
    assert_eq!(LsaType(0x2123).scope(), Some(Scope::Link));
    assert_eq!(LsaType(0xa123).scope(), Some(Scope::Area));
    assert_eq!(LsaType(0xc123).scope(), Some(Scope::As));
    assert_eq!(LsaType(0xe123).scope(), None);
    assert_eq!(LsaType(0x6123).scope(), None);
}
