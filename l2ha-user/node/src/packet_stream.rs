//! Streams of packets for `l2ha monitor` and `l2ha capture`: from the data plane's queues to the
//! control socket.

use std::collections::{HashMap, HashSet};

use anyhow::{Context as _, Result, bail};
use config::Config;
use control::{
    Answer, CapturedFrame, Command, Direction, Line, Missed, RefusedPacket, Side, to_hex,
};
use dataplane::{
    DataPlane, Reason,
    watch::{RATE, Seen, Subscription, Wanted},
};
use nix::net::if_::if_indextoname;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufWriter},
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
};

/// Smallest part of a packet that can be asked for, in bytes: an Ethernet header.
const LEAST: u32 = 14;

/// Packets on their way to a client.
pub(crate) struct PacketStream {
    subscription: Subscription,
    /// Names of the tunnels by session id.
    names: HashMap<u32, String>,
}

/// Begins the stream that a command asks for; `None` if it asks for none.
pub(crate) fn begin(
    command: &Command,
    config: &Config,
    plane: &DataPlane,
) -> Option<Result<(Answer, PacketStream)>> {
    let wanted = match command {
        Command::Monitor { reasons } => refused(reasons),
        Command::Capture {
            tunnel,
            side,
            direction,
            snaplen,
        } => frames(config, tunnel.as_deref(), *side, *direction, *snaplen),
        _ => return None,
    };
    Some(wanted.and_then(|wanted| {
        let subscription = plane.watch().subscribe(wanted)?;
        let names = config
            .tunnels
            .iter()
            .map(|tunnel| (tunnel.session_id, tunnel.name.clone()))
            .collect();
        let stream = PacketStream {
            subscription,
            names,
        };
        let answer = serde_json::json!({
            "node": config.node.name,
            "rate_per_cpu": RATE,
        });
        Ok((Answer::data(&answer), stream))
    }))
}

fn frames(
    config: &Config,
    tunnel: Option<&str>,
    side: Side,
    direction: Direction,
    snaplen: u32,
) -> Result<Wanted> {
    let sessions = match tunnel {
        None => None,
        Some(name) => {
            let found = config.tunnels.iter().find(|known| known.name == name);
            let Some(found) = found else {
                let names: Vec<&str> = config
                    .tunnels
                    .iter()
                    .map(|known| known.name.as_str())
                    .collect();
                bail!("there is no tunnel {name}; there are: {}", names.join(", "));
            };
            Some(HashSet::from([found.session_id]))
        }
    };
    Ok(Wanted::Frames {
        sessions,
        received: direction != Direction::Tx,
        sent: direction != Direction::Rx,
        outer: side == Side::Outer,
        snaplen: snaplen.max(LEAST),
    })
}

fn refused(names: &[String]) -> Result<Wanted> {
    if names.is_empty() {
        let reasons = Reason::ALL.into_iter().collect();
        return Ok(Wanted::Refused { reasons });
    }
    let mut reasons = HashSet::new();
    for name in names {
        let known = Reason::named(name).with_context(|| {
            let names: Vec<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
            format!("there is no reason {name}; there are: {}", names.join(", "))
        })?;
        reasons.insert(known);
    }
    Ok(Wanted::Refused { reasons })
}

impl PacketStream {
    /// Writes packets until the client closes its sending side, and then what is missing.
    pub(crate) async fn run(
        mut self,
        mut read: OwnedReadHalf,
        write: OwnedWriteHalf,
    ) -> Result<()> {
        let mut write = BufWriter::new(write);
        let mut rest = [0; 64];
        loop {
            let seen = tokio::select! {
                biased;
                length = read.read(&mut rest) => match length? {
                    0 => break,
                    _ => continue,
                },
                seen = self.subscription.next() => seen,
            };
            let mut next = Some(seen);
            while let Some(seen) = next {
                line(&mut write, &self.shown(seen)).await?;
                next = self.subscription.waiting();
                if write.buffer().len() > 4096 {
                    // Others have their turn, and the client's end is noticed.
                    break;
                }
            }
            if let Some(seen) = next {
                line(&mut write, &self.shown(seen)).await?;
            }
            write.flush().await?;
        }
        // What was seen before the client had enough.
        while let Some(seen) = self.subscription.waiting() {
            line(&mut write, &self.shown(seen)).await?;
        }
        let lost = self.subscription.lost()?;
        let end = Line::End(Missed {
            by_daemon: lost.ring,
            by_client: lost.queue,
            rate_limited: lost.limited,
        });
        line(&mut write, &end).await?;
        Ok(write.flush().await?)
    }

    fn shown(&self, seen: Seen) -> Line {
        match seen {
            Seen::Refused(packet) => Line::Refused(RefusedPacket {
                time_ns: packet.time,
                reason: packet.reason.name().to_owned(),
                text: packet.reason.text().to_owned(),
                interface: interface(packet.ifindex),
                source: packet.headers.source,
                source_port: packet.headers.source_port,
                destination: packet.headers.destination,
                destination_port: packet.headers.destination_port,
                session_id: packet.headers.session_id,
                length: packet.length,
                bytes: to_hex(&packet.bytes),
            }),
            Seen::Frame(frame) => Line::Frame(CapturedFrame {
                time_ns: frame.time,
                tunnel: match self.names.get(&frame.session_id) {
                    Some(name) => name.clone(),
                    // It was configured later.
                    None => format!("session {}", frame.session_id),
                },
                direction: if frame.received {
                    Direction::Rx
                } else {
                    Direction::Tx
                },
                length: frame.length,
                bytes: to_hex(&frame.bytes),
            }),
        }
    }
}

async fn line(write: &mut BufWriter<OwnedWriteHalf>, line: &Line) -> Result<()> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    Ok(write.write_all(&bytes).await?)
}

fn interface(index: u32) -> String {
    match if_indextoname(index) {
        Ok(name) => name.to_string_lossy().into_owned(),
        Err(_) => index.to_string(),
    }
}
