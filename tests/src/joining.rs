//! A cluster that hosts of the lab join by themselves, through an etcd in one of them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Result, ensure};

use crate::{
    cloud::Host,
    cluster::{ClusterNode, cluster_file},
    config::NodeConfig,
    daemon::Daemon,
    etcd::Etcd,
    lab::{Lab, PATIENCE, wait_for},
};

/// The service of the cluster.
pub const SERVICE: &str = "2001:db8::80";
/// What stands in the file for the folder in which a host keeps its state.
const STATE: &str = "STATE";

/// A cluster that can be joined: as a server with the service by hosts called `web-..`, as a client by `app-..`.
#[derive(Debug)]
pub struct JoinedCluster<'a> {
    lab: &'a Lab,
    file: String,
}

impl<'a> JoinedCluster<'a> {
    /// With these servers and clients in the file; a service has `check`, if that is not empty.
    ///
    /// # Errors
    ///
    /// When the secret cannot be written.
    pub fn new(
        lab: &'a Lab,
        etcd: &Etcd,
        servers: &[&Arc<Host>],
        clients: &[&Arc<Host>],
        check: &str,
    ) -> Result<Self> {
        let check = match check.is_empty() {
            true => String::new(),
            false => format!("check = {{ {check} }}\n"),
        };
        let more = format!(
            "[membership]\netcd = [\"{}\"]\nlease = \"5s\"\nstate_dir = \"{STATE}\"\n\n\
             [membership.grants]\n\"web-*\" = {{ role = \"server\", services = [\"web\"] }}\n\
             \"app-*\" = {{ role = \"client\" }}\n\n\
             [[services]]\nname = \"web\"\naddress = \"{SERVICE}\"\n{check}",
            etcd.url()
        );
        fn nodes<'h>(hosts: &[&'h Arc<Host>]) -> Vec<ClusterNode<'h>> {
            hosts.iter().map(|host| ClusterNode::new(host)).collect()
        }
        let file = cluster_file(lab, &nodes(servers), &nodes(clients), &[], &more)?;
        Ok(Self { lab, file })
    }

    /// The file, for a person.
    pub fn file(&self) -> String {
        self.file.replace(&format!("state_dir = \"{STATE}\"\n"), "")
    }

    /// Prepares the daemon of a host.
    ///
    /// # Errors
    ///
    /// When its configuration cannot be written.
    pub fn daemon(&self, host: &Arc<Host>) -> Result<Arc<Daemon>> {
        let mut config = NodeConfig::new(self.lab, host)?;
        let state = self.lab.dir().join(format!("{}.var", host.name));
        config.join_cluster(&self.file.replace(STATE, &state.display().to_string()));
        Daemon::prepare(self.lab, config)
    }

    /// Calls a command of `l2ha` that reads the file, on a host whose daemon is prepared.
    ///
    /// # Errors
    ///
    /// When it fails; the text has what it said.
    pub fn l2ha(&self, host: &Host, words: &[&str]) -> Result<String> {
        let binary: PathBuf = self.lab.binary()?;
        let file = self.lab.dir().join(format!("{}.toml", host.name));
        let mut all: Vec<&Path> = vec![&binary];
        all.extend(words.iter().map(Path::new));
        all.extend([Path::new("--config"), &file]);
        host.ns.run(all)
    }

    /// Joins as what the host's name says.
    ///
    /// # Errors
    ///
    /// As [`JoinedCluster::l2ha`].
    pub fn join(&self, host: &Host) -> Result<String> {
        let (role, service): (&str, &[&str]) = match host.name.starts_with("web") {
            true => ("server", &["--service", "web"]),
            false => ("client", &[]),
        };
        let words = [
            "join",
            "--node",
            &host.name,
            "--role",
            role,
            "--timeout",
            "10",
        ];
        self.l2ha(host, &[&words[..], service].concat())
    }
}

/// Waits until a node has tunnels to these nodes, in the order of names, and to no other.
///
/// # Errors
///
/// When that takes too long; the text says which it has.
#[track_caller]
pub fn wait_tunnels(daemon: &Daemon, wanted: &[&str]) -> Result<()> {
    let what = format!("tunnels of {} to {wanted:?}", daemon.config().name);
    wait_for(&what, PATIENCE, || {
        let status = daemon.status()?;
        let tunnels = status["tunnels"].as_array().into_iter().flatten();
        let mut names: Vec<&str> = tunnels.filter_map(|it| it["name"].as_str()).collect();
        names.sort_unstable();
        ensure!(names == wanted, "there are {names:?}");
        Ok(Some(()))
    })
}
