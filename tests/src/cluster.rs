//! A cluster file for hosts of the lab.

use std::fmt::Write as _;

use anyhow::Result;

use crate::{
    cloud::Host,
    config::{NodeConfig, new_secret},
    lab::Lab,
};

/// A node of a cluster: a host, and what the node has of its own, as `, cost = 20`.
#[derive(Debug, Clone, Copy)]
pub struct ClusterNode<'a> {
    host: &'a Host,
    own: &'a str,
}

impl<'a> ClusterNode<'a> {
    /// A node that has nothing of its own.
    pub fn new(host: &'a Host) -> Self {
        Self { host, own: "" }
    }

    /// A node that has this of its own, each with a comma before it.
    pub fn with(host: &'a Host, own: &'a str) -> Self {
        Self { host, own }
    }
}

/// The file of a cluster of these servers, clients and gateways, with more sections behind it; beside it, a new secret.
/// Its nodes have their hosts' names, so what they pin is in a folder of the lab.
///
/// # Errors
///
/// When the secret cannot be written.
pub fn cluster_file(
    lab: &Lab,
    servers: &[ClusterNode<'_>],
    clients: &[ClusterNode<'_>],
    gateways: &[ClusterNode<'_>],
    more: &str,
) -> Result<String> {
    new_secret(&lab.dir().join("cluster.key"), 32)?;
    let mut text = format!(
        "[node]\nrun_dir = {:?}\nbpffs = \"/sys/fs/bpf/l2ha-{}\"\n\n[cluster]\nname = \"shop\"\n\
         secret_file = \"cluster.key\"\n",
        lab.dir().join("run"),
        lab.prefix(),
    );
    for (table, nodes) in [
        ("servers", servers),
        ("clients", clients),
        ("gateways", gateways),
    ] {
        if nodes.is_empty() {
            continue;
        }
        writeln!(text, "\n[cluster.{table}]")?;
        for ClusterNode { host, own } in nodes {
            match own.is_empty() {
                true => writeln!(text, "{} = \"{}\"", host.name, host.v4)?,
                false => writeln!(text, "{} = {{ address = \"{}\"{own} }}", host.name, host.v4)?,
            }
        }
    }
    write!(text, "\n{more}")?;
    Ok(text)
}

impl NodeConfig {
    /// Makes it a node of a cluster, by its host's name.
    pub fn join_cluster(&mut self, file: &str) {
        self.name = self.host.name.clone();
        self.cluster = Some(file.to_owned());
    }
}
