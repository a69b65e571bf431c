//! Collecting the facts. Nothing is changed, but for a trial that was asked for.

mod daemons;
mod firewall;
mod interface;
mod proc;
mod system;
mod thread;
mod trial;

use self::proc::number;
use crate::{
    facts::{Facts, Ipv4, Routing},
    subject::Subject,
};

impl Facts {
    /// Looks at this host, in the network namespace of the calling thread. What cannot be learned
    /// stays absent, and is returned as a sentence.
    pub fn collect(subject: &Subject) -> (Self, Vec<String>) {
        let mut unknown = Vec::new();
        let mut facts = Self {
            system: system::collect(&subject.bpffs),
            mode: subject.mode,
            name: subject.interface.clone(),
            tunnels: subject.tunnels.clone(),
            ipv4: subject.ipv4.clone().map(|ipv4| Ipv4 {
                rp_filter: number("/proc/sys/net/ipv4/conf/all/rp_filter"),
                forwards: number("/proc/sys/net/ipv4/ip_forward").map(|on| on != 0),
                takes_redirects: number("/proc/sys/net/ipv4/conf/all/accept_redirects")
                    .map(|on| on != 0),
                ..ipv4
            }),
            carried: subject.carried.clone(),
            ..Self::default()
        };
        for carried in &mut facts.carried {
            let file = match carried.ipv4 {
                true => "/proc/sys/net/ipv4/ip_forward",
                false => "/proc/sys/net/ipv6/conf/all/forwarding",
            };
            carried.forwards = number(file).map(|on| on != 0);
        }
        if subject.try_kernel {
            match trial::lacks() {
                Ok(lacks) => facts.system.lacks = lacks,
                Err(error) => unknown.push(format!(
                    "whether the kernel has all that is needed: {error:#}"
                )),
            }
        }
        // Large rulesets take nft a while, which a start of the daemon has not.
        if subject.try_kernel && subject.routing.is_some() {
            match firewall::closed_chains() {
                Ok(chains) => facts.closed_chains = chains,
                Err(error) => unknown.push(format!("what the firewall lets in: {error:#}")),
            }
        }
        facts.open_files = subject.open_files;
        facts.most_open_files = linux::most_open_files().ok();
        let (routing, error) = daemons(subject);
        facts.routing = routing;
        unknown.extend(error);
        if let Err(error) = interface::collect(subject, &mut facts, &mut unknown) {
            unknown.push(format!("what {} is like: {error:#}", subject.interface));
        }
        (facts, unknown)
    }
}

/// What others route here, where OSPF runs; and what of it could not be learned, as a sentence.
pub(crate) fn daemons(subject: &Subject) -> (Option<Routing>, Option<String>) {
    let Some(mut routing) = subject.routing.clone() else {
        return (None, None);
    };
    let collected = daemons::collect(&mut routing);
    let unknown = collected
        .err()
        .map(|error| format!("which routes are of other daemons: {error:#}"));
    (Some(routing), unknown)
}
