//! All tunnels: which are in place, and which sessions the data plane has.

use std::collections::{BTreeMap, HashSet};

use config::{Config, Tunnel};
use control::{SessionStatus, TunnelStatus};
use dataplane::{Counters, Session};
use linux::settings::{self, Wanted};
use routing::Rotations;

use crate::{
    snapshot::Snapshot,
    tools::Tools,
    tunnel::{TunnelPass, Up, add_to_journal, wanted},
    tunnel_status,
    underlay::UnderlayLink,
    ways::Ways,
};

/// The tunnels by name; one that was not tried yet is missing.
#[derive(Default)]
pub(crate) struct Tunnels {
    /// In place, or what is wrong; that is tried again at every change and every check.
    states: BTreeMap<String, Result<Up, String>>,
    ways: Ways,
    /// Which tunnel's settings are looked at next.
    next_look: usize,
    /// The session ids to which the maps were last reduced.
    kept: Option<HashSet<u32>>,
}

impl Tunnels {
    /// Brings every tunnel to what the configuration says. One that fails is logged, and the others
    /// go on.
    pub(crate) async fn ensure(
        &mut self,
        config: &Config,
        underlay: UnderlayLink,
        tools: &mut Tools,
        kernel: &mut Snapshot,
        rotations: &Rotations,
    ) {
        add_to_journal(config, kernel, tools);
        self.ways.look_up(config, underlay, &tools.netlink).await;
        let settled = self.settled(config);
        for tunnel in &config.tunnels {
            let name = &tunnel.name;
            let before = self.states.get(name);
            let pass = TunnelPass {
                config,
                tunnel,
                underlay,
                next_hop: self.ways.next_hop(tunnel),
                before: before.and_then(|state| Some(&state.as_ref().ok()?.session)),
                rotations,
                settled: settled.get(name.as_str()).copied(),
                tools,
                kernel,
                lacking: None,
            };
            let now = pass.ensure().await.map_err(|error| format!("{error:#}"));
            match (&now, before) {
                (Err(now), Some(Err(before))) if now == before => {}
                // A problem, which is said once.
                (Err(error), _) => {
                    tracing::debug!(tunnel = name, error, "tunnel is not in place; trying again");
                }
                (Ok(up), None | Some(Err(_))) => tracing::info!(
                    remote = %tunnel.remote, mtu = up.mtu,
                    "tunnel {name} is in place: {}", tunnel.interface
                ),
                (Ok(_), Some(Ok(_))) => {}
            }
            self.states.insert(name.clone(), now);
        }
    }

    /// Looks whether the settings of virtual interfaces are as a pass has left them, of some tunnels each time: the
    /// kernel does not notify of most. To be called every 200 ms: up to 128 tunnels are looked at within 800 ms.
    pub(crate) fn settings_hold(&mut self, config: &Config) -> bool {
        const AT_ONCE: usize = 32;
        let count = config.tunnels.len();
        let some = count.div_ceil(4).min(AT_ONCE);
        let from = self.next_look;
        self.next_look = (from + some) % count.max(1);
        let tunnels = config.tunnels.iter().cycle().skip(from).take(some);
        let settled = tunnels.filter_map(|tunnel| {
            // One that cannot be set is not tried again and again.
            let up = self.up(&tunnel.name).filter(|up| up.lacking.is_none())?;
            Some(wanted(config, tunnel, up))
        });
        let settled: Vec<Wanted<'_>> = settled.collect();
        // What cannot be read is left to the next pass.
        let hold = settings::hold(&settled).unwrap_or_default();
        !hold.contains(&Some(false))
    }

    /// The virtual interfaces that need no look at their settings in this pass, by the tunnels' names: the kernel has
    /// told of all at once that they are as wanted.
    fn settled<'a>(&self, config: &'a Config) -> BTreeMap<&'a str, u32> {
        let complete = config.tunnels.iter().filter_map(|tunnel| {
            let up = self.up(&tunnel.name).filter(|up| up.lacking.is_none())?;
            Some((tunnel.name.as_str(), wanted(config, tunnel, up)))
        });
        let (names, settings): (Vec<&str>, Vec<Wanted<'_>>) = complete.unzip();
        let hold = settings::hold(&settings).unwrap_or_default();
        let settled = names.into_iter().zip(&settings).zip(hold);
        settled
            .filter(|(_, hold)| *hold == Some(true))
            .map(|((name, wanted), _)| (name, wanted.interface))
            .collect()
    }

    /// Has the sessions' packets follow the underlay's routes.
    pub(crate) async fn follow_routes(
        &mut self,
        config: &Config,
        underlay: UnderlayLink,
        tools: &mut Tools,
    ) {
        self.ways.look_up(config, underlay, &tools.netlink).await;
        for tunnel in &config.tunnels {
            let Some(Ok(up)) = self.states.get_mut(&tunnel.name) else {
                continue;
            };
            let next_hop = self.ways.next_hop(tunnel);
            if up.session.next_hop == next_hop {
                continue;
            }
            let session = Session {
                next_hop,
                ..up.session.clone()
            };
            match tools.plane.set_session(&session) {
                Ok(()) => up.session = session,
                Err(error) => tracing::error!(
                    tunnel = tunnel.name,
                    error = format!("{error:#}"),
                    "cannot have its packets follow the underlay's routes; trying again"
                ),
            }
        }
    }

    /// Forgets the tunnels that are no longer configured.
    pub(crate) fn forget_unconfigured(&mut self, config: &Config) {
        let names: HashSet<&str> = config
            .tunnels
            .iter()
            .map(|tunnel| tunnel.name.as_str())
            .collect();
        self.states.retain(|name, _| names.contains(name.as_str()));
    }

    /// Removes from the maps the sessions that an earlier daemon or configuration left there: after
    /// everything else, when no packet needs them any more.
    pub(crate) fn remove_old_sessions(&mut self, config: &Config, tools: &mut Tools) {
        let ids: HashSet<u32> = config
            .tunnels
            .iter()
            .map(|tunnel| tunnel.session_id)
            .collect();
        if self.kept.as_ref() == Some(&ids) {
            return;
        }
        match tools.plane.keep_only(&ids) {
            Ok(removed) => {
                if removed > 0 {
                    tracing::info!(removed, "sessions removed that are no longer configured");
                }
                self.kept = Some(ids);
            }
            Err(error) => tracing::error!(
                error = format!("{error:#}"),
                "cannot remove what is left of an earlier configuration"
            ),
        }
    }

    /// A tunnel that is in place.
    pub(crate) fn up(&self, tunnel: &str) -> Option<&Up> {
        self.states.get(tunnel)?.as_ref().ok()
    }

    /// The same, to be changed.
    pub(crate) fn up_mut(&mut self, tunnel: &str) -> Option<&mut Up> {
        self.states.get_mut(tunnel)?.as_mut().ok()
    }

    /// The virtual interfaces in place on which OSPF shall run; `carries` has what fits through them.
    pub(crate) fn ospf_interfaces(
        &self,
        config: &Config,
        carries: impl Fn(&str) -> Option<u16>,
    ) -> Vec<routing::Interface> {
        let interfaces = config.tunnels.iter().filter_map(|tunnel| {
            let ospf = tunnel.ospf?;
            let up = self.up(&tunnel.name)?;
            let mtu = u16::try_from(up.mtu).unwrap_or(u16::MAX);
            Some(routing::Interface {
                name: tunnel.interface.clone(),
                index: up.interface,
                link_local: up.link_local,
                mtu,
                carries: carries(&tunnel.name).unwrap_or(mtu),
                area: ospf.area,
                network: ospf.network,
                priority: ospf.priority,
                cost: ospf.cost,
                bfd: ospf.bfd,
                bfd_keys: config.bfd_keys(tunnel),
                keys: config.key_chain(tunnel),
                rotation: tunnel.rotation(),
                edge: tunnel.edge.clone(),
                prefixes: up.prefixes.clone(),
            })
        });
        interfaces.collect()
    }

    /// For `l2ha status`: every configured tunnel, with the data plane's figures.
    pub(crate) fn status(
        &self,
        config: &Config,
        tools: &Tools,
        counters: &Counters,
    ) -> Vec<TunnelStatus> {
        let tunnels = config.tunnels.iter();
        tunnels
            .map(|tunnel| self.tunnel_status(config, tunnel, tools, counters))
            .collect()
    }

    /// For `l2ha sessions`: every configured session, with the data plane's figures.
    pub(crate) fn sessions(
        &self,
        config: &Config,
        tools: &Tools,
        counters: &Counters,
    ) -> Vec<SessionStatus> {
        let tunnels = config.tunnels.iter();
        tunnels
            .map(|tunnel| {
                let state = match self.states.get(&tunnel.name) {
                    Some(Ok(_)) => "up",
                    Some(Err(_)) => "down",
                    None => "waiting",
                };
                let status = self.tunnel_status(config, tunnel, tools, counters);
                tunnel_status::session(tunnel, state, status, counters)
            })
            .collect()
    }

    fn tunnel_status(
        &self,
        config: &Config,
        tunnel: &Tunnel,
        tools: &Tools,
        counters: &Counters,
    ) -> TunnelStatus {
        let state = self.states.get(&tunnel.name);
        let problem = match state {
            Some(Ok(up)) => {
                let reassembled = tools.plane.reassembled();
                let no_way = tunnel_status::no_way(up, &config.underlay.interface);
                no_way
                    .or_else(|| tunnel_status::wrong_mtu(up, reassembled, counters))
                    .or_else(|| up.lacking.clone())
            }
            Some(Err(problem)) => Some(problem.clone()),
            None => Some("waits for the underlay".to_owned()),
        };
        let up = state.and_then(|state| state.as_ref().ok());
        tunnel_status::tunnel(tunnel, up, problem, counters)
    }
}
