//! Ways that carry less than the underlay's interface promises, and those who only say so.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{
    Cloud, CloudOptions, Daemon, Host, Lab, Link, NodeConfig, PATIENCE, Pair, join, link_address,
    wait_for,
};
use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};

/// What the way carries, in bytes of outer packets.
const NARROW: u16 = 1400;
/// How much is transferred.
const AMOUNT: usize = 300_000;
/// An address of the receiver that only OSPF leads to.
const SERVICE: &str = "10.99.0.2";
/// EtherType of a VLAN tag (IEEE 802.1Q).
const TAGGED: u16 = 0x8100;
/// Port of the transfers.
const PORT: u16 = 7000;

/// Two nodes, with OSPF for both families between them, and what the tunnel takes over 1500 bytes.
struct World {
    pair: Pair,
    mtu: u64,
    v6: bool,
}

impl World {
    fn new(lab: &Lab, mode: &str, v6: bool) -> Result<Self> {
        let (cloud, hosts) = lab.cloud(CloudOptions::default(), &["sender", "receiver"])?;
        let mut a = NodeConfig::new(lab, &hosts[0])?;
        let mut b = NodeConfig::new(lab, &hosts[1])?;
        let link = Link {
            v6,
            ..Link::default()
        };
        join(&mut a, &mut b, link)?;
        for (number, config) in [&mut a, &mut b].into_iter().enumerate() {
            config.mode = mode.into();
            config.tunnels[0].addresses = vec![
                format!("{}/64", Pair::ADDRESSES[number]),
                format!("{}/24", Pair::ADDRESSES_V4[number]),
            ];
            let ospf = config.ospf.as_mut().context("no OSPF")?;
            ospf.more.push("ipv4 = true".into());
        }
        let service = format!("[[services]]\nname = \"four\"\naddress = \"{SERVICE}\"\n");
        b.more.push_str(&service);
        let pair = Pair {
            sender: Daemon::start(lab, a)?,
            receiver: Daemon::start(lab, b)?,
            cloud,
            hosts,
        };
        let world = Self {
            pair,
            mtu: if v6 { 1422 } else { 1442 },
            v6,
        };
        wait_for("an IPv4 route", PATIENCE, || {
            let route = world.sender().ns.run(["ip", "route", "show", SERVICE])?;
            Ok(route.contains("proto ospf").then_some(()))
        })?;
        for daemon in world.daemons() {
            world.wait_carries(daemon, world.mtu)?;
            wait_healthy(daemon)?;
        }
        Ok(world)
    }

    fn sender(&self) -> &Host {
        &self.pair.hosts[0]
    }

    fn receiver(&self) -> &Host {
        &self.pair.hosts[1]
    }

    fn daemons(&self) -> [&Arc<Daemon>; 2] {
        [&self.pair.sender, &self.pair.receiver]
    }

    /// What a node has found to fit.
    #[track_caller]
    fn wait_carries(&self, daemon: &Daemon, bytes: u64) -> Result<()> {
        wait_for(&format!("{bytes} bytes to fit"), PATIENCE, || {
            let status = daemon.status()?;
            let carries = &status["tunnels"][0]["carries"];
            ensure!(*carries == bytes, "{carries}, {}", status["path_mtu"]);
            Ok(Some(()))
        })
    }

    /// The cloud's router carries so much to both hosts; nothing for all.
    fn carry(&self, mtu: Option<u16>) -> Result<()> {
        carry(&self.pair.cloud, &self.pair.hosts, mtu)
    }

    /// The cloud's router sends no ICMP of its own any more.
    fn say_nothing(&self) -> Result<()> {
        let router = self.pair.cloud.router();
        router.ip_batch_for("-4", "rule add pref 5 iif lo ipproto icmp blackhole\n")?;
        router.ip_batch_for("-6", "rule add pref 5 iif lo ipproto ipv6-icmp blackhole\n")
    }

    /// How long it takes to transfer by TCP.
    fn transfer(&self, to: IpAddr) -> Result<Duration> {
        let to = SocketAddr::new(to, PORT);
        let listener = self.receiver().ns.enter(|| TcpListener::bind(to))??;
        let reader = thread::spawn(move || -> Result<usize> {
            let (mut stream, _) = listener.accept()?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let mut bytes = Vec::new();
            Ok(stream.read_to_end(&mut bytes)?)
        });
        let start = Instant::now();
        let mut stream = self
            .sender()
            .ns
            .enter(|| TcpStream::connect_timeout(&to, PATIENCE))??;
        stream.write_all(&vec![7; AMOUNT])?;
        drop(stream);
        let read = reader
            .join()
            .map_err(|_| anyhow::anyhow!("the reader panicked"))??;
        ensure!(read == AMOUNT, "{read} bytes have arrived");
        Ok(start.elapsed())
    }

    /// By IPv6, IPv4 on the tunnel, and IPv4 by a route of OSPF.
    fn targets() -> Result<[IpAddr; 3]> {
        Ok([
            Pair::ADDRESSES[1].parse()?,
            Pair::ADDRESSES_V4[1].parse()?,
            SERVICE.parse()?,
        ])
    }

    /// What the kernel believes of the way to an address, in bytes.
    fn route_mtu(&self, to: &str) -> Result<Option<u64>> {
        let route = self.sender().ns.ip_json(&["route", "get", to])?;
        Ok(route[0]["metrics"][0]["mtu"].as_u64())
    }
}

fn carry(cloud: &Cloud, hosts: &[Arc<Host>], mtu: Option<u16>) -> Result<()> {
    let mtu = mtu.map_or_else(String::new, |mtu| format!(" mtu lock {mtu}"));
    for host in hosts {
        let port = host.port();
        for (family, to) in [
            ("-4", format!("{}/32", host.v4)),
            ("-6", format!("{}/128", host.v6)),
        ] {
            let line = format!("route replace {to} dev {port}{mtu}\n");
            cloud.router().ip_batch_for(family, &line)?;
        }
    }
    Ok(())
}

#[track_caller]
fn wait_healthy(daemon: &Daemon) -> Result<()> {
    wait_for("a healthy node", PATIENCE, || {
        let status = daemon.status()?;
        ensure!(status["health"] == "healthy", "{}", status["problems"]);
        Ok(Some(()))
    })
}

/// The text and the remedy of a problem, once it is there.
#[track_caller]
fn wait_problem(daemon: &Daemon, id: &str, words: &[&str]) -> Result<()> {
    wait_for(id, PATIENCE, || {
        let status = daemon.status()?;
        let problems = status["problems"].as_array().context("no list")?;
        let found = problems.iter().find(|it| it["id"] == id);
        let found = found.with_context(|| format!("{problems:?}"))?;
        let said = format!("{} {}", found["text"], found["remedy"]);
        for word in words {
            ensure!(said.contains(word), "`{word}` is not in {said}");
        }
        Ok(Some(()))
    })
}

fn count(status: &Value, name: &str) -> u64 {
    status["path_mtu"][name].as_u64().unwrap_or(0)
}

fn adjacencies_lost(daemon: &Daemon) -> Result<Value> {
    Ok(daemon.status()?["ospf"]["counters"]["adjacencies_lost"].clone())
}

/// The way narrows while all is well: a transfer comes through, both ends say why it is slow, and a mended way is
/// found by a reload.
fn narrow(lab: &Lab, mode: &str, v6: bool, icmp: bool) -> Result<()> {
    let world = World::new(lab, mode, v6)?;
    if !icmp {
        world.say_nothing()?;
    }
    world.carry(Some(NARROW))?;
    let fits = world.mtu - 100;
    let targets = World::targets()?;
    let took: Vec<Result<Duration>> = thread::scope(|scope| {
        let world = &world;
        let started = targets.map(|to| scope.spawn(move || world.transfer(to)));
        let joined = started.map(|it| it.join().map_err(|_| anyhow::anyhow!("panicked")));
        joined.into_iter().map(|it| it.and_then(|it| it)).collect()
    });
    for (to, took) in targets.iter().zip(took) {
        let took = took.with_context(|| to.to_string())?;
        lab.say(format_args!("{AMOUNT} bytes to {to} in {took:?}"));
    }
    let (configured, found) = (world.mtu.to_string(), fits.to_string());
    for daemon in world.daemons() {
        world.wait_carries(daemon, fits)?;
        wait_problem(daemon, "tunnel-mtu", &[&configured, &found])?;
        let status = daemon.status()?;
        ensure!(count(&status, "mtu_probes_sent") > 0, "{status}");
        ensure!(status["health"] == "degraded", "{status}");
        ensure!(status["tunnels"][0]["mtu"] == world.mtu, "{status}");
        let output = daemon.command(&["status", "--counters"])?.output()?;
        let text = String::from_utf8(output.stdout)?;
        ensure!(text.contains("mtu probes answered"), "{text}");
    }
    let heard: u64 = world
        .daemons()
        .iter()
        .map(|daemon| Ok(count(&daemon.status()?, "icmp_too_big_probed")))
        .sum::<Result<u64>>()?;
    ensure!((heard > 0) == icmp, "{heard} ICMP errors heard");
    for to in [Pair::ADDRESSES_V4[1], SERVICE] {
        ensure!(world.route_mtu(to)? == Some(fits), "{to}");
    }
    // From now on it is known.
    for to in World::targets()? {
        let took = world.transfer(to)?;
        ensure!(took < Duration::from_secs(10), "{to}: {took:?}");
        lab.say(format_args!("then {took:?} to {to}"));
    }
    for daemon in world.daemons() {
        ensure!(adjacencies_lost(daemon)? == 0, "an adjacency is lost");
    }
    // A daemon that is started again goes on with it.
    Pair::restart(&world.pair.sender)?;
    let tunnel = world.pair.sender.config().tunnels[0].interface.clone();
    let v6_mtu = world
        .sender()
        .ns
        .read_sysctl(&format!("net/ipv6/conf/{tunnel}/mtu"))?;
    ensure!(v6_mtu.trim() == found, "IPv6 has an MTU of {v6_mtu}");
    ensure!(
        world.route_mtu(Pair::ADDRESSES_V4[1])? == Some(fits),
        "gone"
    );
    wait_problem(&world.pair.sender, "tunnel-mtu", &[&found])?;
    world.carry(None)?;
    for daemon in world.daemons() {
        daemon.reload(|_| {})?;
        world.wait_carries(daemon, world.mtu)?;
        wait_healthy(daemon)?;
    }
    for to in [Pair::ADDRESSES_V4[1], SERVICE] {
        ensure!(world.route_mtu(to)?.is_none(), "{to}");
    }
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn fault_11_a_narrow_link_that_answers_with_icmp() -> Result<()> {
    Lab::run("narrow-icmp", |lab| narrow(lab, "xdp", false, true))?;
    Lab::run("narrow-icmp-6", |lab| narrow(lab, "tc", true, true))
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn fault_11_a_narrow_link_that_says_nothing() -> Result<()> {
    Lab::run("narrow-silent", |lab| narrow(lab, "tc", false, false))?;
    Lab::run("narrow-silent-6", |lab| narrow(lab, "xdp", true, false))
}

/// A VLAN tag makes a frame of full size too large for the underlay.
#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn fault_12_a_tagged_frame_that_is_too_large_is_said() -> Result<()> {
    Lab::run("mtu-tagged", |lab| {
        let world = World::new(lab, "tc", false)?;
        let sender = &world.pair.sender;
        let (ns, tunnel) = (
            &world.sender().ns,
            sender.config().tunnels[0].interface.clone(),
        );
        let to = link_address(ns.ifindex(&tunnel)?.context("no tunnel")?, TAGGED)?;
        let socket = ns.enter(|| Socket::new(Domain::PACKET, Type::RAW, None))??;
        // Its payload may be as large as the MTU says.
        let send = |payload: u64| -> Result<()> {
            let mut frame = vec![0xff; 6];
            frame.extend([2, 0, 0, 0, 0, 1]);
            frame.extend(TAGGED.to_be_bytes());
            frame.extend([0, 5, 0x88, 0xb5]);
            frame.resize(frame.len() + usize::try_from(payload)?, 7);
            socket.send_to(&frame, &to)?;
            Ok(())
        };
        let dropped = || -> Result<u64> {
            let status = sender.status()?;
            Ok(status["dataplane"]["reasons"]["too_big"]
                .as_u64()
                .unwrap_or(0))
        };
        wait_problem_of(sender, || send(world.mtu))?;
        let before = dropped()?;
        ensure!(before > 0, "none is counted");
        // As the remedy says.
        send(world.mtu - 4)?;
        ensure!(dropped()? == before, "there is no room for a tag");
        Ok(())
    })
}

fn wait_problem_of(daemon: &Daemon, send: impl Fn() -> Result<()>) -> Result<()> {
    wait_for("the problem", PATIENCE, || {
        send()?;
        let status = daemon.status()?;
        let problem = &status["problems"][0];
        ensure!(problem["id"] == "tunnel-mtu", "{}", status["problems"]);
        let said = format!("{} {}", problem["text"], problem["remedy"]);
        ensure!(said.contains("VLAN") && said.contains("1438"), "{said}");
        Ok(Some(()))
    })
}

/// ICMP errors that quote a packet to the remote as if it had been too large for a link of 600 bytes.
#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn fault_24_a_spoofed_icmp_error_is_not_believed() -> Result<()> {
    for v6 in [false, true] {
        Lab::run(&format!("mtu-spoofed-{}", if v6 { 6 } else { 4 }), |lab| {
            let world = World::new(lab, "xdp", v6)?;
            let to = if v6 {
                world.receiver().v6.to_string()
            } else {
                world.receiver().v4.to_string()
            };
            let before = world.route_mtu(&to)?;
            let router = world.pair.cloud.router();
            let (domain, protocol) = match v6 {
                true => (Domain::IPV6, Protocol::ICMPV6),
                false => (Domain::IPV4, Protocol::ICMPV4),
            };
            let socket = router.enter(|| Socket::new(domain, Type::RAW, Some(protocol)))??;
            let target = world.sender().address_like(to.parse()?);
            let message = too_big(target, to.parse()?, 1300);
            let message_600 = too_big(target, to.parse()?, 600);
            wait_for("the hint to be looked into", PATIENCE, || {
                for message in [&message, &message_600] {
                    socket.send_to(message, &SocketAddr::new(target, 0).into())?;
                }
                let status = world.pair.sender.status()?;
                ensure!(status["tunnels"][0]["carries"] == world.mtu, "{status}");
                let (probed, ignored) = (
                    count(&status, "icmp_too_big_probed"),
                    count(&status, "icmp_too_big_ignored"),
                );
                ensure!(probed >= 1 && ignored >= 10, "{probed} and {ignored}");
                Ok(Some(()))
            })?;
            ensure!(
                world.route_mtu(&to)? == before,
                "the kernel has believed it"
            );
            world.wait_carries(&world.pair.sender, world.mtu)?;
            wait_healthy(&world.pair.sender)?;
            ensure!(world.v6 == v6, "another world");
            let took = world.transfer(Pair::ADDRESSES[1].parse()?)?;
            lab.say(format_args!("{AMOUNT} bytes in {took:?}"));
            Ok(())
        })?;
    }
    Ok(())
}

/// An ICMP error about a tunnel's packet.
fn too_big(local: IpAddr, remote: IpAddr, mtu: u16) -> Vec<u8> {
    let port = 1701_u16.to_be_bytes();
    let mut message = Vec::new();
    match (local, remote) {
        (IpAddr::V4(local), IpAddr::V4(remote)) => {
            message.extend([3, 4, 0, 0, 0, 0]);
            message.extend(mtu.to_be_bytes());
            message.extend([0x45, 0, 5, 220, 0, 0, 0x40, 0, 63, 17, 0, 0]);
            message.extend(local.octets());
            message.extend(remote.octets());
        }
        (IpAddr::V6(local), IpAddr::V6(remote)) => {
            // The kernel writes the checksum.
            message.extend([2, 0, 0, 0, 0, 0]);
            message.extend(mtu.to_be_bytes());
            message.extend([0x60, 0, 0, 0, 5, 180, 17, 63]);
            message.extend(local.octets());
            message.extend(remote.octets());
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => unreachable!(),
    }
    message.extend(port);
    message.extend(port);
    message.extend([5, 180, 0, 0]);
    if local.is_ipv4() {
        let sum = checksum(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    message
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum = words.sum::<u32>();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(u16::MAX)
}
