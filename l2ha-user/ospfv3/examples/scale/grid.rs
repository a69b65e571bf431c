//! A network that exists as LSAs only: a grid of routers, between two real ones.

use std::net::{Ipv4Addr, Ipv6Addr};

use ospfv3::Prefix;
use ospfv3::wire::{
    INITIAL_SEQUENCE, IntraAreaPrefix, LinkKind, Lsa, LsaBody, LsaKey, LsaType, Options,
    PrefixEntry, PrefixOptions, Router, RouterBits, RouterLink,
};

use crate::net::router_id;

/// Columns of the grid.
const WIDTH: u32 = 32;
/// Interface ID of the first grid router's link to a real router.
const TO_REAL: u32 = 9;
/// Where the links of the grid and those of the real routers meet.
const GRID_SIDE: u32 = 99;

pub(crate) struct Grid {
    pub(crate) routers: u32,
    prefixes: u32,
}

/// Router IDs of the grid: 10.1.0.0 and on.
fn id(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a01_0000 + number)
}

fn link(cost: u16, interface_id: u32, neighbor_interface_id: u32, to: Ipv4Addr) -> RouterLink {
    RouterLink {
        kind: LinkKind::PointToPoint,
        metric: cost,
        interface_id,
        neighbor_interface_id,
        neighbor_router_id: to,
    }
}

fn router(adv: Ipv4Addr, sequence: i32, links: Vec<RouterLink>) -> Lsa {
    let key = LsaKey {
        ty: LsaType::ROUTER,
        id: 0,
        adv,
    };
    let body = Router {
        bits: RouterBits::default(),
        options: Options::V6.union(Options::R).union(Options::E),
        links,
    };
    Lsa::build(key, sequence, &LsaBody::Router(body)).expect("a Router-LSA of a few links")
}

impl Grid {
    /// `prefixes` for each router.
    pub(crate) fn new(routers: u32, prefixes: u32) -> Self {
        Self { routers, prefixes }
    }

    /// Instance `run` of the Router-LSA of a grid router: the costs of its links change with `run`.
    pub(crate) fn router_lsa(&self, number: u32, run: i32) -> Lsa {
        let cost = 10 + u16::try_from(run.rem_euclid(7)).unwrap_or(0);
        // Interface IDs 1 to 4: east, west, south, north.
        let mut links = Vec::new();
        let mut join = |to: Option<u32>, ours: u32, theirs: u32| {
            if let Some(to) = to.filter(|to| *to < self.routers) {
                links.push(link(cost, ours, theirs, id(to)));
            }
        };
        let row_ends = number % WIDTH == WIDTH - 1;
        join((!row_ends).then_some(number + 1), 1, 2);
        join((!number.is_multiple_of(WIDTH)).then(|| number - 1), 2, 1);
        join(Some(number + WIDTH), 3, 4);
        join(number.checked_sub(WIDTH), 4, 3);
        for (node, beside) in self.doors() {
            if beside == number {
                links.push(link(cost, TO_REAL, GRID_SIDE, router_id(node)));
            }
        }
        router(id(number), INITIAL_SEQUENCE + run, links)
    }

    /// Real routers, and the grid routers beside them.
    fn doors(&self) -> [(usize, u32); 2] {
        [(1, 0), (2, self.routers - 1)]
    }

    /// The Router-LSAs of the real routers 1 and 2, with a link into the grid beside that to
    /// router 0.
    pub(crate) fn doors_lsas(&self, sequence: i32) -> Vec<Lsa> {
        self.doors()
            .into_iter()
            .map(|(node, beside)| {
                let [ours, theirs] = crate::ends(node);
                let real = link(10, theirs, ours, router_id(0));
                let grid = link(10, GRID_SIDE, TO_REAL, id(beside));
                router(router_id(node), sequence, vec![real, grid])
            })
            .collect()
    }

    /// Instance `run` of the prefixes of a grid router; every other one has one less.
    pub(crate) fn prefixes_of(&self, number: u32, run: i32) -> Lsa {
        let key = LsaKey {
            ty: LsaType::INTRA_AREA_PREFIX,
            id: 0,
            adv: id(number),
        };
        let missing = u32::from(run.rem_euclid(2) == 1);
        let prefixes = (0..self.prefixes - missing)
            .map(|index| {
                let bits =
                    0x2001_0db8u128 << 96 | u128::from(number) << 32 | u128::from(index) << 16;
                PrefixEntry {
                    prefix: Prefix::new(Ipv6Addr::from_bits(bits), 112)
                        .expect("a length below 128"),
                    options: PrefixOptions::default(),
                    metric: 1,
                }
            })
            .collect();
        let body = IntraAreaPrefix {
            referenced_type: LsaType::ROUTER,
            referenced_id: 0,
            referenced_router: id(number),
            prefixes,
        };
        Lsa::build(key, INITIAL_SEQUENCE + run, &LsaBody::IntraAreaPrefix(body))
            .expect("an LSA of a few prefixes")
    }

    /// All of it.
    pub(crate) fn lsas(&self) -> Vec<Lsa> {
        (0..self.routers)
            .flat_map(|number| [self.router_lsa(number, 0), self.prefixes_of(number, 0)])
            .collect()
    }
}
