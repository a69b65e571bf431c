//! A peer whose packets are too large for the underlay sends fragments: the frames arrive all the
//! same, slowly, what is wrong in them is refused, and `l2ha status` says what to mend.

use std::{
    io::Read as _,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, ensure};
use l2ha_lab::{Lab, Outer, PATIENCE, wait_for};
use socket2::{Domain, Protocol, Socket, Type};

use crate::bare_peer::{BarePeer, PORT, frame};

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
                .ends
                .peer
                .ns
                .enter(|| Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::UDP)))??;
            raw.bind(&SocketAddr::new(world.ends.peer.v6.into(), 0).into())?;
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

/// A first fragment to the tunnel's port, which nothing follows.
fn beginning(from: Ipv4Addr, to: Ipv4Addr, id: u16) -> Vec<u8> {
    const PAYLOAD: u16 = 1400;
    let mut packet = vec![0x45, 0];
    for word in [20 + PAYLOAD, id, 0x2000] {
        packet.extend(word.to_be_bytes());
    }
    packet.extend([64, 17, 0, 0]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    for word in [PORT, PORT, 4000, 0, 3, 0] {
        packet.extend(word.to_be_bytes());
    }
    packet.resize(usize::from(20 + PAYLOAD), 7);
    packet
}

/// Somebody fills the kernel's memory for fragments with beginnings.
#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn fault_24_fragments_of_the_remote_pass_in_a_flood_of_beginnings() -> Result<()> {
    for mode in ["xdp", "tc"] {
        Lab::run(&format!("fragments-flood-{mode}"), |lab| {
            let world = World::new(lab, Outer::Udp, false, mode)?;
            let (server, stranger) = (&world.ends.server, &world.ends.stranger);
            let to = server.config().host.v4;
            let flood = stranger
                .ns
                .enter(|| Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255))))??;
            let stop = AtomicBool::new(false);
            thread::scope(|scope| {
                let flooding = scope.spawn(|| -> Result<()> {
                    let address = SocketAddr::new(to.into(), 0).into();
                    let mut id = 0_u16;
                    while !stop.load(Ordering::Relaxed) {
                        id = id.wrapping_add(1);
                        flood.send_to(&beginning(stranger.v4, to, id), &address)?;
                        thread::sleep(Duration::from_micros(100));
                    }
                    Ok(())
                });
                let result = world.in_a_flood(lab);
                stop.store(true, Ordering::Relaxed);
                flooding
                    .join()
                    .map_err(|_| anyhow!("the flood panicked"))??;
                result
            })
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

struct World {
    ends: BarePeer,
    socket: Socket,
    outer: Outer,
}

impl World {
    fn new(lab: &Lab, outer: Outer, v6: bool, mode: &str) -> Result<Self> {
        Self::with(lab, outer, v6, mode, &[])
    }

    /// With more lines for the server's tunnel.
    fn with(lab: &Lab, outer: Outer, v6: bool, mode: &str, more: &[String]) -> Result<Self> {
        let ends = BarePeer::new(lab, (outer, v6), mode, more)?;
        let peer = &ends.peer;
        peer.ns
            .run(["ip", "link", "set", "eth0", "mtu", PEER_MTU])?;
        ends.ear.set_read_timeout(Some(SILENCE))?;
        let port = if outer == Outer::Udp { PORT } else { 0 };
        let to = SocketAddr::new(ends.target, port);
        let (kind, protocol) = match outer {
            Outer::Udp => (Type::DGRAM, Protocol::UDP),
            Outer::Ip => (Type::RAW, Protocol::from(115)),
        };
        let socket = peer
            .ns
            .enter(|| Socket::new(Domain::for_address(to), kind, Some(protocol)))??;
        // A new IPv6 address cannot be bound before duplicate address detection has ended.
        let from = SocketAddr::new(peer.address_like(ends.target), port).into();
        wait_for("the peer's address", PATIENCE, || {
            socket.bind(&from)?;
            Ok(Some(()))
        })?;
        socket.connect(&to.into())?;
        Ok(Self {
            ends,
            socket,
            outer,
        })
    }

    fn frame(number: u32, payload: usize) -> Vec<u8> {
        frame((0..payload).map(|at| (at as u32 ^ number) as u8))
    }

    fn send(&self, cookie: &[u8], frame: &[u8]) -> Result<()> {
        let mut bytes = Vec::new();
        if self.outer == Outer::Udp {
            bytes.extend([0, 3, 0, 0]);
        }
        bytes.extend(self.ends.session.to_be_bytes());
        bytes.extend(cookie);
        bytes.extend(frame);
        self.socket.send(&bytes)?;
        Ok(())
    }

    /// A frame with all that follows an IPv6 header, without a checksum.
    fn unchecked(&self, frame: &[u8]) -> Result<Vec<u8>> {
        let length = u16::try_from(8 + 4 + 4 + self.ends.cookie.len() + frame.len())?;
        let mut bytes = Vec::new();
        for word in [PORT, PORT, length, 0, 3, 0] {
            bytes.extend(word.to_be_bytes());
        }
        bytes.extend(self.ends.session.to_be_bytes());
        bytes.extend(&self.ends.cookie);
        bytes.extend(frame);
        Ok(bytes)
    }

    fn hear(&self) -> Option<Vec<u8>> {
        let mut bytes = vec![0; 4096];
        let length = (&self.ends.ear).read(&mut bytes).ok()?;
        bytes.truncate(length);
        Some(bytes)
    }

    fn count(&self, name: &str) -> Result<u64> {
        let status = self.ends.server.status()?;
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
        let status = self.ends.server.status()?;
        Ok(status["tunnels"][0]["problem"].to_string())
    }

    /// Sends frames in fragments, no more than are delivered, until one arrives whole and something is counted.
    fn until_heard(&self, what: &str, counter: &str) -> Result<()> {
        while self.hear().is_some() {}
        let mut number = 10_000;
        wait_for(what, PATIENCE, || {
            number += 1;
            let frame = Self::frame(number, LARGE);
            self.send(&self.ends.cookie, &frame)?;
            let heard = self.hear();
            ensure!(heard.is_none_or(|heard| heard == frame), "damaged");
            ensure!(self.count(counter)? > 0, "no {counter}");
            Ok(Some(()))
        })
    }

    fn in_a_flood(&self, lab: &Lab) -> Result<()> {
        let host = Arc::clone(&self.ends.server.config().host);
        wait_for("the kernel's memory to be full", PATIENCE, || {
            let text = host.ns.run(["cat", "/proc/net/sockstat"])?;
            let memory = text.lines().find_map(|it| it.strip_prefix("FRAG: inuse "));
            let memory = memory.and_then(|it| it.split(' ').next_back()?.parse::<u64>().ok());
            ensure!(memory >= Some(4 << 20), "{memory:?} bytes");
            Ok(Some(()))
        })?;
        let mut number = 1;
        let start = Instant::now();
        while number <= 20 {
            let frame = Self::frame(number, LARGE);
            wait_for(&format!("frame {number}"), PATIENCE, || {
                self.send(&self.ends.cookie, &frame)?;
                Ok(self.hear().filter(|heard| *heard == frame))
            })?;
            number += 1;
        }
        lab.say(format_args!(
            "20 frames in {:?}, {} of them seen twice",
            start.elapsed(),
            self.count("fragments_seen_twice")?
        ));
        Ok(())
    }

    fn story(&self, lab: &Lab) -> Result<()> {
        // One that needs no fragments: also lets the cloud learn the neighbours.
        let small = Self::frame(0, 100);
        wait_for("a small frame", PATIENCE, || {
            self.send(&self.ends.cookie, &small)?;
            Ok(self.hear())
        })?;
        while self.hear().is_some() {}
        ensure!(self.count("fragments_delivered")? == 0, "without fragments");
        ensure!(self.problem()? == "null", "{}", self.problem()?);

        for number in 1..=20 {
            let frame = Self::frame(number, LARGE);
            self.send(&self.ends.cookie, &frame)?;
            let heard = wait_for(&format!("frame {number}"), PATIENCE, || {
                // One of the small ones may be late.
                Ok(self.hear().filter(|heard| *heard != small))
            })?;
            ensure!(heard == frame, "frame {number} is damaged");
        }
        self.wait_count("fragments_delivered", 20)?;
        let status = self.ends.server.status()?;
        let passed = status["dataplane"]["reasons"]["passed_fragment"].as_u64();
        ensure!(passed >= Some(40), "fragments seen: {passed:?}");
        ensure!(self.problem()?.contains("wrong MTU"), "{}", self.problem()?);

        let mut wrong = self.ends.cookie.clone();
        wrong[0] ^= 1;
        self.send(&wrong, &Self::frame(30, LARGE))?;
        self.wait_count("fragments_refused_wrong_cookie", 1)?;
        self.send(&self.ends.cookie, &Self::frame(31, TOO_LARGE))?;
        self.wait_count("fragments_too_big", 1)?;
        ensure!(self.hear().is_none(), "what is wrong was delivered");

        let start = Instant::now();
        while self.count("fragments_rate_limited")? == 0 {
            ensure!(start.elapsed() < PATIENCE, "nothing limits the rate");
            // More at once than a second allows, however long the question after it takes.
            for number in 0..4000 {
                self.send(&self.ends.cookie, &Self::frame(number, LARGE))?;
            }
        }
        // From now on at the latest the daemon puts them together itself, and the kernel once more.
        self.until_heard("a frame that is seen twice", "fragments_seen_twice")?;
        ensure!(self.count("fragments_damaged")? == 0, "damaged");
        let delivered = self.count("fragments_delivered")?;
        lab.say(format_args!(
            "{} frames handed on, {} over the limit",
            delivered,
            self.count("fragments_rate_limited")?
        ));
        ensure!(delivered >= 200, "only {delivered} were handed on");
        ensure!(
            self.ends.peer.ns.ifindex("eth0")?.is_some(),
            "the peer's underlay is gone"
        );
        Ok(())
    }
}
