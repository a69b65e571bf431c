//! Networks of real speakers in virtual time, each drawn and ill-treated from a seed (`tests/sim/random`).
//!
//! ```text
//! cargo run --release -p ospfv3 --example simulate -- --seeds 1000 --routers 20
//! cargo run --release -p ospfv3 --example simulate -- --seed 4711 --routers 20
//! ```

#[expect(dead_code, reason = "the tests use all of it")]
#[path = "../tests/sim/net/mod.rs"]
mod net;
#[path = "../tests/sim/random/mod.rs"]
mod random;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

/// A network of 200 routers spends a third of its time in glibc's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str =
    "usage: simulate [--seeds COUNT] [--first SEED] [--found] [--seed SEED] [--routers COUNT]
                [--digest] [--cluster]
  --seeds COUNT    play this many seeds (default 100)
  --first SEED     beginning with this one (default 1)
  --found          and those that have failed once
  --seed SEED      play this one only, and say what happens
  --routers COUNT  routers in each network (default 20)
  --digest         print a digest of each seed: the same as long as the protocol does the same
  --cluster        clusters of servers and clients instead, 40 nodes each";

struct Options {
    first: u64,
    seeds: u64,
    found: bool,
    routers: usize,
    verbose: bool,
    digest: bool,
    cluster: bool,
}

fn options() -> Option<Options> {
    let mut options = Options {
        first: 1,
        seeds: 100,
        found: false,
        routers: 20,
        verbose: false,
        digest: false,
        cluster: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        if name == "--found" {
            options.found = true;
            continue;
        }
        if name == "--digest" {
            options.digest = true;
            continue;
        }
        if name == "--cluster" {
            options.cluster = true;
            continue;
        }
        let value: u64 = arguments.next()?.parse().ok()?;
        match name.as_str() {
            "--seeds" => options.seeds = value,
            "--first" => options.first = value,
            "--routers" => options.routers = usize::try_from(value).ok().filter(|n| *n > 1)?,
            "--seed" => {
                (options.first, options.seeds) = (value, 1);
                options.verbose = true;
            }
            _ => return None,
        }
    }
    Some(options)
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let start = Instant::now();
    let found = random::FOUND.iter().copied().filter(|_| options.found);
    let seeds: Vec<u64> = (options.first..options.first + options.seeds)
        .chain(found)
        .collect();
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)).copied()
                    else {
                        return;
                    };
                    let played = if options.cluster {
                        random::cluster::play(seed).map(|()| 0)
                    } else {
                        random::play(seed, options.routers, options.verbose)
                    };
                    match played {
                        Ok(digest) if options.digest => println!("seed {seed}: {digest:016x}"),
                        Ok(_) => {}
                        Err(why) => {
                            println!("{why}");
                            failed.lock().unwrap_or_else(|e| e.into_inner()).push(seed);
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(|e| e.into_inner());
    println!(
        "{} seeds of {} routers in {:.1} s: {} failed",
        seeds.len(),
        options.routers,
        start.elapsed().as_secs_f64(),
        failed.len()
    );
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
