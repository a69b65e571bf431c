//! The thread that watches etcd: what it hears it gives to the roster, and what that makes of it to the node.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use config::Joined;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, sleep, sleep_until, timeout},
};

use crate::{
    etcd::{Etcd, Failure, Lease, Written},
    identity::Identity,
    list_file,
    record::{Cause, Gone, Record, What},
    roster::{Members, Registration, Roster, Seen},
};

/// First and longest time between two attempts to reach etcd.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(6));
/// Changes of the list come to the node at once, and then so far apart: whoever has many nodes must not read its
/// configuration for each of them.
const APART: Duration = Duration::from_secs(1);
/// How often the list is written when nothing in it has changed but who is there.
const WRITE: Duration = Duration::from_secs(5);
/// How often time is told to the roster.
const TICK: Duration = Duration::from_secs(1);
/// A connection that was there for so long was a good one: the next attempt is made at once.
const STEADY: Duration = Duration::from_secs(5);
/// How long the end waits for etcd.
const END: Duration = Duration::from_secs(1);

/// The connection to etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connection {
    /// The first attempt is under way, since then.
    Connecting(Instant),
    /// To this URL, since then.
    Connected(String, Instant),
    /// There is none, and why, since then.
    Away(String, Instant),
}

/// What there is to know of those who joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Counts changes of the list that the configuration is made of.
    pub list: u64,
    /// The connection to etcd.
    pub connection: Connection,
    /// How often it was lost, or could not be made.
    pub retries: u64,
    /// Revision of etcd up to which everything is known.
    pub revision: i64,
    /// Those who joined.
    pub members: Members,
    /// What etcd says of this node itself.
    pub registration: Registration,
    /// Why this node's own record or lease could not be written.
    pub own_problem: Option<String>,
    /// Why the list could not be written down.
    pub unwritten: Option<String>,
    /// What was counted.
    pub seen: Seen,
}

/// What the thread is told.
#[derive(Clone, Debug)]
struct Orders {
    settings: config::Membership,
    /// Whether it shall end, and whether the others shall know at once.
    end: Option<bool>,
}

/// The thread.
#[derive(Debug)]
pub struct Membership {
    orders: watch::Sender<Orders>,
    thread: Option<JoinHandle<()>>,
}

impl Membership {
    /// Starts to watch, and tells what there is to know; `confine` takes from the thread what it does not need.
    ///
    /// # Errors
    ///
    /// When the list on the disk cannot be read, or the thread cannot be started.
    pub fn start(
        settings: &config::Membership,
        news: watch::Sender<Option<News>>,
        confine: impl FnOnce() + Send + 'static,
    ) -> Result<Self> {
        let mut roster = list_file::load(&settings.state_dir)?;
        roster.local = settings.local.len();
        roster.own = Identity::load(&settings.state_dir)?;
        let orders = Orders {
            settings: settings.settings(),
            end: None,
        };
        let (sender, orders) = watch::channel(orders);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = thread::Builder::new()
            .name("membership".to_owned())
            .spawn(move || {
                confine();
                runtime.block_on(Watcher::new(roster, orders, news).run());
            })
            .context("cannot start the thread that watches etcd")?;
        Ok(Self {
            orders: sender,
            thread: Some(thread),
        })
    }

    /// Goes on with other settings.
    pub fn configure(&self, settings: &config::Membership) {
        let settings = settings.settings();
        self.orders.send_if_modified(|orders| {
            let changed = orders.settings != settings;
            orders.settings = settings;
            changed
        });
    }

    /// Ends; with `leave_lease` the others do not know for as long as the lease runs: another start follows.
    pub fn stop(mut self, leave_lease: bool) {
        self.orders
            .send_modify(|orders| orders.end = Some(leave_lease));
        if let Some(thread) = self.thread.take() {
            // It has bounded its own end.
            let _ = thread.join();
        }
    }
}

/// Why a connection ended.
enum End {
    /// Other settings.
    Settings,
    /// The daemon stops.
    Stop,
    Failed(Failure),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

struct Watcher {
    roster: Roster,
    orders: watch::Receiver<Orders>,
    settings: config::Membership,
    news: watch::Sender<Option<News>>,
    connection: Connection,
    retries: u64,
    own_problem: Option<String>,
    unwritten: Option<String>,
    /// The list as the node has it.
    published: Vec<Joined>,
    lists: u64,
    last_published: Option<Instant>,
    /// Whether the list on the disk is older than this one, and when it was written.
    unsaved: bool,
    saved: Instant,
    told: Registration,
    /// Those who wait for `l2ha accept`, as the list on the disk has them.
    waiting: BTreeSet<String>,
}

impl Watcher {
    fn new(
        roster: Roster,
        orders: watch::Receiver<Orders>,
        news: watch::Sender<Option<News>>,
    ) -> Self {
        let settings = orders.borrow().settings.clone();
        Self {
            published: roster.nodes(),
            waiting: roster.waiting(),
            roster,
            orders,
            settings,
            news,
            connection: Connection::Connecting(Instant::now()),
            retries: 0,
            own_problem: None,
            unwritten: None,
            lists: 0,
            last_published: None,
            unsaved: false,
            saved: Instant::now(),
            told: Registration::None,
        }
    }

    async fn run(mut self) {
        self.tell();
        let mut attempt = 0;
        let mut endpoint = random(self.settings.etcd.len());
        loop {
            let count = self.settings.etcd.len().max(1);
            let url = self.settings.etcd.get(endpoint % count).cloned();
            let url = url.unwrap_or_default();
            match self.watch(&url, &mut attempt).await {
                End::Stop => {
                    self.save();
                    return;
                }
                End::Settings => attempt = 0,
                End::Failed(why) => {
                    self.lost(&url, &why);
                    endpoint += 1;
                    // Another member is asked at once.
                    let pause = match endpoint.is_multiple_of(count) || attempt > 0 {
                        true => backoff(attempt),
                        false => Duration::ZERO,
                    };
                    attempt += 1;
                    tokio::select! {
                        () = sleep(pause) => {}
                        changed = self.orders.changed() => {
                            if changed.is_err() || self.orders.borrow().end.is_some() {
                                return;
                            }
                        }
                    }
                }
            }
            self.settings = self.orders.borrow_and_update().settings.clone();
            self.roster.local = self.settings.local.len();
        }
    }

    fn lost(&mut self, url: &str, why: &Failure) {
        self.roster.disconnected();
        self.retries += 1;
        let why = format!("{url}: {why}");
        if !matches!(self.connection, Connection::Away(..)) {
            tracing::warn!(
                "membership: etcd is away, going on with the list of {} nodes: {why}",
                self.published.len()
            );
        }
        let since = match self.connection {
            Connection::Away(_, since) => since,
            _ => Instant::now(),
        };
        self.connection = Connection::Away(why, since);
        self.save();
        self.tell();
    }

    /// Watches until something comes between.
    async fn watch(&mut self, url: &str, attempt: &mut u32) -> End {
        let mut lease = None;
        let mut orders = self.orders.clone();
        // Also while an answer is waited for, which can take long where etcd hangs.
        let overdue = async move {
            let _ = orders.wait_for(|orders| orders.end.is_some()).await;
            sleep(END).await;
        };
        let end = tokio::select! {
            end = self.follow(url, attempt, &mut lease) => end.unwrap_or_else(End::Failed),
            () = overdue => End::Stop,
        };
        let revoke = self.orders.borrow().end == Some(false);
        if let (End::Stop, true, Some((mut etcd, lease))) = (&end, revoke, lease) {
            let _ = timeout(END, etcd.end(lease)).await;
        }
        end
    }

    async fn follow(
        &mut self,
        url: &str,
        attempt: &mut u32,
        kept: &mut Option<(Etcd, Lease)>,
    ) -> Result<End, Failure> {
        let mut etcd = Etcd::open(&self.settings, url).await?;
        let snapshot = etcd.snapshot().await?;
        let mut watch = etcd.watch(snapshot.revision + 1).await?;
        if self.connection_is_news() {
            tracing::info!(
                "membership: watching {url} from revision {}",
                snapshot.revision
            );
        }
        let since = Instant::now();
        self.connection = Connection::Connected(url.to_owned(), since);
        self.roster.snapshot(
            now(),
            snapshot.cluster_id,
            snapshot.revision,
            &snapshot.items,
        );
        self.unsaved = true;
        let mut lease: Option<Lease> = None;
        let mut tick = interval(TICK);
        // After a pause time is told once.
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut keep = Instant::now();
        loop {
            if self.registration_changed() {
                keep = Instant::now();
            }
            let waiting = self.roster.waiting();
            if waiting != self.waiting {
                // `l2ha accept` reads there who waits.
                self.waiting = waiting;
                self.save();
            }
            self.tell();
            let publish = self.publish_due();
            tokio::select! {
                changes = watch.next() => {
                    let changes = changes?;
                    if changes.items.is_empty() {
                        continue;
                    }
                    self.roster.changes(now(), changes.revision, &changes.items);
                    self.unsaved = true;
                    let last = changes.items.iter().map(|item| item.revision).max();
                    let known = |lease: &Lease| last >= Some(lease.revision);
                    if lease.as_ref().is_some_and(known) && !self.roster.is_own_alive() {
                        // Somebody has removed it.
                        lease = None;
                        keep = Instant::now();
                    }
                }
                () = until(publish) => self.publish(),
                () = sleep_until(keep.into()) => {
                    keep = Instant::now() + self.settings.lease / 3;
                    let result = self.keep_own(&mut etcd, &mut lease).await;
                    if let Err(why) = &result
                        && why.is_silence
                    {
                        // It hangs: another member may not.
                        return Err(Failure::new(why.to_string()));
                    }
                    self.own_problem = result.err().map(|why| why.to_string());
                }
                _ = tick.tick() => {
                    if since.elapsed() >= STEADY {
                        *attempt = 0;
                    }
                    self.roster.tick(now());
                    self.forget_overdue(&mut etcd).await;
                    if self.unwritten.is_some() || self.unsaved && self.saved.elapsed() >= WRITE {
                        self.save();
                    }
                }
                changed = self.orders.changed() => {
                    if changed.is_err() || self.orders.borrow().end.is_some() {
                        *kept = lease.map(|lease| (etcd, lease));
                        return Ok(End::Stop);
                    }
                    return Ok(End::Settings);
                }
            }
        }
    }

    fn connection_is_news(&self) -> bool {
        !matches!(self.connection, Connection::Connected(..))
    }

    /// Whether what etcd says of this node is another thing than before.
    fn registration_changed(&mut self) -> bool {
        let mut registration = self.roster.registration();
        if matches!(registration, Registration::Held | Registration::Gone(_)) {
            // `l2ha join` may have been called again.
            if let Ok(own) = Identity::load(&self.settings.state_dir)
                && own.is_some()
                && own != self.roster.own
            {
                self.roster.own = own;
                registration = self.roster.registration();
            }
        }
        let changed = registration != self.told;
        self.told = registration;
        if changed {
            match registration {
                Registration::Held => {
                    tracing::error!("membership: another host has this node's name")
                }
                Registration::Gone(cause) => {
                    tracing::warn!("membership: this node was taken out ({})", shown(cause));
                }
                Registration::None | Registration::Fine | Registration::Missing => {}
            }
        }
        changed
    }

    /// Keeps this node's own record and lease.
    async fn keep_own(&self, etcd: &mut Etcd, lease: &mut Option<Lease>) -> Result<(), Failure> {
        let Some(own) = &self.roster.own else {
            return Ok(());
        };
        match self.roster.registration() {
            Registration::None => return Ok(()),
            Registration::Gone(_) | Registration::Held => {
                if let Some(lease) = lease.take() {
                    etcd.end(lease).await?;
                }
                return Ok(());
            }
            Registration::Missing => self.register(etcd, own).await?,
            Registration::Fine => {}
        }
        // One that could not be kept is not tried again: its stream may have ended.
        if let Some(mut kept) = lease.take()
            && kept.keep().await?
        {
            *lease = Some(kept);
            return Ok(());
        }
        *lease = Some(etcd.live(own, self.settings.lease).await?);
        Ok(())
    }

    /// Writes this node's record again, which etcd has lost.
    async fn register(&self, etcd: &mut Etcd, own: &Identity) -> Result<(), Failure> {
        let Some(entry) = self.roster.entries.get(&own.name) else {
            return Err(Failure::new(
                "this node is not on its own list: call `l2ha join`",
            ));
        };
        let there = etcd.place(&own.name).await?;
        let revision = match there {
            None => 0,
            // Rubbish in its place.
            Some((Err(_), revision)) => revision,
            Some((Ok(record), revision)) if record.id == own.id && record.serial < own.serial => {
                revision
            }
            Some((Ok(record), revision))
                if matches!(record.what, What::Gone(_)) && record.id != own.id =>
            {
                revision
            }
            // It will be heard.
            Some(_) => return Ok(()),
        };
        let record = Record::new(own.id, own.serial, What::Node(entry.node.clone()));
        match etcd.write(&own.name, &record, revision, None).await? {
            Written::Done(revision) => {
                tracing::warn!(
                    "membership: etcd had lost this node; registered again at revision {revision}"
                );
            }
            Written::Overtaken => {}
        }
        Ok(())
    }

    /// Says of nodes that were absent for too long that they are gone: one of the others does, by chance.
    async fn forget_overdue(&self, etcd: &mut Etcd) {
        let overdue = self.roster.overdue(self.settings.forget_after);
        let others = self.roster.entries.len() + self.settings.local.len();
        if overdue.is_empty() || random(others.max(1)) >= overdue.len() {
            return;
        }
        let (name, id, serial) = &overdue[random(overdue.len())];
        let forgotten = async {
            let there = etcd.record(name).await?;
            let Some((record, revision)) = there else {
                // etcd has lost it: this list goes on with it until somebody says so.
                return Ok(());
            };
            if record.id != *id || record.serial > *serial || matches!(record.what, What::Gone(_)) {
                return Ok(());
            }
            let record = Record::new(*id, *serial, What::Gone(gone(Cause::Absent)));
            let keep = Some(self.settings.forget_after);
            if let Written::Done(_) = etcd.write(name, &record, revision, keep).await? {
                tracing::warn!("membership: {name} was absent for too long and is forgotten");
            }
            Ok::<_, Failure>(())
        };
        if let Err(why) = forgotten.await {
            tracing::warn!(
                "membership: {name} was absent for too long, and cannot be forgotten: {why}"
            );
        }
    }

    /// When the node is to have the list.
    fn publish_due(&self) -> Option<Instant> {
        (self.roster.nodes() != self.published).then(|| {
            let earliest = self.last_published.map(|last| last + APART);
            earliest.unwrap_or_else(Instant::now)
        })
    }

    /// Gives the node the list, once it is on the disk: from there it is read.
    fn publish(&mut self) {
        self.last_published = Some(Instant::now());
        self.unsaved = true;
        self.save();
        if self.unwritten.is_some() {
            return;
        }
        let nodes = self.roster.nodes();
        for node in &nodes {
            if self.published.iter().all(|before| before.name != node.name) {
                tracing::info!("membership: {} has joined", node.name);
            }
        }
        for before in &self.published {
            if nodes.iter().all(|node| node.name != before.name) {
                tracing::info!("membership: {} is gone", before.name);
            }
        }
        self.published = nodes;
        self.lists += 1;
        self.tell();
    }

    fn save(&mut self) {
        if !self.unsaved && self.unwritten.is_none() {
            return;
        }
        let folder: PathBuf = self.settings.state_dir.clone();
        let stored = list_file::store(&folder, &self.roster);
        self.unsaved = false;
        self.saved = Instant::now();
        let before = self.unwritten.take();
        self.unwritten = stored.err().map(|error| format!("{error:#}"));
        if let (Some(why), None) = (&self.unwritten, before) {
            tracing::error!("membership: {why}");
        }
    }

    fn tell(&self) {
        let news = Some(News {
            list: self.lists,
            connection: self.connection.clone(),
            retries: self.retries,
            revision: self.roster.revision,
            members: self.roster.members(),
            registration: self.roster.registration(),
            own_problem: self.own_problem.clone(),
            unwritten: self.unwritten.clone(),
            seen: self.roster.seen(),
        });
        self.news.send_if_modified(|told| {
            let changed = *told != news;
            *told = news;
            changed
        });
    }
}

/// Why a node is gone, in words.
pub(crate) const fn shown(cause: Cause) -> &'static str {
    match cause {
        Cause::Left => "it has left",
        Cause::Forgotten => "`l2ha forget`",
        Cause::Absent => "it was absent for too long",
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

/// Doubles, up to a bound; hundreds of nodes must not come at the same moment.
pub(crate) fn backoff(attempt: u32) -> Duration {
    let longest = RETRY.0.saturating_mul(1 << attempt.min(10)).min(RETRY.1);
    longest / 2 + longest.mul_f64(random(1000) as f64 / 2000.0)
}

/// Below `end`; 0 where that is 0, or the kernel has no random bytes.
fn random(end: usize) -> usize {
    let number = getrandom::u64().unwrap_or_default();
    match end {
        0 => 0,
        end => usize::try_from(number % end as u64).unwrap_or_default(),
    }
}

/// An end that is written now.
pub(crate) fn gone(cause: Cause) -> Gone {
    Gone {
        cause,
        at: now().as_secs(),
    }
}

pub(crate) fn now() -> Duration {
    // A clock before 1970 is 1970.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
