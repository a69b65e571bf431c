//! Those who joined the cluster by themselves: what etcd says of them comes from a thread of its own, and a changed list
//! is a changed configuration.

use config::Config;
use control::{Member, MemberState, RefusedMember};
use membership::{Connection, Members, Membership, News, Presence, Registration};
use tokio::sync::watch;

/// The thread that watches etcd, and what came from it.
pub(crate) struct Joiners {
    thread: Option<Membership>,
    sender: watch::Sender<Option<News>>,
    /// Which list the configuration is made of.
    list: u64,
    /// Why etcd is not watched.
    problem: Option<String>,
}

impl Joiners {
    /// Starts to watch, if the configuration has etcd.
    pub(crate) fn start(config: &Config) -> Self {
        let (sender, _) = watch::channel(None);
        let mut joiners = Self {
            thread: None,
            sender,
            list: 0,
            problem: None,
        };
        joiners.configure(config);
        joiners
    }

    /// Goes on with another configuration.
    pub(crate) fn configure(&mut self, config: &Config) {
        match (&config.membership, &self.thread) {
            (Some(settings), Some(thread)) => thread.configure(settings),
            (Some(settings), None) => {
                self.list = 0;
                let started =
                    Membership::start(settings, self.sender.clone(), linux::drop_all_capabilities);
                self.problem = started.as_ref().err().map(|error| format!("{error:#}"));
                if let Some(why) = &self.problem {
                    tracing::error!("membership: {why}");
                }
                self.thread = started.ok();
            }
            (None, _) => {
                self.stop(false);
                self.problem = None;
                self.sender.send_replace(None);
            }
        }
    }

    /// What etcd says, as it comes.
    pub(crate) fn news(&self) -> watch::Receiver<Option<News>> {
        self.sender.subscribe()
    }

    /// Whether the list is another one than the configuration is made of; it is taken for that from now on.
    pub(crate) fn take_list(&mut self) -> bool {
        let list = self.sender.borrow().as_ref().map_or(0, |news| news.list);
        let changed = list != self.list;
        self.list = list;
        changed
    }

    /// Ends; `restart` lets the others believe that this node is there for as long as its lease runs.
    pub(crate) fn stop(&mut self, restart: bool) {
        if let Some(thread) = self.thread.take() {
            thread.stop(restart);
        }
    }

    /// For `l2ha members`; nothing where the configuration has no etcd.
    pub(crate) fn view(&self, config: &Config) -> Option<control::Membership> {
        let settings = config.membership.as_ref()?;
        let news = self.sender.borrow();
        let mut view = match news.as_ref() {
            Some(news) => view(news),
            None => control::Membership {
                connected: None,
                away: Some(
                    self.problem
                        .clone()
                        .unwrap_or_else(|| "not asked yet".to_owned()),
                ),
                since_ms: 0,
                retries: 0,
                revision: 0,
                registration: registration(Registration::None).to_owned(),
                own_problem: None,
                unwritten: None,
                members: Vec::new(),
                refused: Vec::new(),
                records_refused: 0,
                records_stale: 0,
                restored: 0,
            },
        };
        let aside = settings.set_aside.iter();
        view.refused.extend(aside.map(|it| RefusedMember {
            name: it.name.clone(),
            reason: it.reason.clone(),
        }));
        Some(view)
    }
}

fn view(news: &News) -> control::Membership {
    let (connected, away, since) = match &news.connection {
        Connection::Connecting(since) => (None, None, since),
        Connection::Connected(url, since) => (Some(url.clone()), None, since),
        Connection::Away(why, since) => (None, Some(why.clone()), since),
    };
    let since = since.elapsed().as_millis();
    control::Membership {
        connected,
        away,
        since_ms: u64::try_from(since).unwrap_or(u64::MAX),
        retries: news.retries,
        revision: news.revision,
        registration: registration(news.registration).to_owned(),
        own_problem: news.own_problem.clone(),
        unwritten: news.unwritten.clone(),
        members: members(&news.members),
        refused: refused(&news.members),
        records_refused: news.seen.refused,
        records_stale: news.seen.stale,
        restored: news.seen.restored,
    }
}

fn refused(members: &Members) -> Vec<RefusedMember> {
    let refused = members.refused.iter();
    let refused = refused.map(|(name, reason)| RefusedMember {
        name: name.clone(),
        reason: reason.clone(),
    });
    refused.collect()
}

/// Those who joined, for people and `--json`.
pub fn members(members: &Members) -> Vec<Member> {
    let members = members.nodes.iter().map(|(node, presence)| Member {
        name: node.name.clone(),
        role: node.role.name().to_owned(),
        addresses: node.addresses.clone(),
        services: node.services.clone(),
        state: match presence {
            Presence::Present => MemberState::Present,
            Presence::Absent(_) => MemberState::Absent,
            Presence::Leaving(_) => MemberState::Leaving,
        },
        absent_since: match presence {
            Presence::Absent(since) => Some(*since),
            Presence::Present | Presence::Leaving(_) => None,
        },
    });
    members.collect()
}

const fn registration(registration: Registration) -> &'static str {
    match registration {
        Registration::None => "none",
        Registration::Fine => "fine",
        Registration::Missing => "missing",
        Registration::Gone(_) => "gone",
        Registration::Held => "held",
    }
}
