//! What must be true of a network that has been left in peace.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ospfv3::wire::{LsaBody, LsaType, MAX_AGE};
use ospfv3::{BACKBONE, DbId, Nexthop, Prefix, Speaker};

use crate::net::{End, Net, hop, router_id};

/// Distances over the links as they are. Networks come after the nodes.
struct Truth {
    edges: Vec<Vec<(usize, u32)>>,
    /// Whose a next hop is.
    owners: BTreeMap<IpAddr, usize>,
    /// Who forwards nothing.
    hosts: BTreeSet<usize>,
}

/// What is wrong, if anything.
pub(super) fn check(net: &Net) -> Result<(), String> {
    let truth = Truth::new(net);
    let count = net.nodes.len();
    let running = |node: &usize| net.nodes[*node].is_some();
    let distances: Vec<Vec<Option<u32>>> = (0..count).map(|node| truth.distances(node)).collect();
    let mut checked = BTreeSet::new();
    for node in (0..count).filter(running) {
        let together: Vec<usize> = (0..count)
            .filter(|other| distances[node][*other].is_some() && running(other))
            .collect();
        if checked.insert(together.clone()) {
            same_databases(net, &together)?;
        }
        quiet(net, node)?;
        routes(net, &truth, &distances, node)?;
    }
    Ok(())
}

impl Truth {
    fn new(net: &Net) -> Self {
        let count = net.nodes.len();
        let mut truth = Self {
            edges: vec![Vec::new(); count + net.lans.len()],
            owners: BTreeMap::new(),
            hosts: net.hosts.clone(),
        };
        let running = |end: &&End| net.nodes[end.node].is_some();
        for link in &net.links {
            let [a, b] = link.ends;
            if link.cut || !running(&&a) || !running(&&b) {
                continue;
            }
            truth.edges[a.node].push((b.node, u32::from(link.cost)));
            truth.edges[b.node].push((a.node, u32::from(link.cost)));
            truth.owners.insert(hop(a), a.node);
            truth.owners.insert(hop(b), b.node);
        }
        for (number, lan) in net.lans.iter().enumerate() {
            for end in lan.ends.iter().filter(running) {
                if lan.cut.contains(&end.node) {
                    continue;
                }
                truth.edges[end.node].push((count + number, 10));
                truth.edges[count + number].push((end.node, 0));
                truth.owners.insert(hop(*end), end.node);
                let numbered = net.lan_ipv4(*end).map(|addr| (IpAddr::V4(addr), end.node));
                truth.owners.extend(numbered);
            }
        }
        truth
    }

    fn distances(&self, from: usize) -> Vec<Option<u32>> {
        let mut found = vec![None; self.edges.len()];
        let mut queue = BTreeSet::from([(0, from)]);
        while let Some((cost, vertex)) = queue.pop_first() {
            if found[vertex].is_some() {
                continue;
            }
            found[vertex] = Some(cost);
            if vertex != from && self.hosts.contains(&vertex) {
                continue;
            }
            queue.extend(
                self.edges[vertex]
                    .iter()
                    .map(|(to, more)| (cost + more, *to)),
            );
        }
        found
    }
}

/// All who can reach each other say the same, and nothing in it is dead.
fn same_databases(net: &Net, together: &[usize]) -> Result<(), String> {
    type Contents = BTreeMap<(LsaType, Ipv4Addr, Ipv4Addr), (u32, LsaBody)>;
    let contents = |node: usize| -> Contents {
        let lsas = net.node(node).database().lsas.into_iter();
        lsas.filter(|lsa| lsa.scope == DbId::Area(BACKBONE))
            .map(|lsa| {
                let key = (lsa.ty, lsa.link_state_id, lsa.advertising_router);
                (key, (lsa.sequence, lsa.body))
            })
            .collect()
    };
    let first = contents(together[0]);
    for node in &together[1..] {
        let other = contents(*node);
        if other == first {
            continue;
        }
        let differs = |(key, value): &(&_, &_)| first.get(*key) != Some(*value);
        let here = other.iter().find(differs);
        let there = first.iter().find(|(key, _)| !other.contains_key(*key));
        return Err(format!(
            "databases of {} and {node} differ: {here:?}, {there:?}",
            together[0]
        ));
    }
    Ok(())
}

/// The LSAs that are dead and have not gone yet, and who has them.
pub(super) fn dead(net: &Net) -> BTreeSet<(usize, String)> {
    let running = (0..net.nodes.len()).filter(|node| net.nodes[*node].is_some());
    let of_node = |node| {
        let lsas = net.node(node).database().lsas.into_iter();
        let dead = lsas.filter(|lsa| lsa.age >= MAX_AGE);
        dead.map(move |lsa| (node, format!("{lsa:?}")))
    };
    running.flat_map(of_node).collect()
}

/// Nothing is left to say, and nothing piles up.
fn quiet(net: &Net, node: usize) -> Result<(), String> {
    let speaker: &Speaker = net.node(node);
    if let Some(neighbor) = speaker
        .neighbors()
        .iter()
        .find(|n| n.unacknowledged > 0 || n.requested > 0)
    {
        return Err(format!("{node} waits for {neighbor:?}"));
    }
    let lsas = speaker.database().lsas;
    // A Router-LSA each, own prefix and anycast, and per Ethernet end a Network-LSA with prefixes
    // and a Link-LSA in each of its databases.
    let ends: usize = net.lans.iter().map(|lan| lan.ends.len()).sum();
    let mine = net
        .links
        .iter()
        .filter(|l| l.ends.iter().any(|e| e.node == node));
    let most = 4 * net.nodes.len() + 3 * ends + 2 * mine.count() + 8;
    if lsas.len() > most {
        return Err(format!("{node} has {} LSAs, more than {most}", lsas.len()));
    }
    Ok(())
}

/// The routes are the shortest ways that there are: to all who run, to nobody else; each step comes
/// nearer, so that no packet goes in circles.
fn routes(
    net: &Net,
    truth: &Truth,
    distances: &[Vec<Option<u32>>],
    node: usize,
) -> Result<(), String> {
    let table = net.node(node).routes();
    let count = net.nodes.len();
    let mut holders: BTreeMap<Prefix, Vec<usize>> = BTreeMap::new();
    for (other, speaker) in net.nodes.iter().enumerate() {
        let Some(speaker) = speaker else { continue };
        holders.entry(net.own(other)).or_default().push(other);
        let interfaces = speaker.interfaces();
        let mut prefixes = interfaces.iter().flat_map(|interface| &interface.prefixes);
        if prefixes.any(|stub| stub.prefix == net.anycast()) {
            holders.entry(net.anycast()).or_default().push(other);
        }
    }
    for other in (0..count).filter(|other| net.nodes[*other].is_none()) {
        if let Some(route) = table.get(&net.own(other)) {
            return Err(format!(
                "{node} has a route to {other}, which is dead: {route:?}"
            ));
        }
    }
    for (prefix, holders) in holders {
        if holders.contains(&node) {
            continue;
        }
        let nearest = |from: usize| holders.iter().filter_map(|to| distances[from][*to]).min();
        let wanted = nearest(node);
        let route = table.get(&prefix);
        if route.map(|route| route.metric) != wanted {
            return Err(format!(
                "{node} to {prefix} of {holders:?}: {route:?} instead of {wanted:?}"
            ));
        }
        let Some(route) = route else { continue };
        for Nexthop { address, .. } in &route.nexthops {
            let owner = address.and_then(|address| truth.owners.get(&address));
            let Some(owner) = owner else {
                return Err(format!("{node} to {prefix} by nobody: {route:?}"));
            };
            if nearest(*owner) >= wanted {
                return Err(format!("{node} to {prefix} by {owner} comes no nearer"));
            }
        }
        let bad = route.routers.iter().find(|id| {
            let id = **id;
            !holders.iter().any(|holder| router_id(*holder) == id)
        });
        if let Some(bad) = bad {
            return Err(format!("{node} to {prefix}: {bad} does not have it"));
        }
    }
    Ok(())
}
