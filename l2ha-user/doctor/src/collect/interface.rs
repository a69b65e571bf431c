//! The underlay's interface, and a veth's other end.

use std::{fs::File, path::Path};

use anyhow::{Context as _, Result};
use dataplane::inspect;
use linux::{Address, Link, ethtool, features, netdev};
use nix::sched::{CloneFlags, setns};

use super::thread::with_netlink;
use crate::facts::{Facts, Interface, Peer};
use crate::subject::Subject;

/// Where iproute2 keeps the namespaces that have a name.
const NAMESPACES: &str = "/run/netns";

/// What rtnetlink said.
struct Answer {
    links: Vec<Link>,
    addresses: Vec<Address>,
    /// Name of the namespace in which the other end is, if it has one.
    namespace: Option<String>,
}

pub(super) fn collect(
    subject: &Subject,
    facts: &mut Facts,
    unknown: &mut Vec<String>,
) -> Result<()> {
    let name = &subject.interface;
    let answer = ask(name)?;
    let Some(link) = answer.links.iter().find(|link| link.name == *name) else {
        return Ok(());
    };
    facts.missing_addresses = subject
        .addresses
        .iter()
        .filter(|wanted| {
            let has = |held: &Address| held.interface == link.index && held.address == **wanted;
            !answer.addresses.iter().any(has)
        })
        .copied()
        .collect();
    let mut interface = Interface {
        index: link.index,
        mtu: link.mtu,
        up: link.up,
        running: link.running,
        // Not every driver can be asked for its name or its queues.
        driver: ethtool::driver(name).ok(),
        channels: ethtool::channels(name).ok(),
        ..Interface::default()
    };
    match features::features(name) {
        Ok(features) => interface.features = features,
        Err(error) => unknown.push(format!("the offloads of {name}: {error}")),
    }
    match netdev::has_native_xdp(link.index) {
        Ok(native) => interface.native = native,
        Err(error) => unknown.push(format!("what {name}'s driver can do with XDP: {error}")),
    }
    match inspect::programs(link.index, subject.pins.as_deref()) {
        Ok(programs) => interface.programs = programs,
        Err(error) => unknown.push(format!("the programs on {name}: {error:#}")),
    }
    if link.veth {
        interface.peer = peer(link, &answer);
    }
    let free = interface
        .programs
        .list
        .iter()
        .all(|program| !program.is_xdp());
    if subject.try_driver && free {
        match inspect::offer_native(link.index) {
            Ok(trial) => interface.trial = Some(trial),
            Err(error) => unknown.push(format!("whether {name} takes a program: {error:#}")),
        }
    }
    facts.interface = Some(interface);
    Ok(())
}

fn ask(name: &str) -> Result<Answer> {
    with_netlink(
        || Ok(()),
        async |netlink| {
            let links = netlink.links().await?;
            let addresses = netlink.addresses().await?;
            let id = links
                .iter()
                .find(|link| link.name == name)
                .and_then(|link| link.peer_namespace);
            let mut namespace = None;
            if let Some(id) = id {
                for (name, file) in namespaces() {
                    // One of them may have gone in the meantime, or be none.
                    if netlink.namespace_id(&file).await.ok().flatten() == Some(id) {
                        namespace = Some(name);
                        break;
                    }
                }
            }
            Ok(Answer {
                links,
                addresses,
                namespace,
            })
        },
    )
}

/// The namespaces that have names.
fn namespaces() -> Vec<(String, File)> {
    let entries = std::fs::read_dir(NAMESPACES)
        .into_iter()
        .flatten()
        .flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some((name, File::open(entry.path()).ok()?))
        })
        .collect()
}

/// A veth's other end, where it can be reached.
fn peer(link: &Link, answer: &Answer) -> Option<Peer> {
    let index = link.peer?;
    if link.peer_namespace.is_none() {
        let other = answer.links.iter().find(|link| link.index == index)?;
        return Some(describe(other, None));
    }
    let namespace = answer.namespace.clone()?;
    let path = Path::new(NAMESPACES).join(&namespace);
    let enter = || {
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        setns(file, CloneFlags::CLONE_NEWNET).context("cannot enter it")
    };
    let found = with_netlink(enter, async |netlink| {
        let links = netlink.links().await?;
        let other = links.iter().find(|link| link.index == index);
        Ok(other.map(|other| describe(other, Some(namespace.clone()))))
    });
    // Whoever may not enter it does not know the other end.
    found.ok().flatten()
}

/// In the namespace of the interface.
fn describe(link: &Link, namespace: Option<String>) -> Peer {
    Peer {
        name: link.name.clone(),
        namespace,
        mtu: link.mtu,
        channels: ethtool::channels(&link.name).ok(),
        features: features::features(&link.name).unwrap_or_default(),
    }
}
