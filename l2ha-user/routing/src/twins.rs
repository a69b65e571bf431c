//! Another router with our Router ID: next to us, or somewhere behind our neighbours.
//!
//! Nothing can be relied upon then: each of the two withdraws and outpaces what the other says.

use std::{
    collections::{BTreeMap, VecDeque},
    net::Ipv6Addr,
    time::Duration,
};

use control::Twin;
use ospfv3::{Event, Family, Refusal, wire::LsaKey};
use tokio::time::Instant;

/// For so long after the last sign of it there is one.
const HOLDS: Duration = Duration::from_secs(60);
/// So often within that time one LSA of ours comes back newer than we know it: after a restart each comes once,
/// and a second time if a neighbour was late.
const SIGNS: usize = 3;
/// LSAs that are remembered; a neighbour could invent any number of ours.
const MOST: usize = 64;

/// What has been seen of such routers.
#[derive(Debug, Default)]
pub(crate) struct Twins {
    /// Those on a link of ours, by where, and when they were heard last.
    next_to_us: BTreeMap<(u32, Ipv6Addr), Instant>,
    /// When an LSA of ours came back newer than we knew it.
    reclaimed: BTreeMap<(Family, LsaKey), VecDeque<Instant>>,
    /// When it was last so that somebody behind our neighbours has our Router ID.
    further: Option<Instant>,
}

impl Twins {
    /// Takes note of what a speaker reports. Whether a router with our Router ID has been found that was not
    /// known.
    pub(crate) fn note(&mut self, family: Family, event: &Event, now: Instant) -> bool {
        match event {
            Event::Refused {
                interface,
                source,
                reason: Refusal::DuplicateRouterId,
                ..
            } => {
                self.next_to_us.retain(|_, last| now < *last + HOLDS);
                if self.next_to_us.len() >= MOST {
                    return false;
                }
                self.next_to_us.insert((*interface, *source), now).is_none()
            }
            Event::SelfOriginatedReceived { lsa, .. } => {
                self.reclaimed
                    .retain(|_, times| times.back().is_some_and(|last| now < *last + HOLDS));
                if self.reclaimed.len() >= MOST {
                    return false;
                }
                let times = self.reclaimed.entry((family, *lsa)).or_default();
                times.push_back(now);
                if times.len() > SIGNS {
                    times.pop_front();
                }
                if times.len() < SIGNS || now >= times[0] + HOLDS {
                    return false;
                }
                let known = self.further.is_some_and(|last| now < last + HOLDS);
                self.further = Some(now);
                !known
            }
            _ => false,
        }
    }

    /// This problem holds now: the routers with our Router ID that there are.
    pub(crate) fn hold<'a>(
        &self,
        now: Instant,
        name: impl Fn(u32) -> Option<&'a str>,
    ) -> Vec<Twin> {
        let next_to_us = self.next_to_us.iter();
        let mut twins: Vec<Twin> = next_to_us
            .filter(|(_, last)| now < **last + HOLDS)
            .map(|((interface, address), _)| Twin {
                interface: name(*interface).map(str::to_owned),
                address: Some(*address),
            })
            .collect();
        if twins.is_empty() && self.further.is_some_and(|last| now < last + HOLDS) {
            twins.push(Twin {
                interface: None,
                address: None,
            });
        }
        twins
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use ospfv3::wire::LsaType;

    use super::*;

    fn reclaimed(id: u32) -> Event {
        Event::SelfOriginatedReceived {
            lsa: LsaKey {
                ty: LsaType::ROUTER,
                id,
                adv: Ipv4Addr::new(10, 0, 0, 1),
            },
            sequence: 7,
        }
    }

    #[test]
    fn fault_5_a_restart_is_not_taken_for_a_twin() {
        let start = Instant::now();
        let mut twins = Twins::default();
        for id in 0..200 {
            assert!(!twins.note(Family::Ipv6, &reclaimed(id), start));
        }
        assert!(twins.reclaimed.len() <= MOST);
        let later = start + Duration::from_secs(61);
        assert!(!twins.note(Family::Ipv6, &reclaimed(0), later));
        assert!(!twins.note(Family::Ipv6, &reclaimed(0), later));
        assert_eq!(twins.hold(later, |_| None), []);
    }

    #[test]
    fn fault_5_one_lsa_again_and_again_is_a_twin_until_it_ends() {
        let start = Instant::now();
        let mut twins = Twins::default();
        let mut at = |seconds| {
            let now = start + Duration::from_secs(seconds);
            twins.note(Family::Ipv6, &reclaimed(0), now)
        };
        assert_eq!([0, 5, 10, 15].map(&mut at), [false, false, true, false]);
        let hold = |seconds| twins.hold(start + Duration::from_secs(seconds), |_| None);
        let somewhere = Twin {
            interface: None,
            address: None,
        };
        assert_eq!(hold(70), [somewhere]);
        assert_eq!(hold(76), []);
    }

    #[test]
    fn fault_5_a_neighbour_with_our_router_id_is_named() {
        let start = Instant::now();
        let mut twins = Twins::default();
        let source = "fe80::2".parse().unwrap();
        let event = Event::Refused {
            interface: 3,
            source,
            reason: Refusal::DuplicateRouterId,
            mismatch: None,
        };
        assert!(twins.note(Family::Ipv6, &event, start));
        assert!(!twins.note(Family::Ipv4, &event, start));
        let named = Twin {
            interface: Some("l2-b".to_owned()),
            address: Some(source),
        };
        assert_eq!(twins.hold(start, |_| Some("l2-b")), [named]);
        assert_eq!(twins.hold(start + HOLDS, |_| Some("l2-b")), []);
    }
}
