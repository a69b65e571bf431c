//! Which nexthop objects there are: one for all routes that lead the same way and have the same way
//! around it, so that few messages move any number of routes off a neighbour that is lost.
//!
//! An object is never replaced by another where it can be turned: its routes stay as they are, and a
//! resilient group keeps the flows of the members that stay.

use std::collections::{BTreeMap, BTreeSet};

use linux::{Destination, Found, Leads, Nexthop, NexthopObject, Order, Spread};

/// Routes with several next hops that have a group of their own each: when one of them alone loses a
/// member, the flows of the others shall not be spread again. Further ones share groups.
const OWN_GROUPS: usize = 64;
/// Objects of one routing table.
const RANGE: u32 = 1 << 16;
/// Where the numbers of all tables begin; routing daemons and the kernel count from 1.
const FIRST: u32 = 0x6000_0000;

/// What routes have in common that share an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Class {
    /// Whether they are routes of IPv4.
    pub(crate) ipv4: bool,
    /// The only one there may be.
    pub(crate) own: Option<Destination>,
    /// The next hops, sorted.
    pub(crate) hops: Vec<Nexthop>,
    /// Where to go when the only one is lost.
    pub(crate) backup: Option<Nexthop>,
}

/// An object that routes use.
#[derive(Clone, Debug)]
struct Object {
    /// Nothing of one that an earlier daemon left, until routes claim it.
    class: Option<Class>,
    ipv4: bool,
    /// How flows are spread over its members, if it is a group: the kernel takes no other for it.
    group: Option<Spread>,
    /// Where it leads in the kernel, sorted.
    now: Vec<Nexthop>,
    /// Whether the kernel has it.
    there: bool,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Objects {
    base: u32,
    spread: Spread,
    objects: BTreeMap<u32, Object>,
    by_class: BTreeMap<Class, u32>,
    /// Objects that groups consist of; the flag says that they are for routes of IPv4.
    members: BTreeMap<(bool, Nexthop), u32>,
    /// Numbers in our range that others have taken.
    foreign: BTreeSet<u32>,
    /// Routes with groups of their own.
    own: BTreeSet<Destination>,
}

/// The first number of the objects for a table and priority: the same in every run of the daemon.
fn base(table: u32, priority: u32) -> u32 {
    let mixed = table.wrapping_mul(0x9e37_79b1) ^ priority.wrapping_mul(0x85eb_ca77);
    FIRST + (mixed >> 20) * RANGE
}

impl Objects {
    pub(crate) fn new(table: u32, priority: u32, spread: Spread) -> Self {
        Self {
            base: base(table, priority),
            spread,
            objects: BTreeMap::new(),
            by_class: BTreeMap::new(),
            members: BTreeMap::new(),
            foreign: BTreeSet::new(),
            own: BTreeSet::new(),
        }
    }

    /// Whether the objects of another table and priority would have the same numbers.
    pub(crate) fn has_numbers_of(&self, table: u32, priority: u32) -> bool {
        self.base == base(table, priority)
    }

    /// Whether a number is one of ours.
    pub(crate) fn is_ours(&self, id: u32) -> bool {
        (self.base..self.base + RANGE).contains(&id)
    }

    /// Takes over how the kernel has it.
    pub(crate) fn read(&mut self, found: &[Found]) {
        let mut hops: BTreeMap<u32, (bool, Nexthop)> = BTreeMap::new();
        let mut groups: BTreeMap<u32, (&[u32], Spread)> = BTreeMap::new();
        self.foreign.clear();
        for found in found {
            match found {
                Found::Foreign(id) => {
                    self.foreign.insert(*id);
                }
                Found::Ours(object) if self.is_ours(object.id) => match &object.leads {
                    Leads::To(hop, ipv4) => {
                        // An IPv6 gateway does not say for which family it is.
                        let known = self.members.iter().find(|(_, id)| **id == object.id);
                        let known = known.map(|((ipv4, _), _)| *ipv4);
                        hops.insert(object.id, (known.unwrap_or(*ipv4), *hop));
                    }
                    Leads::Among(members, spread) => {
                        groups.insert(object.id, (members, *spread));
                    }
                },
                Found::Ours(_) => {}
            }
        }
        let was: BTreeSet<u32> = self.members.values().copied().collect();
        let grouped: BTreeSet<u32> = groups.values().flat_map(|it| it.0).copied().collect();
        self.members.clear();
        for (id, key) in &hops {
            if grouped.contains(id) || was.contains(id) {
                self.members.insert(*key, *id);
            }
        }
        for object in self.objects.values_mut() {
            object.there = false;
        }
        for (id, (ipv4, hop)) in &hops {
            if !grouped.contains(id) && !was.contains(id) {
                self.found(*id, *ipv4, None, vec![*hop]);
            }
        }
        for (id, (members, spread)) in groups {
            let members = members.iter().filter_map(|id| hops.get(id));
            let (ipv4, mut now): (Vec<bool>, Vec<Nexthop>) = members.copied().unzip();
            now.sort_unstable();
            self.found(id, ipv4.first() == Some(&true), Some(spread), now);
        }
        let gone: Vec<u32> = self
            .objects
            .iter()
            .filter(|(_, object)| !object.there && object.class.is_none())
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            self.objects.remove(&id);
        }
    }

    fn found(&mut self, id: u32, ipv4: bool, group: Option<Spread>, now: Vec<Nexthop>) {
        let object = self.objects.entry(id).or_insert(Object {
            class: None,
            ipv4,
            group,
            now: Vec::new(),
            there: true,
        });
        object.group = group;
        object.now = now;
        object.there = true;
    }

    /// The class of a route.
    pub(crate) fn class(
        &mut self,
        key: Destination,
        hops: &[Nexthop],
        backup: Option<Nexthop>,
    ) -> Class {
        if hops.len() > 1 && self.own.len() < OWN_GROUPS {
            self.own.insert(key);
        }
        Class {
            ipv4: key.0.is_ipv4(),
            own: self.own.contains(&key).then_some(key),
            hops: hops.to_vec(),
            backup,
        }
    }

    /// Forgets routes that are not wanted any more.
    pub(crate) fn forget(&mut self, wanted: impl Fn(&Destination) -> bool) {
        self.own.retain(wanted);
    }

    /// Finds an object for each class and says what is to be done for that. `installed` are the objects
    /// that the routes use now; of routes that are not in `wanted`, too.
    pub(crate) fn plan(
        &mut self,
        wanted: &BTreeMap<Destination, Class>,
        installed: &BTreeMap<Destination, u32>,
    ) -> Vec<Order> {
        let mut users: BTreeMap<u32, BTreeSet<Option<&Class>>> = BTreeMap::new();
        for (key, id) in installed {
            users.entry(*id).or_default().insert(wanted.get(key));
        }
        let classes: BTreeSet<&Class> = wanted.values().collect();
        let mut sources: BTreeMap<&Class, BTreeSet<u32>> = BTreeMap::new();
        for (id, users) in &users {
            for class in users.iter().flatten() {
                sources.entry(class).or_default().insert(*id);
            }
        }
        let mut orders = Vec::new();
        for class in &classes {
            if !self.by_class.contains_key(class) {
                let mut candidates = sources.get(class).into_iter().flatten().copied();
                let found = candidates.find(|id| {
                    let alone = users.get(id).is_some_and(|users| users.len() == 1);
                    self.can_become(*id, class, &classes, alone)
                });
                let id = match found {
                    Some(id) => id,
                    None => match self.free(class) {
                        Some(id) => id,
                        // The routes of this class go without an object.
                        None => continue,
                    },
                };
                self.claim(id, class);
            }
            let id = self.by_class.get(class).copied();
            orders.extend(id.into_iter().flat_map(|id| self.lead(id, &class.hops)));
        }
        orders
    }

    /// Whether an object that routes of a class use can be the object of that class.
    fn can_become(&self, id: u32, class: &Class, wanted: &BTreeSet<&Class>, alone: bool) -> bool {
        let Some(object) = self.objects.get(&id) else {
            return false;
        };
        let free = object.class.as_ref().is_none_or(|of| !wanted.contains(of));
        let shape = match object.group {
            Some(spread) => spread == self.spread,
            None => class.hops.len() == 1,
        };
        let same = object.now == class.hops;
        object.there && free && shape && (alone || same)
    }

    fn claim(&mut self, id: u32, class: &Class) {
        if let Some(object) = self.objects.get_mut(&id) {
            if let Some(old) = object.class.replace(class.clone()) {
                self.by_class.remove(&old);
            }
            object.ipv4 = class.ipv4;
            self.by_class.insert(class.clone(), id);
        }
    }

    /// A new object for a class.
    fn free(&mut self, class: &Class) -> Option<u32> {
        let id = self.number()?;
        let object = Object {
            class: None,
            ipv4: class.ipv4,
            group: (class.hops.len() > 1).then_some(self.spread),
            now: Vec::new(),
            there: false,
        };
        self.objects.insert(id, object);
        Some(id)
    }

    fn number(&self) -> Option<u32> {
        let members: BTreeSet<u32> = self.members.values().copied().collect();
        (self.base..self.base + RANGE).find(|id| {
            !self.objects.contains_key(id) && !members.contains(id) && !self.foreign.contains(id)
        })
    }

    /// Has an object lead somewhere.
    fn lead(&mut self, id: u32, hops: &[Nexthop]) -> Vec<Order> {
        let Some(object) = self.objects.get(&id) else {
            return Vec::new();
        };
        if object.there && object.now == hops {
            return Vec::new();
        }
        let (ipv4, group, there) = (object.ipv4, object.group, object.there);
        let mut orders = Vec::new();
        let leads = if let Some(spread) = group {
            let mut members = Vec::new();
            for hop in hops {
                let Some(member) = self.member(ipv4, *hop, &mut orders) else {
                    return orders;
                };
                members.push(member);
            }
            Leads::Among(members, spread)
        } else {
            let Some(hop) = hops.first() else {
                return orders;
            };
            Leads::To(*hop, ipv4)
        };
        let order = NexthopObject { id, leads };
        orders.push(if there {
            Order::TurnNexthop(order)
        } else {
            Order::AddNexthop(order)
        });
        if let Some(object) = self.objects.get_mut(&id) {
            object.there = true;
            object.now = hops.to_vec();
        }
        orders
    }

    fn member(&mut self, ipv4: bool, hop: Nexthop, orders: &mut Vec<Order>) -> Option<u32> {
        if let Some(id) = self.members.get(&(ipv4, hop)) {
            return Some(*id);
        }
        let id = self.number()?;
        self.members.insert((ipv4, hop), id);
        orders.push(Order::AddNexthop(NexthopObject {
            id,
            leads: Leads::To(hop, ipv4),
        }));
        Some(id)
    }

    /// A neighbour is lost: has every object that leads to it lead to its other members, or where
    /// the routes would go instead.
    pub(crate) fn route_around(&mut self, is_dead: impl Fn(&Nexthop) -> bool) -> Vec<Order> {
        let hit: Vec<(u32, Vec<Nexthop>)> = self
            .objects
            .iter()
            .filter(|(_, object)| object.there && object.now.iter().any(&is_dead))
            .filter_map(|(id, object)| {
                let others = object.now.iter().filter(|hop| !is_dead(hop));
                let mut others: Vec<Nexthop> = others.copied().collect();
                if others.is_empty() {
                    let backup = object.class.as_ref()?.backup?;
                    others = (!is_dead(&backup)).then_some(vec![backup])?;
                }
                Some((*id, others))
            })
            .collect();
        hit.into_iter()
            .flat_map(|(id, hops)| self.lead(id, &hops))
            .collect()
    }

    /// The object of a class.
    pub(crate) fn of(&self, class: &Class) -> Option<u32> {
        let id = *self.by_class.get(class)?;
        self.objects.get(&id)?.there.then_some(id)
    }

    /// What no route uses is removed; `used` says which objects routes of the kernel use.
    pub(crate) fn sweep(&mut self, wanted: &BTreeSet<&Class>, used: &BTreeSet<u32>) -> Vec<Order> {
        let idle: Vec<u32> = self
            .objects
            .iter()
            .filter(|(id, object)| {
                let wanted = object.class.as_ref().is_some_and(|of| wanted.contains(of));
                !wanted && !used.contains(id)
            })
            .map(|(id, _)| *id)
            .collect();
        let mut orders = Vec::new();
        for id in idle {
            let object = self.objects.remove(&id);
            if let Some(class) = object.as_ref().and_then(|object| object.class.as_ref()) {
                self.by_class.remove(class);
            }
            if object.is_some_and(|object| object.there) {
                orders.push(Order::DropNexthop(id));
            }
        }
        let groups = self
            .objects
            .values()
            .filter(|object| object.group.is_some());
        let needed: BTreeSet<(bool, Nexthop)> = groups
            .flat_map(|object| object.now.iter().map(|hop| (object.ipv4, *hop)))
            .collect();
        self.members.retain(|key, id| {
            let keep = needed.contains(key);
            if !keep {
                orders.push(Order::DropNexthop(*id));
            }
            keep
        });
        orders
    }

    /// How many objects routes use, and how many of them are groups.
    pub(crate) fn count(&self) -> (usize, usize) {
        let there = self.objects.values().filter(|object| object.there);
        let groups = there.clone().filter(|object| object.group.is_some());
        (there.count(), groups.count())
    }

    /// How flows are spread over the members of new groups.
    pub(crate) fn spread(&self) -> Spread {
        self.spread
    }
}

/// Removes what an earlier daemon left for this table and priority.
pub(crate) fn leftovers(table: u32, priority: u32, found: &[Found]) -> Vec<Order> {
    let mut objects = Objects::new(table, priority, Spread::Hash);
    objects.read(found);
    objects.sweep(&BTreeSet::new(), &BTreeSet::new())
}

#[cfg(test)]
mod tests;
