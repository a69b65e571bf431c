//! What marks in the kernel what a node has made: an alias on its virtual interfaces, and a protocol on its addresses
//! (`linux::Address`). So it is found when the journal is lost, and nothing else is taken for it because a file says
//! so.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use config::Node;
use linux::{Link, Netlink};

use crate::{
    journal::{AddressEntry, Journal, VethEntry},
    name_lock, pair,
    services::LOOPBACK,
    snapshot::Snapshot,
};

/// What the alias of both ends of a node's veth pairs begins with; the node's name follows.
const ALIAS: &str = "l2ha ";

/// The alias of both ends of a node's veth pairs.
pub(crate) fn alias(node: &str) -> String {
    format!("{ALIAS}{node}")
}

/// The node whose mark an alias is.
pub(crate) fn node(alias: &str) -> Option<&str> {
    let name = alias.strip_prefix(ALIAS);
    name.filter(|name| !name.is_empty() && !name.contains('/'))
}

/// Corrects the journal by the kernel: what bears this node's marks, or those of names whose place it has taken
/// (`predecessors`), is this node's, listed or not; what bears none is not, whatever is listed.
///
/// # Errors
///
/// When the kernel does not answer.
pub(crate) async fn recognise(
    node: &Node,
    predecessors: &[String],
    journal: &mut Journal,
    netlink: &Netlink,
) -> Result<()> {
    let kernel = Snapshot::read(netlink).await?;
    let names: BTreeMap<u32, &str> = kernel
        .links()
        .map(|link| (link.index, link.name.as_str()))
        .collect();
    let added = netlink.added_addresses().await?;
    let added = added.into_iter().filter_map(|it| {
        Some(AddressEntry {
            interface: (*names.get(&it.interface)?).to_owned(),
            address: it.address,
            prefix_len: it.prefix_len,
        })
    });
    let pairs = own_pairs(node, predecessors, journal, &kernel);
    let added = added.collect();
    let others = name_lock::others(&node.name);
    let addresses = own_addresses(journal, &pairs, &added, &others);
    for entry in journal.pairs().difference(&pairs) {
        if kernel.link(&entry.visible).is_some() {
            left_alone(journal, &entry.visible);
        }
    }
    for entry in journal.addresses().difference(&addresses) {
        let link = kernel.link(&entry.interface);
        if link.is_some_and(|link| kernel.holds(link.index, entry.address)) {
            left_alone(
                journal,
                &format!("{} on {}", entry.address, entry.interface),
            );
        }
    }
    let found = pairs.difference(journal.pairs()).count()
        + addresses.difference(journal.addresses()).count();
    if found > 0 {
        tracing::warn!(
            found,
            "an earlier daemon of this node has left interfaces or addresses that {} does not list: they are \
             taken over, or removed",
            journal.path().display()
        );
    }
    journal.correct(pairs, addresses);
    Ok(())
}

fn left_alone(journal: &Journal, what: &str) {
    tracing::warn!(
        "{} lists {what}, which does not bear this node's mark: left alone",
        journal.path().display()
    );
}

/// The veth pairs with this node's alias. One that was made and not marked before the daemon died is known by the
/// journal and by its name together.
fn own_pairs(
    node: &Node,
    predecessors: &[String],
    journal: &Journal,
    kernel: &Snapshot,
) -> BTreeSet<VethEntry> {
    let names = predecessors.iter().chain([&node.name]);
    let own: Vec<String> = names.map(|name| alias(name)).collect();
    let pair = |link: &Link| {
        let entry = VethEntry {
            visible: link.name.clone(),
            hidden: config::hidden(&link.name),
        };
        pair::ends(kernel, &entry)?;
        let marked = own.contains(&link.alias);
        let unmarked = link.alias.is_empty() && journal.pairs().contains(&entry);
        (marked || unmarked).then_some(entry)
    };
    kernel.links().filter_map(pair).collect()
}

/// The addresses on those pairs, and what an l2ha has added to the loopback. If that was not this node, another one's
/// journal lists it, or its daemon runs (`others`).
fn own_addresses(
    journal: &Journal,
    pairs: &BTreeSet<VethEntry>,
    added: &BTreeSet<AddressEntry>,
    others: &[String],
) -> BTreeSet<AddressEntry> {
    let theirs = journal.addresses_of_others();
    let on_pair = |entry: &AddressEntry| pairs.iter().any(|it| it.visible == entry.interface);
    let is_own = |entry: &&AddressEntry| {
        let listed = journal.addresses().contains(entry);
        let on_loopback = entry.interface == LOOPBACK
            && (listed || (others.is_empty() && !theirs.contains(entry)));
        on_pair(entry) || on_loopback
    };
    let listed = journal.addresses().iter().filter(|it| on_pair(it));
    added.iter().filter(is_own).chain(listed).cloned().collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn address(interface: &str, address: &str) -> AddressEntry {
        AddressEntry {
            interface: interface.into(),
            address: address.parse().unwrap(),
            prefix_len: 128,
        }
    }

    fn journal(folder: &Path, node: &str, addresses: &[AddressEntry]) -> Journal {
        let mut journal = Journal::load(folder.join(format!("{node}.made.json")));
        journal.add(Vec::new(), addresses.to_vec());
        journal
    }

    #[test]
    fn fault_17_addresses_are_known_without_a_journal_unless_another_node_may_have_them() {
        let folder = tempfile::tempdir().unwrap();
        let ours = journal(folder.path(), "node", &[]);
        let added = BTreeSet::from([
            address("lo", "2001:db8::80"),
            address("lo", "2001:db8::81"),
            address("eth0", "2001:db8::82"),
            address("l2-a", "2001:db8::83"),
        ]);
        let pairs = BTreeSet::from([VethEntry {
            visible: "l2-a".into(),
            hidden: "l2h-a".into(),
        }]);
        let known = |others: &[String]| {
            let known = own_addresses(&ours, &pairs, &added, others);
            let known = known.iter().map(|it| it.address.to_string());
            known.collect::<Vec<_>>()
        };
        assert_eq!(known(&[]), ["2001:db8::83", "2001:db8::80", "2001:db8::81"]);
        assert_eq!(known(&["other".into()]), ["2001:db8::83"]);
        journal(folder.path(), "other", &[address("lo", "2001:db8::81")]);
        assert_eq!(known(&[]), ["2001:db8::83", "2001:db8::80"]);
    }

    #[test]
    fn fault_18_addresses_that_a_journal_names_without_a_mark_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let listed = [
            address("eth0", "2001:db8::1"),
            address("lo", "::1"),
            address("lo", "2001:db8::80"),
        ];
        let journal = journal(folder.path(), "node", &listed);
        let added = BTreeSet::from([address("lo", "2001:db8::80")]);
        let known = own_addresses(&journal, &BTreeSet::new(), &added, &["other".into()]);
        assert_eq!(known, added);
    }
}
