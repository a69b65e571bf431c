//! The journal: what the daemon has made in the kernel, written to a file before it is made.
//!
//! After a crash the next start reads it: what it still wants it takes over, the rest it removes.
//! The file lies in the run folder, which like the kernel's state does not outlive a reboot. It can be lost before,
//! or have no room: what was made bears marks as well ([`crate::marks`]), and only what bears one is believed.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    path::{Path, PathBuf},
};

use linux::state;
use serde::{Deserialize, Serialize};

/// What the names of the files end with.
const ENDING: &str = ".made.json";

/// The names of a veth pair.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct VethEntry {
    pub(crate) visible: String,
    pub(crate) hidden: String,
}

/// An address on an interface.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct AddressEntry {
    pub(crate) interface: String,
    pub(crate) address: IpAddr,
    pub(crate) prefix_len: u8,
}

/// The kernel table and priority that routes were installed with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct RoutesEntry {
    pub(crate) table: u32,
    pub(crate) priority: u32,
}

/// Everything made, with the file it is kept in.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    entries: Entries,
    /// Why the file does not have the entries.
    unwritten: Option<String>,
}

/// What the file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Entries {
    pairs: BTreeSet<VethEntry>,
    addresses: BTreeSet<AddressEntry>,
    routes: BTreeSet<RoutesEntry>,
    /// Interfaces that got a clsact.
    #[serde(default)]
    clsact: BTreeSet<String>,
}

impl Journal {
    /// Reads what an earlier daemon left, or begins with nothing. A file that is damaged, or that others can have
    /// written, is set aside.
    pub(crate) fn load(path: PathBuf) -> Self {
        let entries = read(&path).unwrap_or_else(|why| {
            let aside = state::set_aside(&path);
            let aside = aside.as_deref().unwrap_or(&path);
            tracing::warn!(
                aside = %aside.display(),
                "{} is not believed, {why}: what an earlier daemon has made is found by its marks",
                path.display()
            );
            Entries::default()
        });
        Self {
            path,
            entries,
            unwritten: None,
        }
    }

    /// The addresses that the journals of other nodes in the same folder list.
    pub(crate) fn addresses_of_others(&self) -> BTreeSet<AddressEntry> {
        let folder = self.path.parent().and_then(|folder| folder.read_dir().ok());
        let files = folder.into_iter().flatten().flatten();
        let journals = files
            .map(|file| file.path())
            .filter(|path| *path != self.path)
            .filter(|path| path.to_string_lossy().ends_with(ENDING));
        journals
            .filter_map(|path| read(&path).ok())
            .flat_map(|entries| entries.addresses)
            .collect()
    }

    /// Replaces pairs and addresses by those that are known to be this node's.
    pub(crate) fn correct(
        &mut self,
        pairs: BTreeSet<VethEntry>,
        addresses: BTreeSet<AddressEntry>,
    ) {
        self.update(|entries| {
            entries.pairs = pairs;
            entries.addresses = addresses;
        });
    }

    /// Writes the file again if it could not be written or somebody has removed it. Returns why it does not have
    /// everything, if it does not.
    pub(crate) fn keep(&mut self) -> Option<&str> {
        let lost = self.entries != Entries::default() && !self.path.exists();
        if lost || self.unwritten.is_some() {
            self.write();
        }
        self.unwritten.as_deref()
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn pairs(&self) -> &BTreeSet<VethEntry> {
        &self.entries.pairs
    }

    pub(crate) fn addresses(&self) -> &BTreeSet<AddressEntry> {
        &self.entries.addresses
    }

    /// Where routes were installed.
    pub(crate) fn routes(&self) -> &BTreeSet<RoutesEntry> {
        &self.entries.routes
    }

    /// The names of the interfaces that got a clsact.
    pub(crate) fn clsact(&self) -> &BTreeSet<String> {
        &self.entries.clsact
    }

    /// Adds pairs and addresses that are about to be made, all of a pass at once: writing the whole
    /// file for each of them would take hours with thousands. A file that cannot be written is written later, by
    /// [`Journal::keep`]; so for all that follow.
    pub(crate) fn add(&mut self, pairs: Vec<VethEntry>, addresses: Vec<AddressEntry>) {
        let entries = &self.entries;
        let known = pairs.iter().all(|pair| entries.pairs.contains(pair))
            && addresses
                .iter()
                .all(|address| entries.addresses.contains(address));
        if known {
            return;
        }
        self.update(|entries| {
            entries.pairs.extend(pairs);
            entries.addresses.extend(addresses);
        });
    }

    /// Adds a table and priority that routes are about to be installed with.
    pub(crate) fn add_routes(&mut self, routes: RoutesEntry) {
        self.update(|entries| {
            entries.routes.insert(routes);
        });
    }

    /// Takes over what another node's journal has, which is removed.
    pub(crate) fn absorb(&mut self, other: Self) {
        let Entries {
            pairs,
            addresses,
            routes,
            clsact,
        } = other.entries.clone();
        self.update(|entries| {
            entries.pairs.extend(pairs);
            entries.addresses.extend(addresses);
            entries.routes.extend(routes);
            entries.clsact.extend(clsact);
        });
        other.remove_file();
    }

    /// Adds an interface that is about to get a clsact.
    pub(crate) fn add_clsact(&mut self, interface: &str) {
        self.update(|entries| {
            entries.clsact.insert(interface.to_owned());
        });
    }

    /// Drops pairs that are removed, and the addresses that went with them.
    pub(crate) fn drop_pairs(&mut self, removed: &[VethEntry]) {
        let removed: BTreeSet<&VethEntry> = removed.iter().collect();
        let visible: BTreeSet<&str> = removed.iter().map(|it| it.visible.as_str()).collect();
        self.update(|entries| {
            entries.pairs.retain(|pair| !removed.contains(pair));
            let is_gone = |it: &AddressEntry| visible.contains(it.interface.as_str());
            entries.addresses.retain(|it| !is_gone(it));
        });
    }

    pub(crate) fn drop_addresses(&mut self, removed: &[AddressEntry]) {
        self.update(|entries| entries.addresses.retain(|it| !removed.contains(it)));
    }

    /// Drops a table and priority whose routes are removed.
    pub(crate) fn drop_routes(&mut self, removed: &RoutesEntry) {
        self.update(|entries| {
            entries.routes.remove(removed);
        });
    }

    /// Removes the file: nothing is left.
    pub(crate) fn remove_file(self) {
        if let Err(error) = state::remove(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the list of what was made");
        }
    }

    /// Changes the entries; the file is written before this returns.
    fn update(&mut self, change: impl FnOnce(&mut Entries)) {
        let before = self.entries.clone();
        change(&mut self.entries);
        if self.entries != before {
            self.write();
        }
    }

    fn write(&mut self) {
        let written = serde_json::to_vec(&self.entries)
            .map_err(Into::into)
            .and_then(|bytes| state::write(&self.path, &bytes));
        self.unwritten = written
            .err()
            .map(|error| format!("cannot write {}: {error}", self.path.display()));
    }
}

/// What a file lists; nothing if it is not there.
fn read(path: &Path) -> Result<Entries, String> {
    let bytes = state::read(path).map_err(|error| error.to_string())?;
    let entries = bytes.map(|bytes| serde_json::from_slice(&bytes));
    let entries = entries.transpose();
    entries
        .map(Option::unwrap_or_default)
        .map_err(|error| format!("it is damaged ({error})"))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn pair(name: &str) -> VethEntry {
        VethEntry {
            visible: format!("l2-{name}"),
            hidden: format!("l2h-{name}"),
        }
    }

    fn address(interface: &str) -> AddressEntry {
        AddressEntry {
            interface: interface.into(),
            address: "fe80::1".parse().unwrap(),
            prefix_len: 64,
        }
    }

    #[test]
    fn what_was_made_is_known_to_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.made.json");
        let mut journal = Journal::load(path.clone());
        journal.add(vec![pair("a")], Vec::new());
        let again = Journal::load(path.clone());
        assert!(again.pairs().contains(&pair("a")));
        again.remove_file();
        assert!(Journal::load(path).pairs().is_empty());
    }

    #[test]
    fn fault_17_a_torn_journal_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.made.json");
        let whole =
            br#"{"pairs":[{"visible":"l2-a","hidden":"l2h-a"}],"addresses":[],"routes":[]}"#;
        for length in 0..whole.len() {
            let torn = whole.get(..length).unwrap();
            state::write(&path, torn).unwrap();
            let mut journal = Journal::load(path.clone());
            assert!(journal.pairs().is_empty(), "{length}");
            let aside = fs::read(folder.path().join("node.made.json.damaged")).unwrap();
            assert_eq!(aside, torn);
            journal.add(vec![pair("b")], Vec::new());
            assert_eq!(Journal::load(path.clone()).pairs().len(), 1);
        }
    }

    #[test]
    fn fault_17_a_journal_without_its_folder_is_kept_in_mind_and_written_later() {
        let folder = tempfile::tempdir().unwrap();
        let run_dir = folder.path().join("run");
        let path = run_dir.join("node.made.json");
        let mut journal = Journal::load(path.clone());
        assert_eq!(journal.keep(), None, "there is nothing to write");
        journal.add(vec![pair("a")], Vec::new());
        let why = journal.keep().unwrap();
        assert!(why.contains("node.made.json: No such file"), "{why}");
        assert!(journal.pairs().contains(&pair("a")));
        fs::create_dir(&run_dir).unwrap();
        assert_eq!(journal.keep(), None);
        assert!(Journal::load(path.clone()).pairs().contains(&pair("a")));
        // Removed under a running daemon.
        fs::remove_dir_all(&run_dir).unwrap();
        assert!(journal.keep().is_some());
        fs::create_dir(&run_dir).unwrap();
        assert_eq!(journal.keep(), None);
        assert!(Journal::load(path).pairs().contains(&pair("a")));
    }

    #[test]
    fn fault_18_a_journal_that_others_can_have_written_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.made.json");
        Journal::load(path.clone()).add(vec![pair("a")], Vec::new());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(Journal::load(path).pairs().is_empty());
    }

    #[test]
    fn what_other_nodes_have_made_is_theirs() {
        let folder = tempfile::tempdir().unwrap();
        let of = |name: &str| Journal::load(folder.path().join(format!("{name}.made.json")));
        of("one").add(Vec::new(), vec![address("lo")]);
        fs::write(folder.path().join("three.made.json"), "{").unwrap();
        assert_eq!(
            of("two").addresses_of_others(),
            BTreeSet::from([address("lo")])
        );
        assert!(of("one").addresses_of_others().is_empty());
    }

    #[test]
    fn a_pair_takes_its_addresses_along() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::load(folder.path().join("node.made.json"));
        journal.add(
            vec![pair("a"), pair("b")],
            vec![address("l2-a"), address("l2-b"), address("lo")],
        );
        journal.drop_pairs(&[pair("a")]);
        assert_eq!(journal.pairs(), &BTreeSet::from([pair("b")]));
        assert_eq!(
            journal.addresses(),
            &BTreeSet::from([address("l2-b"), address("lo")])
        );
    }

    #[test]
    fn what_another_node_made_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(format!("{name}.made.json"));
        let mut old = Journal::load(path("old"));
        old.add_clsact("eth0");
        let routes = RoutesEntry {
            table: 254,
            priority: 20,
        };
        old.add_routes(routes.clone());
        let mut new = Journal::load(path("new"));
        new.add_clsact("eth1");
        new.absorb(old);
        assert!(!path("old").exists());
        let new = Journal::load(path("new"));
        assert_eq!(new.routes(), &BTreeSet::from([routes]));
        assert_eq!(
            new.clsact(),
            &BTreeSet::from(["eth0".to_owned(), "eth1".to_owned()])
        );
    }

    /// A daemon of another version reads it.
    #[test]
    fn the_form_of_the_file_stays() {
        let text = r#"{"pairs":[{"visible":"l2-a","hidden":"l2h-a"}],"addresses":[{"interface":"lo","address":"2001:db8::80","prefix_len":128}],"routes":[{"table":254,"priority":20}],"clsact":["eth0"]}"#;
        let entries: Entries = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&entries).unwrap(), text);
    }
}
