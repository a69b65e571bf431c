//! The nodes of a cluster.

use std::{net::IpAddr, ops::RangeInclusive};

use serde::{Deserialize, Serialize};

use crate::{
    address,
    report::Place,
    section::Section,
    words::{closest, list},
};

use super::joiners::Joiner;

/// What an underlay's MTU can be.
pub(crate) const UNDERLAY_MTUS: RangeInclusive<i128> = 1280..=65_535;

/// Whose configuration is wanted: what a file with `[cluster]` does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Who {
    /// The node's name, where it is told and not found by its address.
    pub node: Option<String>,
    /// The addresses of this host, each with its interface.
    pub addresses: Vec<(String, IpAddr)>,
}

/// What a node is in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Has services; has a tunnel to every other server.
    Server,
    /// Has a tunnel to every server, and uses services itself.
    Client,
    /// Has a tunnel to every server, and carries other networks' hosts to the services.
    Gateway,
}

impl Role {
    /// The key of `[cluster]` that nodes of this role are below, and what one of them is called.
    pub(crate) const ALL: [(Self, &str, &str); 3] = [
        (Self::Server, "servers", "a server"),
        (Self::Client, "clients", "a client"),
        (Self::Gateway, "gateways", "a gateway"),
    ];

    /// The word for it, as files have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
            Self::Gateway => "gateway",
        }
    }

    /// What one of them is called.
    pub(crate) fn shown(self) -> &'static str {
        let mut all = Self::ALL.iter();
        all.find(|(role, ..)| *role == self)
            .map_or("", |(_, _, shown)| shown)
    }
}

/// A node of the cluster.
pub(crate) struct Member<'a> {
    pub(crate) name: &'a str,
    pub(crate) role: Role,
    /// Where its line is.
    pub(crate) place: Place,
    /// Its addresses on the underlay, as the others see them.
    pub(crate) addresses: Vec<IpAddr>,
    /// What it has of its own.
    pub(crate) own: Option<Section<'a>>,
    /// What it joined with; nothing of a node of the file.
    pub(crate) joined: Option<&'a Joiner>,
}

impl Member<'_> {
    /// Who of two that do not fit together came first: one of the file, then who joined first.
    pub(crate) fn is_before(&self, other: &Self) -> bool {
        let place = |member: &Self| member.joined.map(|joiner| joiner.place);
        place(self) < place(other)
    }
}

/// What is said of one tunnel.
pub(crate) struct Pair<'a> {
    /// The two ends, in any order.
    pub(crate) ends: [&'a str; 2],
    pub(crate) own: Section<'a>,
}

/// `[cluster]` as far as it could be read.
pub(crate) struct Cluster<'a> {
    pub(crate) section: Section<'a>,
    pub(crate) name: &'a str,
    /// Whether clients have tunnels with each other too.
    pub(crate) full: bool,
    /// Whether OSPF and BFD are authenticated.
    pub(crate) authentication: bool,
    pub(crate) members: Vec<Member<'a>>,
    pub(crate) pairs: Vec<Pair<'a>>,
    /// The name under which this host has joined, and why it did not come in, if so.
    pub(crate) joined_as: Option<(&'a str, Option<&'a str>)>,
}

impl<'a> Cluster<'a> {
    /// The member of this name.
    pub(crate) fn member(&self, name: &str) -> Option<&Member<'a>> {
        self.members.iter().find(|member| member.name == name)
    }

    /// Those that a member has a tunnel to, in the order of the file.
    pub(crate) fn peers(&self, of: &Member<'_>) -> impl Iterator<Item = &Member<'a>> {
        self.members.iter().filter(move |peer| {
            let wanted = self.full || of.role == Role::Server || peer.role == Role::Server;
            peer.name != of.name && wanted
        })
    }

    /// What is said of the tunnel between two members alone.
    pub(crate) fn pair(&self, one: &str, other: &str) -> Option<&Section<'a>> {
        let pair = |pair: &&Pair<'_>| pair.ends.contains(&one) && pair.ends.contains(&other);
        self.pairs.iter().find(pair).map(|pair| &pair.own)
    }

    /// Which member this host is.
    pub(crate) fn identify(&self, who: &Who) -> Option<&Member<'a>> {
        let report = self.section.report;
        let names: Vec<&str> = self.members.iter().map(|member| member.name).collect();
        let told = self
            .section
            .string("node")
            .map(|found| (found.value, found.place));
        let by_option = who.node.as_deref();
        if let Some((name, place)) = by_option
            .map(|name| (name, self.section.place.clone()))
            .or(told)
        {
            let member = self.member(name);
            if member.is_none() {
                let remedy = match (closest(name, &names), by_option) {
                    (Some(near), None) => format!("did you mean `node = \"{near}\"`?"),
                    (Some(near), Some(_)) => format!("did you mean `--node {near}`?"),
                    (None, _) => format!("name one of {}", list(&names)),
                };
                report.error(
                    &place,
                    format!("`{name}` is no node of this cluster"),
                    remedy,
                );
            }
            return member;
        }
        if let Some((name, refusal)) = self.joined_as {
            let member = self.member(name);
            if member.is_none() {
                let what = match refusal {
                    Some(why) => {
                        format!("this host has joined as `{name}`, which is not taken: {why}")
                    }
                    None => format!("this host has joined as `{name}`, and that node has left"),
                };
                let remedy = "call `l2ha join` again, or say which node this is with `--node NAME`";
                report.error(&self.section.place, what, remedy);
            }
            return member;
        }
        let here: Vec<&Member<'_>> = self
            .members
            .iter()
            .filter(|member| {
                let mut host = who.addresses.iter();
                // Whoever joins knows what as.
                member.joined.is_none()
                    && host.any(|(_, address)| member.addresses.contains(address))
            })
            .collect();
        let error = |what, remedy: &str| report.error(&self.section.place, what, remedy);
        match here[..] {
            [member] => return Some(member),
            [] => error(
                format!(
                    "none of this host's addresses is that of a node ({})",
                    shown(who)
                ),
                "add this host's line, or say which node it is with `--node NAME` or `node = \"NAME\"` here",
            ),
            _ => {
                let here: Vec<&str> = here.iter().map(|member| member.name).collect();
                error(
                    format!("this host has the addresses of {}", list(&here)),
                    "say which node it is with `--node NAME`",
                );
            }
        }
        None
    }
}

/// The addresses that a host could be known by.
fn shown(who: &Who) -> String {
    let addresses = who.addresses.iter().map(|(_, address)| *address);
    let addresses: Vec<String> = addresses
        .filter(|address| address::is_host(*address) && !address.is_loopback())
        .map(|address| address.to_string())
        .collect();
    match addresses.is_empty() {
        true => "it has none".to_owned(),
        false => addresses.join(", "),
    }
}
