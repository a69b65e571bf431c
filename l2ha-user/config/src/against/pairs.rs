//! Which tunnel of one node is which of another.

use std::net::IpAddr;

use l2ha_ebpf::plan::Encapsulation;

use super::{
    files::NodeFile,
    misfit::{Misfits, Says},
};
use crate::types::{DEFAULT_PORT, Tunnel};

/// One end of a tunnel.
#[derive(Clone, Copy)]
pub(super) struct End<'a> {
    pub(super) file: &'a NodeFile,
    index: usize,
    pub(super) tunnel: &'a Tunnel,
}

impl<'a> End<'a> {
    /// The path of its section.
    pub(super) fn section(&self) -> String {
        format!("tunnels[{}]", self.index)
    }

    /// The path of one of its keys.
    pub(super) fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.section())
    }

    /// What it says by this key.
    pub(super) fn says(&self, key: &'a str, value: impl ToString) -> Says<'a> {
        Says {
            file: self.file,
            places: vec![self.key(key)],
            key,
            value: value.to_string(),
        }
    }

    /// Whether the addresses say that `other` is the same tunnel's other end.
    fn leads_to(&self, other: &End<'_>) -> bool {
        self.tunnel.remote == other.tunnel.local && self.tunnel.local == other.tunnel.remote
    }

    /// How much else says so: session ids before ports.
    fn likeness(&self, other: &End<'_>) -> u32 {
        let (one, other) = (self.tunnel, other.tunnel);
        let ports = |tunnel: &Tunnel| match tunnel.encapsulation {
            Encapsulation::Udp {
                local_port,
                remote_port,
            } => Some((local_port, remote_port)),
            Encapsulation::Ip => None,
        };
        let crossed = ports(other).map(|(local, remote)| (remote, local));
        2 * u32::from(one.peer_session_id == other.session_id)
            + 2 * u32::from(one.session_id == other.peer_session_id)
            + u32::from(ports(one) == crossed)
    }

    /// Whether both session ids are those of `other`.
    fn has_sessions_of(&self, other: &End<'_>) -> bool {
        self.tunnel.peer_session_id == other.tunnel.session_id
            && self.tunnel.session_id == other.tunnel.peer_session_id
    }
}

/// How the tunnels belong together; each misfit about that has been added.
pub(super) struct Paired<'a> {
    pub(super) pairs: Vec<(End<'a>, End<'a>)>,
    /// Of tunnels that lead to none of the files.
    pub(super) notes: Vec<String>,
}

pub(super) fn pair<'a>(found: &mut Misfits, files: &'a [NodeFile]) -> Paired<'a> {
    let mut pairs = Vec::new();
    // By file, those that are not paired yet.
    let mut alone: Vec<Vec<End<'a>>> = files.iter().map(ends).collect();
    for one in 0..files.len() {
        for other in one + 1..files.len() {
            let mut candidates = Vec::new();
            for end in &alone[one] {
                let likely = alone[other].iter().filter(|peer| end.leads_to(peer));
                candidates.extend(likely.map(|peer| (end.likeness(peer), *end, *peer)));
            }
            candidates.sort_by_key(|(likeness, ..)| std::cmp::Reverse(*likeness));
            for (_, end, peer) in candidates {
                let (first, second) = (place(&alone[one], &end), place(&alone[other], &peer));
                if let (Some(first), Some(second)) = (first, second) {
                    alone[one].remove(first);
                    alone[other].remove(second);
                    pairs.push((end, peer));
                }
            }
        }
    }
    wrong_remotes(found, &mut alone);
    let mut notes = Vec::new();
    for end in alone.iter().flatten() {
        let remote = end.tunnel.remote;
        let has_remote = |file: &&NodeFile| file.config().underlay.addresses.contains(&remote);
        match files.iter().find(has_remote) {
            Some(peer) => no_counterpart(found, end, peer),
            None => notes.push(format!(
                "{}: tunnel {} leads to {remote}, which none of these nodes has: it was not compared",
                end.file.path().display(),
                end.tunnel.name,
            )),
        }
    }
    Paired { pairs, notes }
}

fn ends(file: &NodeFile) -> Vec<End<'_>> {
    let tunnels = file.config().tunnels.iter().enumerate();
    let ends = tunnels.map(|(index, tunnel)| End {
        file,
        index,
        tunnel,
    });
    ends.collect()
}

fn place(ends: &[End<'_>], end: &End<'_>) -> Option<usize> {
    ends.iter().position(|other| other.index == end.index)
}

/// Tunnels that lead elsewhere than to the node that has their sessions, and a tunnel back.
fn wrong_remotes(found: &mut Misfits, alone: &mut [Vec<End<'_>>]) {
    let all: Vec<End<'_>> = alone.iter().flatten().copied().collect();
    for end in &all {
        let comes_back = |peer: &&End<'_>| {
            peer.tunnel.remote == end.tunnel.local
                && !std::ptr::eq(peer.file, end.file)
                && end.has_sessions_of(peer)
        };
        let Some(peer) = all.iter().find(comes_back) else {
            continue;
        };
        let (said, right) = (end.tunnel.remote, peer.tunnel.local);
        let what = format!(
            "tunnel {} of {} leads to {said}, but has the session ids of {}'s tunnel {}, whose address is {right}",
            end.tunnel.name,
            end.file.name(),
            peer.file.name(),
            peer.tunnel.name,
        );
        let remedy = format!(
            "write `remote = \"{right}\"` in {}, or `addresses = [\"{said}\"]` below [underlay] in {}",
            end.file.path().display(),
            peer.file.path().display(),
        );
        let places = [
            end.file.spot(&[end.key("remote")]),
            peer.file.spot(&["underlay.addresses"]),
        ];
        found.add("remote", places, what, remedy);
        for ends in &mut *alone {
            ends.retain(|other| {
                let is =
                    |end: &End<'_>| std::ptr::eq(other.file, end.file) && other.index == end.index;
                !is(end) && !is(peer)
            });
        }
    }
}

/// A tunnel whose peer has none that comes back.
fn no_counterpart(found: &mut Misfits, end: &End<'_>, peer: &NodeFile) {
    let tunnel = end.tunnel;
    let back = peer_lines(tunnel, end.file.name(), tunnel.local);
    let what = format!(
        "tunnel {} of {} leads to {}, which has no tunnel back to {}",
        tunnel.name,
        end.file.name(),
        peer.name(),
        tunnel.local,
    );
    let remedy = format!(
        "add to {} a section `[[tunnels]]` with {back}, or remove the tunnel",
        peer.path().display(),
    );
    let places = [
        end.file.spot(&[end.key("remote")]),
        peer.spot(&["tunnels[0]", "underlay.addresses"]),
    ];
    found.add("no-counterpart", places, what, remedy);
}

/// The lines of the other end of a tunnel.
fn peer_lines(tunnel: &Tunnel, name: &str, remote: IpAddr) -> String {
    let mut lines = vec![
        format!("`name = \"{name}\"`"),
        format!("`remote = \"{remote}\"`"),
        format!("`session_id = {}`", tunnel.peer_session_id),
        format!("`peer_session_id = {}`", tunnel.session_id),
    ];
    match tunnel.encapsulation {
        Encapsulation::Ip => lines.push("`encapsulation = \"ip\"`".to_owned()),
        Encapsulation::Udp {
            local_port,
            remote_port,
        } => {
            if remote_port != DEFAULT_PORT {
                lines.push(format!("`local_port = {remote_port}`"));
            }
            if local_port != DEFAULT_PORT {
                lines.push(format!("`remote_port = {local_port}`"));
            }
        }
    }
    for (cookie, key) in [
        (&tunnel.send_cookie, "receive_cookie_file"),
        (&tunnel.receive_cookie, "send_cookie_file"),
    ] {
        if cookie.size() > 0 {
            lines.push(format!("`{key} = \"FILE\"`"));
        }
    }
    match lines.pop() {
        Some(last) => format!("{} and {last}", lines.join(", ")),
        None => String::new(),
    }
}
