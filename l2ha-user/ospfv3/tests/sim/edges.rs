//! A client that is broken into: whoever has its place and its key says everything that there is to say, and the others'
//! routes stay what they were.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ospfv3::wire::{
    ALL_SPF_ROUTERS, AsExternal, Header, INITIAL_SEQUENCE, InterAreaPrefix, IntraAreaPrefix,
    LinkKind, Lsa, LsaBody, LsaKey, LsaType, MAX_AGE, MAX_SEQUENCE, Network, Options, Packet,
    PacketBody, PrefixEntry, PrefixOptions, Router, RouterBits, RouterLink,
};
use ospfv3::{DbId, Edge, Event, ExternalPrefix, Prefix, PrefixRange, Refusal, Route};

use crate::forge::aged;
use crate::net::{Net, anycast, link_local, local, own_prefix, router_id};

/// Three servers, and two clients that have a link to each.
const SERVERS: usize = 3;
const BROKEN: usize = 3;
const HONEST: usize = 4;
/// The links of the client that is broken into, by server.
const ITS_LINKS: [usize; SERVERS] = [3, 4, 5];

fn edge(node: usize) -> Edge {
    Edge {
        router_id: router_id(node),
        prefixes: vec![PrefixRange::host(own_prefix(node))],
    }
}

/// The network, settled: the first two servers have a service.
fn net() -> Net {
    let mut links = vec![(0, 1, 10), (0, 2, 10), (1, 2, 10)];
    for client in [BROKEN, HONEST] {
        links.extend((0..SERVERS).map(|server| (server, client, 10)));
    }
    let mut net = Net::drawn(11, 5, &links);
    guard(&mut net, SERVERS);
    for node in 0..5 {
        start(&mut net, node);
    }
    net.run(Duration::from_secs(30));
    net
}

/// Each server takes of each client what is its own.
fn guard(net: &mut Net, servers: usize) {
    for link in &net.links {
        let [server, client] = link.ends;
        if server.node < servers && client.node >= servers {
            net.edges.insert(server.interface, edge(client.node));
        }
    }
}

fn start(net: &mut Net, node: usize) {
    let mut prefixes = vec![local(own_prefix(node))];
    if node < 2 {
        let mut service = local(anycast());
        service.metric = node as u16;
        prefixes.push(service);
    }
    net.start_with(node, prefixes);
}

type Table = BTreeMap<Prefix, Route>;

/// Everybody's routes, but for those of the client itself.
fn routes(net: &Net) -> Vec<Table> {
    let others = (0..net.nodes.len()).filter(|node| *node != BROKEN);
    others.map(|node| net.node(node).routes().clone()).collect()
}

fn key(ty: LsaType, id: u32, adv: usize) -> LsaKey {
    LsaKey {
        ty,
        id,
        adv: router_id(adv),
    }
}

/// What the client says to a server.
fn say(net: &mut Net, link: usize, router: Ipv4Addr, body: PacketBody) {
    let [to, from] = net.links[link].ends;
    let source = link_local(from);
    let header = Header {
        router_id: router,
        area: Ipv4Addr::UNSPECIFIED,
        instance_id: 0,
    };
    let bytes = Packet { header, body }.encode(source, ALL_SPF_ROUTERS);
    let frame = crate::net::Frame {
        to,
        source,
        destination: ALL_SPF_ROUTERS,
        bytes,
    };
    net.deliver(&frame);
}

/// Floods an LSA to every server.
fn flood(net: &mut Net, lsa: &Lsa) {
    for link in ITS_LINKS {
        let update = PacketBody::LinkStateUpdate(vec![Ok(lsa.clone())]);
        say(net, link, router_id(BROKEN), update);
    }
}

fn build(key: LsaKey, sequence: i32, body: &LsaBody) -> Lsa {
    Lsa::build(key, sequence, body).unwrap()
}

fn prefixes_of(adv: usize, prefixes: &[Prefix]) -> LsaBody {
    LsaBody::IntraAreaPrefix(IntraAreaPrefix {
        referenced_type: LsaType::ROUTER,
        referenced_id: 0,
        referenced_router: router_id(adv),
        prefixes: prefixes
            .iter()
            .map(|prefix| PrefixEntry {
                prefix: *prefix,
                options: PrefixOptions::LA,
                metric: 0,
            })
            .collect(),
    })
}

fn router(bits: RouterBits, links: Vec<RouterLink>) -> LsaBody {
    LsaBody::Router(Router {
        bits,
        options: Options::V6.union(Options::R).union(Options::E),
        links,
    })
}

/// Links of the client to every server, at the lowest cost.
fn its_links(net: &Net, kind: LinkKind) -> Vec<RouterLink> {
    let links = ITS_LINKS.iter().map(|link| net.links[*link].ends);
    let of = links.map(|[server, client]| RouterLink {
        kind,
        metric: 1,
        interface_id: client.interface,
        neighbor_interface_id: server.interface,
        neighbor_router_id: router_id(server.node),
    });
    of.collect()
}

fn refused(net: &Net, reason: Refusal) -> u64 {
    let servers = (0..SERVERS).map(|node| net.node(node).counters().refused.get(&reason).copied());
    servers.flatten().sum()
}

/// Everything that it can say of itself that is not so.
fn lies_of_itself(net: &Net) -> Vec<(&'static str, Lsa)> {
    let bits = |bits: RouterBits| router(bits, its_links(net, LinkKind::PointToPoint));
    let own = |ty, id, body: &LsaBody| build(key(ty, id, BROKEN), INITIAL_SEQUENCE + 50, body);
    let external = |prefix, forwarding| {
        LsaBody::AsExternal(AsExternal {
            type2: false,
            metric: 0,
            prefix,
            options: PrefixOptions::default(),
            forwarding,
            tag: None,
            referenced: None,
        })
    };
    let default = Prefix::new(Ipv6Addr::UNSPECIFIED, 0).unwrap();
    let summary = LsaBody::InterAreaPrefix(InterAreaPrefix {
        metric: 0,
        prefix: anycast(),
        options: PrefixOptions::default(),
    });
    let network = LsaBody::Network(Network {
        options: Options::V6.union(Options::R),
        attached: (0..5).map(router_id).collect(),
    });
    let all = RouterBits {
        virtual_link: true,
        external: true,
        border: true,
    };
    let mut others = prefixes_of(BROKEN, &[anycast()]);
    if let LsaBody::IntraAreaPrefix(body) = &mut others {
        body.referenced_router = router_id(0);
    }
    vec![
        (
            "the service is here",
            own(
                LsaType::INTRA_AREA_PREFIX,
                7,
                &prefixes_of(BROKEN, &[anycast()]),
            ),
        ),
        (
            "with an address of its own",
            own(
                LsaType::INTRA_AREA_PREFIX,
                8,
                &prefixes_of(BROKEN, &[own_prefix(BROKEN), anycast()]),
            ),
        ),
        (
            "another client is here",
            own(
                LsaType::INTRA_AREA_PREFIX,
                9,
                &prefixes_of(BROKEN, &[own_prefix(HONEST)]),
            ),
        ),
        (
            "in a server's name",
            own(LsaType::INTRA_AREA_PREFIX, 10, &others),
        ),
        (
            "a border of areas",
            own(
                LsaType::ROUTER,
                0,
                &bits(RouterBits {
                    border: true,
                    ..RouterBits::default()
                }),
            ),
        ),
        ("all bits", own(LsaType::ROUTER, 0, &bits(all))),
        (
            "networks",
            own(
                LsaType::ROUTER,
                0,
                &router(RouterBits::default(), its_links(net, LinkKind::Transit)),
            ),
        ),
        ("a network of all", own(LsaType::NETWORK, 3, &network)),
        ("a summary", own(LsaType::INTER_AREA_PREFIX, 3, &summary)),
        (
            "from outside",
            own(LsaType::AS_EXTERNAL, 3, &external(anycast(), None)),
        ),
        (
            "everything",
            own(LsaType::AS_EXTERNAL, 4, &external(default, None)),
        ),
        (
            "its own, by way of another",
            own(
                LsaType::AS_EXTERNAL,
                5,
                &external(own_prefix(BROKEN), Some(IpAddr::V6(Ipv6Addr::LOCALHOST))),
            ),
        ),
    ]
}

#[test]
fn what_it_says_of_itself_is_its_own_or_nothing() {
    let mut net = net();
    let before = routes(&net);
    assert!(before[2].contains_key(&anycast()) && before[3].contains_key(&anycast()));
    for (what, lsa) in lies_of_itself(&net) {
        let refusals = refused(&net, Refusal::EdgeNotGranted);
        flood(&mut net, &lsa);
        assert_eq!(
            refused(&net, Refusal::EdgeNotGranted),
            refusals + 3,
            "{what}"
        );
        net.run(Duration::from_secs(10));
        assert_eq!(routes(&net), before, "{what}");
        for server in 0..SERVERS {
            let held = net.node(server).database().lsas;
            let taken = held.iter().any(|it| {
                it.advertising_router == router_id(BROKEN)
                    && (it.ty, u32::from(it.link_state_id)) == (lsa.key().ty, lsa.key().id)
                    && it.body == *lsa.body()
            });
            assert!(!taken, "{what}");
        }
    }
    let whose = |event: &Event| {
        matches!(event, Event::Refused { reason: Refusal::EdgeNotGranted, mismatch: Some(it), .. }
        if it.theirs == router_id(BROKEN).to_bits())
    };
    assert!(net.events.iter().any(|(_, _, event)| whose(event)));
}

/// What it may say of itself is used: but nothing goes through it, at whatever cost it offers that.
#[test]
fn nothing_goes_through_it() {
    let mut net = net();
    // The servers reach each other over it, or not at all.
    for link in 0..3 {
        net.links[link].cut = true;
    }
    net.run(Duration::from_secs(30));
    let before = routes(&net);
    let cheap = router(
        RouterBits::default(),
        its_links(&net, LinkKind::PointToPoint),
    );
    flood(
        &mut net,
        &build(
            key(LsaType::ROUTER, 0, BROKEN),
            INITIAL_SEQUENCE + 50,
            &cheap,
        ),
    );
    net.run_ms(900);
    for server in 0..SERVERS {
        let other = own_prefix((server + 1) % SERVERS);
        assert_eq!(net.node(server).routes().get(&other), None);
        assert!(net.node(server).alternates().is_empty());
        assert!(net.node(server).routes().contains_key(&own_prefix(BROKEN)));
    }
    assert_eq!(routes(&net), before);
}

/// Every LSA of others that it has, in every instance that could replace the right one.
#[test]
fn nothing_of_others_is_taken_from_it() {
    let mut net = net();
    let before = routes(&net);
    let held = net.node(BROKEN).database().lsas;
    let others = held.iter().filter(|lsa| {
        lsa.advertising_router != router_id(BROKEN) && !matches!(lsa.scope, DbId::Link(_))
    });
    let others: Vec<_> = others.cloned().collect();
    assert!(others.len() >= 8);
    for lsa in &others {
        let of = LsaKey {
            ty: lsa.ty,
            id: lsa.link_state_id.into(),
            adv: lsa.advertising_router,
        };
        let sequence = lsa.sequence.cast_signed();
        let empty = match &lsa.body {
            LsaBody::Router(_) => router(RouterBits::default(), Vec::new()),
            _ => prefixes_of(0, &[]),
        };
        let mut acts = vec![
            aged(&build(of, sequence, &lsa.body), MAX_AGE),
            aged(&build(of, sequence + 1, &lsa.body), MAX_AGE),
        ];
        for number in [sequence, sequence + 1, sequence + 100, MAX_SEQUENCE] {
            acts.push(aged(&build(of, number, &empty), 0));
        }
        for raw in acts {
            for link in ITS_LINKS {
                raw_update(&mut net, link, &raw);
            }
            net.run_ms(500);
            assert_eq!(routes(&net), before, "{of:?}");
        }
    }
    net.run(Duration::from_secs(60));
    assert_eq!(routes(&net), before);
    assert!(refused(&net, Refusal::EdgeStranger) > 0);
    // No sequence number came near its end.
    for node in 0..SERVERS {
        let held = net.node(node).database().lsas;
        let most = held
            .iter()
            .map(|it| it.sequence.cast_signed())
            .max()
            .unwrap();
        assert!(most < INITIAL_SEQUENCE + 10_000, "{most:x}");
    }
}

fn raw_update(net: &mut Net, link: usize, lsa: &[u8]) {
    let [to, from] = net.links[link].ends;
    let (source, destination) = (link_local(from), ALL_SPF_ROUTERS);
    let mut bytes = vec![0; 20];
    bytes[..2].copy_from_slice(&[3, 4]);
    bytes[4..8].copy_from_slice(&router_id(BROKEN).octets());
    bytes[19] = 1;
    bytes.extend(lsa);
    let length = bytes.len() as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    let checksum = ospfv3::wire::pseudo_header_checksum(source, destination, &bytes);
    bytes[12..14].copy_from_slice(&checksum.to_be_bytes());
    net.deliver(&crate::net::Frame {
        to,
        source,
        destination,
        bytes,
    });
}

#[test]
fn it_cannot_fill_anything() {
    let mut net = net();
    let before = routes(&net);
    let bytes = |net: &Net| -> usize {
        let lsas = net.node(0).database().lsas;
        lsas.iter().map(|lsa| usize::from(lsa.length)).sum()
    };
    let held = bytes(&net);
    for number in 1000..11_000 {
        for adv in [BROKEN, HONEST, 0, 1, 77] {
            let of = key(LsaType::INTRA_AREA_PREFIX, number, adv);
            let body = prefixes_of(adv, &[own_prefix(adv)]);
            let update = PacketBody::LinkStateUpdate(vec![Ok(build(of, INITIAL_SEQUENCE, &body))]);
            say(&mut net, ITS_LINKS[0], router_id(BROKEN), update);
        }
    }
    assert!(bytes(&net) < held + 64 * 1024, "{}", bytes(&net));
    net.run(Duration::from_secs(60));
    assert_eq!(routes(&net), before);
    let lsas = net.node(1).database().lsas;
    assert!(lsas.len() < 400, "{}", lsas.len());
}

#[test]
fn it_is_nobody_else() {
    let mut net = net();
    let before = routes(&net);
    for other in [HONEST, 1, 77] {
        let update = PacketBody::LinkStateUpdate(Vec::new());
        say(&mut net, ITS_LINKS[0], router_id(other), update);
    }
    assert_eq!(refused(&net, Refusal::EdgeRouterId), 3);
    // A router in its place with the Router ID of another: no adjacency.
    net.run(Duration::from_secs(10));
    assert_eq!(routes(&net), before);
}

/// A server that restarts has nobody but clients to learn from what it said before; what they have is outbid, and what
/// is not so any more is flushed.
#[test]
fn a_server_without_others_comes_back() {
    let mut net = Net::drawn(12, 3, &[(0, 1, 10), (0, 2, 10)]);
    guard(&mut net, 1);
    let extra = own_prefix(200);
    net.start_with(
        0,
        vec![local(own_prefix(0)), local(anycast()), local(extra)],
    );
    start_plain(&mut net, 1);
    start_plain(&mut net, 2);
    net.run(Duration::from_secs(20));
    // It has originated its LSAs several times.
    for number in 0..5 {
        net.set_prefixes(
            0,
            vec![local(own_prefix(0)), local(own_prefix(300 + number))],
        );
        net.run(Duration::from_secs(6));
    }
    net.set_prefixes(
        0,
        vec![local(own_prefix(0)), local(anycast()), local(extra)],
    );
    net.run(Duration::from_secs(10));
    let client = |net: &Net| net.node(1).routes().clone();
    assert!(client(&net).contains_key(&extra));
    let mut right = client(&net);
    right.remove(&extra);
    net.crash(0);
    net.run(Duration::from_secs(1));
    net.start_with(0, vec![local(own_prefix(0)), local(anycast())]);
    net.run(Duration::from_secs(20));
    assert_eq!(client(&net), right);
    assert_eq!(net.node(2).routes().len(), right.len());
}

fn start_plain(net: &mut Net, node: usize) {
    net.start_with(node, vec![local(own_prefix(node))]);
}

/// A gateway's networks are taken as long as they are granted, while the adjacency lives.
#[test]
fn a_gateway_leads_to_what_it_was_given() {
    let mut net = net();
    let network = |n: u16| Prefix::new(Ipv6Addr::new(0x2001, 0xdb8, 9, n, 0, 0, 0, 0), 64).unwrap();
    let external = |n| ExternalPrefix {
        prefix: network(n),
        metric: 20,
        type2: true,
        tag: None,
    };
    let change = |net: &mut Net, edge: &Edge| {
        let now = net.now;
        for link in ITS_LINKS {
            let end = net.links[link].ends[0];
            net.edges.insert(end.interface, edge.clone());
            let config = net.interface_config(end, 10);
            net.with(end.node, |speaker| speaker.add_interface(now, config));
        }
    };
    let mut gateway = edge(BROKEN);
    let has = |net: &Net, n| (0..SERVERS).all(|it| net.node(it).routes().contains_key(&network(n)));
    let now = net.now;
    net.with(BROKEN, |speaker| {
        speaker.set_externals(now, vec![external(1), external(2)])
    });
    net.run(Duration::from_secs(10));
    assert!(!has(&net, 1) && !has(&net, 2));
    gateway.prefixes.push(PrefixRange {
        prefix: network(1),
        lengths: 64..=64,
    });
    change(&mut net, &gateway);
    let now = net.now;
    // As at the next refresh.
    net.with(BROKEN, |speaker| speaker.set_externals(now, Vec::new()));
    net.run(Duration::from_secs(10));
    let now = net.now;
    net.with(BROKEN, |speaker| {
        speaker.set_externals(now, vec![external(1), external(2)])
    });
    net.run(Duration::from_secs(10));
    assert!(has(&net, 1) && !has(&net, 2));
    // The other client reaches it over the servers.
    assert!(net.node(HONEST).routes().contains_key(&network(1)));
    gateway.prefixes.pop();
    change(&mut net, &gateway);
    net.run(Duration::from_secs(1));
    assert!(!has(&net, 1));
    assert!(net.node(0).routes().contains_key(&own_prefix(BROKEN)));
    let full = |node: usize| {
        net.node(node)
            .neighbors()
            .iter()
            .filter(|it| it.state == ospfv3::NeighborState::Full)
            .count()
    };
    assert_eq!((0..SERVERS).map(full).collect::<Vec<_>>(), [4, 4, 4]);
}
