//! Packets forged in the name of node 1, which is a real neighbour of node 0.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ospfv3::Refusal;
use ospfv3::wire::{
    ALL_SPF_ROUTERS, BadLsa, Header, Hello, Lsa, LsaBody, LsaHeader, LsaKey, LsaType, Options,
    Packet, PacketBody, Router, RouterBits,
};

use crate::net::{Frame, Net, link_local, router_id};

pub(crate) const STRANGER: Ipv4Addr = Ipv4Addr::new(9, 9, 9, 9);

/// 0 - 1 and 0 - 2, all Full.
pub(crate) fn net() -> Net {
    let mut net = Net::build(4, 3, &[(0, 1, 10), (0, 2, 10)]);
    net.run(Duration::from_secs(20));
    net.captured = Some(Vec::new());
    net
}

pub(crate) fn forge(net: &mut Net, body: PacketBody) {
    let source = link_local(net.links[0].ends[1]);
    forge_from(net, source, body);
}

/// As [`forge`], from another address.
pub(crate) fn forge_from(net: &mut Net, source: Ipv6Addr, body: PacketBody) {
    let [to, _] = net.links[0].ends;
    let header = Header {
        router_id: router_id(1),
        area: Ipv4Addr::UNSPECIFIED,
        instance_id: 0,
    };
    let bytes = Packet { header, body }.encode(source, ALL_SPF_ROUTERS);
    net.deliver(&Frame {
        to,
        source,
        destination: ALL_SPF_ROUTERS,
        bytes,
    });
}

pub(crate) fn update(net: &mut Net, lsa: &Lsa) {
    forge(net, PacketBody::LinkStateUpdate(vec![Ok(lsa.clone())]));
}

pub(crate) fn router_lsa(adv: Ipv4Addr, sequence: i32) -> Lsa {
    let key = LsaKey {
        ty: LsaType::ROUTER,
        id: 0,
        adv,
    };
    let options = Options::V6.union(Options::R);
    let body = Router {
        bits: RouterBits::default(),
        options,
        links: Vec::new(),
    };
    Lsa::build(key, sequence, &LsaBody::Router(body)).unwrap()
}

/// What node 0 has sent to a node since the last look.
pub(crate) fn sent_to(net: &mut Net, node: usize) -> Vec<PacketBody> {
    let frames = net.captured.as_mut().unwrap();
    let mine: Vec<Frame> = frames
        .iter()
        .filter(|f| f.to.node == node)
        .cloned()
        .collect();
    frames.clear();
    let of_0 = |f: &Frame| {
        let packet = Packet::decode(&f.bytes, f.source, f.destination).unwrap();
        (packet.header.router_id == router_id(0)).then_some(packet.body)
    };
    mine.iter().filter_map(of_0).collect()
}

pub(crate) fn updates(bodies: &[PacketBody]) -> Vec<LsaHeader> {
    let of = |body: &PacketBody| match body {
        PacketBody::LinkStateUpdate(lsas) => lsas
            .iter()
            .filter_map(|lsa: &Result<Lsa, BadLsa>| lsa.as_ref().ok())
            .map(|lsa| *lsa.header())
            .collect(),
        _ => Vec::new(),
    };
    bodies.iter().flat_map(of).collect()
}

pub(crate) fn acks(bodies: &[PacketBody]) -> Vec<LsaHeader> {
    let of = |body: &PacketBody| match body {
        PacketBody::LinkStateAck(headers) => headers.clone(),
        _ => Vec::new(),
    };
    bodies.iter().flat_map(of).collect()
}

pub(crate) fn has(net: &Net, node: usize, adv: Ipv4Addr) -> bool {
    net.node(node)
        .database()
        .lsas
        .iter()
        .any(|lsa| lsa.advertising_router == adv)
}

pub(crate) fn refused(net: &Net, reason: Refusal) -> u64 {
    net.node(0)
        .counters()
        .refused
        .get(&reason)
        .copied()
        .unwrap_or(0)
}

pub(crate) fn aged(lsa: &Lsa, age: u16) -> Vec<u8> {
    let header = Header {
        router_id: router_id(1),
        area: Ipv4Addr::UNSPECIFIED,
        instance_id: 0,
    };
    let body = PacketBody::LinkStateUpdate(vec![Ok(lsa.clone())]);
    let packet = Packet { header, body }.encode(Ipv6Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED);
    let mut bytes = packet[20..].to_vec();
    bytes[..2].copy_from_slice(&age.to_be_bytes());
    bytes
}

pub(crate) fn forge_raw_update(net: &mut Net, lsa: &[u8]) {
    let [to, from] = net.links[0].ends;
    let (source, destination) = (link_local(from), ALL_SPF_ROUTERS);
    let mut bytes = vec![3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    bytes[4..8].copy_from_slice(&router_id(1).octets());
    bytes.extend(lsa);
    let length = bytes.len() as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    let checksum = ospfv3::wire::pseudo_header_checksum(source, destination, &bytes);
    bytes[12..14].copy_from_slice(&checksum.to_be_bytes());
    net.deliver(&Frame {
        to,
        source,
        destination,
        bytes,
    });
}

/// A Hello of node 1 that names node 0.
pub(crate) fn hello() -> PacketBody {
    PacketBody::Hello(Hello {
        interface_id: 11,
        priority: 1,
        options: Options::V6.union(Options::E).union(Options::R),
        hello_interval: 1,
        dead_interval: 4,
        designated_router: Ipv4Addr::UNSPECIFIED,
        backup_router: Ipv4Addr::UNSPECIFIED,
        neighbors: vec![router_id(0)],
    })
}
