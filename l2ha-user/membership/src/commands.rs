//! What `l2ha join`, `leave`, `forget` and `accept` do.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use config::{Joined, Membership};
use tokio::time::sleep;

use crate::{
    etcd::{Etcd, Failure, Snapshot, Written},
    identity::Identity,
    list_file,
    record::{Accepted, Cause, Key, Record, What},
    watcher::{backoff, gone, now},
};

/// What a node joins as.
#[derive(Clone, Debug)]
pub struct JoinAs {
    /// All but what the others say.
    pub node: Joined,
    /// How long etcd may be away before that is a failure.
    pub patience: Duration,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// It is done now.
    Now,
    /// It had been done before.
    Before,
    /// etcd is away, and why: the list of an earlier time is there to start from.
    FromList(String),
}

/// Whether a list has room for a node: why not.
pub type Fits<'a> = &'a dyn Fn(&[Joined]) -> Option<String>;

/// Registers this node, and writes the list of the others, from which the daemon starts.
///
/// # Errors
///
/// When the name is held by another host, the node does not fit (`fits`), or etcd is away and this host has never joined.
pub fn join(membership: &Membership, wanted: &JoinAs, fits: Fits<'_>) -> Result<Done> {
    let folder = &membership.state_dir;
    let before = Identity::load(folder)?;
    let asked = on_any(membership, wanted.patience, async |etcd| {
        register(etcd, membership, wanted, fits).await
    });
    match asked {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(refused)) => Err(refused),
        Err(away) => {
            let listed = list_file::load(folder)?;
            let name = &wanted.node.name;
            let joined =
                before.is_some_and(|it| it.name == *name) && listed.entries.contains_key(name);
            match joined {
                true => Ok(Done::FromList(format!("{away:#}"))),
                false => Err(away
                    .context("this host has not joined before, so there is no list to start from")),
            }
        }
    }
}

/// The inner error is one that another attempt would not change.
async fn register(
    etcd: &mut Etcd,
    membership: &Membership,
    wanted: &JoinAs,
    fits: Fits<'_>,
) -> Result<Result<Done>, Failure> {
    let folder = &membership.state_dir;
    let node = &wanted.node;
    let name = &node.name;
    let mut roster = match list_file::load(folder) {
        Ok(roster) => roster,
        Err(error) => return Ok(Err(error)),
    };
    roster.local = membership.local.len();
    loop {
        let there = etcd.record(name).await?;
        // Read for each attempt: of the one before only the answer may have been lost.
        let before = match Identity::load(folder) {
            Ok(before) => before,
            Err(error) => return Ok(Err(error)),
        };
        let own = before.as_ref().filter(|own| own.name == *name);
        let (serial, revision) = match &there {
            None => (own.map_or(0, |own| own.serial), 0),
            Some((record, revision)) => (
                record.serial.max(own.map_or(0, |own| own.serial)),
                *revision,
            ),
        };
        let same_host = |record: &Record| own.is_some_and(|own| own.id == record.id);
        let mut done = Done::Now;
        match &there {
            Some((record, _)) if same_host(record) && record.what == What::Node(node.clone()) => {
                done = Done::Before;
            }
            Some((record, _)) if !same_host(record) => {
                if let What::Node(other) = &record.what {
                    let addresses: Vec<String> =
                        other.addresses.iter().map(ToString::to_string).collect();
                    return Ok(Err(anyhow!(
                        "another host has the name `{name}`, {}, and has not left: call this one otherwise, or take that \
                         one out with `l2ha forget {name}` if it is no more",
                        addresses.join(" and ")
                    )));
                }
            }
            _ => {}
        }
        let identity = match own {
            Some(own) if done == Done::Before => Identity {
                serial,
                ..own.clone()
            },
            Some(own) => Identity {
                serial: serial + 1,
                ..own.clone()
            },
            None => match Identity::new(name, serial + 1) {
                Ok(identity) => identity,
                Err(error) => return Ok(Err(error)),
            },
        };
        roster.own = Some(identity.clone());
        let Snapshot {
            cluster_id,
            revision: at,
            items,
        } = etcd.snapshot().await?;
        let mut tried = roster.clone();
        tried.snapshot(now(), cluster_id, at, &items);
        let mut nodes = tried.nodes();
        nodes.retain(|it| it.name != *name);
        nodes.push(node.clone());
        if let Some(why) = fits(&nodes) {
            return Ok(Err(anyhow!("`{name}` cannot join: {why}")));
        }
        // Before etcd has it: whoever is ended in between is the same host the next time.
        if let Err(error) = identity.store(folder) {
            return Ok(Err(error));
        }
        if done == Done::Now {
            let record = Record::new(identity.id, identity.serial, What::Node(node.clone()));
            if etcd.write(name, &record, revision, None).await? == Written::Overtaken {
                continue;
            }
        }
        let Snapshot {
            cluster_id,
            revision: at,
            items,
        } = etcd.snapshot().await?;
        roster.snapshot(now(), cluster_id, at, &items);
        let stored = list_file::store(folder, &roster);
        return Ok(stored.map(|()| done));
    }
}

/// Takes this node out; a node that has not joined is not an error.
///
/// # Errors
///
/// When etcd is away, or does not let this node say so.
pub fn leave(membership: &Membership, patience: Duration) -> Result<Done> {
    let folder = &membership.state_dir;
    let Some(own) = Identity::load(folder)? else {
        return Ok(Done::Before);
    };
    let done = on_any(membership, patience, async |etcd| {
        loop {
            let (serial, revision) = match etcd.record(&own.name).await? {
                // etcd has lost it, and others have it on their lists.
                None => (own.serial, 0),
                Some((record, revision)) => {
                    let gone = matches!(record.what, What::Gone(_)) && record.serial >= own.serial;
                    if record.id != own.id || gone {
                        return Ok(Done::Before);
                    }
                    (record.serial.max(own.serial), revision)
                }
            };
            let record = Record::new(own.id, serial, What::Gone(gone(Cause::Left)));
            let keep = Some(membership.forget_after);
            if etcd.write(&own.name, &record, revision, keep).await? != Written::Overtaken {
                return Ok(Done::Now);
            }
        }
    })?;
    Identity::remove(folder)?;
    Ok(done)
}

/// Takes another node out: one that is present only where that is meant.
///
/// # Errors
///
/// When there is no such node, it is present, or etcd is away.
pub fn forget(
    membership: &Membership,
    name: &str,
    present_too: bool,
    patience: Duration,
) -> Result<Done> {
    // Of one that etcd has lost the list tells which host it was.
    let listed = list_file::load(&membership.state_dir)?;
    let listed = listed.entries.get(name);
    let asked = on_any(membership, patience, async |etcd| {
        loop {
            let items = etcd.snapshot().await?.items;
            let alive = items
                .iter()
                .any(|item| item.key == Key::Alive(name.to_owned()));
            let (id, serial, revision) = match (etcd.record(name).await?, listed) {
                (Some((record, _)), _) if matches!(record.what, What::Gone(_)) => {
                    return Ok(Ok(Done::Before));
                }
                (Some((record, revision)), _) => (record.id, record.serial, revision),
                (None, Some(entry)) => (entry.id, entry.serial, 0),
                (None, None) => {
                    return Ok(Err(anyhow!(
                        "etcd has no node `{name}`; see `l2ha members`"
                    )));
                }
            };
            if alive && !present_too {
                return Ok(Err(anyhow!(
                    "`{name}` is present: stop it first, or take it out all the same with `--present`"
                )));
            }
            let record = Record::new(id, serial, What::Gone(gone(Cause::Forgotten)));
            let keep = Some(membership.forget_after);
            if etcd.write(name, &record, revision, keep).await? != Written::Overtaken {
                return Ok(Ok(Done::Now));
            }
        }
    });
    asked?
}

/// Lets nodes go that wait for it: these, or all that this host's list knows to wait. Returns who may go.
///
/// # Errors
///
/// When nobody waits, or etcd is away.
pub fn accept(
    membership: &Membership,
    names: &[String],
    patience: Duration,
) -> Result<Vec<String>> {
    let roster = list_file::load(&membership.state_dir)?;
    let waiting = roster.waiting();
    let names: BTreeSet<String> = match names {
        [] => waiting,
        names => {
            if let Some(other) = names.iter().find(|name| !waiting.contains(*name)) {
                bail!("`{other}` does not wait for it; see `l2ha members`");
            }
            names.iter().cloned().collect()
        }
    };
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let accepted = Accepted { names };
    on_any(membership, patience, async |etcd| {
        etcd.accept(&accepted).await
    })?;
    Ok(accepted.names.into_iter().collect())
}

/// Asks the members of etcd in turn until one answers, or it has taken too long.
fn on_any<T>(
    membership: &Membership,
    patience: Duration,
    ask: impl AsyncFn(&mut Etcd) -> Result<T, Failure>,
) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let began = Instant::now();
        let mut attempt = 0;
        loop {
            let mut last = None;
            for url in &membership.etcd {
                let asked = async {
                    let mut etcd = Etcd::open(membership, url).await?;
                    ask(&mut etcd).await
                };
                match asked.await {
                    Ok(done) => return Ok(done),
                    Err(why) => {
                        let is_final = why.is_final;
                        let why = anyhow!("{url}: {why}");
                        if is_final {
                            return Err(why);
                        }
                        last = Some(why);
                    }
                }
            }
            let pause = backoff(attempt);
            attempt += 1;
            if began.elapsed() + pause > patience {
                let last = last.context("[membership] names no etcd")?;
                return Err(last.context("etcd cannot be asked"));
            }
            sleep(pause).await;
        }
    })
}
