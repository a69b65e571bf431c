//! What a cluster costs its nodes: everybody starts, nothing happens, LSAs are refreshed, a server dies and
//! comes back.

use std::time::{Duration, Instant};

use ospfv3::{NeighborState, Speaker};

use crate::mesh::{Costs, MTU, Mesh, Traffic, own, service};

/// A cluster to try.
pub(crate) struct Cluster {
    pub(crate) servers: usize,
    pub(crate) clients: usize,
    pub(crate) costs: Costs,
    /// Links beyond which a router does not send everything on at once.
    pub(crate) many_links: usize,
    /// Within what time BFD tells the neighbours of a server that it is dead.
    pub(crate) spread: Duration,
}

/// What most was sent within a second, by a server and a client.
#[derive(Default)]
struct Peaks([Peak; 2]);

#[derive(Default)]
struct Peak {
    packets: u64,
    bytes: u64,
}

const SECOND: Duration = Duration::from_secs(1);
const TYPES: [&str; 5] = ["Hello", "DD", "Request", "Update", "Ack"];
/// The server that dies: the one that has the service nearest.
const VICTIM: usize = 0;

impl Cluster {
    /// Tries it, and tells.
    pub(crate) fn run(&self) {
        let before = resident();
        let mut mesh = Mesh::new(self.servers, self.clients, self.costs, self.many_links);
        let nodes = self.servers + self.clients;
        println!(
            "{} servers and {} clients: {} links; {:?}",
            self.servers,
            self.clients,
            mesh.links(),
            self.costs
        );
        phase(&mut mesh, "all start at once", |mesh| {
            for node in 0..nodes {
                mesh.start(node);
            }
            until(mesh, is_complete)
        });
        phase(&mut mesh, "a minute after", |mesh| seconds(mesh, 60));
        size(&mesh);
        println!(
            "memory of all: {} MiB, {} KiB a node",
            (resident() - before) >> 20,
            ((resident() - before) / nodes as u64) >> 10
        );
        copies(&mesh);
        phase(&mut mesh, "100 s of quiet", |mesh| seconds(mesh, 100));
        let began = mesh.now;
        for node in &mut mesh.nodes {
            (node.busy, node.waited) = (Duration::ZERO, 0);
        }
        phase(&mut mesh, "a server dies", |mesh| {
            mesh.die(VICTIM, self.spread);
            seconds(mesh, 8)
        });
        self.death(&mesh, began);
        phase(&mut mesh, "it comes back", |mesh| {
            mesh.start(VICTIM);
            until(mesh, is_complete)
        });
        let Traffic { packets, bytes } = mesh.nodes[VICTIM].received;
        println!("  it was sent {packets:?} packets and {bytes:?} bytes, by type as above");
        phase(&mut mesh, "a minute after", |mesh| seconds(mesh, 60));
        phase(&mut mesh, "1,900 s, with a refresh of every LSA", |mesh| {
            seconds(mesh, 1900)
        });
        calculations(&mesh);
    }

    fn death(&self, mesh: &Mesh, began: Duration) {
        let mut last = [Duration::ZERO; 2];
        let mut waited = [0; 2];
        let mut busy = [Duration::ZERO; 2];
        let mut gone = 0;
        for (number, node) in mesh.nodes.iter().enumerate() {
            let role = usize::from(number >= self.servers);
            last[role] = last[role].max(node.routes_changed.saturating_sub(began));
            waited[role] = waited[role].max(node.waited);
            busy[role] = busy[role].max(node.busy);
            let routes = node.speaker.as_ref().map(Speaker::routes);
            gone += usize::from(routes.is_some_and(|routes| routes.get(&own(VICTIM)).is_none()));
        }
        println!(
            "  from BFD's first report, all within {:?}: last route of a server {:.1} ms, of a client {:.1} ms; {gone} of {} \
             have no route to it any more; waiting packets at most {waited:?}, busy {busy:?}",
            self.spread,
            last[0].as_secs_f64() * 1e3,
            last[1].as_secs_f64() * 1e3,
            mesh.nodes.len() - 1,
        );
    }
}

/// Does something, and tells what was sent meanwhile, how long it took, and what it cost this machine.
fn phase(mesh: &mut Mesh, what: &str, act: impl FnOnce(&mut Mesh) -> Peaks) {
    let sent = |mesh: &Mesh| -> Vec<Traffic> { mesh.nodes.iter().map(|node| node.sent).collect() };
    let (start, began, before) = (Instant::now(), mesh.now, sent(mesh));
    let peaks = act(mesh);
    println!(
        "{what}: {:.1} s ({:.0} s of this machine)",
        (mesh.now - began).as_secs_f64(),
        start.elapsed().as_secs_f64()
    );
    let mut sums = [Traffic::default(); 2];
    let mut counts = [0; 2];
    for (number, (node, before)) in mesh.nodes.iter().zip(&before).enumerate() {
        let role = usize::from(number >= mesh.servers);
        let sent = node.sent.since(before);
        counts[role] += 1;
        for kind in 0..TYPES.len() {
            sums[role].packets[kind] += sent.packets[kind];
            sums[role].bytes[kind] += sent.bytes[kind];
        }
    }
    for role in 0..2 {
        print!("  a {} sends", ["server", "client"][role]);
        for (kind, name) in TYPES.iter().enumerate() {
            print!(
                " {name} {} ({} kB),",
                sums[role].packets[kind] / counts[role],
                sums[role].bytes[kind] / counts[role] / 1000
            );
        }
        let Peak { packets, bytes } = peaks.0[role];
        println!(" at most {packets} ({} kB) in a second", bytes / 1000);
    }
}

/// A second, and who has sent most in it.
fn second(mesh: &mut Mesh, peaks: &mut Peaks) {
    let before: Vec<Traffic> = mesh.nodes.iter().map(|node| node.sent).collect();
    mesh.run(SECOND);
    for (number, (node, before)) in mesh.nodes.iter().zip(before).enumerate() {
        let peak = &mut peaks.0[usize::from(number >= mesh.servers)];
        let sent = node.sent.since(&before);
        peak.packets = peak.packets.max(sent.packets.iter().sum());
        peak.bytes = peak.bytes.max(sent.bytes.iter().sum());
    }
}

fn seconds(mesh: &mut Mesh, count: u32) -> Peaks {
    let mut peaks = Peaks::default();
    for _ in 0..count {
        second(mesh, &mut peaks);
    }
    peaks
}

/// Goes on until something is true, for five minutes at most.
fn until(mesh: &mut Mesh, is: impl Fn(&Mesh) -> bool) -> Peaks {
    let mut peaks = Peaks::default();
    for _ in 0..300 {
        second(mesh, &mut peaks);
        if is(mesh) {
            return peaks;
        }
    }
    println!("  not done after five minutes");
    peaks
}

/// Whether everybody is Full with everybody and has all routes.
fn is_complete(mesh: &Mesh) -> bool {
    mesh.nodes.iter().enumerate().all(|(number, node)| {
        let is_server = number < mesh.servers;
        let neighbors = if is_server {
            mesh.nodes.len() - 1
        } else {
            mesh.servers
        };
        node.speaker.as_ref().is_some_and(|speaker| {
            speaker.routes().len() == mesh.nodes.len() - usize::from(is_server)
                && (is_server || speaker.routes().get(&service()).is_some())
                && {
                    let views = speaker.neighbors();
                    let full = views.iter().filter(|it| it.state == NeighborState::Full);
                    full.count() == neighbors
                }
        })
    })
}

/// What stands in the database.
fn size(mesh: &Mesh) {
    for number in [0, mesh.servers] {
        let Some(speaker) = &mesh.nodes[number].speaker else {
            continue;
        };
        let lsas = speaker.database().lsas;
        let bytes: usize = lsas.iter().map(|lsa| usize::from(lsa.length)).sum();
        let own = lsas.iter().filter(|lsa| lsa.own);
        let own: Vec<u16> = own.map(|lsa| lsa.length).filter(|it| *it > 100).collect();
        println!(
            "  a {} has {} LSAs of {bytes} bytes; its Router-LSA has {own:?} bytes (MTU {MTU})",
            ["server", "client"][usize::from(number > 0)],
            lsas.len()
        );
    }
}

/// What a server and a client need beside what they share with others: measured with copies of them.
fn copies(mesh: &Mesh) {
    for (role, number) in [("server", 0), ("client", mesh.servers)] {
        let Some(speaker) = &mesh.nodes[number].speaker else {
            continue;
        };
        let before = resident();
        let copies: Vec<Speaker> = (0..20).map(|_| speaker.clone()).collect();
        let each = resident().saturating_sub(before) / copies.len() as u64;
        println!(
            "  a copy of a {role} without its LSAs' bodies: {} KiB",
            each >> 10
        );
    }
}

fn calculations(mesh: &Mesh) {
    for number in [1, mesh.servers] {
        let node = &mesh.nodes[number];
        let mut times = node.calculations.clone();
        times.sort_unstable();
        let at = |part: usize| {
            times
                .get(times.len() * part / 100)
                .copied()
                .unwrap_or_default()
        };
        println!(
            "a {}: {} route calculations, median {:?}, 95 % {:?}; {:?} of this machine for each of {} packets and timers",
            ["client", "server"][usize::from(number == 1)],
            times.len(),
            at(50),
            at(95),
            node.taken / u32::try_from(node.handled.max(1)).unwrap_or(1),
            node.handled
        );
    }
}

/// Memory that this process has now, in bytes; 0 where it cannot be known.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) << 10
}
