//! What a seed makes of a network.

use std::time::Duration;

use ospfv3::{Family, StubPrefix};

use super::check;
use crate::net::{End, Lan, Net, Rng, Weather, local};

/// Every so many seeds play with IPv4 (RFC 5838).
const IPV4_EVERY: u64 = 4;
/// Times of trouble in a row, each with a check after it.
const ROUNDS: usize = 2;
/// Longer than the dead interval (4 s), the retransmissions that an exchange may lose (5 s each)
/// and MinLSInterval (5 s) together.
const QUIET: Duration = Duration::from_secs(60);

/// Longer than a refresh takes through the network, and than what has died of age is kept.
const REFRESH: Duration = Duration::from_secs(8);

/// A digest of all that was sent and of the end, or what is wrong there.
pub(super) fn play(seed: u64, routers: usize, verbose: bool) -> Result<u64, String> {
    let mut rng = Rng(seed);
    let mut net = draw(&mut rng, routers);
    if seed.is_multiple_of(IPV4_EVERY) {
        net.family = Family::Ipv4;
    }
    let say = |net: &Net, what: &str| {
        if verbose {
            println!("{:>9.3} s  {what}", net.now.as_secs_f64());
        }
    };
    for node in 0..routers {
        start(&mut net, &mut rng, node);
    }
    for round in 0..ROUNDS {
        net.weather = weather(&mut rng);
        say(&net, &format!("round {round}: {:?}", net.weather));
        for _ in 0..10 + rng.below(20) {
            let what = trouble(&mut net, &mut rng);
            say(&net, &what);
            net.run_ms(20 + rng.below(4000));
        }
        net.weather = Weather::FAIR;
        say(&net, "quiet");
        net.run(QUIET);
        for (at, node, event) in net.events.drain(..).filter(|_| verbose) {
            println!("{:>9.3} s  {node}: {event:?}", at.as_secs_f64());
        }
        // Where clocks have jumped, LSAs may be refreshed, or die of age, at this very moment.
        let dead = check::dead(&net);
        if check::check(&net).is_err() || !dead.is_empty() {
            net.run(REFRESH);
        }
        let kept = check::dead(&net);
        let kept = kept.intersection(&dead).next();
        let gone = kept.map_or(Ok(()), |kept| Err(format!("kept though dead: {kept:?}")));
        gone.and_then(|()| check::check(&net)).map_err(|why| {
            if verbose {
                println!("{}", net.describe());
            }
            format!("round {round}: {why}")
        })?;
    }
    let mut digest = net.digest;
    for speaker in net.nodes.iter().flatten() {
        digest.add(format!("{:?}", speaker.routes()).as_bytes());
        digest.add(format!("{:?}", speaker.counters()).as_bytes());
    }
    Ok(digest.0)
}

/// A connected network: a tree with more links across, some of them parallel, and Ethernets.
fn draw(rng: &mut Rng, routers: usize) -> Net {
    let any = |rng: &mut Rng| rng.below(routers as u64) as usize;
    let cost = |rng: &mut Rng| 1 + rng.below(20) as u16;
    let mut links = Vec::new();
    for node in 1..routers {
        links.push((rng.below(node as u64) as usize, node, cost(rng)));
    }
    for _ in 0..routers / 2 {
        let (a, b) = (any(rng), any(rng));
        if a != b {
            links.push((a, b, cost(rng)));
        }
    }
    let mut net = Net::drawn(rng.next(), routers, &links);
    for number in 0..rng.below(1 + routers as u64 / 8) as u32 {
        let mut ends: Vec<End> = Vec::new();
        for _ in 0..2 + rng.below(5) {
            let node = any(rng);
            if ends.iter().all(|end| end.node != node) {
                ends.push(End {
                    node,
                    interface: 60_000 + number,
                });
            }
        }
        net.lans.push(Lan {
            ends,
            cut: Vec::new(),
        });
    }
    net
}

fn weather(rng: &mut Rng) -> Weather {
    Weather {
        delay: Duration::from_micros(200 + rng.below(5000)),
        jitter: Duration::from_micros(rng.below(50_000)),
        loss_percent: rng.below(25),
        duplicate_percent: rng.below(25),
    }
}

/// A node with its own address, and perhaps the one that many have.
fn start(net: &mut Net, rng: &mut Rng, node: usize) {
    let prefixes = prefixes(net, rng, node);
    net.start_with(node, prefixes);
}

fn prefixes(net: &Net, rng: &mut Rng, node: usize) -> Vec<StubPrefix> {
    let mut prefixes = vec![local(net.own(node))];
    if rng.percent(20) {
        prefixes.push(local(net.anycast()));
    }
    prefixes
}

/// One thing goes wrong, or comes right.
fn trouble(net: &mut Net, rng: &mut Rng) -> String {
    let node = rng.below(net.nodes.len() as u64) as usize;
    let runs = net.nodes[node].is_some();
    match rng.below(12) {
        0..=2 => {
            let link = rng.below(net.links.len() as u64) as usize;
            let cut = &mut net.links[link].cut;
            *cut = !*cut;
            format!("link {link} {}", if *cut { "cut" } else { "whole" })
        }
        3 if !net.lans.is_empty() => {
            let lan = rng.below(net.lans.len() as u64) as usize;
            let cut = &mut net.lans[lan].cut;
            if cut.contains(&node) {
                cut.retain(|other| *other != node);
            } else {
                cut.push(node);
            }
            format!("Ethernet {lan}: cut are {cut:?}")
        }
        4 => {
            // All links between the two sides.
            let side = |node: usize, salt: u64| (node as u64 ^ salt).count_ones() % 2;
            let salt = rng.next();
            let cut = rng.percent(40);
            for link in &mut net.links {
                let [a, b] = link.ends;
                link.cut = cut && side(a.node, salt) != side(b.node, salt);
            }
            format!("partition: {cut}")
        }
        5 if runs => {
            net.crash(node);
            format!("{node} crashes")
        }
        6 if runs => {
            net.stop(node);
            format!("{node} stops")
        }
        7 if runs => {
            // At once: its neighbours have not noticed.
            net.crash(node);
            start(net, rng, node);
            format!("{node} restarts")
        }
        8 if runs => {
            let most = if rng.percent(20) { 5000 } else { 60 };
            let by = Duration::from_secs(1 + rng.below(most));
            net.jump(node, by);
            format!("the clock of {node} jumps {by:?}")
        }
        9 if runs => {
            let prefixes = prefixes(net, rng, node);
            let now = net.clock(node);
            net.with(node, |speaker| {
                speaker.set_prefixes(now, crate::net::LOOPBACK, prefixes)
            });
            format!("{node} has other prefixes")
        }
        _ if !runs => {
            start(net, rng, node);
            format!("{node} starts")
        }
        _ => {
            net.weather = weather(rng);
            format!("{:?}", net.weather)
        }
    }
}
