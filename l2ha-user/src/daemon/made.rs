//! What the daemon has made in the kernel, written down before it is made.
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

/// A veth pair.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct MadePair {
    pub(super) visible: String,
    pub(super) hidden: String,
}

/// An address on an interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct MadeAddress {
    pub(crate) interface: String,
    pub(crate) address: IpAddr,
    pub(crate) prefix_len: u8,
}

/// Where routes were put.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct MadeRoutes {
    pub(super) table: u32,
    pub(super) priority: u32,
}

/// Everything made, with the file it is kept in.
#[derive(Debug)]
pub(super) struct Made {
    path: PathBuf,
    pub(super) list: List,
}

/// What the file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct List {
    pub(super) pairs: BTreeSet<MadePair>,
    pub(super) addresses: BTreeSet<MadeAddress>,
    pub(super) routes: BTreeSet<MadeRoutes>,
    /// Interfaces that got a clsact.
    #[serde(default)]
    pub(super) clsact: BTreeSet<String>,
}

impl Made {
    /// Reads what an earlier daemon left, or begins with nothing.
    ///
    /// # Errors
    ///
    /// When the file is there and cannot be read or understood.
    pub(super) fn load(path: PathBuf) -> Result<Self> {
        let list = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| {
                format!(
                    "{} is damaged; remove it, and by hand what an earlier l2ha left behind",
                    path.display()
                )
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => List::default(),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        Ok(Self { path, list })
    }

    /// Changes the list; the file is written before this returns.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub(super) fn update(&mut self, change: impl FnOnce(&mut List)) -> Result<()> {
        let mut list = self.list.clone();
        change(&mut list);
        if list == self.list {
            return Ok(());
        }
        write(&self.path, &list)
            .with_context(|| format!("cannot write {}", self.path.display()))?;
        self.list = list;
        Ok(())
    }

    /// Writes pairs and addresses down that are about to be made, all of a pass at once: writing the
    /// whole list for each of them would take hours with thousands.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub(super) fn add(&mut self, pairs: Vec<MadePair>, addresses: Vec<MadeAddress>) -> Result<()> {
        let known = pairs.iter().all(|pair| self.list.pairs.contains(pair))
            && addresses
                .iter()
                .all(|address| self.list.addresses.contains(address));
        if known {
            return Ok(());
        }
        self.update(|list| {
            list.pairs.extend(pairs);
            list.addresses.extend(addresses);
        })
    }

    /// Removes the file: nothing is left.
    pub(super) fn forget(self) {
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the list of what was made");
        }
    }
}

/// Replaces the file in one step, so that a crash leaves the old or the new one.
fn write(path: &Path, list: &List) -> Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, serde_json::to_vec(list)?)?;
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
        let pair = MadePair {
            visible: "l2-a".into(),
            hidden: "l2h-a".into(),
        };

        let mut made = Made::load(path.clone()).unwrap();
        made.update(|list| {
            list.pairs.insert(pair.clone());
        })
        .unwrap();
        let again = Made::load(path.clone()).unwrap();
        assert!(again.list.pairs.contains(&pair));

        again.forget();
        assert!(Made::load(path.clone()).unwrap().list.pairs.is_empty());
        fs::write(&path, "{").unwrap();
        let error = Made::load(path).unwrap_err();
        assert!(error.to_string().contains("is damaged"), "{error}");
        fs::remove_dir_all(folder).unwrap();
    }
}
