//! How long the kernel takes to lead routes to another next hop: by the nexthop object that they share,
//! by a message for each of them in batches, and by one at a time. In a network namespace of its own, as
//! root.
//!
//! ```text
//! cargo build --release -p linux --example switch && sudo target/release/examples/switch
//! ```

use std::{
    error::Error,
    net::{IpAddr, Ipv6Addr},
    process::Command,
    time::{Duration, Instant},
};

use linux::{Batch, KernelRoute, Leads, Nexthop, NexthopObject, Order};
use nix::{
    net::if_::if_nametoindex,
    sched::{CloneFlags, unshare},
};

/// Of which the median is told.
const RUNS: usize = 5;
const OBJECT: u32 = 1;

fn main() -> Result<(), Box<dyn Error>> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    for (name, peer) in [("d1", "e1"), ("d2", "e2")] {
        ip(&[
            "link", "add", "name", name, "type", "veth", "peer", "name", peer,
        ])?;
        ip(&["link", "set", "dev", name, "up"])?;
        ip(&["link", "set", "dev", peer, "up"])?;
    }
    let hops = [hop("d1")?, hop("d2")?];
    let [from, to] = hops.map(|hop| NexthopObject {
        id: OBJECT,
        leads: Leads::To(hop, false),
    });
    let mut batch = Batch::open()?;
    for count in [1, 100, 10_000] {
        let routes = |object, hop: Nexthop| {
            let put = move |number| Order::PutRoute(route(number, object, hop));
            (0..count).map(put).collect::<Vec<Order>>()
        };
        let remove: Vec<Order> = (0..count)
            .map(|number| Order::DropRoute(route(number, None, hops[0])))
            .collect();
        let (mut object, mut batches, mut single) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..RUNS {
            carry_out(&mut batch, &[Order::AddNexthop(from.clone())])?;
            carry_out(&mut batch, &routes(Some(OBJECT), hops[0]))?;
            object.push(carry_out(&mut batch, &[Order::TurnNexthop(to.clone())])?);
            carry_out(&mut batch, &remove)?;
            carry_out(&mut batch, &[Order::DropNexthop(OBJECT)])?;

            carry_out(&mut batch, &routes(None, hops[0]))?;
            batches.push(carry_out(&mut batch, &routes(None, hops[1]))?);
            let orders = routes(None, hops[0]);
            let start = Instant::now();
            for order in orders {
                carry_out(&mut batch, &[order])?;
            }
            single.push(start.elapsed());
            carry_out(&mut batch, &remove)?;
        }
        for (what, times) in [
            ("the object", &mut object),
            ("routes in batches", &mut batches),
            ("routes one at a time", &mut single),
        ] {
            times.sort_unstable();
            let (median, max) = (times[RUNS / 2], times[RUNS - 1]);
            println!("{count} prefixes, {what}: median {median:?}, max {max:?}");
        }
    }
    Ok(())
}

/// How long it took.
fn carry_out(batch: &mut Batch, orders: &[Order]) -> Result<Duration, Box<dyn Error>> {
    let start = Instant::now();
    let refused = batch.carry_out(orders)?;
    let took = start.elapsed();
    match refused.into_iter().next() {
        Some((_, error)) => Err(error.into()),
        None => Ok(took),
    }
}

fn hop(device: &str) -> Result<Nexthop, Box<dyn Error>> {
    Ok(Nexthop {
        interface: if_nametoindex(device)?,
        gateway: Some("fe80::1".parse()?),
    })
}

fn route(number: u32, object: Option<u32>, hop: Nexthop) -> KernelRoute {
    let address = Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(number));
    KernelRoute {
        destination: IpAddr::V6(address),
        prefix_len: 128,
        table: 254,
        priority: 20,
        source: None,
        object,
        mtu: None,
        nexthops: vec![hop],
    }
}

fn ip(arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let status = Command::new("ip").args(arguments).status()?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("ip {}: {status}", arguments.join(" ")).into()),
    }
}
