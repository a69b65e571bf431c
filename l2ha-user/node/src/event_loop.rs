//! The event loop: waits for the kernel's notifications, for signals and for the control socket,
//! and has the node act on them.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use config::Config;
use linux::{Change, Monitor};
use nix::fcntl::{Flock, FlockArg};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval, sleep_until},
};

use crate::{node::Node, server::Server};

/// How often the data plane and the interfaces' settings are looked at for what no notification tells: a bpf_link can
/// be detached, and most settings be changed, without one.
const QUICK_CHECK: Duration = Duration::from_millis(200);
/// How often everything is compared, should a notification have been lost.
const FULL_CHECK: Duration = Duration::from_secs(10);
/// How often the node is judged: what is wrong with it is in the log after so long at the latest.
const JUDGE: Duration = Duration::from_secs(1);
/// Notifications come in bursts; this is how long they are collected before the node acts on them.
const COLLECT: Duration = Duration::from_millis(5);

/// How many lines the log has lost since the start.
pub type LostLines = Box<dyn Fn() -> u64>;

/// Runs the daemon until SIGTERM or SIGINT, which take everything down, or SIGUSR1, which leaves
/// everything to the next start.
///
/// # Errors
///
/// When another daemon has this node's name, or the programs cannot be loaded.
pub fn run(config_path: PathBuf, config: Config, lost: LostLines) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(config_path, config, lost))
}

async fn serve(config_path: PathBuf, config: Config, lost: LostLines) -> Result<()> {
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
    let mut node = Node::start(config_path.clone(), config, lost).await?;
    let mut health = node.health_news();
    linux::drop_capabilities();
    tracing::info!(node = name, version = env!("CARGO_PKG_VERSION"), "running");

    let mut quick = interval(QUICK_CHECK);
    quick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut full = interval(FULL_CHECK);
    full.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut judge = interval(JUDGE);
    judge.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut due: Option<Instant> = None;
    let mut routes_due: Option<Instant> = None;
    loop {
        let next_pass = until(due.into_iter().chain(node.due()).min());
        tokio::select! {
            change = monitor.next() => match change {
                // Most routes of OSPF are our own, over tunnels.
                Some(Change::OspfRoute(interface)) if !node.is_underlay(interface) => {
                    node.check_routes();
                }
                Some(Change::Nexthop) => node.check_routes(),
                Some(Change::OspfRoute(_) | Change::Route) => {
                    node.check_routes();
                    routes_due.get_or_insert_with(|| Instant::now() + COLLECT);
                }
                Some(change) => {
                    // The kernel removes IPv4 routes with an interface or with its last address, and
                    // does not notify of that.
                    if !matches!(change, Change::TrafficControl | Change::Setting) {
                        node.check_routes();
                    }
                    due.get_or_insert_with(|| Instant::now() + COLLECT + node.repair_delay());
                }
                None => anyhow::bail!("the kernel has closed the notification socket"),
            },
            () = next_pass => {
                due = None;
                node.reconcile().await;
            }
            () = until(routes_due) => {
                routes_due = None;
                node.follow_routes().await;
            }
            _ = quick.tick() => {
                if !node.still_attached() {
                    node.reconcile().await;
                }
                if !node.settings_hold() {
                    due.get_or_insert_with(|| Instant::now() + COLLECT + node.repair_delay());
                }
            }
            // The checks end with the node.
            Ok(()) = health.changed() => node.heed_health(),
            _ = full.tick() => node.reconcile().await,
            _ = judge.tick() => node.look().await,
            request = server.next() => request.answer(&mut node).await,
            _ = hangup.recv() => reload(&mut node, &config_path).await,
            _ = restart.recv() => {
                tracing::info!("ending for a restart: everything stays in its place");
                node.stop_for_restart().await;
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

/// Sleeps until a moment; without one, without end.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
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
async fn reload(node: &mut Node, config_path: &Path) {
    let refused = match Config::load(config_path) {
        Ok(config) => match node.reload(config).await {
            Ok(()) => {
                tracing::info!("configuration reloaded");
                None
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(error, "configuration not reloaded");
                Some(error)
            }
        },
        Err(errors) => {
            let errors = errors.to_string();
            for line in errors.lines() {
                tracing::error!("configuration not reloaded: {line}");
            }
            errors.lines().next().map(str::to_owned)
        }
    };
    node.set_reload_refused(refused);
}
