//! Three members of etcd, each of which can be cut off from the others.

use super::{
    etcd::{Etcd, Options, Ports, free_port},
    proxy::Proxy,
    wait_for,
};

pub(crate) struct Trio {
    pub(crate) members: Vec<Etcd>,
    /// In front of each one's port for the others.
    proxies: Vec<Proxy>,
    /// Their ids, as they call themselves to the others.
    ids: Vec<String>,
}

impl Trio {
    pub(crate) fn start() -> Self {
        let names = ["one", "two", "three"];
        let ports: Vec<Ports> = names.iter().map(|_| Ports::new()).collect();
        let proxies: Vec<Proxy> = ports
            .iter()
            .map(|ports| Proxy::between_members(free_port(), ports.peer))
            .collect();
        let urls: Vec<String> = proxies.iter().map(Proxy::url).collect();
        let all: Vec<String> = names
            .iter()
            .zip(&urls)
            .map(|(name, url)| format!("{name}={url}"))
            .collect();
        let all = all.join(",");
        let members = names.iter().zip(ports).zip(&urls);
        let mut members: Vec<Etcd> = members
            .map(|((name, ports), url)| {
                let cluster = (all.clone(), url.clone());
                Etcd::member(name, ports, cluster, Options::default())
            })
            .collect();
        members.iter_mut().for_each(Etcd::spawn);
        members.iter_mut().for_each(Etcd::wait_until_healthy);
        let list = members[0].ctl(&["member", "list"]);
        let ids = names.map(|name| {
            let line = list
                .lines()
                .find(|line| line.contains(&format!(", {name},")));
            let line = line.unwrap_or_else(|| panic!("{list}"));
            line.split(',').next().unwrap().to_owned()
        });
        Self {
            members,
            proxies,
            ids: ids.to_vec(),
        }
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.members.iter().map(Etcd::url).collect()
    }

    /// Which one has this URL.
    pub(crate) fn at(&self, url: &str) -> usize {
        let mut urls = self.urls().into_iter();
        urls.position(|it| it == url).unwrap()
    }

    /// One does not hear the others, nor they it; clients reach all of them.
    pub(crate) fn cut_off(&self, member: usize) {
        for (number, proxy) in self.proxies.iter().enumerate() {
            match number == member {
                true => proxy.cut(),
                false => proxy.cut_from(&self.ids[member]),
            }
        }
    }

    pub(crate) fn mend(&self) {
        self.proxies.iter().for_each(Proxy::mend);
    }

    /// The others have a leader.
    pub(crate) fn wait_for_leader(&self, without: usize) {
        let other = &self.members[(without + 1) % self.members.len()];
        wait_for("a leader", super::PATIENCE, || {
            other
                .try_ctl(&["get", "none", "--command-timeout", "2s"])
                .ok()
        });
    }
}
