//! Any series of routes, failures and losses against a kernel that obeys its own rules.

use std::net::Ipv6Addr;

use proptest::{collection::vec, prelude::*};

use super::*;

/// What the kernel does with objects, and with the routes that use them.
#[derive(Default)]
struct Kernel {
    objects: BTreeMap<u32, Leads>,
    routes: BTreeMap<Destination, u32>,
}

impl Kernel {
    fn carry_out(&mut self, orders: &[Order]) {
        for order in orders {
            match order {
                Order::AddNexthop(object) => {
                    self.check(object);
                    let before = self.objects.insert(object.id, object.leads.clone());
                    assert_eq!(before, None, "{order:?}");
                }
                Order::TurnNexthop(object) => {
                    self.check(object);
                    let before = self.objects.insert(object.id, object.leads.clone());
                    let same = match (before, &object.leads) {
                        (Some(Leads::To(..)), Leads::To(..)) => true,
                        (Some(Leads::Among(_, was)), Leads::Among(_, is)) => was == *is,
                        _ => false,
                    };
                    assert!(same, "no such object, or of another kind: {order:?}");
                }
                Order::DropNexthop(id) => {
                    let users = self.routes.values().filter(|used| *used == id).count();
                    assert_eq!(users, 0, "routes go with {order:?}");
                    let grouped = self.members().any(|member| member == *id);
                    assert!(!grouped, "a group loses its member by {order:?}");
                    assert!(self.objects.remove(id).is_some(), "{order:?}");
                }
                Order::PutRoute(_) | Order::DropRoute(_) => unreachable!("not here"),
            }
        }
    }

    fn check(&self, object: &NexthopObject) {
        if let Leads::Among(members, _) = &object.leads {
            assert!(!members.is_empty(), "{object:?}");
            for member in members {
                let leads = self.objects.get(member);
                assert!(matches!(leads, Some(Leads::To(..))), "{object:?}");
            }
        }
    }

    fn members(&self) -> impl Iterator<Item = u32> {
        let groups = self.objects.values().filter_map(|leads| match leads {
            Leads::Among(members, _) => Some(members.clone()),
            Leads::To(..) => None,
        });
        groups.flatten()
    }

    /// What goes with an interface, or because somebody removes it.
    fn lose(&mut self, gone: impl Fn(&u32, &Leads) -> bool) {
        self.objects.retain(|id, leads| !gone(id, leads));
        let there: BTreeSet<u32> = self.objects.keys().copied().collect();
        self.objects.retain(|_, leads| match leads {
            Leads::Among(members, _) => {
                members.retain(|member| there.contains(member));
                !members.is_empty()
            }
            Leads::To(..) => true,
        });
        self.routes.retain(|_, id| self.objects.contains_key(id));
    }

    fn found(&self) -> Vec<Found> {
        let ours = |(id, leads): (&u32, &Leads)| {
            Found::Ours(NexthopObject {
                id: *id,
                leads: leads.clone(),
            })
        };
        self.objects.iter().map(ours).collect()
    }

    fn leads(&self, key: &Destination) -> Option<Vec<Nexthop>> {
        let hop = |id: &u32| match self.objects.get(id) {
            Some(Leads::To(hop, _)) => *hop,
            other => panic!("{other:?} is no single object"),
        };
        let id = self.routes.get(key)?;
        Some(match self.objects.get(id)? {
            Leads::To(hop, _) => vec![*hop],
            Leads::Among(members, _) => members.iter().map(hop).collect(),
        })
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Each prefix leads to the hops in its bits, and where the backup is one, by it then.
    Want(Vec<(u8, u8)>),
    Dies(u32),
    InterfaceGoes(u32),
    SomebodyRemoves(usize),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => vec((0_u8..16, 0_u8..5), 6).prop_map(Step::Want),
        4 => (1_u32..5).prop_map(Step::Dies),
        1 => (1_u32..5).prop_map(Step::InterfaceGoes),
        1 => (0_usize..9).prop_map(Step::SomebodyRemoves),
        1 => Just(Step::Restart),
    ]
}

fn hop(number: u32) -> Nexthop {
    let gateway = Ipv6Addr::from(0xfe80_u128 << 112 | u128::from(number));
    Nexthop {
        interface: number,
        gateway: Some(gateway.into()),
    }
}

/// Half of them of IPv4.
fn key(place: usize) -> Destination {
    let place = u8::try_from(place).unwrap();
    match place % 2 {
        0 => ([192, 0, 2, place].into(), 32),
        _ => (Ipv6Addr::from(u128::from(place)).into(), 128),
    }
}

type Wanted = BTreeMap<Destination, (Vec<Nexthop>, Option<Nexthop>)>;

fn wanted(list: &[(u8, u8)]) -> Wanted {
    let one = |(place, (bits, backup)): (usize, &(u8, u8))| {
        let all = (0..4_u32).filter(|bit| bits >> bit & 1 == 1);
        let hops: Vec<Nexthop> = all.map(|bit| hop(bit + 1)).collect();
        let backup = (*backup > 0).then(|| hop(u32::from(*backup)));
        let backup = backup.filter(|it| hops.len() == 1 && !hops.contains(it));
        (!hops.is_empty()).then(|| (key(place), (hops, backup)))
    };
    list.iter().enumerate().filter_map(one).collect()
}

/// As `Routes` does it: objects first, then routes, then what is left over goes.
fn apply(objects: &mut Objects, kernel: &mut Kernel, wanted: &Wanted) {
    objects.forget(|key| wanted.contains_key(key));
    let class = |(key, (hops, backup)): (&Destination, &(Vec<Nexthop>, _))| {
        (*key, objects.class(*key, hops, *backup))
    };
    let classes: BTreeMap<Destination, Class> = wanted.iter().map(class).collect();
    let installed = kernel.routes.clone();
    let installed = installed.into_iter();
    let installed = installed.filter(|(key, _)| wanted.contains_key(key));
    kernel.carry_out(&objects.plan(&classes, &installed.collect()));
    for (key, class) in &classes {
        let id = objects.of(class).expect("numbers do not run out");
        kernel.routes.insert(*key, id);
    }
    kernel.routes.retain(|key, _| wanted.contains_key(key));
    let used = kernel.routes.values().copied().collect();
    kernel.carry_out(&objects.sweep(&classes.values().collect(), &used));
    for (key, (hops, _)) in wanted {
        assert_eq!(kernel.leads(key).as_ref(), Some(hops), "{key:?}");
    }
    let (mut needed, members) = (used.clone(), kernel.members());
    needed.extend(members);
    let there: BTreeSet<u32> = kernel.objects.keys().copied().collect();
    assert_eq!(there, needed, "what nobody uses is left");
}

proptest! {
    #[test]
    fn routes_lead_where_they_shall_and_nothing_is_left_over(steps in vec(step(), 1..40)) {
        let mut kernel = Kernel::default();
        let spread = Spread::Resilient(120);
        let mut objects = Objects::new(254, 20, spread);
        let mut now = Wanted::new();
        for step in steps {
            match step {
                Step::Want(list) => now = wanted(&list),
                Step::Dies(number) => {
                    let dead = hop(number);
                    kernel.carry_out(&objects.route_around(|hop| *hop == dead));
                    for (key, (hops, backup)) in &now {
                        let others: Vec<_> = hops.iter().filter(|hop| **hop != dead).collect();
                        let leads = kernel.leads(key);
                        let leads = leads.as_deref();
                        match (others.as_slice(), backup) {
                            ([], None) => prop_assert_eq!(leads, Some(&[dead][..])),
                            ([], Some(backup)) => prop_assert_eq!(leads, Some(&[*backup][..])),
                            (others, _) => {
                                let leads: Vec<_> = leads.into_iter().flatten().collect();
                                prop_assert_eq!(&leads, others);
                            }
                        }
                    }
                }
                Step::InterfaceGoes(number) => {
                    let dead = hop(number);
                    kernel.lose(|_, leads| matches!(leads, Leads::To(hop, _) if *hop == dead));
                    objects.read(&kernel.found());
                }
                Step::SomebodyRemoves(place) => {
                    let id = kernel.objects.keys().nth(place).copied();
                    kernel.lose(|found, _| Some(*found) == id);
                    objects.read(&kernel.found());
                }
                Step::Restart => {
                    objects = Objects::new(254, 20, spread);
                    objects.read(&kernel.found());
                }
            }
            apply(&mut objects, &mut kernel, &now);
        }
        apply(&mut objects, &mut kernel, &Wanted::new());
        prop_assert!(kernel.objects.is_empty());
    }
}
