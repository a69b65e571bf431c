//! What the daemon has made in the kernel, written down before it is made.
//!
//! After a crash the next start reads it: what it still wants it takes over, the rest it removes.
//! The file lies in the run folder, which like the kernel's state does not outlive a reboot.

use std::{
    collections::{BTreeSet, HashSet},
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use config::{Config, Service};
use serde::{Deserialize, Serialize};

/// A veth pair.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct MadePair {
    pub(crate) visible: String,
    pub(crate) hidden: String,
}

/// An address on an interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct MadeAddress {
    pub(crate) interface: String,
    pub(crate) address: IpAddr,
    pub(crate) prefix_len: u8,
}

impl MadeAddress {
    /// A service's on the loopback.
    pub(crate) fn of(service: &Service) -> Self {
        Self {
            interface: "lo".to_owned(),
            address: service.address,
            prefix_len: service.prefix_len(),
        }
    }

    /// Whether it is a service's.
    pub(crate) fn is_service(&self) -> bool {
        self.interface == "lo"
    }
}

/// Where routes were put.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct MadeRoutes {
    pub(crate) table: u32,
    pub(crate) priority: u32,
}

/// Everything made, with the file it is kept in.
#[derive(Debug)]
pub(crate) struct Made {
    path: PathBuf,
    pub(crate) list: List,
}

/// What the file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct List {
    pub(crate) pairs: BTreeSet<MadePair>,
    pub(crate) addresses: BTreeSet<MadeAddress>,
    pub(crate) routes: BTreeSet<MadeRoutes>,
    /// Interfaces that got a clsact.
    #[serde(default)]
    pub(crate) clsact: BTreeSet<String>,
}

impl Made {
    /// Reads what an earlier daemon left, or begins with nothing.
    ///
    /// # Errors
    ///
    /// When the file is there and cannot be read or understood.
    pub(crate) fn load(path: PathBuf) -> Result<Self> {
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
    pub(crate) fn update(&mut self, change: impl FnOnce(&mut List)) -> Result<()> {
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
    pub(crate) fn add(&mut self, pairs: Vec<MadePair>, addresses: Vec<MadeAddress>) -> Result<()> {
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
    pub(crate) fn forget(self) {
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

/// What the configuration wants of the addresses that the daemon makes.
pub(crate) struct WantedAddresses {
    interfaces: HashSet<String>,
    addresses: HashSet<(String, IpAddr, u8)>,
}

impl WantedAddresses {
    /// Of a configuration.
    pub(crate) fn of(config: &Config) -> Self {
        let services = config
            .services
            .iter()
            .map(|service| ("lo".to_owned(), service.address, service.prefix_len()));
        let tunnels = config.tunnels.iter().flat_map(|tunnel| {
            tunnel
                .addresses
                .iter()
                .map(|net| (tunnel.interface.clone(), net.addr(), net.prefix_len()))
        });
        Self {
            interfaces: config
                .tunnels
                .iter()
                .map(|tunnel| tunnel.interface.clone())
                .collect(),
            addresses: services.chain(tunnels).collect(),
        }
    }

    /// Whether an address the daemon has made still belongs to the configuration.
    pub(crate) fn has(&self, made: &MadeAddress) -> bool {
        let link_local =
            matches!(made.address, IpAddr::V6(address) if address.is_unicast_link_local());
        let key = (made.interface.clone(), made.address, made.prefix_len);
        self.addresses.contains(&key) || (link_local && self.interfaces.contains(&made.interface))
    }
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
