//! Networks of real speakers in virtual time, each drawn and ill-treated from a seed.
//!
//! A seed gives the topology (point-to-point links and Ethernets), and twice in a row a time of
//! loss, reordering, duplication, cut links and partitions, crashes, restarts and clock jumps,
//! followed by quiet. After each quiet the whole network is checked (see `check`). The same seed and
//! number of routers always play the same. Every fourth seed routes IPv4.
//!
//! ```text
//! cargo run --release -p ospfv3 --example simulate -- --seeds 1000 --routers 20
//! cargo run --release -p ospfv3 --example simulate -- --seed 4711 --routers 20
//! ```

mod check;
#[expect(dead_code, reason = "the tests use all of it")]
#[path = "../../tests/sim/net.rs"]
mod net;
mod play;

use std::panic;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

/// A network of 200 routers spends a third of its time in glibc's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Seeds of 20 routers that have failed once.
const FOUND: [u64; 52] = [
    426, 1892, 1954, 2289, 2759, 3578, 3961, 4860, 5277, 7476, 8280, 8542, 9303, 9563, 9782, 9792,
    9830, 9857, 10_380, 10_493, 11_377, 11_393, 11_407, 11_408, 11_802, 12_092, 12_220, 13_115,
    13_119, 14_731, 16_511, 16_814, 17_452, 18_835, 19_582, 19_684, 22_245, 38_840, 42_033, 42_777,
    43_491, 49_312, 50_149, 50_292, 50_420, 50_842, 53_371, 1_005_420, 1_008_792, 1_010_858,
    1_065_487, 1_094_581,
];

const USAGE: &str =
    "usage: simulate [--seeds COUNT] [--first SEED] [--found] [--seed SEED] [--routers COUNT]
                [--digest]
  --seeds COUNT    play this many seeds (default 100)
  --first SEED     beginning with this one (default 1)
  --found          and those that have failed once
  --seed SEED      play this one only, and say what happens
  --routers COUNT  routers in each network (default 20)
  --digest         print a digest of each seed: the same as long as the protocol does the same";

struct Options {
    first: u64,
    seeds: u64,
    found: bool,
    routers: usize,
    verbose: bool,
    digest: bool,
}

fn options() -> Option<Options> {
    let mut options = Options {
        first: 1,
        seeds: 100,
        found: false,
        routers: 20,
        verbose: false,
        digest: false,
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
    let found = FOUND.iter().copied().filter(|_| options.found);
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
                    let play = || play::play(seed, options.routers, options.verbose);
                    let verdict = panic::catch_unwind(play)
                        .unwrap_or_else(|_| Err("the speaker panicked".to_owned()));
                    match verdict {
                        Ok(digest) if options.digest => println!("seed {seed}: {digest:016x}"),
                        Ok(_) => {}
                        Err(why) => {
                            println!("seed {seed}: {why}");
                            println!(
                                "  again: cargo run --release -p ospfv3 --example simulate -- \
                                 --seed {seed} --routers {}",
                                options.routers
                            );
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
