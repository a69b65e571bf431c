//! What a large network costs a router: the time of a route calculation, and of taking a whole
//! database over from a neighbour.
//!
//! The router under test, 0, has two real neighbours, 1 and 2. The rest of the network exists as LSAs
//! only: a grid of routers between the two, each with prefixes of its own, put into the database by
//! updates in a neighbour's name.
//!
//! With `--servers` and `--clients`, what the cluster of a cluster file costs each of its nodes, all of which
//! are real speakers: docs/scale.md.
//!
//! ```text
//! cargo run --release -p ospfv3 --example scale
//! cargo run --release -p ospfv3 --example scale -- --routers 1000 --prefixes 10000 --lsas 10000
//! cargo run --release -p ospfv3 --example scale -- --servers 30 --clients 470
//! ```

mod cluster;
mod grid;
mod mesh;
#[expect(dead_code, reason = "the tests use all of it")]
#[path = "../../tests/sim/net/mod.rs"]
mod net;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use cluster::Cluster;
use grid::Grid;
use mesh::Costs;
use net::{Frame, Net, link_local, router_id};
use ospfv3::wire::{ALL_SPF_ROUTERS, Header, Lsa, Packet, PacketBody};
use ospfv3::{Event, MANY_LINKS, NeighborState, PathFailure, Peer, Speaker, Time};

/// A network of 500 speakers spends much of its time in glibc's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "usage: scale [--routers COUNT] [--prefixes COUNT] [--lsas COUNT]
       scale --servers COUNT [--clients COUNT] [--way-us TIME] [--receive-us TIME]
             [--send-us TIME] [--calculation-us TIME] [--spread-ms TIME] [--many-links COUNT]
  --routers COUNT   routers in the area (default 1000)
  --prefixes COUNT  prefixes, shared out among the routers (default 10000)
  --lsas COUNT      LSAs that a new neighbour takes over (default 10000)
  --servers COUNT   servers, each with a link to everybody
  --clients COUNT   clients, each with a link to every server (default 0)
  --way-us TIME          from node to node (default 500)
  --receive-us TIME      to read and handle a packet (default 30)
  --send-us TIME         to make, sign and send one (default 15)
  --calculation-us TIME  to calculate the routes (default 3000)
  --spread-ms TIME       within which BFD tells of a death (default 0: to all at once)
  --many-links COUNT     links beyond which a router does not send everything on at once";

/// Calculations of which the median is told.
const RUNS: i32 = 31;
/// LSAs in a forged update.
const BATCH: usize = 20;

/// The options by name, each with its default.
fn options() -> Option<BTreeMap<String, u32>> {
    let defaults = [
        ("--routers", 1000),
        ("--prefixes", 10_000),
        ("--lsas", 10_000),
        ("--servers", 0),
        ("--clients", 0),
        ("--way-us", 500),
        ("--receive-us", 30),
        ("--send-us", 15),
        ("--calculation-us", 3000),
        ("--spread-ms", 0),
        ("--many-links", MANY_LINKS as u32),
    ];
    let mut options: BTreeMap<String, u32> = defaults
        .map(|(name, value)| (name.to_owned(), value))
        .into();
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        *options.get_mut(&name)? = arguments.next()?.parse().ok()?;
    }
    let [routers, prefixes, lsas] = ["--routers", "--prefixes", "--lsas"].map(|it| options[it]);
    (routers >= 64 && prefixes >= 2 * routers && lsas >= 128).then_some(options)
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let time = |name: &str| Duration::from_micros(options[name].into());
    if options["--servers"] > 0 {
        let cluster = Cluster {
            servers: options["--servers"] as usize,
            clients: options["--clients"] as usize,
            costs: Costs {
                way: time("--way-us"),
                receive: time("--receive-us"),
                send: time("--send-us"),
                calculation: time("--calculation-us"),
            },
            many_links: options["--many-links"] as usize,
            spread: time("--spread-ms") * 1000,
        };
        cluster.run();
        return ExitCode::SUCCESS;
    }
    let [routers, prefixes, lsas] = ["--routers", "--prefixes", "--lsas"].map(|it| options[it]);
    calculations(&Grid::new(routers, prefixes / routers), prefixes);
    takeover(&Grid::new(lsas / 2, 2));
    ExitCode::SUCCESS
}

/// Interface IDs of the link between router 0 and its neighbour: router 0's first.
pub(crate) fn ends(neighbor: usize) -> [u32; 2] {
    let first = 8 + 2 * u32::try_from(neighbor).unwrap_or(0);
    [first, first + 1]
}

/// An update to router 0 in the name of a neighbour.
fn update(net: &Net, neighbor: usize, lsas: &[Lsa]) -> Frame {
    let [to, from] = net.links[neighbor - 1].ends;
    let header = Header {
        router_id: router_id(from.node),
        area: Ipv4Addr::UNSPECIFIED,
        instance_id: 0,
    };
    let body = PacketBody::LinkStateUpdate(lsas.iter().cloned().map(Ok).collect());
    let source = link_local(from);
    Frame {
        to,
        source,
        destination: ALL_SPF_ROUTERS,
        bytes: Packet { header, body }.encode(source, ALL_SPF_ROUTERS),
    }
}

/// Router 0 hears LSAs from a neighbour.
fn hear(net: &mut Net, neighbor: usize, lsas: &[Lsa]) {
    for lsas in lsas.chunks(BATCH) {
        let frame = update(net, neighbor, lsas);
        net.deliver(&frame);
    }
}

/// The grid gets its links to routers 1 and 2. Each is heard from its own originator, which thereby
/// never hears of it.
fn open_doors(net: &mut Net, grid: &Grid, sequence: i32) {
    for (neighbor, lsa) in (1..).zip(grid.doors_lsas(sequence)) {
        hear(net, neighbor, &[lsa]);
    }
}

/// Time of what is done to router 0 and of the calculation that follows, and whether its routes
/// changed.
fn measure(net: &mut Net, act: impl FnOnce(Time, &mut Speaker)) -> (Duration, bool) {
    let now = net.clock(0);
    let (taken, changed) = net.with(0, |speaker| {
        let start = Instant::now();
        act(now, speaker);
        speaker.handle_timeout(now);
        let taken = start.elapsed();
        let mut changed = false;
        while let Some(event) = speaker.poll_event() {
            changed |= event == Event::RoutesChanged;
        }
        (taken, changed)
    });
    (taken, changed)
}

fn tell(what: &str, mut runs: Vec<(Duration, bool)>) {
    runs.sort_unstable();
    let changed = runs.iter().filter(|(_, changed)| *changed).count();
    let ms = |at: usize| {
        runs.get(at)
            .map_or(0.0, |(time, _)| time.as_secs_f64() * 1e3)
    };
    println!(
        "  {what}: median {:.2} ms, max {:.2} ms ({changed} of {} changed the routes)",
        ms(runs.len() / 2),
        ms(runs.len() - 1),
        runs.len()
    );
}

fn calculations(grid: &Grid, prefixes: u32) {
    let mut net = Net::build(1, 3, &[(0, 1, 10), (0, 2, 10)]);
    net.run(Duration::from_secs(20));
    let mut doors = 1000;
    hear(&mut net, 1, &grid.lsas());
    open_doors(&mut net, grid, doors);
    net.run(Duration::from_secs(60));
    println!(
        "{} routers, {prefixes} prefixes: {} routes",
        grid.routers,
        net.node(0).routes().len()
    );
    let middle = grid.routers / 2;
    let lsas: [(&str, &dyn Fn(i32) -> Lsa); 3] = [
        ("a prefix comes or goes", &|run| {
            grid.prefixes_of(middle, run)
        }),
        ("a link far away changes its cost", &|run| {
            grid.router_lsa(middle, run)
        }),
        ("a link beside a neighbour changes its cost", &|run| {
            grid.router_lsa(0, run)
        }),
    ];
    for (what, lsa) in lsas {
        let mut runs = Vec::new();
        for run in 1..=RUNS {
            net.run(Duration::from_secs(10));
            let frame = update(&net, 1, &[lsa(run)]);
            runs.push(measure(&mut net, |now, speaker| {
                let (interface, to) = (frame.to.interface, frame.destination);
                speaker.handle_packet(now, interface, frame.source, to, &frame.bytes);
            }));
        }
        tell(what, runs);
    }
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        doors += 1000;
        open_doors(&mut net, grid, doors);
        net.run(Duration::from_secs(10));
        runs.push(measure(&mut net, |now, speaker| {
            speaker.path_failed(
                now,
                Peer::new(ends(1)[0], router_id(1)),
                PathFailure::Unconfirmed,
            );
        }));
        // It hears us, and comes back.
        net.run(Duration::from_secs(30));
    }
    tell("a neighbour is lost", runs);
}

fn takeover(grid: &Grid) {
    let mut net = Net::build(1, 3, &[(0, 1, 10), (0, 2, 10)]);
    net.run(Duration::from_secs(20));
    net.crash(2);
    hear(&mut net, 1, &grid.lsas());
    net.run(Duration::from_secs(60));
    let held = |net: &Net, node: usize| net.node(node).database().lsas.len();
    net.start(2);
    let (began, start) = (net.now, Instant::now());
    let full = |net: &Net| {
        let neighbors = net.node(2).neighbors();
        !neighbors.is_empty() && neighbors.iter().all(|n| n.state == NeighborState::Full)
    };
    while net.now < began + Duration::from_secs(120) && !full(&net) {
        net.run_ms(10);
    }
    println!(
        "{} of {} LSAs taken over by a router that starts: Full after {:.2} s with 1 ms from \
         router to router; {:.2} s of processor time for both; all of this \
         process took {} MiB",
        held(&net, 2),
        held(&net, 0),
        (net.now - began).as_secs_f64(),
        start.elapsed().as_secs_f64(),
        peak() >> 20
    );
}

/// Most memory this process has had, in bytes; 0 where it cannot be known.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) << 10
}
