//! What is no mistake, but rarely meant.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
};

use l2ha_ebpf::plan::Encapsulation;
use ospfv3::BACKBONE;

use crate::types::{Config, Tunnel};

/// Azure drops packets from and to this UDP port: it uses it itself.
const AZURE_PORT: u16 = 65330;

impl Config {
    /// A sentence for each thing that works but is rarely meant.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for tunnel in &self.tunnels {
            let name = &tunnel.name;
            if let Encapsulation::Udp {
                local_port,
                remote_port,
            } = tunnel.encapsulation
                && [local_port, remote_port].contains(&AZURE_PORT)
            {
                notes.push(format!(
                    "tunnel {name}: Azure keeps UDP port {AZURE_PORT} for itself and drops its \
                     packets; write another port if a peer is there"
                ));
            }
            if tunnel.receive_cookie.bytes().is_empty() {
                notes.push(format!(
                    "tunnel {name}: without a receive_cookie_file, whoever can send with the \
                     peer's address can inject frames"
                ));
            }
        }
        for service in &self.services {
            if service.checks.is_empty() {
                notes.push(format!(
                    "service {}: without a check its address is advertised while nothing answers \
                     there; add `check = {{ tcp = \"{}\" }}` or another (docs/health.md)",
                    service.name,
                    SocketAddr::new(service.address, 80)
                ));
            }
        }
        let membership = self.membership.iter();
        for aside in membership.flat_map(|membership| &membership.set_aside) {
            notes.push(format!(
                "{} has joined and is not taken: {}",
                aside.name, aside.reason
            ));
        }
        notes.extend(self.source_note());
        notes.extend(self.area_notes());
        let watched = |tunnel: &Tunnel| tunnel.ospf.is_some_and(|ospf| ospf.bfd.is_some());
        if !self.bfd_keys.is_empty() && !self.tunnels.iter().any(watched) {
            notes.push("[[bfd_keys]]: no tunnel has BFD; write `bfd = \"50x3\"` in [ospf]".into());
        }
        notes
    }

    /// A node that serves nothing opens connections, and these need an address that answers find.
    fn source_note(&self) -> Option<String> {
        let ipv4 = self.ospf.as_ref()?.ipv4.is_some();
        let tunnels = || self.tunnels.iter().filter(|tunnel| tunnel.ospf.is_some());
        let lacks = |ipv4: bool| {
            let is_bare = |tunnel: &Tunnel| {
                let mut addresses = tunnel.addresses.iter();
                !addresses.any(|net| net.addr().is_ipv4() == ipv4)
            };
            self.source(ipv4).is_none() && tunnels().any(is_bare)
        };
        let families: Vec<(&str, &str)> = [
            (lacks(false), ("IPv6", "fd00:a::1")),
            (ipv4 && lacks(true), ("IPv4", "192.0.2.1")),
        ]
        .into_iter()
        .filter_map(|(lacks, family)| lacks.then_some(family))
        .collect();
        if !self.services.is_empty() || families.is_empty() {
            return None;
        }
        let (names, examples): (Vec<&str>, Vec<&str>) = families.into_iter().unzip();
        Some(format!(
            "[node]: this node has no {} address of its own: what it connects to over the tunnels sees the \
             underlay's address, and answers do not come back; write `addresses = {examples:?}` with addresses \
             that no other node has",
            names.join(" and ")
        ))
    }

    fn area_notes(&self) -> Vec<String> {
        let used: BTreeSet<Ipv4Addr> = self
            .tunnels
            .iter()
            .filter_map(|tunnel| Some(tunnel.ospf?.area))
            .collect();
        let idle = self
            .ospf_areas
            .iter()
            .filter(|area| !used.contains(&area.area));
        let mut notes: Vec<String> = idle
            .map(|area| format!("[[ospf_areas]]: no tunnel is in area {}", area.area))
            .collect();
        if used.len() > 1 && !used.contains(&BACKBONE) {
            notes.push(format!(
                "the tunnels are in {} areas, but none is in the backbone, 0.0.0.0: the areas hear \
                 nothing of each other",
                used.len()
            ));
        }
        notes
    }
}
