//! The node as a whole: brings the kernel to what the configuration says, and keeps it there.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use config::{Change, Config};
use control::{
    Answer, Command, DataplaneStatus, Explanation, Health, Problem, ReloadChange, Reloaded,
    SessionStatus, Status,
};
use dataplane::{DataPlane, Hook, Reason, nodes::Held};
use health::States;
use linux::Netlink;
use routing::{Rotations, View};
use tokio::sync::{oneshot, watch};

use crate::{
    attachment::Attachment,
    claim::Claim,
    event_loop::LostLines,
    explain::{About, Known},
    fragments::FragmentTap,
    gates::Gates,
    joiners::Joiners,
    journal::Journal,
    marks, merging,
    packet_stream::{self, PacketStream},
    path_mtu::PathMtus,
    ports::PortReservations,
    possessions::Possessions,
    predecessor,
    problems::{NodeFacts, Observer, Registry, RoutingViews, Views, judge},
    removal,
    repair::Repairs,
    router::Router,
    services::Services,
    snapshot::Snapshot,
    startup::Startup,
    tools::Tools,
    tunnels::Tunnels,
    underlay::Underlay,
    who::who,
};

/// The parts of the node. Each owns its state; the order in which they act is here.
pub(crate) struct Node {
    config: Config,
    claim: Claim,
    /// The node's folder on bpffs.
    _held: Held,
    startup: Startup,
    tools: Tools,
    ports: PortReservations,
    underlay: Underlay,
    attachment: Attachment,
    tunnels: Tunnels,
    /// What changes are looked at; all, where that is not known.
    possessions: Option<Possessions>,
    paths: PathMtus,
    fragments: FragmentTap,
    services: Services,
    gates: Gates,
    joiners: Joiners,
    router: Router,
    observer: Observer,
    registry: Registry,
    lost_lines: LostLines,
    /// Why a port could not be reserved in the last pass.
    port_taken: Option<String>,
    /// Why the configuration was refused when it was read last.
    reload_refused: Option<String>,
    /// The longest time for which the event loop has handled one thing.
    longest_pause: Duration,
    /// Why what the next start needs to know is not written down.
    state_not_kept: Option<String>,
}

impl Node {
    /// Loads the programs and makes the first pass.
    ///
    /// # Errors
    ///
    /// When another daemon has the underlay's interface or what this node would take over, the programs cannot be
    /// loaded, OSPF cannot be started, or the node would be cut off.
    pub(crate) async fn start(
        config_path: PathBuf,
        config: Config,
        lost_lines: LostLines,
    ) -> Result<Self> {
        let netlink = Netlink::open().context("cannot open rtnetlink")?;
        let mut claim = Claim::new(&config.node.name, &config_path);
        let links = netlink.links().await?;
        let underlay = &config.underlay.interface;
        if let Some(link) = links.iter().find(|link| link.name == *underlay) {
            claim.ensure(link.index, underlay).await?;
        }
        let journal = format!("{}.made.json", config.node.name);
        let mut journal = Journal::load(config.node.run_dir.join(journal));
        let predecessors = predecessor::take_over(&config, &links, &mut journal)
            .context("another node's programs are here, and they cannot be taken over")?;
        let held = predecessor::hold_own(&config.node)?;
        marks::recognise(&config.node, &predecessors, &mut journal, &netlink).await?;
        // First, so that the gateways answer while the programs are loaded.
        let attachment = Attachment::begin(&netlink, &config).await?;
        let plane = DataPlane::load(&config.node.pins())?;
        let gates = Gates::start(&config)?;
        let joiners = Joiners::start(&config);
        let mut node = Self {
            claim,
            _held: held,
            startup: Startup::examine(config_path, &config),
            config,
            ports: PortReservations::new(plane.reassembled().clone()),
            tools: Tools {
                netlink,
                plane,
                journal,
                repairs: Repairs::default(),
            },
            underlay: Underlay::default(),
            attachment,
            tunnels: Tunnels::default(),
            possessions: None,
            paths: PathMtus::default(),
            fragments: FragmentTap::default(),
            services: Services::default(),
            gates,
            joiners,
            router: Router::new(),
            observer: Observer::default(),
            registry: Registry::default(),
            lost_lines,
            port_taken: None,
            reload_refused: None,
            longest_pause: Duration::ZERO,
            state_not_kept: None,
        };
        node.router.start(&node.config)?;
        node.reconcile().await;
        if let Some(why) = node.attachment.cut_off() {
            let why = anyhow::anyhow!(why.to_owned());
            node.stop().await?;
            return Err(why);
        }
        Ok(node)
    }

    /// One pass: whatever is not as the configuration says is changed, the rest is not touched.
    /// What fails is logged and tried again in the next pass.
    pub(crate) async fn reconcile(&mut self) {
        if let Err(error) = self.remove_leftovers().await {
            tracing::error!(
                error = format!("{error:#}"),
                "cannot remove what is no longer wanted"
            );
        }
        let ports = self.ports.ensure(&self.config);
        self.port_taken = ports.err().map(|error| format!("{error:#}"));
        match Snapshot::read(&self.tools.netlink).await {
            Ok(kernel) => self.apply(kernel).await,
            Err(error) => {
                tracing::error!(%error, "cannot look at the kernel; trying again");
                self.possessions = None;
            }
        }
        self.paths.follow(&self.config, &self.tunnels);
        self.paths.apply(&self.tunnels, &self.tools.netlink).await;
        self.sync_router();
        if let Err(error) = self.tools.plane.settle() {
            tracing::warn!(
                error = format!("{error:#}"),
                "sessions are found more slowly than they could be"
            );
        }
        self.tools.repairs.start();
        self.services.postpone_overdue();
    }

    /// Gives the routing thread what there is now.
    fn sync_router(&self) {
        self.router.sync(
            &self.config,
            (&self.tunnels, &self.paths),
            (&self.services, &self.gates),
            self.underlay.link(),
        );
    }

    /// The states of the services' checks, as they come.
    pub(crate) fn health_news(&self) -> watch::Receiver<States> {
        self.gates.news()
    }

    /// The state of a check has changed: it decides at once what is advertised.
    pub(crate) fn heed_health(&mut self) {
        self.gates.update(&self.config);
        self.sync_router();
    }

    /// What etcd says of those who joined the cluster, as it comes.
    pub(crate) fn members_news(&self) -> watch::Receiver<Option<membership::News>> {
        self.joiners.news()
    }

    /// etcd has said something of those who joined: another list is another configuration.
    pub(crate) async fn heed_members(&mut self) {
        if !self.joiners.take_list() {
            return;
        }
        if let Err(error) = self.take_list().await {
            tracing::error!("the changed list of nodes is not in force: {error:#}");
            self.reload_refused = Some(format!("the list of nodes: {error:#}"));
        }
    }

    /// The file as it was read last, with the list as it is now.
    async fn take_list(&mut self) -> Result<()> {
        let Some(membership) = &self.config.membership else {
            return Ok(());
        };
        let who = who(Some(self.config.node.name.clone()))?;
        let config = Config::parse(&membership.text, self.startup.config_path(), &who)?;
        self.ensure_fixed(&config)?;
        let changes = self.config.changes(&config);
        self.take(config).await?;
        log(&changes);
        Ok(())
    }

    /// For `l2ha members`.
    pub(crate) fn members(&self) -> Option<control::Membership> {
        self.joiners.view(&self.config)
    }

    /// How far rotations of secrets are, as it changes.
    pub(crate) fn rotation_news(&self) -> watch::Receiver<Rotations> {
        self.router.rotation_news()
    }

    /// A neighbour has come further in a rotation, or gone back: what is sent to it follows at once.
    pub(crate) fn heed_rotations(&mut self) {
        let Self { config, tools, .. } = self;
        let rotations = self.router.rotations();
        self.tunnels.follow_rotations(config, tools, &rotations);
    }

    /// Removes what was made for an earlier configuration; its sessions last of all, in
    /// [`Node::apply`].
    async fn remove_leftovers(&mut self) -> Result<()> {
        let Self { config, tools, .. } = self;
        self.tunnels.forget_unconfigured(config);
        removal::remove_old_pairs(config, tools).await?;
        let routing = self.router.is_running();
        removal::remove_old_addresses(config, &mut self.services, routing, tools).await?;
        removal::remove_old_routes(config, self.router.is_settled(), tools).await
    }

    /// The part of a pass that works from one snapshot of the kernel.
    async fn apply(&mut self, mut kernel: Snapshot) {
        let Self { config, tools, .. } = self;
        let underlay = &config.underlay;
        let claimed = match kernel.link(&underlay.interface) {
            Some(link) => self.claim.ensure(link.index, &link.name).await,
            None => Ok(()),
        };
        let checked = match claimed {
            Ok(()) => self.underlay.check(underlay, &kernel, &tools.netlink).await,
            Err(error) => {
                self.underlay.leave();
                Err(error)
            }
        };
        if let Err(error) = checked {
            self.underlay
                .set_problem(underlay, Some(format!("{error:#}")));
        }
        if let Some(link) = self.underlay.link() {
            let rotations = self.router.rotations();
            self.tunnels
                .ensure(config, link, tools, &mut kernel, &rotations)
                .await;
            // The program last, so that its first packet finds a session.
            let attached = self.attachment.ensure(config, link, tools).await;
            let hook = self.attachment.attached().map(|attached| attached.hook);
            match attached.and_then(|()| merging::ensure(config, hook == Some(Hook::Xdp))) {
                // Sessions that move to another id lose nothing: the old one goes at the end.
                Ok(()) => self.tunnels.remove_old_sessions(config, tools),
                Err(error) => self
                    .underlay
                    .set_problem(underlay, Some(format!("{error:#}"))),
            }
        }
        if let Err(error) = self.services.ensure(config, tools, &kernel).await {
            tracing::error!(
                error = format!("{error:#}"),
                "cannot put the services' addresses in place"
            );
        }
        self.possessions = Some(Possessions::new(config, &kernel));
    }

    /// Whether a change in the kernel may be about something of this node's.
    pub(crate) fn concerns(&self, change: &linux::Change) -> bool {
        let possessions = self.possessions.as_ref();
        possessions.is_none_or(|it| it.concerns(change))
    }

    /// Whether the program that was attached to the underlay still is.
    pub(crate) fn still_attached(&self) -> bool {
        self.attachment.still_attached(&self.tools)
    }

    /// Whether the settings of some virtual interfaces are as a pass has left them; of others the next time.
    pub(crate) fn settings_hold(&mut self) -> bool {
        self.tunnels.settings_hold(&self.config)
    }

    /// When the next pass is due, if nothing else asks for one before.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.services.due()
    }

    /// When probes of what fits through the tunnels are due.
    pub(crate) fn probes_due(&self) -> Option<Instant> {
        self.paths.due()
    }

    /// Probes what fits through the tunnels, and gives the kernel what has changed.
    pub(crate) async fn probe(&mut self) {
        if self.paths.proceed() {
            self.paths.apply(&self.tunnels, &self.tools.netlink).await;
            self.sync_router();
        }
    }

    /// Hears what routers say of the tunnels' packets.
    pub(crate) fn listen(&mut self) {
        self.paths.listen();
    }

    /// Kernel routes have changed: perhaps one of ours was removed.
    pub(crate) fn check_routes(&self) {
        self.router.check_routes();
    }

    /// Others have changed something of their own on this host: routing leaves room for it.
    pub(crate) fn look_around(&self) {
        self.router.look_around();
    }

    /// Whether this is the index of the underlay's interface.
    pub(crate) fn is_underlay(&self, interface: Option<u32>) -> bool {
        let underlay = self.underlay.link();
        underlay.is_some_and(|link| interface == Some(link.index))
    }

    /// The underlay's routes may lead elsewhere: the sessions' packets follow them.
    pub(crate) async fn follow_routes(&mut self) {
        if let Some(link) = self.underlay.link() {
            let Self { config, tools, .. } = self;
            self.tunnels.follow_routes(config, link, tools).await;
        }
    }

    /// Reads the configuration again and applies what has changed; in a dry run, only says what would be.
    ///
    /// # Errors
    ///
    /// Every mistake in the file, or why what it says cannot hold while the daemon runs. Nothing has been
    /// changed then, and it stays a problem until a file is taken.
    pub(crate) async fn reload(&mut self, dry_run: bool) -> Result<Reloaded> {
        let began = Instant::now();
        let changes = self.try_reload(dry_run).await;
        if !dry_run {
            let why = changes.as_ref().err().map(|error| format!("{error:#}"));
            for line in why.iter().flat_map(|it| it.lines()) {
                tracing::error!("configuration not reloaded: {line}");
            }
            self.reload_refused = why.and_then(|it| it.lines().next().map(str::to_owned));
        }
        let changes = changes?.into_iter().map(|change| ReloadChange {
            what: change.what,
            interrupts: change.interrupts,
        });
        Ok(Reloaded {
            node: self.name().to_owned(),
            config_file: self.startup.config_file(),
            dry_run,
            changes: changes.collect(),
            pause_us: microseconds(began.elapsed()),
            settled: dry_run,
        })
    }

    async fn try_reload(&mut self, dry_run: bool) -> Result<Vec<Change>> {
        let config = self.read_config()?;
        let changes = self.config.changes(&config);
        if dry_run {
            return Ok(changes);
        }
        self.take(config).await?;
        log(&changes);
        tracing::info!(changes = changes.len(), "configuration reloaded");
        Ok(changes)
    }

    /// The configuration as it is in the file now, if it can hold while the daemon runs.
    fn read_config(&self) -> Result<Config> {
        let who = who(Some(self.config.node.name.clone()))?;
        let config = Config::load(self.startup.config_path(), &who)?;
        self.ensure_fixed(&config)?;
        Ok(config)
    }

    /// Refuses what cannot change while the daemon runs.
    fn ensure_fixed(&self, config: &Config) -> Result<()> {
        let fixed = self.config.node.changes(&config.node);
        if let Some(Change { what, .. }) = fixed.first() {
            bail!(
                "{what}: cannot change while the daemon runs; restart it, or write what was there"
            );
        }
        Ok(())
    }

    /// Goes on with another configuration. Nothing has been changed when this fails.
    async fn take(&mut self, config: Config) -> Result<()> {
        removal::note_routes(&config, &mut self.tools);
        let mode_changed = config.underlay.mode != self.config.underlay.mode;
        let before = std::mem::replace(&mut self.config, config);
        let was = |name: &String| {
            let mut tunnels = before.tunnels.iter().map(|it| &it.name);
            let mut services = before.services.iter().map(|it| &it.name);
            tunnels.any(|it| it == name) || services.any(|it| it == name)
        };
        let tunnels = self.config.tunnels.iter().map(|it| &it.name);
        let services = self.config.services.iter().map(|it| &it.name);
        let new = tunnels.chain(services).filter(|name| !was(name)).cloned();
        self.tools.repairs.expect(new);
        self.gates.configure(Some(&before), &self.config);
        self.joiners.configure(&self.config);
        self.router.reconfigure(&self.config);
        self.attachment.reconfigure(mode_changed);
        self.paths.look_anew();
        self.reconcile().await;
        Ok(())
    }

    /// Comes when everything that routing has been told holds.
    pub(crate) fn settled(&self) -> impl Future<Output = ()> + Send + use<> {
        self.router.settled(&self.config)
    }

    /// The event loop has handled one thing for so long.
    pub(crate) fn note_pause(&mut self, pause: Duration) {
        self.longest_pause = self.longest_pause.max(pause);
    }

    /// Makes the node or a service of it the last resort, or ends that. Whether that is a change.
    pub(crate) fn drain(&mut self, service: Option<&str>, on: bool) -> Result<bool> {
        let Some(name) = service else {
            return self.router.drain(on);
        };
        let changed = self.gates.drain(&self.config, name, on)?;
        self.sync_router();
        Ok(changed)
    }

    /// The end before a restart: the neighbours are told, and everything stays in its place.
    pub(crate) async fn stop_for_restart(mut self) {
        self.joiners.stop(true);
        self.router.stop_for_restart().await;
    }

    /// The clean stop: withdraw, let the neighbours move, then remove everything that was made.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.router.stop().await;
        self.joiners.stop(false);
        self.gates.remove_file();
        removal::remove_all(self.tools).await
    }

    /// The node's name.
    pub(crate) fn name(&self) -> &str {
        &self.config.node.name
    }

    /// How much longer than usual the next pass waits: repairs are undone again and again.
    pub(crate) fn repair_delay(&self) -> Duration {
        self.tools.repairs.delay(Instant::now())
    }

    /// Writes down again what the next start needs to know, where that could not be done or somebody has removed it.
    /// The run folder says whether it is there.
    pub(crate) fn keep_state(&mut self, run_dir: Option<&str>) {
        let journal = self.tools.journal.keep();
        let gates = self.gates.keep();
        let why = run_dir.or(journal).or(gates);
        let why = why.or(self.router.keep_state());
        self.state_not_kept = why.map(str::to_owned);
    }

    /// Looks what is wrong, says what has changed, and starts OSPF again if it has ended.
    pub(crate) async fn look(&mut self) {
        if self.router.look_after(&self.config) {
            self.sync_router();
        }
        if let Err(error) = self.judge().await {
            tracing::debug!("cannot judge the node: {error:#}");
        }
    }

    /// What there is to see, and what is wrong with it.
    async fn judge(&mut self) -> Result<(Views, Vec<Problem>)> {
        let routing = self.router.views().await;
        let Self { config, tools, .. } = self;
        let counters = tools.plane.counters()?;
        let fragments = counters.reasons.get(Reason::PassedFragment.name());
        self.fragments.follow(
            config,
            self.underlay.link().map(|link| link.index),
            tools.plane.reassembled(),
            fragments.copied().unwrap_or_default(),
        );
        let runs = matches!(routing, RoutingViews::Runs(_));
        let mut views = Views {
            underlay: self
                .underlay
                .status(&config.underlay, self.attachment.attached()),
            tunnels: self.tunnels.status(config, tools, &counters),
            services: self.services.status(config, runs, &self.gates),
            counters,
            routing,
        };
        self.paths.fill(&mut views.tunnels);
        let node = NodeFacts {
            uptime: self.startup.uptime(),
            reload_refused: self.reload_refused.clone(),
            port_taken: self.port_taken.clone(),
            state_not_kept: self.state_not_kept.clone(),
            service_refused: self.services.refused().map(str::to_owned),
            undone: tools.repairs.undone(Instant::now()),
            log_lost: false,
            membership: self.joiners.view(config),
        };
        let lost = (self.lost_lines)();
        let facts = self
            .observer
            .observe(config, &tools.plane, node, &mut views, lost);
        let mut problems = judge(&facts);
        self.registry.update(&mut problems, Instant::now());
        Ok((views, problems))
    }

    /// For `l2ha status`.
    pub(crate) async fn status(&mut self) -> Result<Status> {
        let (views, problems) = self.judge().await?;
        let Self { config, tools, .. } = self;
        let Views {
            counters,
            underlay,
            tunnels,
            services,
            routing,
        } = views;
        let ospf = match routing {
            RoutingViews::Runs(routes) => routes.summary,
            RoutingViews::None | RoutingViews::Ended(_) | RoutingViews::Silent => None,
        };
        Ok(Status {
            node: config.node.name.clone(),
            health: Health::of(&problems),
            problems,
            pid: std::process::id(),
            uptime_s: self.startup.uptime().as_secs(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            config_file: self.startup.config_file(),
            underlay,
            tunnels,
            services,
            dataplane: DataplaneStatus {
                reasons: counters
                    .reasons
                    .iter()
                    .map(|(name, count)| ((*name).to_owned(), *count))
                    .collect(),
                sessions_without_row: tools.plane.without_row(),
            },
            drained: self.router.drained(),
            rotation: self.tunnels.rotation(config, &self.router.rotations()),
            ospf,
            repairs: tools.repairs.counts(),
            socket: tools.plane.reassembled().counters(),
            path_mtu: self.paths.counters().collect(),
            findings: self.startup.findings(),
            log_lines_lost: (self.lost_lines)(),
            loop_pause_max_us: microseconds(self.longest_pause),
        })
    }

    /// For `l2ha explain`.
    pub(crate) async fn explain(&mut self, what: &str) -> Result<Explanation> {
        let about = About::find(&self.config, what)?;
        let (views, problems) = self.judge().await?;
        // Without OSPF there are none.
        let routes = self.show(View::Routes).await.unwrap_or_default();
        let known = Known {
            config: &self.config,
            views: &views,
            problems: &problems,
            routes: &routes,
            netlink: &self.tools.netlink,
            drained: self.router.drained(),
        };
        Ok(known.explain(&about).await)
    }

    /// For `l2ha sessions`.
    pub(crate) fn sessions(&self) -> Result<Vec<SessionStatus>> {
        let counters = self.tools.plane.counters()?;
        Ok(self.tunnels.sessions(&self.config, &self.tools, &counters))
    }

    /// What OSPF or BFD shows.
    pub(crate) async fn show<T>(&self, view: impl FnOnce(oneshot::Sender<T>) -> View) -> Result<T> {
        self.router.show(view).await
    }

    /// Begins the stream of packets that a command asks for, if it asks for one.
    pub(crate) fn packets(&self, command: &Command) -> Option<Result<(Answer, PacketStream)>> {
        packet_stream::begin(command, &self.config, &self.tools.plane)
    }
}

/// Tells what a reload has changed.
fn log(changes: &[Change]) {
    for Change { what, interrupts } in changes {
        match interrupts {
            Some(interrupts) => tracing::info!(interrupts, "{what}"),
            None => tracing::info!("{what}"),
        }
    }
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
