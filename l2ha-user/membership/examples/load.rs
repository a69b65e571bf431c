//! What a cluster of many nodes costs: all join within a minute, each watches etcd as its daemon does, and what the
//! processor spends is told, for docs/scale.md. With a real etcd, whose URL is the first argument:
//!
//! `cargo run --release -p membership --example load -- http://127.0.0.1:2379 500`

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use config::{Joined, Role};
use membership::{JoinAs, Membership, News, join};
use tokio::sync::watch;

/// Within which all join.
const JOINING: Duration = Duration::from_secs(60);
/// Over which the processor's use is measured.
const IDLE: Duration = Duration::from_secs(60);

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().context("name etcd's URL")?;
    let count: usize = arguments.next().context("say how many nodes")?.parse()?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("l2ha.toml");
    fs::write(
        &file,
        format!(
            "[cluster]\nname = \"load\"\nsecret_file = \"secret\"\n[cluster.servers]\ns1 = \"192.0.2.1\"\n\
             [membership]\netcd = [\"{url}\"]\n[membership.grants]\n\"n*\" = {{ role = \"client\" }}\n"
        ),
    )?;
    let settings = config::Membership::load(&file)?;
    let began = Instant::now();
    let mut nodes: Vec<(Membership, watch::Receiver<Option<News>>)> = Vec::new();
    for number in 0..count {
        let mut settings = settings.clone();
        settings.state_dir = folder.path().join(number.to_string());
        let [.., high, low] = number.to_be_bytes();
        let node = Joined {
            name: format!("n{number}"),
            role: Role::Client,
            addresses: vec![[10, 1, high, low].into()],
            local_addresses: Vec::new(),
            interface: None,
            port: None,
            mtu: None,
            services: Vec::new(),
        };
        let wanted = JoinAs {
            node,
            patience: Duration::from_secs(10),
        };
        join(&settings, &wanted, &|_| None)?;
        let (sender, news) = watch::channel(None);
        nodes.push((Membership::start(&settings, sender, || ())?, news));
        let due = began + JOINING.mul_f64((number + 1) as f64 / count as f64);
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    println!(
        "{count} nodes joined in {:.1} s, {:.1} s of processor",
        began.elapsed().as_secs_f64(),
        processor()?
    );
    let settled = Instant::now();
    loop {
        let know_all = nodes.iter().filter(|(_, news)| {
            let news = news.borrow();
            news.as_ref()
                .is_some_and(|news| news.members.nodes.len() == count)
        });
        let know_all = know_all.count();
        if know_all == count {
            break;
        }
        ensure!(
            settled.elapsed() < Duration::from_secs(60),
            "{know_all} of {count} know all"
        );
        thread::sleep(Duration::from_millis(100));
    }
    println!(
        "each knows all others {:.1} s later",
        settled.elapsed().as_secs_f64()
    );
    thread::sleep(Duration::from_secs(10));
    let before = processor()?;
    thread::sleep(IDLE);
    let spent = processor()? - before;
    println!(
        "afterwards: {:.4} % of a processor for each node",
        spent / IDLE.as_secs_f64() / count as f64 * 100.0
    );
    for (node, _) in nodes {
        node.stop(true);
    }
    Ok(())
}

/// What this process has had of the processors, in seconds.
fn processor() -> Result<f64> {
    let text = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = text.rsplit_once(')').context("no name")?;
    let fields = fields.split_whitespace().skip(11).take(2);
    // USER_HZ is 100 wherever Linux runs.
    Ok(fields
        .map(|field| field.parse::<f64>().unwrap_or(0.0))
        .sum::<f64>()
        / 100.0)
}
