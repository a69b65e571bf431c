//! What no node can see alone: all nodes of a cluster compared.

use std::{collections::BTreeMap, net::Ipv4Addr};

use crate::{report::Place, words::list};

use super::{
    derive::Public,
    schema::SHARED,
    tunnel::{remote, setting, underlay_mtu},
    types::{Cluster, Member, Role},
};

/// Reports what does not fit together; nothing of it needs the secret.
pub(crate) fn compare(cluster: &Cluster<'_>) {
    let public = Public::new(cluster.name);
    router_ids(cluster, &public);
    own_addresses(cluster);
    for member in &cluster.members {
        session_ids(cluster, member, &public);
        interfaces(cluster, member, &public);
        if cluster.peers(member).next().is_none() && cluster.members.len() > 1 {
            let what = format!("no tunnel leads to `{}`", member.name);
            let remedy = "add servers, or write `links = \"full\"` below [cluster]";
            error(cluster, &member.place, what, remedy);
        }
    }
    for (at, one) in cluster.members.iter().enumerate() {
        for other in &cluster.members[at + 1..] {
            if cluster.peers(one).any(|peer| peer.name == other.name) {
                pair(cluster, one, other);
            } else if let Some(own) = cluster.pair(one.name, other.name) {
                let what = format!(
                    "there is no tunnel between `{}` and `{}`",
                    one.name, other.name
                );
                let remedy = "remove it, or write `links = \"full\"` below [cluster]";
                error(cluster, &own.place, what, remedy);
            }
        }
    }
}

fn error(cluster: &Cluster<'_>, place: &Place, what: impl Into<String>, remedy: impl Into<String>) {
    cluster.section.report.error(place, what, remedy);
}

/// Two names that come to the same value, and what to do: another name, or a value of its own.
fn collision<'a, K: Ord>(
    members: impl Iterator<Item = (&'a Member<'a>, K)>,
    mut tell: impl FnMut(&'a Member<'a>, &'a Member<'a>),
) {
    let mut taken: BTreeMap<K, &Member<'_>> = BTreeMap::new();
    for (member, value) in members {
        match taken.get(&value) {
            Some(first) if member.is_before(first) => tell(member, first),
            Some(first) => tell(first, member),
            None => drop(taken.insert(value, member)),
        }
    }
}

/// Who of two that do not fit together has to be another: what the file says is never the mistake of who joined.
fn later<'m, 'a>(one: &'m Member<'a>, other: &'m Member<'a>) -> &'m Member<'a> {
    match one.is_before(other) {
        true => other,
        false => one,
    }
}

fn router_ids(cluster: &Cluster<'_>, public: &Public) {
    let id = |member: &Member<'_>| {
        let own = setting(member, "router_id");
        let own = own.and_then(|(text, _)| text.trim_matches('"').parse::<Ipv4Addr>().ok());
        own.unwrap_or_else(|| public.router_id(member.name))
    };
    collision(
        cluster.members.iter().map(|it| (it, id(it))),
        |first, second| {
            let free = (1..)
                .map(|n| Ipv4Addr::new(10, 255, (n >> 8) as u8, n as u8))
                .find(|free| cluster.members.iter().all(|it| id(it) != *free));
            error(
                cluster,
                &second.place,
                format!(
                    "`{}` and `{}` have the same router id, {}",
                    first.name,
                    second.name,
                    id(second)
                ),
                format!(
                    "give one of them another, as `{} = {{ address = \"{}\", router_id = \"{}\" }}`",
                    second.name,
                    second.addresses[0],
                    free.unwrap_or(Ipv4Addr::LOCALHOST)
                ),
            );
        },
    );
}

/// IPv4 addresses of nodes' own; those of IPv6 are derived, and 64 bits do not collide.
fn own_addresses(cluster: &Cluster<'_>) {
    let with = cluster.members.iter().filter_map(|member| {
        let (text, _) = setting(member, "ipv4")?;
        Some((member, text))
    });
    collision(with, |first, second| {
        let what = format!(
            "`{}` and `{}` have the same `ipv4`",
            first.name, second.name
        );
        error(
            cluster,
            &second.place,
            what,
            "write another for one of them",
        );
    });
}

fn session_ids(cluster: &Cluster<'_>, member: &Member<'_>, public: &Public) {
    let with = cluster
        .peers(member)
        .map(|peer| (peer, public.session_id(peer.name, member.name)));
    collision(with, |first, second| {
        let what = format!(
            "at `{}`, the tunnels to `{}` and `{}` come to the same session id",
            member.name, first.name, second.name
        );
        error(cluster, &second.place, what, "call this node otherwise");
    });
}

/// Names of interfaces, which long names of nodes come to.
fn interfaces(cluster: &Cluster<'_>, member: &Member<'_>, public: &Public) {
    let name = |peer: &Member<'_>| match peer.name.len() > 12 {
        true => (
            peer.name.chars().take(5).collect(),
            public.interface_digits(peer.name),
        ),
        false => (peer.name.to_owned(), String::new()),
    };
    collision(
        cluster.peers(member).map(|peer| (peer, name(peer))),
        |first, second| {
            let what = format!(
                "the interfaces of tunnels to `{}` and `{}` have the same name",
                first.name, second.name
            );
            error(cluster, &second.place, what, "call this node otherwise");
        },
    );
}

/// Both ends of a tunnel.
fn pair(cluster: &Cluster<'_>, one: &Member<'_>, other: &Member<'_>) {
    let client = match (one.joined.is_some() || other.joined.is_some(), one.role) {
        (true, _) => later(one, other),
        (false, Role::Client | Role::Gateway) => one,
        (false, Role::Server) => other,
    };
    if remote(one, other).is_none() {
        let what = format!(
            "`{}` and `{}` have no family of addresses in common",
            one.name, other.name
        );
        let remedy = format!(
            "give one of them both, as `{} = [\"10.0.0.1\", \"2001:db8:77::1\"]`",
            client.name
        );
        error(cluster, &client.place, what, remedy);
    }
    let own = cluster.pair(one.name, other.name);
    for key in SHARED {
        if own.is_some_and(|own| own.place_of(key).is_some()) {
            continue;
        }
        if let (Some((first, _)), Some((second, place))) = (setting(one, key), setting(other, key))
            && first != second
        {
            error(
                cluster,
                &place,
                format!(
                    "`{}` has `{key} = {first}`, `{}` has {second}, and their tunnel needs one for both",
                    one.name, other.name
                ),
                format!(
                    "write it below [cluster.pairs], as `\"{} {}\" = {{ {key} = {first} }}`",
                    one.name, other.name
                ),
            );
        }
    }
    let says_mtu = own.is_some_and(|own| own.place_of("mtu").is_some());
    if let (Some(_), None) | (None, Some(_)) =
        (underlay_mtu(cluster, one), underlay_mtu(cluster, other))
        && !says_mtu
    {
        let silent = match underlay_mtu(cluster, one) {
            _ if one.joined.is_some() || other.joined.is_some() => later(one, other),
            None => one,
            Some(_) => other,
        };
        let names = list(&[one.name, other.name]);
        error(
            cluster,
            &silent.place,
            format!(
                "of {names} only one says its underlay's `mtu`, so their tunnel's cannot be told"
            ),
            "write `mtu = 1500` below [cluster], with that of all other nodes",
        );
    }
}
