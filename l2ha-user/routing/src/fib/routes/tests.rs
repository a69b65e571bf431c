//! On the kernel of this machine, in a network namespace of the test's own.

use std::{net::IpAddr, process::Command};

use nix::sched::{CloneFlags, unshare};

use super::*;
use crate::kernel::Rtnetlink;

const TABLE: u32 = 254;
const PRIORITY: u32 = 20;
const LONG: Duration = Duration::from_secs(100);

/// Runs in a thread with a network namespace of its own: `d1` to `d4` are up.
fn apart<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        for number in 1..=4 {
            ip(&format!(
                "link add name d{number} type veth peer name e{number}"
            ));
            for end in ["d", "e"] {
                ip(&format!("link set dev {end}{number} up"));
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(test());
    });
    thread.join().unwrap();
}

fn ip(arguments: &str) -> String {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

async fn routes() -> Routes {
    let kernel = Box::new(Rtnetlink::open().unwrap());
    let adopted = Routes::adopt(kernel, (TABLE, PRIORITY), LONG).await;
    adopted.unwrap()
}

/// As the kernel without nexthop objects is treated.
async fn plain_routes() -> Routes {
    let mut routes = routes().await;
    routes.objects = None;
    routes
}

fn hop(number: u32) -> Nexthop {
    Nexthop {
        interface: index(number),
        gateway: Some(format!("fe80::{number}").parse().unwrap()),
    }
}

fn index(number: u32) -> u32 {
    nix::net::if_::if_nametoindex(format!("d{number}").as_str()).unwrap()
}

fn key(number: u32) -> Destination {
    let bits = 0x2001_0db8_u128 << 96 | u128::from(number);
    (IpAddr::V6(bits.into()), 128)
}

/// Hops by number.
fn via(hops: &[u32]) -> Vec<Nexthop> {
    let mut hops: Vec<Nexthop> = hops.iter().map(|number| hop(*number)).collect();
    hops.sort_unstable();
    hops
}

async fn set(routes: &mut Routes, wanted: &[(u32, &[u32])]) {
    let wanted = wanted
        .iter()
        .map(|(number, hops)| (key(*number), via(hops)));
    apply(routes, wanted).await;
}

/// Prefix, its primary next hop, and the one instead of it.
async fn protect(routes: &mut Routes, backups: &[(u32, u32, u32)]) {
    let backups = backups
        .iter()
        .map(|(number, primary, backup)| ((key(*number), index(*primary)), hop(*backup)));
    routes.protect(backups.collect()).await;
}

fn fail(routes: &mut Routes, number: u32) {
    let dead = hop(number);
    routes.route_around(|hop| *hop == dead);
}

/// Where the kernel's route leads, and the object it uses.
fn leads(number: u32) -> (Vec<u32>, Option<u64>) {
    let text = ip(&format!("-6 -j route show {} table {TABLE}", key(number).0));
    let found: serde_json::Value = serde_json::from_str(&text).unwrap();
    let Some(route) = found.get(0) else {
        return (Vec::new(), None);
    };
    let number = |device: &serde_json::Value| device.as_str()?.strip_prefix('d')?.parse().ok();
    let mut hops: Vec<u32> = match route["nexthops"].as_array() {
        Some(hops) => hops.iter().filter_map(|hop| number(&hop["dev"])).collect(),
        None => number(&route["dev"]).into_iter().collect(),
    };
    hops.sort_unstable();
    (hops, route["nhid"].as_u64())
}

/// Our objects.
fn objects() -> usize {
    let text = ip("-j nexthop");
    let found: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let ours = |it: &&serde_json::Value| it["id"].as_u64().is_some_and(|id| id >= 0x6000_0000);
    found
        .as_array()
        .map_or(0, |all| all.iter().filter(ours).count())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn one_failure_after_the_other_moves_all_routes_before_any_is_written() {
    apart(|| async {
        let mut routes = routes().await;
        let all: [(u32, &[u32]); 3] = [(1, &[1]), (2, &[1]), (3, &[1])];
        set(&mut routes, &all).await;
        protect(&mut routes, &[(1, 1, 2), (2, 1, 2), (3, 1, 3)]).await;
        let before = [1, 2, 3].map(leads);
        assert_eq!(before.clone().map(|it| it.0), [[1], [1], [1]]);
        assert_eq!(before[0].1, before[1].1, "they share an object");
        let written = routes.counts().written;

        fail(&mut routes, 1);
        let after = [1, 2, 3].map(leads);
        assert_eq!(after.clone().map(|it| it.0), [[2], [2], [3]]);
        // The calculation says the same.
        set(&mut routes, &[(1, &[2]), (2, &[2]), (3, &[3])]).await;
        protect(&mut routes, &[(1, 2, 3), (2, 2, 3), (3, 3, 4)]).await;
        assert_eq!([1, 2, 3].map(leads), after);
        fail(&mut routes, 2);
        assert_eq!([1, 2, 3].map(|it| leads(it).0), [[3], [3], [3]]);
        set(&mut routes, &[(1, &[3]), (2, &[3]), (3, &[3])]).await;
        protect(&mut routes, &[(1, 3, 4), (2, 3, 4), (3, 3, 4)]).await;
        fail(&mut routes, 3);
        assert_eq!([1, 2, 3].map(|it| leads(it).0), [[4], [4], [4]]);
        set(&mut routes, &[(1, &[4]), (2, &[4]), (3, &[4])]).await;
        assert!(
            routes.counts().written <= written + 3,
            "hardly any was written"
        );
        assert_eq!(routes.counts().switches, 3);

        set(&mut routes, &[]).await;
        assert_eq!((leads(1), objects()), ((vec![], None), 0));
    });
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_group_loses_its_dead_member_and_gets_it_back_in_place() {
    apart(|| async {
        let mut routes = routes().await;
        set(&mut routes, &[(1, &[1, 2, 3]), (2, &[1, 2, 3])]).await;
        let (hops, group) = leads(1);
        assert_eq!(hops, [1, 2, 3]);
        assert_ne!(leads(2).1, group, "a group each");
        fail(&mut routes, 2);
        assert_eq!(leads(1), (vec![1, 3], group));
        set(&mut routes, &[(1, &[1, 3]), (2, &[1, 3])]).await;
        fail(&mut routes, 1);
        assert_eq!(leads(1), (vec![3], group));
        set(&mut routes, &[(1, &[3]), (2, &[3])]).await;
        assert_eq!(leads(1), (vec![3], group), "still the group");
        set(&mut routes, &[(1, &[1, 2, 3]), (2, &[1, 3])]).await;
        assert_eq!(leads(1), (vec![1, 2, 3], group));
        assert_eq!(leads(2).0, [1, 3]);
        assert!(ip("nexthop").contains("type resilient buckets 256 idle_timer 120"));
        routes.remove_all().await;
        assert_eq!(objects(), 0);
    });
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_second_life_takes_over_what_fits_and_leaves_what_is_foreign() {
    apart(|| async {
        ip("nexthop add id 7 via fe80::9 dev d4");
        {
            let mut routes = routes().await;
            set(
                &mut routes,
                &[(1, &[1, 2]), (2, &[1]), (3, &[3]), (4, &[4])],
            )
            .await;
        }
        let before = [1, 2, 3].map(leads);
        let mut routes = routes().await;
        assert!(routes.keep_until().is_some());
        set(&mut routes, &[(1, &[1, 2]), (2, &[1])]).await;
        protect(&mut routes, &[(2, 1, 4)]).await;
        assert_eq!(
            [1, 2, 3].map(leads),
            before,
            "the third is kept for a while"
        );
        assert_eq!(routes.counts().written, 0);
        routes.stop_keeping().await;
        assert_eq!([leads(3), leads(4)], [(vec![], None), (vec![], None)]);
        fail(&mut routes, 1);
        assert_eq!(leads(1).0, [2]);
        assert_eq!(leads(2).0, [4]);
        routes.remove_all().await;
        assert_eq!(objects(), 0);
        assert!(ip("nexthop").contains("id 7 via fe80::9"));
    });
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn what_the_kernel_or_somebody_else_takes_away_comes_back() {
    apart(|| async {
        let mut routes = routes().await;
        let wanted: [(u32, &[u32]); 2] = [(1, &[1, 2]), (2, &[1])];
        set(&mut routes, &wanted).await;
        // With its interface the objects go, and with them the routes.
        ip("link set dev d1 down");
        ip("link set dev d1 up");
        routes.check().await;
        assert_eq!([leads(1).0, leads(2).0], [vec![1, 2], vec![1]]);
        let group = leads(1).1.unwrap();
        ip(&format!("nexthop del id {group}"));
        routes.check().await;
        assert_eq!(leads(1).0, [1, 2]);
        ip("nexthop flush proto 188");
        // Not even looked at: the calculation comes first.
        set(&mut routes, &[(1, &[1, 2]), (2, &[2])]).await;
        assert_eq!([leads(1).0, leads(2).0], [vec![1, 2], vec![2]]);
        // Routes of a version without objects.
        ip("nexthop flush proto 188");
        ip(&format!(
            "-6 route add {} via fe80::1 dev d1 proto ospf metric 20",
            key(2).0
        ));
        routes.check().await;
        assert_eq!(leads(2).0, [2]);
        assert!(leads(2).1.is_some());
        // An interface that is gone: the others are not hurt.
        let gone = wanted.map(|(number, hops)| (key(number), via(hops)));
        ip("link del dev d1");
        routes.set(gone.into_iter()).await;
        set(&mut routes, &[(1, &[3]), (2, &[2])]).await;
        assert_eq!([leads(1).0, leads(2).0], [[3], [2]]);
    });
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn without_objects_the_routes_are_as_good() {
    apart(|| async {
        let mut routes = plain_routes().await;
        set(&mut routes, &[(1, &[1, 2]), (2, &[1])]).await;
        assert_eq!([leads(1), leads(2)], [(vec![1, 2], None), (vec![1], None)]);
        fail(&mut routes, 1);
        set(&mut routes, &[(1, &[2]), (2, &[2])]).await;
        assert_eq!([leads(1), leads(2)], [(vec![2], None), (vec![2], None)]);
        routes.remove_all().await;
        assert!(leads(1).0.is_empty());
    });
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn more_routes_than_a_portion_are_switched() {
    apart(|| async {
        let count = PORTION as u32 + 1;
        let all = |hops: &'static [u32]| (0..count).map(move |it| (key(it), via(hops)));
        let mut routes = routes().await;
        apply(&mut routes, all(&[1])).await;
        let backups = (0..count).map(|it| ((key(it), index(1)), hop(2)));
        routes.protect(backups.collect()).await;
        fail(&mut routes, 1);
        assert_eq!([0, count - 1].map(|it| leads(it).0), [[2], [2]]);
        assert_eq!(routes.counts().switched, 1);
        routes.remove_all().await;

        let mut routes = plain_routes().await;
        apply(&mut routes, all(&[1])).await;
        apply(&mut routes, all(&[2])).await;
        assert_eq!([0, count - 1].map(|it| leads(it).0), [[2], [2]]);
    });
}

async fn apply(routes: &mut Routes, wanted: impl Iterator<Item = (Destination, Vec<Nexthop>)>) {
    routes.set(wanted).await;
    while routes.is_busy() {
        routes.proceed().await;
    }
}
