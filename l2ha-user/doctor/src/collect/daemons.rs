//! Other routing daemons, by their processes and by their routes.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

use super::thread::with_netlink;
use crate::facts::{DaemonRoutes, Routing};

/// Names of the processes of FRR and Quagga, BIRD, OpenBGPD and their like that write routes, as in
/// /proc/PID/comm.
const NAMES: [&str; 18] = [
    "zebra",
    "ospfd",
    "ospf6d",
    "bgpd",
    "isisd",
    "ripd",
    "ripngd",
    "eigrpd",
    "babeld",
    "staticd",
    "fabricd",
    "pimd",
    "bird",
    "bird6",
    "gobgpd",
    "holod",
    "rustybgpd",
    "xorp_fea",
];

/// Takes note of those in the network namespace of the calling thread.
pub(super) fn collect(routing: &mut Routing) -> Result<()> {
    routing.running = running();
    let (table, interfaces) = (routing.table, routing.interfaces.clone());
    let found = with_netlink(
        || Ok(()),
        async move |netlink| {
            let mut own = Vec::new();
            for name in &interfaces {
                own.extend(netlink.link(name).await?.map(|link| link.index));
            }
            Ok(netlink.routes_of_daemons(table, &own).await?)
        },
    )?;
    let mut counts: BTreeMap<(&'static str, u32), usize> = BTreeMap::new();
    for (protocol, metric) in found {
        *counts.entry((protocol, metric)).or_default() += 1;
    }
    routing.routes = counts
        .into_iter()
        .map(|((protocol, metric), count)| DaemonRoutes {
            protocol,
            metric,
            count,
        })
        .collect();
    Ok(())
}

/// The names of those that run, each once.
fn running() -> Vec<String> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let own = fs::read_link("/proc/thread-self/ns/net").ok();
    let mut names: Vec<String> = processes
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter_map(|process| daemon(&process, own.as_ref()))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The name of a process, if it is a routing daemon in this network namespace.
fn daemon(process: &Path, own: Option<&PathBuf>) -> Option<String> {
    let name = fs::read_to_string(process.join("comm")).ok()?;
    let name = name.trim();
    let namespace = fs::read_link(process.join("ns/net")).ok();
    (NAMES.contains(&name) && namespace.is_some() && namespace.as_ref() == own)
        .then(|| name.to_owned())
}
