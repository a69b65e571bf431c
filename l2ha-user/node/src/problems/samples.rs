//! Packets that are looked at, while a tunnel lacks what should come over it: counters do not say what a packet
//! carries.

use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

use dataplane::{
    DataPlane, Reason,
    watch::{Seen, Subscription, Wanted},
};

use super::facts::Sample;

/// Of these a packet tells more than a counter.
pub(crate) const SAMPLED: [Reason; 3] = [
    Reason::UnknownSession,
    Reason::WrongSourceAddress,
    Reason::WrongSourcePort,
];
/// So many refused packets are remembered; anybody can send more.
const MOST: usize = 256;
/// Bytes of a frame that are looked at: an Ethernet header and one of IPv6.
const SNAPLEN: u32 = 54;

/// Refused packets.
#[derive(Default)]
pub(crate) struct Samples {
    subscription: Option<Subscription>,
    seen: BTreeMap<Sample, Instant>,
}

impl Samples {
    /// Looks at refused packets while they are wanted, and forgets old ones.
    pub(crate) fn follow(
        &mut self,
        plane: &DataPlane,
        wanted: bool,
        now: Instant,
        lately: Duration,
    ) {
        while let Some(seen) = self.subscription.as_mut().and_then(Subscription::waiting) {
            if let Seen::Refused(packet) = seen
                && let Some(source) = packet.headers.source
                && self.seen.len() < MOST
            {
                let sample = Sample {
                    reason: packet.reason,
                    source,
                    port: packet.headers.source_port,
                    session: packet.headers.session_id,
                };
                self.seen.insert(sample, now);
            }
        }
        self.seen
            .retain(|_, at| now.saturating_duration_since(*at) <= lately);
        if !wanted {
            self.subscription = None;
        } else if self.subscription.is_none() {
            let reasons = SAMPLED.into_iter().collect();
            self.subscription = subscribe(plane, Wanted::Refused { reasons });
        }
    }

    /// Those seen lately.
    pub(crate) fn seen(&self) -> impl Iterator<Item = &Sample> {
        self.seen.keys()
    }
}

/// Received frames of sessions over which OSPF knows nobody.
#[derive(Default)]
pub(crate) struct Frames {
    subscription: Option<Subscription>,
    /// Ids of the sessions whose frames are looked at.
    sessions: HashSet<u32>,
    /// When a packet of OSPF came last, by session.
    ospf: BTreeMap<u32, Instant>,
}

impl Frames {
    /// Looks at the frames of these sessions.
    pub(crate) fn follow(
        &mut self,
        plane: &DataPlane,
        sessions: HashSet<u32>,
        now: Instant,
        lately: Duration,
    ) {
        while let Some(seen) = self.subscription.as_mut().and_then(Subscription::waiting) {
            if let Seen::Frame(frame) = seen
                && is_ospf(&frame.bytes)
                && self.sessions.contains(&frame.session_id)
            {
                self.ospf.insert(frame.session_id, now);
            }
        }
        self.ospf
            .retain(|_, at| now.saturating_duration_since(*at) <= lately);
        if sessions == self.sessions && (sessions.is_empty() || self.subscription.is_some()) {
            return;
        }
        self.subscription = None;
        if !sessions.is_empty() {
            let wanted = Wanted::Frames {
                sessions: Some(sessions.clone()),
                received: true,
                sent: false,
                outer: false,
                snaplen: SNAPLEN,
            };
            self.subscription = subscribe(plane, wanted);
        }
        self.sessions = sessions;
    }

    /// Whether packets of OSPF came over a session lately.
    pub(crate) fn has_ospf(&self, session: u32) -> bool {
        self.ospf.contains_key(&session)
    }
}

fn subscribe(plane: &DataPlane, wanted: Wanted) -> Option<Subscription> {
    let subscription = plane.watch().subscribe(wanted);
    subscription
        .inspect_err(|error| tracing::debug!("cannot look at packets: {error:#}"))
        .ok()
}

/// Whether an Ethernet frame carries OSPF over IPv6 (RFC 5340 A.1: Next Header 89).
fn is_ospf(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&[0x86, 0xdd]) && frame.get(20) == Some(&89)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ospf_is_told_from_other_frames() {
        let mut frame = vec![0; SNAPLEN as usize];
        frame[12..14].copy_from_slice(&[0x86, 0xdd]);
        frame[20] = 58;
        assert!(!is_ospf(&frame), "ICMPv6");
        frame[20] = 89;
        assert!(is_ospf(&frame));
        assert!(!is_ospf(&frame[..20]));
        frame[12..14].copy_from_slice(&[0x08, 0x00]);
        assert!(!is_ospf(&frame), "IPv4");
    }
}
