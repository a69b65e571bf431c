//! Two routers with one Router ID: another one with ours, next to us or somewhere behind our neighbours, or two
//! neighbours of ours.
//!
//! Nothing can be relied upon then: each of the two withdraws and outpaces what the other says.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use control::{DoubledRouterId, Twin};
use ospfv3::{DoubledSign, Event, Family, Refusal, wire::LsaKey};
use tokio::time::Instant;

/// For so long after it was heard last a router on a link of ours is one.
const HEARD: Duration = Duration::from_secs(60);
/// For so long after the last sign two routers further away are: they supersede each other's LSAs once a
/// minute in the end.
const HOLDS: Duration = Duration::from_secs(150);
/// So often within [`WINDOW`] one LSA of ours comes back newer than we know it: after a restart each comes once,
/// and a second time if a neighbour was late. And so often neighbours of one Router ID take turns: one that has
/// moved does so once.
const SIGNS: usize = 3;
/// The time in which that happens at first.
const WINDOW: Duration = Duration::from_secs(60);
/// LSAs and Router IDs that are remembered; a neighbour could invent any number.
const MOST: usize = 64;
/// Addresses and neighbours of another router that are named.
const FEW: usize = 8;

/// What has been seen of such routers.
#[derive(Debug, Default)]
pub(crate) struct Twins {
    /// Those with our Router ID on a link of ours, by where, and when they were heard last.
    next_to_us: BTreeMap<(u32, Ipv6Addr), Instant>,
    /// When an LSA of ours came back newer than we knew it, and whose news it had.
    reclaimed: BTreeMap<(Family, LsaKey), Reclaimed>,
    /// When it was last so that somebody behind our neighbours has our Router ID.
    further: Option<Instant>,
    /// Router IDs of neighbours.
    doubled: BTreeMap<Ipv4Addr, Turns>,
}

/// An LSA of ours that has come back.
#[derive(Debug, Default)]
struct Reclaimed {
    times: VecDeque<Instant>,
    addresses: BTreeSet<IpAddr>,
    routers: BTreeSet<Ipv4Addr>,
}

/// Signs that neighbours with one Router ID take turns.
#[derive(Debug)]
struct Turns {
    /// When the sign was another one than before.
    times: VecDeque<Instant>,
    last: (DoubledSign, Instant),
    /// When it was last so that there are two.
    since: Option<Instant>,
    links: Vec<(u32, Ipv6Addr)>,
}

impl Twins {
    /// Takes note of what a speaker reports. Whether there are two routers with one Router ID now of which that
    /// was not known.
    pub(crate) fn note(&mut self, family: Family, event: &Event, now: Instant) -> bool {
        match event {
            Event::Refused {
                interface,
                source,
                reason: Refusal::DuplicateRouterId,
                ..
            } => {
                self.next_to_us.retain(|_, last| now < *last + HEARD);
                if self.next_to_us.len() >= MOST {
                    return false;
                }
                self.next_to_us.insert((*interface, *source), now).is_none()
            }
            Event::SelfOriginatedReceived {
                lsa,
                prefixes,
                routers,
                ..
            } => {
                self.reclaimed.retain(|_, it| {
                    let last = it.times.back();
                    last.is_some_and(|last| now < *last + HOLDS)
                });
                if self.reclaimed.len() >= MOST {
                    return false;
                }
                let reclaimed = self.reclaimed.entry((family, *lsa)).or_default();
                let hosts = prefixes.iter().filter(|prefix| prefix.is_host());
                let addresses = hosts.map(|prefix| prefix.addr());
                let room = MOST.saturating_sub(reclaimed.addresses.len());
                reclaimed.addresses.extend(addresses.take(room));
                let room = MOST.saturating_sub(reclaimed.routers.len());
                reclaimed.routers.extend(routers.iter().take(room));
                let known = self.further.is_some_and(|last| now < last + HOLDS);
                if !again(&mut reclaimed.times, now, known) {
                    return false;
                }
                self.further = Some(now);
                !known
            }
            Event::RouterIdDoubled {
                router_id,
                links,
                sign,
            } => self.took_turns(*router_id, links, *sign, now),
            _ => false,
        }
    }

    /// A neighbour has become Full: where it is one that had a Router ID of another, it has one of its own now.
    /// `full_at` tells the Router ID of the Full neighbour at an address.
    pub(crate) fn heal(&mut self, full_at: impl Fn(u32, Ipv6Addr) -> Option<Ipv4Addr>) {
        let before = self.next_to_us.len();
        self.next_to_us
            .retain(|(interface, address), _| full_at(*interface, *address).is_none());
        if self.next_to_us.len() < before {
            // What has come back was this neighbour's, as far as is known.
            self.reclaimed.clear();
            self.further = None;
        }
        self.doubled.retain(|router_id, turns| {
            let mut links = turns.links.iter();
            links.all(|(interface, address)| {
                full_at(*interface, *address).is_none_or(|now| now == *router_id)
            })
        });
    }

    fn took_turns(
        &mut self,
        router_id: Ipv4Addr,
        links: &[(u32, Ipv6Addr)],
        sign: DoubledSign,
        now: Instant,
    ) -> bool {
        self.doubled.retain(|_, turns| now < turns.last.1 + HOLDS);
        let room = self.doubled.len() < MOST;
        let turns = match self.doubled.get_mut(&router_id) {
            Some(turns) => turns,
            None if room => {
                let turns = Turns {
                    times: VecDeque::from([now]),
                    last: (sign, now),
                    since: None,
                    links: links.to_vec(),
                };
                self.doubled.insert(router_id, turns);
                return false;
            }
            None => return false,
        };
        if turns.last.0 == sign {
            turns.last.1 = now;
            return false;
        }
        turns.last = (sign, now);
        turns.links = links.to_vec();
        let known = turns.since.is_some_and(|last| now < last + HOLDS);
        if !again(&mut turns.times, now, known) {
            return false;
        }
        turns.since = Some(now);
        !known
    }

    /// The routers with our Router ID that there are now.
    pub(crate) fn hold<'a>(
        &self,
        now: Instant,
        name: impl Fn(u32) -> Option<&'a str>,
    ) -> Vec<Twin> {
        let next_to_us = self.next_to_us.iter();
        let mut twins: Vec<Twin> = next_to_us
            .filter(|(_, last)| now < **last + HEARD)
            .map(|((interface, address), _)| Twin {
                interface: name(*interface).map(str::to_owned),
                addresses: vec![(*address).into()],
                neighbors: Vec::new(),
            })
            .collect();
        if twins.is_empty() && self.further.is_some_and(|last| now < last + HOLDS) {
            let reclaimed = self.reclaimed.values();
            let addresses = reclaimed.clone().flat_map(|it| &it.addresses);
            let addresses: BTreeSet<IpAddr> = addresses.copied().collect();
            let routers = reclaimed.flat_map(|it| &it.routers);
            let routers: BTreeSet<Ipv4Addr> = routers.copied().collect();
            twins.push(Twin {
                interface: None,
                addresses: addresses.into_iter().take(FEW).collect(),
                neighbors: routers.into_iter().take(FEW).collect(),
            });
        }
        twins
    }

    /// The Router IDs that two neighbours have.
    pub(crate) fn doubled<'a>(
        &self,
        now: Instant,
        name: impl Fn(u32) -> Option<&'a str>,
    ) -> Vec<DoubledRouterId> {
        let doubled = self.doubled.iter().filter(|(_, turns)| {
            let since = turns.since;
            since.is_some_and(|last| now < last + HOLDS)
        });
        doubled
            .map(|(router_id, turns)| DoubledRouterId {
                router_id: *router_id,
                neighbors: turns
                    .links
                    .iter()
                    .filter_map(|(interface, address)| {
                        Some((name(*interface)?.to_owned(), *address))
                    })
                    .collect(),
            })
            .collect()
    }
}

/// It has happened again: whether that has been too often, or is known to go on.
fn again(times: &mut VecDeque<Instant>, now: Instant, known: bool) -> bool {
    times.push_back(now);
    if times.len() > SIGNS {
        times.pop_front();
    }
    known || times.len() == SIGNS && now < times[0] + WINDOW
}

#[cfg(test)]
mod tests {
    use ospfv3::{Prefix, wire::LsaType};

    use super::*;

    fn reclaimed(id: u32) -> Event {
        Event::SelfOriginatedReceived {
            lsa: LsaKey {
                ty: LsaType::ROUTER,
                id,
                adv: Ipv4Addr::new(10, 0, 0, 1),
            },
            sequence: 7,
            prefixes: vec![
                Prefix::host(Ipv6Addr::LOCALHOST),
                Prefix::default_of(Family::Ipv6),
            ],
            routers: vec![Ipv4Addr::new(10, 0, 0, 3)],
        }
    }

    fn sign(sign: DoubledSign) -> Event {
        let address = |last| Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last);
        Event::RouterIdDoubled {
            router_id: Ipv4Addr::new(10, 0, 0, 2),
            links: vec![(3, address(3)), (4, address(4))],
            sign,
        }
    }

    #[test]
    fn a_restart_is_not_taken_for_a_doubled_router_id() {
        let start = Instant::now();
        let mut twins = Twins::default();
        for id in 0..200 {
            assert!(!twins.note(Family::Ipv6, &reclaimed(id), start));
        }
        assert!(twins.reclaimed.len() <= MOST);
        let later = start + HOLDS;
        assert!(!twins.note(Family::Ipv6, &reclaimed(0), later));
        assert!(!twins.note(Family::Ipv6, &reclaimed(0), later));
        assert_eq!(twins.hold(later, |_| None), []);
    }

    #[test]
    fn one_lsa_again_and_again_is_a_doubled_router_id_until_it_ends() {
        let start = Instant::now();
        let mut twins = Twins::default();
        let mut at = |seconds| {
            let now = start + Duration::from_secs(seconds);
            twins.note(Family::Ipv6, &reclaimed(0), now)
        };
        // As two l2ha do that supersede each other.
        let told = [0, 5, 15, 35, 75, 135].map(&mut at);
        assert_eq!(told, [false, false, true, false, false, false]);
        let hold = |seconds| twins.hold(start + Duration::from_secs(seconds), |_| None);
        let somewhere = Twin {
            interface: None,
            addresses: vec![Ipv6Addr::LOCALHOST.into()],
            neighbors: vec![Ipv4Addr::new(10, 0, 0, 3)],
        };
        assert_eq!(hold(280), [somewhere]);
        assert_eq!(hold(286), []);
    }

    #[test]
    fn a_neighbour_with_our_router_id_is_named() {
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
            addresses: vec![source.into()],
            neighbors: Vec::new(),
        };
        assert_eq!(twins.hold(start, |_| Some("l2-b")), [named]);
        assert_eq!(twins.hold(start + HEARD, |_| Some("l2-b")), []);
    }

    #[test]
    fn a_neighbour_that_is_full_with_another_router_id_is_no_twin_any_more() {
        let start = Instant::now();
        let mut twins = Twins::default();
        let source = "fe80::2".parse().unwrap();
        let event = Event::Refused {
            interface: 3,
            source,
            reason: Refusal::DuplicateRouterId,
            mismatch: None,
        };
        twins.note(Family::Ipv6, &event, start);
        for interface in [3, 4, 3, 4] {
            let event = sign(DoubledSign::Links(interface));
            twins.note(Family::Ipv6, &event, start);
        }
        let is_known = |twins: &Twins| {
            let next = twins.hold(start, |_| Some("l2-b")).len();
            (next, twins.doubled(start, |_| Some("l2-b")).len())
        };
        // Somebody else, and both as they were.
        let doubled = Ipv4Addr::new(10, 0, 0, 2);
        twins.heal(|interface, _| {
            [None, None, Some(doubled), Some(doubled)][interface as usize - 1]
        });
        assert_eq!(is_known(&twins), (0, 1));
        twins.note(Family::Ipv6, &event, start);
        twins.heal(|_, address| (address.segments()[7] == 9).then_some(doubled));
        assert_eq!(is_known(&twins), (1, 1));
        let another = Ipv4Addr::new(10, 0, 0, 9);
        twins.heal(|_, address| (address != source).then_some(another));
        assert_eq!(is_known(&twins), (1, 0));
        twins.heal(|_, address| (address == source).then_some(another));
        assert_eq!(is_known(&twins), (0, 0));
    }

    #[test]
    fn one_neighbour_that_changes_is_not_taken_for_two_with_one_router_id() {
        let start = Instant::now();
        let mut twins = Twins::default();
        let links = [3, 3, 3, 4, 4, 4].map(|interface| sign(DoubledSign::Links(interface)));
        for event in links {
            assert!(!twins.note(Family::Ipv6, &event, start));
        }
        assert_eq!(twins.doubled(start, |_| Some("l2-b")), []);
        // In turn, but with hours between.
        for (at, interface) in [(1, 3), (2, 4), (3, 3), (4, 4)] {
            let at = start + HOLDS * at;
            let event = sign(DoubledSign::Links(interface));
            assert!(!twins.note(Family::Ipv6, &event, at));
        }
    }

    #[test]
    fn two_neighbours_with_one_router_id_are_both_named() {
        let start = Instant::now();
        let mut twins = Twins::default();
        let mut told = Vec::new();
        for interface in [3, 4, 3, 4] {
            let event = sign(DoubledSign::Links(interface));
            told.push(twins.note(Family::Ipv6, &event, start));
        }
        assert_eq!(told, [false, false, true, false]);
        let name = |interface| [None, Some("l2-b"), Some("l2-c")][interface as usize - 2];
        let named = DoubledRouterId {
            router_id: Ipv4Addr::new(10, 0, 0, 2),
            neighbors: vec![
                ("l2-b".to_owned(), "fe80::3".parse().unwrap()),
                ("l2-c".to_owned(), "fe80::4".parse().unwrap()),
            ],
        };
        assert_eq!(twins.doubled(start, name), [named]);
        assert_eq!(twins.doubled(start + HOLDS, name), []);
    }
}
