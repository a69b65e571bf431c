//! What `[membership]` says.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::Duration};

use crate::cluster::Role;

/// Where the nodes that join are registered, and what they may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Name of the cluster.
    pub cluster: String,
    /// URLs of etcd's members; at least one.
    pub etcd: Vec<String>,
    /// What all keys in etcd begin with; ends with `/`.
    pub prefix: String,
    /// Certificates, PEM, of those who may certify etcd; absolute, as all paths here.
    pub ca_file: Option<PathBuf>,
    /// Certificate of this node, PEM, and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// User of etcd, and the file with its password.
    pub user: Option<(String, PathBuf)>,
    /// How long etcd waits for a node before it is absent; seconds.
    pub lease: Duration,
    /// How long a node may be absent before it is forgotten.
    pub forget_after: Duration,
    /// Folder of the last good list of those who joined, and of what this host has joined as.
    pub state_dir: PathBuf,
    /// Who may join, in the order of the file.
    pub grants: Vec<Grant>,
    /// The nodes that the file names, which are nobody else's names, with their addresses.
    pub local: BTreeMap<String, Vec<IpAddr>>,
    /// What this node is, where it says so: its role, and its services.
    pub own: Option<(Role, Vec<String>)>,
    /// Address that this node registers, where it says so.
    pub own_address: Option<IpAddr>,
    /// Those on the list who are no part of this configuration.
    pub set_aside: Vec<SetAside>,
    /// The text of the file: a change of the list is a change of the configuration that is in force, not of what
    /// somebody is writing into the file.
    pub text: String,
}

impl Membership {
    /// What the file says, without what is made of the list.
    #[must_use]
    pub fn settings(&self) -> Self {
        Self {
            set_aside: Vec::new(),
            text: String::new(),
            ..self.clone()
        }
    }

    /// What a node of this name may be: what the first pattern says that fits.
    #[must_use]
    pub fn grant(&self, name: &str) -> Option<&Grant> {
        self.grants.iter().find(|grant| grant.fits(name))
    }
}

/// What nodes of some names may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// A name, in which `*` is any number of characters.
    pub names: String,
    /// Their role.
    pub role: Role,
    /// The services that they may have.
    pub services: Vec<String>,
}

impl Grant {
    /// Whether this is about a node of that name.
    #[must_use]
    pub fn fits(&self, name: &str) -> bool {
        let mut parts = self.names.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else {
            return false;
        };
        let parts: Vec<&str> = parts.collect();
        let Some((last, middle)) = parts.split_last() else {
            return rest.is_empty();
        };
        for part in middle {
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.len() >= last.len() && rest.ends_with(last)
    }
}

/// A node on the list that is no part of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
}
