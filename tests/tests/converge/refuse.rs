//! What must not get in: L2TPv3 messages that are wrong in one point each, sent by real sockets
//! over the cloud. Nothing is delivered, and the counter that names the fault moves.

use std::{collections::BTreeMap, io::Read as _, net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{Lab, Outer, PATIENCE, wait_for};
use socket2::{Domain, Protocol, Socket, Type};

use crate::bare_peer::{BarePeer, PORT, frame};

/// How long a frame that must not come is waited for.
const SILENCE: Duration = Duration::from_millis(50);

/// A message, right in every point until one is changed.
#[derive(Clone)]
struct Message {
    /// Flags and version, first field of the header over UDP.
    flags: u16,
    session: u32,
    cookie: Vec<u8>,
    frame: Vec<u8>,
    port: u16,
    from_stranger: bool,
}

/// What is changed, and the counter that must move.
struct Case {
    name: &'static str,
    reason: &'static str,
    change: fn(&mut Message),
    /// Whether it says anything over IP, which has neither ports nor a version.
    over_ip: bool,
}

const CASES: &[Case] = &[
    case("wrong cookie", "wrong_cookie", true, |message| {
        message.cookie[7] ^= 1;
    }),
    case(
        "cookie of another length",
        "wrong_cookie",
        true,
        |message| {
            message.cookie.truncate(4);
        },
    ),
    case(
        "wrong source address",
        "wrong_source_address",
        true,
        |message| {
            message.from_stranger = true;
        },
    ),
    case("wrong source port", "wrong_source_port", false, |message| {
        message.port += 1;
    }),
    case("wrong session", "unknown_session", true, |message| {
        message.session += 1;
    }),
    case("wrong version", "bad_version", false, |message| {
        message.flags = 2;
    }),
    case("version 0", "bad_version", false, |message| {
        message.flags = 0;
    }),
    case(
        "frame shorter than its header",
        "short_frame",
        true,
        |message| {
            message.frame.truncate(13);
        },
    ),
    case("no frame", "short_frame", true, |message| {
        message.frame.clear()
    }),
    case("end inside the cookie", "short_header", true, |message| {
        message.cookie.truncate(5);
        message.frame.clear();
    }),
    case("control message", "passed_control", false, |message| {
        message.flags = 0xc803;
    }),
    case(
        "control message over IP",
        "passed_control",
        true,
        |message| {
            message.flags = 0xc803;
            message.session = 0;
        },
    ),
];

const fn case(
    name: &'static str,
    reason: &'static str,
    over_ip: bool,
    change: fn(&mut Message),
) -> Case {
    Case {
        name,
        reason,
        change,
        over_ip,
    }
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn nothing_wrong_gets_in_over_udp() -> Result<()> {
    refuse("refuse-udp4", Outer::Udp, false)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn nothing_wrong_gets_in_over_ip() -> Result<()> {
    refuse("refuse-ip4", Outer::Ip, false)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn nothing_wrong_gets_in_over_udp_and_ipv6() -> Result<()> {
    refuse("refuse-udp6", Outer::Udp, true)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn nothing_wrong_gets_in_over_ip_and_ipv6() -> Result<()> {
    refuse("refuse-ip6", Outer::Ip, true)
}

fn refuse(name: &str, outer: Outer, v6: bool) -> Result<()> {
    for mode in ["xdp", "tc"] {
        Lab::run(&format!("{name}-{mode}"), |lab| {
            let world = World::new(lab, outer, v6, mode)?;
            world.deliver("first")?;
            for case in CASES
                .iter()
                .filter(|case| outer == Outer::Udp || case.over_ip)
            {
                world.must_refuse(lab, case).context(case.name)?;
            }
            // After all that, what is right still gets in.
            world.deliver("last")
        })?;
    }
    Ok(())
}

struct World {
    ends: BarePeer,
    outer: Outer,
    right: Message,
}

impl World {
    fn new(lab: &Lab, outer: Outer, v6: bool, mode: &str) -> Result<Self> {
        let ends = BarePeer::new(lab, (outer, v6), mode, &[])?;
        let right = Message {
            flags: 3,
            session: ends.session,
            cookie: ends.cookie.clone(),
            frame: frame([0x5a; 50]),
            port: PORT,
            from_stranger: false,
        };
        Ok(Self { ends, outer, right })
    }

    /// Sends a message; over UDP returns the socket, which would hear of a closed port.
    fn send(&self, message: &Message) -> Result<Socket> {
        let host = if message.from_stranger {
            &self.ends.stranger
        } else {
            &self.ends.peer
        };
        let source = host.address_like(self.ends.target);
        let mut bytes = Vec::new();
        let domain = Domain::for_address(SocketAddr::new(self.ends.target, 0));
        let socket = match self.outer {
            Outer::Udp => {
                bytes.extend(message.flags.to_be_bytes());
                bytes.extend([0, 0]);
                host.ns
                    .enter(|| Socket::new(domain, Type::DGRAM, Some(Protocol::UDP)))??
            }
            Outer::Ip => host
                .ns
                .enter(|| Socket::new(domain, Type::RAW, Some(Protocol::from(115))))??,
        };
        bytes.extend(message.session.to_be_bytes());
        bytes.extend(&message.cookie);
        bytes.extend(&message.frame);
        let port = |port| if self.outer == Outer::Udp { port } else { 0 };
        socket.bind(&SocketAddr::new(source, port(message.port)).into())?;
        socket.connect(&SocketAddr::new(self.ends.target, port(PORT)).into())?;
        socket.send(&bytes)?;
        Ok(socket)
    }

    /// How many frames were delivered within `patience` of the last one.
    fn heard(&self, patience: Duration) -> Result<usize> {
        self.ends.ear.set_read_timeout(Some(patience))?;
        let mut count = 0;
        while (&self.ends.ear).read(&mut [0; 2048]).is_ok() {
            count += 1;
        }
        Ok(count)
    }

    /// The data plane's counters by name.
    fn reasons(&self) -> Result<BTreeMap<String, u64>> {
        let status = self.ends.server.status()?;
        let reasons = status["dataplane"]["reasons"]
            .as_object()
            .with_context(|| format!("no dataplane.reasons in {status}"))?;
        Ok(reasons
            .iter()
            .map(|(name, count)| (name.clone(), count.as_u64().unwrap_or(0)))
            .collect())
    }

    /// Sends the right message, which must be delivered.
    fn deliver(&self, which: &str) -> Result<()> {
        let before = self.received()?;
        // The first packet may wait for the cloud to learn a neighbour; it is not lost.
        let _socket = self.send(&self.right)?;
        let heard = wait_for("the right frame", PATIENCE, || {
            Ok(Some(self.heard(SILENCE)?).filter(|count| *count > 0))
        })
        .with_context(|| format!("the {which} right message is not delivered"))?;
        ensure!(heard >= 1, "{heard}");
        let after = self.received()?;
        ensure!(after == before + 1, "received {before}, then {after}");
        Ok(())
    }

    /// Frames received on the tunnel, by the daemon's own count.
    fn received(&self) -> Result<u64> {
        let status = self.ends.server.status()?;
        status["tunnels"][0]["rx_packets"]
            .as_u64()
            .with_context(|| format!("no rx_packets in {status}"))
    }

    fn must_refuse(&self, lab: &Lab, case: &Case) -> Result<()> {
        let mut message = self.right.clone();
        (case.change)(&mut message);
        let before = self.reasons()?;
        let received = self.received()?;
        let socket = self.send(&message)?;
        let count =
            |reasons: &BTreeMap<String, u64>, name: &str| reasons.get(name).copied().unwrap_or(0);
        let after = wait_for(case.reason, PATIENCE, || {
            let after = self.reasons()?;
            ensure!(
                count(&after, case.reason) == count(&before, case.reason) + 1,
                "{before:?}, then {after:?}"
            );
            Ok(Some(after))
        })?;
        for name in after.keys().filter(|name| *name != case.reason) {
            ensure!(
                count(&after, name) == count(&before, name),
                "{name} moved, too"
            );
        }
        ensure!(self.heard(SILENCE)? == 0, "it was delivered");
        ensure!(self.received()? == received, "it was counted as received");
        // The port is held by the daemon: no ICMP error says that it is closed.
        ensure!(socket.take_error()?.is_none(), "an ICMP error came back");
        lab.say(format_args!("{}: refused as {}", case.name, case.reason));
        Ok(())
    }
}
