//! The daemon: owns the node, listens to the kernel, to signals and to the control socket.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use config::Config;
use dataplane::DataPlane;
use linux::{Change, Monitor, Netlink};
use nix::fcntl::{Flock, FlockArg};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval, sleep_until},
};

use crate::{journal::Made, ports::Holder, repair::Repairs, server::Server, state::Node};

/// How often the data plane is looked at for what no notification tells: a bpf_link can be
/// detached without one.
const QUICK_CHECK: Duration = Duration::from_millis(200);
/// How often everything is compared, should a notification have been lost.
const FULL_CHECK: Duration = Duration::from_secs(10);
/// Notifications come in bursts; this is how long the daemon listens before it acts on one.
const SETTLE: Duration = Duration::from_millis(5);

/// Runs the daemon until SIGTERM or SIGINT, which take everything down, or SIGUSR1, which leaves
/// everything to the next start.
///
/// # Errors
///
/// When another daemon has this node's name, or the programs cannot be loaded.
pub fn run(config_path: PathBuf, config: Config) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(config_path, config))
}

async fn serve(config_path: PathBuf, config: Config) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut restart = signal(SignalKind::user_defined1())?;

    let run_dir = config.node.run_dir.clone();
    fs::create_dir_all(&run_dir).with_context(|| format!("cannot create {}", run_dir.display()))?;
    let name = config.node.name.clone();
    let _lock = lock(&run_dir.join(format!("{name}.lock")))?;
    let mut monitor = Monitor::open().context("cannot listen to the kernel")?;
    let mut server = Server::listen(&run_dir.join(format!("{name}.sock")))?;
    let mut node = start(config_path, config, &run_dir).await?;
    linux::keep_what_is_needed();
    tracing::info!(node = name, version = env!("CARGO_PKG_VERSION"), "running");

    let mut quick = interval(QUICK_CHECK);
    quick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut full = interval(FULL_CHECK);
    full.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut due: Option<Instant> = None;
    loop {
        let settled = async {
            match due.into_iter().chain(node.due()).min() {
                Some(due) => sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            change = monitor.next() => match change {
                Some(Change::Route) => node.check_routes(),
                Some(change) => {
                    // IPv4 routes go with an interface or with its last address, and nobody is told.
                    if change != Change::TrafficControl {
                        node.check_routes();
                    }
                    due.get_or_insert_with(|| Instant::now() + SETTLE);
                }
                None => anyhow::bail!("the kernel has closed the notification socket"),
            },
            () = settled => {
                due = None;
                node.reconcile().await;
            }
            _ = quick.tick() => {
                if !node.still_attached() {
                    node.reconcile().await;
                }
            }
            _ = full.tick() => node.reconcile().await,
            request = server.next() => request.answer(&mut node).await,
            _ = hangup.recv() => reload(&mut node).await,
            _ = restart.recv() => {
                tracing::info!("ending for a restart: everything stays in its place");
                node.leave().await;
                return Ok(());
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    tracing::info!("stopping: withdrawing the services, then removing what was made");
    tokio::select! {
        stopped = node.stop() => stopped?,
        _ = terminate.recv() => tracing::warn!("second signal: stopping at once, leaving the rest to the next start"),
        _ = interrupt.recv() => tracing::warn!("second signal: stopping at once, leaving the rest to the next start"),
    }
    tracing::info!("stopped");
    Ok(())
}

/// Loads the programs and makes the first pass.
async fn start(config_path: PathBuf, config: Config, run_dir: &Path) -> Result<Node> {
    let netlink = Netlink::open().context("cannot open rtnetlink")?;
    let made = Made::load(run_dir.join(format!("{}.made.json", config.node.name)))?;
    // First, so that the answers come while the programs are loaded.
    let reach = match netlink.link(&config.underlay.interface).await? {
        Some(link) => attachment::ask(&netlink, link.index, &config).await,
        None => None,
    };
    let plane = DataPlane::load(&config.node.pins())?;
    let holder = Holder::new(plane.reassembled().clone());
    let mut node = Node {
        config_path,
        config,
        started: Instant::now(),
        netlink,
        plane,
        made,
        holder,
        repairs: Repairs::default(),
        routing: None,
        drained: false,
        underlay: None,
        underlay_problem: None,
        attached: None,
        reach,
        proven: false,
        no_xdp: None,
        cut_off: None,
        findings: Vec::new(),
        tunnels: BTreeMap::new(),
        kept: None,
        services: BTreeSet::new(),
        leaving: BTreeMap::new(),
    };
    node.examine();
    node.start_routing()?;
    node.reconcile().await;
    if let Some(why) = node.cut_off.clone() {
        node.stop().await?;
        anyhow::bail!(why);
    }
    Ok(node)
}

/// One daemon per node name.
fn lock(path: &Path) -> Result<Flock<fs::File>> {
    let file =
        fs::File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| {
        anyhow::anyhow!(
            "{} is locked ({error}): another l2ha runs under this node name; stop it, or give \
             this node another [node].name",
            path.display()
        )
    })
}

/// SIGHUP: a file with mistakes changes nothing.
async fn reload(node: &mut Node) {
    match Config::load(&node.config_path) {
        Ok(config) => match node.reload(config).await {
            Ok(()) => tracing::info!("configuration reloaded"),
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "configuration not reloaded")
            }
        },
        Err(errors) => {
            for line in errors.to_string().lines() {
                tracing::error!("configuration not reloaded: {line}");
            }
        }
    }
}
