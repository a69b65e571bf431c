//! A peer whose packets are too large for the underlay sends fragments: the frames arrive all the
//! same, slowly, what is wrong in them is refused, and `l2ha status` says what to mend.

use std::{
    fs,
    io::Read as _,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{
    CloudOptions, Daemon, Host, Lab, Link, NodeConfig, Outer, PATIENCE, join, wait_for,
};
use socket2::{Domain, Protocol, Socket, Type};

const PORT: u16 = 1701;
/// An ethertype for local experiments (IEEE 802): nothing else in the lab uses it.
const ETHERTYPE: u16 = 0x88b5;
/// How long what must not arrive is waited for.
const REFUSED: Duration = Duration::from_secs(3);
const SILENCE: Duration = Duration::from_millis(100);
/// MTU on the peer's side: its larger packets leave it in fragments.
const PEER_MTU: &str = "1400";
/// An inner payload that fits the virtual interface and not the peer's MTU.
const LARGE: usize = 1420;
/// One that does not fit the virtual interface either.
const TOO_LARGE: usize = 1600;

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn over_udp() -> Result<()> {
    both_modes("fragments-udp4", Outer::Udp, false)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn over_ip() -> Result<()> {
    both_modes("fragments-ip4", Outer::Ip, false)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn over_udp_and_ipv6() -> Result<()> {
    both_modes("fragments-udp6", Outer::Udp, true)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn over_ip_and_ipv6() -> Result<()> {
    both_modes("fragments-ip6", Outer::Ip, true)
}

/// Where that was agreed they need no UDP checksum over IPv6 (RFC 6935), and elsewhere the kernel refuses
/// them.
#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn without_a_checksum_over_ipv6() -> Result<()> {
    for agreed in [true, false] {
        Lab::run(&format!("fragments-unchecked-{agreed}"), |lab| {
            let more = format!("udp_checksum = {}", !agreed);
            let world = World::with(lab, Outer::Udp, true, "xdp", &[more])?;
            let raw = world
                .peer
                .ns
                .enter(|| Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::UDP)))??;
            raw.bind(&SocketAddr::new(world.peer.v6.into(), 0).into())?;
            raw.connect(&world.socket.peer_addr()?)?;
            let frame = World::frame(1, LARGE);
            // Where it is refused, that is to be seen for a while only.
            let patience = if agreed { PATIENCE } else { REFUSED };
            let heard = wait_for("a frame", patience, || {
                raw.send(&world.unchecked(&frame)?)?;
                Ok(world.hear())
            });
            ensure!(heard.is_ok() == agreed, "agreed: {agreed}; {heard:?}");
            let delivered = world.count("fragments_delivered")?;
            ensure!((delivered > 0) == agreed, "{delivered} delivered");
            Ok(())
        })?;
    }
    Ok(())
}

fn both_modes(name: &str, outer: Outer, v6: bool) -> Result<()> {
    for mode in ["xdp", "tc"] {
        Lab::run(&format!("{name}-{mode}"), |lab| {
            World::new(lab, outer, v6, mode)?.story(lab)
        })?;
    }
    Ok(())
}

/// A server with `l2ha`, and a bare host in the place of its peer.
struct World {
    server: Arc<Daemon>,
    peer: Arc<Host>,
    socket: Socket,
    outer: Outer,
    session: u32,
    cookie: Vec<u8>,
    /// Hears every frame of [`ETHERTYPE`] that arrives on the server.
    ear: Socket,
}

impl World {
    fn new(lab: &Lab, outer: Outer, v6: bool, mode: &str) -> Result<Self> {
        Self::with(lab, outer, v6, mode, &[])
    }

    /// With more lines for the server's tunnel.
    fn with(lab: &Lab, outer: Outer, v6: bool, mode: &str, more: &[String]) -> Result<Self> {
        let options = CloudOptions {
            carries_l2tp: true,
            ..CloudOptions::default()
        };
        let (_cloud, hosts) = lab.cloud(options, &["server", "peer"])?;
        let (server, peer) = (&hosts[0], &hosts[1]);
        let mut config = NodeConfig::tunnels_only(lab, server)?;
        config.mode = mode.into();
        let mut other = NodeConfig::tunnels_only(lab, peer)?;
        let link = Link {
            outer,
            v6,
            ..Link::default()
        };
        join(&mut config, &mut other, link)?;
        for tunnel in &mut config.tunnels {
            tunnel.more.extend_from_slice(more);
        }
        let tunnel = config.tunnel("peer");
        let (session, file) = (tunnel.session_id, tunnel.receive_cookie.clone());
        let cookie = unhex(fs::read_to_string(file.context("no cookie")?)?.trim())?;
        let target: IpAddr = if v6 {
            server.v6.into()
        } else {
            server.v4.into()
        };
        peer.ns
            .run(["ip", "link", "set", "eth0", "mtu", PEER_MTU])?;
        let ear = server.ns.enter(|| {
            let protocol = Protocol::from(i32::from(ETHERTYPE.to_be()));
            Socket::new(Domain::PACKET, Type::RAW, Some(protocol))
        })??;
        ear.set_read_timeout(Some(SILENCE))?;
        let port = if outer == Outer::Udp { PORT } else { 0 };
        let to = SocketAddr::new(target, port);
        let (kind, protocol) = match outer {
            Outer::Udp => (Type::DGRAM, Protocol::UDP),
            Outer::Ip => (Type::RAW, Protocol::from(115)),
        };
        let socket = peer
            .ns
            .enter(|| Socket::new(Domain::for_address(to), kind, Some(protocol)))??;
        // A new IPv6 address cannot be bound before duplicate address detection has ended.
        let from = SocketAddr::new(peer.address_like(target), port).into();
        wait_for("the peer's address", PATIENCE, || {
            socket.bind(&from)?;
            Ok(Some(()))
        })?;
        socket.connect(&to.into())?;
        Ok(Self {
            server: Daemon::start(lab, config)?,
            peer: Arc::clone(peer),
            socket,
            outer,
            session,
            cookie,
            ear,
        })
    }

    fn frame(number: u32, payload: usize) -> Vec<u8> {
        let mut frame = vec![0xff; 6];
        frame.extend([2, 0, 0, 0, 0, 1]);
        frame.extend(ETHERTYPE.to_be_bytes());
        frame.extend((0..payload).map(|at| (at as u32 ^ number) as u8));
        frame
    }

    fn send(&self, cookie: &[u8], frame: &[u8]) -> Result<()> {
        let mut bytes = Vec::new();
        if self.outer == Outer::Udp {
            bytes.extend([0, 3, 0, 0]);
        }
        bytes.extend(self.session.to_be_bytes());
        bytes.extend(cookie);
        bytes.extend(frame);
        self.socket.send(&bytes)?;
        Ok(())
    }

    /// A frame with all that follows an IPv6 header, without a checksum.
    fn unchecked(&self, frame: &[u8]) -> Result<Vec<u8>> {
        let length = u16::try_from(8 + 4 + 4 + self.cookie.len() + frame.len())?;
        let mut bytes = Vec::new();
        for word in [PORT, PORT, length, 0, 3, 0] {
            bytes.extend(word.to_be_bytes());
        }
        bytes.extend(self.session.to_be_bytes());
        bytes.extend(&self.cookie);
        bytes.extend(frame);
        Ok(bytes)
    }

    fn hear(&self) -> Option<Vec<u8>> {
        let mut bytes = vec![0; 4096];
        let length = (&self.ear).read(&mut bytes).ok()?;
        bytes.truncate(length);
        Some(bytes)
    }

    fn count(&self, name: &str) -> Result<u64> {
        let status = self.server.status()?;
        Ok(status["socket"][name].as_u64().unwrap_or(0))
    }

    #[track_caller]
    fn wait_count(&self, name: &str, wanted: u64) -> Result<()> {
        wait_for(name, PATIENCE, || {
            let count = self.count(name)?;
            ensure!(count == wanted, "{name} is {count}, not {wanted}");
            Ok(Some(()))
        })
    }

    fn problem(&self) -> Result<String> {
        let status = self.server.status()?;
        Ok(status["tunnels"][0]["problem"].to_string())
    }

    fn story(&self, lab: &Lab) -> Result<()> {
        // One that needs no fragments: also lets the cloud learn the neighbours.
        let small = Self::frame(0, 100);
        wait_for("a small frame", PATIENCE, || {
            self.send(&self.cookie, &small)?;
            Ok(self.hear())
        })?;
        while self.hear().is_some() {}
        ensure!(self.count("fragments_delivered")? == 0, "without fragments");
        ensure!(self.problem()? == "null", "{}", self.problem()?);

        for number in 1..=20 {
            let frame = Self::frame(number, LARGE);
            self.send(&self.cookie, &frame)?;
            let heard = wait_for(&format!("frame {number}"), PATIENCE, || {
                // One of the small ones may be late.
                Ok(self.hear().filter(|heard| *heard != small))
            })?;
            ensure!(heard == frame, "frame {number} is damaged");
        }
        self.wait_count("fragments_delivered", 20)?;
        let status = self.server.status()?;
        let passed = status["dataplane"]["reasons"]["passed_fragment"].as_u64();
        ensure!(passed >= Some(40), "fragments seen: {passed:?}");
        ensure!(self.problem()?.contains("wrong MTU"), "{}", self.problem()?);

        let mut wrong = self.cookie.clone();
        wrong[0] ^= 1;
        self.send(&wrong, &Self::frame(30, LARGE))?;
        self.wait_count("fragments_refused_wrong_cookie", 1)?;
        self.send(&self.cookie, &Self::frame(31, TOO_LARGE))?;
        self.wait_count("fragments_too_big", 1)?;
        ensure!(self.hear().is_none(), "what is wrong was delivered");

        let start = Instant::now();
        while self.count("fragments_rate_limited")? == 0 {
            ensure!(start.elapsed() < PATIENCE, "nothing limits the rate");
            // More at once than a second allows, however long the question after it takes.
            for number in 0..4000 {
                self.send(&self.cookie, &Self::frame(number, LARGE))?;
            }
        }
        let delivered = self.count("fragments_delivered")?;
        lab.say(format_args!(
            "{} frames handed on, {} over the limit",
            delivered,
            self.count("fragments_rate_limited")?
        ));
        ensure!(delivered >= 200, "only {delivered} were handed on");
        ensure!(
            self.peer.ns.ifindex("eth0")?.is_some(),
            "the peer's underlay is gone"
        );
        Ok(())
    }
}

fn unhex(text: &str) -> Result<Vec<u8>> {
    (0..text.len())
        .step_by(2)
        .map(|at| Ok(u8::from_str_radix(&text[at..at + 2], 16)?))
        .collect()
}
