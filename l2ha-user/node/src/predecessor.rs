//! What a node of another name has left in this node's place: this one's own name before it was changed, mostly.
//!
//! Its programs are on our interfaces and decide with maps that nobody fills any more. They are told by these maps, which
//! are pinned under its name. Everything of it goes on under our name, as if it had always been so: the pass that follows
//! keeps what is wanted and removes the rest.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use config::{Config, Node};
use dataplane::nodes::{self, Held, Owners};
use linux::{Link, state};
use nix::fcntl::{Flock, FlockArg};

use crate::journal::Journal;

/// What a node keeps in its run folder beside its journal, and its successor goes on with.
const KEPT: [&str; 2] = ["ospf.json", "health.json"];
/// What means nothing without its daemon.
const LEFT: [&str; 2] = ["sock", "lock"];

/// Takes over what nodes of other names, of which no daemon runs, have on our interfaces. Returns these names.
///
/// # Errors
///
/// When the daemon of such a node runs, or the kernel refuses.
pub(crate) fn take_over(
    config: &Config,
    links: &[Link],
    journal: &mut Journal,
) -> Result<Vec<String>> {
    let pins = config.node.pins();
    let Some(folder) = pins.parent() else {
        return Ok(Vec::new());
    };
    let mut others = nodes::names(folder)?;
    others.retain(|name| *name != config.node.name);
    let owners = Owners::read(folder, others)?;
    let tunnels = config.tunnels.iter().map(|it| it.interface.as_str());
    let ours = std::iter::once(config.underlay.interface.as_str()).chain(tunnels);
    let ours: Vec<&Link> = ours
        .filter_map(|name| links.iter().find(|link| link.name == name))
        .collect();
    let mut found: Vec<(&str, &str)> = Vec::new();
    for link in ours {
        if let Some(owner) = owners.on(link.index, &link.name)?
            && !found.iter().any(|(known, _)| *known == owner)
        {
            found.push((owner, &link.name));
        }
    }
    let mut taken = Vec::new();
    for (place, (old, interface)) in found.into_iter().enumerate() {
        let node = &config.node;
        if runs(node, old)? {
            bail!(
                "{interface} is node {old}'s, whose daemon runs: stop that one, or give this node another \
                 `interface` there"
            );
        }
        // What the underlay's programs use is worth more than what this name had before.
        if place == 0 {
            nodes::rename(&folder.join(old), &pins)?;
        } else {
            nodes::remove(&folder.join(old))?;
        }
        take_files(node, old, journal)?;
        tracing::warn!(
            interface,
            "took over what node {old} had left here; its daemon does not run any more"
        );
        taken.push(old.to_owned());
    }
    Ok(taken)
}

/// Whether the daemon of a node runs: with these folders, or with the pins.
///
/// # Errors
///
/// When its lock or its folder cannot be opened.
pub(crate) fn runs(node: &Node, name: &str) -> Result<bool> {
    let pins = node.bpffs.join("l2ha").join(name);
    if pins.exists() && nodes::hold(&pins)?.is_none() {
        return Ok(true);
    }
    let lock = node.run_dir.join(format!("{name}.lock"));
    match File::open(&lock) {
        Ok(file) => Ok(Flock::lock(file, FlockArg::LockExclusiveNonblock).is_err()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot open {}", lock.display())),
    }
}

/// Holds this node's own folder on bpffs.
///
/// # Errors
///
/// When a daemon of this name runs, in another network namespace or with another run folder.
pub(crate) fn hold_own(node: &Node) -> Result<Held> {
    let pins = node.pins();
    nodes::hold(&pins)?.with_context(|| {
        format!(
            "{} is another daemon's, which runs under the name {} elsewhere on this machine: give this node \
             another [node].name, or another `bpffs`",
            pins.display(),
            node.name
        )
    })
}

/// The journal goes into ours, the rest goes on under our name or is removed.
fn take_files(node: &Node, old: &str, journal: &mut Journal) -> Result<()> {
    let file = |name: &str, what: &str| node.run_dir.join(format!("{name}.{what}"));
    let theirs = file(old, "made.json");
    journal.absorb(Journal::load(theirs));
    for what in KEPT {
        let (from, to) = (file(old, what), file(&node.name, what));
        if !to.exists()
            && let Err(error) = fs::rename(&from, &to)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error).with_context(|| format!("cannot rename {}", from.display()));
        }
        remove(&from)?;
    }
    LEFT.iter().try_for_each(|what| remove(&file(old, what)))
}

/// The files of a node in its run folder, beside its journal; not all need be there.
pub(crate) fn files(node: &Node, name: &str) -> Vec<PathBuf> {
    let all = KEPT.iter().chain(&LEFT);
    all.map(|what| node.run_dir.join(format!("{name}.{what}")))
        .collect()
}

/// Removes a file, if it is there.
pub(crate) fn remove(path: &Path) -> Result<()> {
    state::remove(path).with_context(|| format!("cannot remove {}", path.display()))
}
