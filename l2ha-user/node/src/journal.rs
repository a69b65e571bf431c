//! The journal: what the daemon has made in the kernel, written to a file before it is made.
//!
//! After a crash the next start reads it: what it still wants it takes over, the rest it removes.
//! The file lies in the run folder, which like the kernel's state does not outlive a reboot.

use std::{
    collections::BTreeSet,
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

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
    /// Reads what an earlier daemon left, or begins with nothing.
    ///
    /// # Errors
    ///
    /// When the file is there and cannot be read or understood.
    pub(crate) fn load(path: PathBuf) -> Result<Self> {
        let entries = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| {
                format!(
                    "{} is damaged; remove it, and by hand what an earlier l2ha left behind",
                    path.display()
                )
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Entries::default(),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        Ok(Self { path, entries })
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
    /// file for each of them would take hours with thousands.
    ///
    /// # Errors
    ///
    /// When the file cannot be written; the journal is unchanged then. So for all that follow.
    pub(crate) fn add(
        &mut self,
        pairs: Vec<VethEntry>,
        addresses: Vec<AddressEntry>,
    ) -> Result<()> {
        let entries = &self.entries;
        let known = pairs.iter().all(|pair| entries.pairs.contains(pair))
            && addresses
                .iter()
                .all(|address| entries.addresses.contains(address));
        if known {
            return Ok(());
        }
        self.update(|entries| {
            entries.pairs.extend(pairs);
            entries.addresses.extend(addresses);
        })
    }

    /// Adds a table and priority that routes are about to be installed with.
    pub(crate) fn add_routes(&mut self, routes: RoutesEntry) -> Result<()> {
        self.update(|entries| {
            entries.routes.insert(routes);
        })
    }

    /// Takes over what another node's journal has, which is removed.
    pub(crate) fn absorb(&mut self, other: Self) -> Result<()> {
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
        })?;
        other.remove_file();
        Ok(())
    }

    /// Adds an interface that is about to get a clsact.
    pub(crate) fn add_clsact(&mut self, interface: &str) -> Result<()> {
        self.update(|entries| {
            entries.clsact.insert(interface.to_owned());
        })
    }

    /// Drops pairs that are removed, and the addresses that went with them.
    pub(crate) fn drop_pairs(&mut self, removed: &[VethEntry]) -> Result<()> {
        self.update(|entries| {
            let is_removed = |interface: &str| removed.iter().any(|it| it.visible == interface);
            entries.pairs.retain(|pair| !removed.contains(pair));
            entries.addresses.retain(|it| !is_removed(&it.interface));
        })
    }

    pub(crate) fn drop_addresses(&mut self, removed: &[AddressEntry]) -> Result<()> {
        self.update(|entries| entries.addresses.retain(|it| !removed.contains(it)))
    }

    /// Drops a table and priority whose routes are removed.
    pub(crate) fn drop_routes(&mut self, removed: &RoutesEntry) -> Result<()> {
        self.update(|entries| {
            entries.routes.remove(removed);
        })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the file: nothing is left.
    pub(crate) fn remove_file(self) {
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the list of what was made");
        }
    }

    /// Changes the entries; the file is written before this returns.
    fn update(&mut self, change: impl FnOnce(&mut Entries)) -> Result<()> {
        let mut entries = self.entries.clone();
        change(&mut entries);
        if entries == self.entries {
            return Ok(());
        }
        write(&self.path, &entries)
            .with_context(|| format!("cannot write {}", self.path.display()))?;
        self.entries = entries;
        Ok(())
    }
}

/// Replaces the file in one step, so that a crash leaves the old or the new one.
fn write(path: &Path, entries: &Entries) -> Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, serde_json::to_vec(entries)?)?;
    fs::rename(&new, path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_is_known_to_the_next_start() {
        let folder = std::env::temp_dir().join(format!("l2ha-made-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("node.made.json");
        let pair = VethEntry {
            visible: "l2-a".into(),
            hidden: "l2h-a".into(),
        };

        let mut journal = Journal::load(path.clone()).unwrap();
        journal.add(vec![pair.clone()], Vec::new()).unwrap();
        let again = Journal::load(path.clone()).unwrap();
        assert!(again.pairs().contains(&pair));

        again.remove_file();
        assert!(Journal::load(path.clone()).unwrap().pairs().is_empty());
        fs::write(&path, "{").unwrap();
        let error = Journal::load(path).unwrap_err();
        assert!(error.to_string().contains("is damaged"), "{error}");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_pair_takes_its_addresses_along() {
        let folder = std::env::temp_dir().join(format!("l2ha-drop-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let pair = |name: &str| VethEntry {
            visible: format!("l2-{name}"),
            hidden: format!("l2h-{name}"),
        };
        let address = |interface: &str| AddressEntry {
            interface: interface.into(),
            address: "fe80::1".parse().unwrap(),
            prefix_len: 64,
        };
        let mut journal = Journal::load(folder.join("node.made.json")).unwrap();
        journal
            .add(
                vec![pair("a"), pair("b")],
                vec![address("l2-a"), address("l2-b"), address("lo")],
            )
            .unwrap();
        journal.drop_pairs(&[pair("a")]).unwrap();
        assert_eq!(journal.pairs(), &BTreeSet::from([pair("b")]));
        assert_eq!(
            journal.addresses(),
            &BTreeSet::from([address("l2-b"), address("lo")])
        );
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_another_node_made_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(format!("{name}.made.json"));
        let mut old = Journal::load(path("old")).unwrap();
        old.add_clsact("eth0").unwrap();
        let routes = RoutesEntry {
            table: 254,
            priority: 20,
        };
        old.add_routes(routes.clone()).unwrap();
        let mut new = Journal::load(path("new")).unwrap();
        new.add_clsact("eth1").unwrap();
        new.absorb(old).unwrap();
        assert!(!path("old").exists());
        let new = Journal::load(path("new")).unwrap();
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
