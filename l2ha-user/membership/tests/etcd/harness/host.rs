//! A host that joins, and what it hears.

use std::{
    collections::BTreeMap,
    fs,
    net::IpAddr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;
use config::{Joined, Role};
use membership::{Connection, Done, JoinAs, Members, News, Presence};
use tempfile::TempDir;
use tokio::sync::watch;

use super::{PATIENCE, wait_for};

/// The names of the cluster and of what is below it in etcd.
pub(crate) const PREFIX: &str = "/l2ha/shop/";
/// Shortest lease that etcd grants with its usual timers, in whole seconds.
pub(crate) const LEASE: Duration = Duration::from_secs(2);
/// How long commands wait for etcd.
const COMMAND: Duration = Duration::from_secs(20);

/// What a file says.
pub(crate) fn settings(folder: &Path, etcd: &[String]) -> config::Membership {
    config::Membership {
        cluster: "shop".to_owned(),
        etcd: etcd.to_vec(),
        prefix: PREFIX.to_owned(),
        ca_file: None,
        certificate: None,
        user: None,
        lease: LEASE,
        forget_after: Duration::from_secs(3600),
        state_dir: folder.to_owned(),
        grants: Vec::new(),
        local: BTreeMap::new(),
        own: None,
        own_address: None,
        text: String::new(),
        set_aside: Vec::new(),
    }
}

/// A node that joins.
pub(crate) fn joined(name: &str, address: &str) -> Joined {
    Joined {
        name: name.to_owned(),
        role: Role::Client,
        addresses: vec![address.parse::<IpAddr>().unwrap()],
        local_addresses: Vec::new(),
        interface: None,
        port: None,
        mtu: None,
        services: Vec::new(),
    }
}

/// A host with a state folder of its own.
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) settings: config::Membership,
    folder: TempDir,
}

impl Host {
    /// Of this name, with 10.0.0.NUMBER.
    pub(crate) fn new(etcd: &[String], name: &str, number: u8) -> Self {
        let folder = TempDir::new().unwrap();
        Self {
            name: name.to_owned(),
            address: format!("10.0.0.{number}"),
            settings: settings(folder.path(), etcd),
            folder,
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn node(&self) -> Joined {
        joined(&self.name, &self.address)
    }

    pub(crate) fn join(&self) -> Result<Done> {
        self.join_within(COMMAND)
    }

    pub(crate) fn join_within(&self, patience: Duration) -> Result<Done> {
        let node = self.node();
        membership::join(&self.settings, &JoinAs { node, patience }, &|_| None)
    }

    pub(crate) fn leave(&self) -> Result<Done> {
        membership::leave(&self.settings, COMMAND)
    }

    pub(crate) fn forget(&self, name: &str, present_too: bool) -> Result<Done> {
        membership::forget(&self.settings, name, present_too, COMMAND)
    }

    pub(crate) fn accept(&self) -> Result<Vec<String>> {
        membership::accept(&self.settings, &[], COMMAND)
    }

    /// What is in its list on the disk.
    pub(crate) fn stored(&self) -> Members {
        membership::stored(self.folder()).unwrap()
    }

    /// The id with which it has joined.
    pub(crate) fn id(&self) -> String {
        let path = self.folder().join(config::SELF_FILE);
        let text = fs::read_to_string(path).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("id = \""));
        line.unwrap().trim_end_matches('"').to_owned()
    }

    /// Runs the thread that watches.
    pub(crate) fn watch(&self) -> Watch {
        let (sender, news) = watch::channel(None);
        let thread = membership::Membership::start(&self.settings, sender, || ()).unwrap();
        Watch {
            name: self.name.clone(),
            thread: Some(thread),
            news,
        }
    }

    /// Joins and watches, until it is present.
    pub(crate) fn run(&self) -> Watch {
        self.join().unwrap();
        let watch = self.watch();
        watch.wait_present(&self.name);
        watch
    }
}

/// The thread that watches; stops as a service would when it is dropped.
pub(crate) struct Watch {
    name: String,
    thread: Option<membership::Membership>,
    news: watch::Receiver<Option<News>>,
}

impl Watch {
    pub(crate) fn news(&self) -> News {
        wait_for("the first news", PATIENCE, || self.news.borrow().clone())
    }

    /// Waits until the news are such.
    pub(crate) fn wait(&self, what: &str, is: impl Fn(&News) -> bool) -> News {
        let began = Instant::now();
        loop {
            let news = self.news();
            if is(&news) {
                return news;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "{}: waited in vain: {what}; {news:#?}",
                self.name
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn wait_names(&self, expected: &[&str]) -> News {
        let what = format!("the list is {expected:?}");
        self.wait(&what, |news| names(news) == expected)
    }

    pub(crate) fn wait_present(&self, name: &str) -> News {
        let what = format!("{name} is present");
        self.wait(&what, |news| {
            presence(news, name) == Some(Presence::Present)
        })
    }

    pub(crate) fn wait_absent(&self, name: &str) -> News {
        let what = format!("{name} is absent");
        let absent = |news: &News| matches!(presence(news, name), Some(Presence::Absent(_)));
        self.wait(&what, absent)
    }

    pub(crate) fn wait_connected(&self) -> String {
        let connected = |news: &News| matches!(news.connection, Connection::Connected(..));
        match self.wait("etcd is there", connected).connection {
            Connection::Connected(url, _) => url,
            other => unreachable!("{other:?}"),
        }
    }

    pub(crate) fn wait_away(&self) -> String {
        let away = |news: &News| matches!(news.connection, Connection::Away(..));
        match self.wait("etcd is away", away).connection {
            Connection::Away(why, _) => why,
            other => unreachable!("{other:?}"),
        }
    }

    /// Its host loses its power: the lease runs on, and nobody is told.
    pub(crate) fn stop_at_once(mut self) {
        self.thread.take().unwrap().stop(true);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.stop(false);
        }
    }
}

/// In the order of names: that of the list is the order in which the records were written last.
pub(crate) fn names(news: &News) -> Vec<&str> {
    let nodes = news.members.nodes.iter();
    let mut names: Vec<&str> = nodes.map(|(node, _)| node.name.as_str()).collect();
    names.sort_unstable();
    names
}

pub(crate) fn presence(news: &News, name: &str) -> Option<Presence> {
    let mut nodes = news.members.nodes.iter();
    Some(nodes.find(|(node, _)| node.name == name)?.1)
}
