//! Looks at the node again and again, and makes facts of what it sees.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::{Duration, Instant},
};

use config::{Config, Tunnel};
use control::{
    BfdSession, BfdStatus, InFamily, OspfInterface, OspfStatus, ServiceStatus, TunnelStatus,
    UnderlayStatus,
};
use dataplane::{Counters, DataPlane, Reason};
use ospfv3::{Family, NeighborState, NeighborView};

use super::{
    facts::{Facts, NodeFacts, OspfFacts, RoutingFacts, TunnelFacts},
    growth::Growth,
    samples::{Frames, SAMPLED, Samples},
};

/// What has grown within this time is so now, unless OSPF's intervals are longer.
const LATELY: Duration = Duration::from_secs(12);
/// Losses of adjacencies are counted for so long.
const FLAPPING: Duration = Duration::from_secs(60);
/// So many losses are remembered for each tunnel.
const MOST_LOSSES: usize = 16;
/// What the parts of the node show.
pub(crate) struct Views {
    pub(crate) counters: Counters,
    pub(crate) underlay: UnderlayStatus,
    pub(crate) tunnels: Vec<TunnelStatus>,
    pub(crate) services: Vec<ServiceStatus>,
    pub(crate) routing: RoutingViews,
}

/// What the routing thread shows.
#[derive(Default)]
pub(crate) enum RoutingViews {
    /// There is none.
    #[default]
    None,
    /// It has ended, and why.
    Ended(String),
    /// It has not answered in time.
    Silent,
    /// It answers.
    Runs(Box<Routes>),
}

/// What the routing thread answers.
#[derive(Default)]
pub(crate) struct Routes {
    pub(crate) summary: Option<OspfStatus>,
    pub(crate) interfaces: Vec<InFamily<OspfInterface>>,
    pub(crate) neighbors: Vec<InFamily<NeighborView>>,
    pub(crate) bfd: Option<BfdStatus>,
}

/// What was seen before, as far as it matters.
#[derive(Default)]
pub(crate) struct Observer {
    traffic: Growth<String>,
    refused: Growth<(u32, Reason)>,
    reasons: Growth<Reason>,
    send_errors: Growth<String>,
    routes_refused: Growth<()>,
    log_lost: Growth<()>,
    losses: BTreeMap<String, Losses>,
    samples: Samples,
    frames: Frames,
}

/// The losses of adjacencies over a tunnel.
#[derive(Debug, Default)]
struct Losses {
    count: u64,
    recent: VecDeque<Instant>,
}

impl Observer {
    /// Takes note of what is so now; fills in what the tunnels' status has of it.
    pub(crate) fn observe(
        &mut self,
        config: &Config,
        plane: &DataPlane,
        node: NodeFacts,
        views: &mut Views,
        log_lines_lost: u64,
    ) -> Facts {
        let now = Instant::now();
        self.note(now, views, log_lines_lost);
        let shown = match &views.routing {
            RoutingViews::Runs(routes) => routes.by_interface(),
            RoutingViews::None | RoutingViews::Ended(_) | RoutingViews::Silent => Shown::default(),
        };
        for tunnel in &mut views.tunnels {
            let heard = self.traffic.ago(now, &tunnel.name);
            tunnel.heard_ms = heard.map(millis);
            shown.fill(tunnel);
        }
        let lately = lately(config);
        let facts = self.facts((now, lately), config, node, views, &shown);
        let wanted = {
            let mut recent = self.reasons.recent(now, lately);
            recent.any(|reason| SAMPLED.contains(reason)) && facts.someone_is_missing()
        };
        self.samples.follow(plane, wanted, now, lately);
        let unheard = facts.tunnels.iter().filter(|it| it.is_unheard());
        let unheard = unheard.map(|it| it.status.session_id).collect();
        self.frames.follow(plane, unheard, now, lately);
        facts
    }

    fn note(&mut self, now: Instant, views: &Views, log_lines_lost: u64) {
        let tunnels = views.tunnels.iter();
        self.traffic
            .note(now, tunnels.map(|it| (it.name.clone(), it.rx_packets)));
        let refused = views
            .counters
            .refused
            .iter()
            .flat_map(|(session, reasons)| {
                let reasons = reasons.iter();
                reasons.filter_map(|(name, count)| Some(((*session, Reason::named(name)?), *count)))
            });
        self.refused.note(now, refused);
        let reasons = views.counters.reasons.iter();
        self.reasons.note(
            now,
            reasons.filter_map(|(name, count)| Some((Reason::named(name)?, *count))),
        );
        self.log_lost.note(now, [((), log_lines_lost)]);
        let RoutingViews::Runs(routes) = &views.routing else {
            return;
        };
        if let Some(summary) = &routes.summary {
            let errors = summary.send_errors.clone();
            self.send_errors.note(now, errors);
            let kernel = &summary.kernel;
            self.routes_refused.note(now, [((), kernel.refused)]);
        }
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for it in &routes.interfaces {
            *counts.entry(&it.entry.view.name).or_default() += it.entry.adjacencies_lost;
        }
        self.losses
            .retain(|name, _| counts.contains_key(name.as_str()));
        for (name, count) in counts {
            let losses = self.losses.entry(name.to_owned()).or_default();
            for _ in losses.count..count.min(losses.count + MOST_LOSSES as u64) {
                losses.recent.push_back(now);
            }
            losses.count = count;
            let old = |at: &Instant| now.saturating_duration_since(*at) > FLAPPING;
            while losses.recent.len() > MOST_LOSSES || losses.recent.front().is_some_and(old) {
                losses.recent.pop_front();
            }
        }
    }

    fn facts(
        &self,
        (now, lately): (Instant, Duration),
        config: &Config,
        node: NodeFacts,
        views: &Views,
        shown: &Shown<'_>,
    ) -> Facts {
        let routing = match (&views.routing, &config.ospf) {
            (RoutingViews::None, _) | (_, None) => RoutingFacts::None,
            (RoutingViews::Ended(why), _) => RoutingFacts::Ended(why.clone()),
            (RoutingViews::Silent, _) => RoutingFacts::Silent,
            (RoutingViews::Runs(routes), Some(ospf)) => {
                let summary = routes.summary.as_ref();
                RoutingFacts::Runs(OspfFacts {
                    router_id: ospf.router_id,
                    hello: Duration::from_secs(ospf.hello_interval.into()),
                    dead: Duration::from_secs(ospf.dead_interval.into()),
                    ipv4: ospf.ipv4.is_some(),
                    routes_refused: self.routes_refused.within(now, lately, &()),
                    kept_out: summary.map_or_else(Vec::new, |it| it.kept_out.clone()),
                    twins: summary.map_or_else(Vec::new, |it| it.twins.clone()),
                    doubled_router_ids: summary
                        .map_or_else(Vec::new, |it| it.doubled_router_ids.clone()),
                })
            }
        };
        let tunnels = config.tunnels.iter().zip(&views.tunnels);
        let tunnels = tunnels.map(|(tunnel, status)| {
            let mut facts = self.tunnel(now, lately, tunnel, status, shown);
            let underlay = views.underlay.mtu;
            facts.room = underlay.map(|mtu| mtu.saturating_sub(tunnel.overhead().into()));
            facts
        });
        let log_lost = self.log_lost.within(now, lately, &());
        Facts {
            tunnels: tunnels.collect(),
            node: NodeFacts { log_lost, ..node },
            routing,
            underlay: views.underlay.clone(),
            services: views.services.clone(),
        }
    }

    fn tunnel(
        &self,
        now: Instant,
        lately: Duration,
        tunnel: &Tunnel,
        status: &TunnelStatus,
        shown: &Shown<'_>,
    ) -> TunnelFacts {
        let id = tunnel.session_id;
        let refused = self.refused.recent(now, lately);
        let refused = refused.filter(|(session, _)| *session == id);
        let samples = self.samples.seen().filter(|sample| {
            let is_ours = sample.session == Some(id) && sample.reason != Reason::UnknownSession;
            is_ours || sample.source == tunnel.remote
        });
        let interface = &tunnel.interface;
        let losses = self.losses.get(interface);
        TunnelFacts {
            status: status.clone(),
            ospf: tunnel.ospf.is_some(),
            bfd: tunnel.ospf.is_some_and(|ospf| ospf.bfd.is_some()),
            own_keys: tunnel.ospf_key.as_ref().map(|key| key.former.is_some()),
            room: None,
            refused: refused.map(|(_, reason)| *reason).collect(),
            samples: samples.copied().collect(),
            ospf_arrives: self.frames.has_ospf(id),
            unknown_sessions: self.reasons.within(now, lately, &Reason::UnknownSession),
            interfaces: of(&shown.interfaces, interface).cloned().collect(),
            neighbors: of(&shown.neighbors, interface).cloned().collect(),
            sessions: of(&shown.sessions, interface).cloned().collect(),
            losses: losses.map_or(0, |it| it.recent.len()),
            lost: losses
                .and_then(|it| it.recent.back())
                .map(|last| now.saturating_duration_since(*last)),
            send_refused: self.send_errors.within(now, lately, interface),
        }
    }
}

/// How long what was seen counts as being so.
fn lately(config: &Config) -> Duration {
    let ospf = config.ospf.as_ref();
    let intervals = ospf.map_or(0, |ospf| {
        ospf.dead_interval.saturating_add(ospf.hello_interval)
    });
    LATELY.max(Duration::from_secs(intervals.into()))
}

impl Facts {
    /// Whether a tunnel lacks what should come over it.
    fn someone_is_missing(&self) -> bool {
        self.tunnels.iter().any(|tunnel| match &self.routing {
            RoutingFacts::Runs(ospf) if tunnel.ospf => !tunnel.is_adjacent(ospf),
            _ => tunnel.status.heard_ms.is_none_or(|ms| ms > 10_000),
        })
    }
}

/// What the routing thread shows of each interface, by its name: with thousands of tunnels each would otherwise be looked
/// for among those of all.
#[derive(Default)]
struct Shown<'a> {
    interfaces: ByName<'a, InFamily<OspfInterface>>,
    neighbors: ByName<'a, InFamily<NeighborView>>,
    sessions: ByName<'a, BfdSession>,
}

type ByName<'a, T> = HashMap<&'a str, Vec<&'a T>>;

fn by_name<'a, T>(all: &'a [T], name: impl Fn(&'a T) -> &'a str) -> ByName<'a, T> {
    let mut sorted = ByName::new();
    for it in all {
        sorted.entry(name(it)).or_default().push(it);
    }
    sorted
}

/// Those of one interface.
fn of<'a, T>(all: &ByName<'a, T>, name: &str) -> impl Iterator<Item = &'a T> {
    let found = all.get(name).map(Vec::as_slice).unwrap_or_default();
    found.iter().copied()
}

impl Routes {
    fn by_interface(&self) -> Shown<'_> {
        let sessions = self.bfd.as_ref().map(|bfd| bfd.sessions.as_slice());
        Shown {
            interfaces: by_name(&self.interfaces, |it| &it.entry.view.name),
            neighbors: by_name(&self.neighbors, |it| &it.entry.interface_name),
            sessions: by_name(sessions.unwrap_or_default(), |it| &it.interface),
        }
    }
}

impl Shown<'_> {
    /// What a tunnel's status shows of OSPF and BFD.
    fn fill(&self, tunnel: &mut TunnelStatus) {
        let name = &tunnel.interface;
        let best = |family| -> Option<NeighborState> {
            let neighbors = of(&self.neighbors, name).filter(|it| it.family == family);
            neighbors.map(|it| it.entry.state).max()
        };
        let rank = |state: &bfd::State| match state {
            bfd::State::AdminDown => 0,
            bfd::State::Down => 1,
            bfd::State::Init => 2,
            bfd::State::Up => 3,
        };
        let states = of(&self.sessions, name).map(|it| it.session.state);
        tunnel.bfd = states.min_by_key(rank);
        tunnel.ospf = best(Family::Ipv6);
        tunnel.ospf_ipv4 = best(Family::Ipv4);
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
