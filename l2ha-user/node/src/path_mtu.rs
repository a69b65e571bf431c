//! What fits through each tunnel, whatever the underlay's interface promises: found by probes, confirmed again and
//! again, and given to the kernel, so that TCP goes on with it.
//!
//! The virtual interface keeps its MTU: OSPF compares it with the neighbour's, and the interface drops what is larger
//! when it arrives, so one that both ends had lowered could never be raised again. What is lowered is the MTU of IPv6
//! on the interface, and for IPv4 that of the routes over it.

mod echo;
mod errors;
mod search;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use config::{Config, Tunnel};
use control::TunnelStatus;
use linux::{Netlink, sysctl};

use self::{echo::Echo, errors::Errors, search::Search};
use crate::{tunnel::Up, tunnels::Tunnels};

/// How often it is looked for answers, at most.
const LOOK: Duration = Duration::from_millis(50);
/// So long after a probe its answer is looked for as often.
const SOON: Duration = Duration::from_millis(350);

/// What is counted, by the name that status shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Count {
    /// Probes sent.
    Sent,
    /// Answers to them.
    Answered,
    /// Probes that the kernel did not send.
    NotSent,
    /// ICMP errors about packets of a tunnel that were looked into.
    HintsProbed,
    /// Those that were not: too many, nothing new, or about nobody's packets.
    HintsIgnored,
}

impl Count {
    const ALL: [Self; 5] = [
        Self::Sent,
        Self::Answered,
        Self::NotSent,
        Self::HintsProbed,
        Self::HintsIgnored,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Sent => "mtu_probes_sent",
            Self::Answered => "mtu_probes_answered",
            Self::NotSent => "mtu_probes_not_sent",
            Self::HintsProbed => "icmp_too_big_probed",
            Self::HintsIgnored => "icmp_too_big_ignored",
        }
    }
}

/// The ways of all tunnels that are in place.
#[derive(Default)]
pub(crate) struct PathMtus {
    ways: BTreeMap<String, Way>,
    errors: Option<Errors>,
    counts: BTreeMap<Count, u64>,
    /// When it was looked for answers last.
    looked: Option<Instant>,
}

/// The way of one tunnel.
struct Way {
    interface: String,
    index: u32,
    local: IpAddr,
    remote: IpAddr,
    /// Outer bytes of each packet.
    overhead: u16,
    search: Search,
    /// Opened when it is needed first.
    echo: Option<Echo>,
    /// When the last probe was sent.
    asked: Option<Instant>,
    secret: u64,
    /// The IPv4 networks on the interface whose routes have an MTU, and which.
    networks: BTreeMap<(Ipv4Addr, u8), u32>,
    /// Why the kernel does not take what fits.
    lacking: Option<String>,
}

impl PathMtus {
    /// Looks anew what fits everywhere.
    pub(crate) fn look_anew(&mut self) {
        let now = Instant::now();
        for way in self.ways.values_mut() {
            way.search.restart(now);
        }
    }

    /// Follows the tunnels that there are.
    pub(crate) fn follow(&mut self, config: &Config, tunnels: &Tunnels) {
        let now = Instant::now();
        if self.errors.is_none() {
            self.errors = Some(Errors::open());
        }
        let mut known = std::mem::take(&mut self.ways);
        for tunnel in &config.tunnels {
            let Some(up) = tunnels.up(&tunnel.name) else {
                continue;
            };
            let before = known.remove(&tunnel.name);
            let mut way = match before.filter(|way| way.is_of(tunnel, up)) {
                Some(way) => way,
                None => Way::new(now, tunnel, up),
            };
            way.overhead = tunnel.overhead();
            way.search.set_largest(now, mtu(up));
            self.ways.insert(tunnel.name.clone(), way);
        }
    }

    /// When [`Self::proceed`] has something to do.
    pub(crate) fn due(&self) -> Option<Instant> {
        let next = self.ways.values().map(|way| way.search.due()).min()?;
        let Some(looked) = self.looked else {
            return Some(next);
        };
        let soon = looked + LOOK;
        let expects =
            |way: &Way| way.search.awaits() && way.asked.is_some_and(|at| soon < at + SOON);
        Some(match self.ways.values().any(expects) {
            true => soon,
            false => next.max(soon),
        })
    }

    /// Reads the answers, and sends the probes that are due. Whether what fits has changed somewhere.
    pub(crate) fn proceed(&mut self) -> bool {
        let mut changed = false;
        self.looked = Some(Instant::now());
        for (name, way) in &mut self.ways {
            // What waits at the socket came in time, however late this is.
            if way.search.awaits()
                && let Some(echo) = &way.echo
            {
                let now = Instant::now();
                for size in echo.answers() {
                    *self.counts.entry(Count::Answered).or_default() += 1;
                    way.search.answered(now, size);
                }
            }
            let before = (way.search.mtu(), way.search.fits());
            for size in way.search.poll(Instant::now()) {
                let count = match way.ask(size) {
                    Ok(()) => Count::Sent,
                    Err(error) => {
                        tracing::trace!(tunnel = name, size, %error, "probe not sent");
                        Count::NotSent
                    }
                };
                *self.counts.entry(count).or_default() += 1;
            }
            let now = (way.search.mtu(), way.search.fits());
            changed |= before != now;
            if before.0 != now.0 {
                tracing::debug!(
                    tunnel = name,
                    before = before.0,
                    mtu = now.0,
                    "what fits has changed"
                );
            }
        }
        changed
    }

    /// Hears what routers say.
    pub(crate) fn listen(&mut self) {
        let Some(errors) = &self.errors else { return };
        let now = Instant::now();
        for said in errors.waiting() {
            let mut followed = false;
            for way in self.ways.values_mut() {
                if (way.local, way.remote) == (said.local, said.remote) {
                    let fits = said.mtu.saturating_sub(way.overhead.into());
                    followed |= way
                        .search
                        .hint(now, u16::try_from(fits).unwrap_or(u16::MAX));
                }
            }
            let count = if followed {
                Count::HintsProbed
            } else {
                Count::HintsIgnored
            };
            *self.counts.entry(count).or_default() += 1;
        }
    }

    /// Gives the kernel what fits.
    pub(crate) async fn apply(&mut self, tunnels: &Tunnels, netlink: &Netlink) {
        for (name, way) in &mut self.ways {
            let Some(up) = tunnels.up(name) else { continue };
            let result = way.apply(up, netlink).await;
            let lacking = result.err().map(|why| {
                format!(
                    "cannot tell the kernel what fits through {}: {why}",
                    way.interface
                )
            });
            if way.lacking != lacking
                && let Some(why) = &lacking
            {
                tracing::debug!(tunnel = name, "{why}");
            }
            way.lacking = lacking;
        }
    }

    /// The largest IP packet that the way of a tunnel carries, in bytes, as far as IP is to know it.
    pub(crate) fn mtu(&self, tunnel: &str) -> Option<u16> {
        Some(self.ways.get(tunnel)?.search.mtu())
    }

    /// Fills in what the tunnels' status has of it.
    pub(crate) fn fill(&self, tunnels: &mut [TunnelStatus]) {
        for status in tunnels {
            if let Some(way) = self.ways.get(&status.name) {
                status.carries = way.search.fits().map(u32::from);
                status.problem = status.problem.take().or_else(|| way.lacking.clone());
            }
        }
    }

    /// The counts by name.
    pub(crate) fn counters(&self) -> impl Iterator<Item = (String, u64)> {
        let counted = |count| self.counts.get(&count).copied().unwrap_or_default();
        Count::ALL
            .map(|count| (count.name().to_owned(), counted(count)))
            .into_iter()
    }
}

/// The MTU of the virtual interface, as IP's lengths have it.
fn mtu(up: &Up) -> u16 {
    u16::try_from(up.mtu).unwrap_or(u16::MAX)
}

impl Way {
    fn new(now: Instant, tunnel: &Tunnel, up: &Up) -> Self {
        let believed = sysctl::ipv6_mtu(&tunnel.interface);
        let believed = believed.and_then(|mtu| u16::try_from(mtu).ok());
        let search = Search::new(now, mtu(up), believed);
        // What an earlier daemon has set is looked at once.
        let left = search.fits().map_or(0, u32::from);
        let networks = networks(up).into_iter().filter(|_| left > 0);
        Self {
            interface: tunnel.interface.clone(),
            index: up.interface,
            local: tunnel.local,
            remote: tunnel.remote,
            overhead: tunnel.overhead(),
            networks: networks.map(|network| (network, left)).collect(),
            search,
            echo: None,
            asked: None,
            secret: getrandom::u64().unwrap_or_default(),
            lacking: None,
        }
    }

    /// Whether it is that of this tunnel as it is now.
    fn is_of(&self, tunnel: &Tunnel, up: &Up) -> bool {
        let now = (&tunnel.interface, up.interface, tunnel.local, tunnel.remote);
        now == (&self.interface, self.index, self.local, self.remote)
    }

    fn ask(&mut self, size: u16) -> std::io::Result<()> {
        let echo = match self.echo.take() {
            Some(echo) => echo,
            None => Echo::open(&self.interface, self.index, self.secret)?,
        };
        let asked = echo.ask(size);
        self.asked = Some(Instant::now());
        self.echo = Some(echo);
        asked
    }

    async fn apply(&mut self, up: &Up, netlink: &Netlink) -> Result<(), String> {
        let mtu = u32::from(self.search.mtu());
        let text = |error: std::io::Error| error.to_string();
        // IPv6 would be off below that.
        if mtu >= u32::from(search::BASE)
            && sysctl::ipv6_mtu(&self.interface).is_some_and(|before| before != mtu)
        {
            sysctl::set_ipv6_mtu(&self.interface, mtu).map_err(text)?;
        }
        let wanted = (mtu < up.mtu).then_some(mtu);
        let networks = networks(up);
        self.networks
            .retain(|network, _| networks.contains(network));
        for network in networks {
            if self.networks.get(&network).copied() == wanted {
                continue;
            }
            netlink
                .set_network_mtu(self.index, network, wanted)
                .await
                .map_err(|error| error.to_string())?;
            match wanted {
                Some(mtu) => self.networks.insert(network, mtu),
                None => self.networks.remove(&network),
            };
        }
        Ok(())
    }
}

/// The IPv4 addresses on the virtual interface.
fn networks(up: &Up) -> BTreeSet<(Ipv4Addr, u8)> {
    let v4 = up
        .prefixes
        .iter()
        .filter_map(|(address, length)| match address {
            IpAddr::V4(address) => Some((*address, *length)),
            IpAddr::V6(_) => None,
        });
    v4.collect()
}
