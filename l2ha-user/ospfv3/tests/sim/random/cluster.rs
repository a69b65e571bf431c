//! Clusters of 40 nodes: each server has a link to everybody, each client to every server, and forwards nothing.
//! With so many links a router leaves it to others to tell most of its neighbours; here with few already.

use std::time::Duration;

use super::check;
use crate::net::{Net, Rng, Weather, local};

const SERVERS: usize = 8;
const NODES: usize = 40;
/// Links beyond which a router leaves flooding to others: all of these have more.
const MANY: usize = 6;
/// Longer than the dead interval (4 s), a few retransmissions (5 s each) and MinLSInterval (5 s) together.
const QUIET: Duration = Duration::from_secs(60);

/// What is wrong after a seed's cuts, crashes and restarts, if anything.
pub(crate) fn play(seed: u64) -> Result<(), String> {
    let mut rng = Rng(seed);
    let mut net = draw(&mut rng);
    for node in 0..NODES {
        start(&mut net, node);
    }
    net.weather = Weather {
        delay: Duration::from_micros(200 + rng.below(5000)),
        jitter: Duration::from_micros(rng.below(20_000)),
        loss_percent: rng.below(15),
        duplicate_percent: rng.below(10),
    };
    for _ in 0..15 + rng.below(15) {
        trouble(&mut net, &mut rng);
        net.run_ms(20 + rng.below(3000));
    }
    net.weather = Weather::FAIR;
    net.run(QUIET);
    check::check(&net).map_err(|why| format!("seed {seed}: {why}"))?;
    let waited = |node: usize| {
        net.nodes[node]
            .as_ref()
            .map(|it| it.counters().floods_waited)
    };
    if (0..NODES).filter_map(waited).sum::<u64>() == 0 {
        return Err(format!("seed {seed}: nobody left anything to others"));
    }
    Ok(())
}

fn draw(rng: &mut Rng) -> Net {
    let mut links = Vec::new();
    for server in 0..SERVERS {
        for other in server + 1..NODES {
            // Some tunnels are missing, so that not every server can tell every client.
            if !rng.percent(5) {
                links.push((server, other, 10));
            }
        }
    }
    let mut net = Net::drawn(rng.next(), NODES, &links);
    net.many_links = MANY;
    net.hosts = (SERVERS..NODES).collect();
    net
}

/// A node with its own address; servers have the service too.
fn start(net: &mut Net, node: usize) {
    let mut prefixes = vec![local(net.own(node))];
    if node < SERVERS {
        prefixes.push(local(net.anycast()));
    }
    net.start_with(node, prefixes);
}

/// One thing goes wrong, or comes right.
fn trouble(net: &mut Net, rng: &mut Rng) {
    let server = rng.below(SERVERS as u64) as usize;
    let any = rng.below(NODES as u64) as usize;
    let node = if rng.percent(50) { server } else { any };
    let runs = net.nodes[node].is_some();
    match rng.below(6) {
        0 | 1 => {
            let link = rng.below(net.links.len() as u64) as usize;
            let cut = &mut net.links[link].cut;
            *cut = !*cut;
        }
        // All links of a node, or back.
        2 => {
            let cut = rng.percent(50);
            let of_node = |link: &&mut crate::net::Link| link.ends.iter().any(|it| it.node == node);
            net.links
                .iter_mut()
                .filter(of_node)
                .for_each(|link| link.cut = cut);
        }
        3 if runs => net.crash(node),
        4 if runs => net.stop(node),
        _ if runs => {
            net.crash(node);
            start(net, node);
        }
        _ => start(net, node),
    }
}
