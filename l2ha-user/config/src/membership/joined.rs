//! Nodes that joined, as the last good list has them.

use std::{collections::BTreeSet, fs, io, net::IpAddr, path::Path};

use serde::{Deserialize, Serialize};

use crate::{cluster::Role, names};

/// A node that joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// Its name.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// Its addresses on the underlay, as the others see them: one or two, at most one of a family.
    pub addresses: Vec<IpAddr>,
    /// What its host has in their place, where the network translates addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub local_addresses: Vec<IpAddr>,
    /// Its underlay's interface, where no interface has its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// UDP port of its tunnels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// MTU of its underlay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// Names of the services that it has; of a server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
}

/// The keys of a node's own table that a node on the list has.
#[derive(Serialize)]
struct Line<'a> {
    addresses: &'a [IpAddr],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    local_addresses: &'a [IpAddr],
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: &'a Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u16>,
}

impl Joined {
    /// What is wrong with its name.
    pub(crate) fn name_problem(&self) -> Option<String> {
        names::node_problem(&self.name)
    }

    /// Its line below `[cluster.servers]` or another one of the roles.
    pub(crate) fn line(&self) -> String {
        let line = toml::Value::try_from(Line {
            addresses: &self.addresses,
            local_addresses: &self.local_addresses,
            interface: &self.interface,
            port: self.port,
            mtu: self.mtu,
        });
        // Addresses, names and numbers are always TOML.
        let line = line.unwrap_or(toml::Value::Boolean(false));
        format!("{} = {line}", toml::Value::String(self.name.clone()))
    }
}

/// The list's file in the state folder.
pub const LIST_FILE: &str = "members.toml";
/// The file there that says what this host has joined as.
pub const SELF_FILE: &str = "self.toml";

/// The last good list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JoinedList {
    /// The name under which this host has joined.
    pub own: Option<String>,
    /// Those who joined, in the order in which they did.
    pub members: Vec<Joined>,
}

#[derive(Default, Deserialize)]
struct ListFile {
    #[serde(default)]
    members: Vec<Joined>,
}

#[derive(Deserialize)]
struct SelfFile {
    name: String,
}

impl JoinedList {
    /// Reads what is in a state folder; of a cluster that nobody has joined yet that is nothing.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, or is none of ours.
    pub fn load(folder: &Path) -> io::Result<Self> {
        let list: Option<ListFile> = read(&folder.join(LIST_FILE))?;
        let own: Option<SelfFile> = read(&folder.join(SELF_FILE))?;
        let list = Self {
            own: own.map(|own| own.name),
            members: list.unwrap_or_default().members,
        };
        let mut names = BTreeSet::new();
        match list.members.iter().find(|it| !names.insert(&it.name)) {
            Some(twice) => Err(io::Error::other(format!("`{}` is on it twice", twice.name))),
            None => Ok(list),
        }
    }
}

/// Reads a file, if it is there.
fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> io::Result<Option<T>> {
    match fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text).map(Some).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
