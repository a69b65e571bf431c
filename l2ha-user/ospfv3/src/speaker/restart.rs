//! Our own graceful restart: RFC 3623 2, RFC 5187 2 and 3.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::core::Core;
use super::originated::Desired;
use crate::config::Time;
use crate::event::Event;
use crate::graceful::{GracefulRestart, Phase, RestartEnd};
use crate::interface::Interface;
use crate::lsdb::DbId;
use crate::neighbor::NeighborState;
use crate::wire::{Grace, GraceReason, LinkKind, LsaBody, LsaType, Router, RouterLink};

/// How long the Grace-LSA stays after the restart: a neighbour that we are Full with may not be
/// Full with us before it has got what it has requested.
const FINISHING: Duration = Duration::from_secs(1);

/// Our restart, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct RestartView {
    /// Milliseconds since it began.
    pub since_ms: u64,
    /// Milliseconds until it ends whatever happens.
    pub remaining_ms: u64,
    /// Why we restart.
    pub reason: GraceReason,
    /// Whether it is announced and the restart itself still to come.
    pub leaving: bool,
}

/// Our graceful restart, if there is one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Restart(Option<Running>);

/// One that goes on.
#[derive(Clone, Copy, Debug)]
struct Running {
    announced: GracefulRestart,
    since: Time,
    phase: Phase,
}

impl Running {
    fn until(&self) -> Time {
        self.since + Duration::from_secs(self.announced.period.into())
    }
}

impl Restart {
    pub(crate) fn new(announced: GracefulRestart, since: Time, phase: Phase) -> Self {
        Self(Some(Running {
            announced,
            since,
            phase,
        }))
    }

    /// How far it is.
    pub(crate) fn phase(&self) -> Option<Phase> {
        self.0.map(|restart| restart.phase)
    }

    /// Whether we are still learning what was before it.
    pub(crate) fn is_resuming(&self) -> bool {
        self.phase() == Some(Phase::Resuming)
    }

    /// For people.
    pub(crate) fn view(&self, now: Time) -> Option<RestartView> {
        let restart = self.0.as_ref()?;
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Some(RestartView {
            since_ms: millis(now.saturating_sub(restart.since)),
            remaining_ms: millis(restart.until().saturating_sub(now)),
            reason: restart.announced.reason,
            leaving: restart.phase == Phase::Announcing,
        })
    }

    /// RFC 3623 2.2 (1): while we are resuming, whatever we originated before the
    /// restart stands. What stays on the link is not concerned.
    pub(crate) fn may_originate(&self, ty: LsaType) -> bool {
        !self.is_resuming() || matches!(ty, LsaType::LINK | LsaType::GRACE)
    }

    /// RFC 5187 2.1: one on each link, with our Interface ID as Link State ID.
    pub(crate) fn desired_graces(&self, core: &Core, desired: &mut Desired) {
        let Some(restart) = &self.0 else {
            return;
        };
        let body = Grace {
            period: restart.announced.period.into(),
            reason: restart.announced.reason,
        };
        for interface in core.interfaces().values().filter(|i| i.is_up()) {
            let id = interface.config.id;
            let key = core.own_key(LsaType::GRACE, id);
            desired.insert((DbId::Link(id), key), LsaBody::Grace(body));
        }
    }

    pub(crate) fn next_deadline(&self, core: &Core) -> Option<Time> {
        let restart = self.0.as_ref()?;
        match restart.phase {
            Phase::Announcing => None,
            Phase::Resuming => {
                let silence = restart.since + longest_silence(core);
                let silence = Some(silence).filter(|at| *at > core.now());
                Some(silence.map_or(restart.until(), |at| at.min(restart.until())))
            }
            Phase::Finishing(at) => Some(at),
        }
    }

    /// RFC 3623 2.3 (6): the last thing is to flush the Grace-LSAs. Whether that is to be done.
    pub(crate) fn finish_if_due(&mut self, now: Time) -> bool {
        let due = matches!(self.phase(), Some(Phase::Finishing(at)) if at <= now);
        if due {
            self.0 = None;
        }
        due
    }

    /// RFC 3623 2.3: looks whether we know how things were, and need no more help; whether that is new.
    pub(crate) fn end_if_done(&mut self, core: &mut Core) -> bool {
        let Some(restart) = &mut self.0 else {
            return false;
        };
        if restart.phase != Phase::Resuming {
            return false;
        }
        let Some(why) = restart.judge(core) else {
            return false;
        };
        restart.phase = Phase::Finishing(core.now() + FINISHING);
        core.confirm_all();
        let ended = &mut core.counters_mut().graceful.restarts_ended;
        *ended.entry(why).or_default() += 1;
        core.event(Event::RestartEnded { why });
        true
    }
}

impl Running {
    fn judge(&self, core: &Core) -> Option<RestartEnd> {
        let now = core.now();
        let silence = now >= self.since + longest_silence(core);
        let mut complete = true;
        for area in core.active_areas() {
            let speaking =
                |interface: &&Interface| interface.config.area == area && interface.is_up();
            let neighbors = || {
                let interfaces = core.interfaces().values().filter(speaking);
                interfaces.flat_map(|interface| interface.neighbors.values())
            };
            if !core.interfaces().values().any(|i| speaking(&i)) && !silence {
                // The loopback alone; or a link that is still to come.
                continue;
            }
            let Some(links) = links_of_before(core, area) else {
                // There was no LSA of ours, or no neighbour has sent it yet.
                let making = |n: &crate::neighbor::Neighbor| {
                    (NeighborState::Init..NeighborState::Full).contains(&n.state)
                };
                let full = neighbors().any(|n| n.state == NeighborState::Full);
                complete &= !neighbors().any(making) && (full || silence);
                continue;
            };
            for link in links {
                match is_back(core, area, &link) {
                    Ok(true) => {}
                    Ok(false) => complete = false,
                    Err(RestartEnd::NeighborMissing) if !silence => complete = false,
                    Err(why) => return Some(why),
                }
            }
        }
        let any = core.interfaces().values().any(Interface::is_up);
        if complete && (any || silence) {
            Some(RestartEnd::Completed)
        } else if now >= self.until() {
            Some(RestartEnd::Expired)
        } else {
            None
        }
    }
}

fn longest_silence(core: &Core) -> Duration {
    let up = core.interfaces().values().filter(|i| i.is_up());
    let longest = up.map(|interface| interface.config.dead()).max();
    longest.unwrap_or(Duration::from_secs(40))
}

/// The links of our Router-LSA as it was before the restart.
fn links_of_before(core: &Core, area: Ipv4Addr) -> Option<Vec<RouterLink>> {
    let routers = router_lsas(core, area, core.config().router_id);
    let links: Vec<&Router> = routers.collect();
    if links.is_empty() {
        return None;
    }
    let links = links.into_iter().flat_map(|router| &router.links);
    Some(links.copied().collect())
}

/// The Router-LSAs of a router below MaxAge.
fn router_lsas(core: &Core, area: Ipv4Addr, router_id: Ipv4Addr) -> impl Iterator<Item = &Router> {
    let now = core.now();
    let database = core.databases().get(&DbId::Area(area));
    database
        .into_iter()
        .flat_map(|database| database.of_type(LsaType::ROUTER))
        .filter(move |entry| entry.lsa.key().adv == router_id && !entry.is_max_age(now))
        .filter_map(|entry| match entry.lsa.body() {
            LsaBody::Router(router) => Some(router),
            _ => None,
        })
}

/// RFC 3623 2.3 (1) and (2): whether an adjacency of before is there again, or will never be.
fn is_back(core: &Core, area: Ipv4Addr, link: &RouterLink) -> Result<bool, RestartEnd> {
    let interface = core.interfaces().get(&link.interface_id);
    let interface = interface.filter(|interface| interface.is_up());
    let interface = interface.ok_or(RestartEnd::NeighborMissing)?;
    let own = core.config().router_id;
    let them = link.neighbor_router_id;
    if link.kind == LinkKind::Transit {
        let before = (them, link.neighbor_interface_id);
        return match interface.transit_network(own) {
            Some(network) if network == before => Ok(true),
            // Another router has taken the role over, and the one before has been heard.
            Some(_) if them == own || interface.neighbors.contains_key(&them) => {
                Err(RestartEnd::Inconsistent)
            }
            Some(_) => Err(RestartEnd::NeighborMissing),
            None => Ok(false),
        };
    }
    let neighbor = interface.neighbors.get(&them);
    let neighbor = neighbor.ok_or(RestartEnd::NeighborMissing)?;
    let mut theirs = router_lsas(core, area, them).peekable();
    let known = theirs.peek().is_some();
    let back = theirs.flat_map(|router| &router.links).any(|back| {
        back.neighbor_router_id == own && back.neighbor_interface_id == link.interface_id
    });
    if known && !back {
        return Err(RestartEnd::Inconsistent);
    }
    Ok(neighbor.state == NeighborState::Full)
}
