//! The event loop: waits for the kernel's notifications, for signals and for the control socket,
//! and has the node act on them.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use config::Config;
use linux::{Change, Monitor};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval, sleep_until},
};

use crate::{
    name_lock::NameLock,
    node::Node,
    run_dir::RunDir,
    server::{Question, Server},
};

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

    let name = config.node.name.clone();
    let _lock = NameLock::take(&name)?;
    let mut run_dir = RunDir::take(&config.node)?;
    let mut monitor = Monitor::open().context("cannot listen to the kernel")?;
    let mut server = Server::listen(&config.node.socket());
    let mut node = Node::start(config_path.clone(), config, lost).await?;
    let mut health = node.health_news();
    let mut rotations = node.rotation_news();
    let mut members = node.members_news();
    linux::drop_capabilities();
    tracing::info!(node = name, version = env!("CARGO_PKG_VERSION"), "running");

    let mut quick = interval(QUICK_CHECK);
    quick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut full = interval(FULL_CHECK);
    full.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut judge = interval(JUDGE);
    judge.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut plan = Plan::default();
    loop {
        let next_pass = until(plan.pass.into_iter().chain(node.due()).min());
        let what = tokio::select! {
            change = monitor.next() => What::Change(change),
            () = next_pass => What::Pass,
            () = until(plan.routes) => What::Routes,
            () = until(node.probes_due()) => What::Probes,
            _ = quick.tick() => What::QuickCheck,
            // The checks end with the node.
            Ok(()) = health.changed() => What::Health,
            Ok(()) = rotations.changed() => What::Rotations,
            Ok(()) = members.changed() => What::Members,
            _ = full.tick() => What::FullCheck,
            _ = judge.tick() => {
                let run_dir = run_dir.keep();
                node.keep_state(run_dir.or(server.keep()));
                What::Judge
            }
            request = server.next() => What::Question(request),
            _ = hangup.recv() => What::Reload,
            _ = restart.recv() => {
                tracing::info!("ending for a restart: everything stays in its place");
                node.stop_for_restart().await;
                return Ok(());
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        };
        let began = Instant::now();
        plan.handle(&mut node, what).await?;
        node.note_pause(began.elapsed());
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

/// What the event loop has to do something for.
enum What {
    /// The kernel has changed something; without a change, its socket is closed.
    Change(Option<Change>),
    Pass,
    Routes,
    Probes,
    QuickCheck,
    Health,
    Rotations,
    Members,
    FullCheck,
    Judge,
    Question(Question),
    Reload,
}

/// What is to be done soon.
#[derive(Default)]
struct Plan {
    pass: Option<Instant>,
    routes: Option<Instant>,
}

impl Plan {
    /// Does what has to be done. Nothing else is done meanwhile.
    async fn handle(&mut self, node: &mut Node, what: What) -> Result<()> {
        match what {
            What::Change(Some(change)) => self.note(node, change),
            What::Change(None) => bail!("the kernel has closed the notification socket"),
            What::Pass => {
                self.pass = None;
                node.reconcile().await;
            }
            What::Routes => {
                self.routes = None;
                node.follow_routes().await;
            }
            What::Probes => node.probe().await,
            What::QuickCheck => {
                node.listen();
                if !node.still_attached() {
                    node.reconcile().await;
                }
                if !node.settings_hold() {
                    self.pass_soon(node);
                }
            }
            What::FullCheck => node.reconcile().await,
            What::Health => node.heed_health(),
            What::Rotations => node.heed_rotations(),
            What::Members => node.heed_members().await,
            What::Judge => node.look().await,
            What::Question(question) => question.answer(node).await,
            What::Reload => {
                // It has been logged.
                let _ = node.reload(false).await;
            }
        }
        Ok(())
    }

    /// Takes note of a change in the kernel.
    fn note(&mut self, node: &Node, change: Change) {
        if !node.concerns(&change) {
            if !matches!(change, Change::TrafficControl(_) | Change::Setting(_)) {
                node.look_around();
            }
            return;
        }
        match change {
            // Most routes of OSPF are our own, over tunnels.
            Change::OspfRoute(interface) if !node.is_underlay(interface) => node.check_routes(),
            Change::Nexthop => node.check_routes(),
            Change::OspfRoute(_) | Change::Route { .. } | Change::Rule => {
                node.check_routes();
                self.routes.get_or_insert_with(|| Instant::now() + COLLECT);
            }
            change => {
                // The kernel removes IPv4 routes with an interface or with its last address, and
                // does not notify of that.
                if !matches!(change, Change::TrafficControl(_) | Change::Setting(_)) {
                    node.check_routes();
                }
                self.pass_soon(node);
            }
        }
    }

    fn pass_soon(&mut self, node: &Node) {
        self.pass
            .get_or_insert_with(|| Instant::now() + COLLECT + node.repair_delay());
    }
}

/// Sleeps until a moment; without one, without end.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}
