//! A neighbour that is Full and sends what it should not, and one that comes and goes: the routes
//! stay, and the counters, the log and `l2ha ospf` say what happens.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddrV6},
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{
    Cloud, CloudOptions, Daemon, Lab, Link, LsaKey, NodeConfig, PATIENCE, join, wait_for,
};
use ospfv3::wire::{
    ALL_SPF_ROUTERS, Header, Hello, INITIAL_SEQUENCE, Lsa, LsaBody, LsaKey as WireKey, LsaType,
    MAX_AGE, MAX_SEQUENCE, Options, Packet, PacketBody, Router, RouterBits, pseudo_header_checksum,
};
use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};

const OSPF: i32 = 89;
/// Where LSAs begin in an update, and where the checksums are.
const LSAS_AT: usize = 20;
const CHECKSUM: std::ops::Range<usize> = 12..14;
const LSA_CHECKSUM: usize = LSAS_AT + 16;
const SERVICE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80);
const US: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const THEM: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// A router that there is not.
const STRANGER: Ipv4Addr = Ipv4Addr::new(9, 9, 9, 9);

/// Two nodes, and a socket in the namespace of the second that speaks in its name.
struct Pair {
    cloud: Arc<Cloud>,
    us: Arc<Daemon>,
    them: Arc<Daemon>,
    socket: Socket,
    /// Where the socket is, and where it sends to.
    source: Ipv6Addr,
    group: SocketAddrV6,
}

impl Pair {
    fn start(lab: &Lab) -> Result<Self> {
        let (cloud, hosts) = lab.cloud(CloudOptions::default(), &["us", "them"])?;
        let mut us = NodeConfig::new(lab, &hosts[0])?;
        let mut them = NodeConfig::new(lab, &hosts[1])?;
        join(&mut us, &mut them, Link::default())?;
        us.services.push(("web".into(), SERVICE));
        for config in [&mut us, &mut them] {
            config.ospf.as_mut().context("no OSPF")?.bfd = Some("200x5".into());
        }
        let interface = them.tunnel("us").interface.clone();
        let us = Daemon::start(lab, us)?;
        let them = Daemon::start(lab, them)?;
        let ns = &hosts[1].ns;
        let links = ns.ip_json(&["-6", "addr", "show", "dev", &interface, "scope", "link"])?;
        let source = links[0]["addr_info"][0]["local"].as_str();
        let source: Ipv6Addr = source.context("no link-local address")?.parse()?;
        let index = ns.ifindex(&interface)?.context("no interface")?;
        let socket = ns.enter(|| -> Result<Socket> {
            let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::from(OSPF)))?;
            socket.bind_device(Some(interface.as_bytes()))?;
            socket.set_multicast_if_v6(index)?;
            socket.set_multicast_loop_v6(false)?;
            Ok(socket)
        })??;
        let pair = Self {
            cloud,
            us,
            them,
            socket,
            source,
            group: SocketAddrV6::new(ALL_SPF_ROUTERS, 0, 0, index),
        };
        pair.wait_well()?;
        Ok(pair)
    }

    /// Both are Full, BFD watches, and there is a route to the service.
    #[track_caller]
    fn wait_well(&self) -> Result<()> {
        wait_for("both to be well", PATIENCE, || {
            let full = [self.us.full_neighbours()?, self.them.full_neighbours()?];
            ensure!(full == [vec![THEM], vec![US]], "{full:?}");
            let watched = self.us.bfd_sessions()?;
            ensure!(watched.iter().any(|it| it["state"] == "up"), "{watched:?}");
            ensure!(self.has_route()?, "no route");
            Ok(Some(()))
        })
    }

    fn has_route(&self) -> Result<bool> {
        let ns = &self.them.config().host.ns;
        Ok(ns
            .run(["ip", "-6", "route"])?
            .contains(&format!("{SERVICE} ")))
    }

    fn bytes(&self, router_id: Ipv4Addr, body: PacketBody) -> Vec<u8> {
        let header = Header {
            router_id,
            area: Ipv4Addr::UNSPECIFIED,
            instance_id: 0,
        };
        Packet { header, body }.encode(self.source, ALL_SPF_ROUTERS)
    }

    fn send(&self, bytes: &[u8]) -> Result<()> {
        self.socket.send_to(bytes, &self.group.into())?;
        Ok(())
    }

    /// An update as bytes, with the age and the checksum of its LSA changed.
    fn update(&self, lsa: &Lsa, age: u16, checksum: u16) -> Vec<u8> {
        let body = PacketBody::LinkStateUpdate(vec![Ok(lsa.clone())]);
        let mut bytes = self.bytes(THEM, body);
        bytes[LSAS_AT..LSAS_AT + 2].copy_from_slice(&age.to_be_bytes());
        for (byte, wrong) in bytes[LSA_CHECKSUM..].iter_mut().zip(checksum.to_be_bytes()) {
            *byte ^= wrong;
        }
        bytes[CHECKSUM].fill(0);
        let right = pseudo_header_checksum(self.source, ALL_SPF_ROUTERS, &bytes);
        bytes[CHECKSUM].copy_from_slice(&right.to_be_bytes());
        bytes
    }

    fn counters(&self) -> Result<Value> {
        Ok(self.us.status()?["ospf"]["counters"].clone())
    }

    fn refused(&self, reason: &str) -> Result<u64> {
        Ok(self.counters()?["refused"][reason].as_u64().unwrap_or(0))
    }

    /// Does what is refused for a reason, which the counters, `l2ha ospf interfaces` and the log say.
    fn refuses(&self, reason: &str, act: impl FnOnce() -> Result<()>) -> Result<()> {
        let (before, mark) = (self.refused(reason)?, self.us.log_mark());
        act()?;
        wait_for(reason, PATIENCE, || {
            ensure!(self.refused(reason)? > before, "{}", self.counters()?);
            let log = self.us.log_since(mark);
            ensure!(log.contains("OSPF packet refused"), "not in the log: {log}");
            Ok(Some(()))
        })?;
        let shown = self.us.ospf("interfaces")?;
        let shown = shown.to_string();
        ensure!(shown.contains(&format!("\"{reason}\"")), "{shown}");
        self.check_unmoved()
    }

    fn send_refused(&self, reason: &str, bytes: &[u8]) -> Result<()> {
        self.refuses(reason, || self.send(bytes))
    }

    /// Nothing that was forged is believed, and the adjacency stands.
    fn check_unmoved(&self) -> Result<()> {
        ensure!(self.us.full_neighbours()? == [THEM], "the adjacency");
        let database = self.us.database()?;
        let forged = database.iter().any(|lsa| lsa.router == STRANGER);
        ensure!(!forged && self.has_route()?, "{database:x?}");
        Ok(())
    }

    /// Our own Router-LSA as a node has it.
    fn router_lsa(at: &Daemon) -> Result<Option<LsaKey>> {
        let database = at.database()?;
        let mut own = database.into_iter();
        Ok(own.find(|lsa| lsa.router == US && lsa.ls_type == LsaType::ROUTER.0))
    }

    /// Waits until both have one Router-LSA of ours, with such a sequence number, and the route.
    #[track_caller]
    fn wait_reclaimed(&self, sequence: impl Fn(i32) -> bool) -> Result<i32> {
        wait_for("our Router-LSA to be ours again", PATIENCE, || {
            let ours = Self::router_lsa(&self.us)?.context("none here")?;
            let theirs = Self::router_lsa(&self.them)?.context("none there")?;
            let number = ours.sequence.cast_signed();
            ensure!(ours == theirs && sequence(number), "{ours:x?}, {theirs:x?}");
            ensure!(self.has_route()?, "no route");
            Ok(Some(number))
        })
    }

    fn reclaimed(&self) -> Result<u64> {
        let count = self.counters()?["self_originated_received"].as_u64();
        count.context("no counter")
    }
}

/// A Router-LSA without links.
fn router_lsa(adv: Ipv4Addr, sequence: i32) -> Result<Lsa> {
    let key = WireKey {
        ty: LsaType::ROUTER,
        id: 0,
        adv,
    };
    let body = Router {
        bits: RouterBits::default(),
        options: Options::V6.union(Options::R),
        links: Vec::new(),
    };
    Lsa::build(key, sequence, &LsaBody::Router(body)).context("too long")
}

fn hello(dead: u16) -> PacketBody {
    PacketBody::Hello(Hello {
        interface_id: 1,
        priority: 1,
        options: Options::V6.union(Options::E).union(Options::R),
        hello_interval: 1,
        dead_interval: dead,
        designated_router: Ipv4Addr::UNSPECIFIED,
        backup_router: Ipv4Addr::UNSPECIFIED,
        neighbors: Vec::new(),
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn broken_packets_are_refused() -> Result<()> {
    Lab::run("hostile-broken", |lab| {
        let pair = Pair::start(lab)?;
        let lsa = router_lsa(STRANGER, INITIAL_SEQUENCE)?;
        pair.send_refused("lsa_checksum", &pair.update(&lsa, 1, 0x0100))?;
        let mut bytes = pair.update(&lsa, 1, 0);
        bytes[CHECKSUM.start] ^= 1;
        pair.send_refused("checksum", &bytes)?;
        let whole = pair.update(&lsa, 1, 0);
        pair.send_refused("length", &whole[..whole.len() - 4])?;
        pair.send_refused("truncated", &whole[..3])?;
        let reserved = router_lsa(STRANGER, i32::MIN)?;
        pair.send_refused("lsa_sequence", &pair.update(&reserved, 1, 0))?;
        // A crowd: what one interface remembers is bounded.
        let crowd = 2000;
        pair.refuses("too_many_neighbors", || {
            for number in 0..crowd {
                let router_id = Ipv4Addr::from_bits(0x0a01_0000 + number);
                pair.send(&pair.bytes(router_id, hello(3)))?;
            }
            Ok(())
        })?;
        let neighbors = pair.us.ospf("neighbors")?;
        let count = neighbors.as_array().context("no list")?.len();
        lab.say(format_args!("{count} neighbours of {crowd} that said so"));
        ensure!(count < 500, "{count} neighbours");
        // The same LSA, unbroken, is taken: so far it was the break that was refused.
        pair.send(&whole)?;
        wait_for("the stranger's LSA", PATIENCE, || {
            let database = pair.us.database()?;
            let there = database.iter().any(|it| it.router == STRANGER);
            ensure!(there, "{database:x?}");
            Ok(Some(()))
        })
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn our_own_lsas_stay_ours() -> Result<()> {
    Lab::run("hostile-own", |lab| {
        let pair = Pair::start(lab)?;
        let now = |daemon| Pair::router_lsa(daemon)?.context("no Router-LSA");
        let first = now(&pair.us)?.sequence.cast_signed();
        let (counted, mark) = (pair.reclaimed()?, pair.us.log_mark());

        // RFC 2328 14.1, by a router that may not.
        let lsa = router_lsa(US, first + 1)?;
        pair.send(&pair.update(&lsa, MAX_AGE, 0))?;
        let second = pair.wait_reclaimed(|it| it > first + 1)?;
        // RFC 2328 13.4.
        let lsa = router_lsa(US, second + 1000)?;
        pair.send(&pair.update(&lsa, 1, 0))?;
        let third = pair.wait_reclaimed(|it| it > second + 1000)?;
        // RFC 2328 12.1.6: the number has to begin again, after a flush.
        let start = Instant::now();
        let lsa = router_lsa(US, MAX_SEQUENCE)?;
        pair.send(&pair.update(&lsa, 1, 0))?;
        let fourth = pair.wait_reclaimed(|it| it < INITIAL_SEQUENCE + 10)?;
        lab.say(format_args!(
            "sequence {first:#x}, flushed: {second:#x}, outbid: {third:#x}, wrapped: {fourth:#x} after {:?}",
            start.elapsed()
        ));
        ensure!(pair.reclaimed()? >= counted + 3, "{}", pair.counters()?);
        let log = pair.us.log_since(mark);
        let lines = log.lines().filter(|it| it.contains("LSA of ours"));
        ensure!(lines.count() == 1, "{log}");

        // A flood of them fills no log, and wins nothing.
        let mark = pair.us.log_mark();
        for number in 1..=2000 {
            let lsa = router_lsa(US, fourth + number)?;
            pair.send(&pair.update(&lsa, 1, 0))?;
        }
        let last = pair.wait_reclaimed(|it| it > fourth)?;
        lab.say(format_args!("after a flood of 2000: {last:#x}"));
        let log = pair.us.log_since(mark);
        ensure!(log.lines().count() < 50, "{log}");
        pair.check_unmoved()
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_neighbour_that_flaps_is_reported_and_costs_little() -> Result<()> {
    const FLAPS: u64 = 5;
    Lab::run("hostile-flaps", |lab| {
        let pair = Pair::start(lab)?;
        let them = Arc::clone(&pair.them.config().host);
        let (mark, before) = (pair.us.log_mark(), pair.counters()?);
        for _ in 0..FLAPS {
            pair.cloud.cut(&them)?;
            wait_for("the loss", PATIENCE, || {
                let full = pair.us.full_neighbours()?;
                ensure!(full.is_empty(), "still Full with {full:?}");
                Ok(Some(()))
            })?;
            pair.cloud.heal(&them)?;
            pair.wait_well()?;
        }
        let interfaces = pair.us.ospf("interfaces")?;
        let all = interfaces.as_array().context("no list")?;
        let lost: u64 = all
            .iter()
            .filter_map(|it| it["adjacencies_lost"].as_u64())
            .sum();
        ensure!(lost == FLAPS, "{lost} lost: {interfaces}");
        let log = pair.us.log_since(mark);
        let warned = log.lines().filter(|it| it.contains("adjacency flaps"));
        ensure!(warned.count() == 1, "{log}");
        // And what that costs does not pile up.
        sleep(Duration::from_secs(3));
        let after = pair.counters()?;
        let grown = |name: &str| -> Result<u64> {
            let number = |of: &Value| of[name].as_u64().context("no counter");
            Ok(number(&after)? - number(&before)?)
        };
        let (spf, lsas) = (grown("spf_runs")?, grown("lsas_originated")?);
        lab.say(format_args!(
            "{FLAPS} flaps: {spf} SPF runs, {lsas} LSAs originated"
        ));
        ensure!(
            spf <= 10 * FLAPS && lsas <= 8 * FLAPS,
            "{spf} runs, {lsas} LSAs"
        );
        pair.check_unmoved()
    })
}
