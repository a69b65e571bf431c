//! `l2ha clean`: removes what nodes have left here whose daemons do not run any more.
//!
//! What a node has left is in its journal, is pinned under its name, or has programs that use what is pinned there.
//! What running nodes have made stays, also where an ended one has it in its journal, too.

use std::{collections::BTreeSet, fs, io, path::Path};

use anyhow::{Context as _, Result};
use config::Node;
use dataplane::nodes::{self, Owners};
use linux::{Address, Link, Netlink, tc};
use serde::Serialize;

use crate::{
    journal::{AddressEntry, Journal, VethEntry},
    marks, pair, predecessor,
    snapshot::Snapshot,
};

/// What a journal's name ends with.
const JOURNAL: &str = ".made.json";

/// What a node had left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cleaned {
    /// Its name.
    pub node: String,
    /// Whether its daemon runs: nothing of it was removed then.
    pub running: bool,
    /// What it was, one thing each, in the order of its removal.
    pub left: Vec<String>,
}

/// Finds what nodes of this network namespace have left whose daemons do not run, all or the one named, and removes it
/// unless it is only to be shown. Of `node`, its folders count.
///
/// # Errors
///
/// When the kernel refuses, or a folder cannot be read; what was removed by then is removed.
pub fn clean(node: &Node, only: Option<&str>, show_only: bool) -> Result<Vec<Cleaned>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let netlink = Netlink::open().context("cannot open rtnetlink")?;
        let host = Host::look(node, netlink).await?;
        let mut all = Vec::new();
        for name in host
            .nodes
            .iter()
            .filter(|it| only.is_none_or(|only| *it == only))
        {
            all.push(host.clean(name, show_only).await?);
        }
        Ok(all)
    })
}

/// What is here.
struct Host<'a> {
    node: &'a Node,
    netlink: Netlink,
    kernel: Snapshot,
    links: Vec<Link>,
    owners: Owners,
    /// Names of the nodes that have left something, or run.
    nodes: BTreeSet<String>,
    /// Interfaces and addresses that running nodes have made.
    kept: (BTreeSet<String>, BTreeSet<AddressEntry>),
}

impl<'a> Host<'a> {
    async fn look(node: &'a Node, netlink: Netlink) -> Result<Self> {
        let folder = node.bpffs.join("l2ha");
        let owners = Owners::read(&folder, nodes::names(&folder)?)?;
        let links = netlink.links().await?;
        let mut names = journals(&node.run_dir)?;
        // With another namespace's nodes it has nothing to do: of those that are in bpffs alone, only these.
        for link in &links {
            names.extend(owners.on(link.index, &link.name)?.map(str::to_owned));
            names.extend(marks::node(&link.alias).map(str::to_owned));
        }
        let mut kept = (BTreeSet::new(), BTreeSet::new());
        for name in &names {
            if predecessor::runs(node, name)? {
                let journal = journal(node, name);
                let pairs = journal.pairs().iter();
                kept.0.extend(pairs.map(|pair| pair.visible.clone()));
                kept.1.extend(journal.addresses().iter().cloned());
            }
        }
        Ok(Self {
            node,
            kernel: Snapshot::read(&netlink).await?,
            netlink,
            links,
            owners,
            nodes: names,
            kept,
        })
    }

    async fn clean(&self, name: &str, show_only: bool) -> Result<Cleaned> {
        let running = predecessor::runs(self.node, name)?;
        let mut cleaned = Cleaned {
            node: name.to_owned(),
            running,
            left: Vec::new(),
        };
        if running {
            return Ok(cleaned);
        }
        let journal = journal(self.node, name);
        let pairs = self.pairs(name, &journal)?;
        let interfaces = pairs.iter();
        let interfaces = interfaces.map(|link| format!("interface {}", link.name));
        cleaned.left.extend(interfaces);
        if !show_only {
            let indexes: Vec<u32> = pairs.iter().map(|link| link.index).collect();
            linux::delete_links(&indexes)?;
        }
        for (entry, address) in self.addresses(&journal, &pairs) {
            let AddressEntry {
                interface,
                address: ip,
                prefix_len,
            } = entry;
            let what = format!("address {ip}/{prefix_len} on {interface}");
            cleaned.left.push(what);
            if !show_only {
                self.netlink.delete_address(&address).await?;
            }
        }
        let pins = self.node.bpffs.join("l2ha").join(name);
        let goes = |link: &Link| {
            let of = |pair: &Link| pair.index == link.index || pair.peer == Some(link.index);
            pairs.iter().any(of)
        };
        let others = self.links.iter().filter(|link| !goes(link));
        for link in others {
            if self.owners.on(link.index, &link.name)? == Some(name) {
                cleaned.left.push(format!("programs on {}", link.name));
                if !show_only {
                    self.owners.remove_filters(name, &link.name)?;
                }
            }
        }
        if pins.exists() {
            cleaned.left.push(format!("pins in {}", pins.display()));
            if !show_only {
                nodes::remove(&pins)?;
            }
        }
        if !show_only {
            for link in journal
                .clsact()
                .iter()
                .filter_map(|it| self.kernel.link(it))
            {
                tc::remove_unused_clsact(link.index)?;
            }
        }
        let files = predecessor::files(self.node, name);
        let files = files.into_iter().chain([journal.path().to_owned()]);
        for file in files {
            if file.exists() {
                cleaned.left.push(format!("file {}", file.display()));
            }
            // Also where there is none: a write that was killed may have left its beginning.
            if !show_only {
                predecessor::remove(&file)?;
            }
        }
        Ok(cleaned)
    }

    /// The visible ends of the node's veth pairs: those in its journal, those that bear its mark, and those that its
    /// programs are on.
    fn pairs(&self, name: &str, journal: &Journal) -> Result<Vec<Link>> {
        let mut found: Vec<Link> = journal
            .pairs()
            .iter()
            .filter(|pair| !self.kept.0.contains(&pair.visible))
            .filter_map(|pair| Some(pair::ends(&self.kernel, pair)?.0))
            .collect();
        for link in self.links.iter().filter(|link| link.veth) {
            let listed = found.iter().any(|it| it.index == link.index);
            if !listed
                && (self.is_marked(name, link) || self.owners.encapsulates(name, &link.name)?)
            {
                found.push(link.clone());
            }
        }
        Ok(found)
    }

    fn is_marked(&self, name: &str, link: &Link) -> bool {
        let pair = VethEntry {
            visible: link.name.clone(),
            hidden: config::hidden(&link.name),
        };
        link.alias == marks::alias(name) && pair::ends(&self.kernel, &pair).is_some()
    }

    /// The addresses in the journal that are there and do not go with an interface.
    fn addresses(&self, journal: &Journal, pairs: &[Link]) -> Vec<(AddressEntry, Address)> {
        let entries = journal.addresses().iter();
        entries
            .filter(|entry| !self.kept.1.contains(*entry))
            .filter(|entry| pairs.iter().all(|link| link.name != entry.interface))
            .filter_map(|entry| {
                let interface = self.kernel.link(&entry.interface)?.index;
                let there = self.kernel.holds(interface, entry.address);
                let address = Address {
                    interface,
                    address: entry.address,
                    prefix_len: entry.prefix_len,
                    deprecated: false,
                };
                there.then(|| (entry.clone(), address))
            })
            .collect()
    }
}

fn journal(node: &Node, name: &str) -> Journal {
    Journal::load(node.run_dir.join(format!("{name}{JOURNAL}")))
}

/// The names of the nodes that have a journal in a folder.
fn journals(run_dir: &Path) -> Result<BTreeSet<String>> {
    let context = || format!("cannot look into {}", run_dir.display());
    let entries = match fs::read_dir(run_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(error).with_context(context),
    };
    let mut names = BTreeSet::new();
    for entry in entries {
        let name = entry.with_context(context)?.file_name();
        let name = name.to_str().and_then(|it| it.strip_suffix(JOURNAL));
        names.extend(name.map(str::to_owned));
    }
    Ok(names)
}
