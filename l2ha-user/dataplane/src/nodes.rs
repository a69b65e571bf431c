//! The nodes of this host by their folders on bpffs: which of them have a daemon, and whose programs are on an
//! interface.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io,
    path::Path,
};

use anyhow::{Context as _, Result};
use aya::{maps::MapInfo, programs::loaded_programs};
use linux::{tc::TcHook, xdp};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

use crate::{
    bpffs, filter,
    object::{ENCAP, PREFIX},
    pins,
};

/// A node's folder, held: as long as this lives, no other process holds it. It is the folder that is locked, so daemons
/// of other network namespaces and with other run folders count, and one that ends lets go of it, however it ends.
#[derive(Debug)]
pub struct Held(#[expect(dead_code, reason = "held, not read")] Flock<File>);

/// Holds a node's folder, which is made if it is missing; nothing where another process holds it.
///
/// # Errors
///
/// When there is no bpffs.
pub fn hold(pin_dir: &Path) -> Result<Option<Held>> {
    bpffs::ensure_dir(pin_dir)?;
    let context = || format!("cannot open {}", pin_dir.display());
    let folder = File::open(pin_dir).with_context(context)?;
    match Flock::lock(folder, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(Held(lock))),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(error).with_context(|| format!("cannot lock {}", pin_dir.display())),
    }
}

/// The names of the nodes that have a folder in `nodes` (`<bpffs>/l2ha`).
///
/// # Errors
///
/// When it cannot be listed; that it is missing is no error.
pub fn names(nodes: &Path) -> Result<Vec<String>> {
    let context = || format!("cannot list {}", nodes.display());
    let entries = match fs::read_dir(nodes) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(context),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.with_context(context)?;
        if entry.file_type().with_context(context)?.is_dir() {
            names.extend(entry.file_name().into_string().ok());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Has a node's pins go on under another name, in place of what that one had. Programs and links stay as they are.
///
/// # Errors
///
/// When bpffs refuses.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    let context = || format!("cannot rename {} to {}", from.display(), to.display());
    match fs::remove_dir_all(to) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(context),
    }
    fs::rename(from, to).with_context(context)
}

/// Removes a node's pins; what is attached only by one of them is detached with it. Whether there were any.
///
/// # Errors
///
/// When bpffs refuses.
pub fn remove(pin_dir: &Path) -> Result<bool> {
    match fs::remove_dir_all(pin_dir) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot remove {}", pin_dir.display()));
        }
    }
    bpffs::remove_dir(pin_dir)?;
    Ok(true)
}

/// Whose programs are loaded: a program is the node's whose pinned maps it uses.
#[derive(Debug)]
pub struct Owners {
    /// The nodes' maps, by the nodes' names.
    nodes: Vec<(String, HashSet<u32>)>,
    /// Maps of our programs, by the programs' numbers.
    programs: HashMap<u32, Vec<u32>>,
}

impl Owners {
    /// Looks at the folders of these nodes in `nodes` (`<bpffs>/l2ha`).
    ///
    /// # Errors
    ///
    /// When bpffs or the kernel refuses.
    pub fn read(nodes: &Path, names: Vec<String>) -> Result<Self> {
        let mut this = Self {
            nodes: Vec::new(),
            programs: HashMap::new(),
        };
        if names.is_empty() {
            return Ok(this);
        }
        for name in names {
            let maps = pinned_maps(&nodes.join(&name))?;
            this.nodes.push((name, maps));
        }
        // One that is unloaded meanwhile is nobody's.
        for program in loaded_programs().flatten() {
            let is_ours = program
                .name_as_str()
                .is_some_and(|it| it.starts_with(PREFIX));
            if is_ours && let Ok(Some(maps)) = program.map_ids() {
                this.programs.insert(program.id(), maps);
            }
        }
        Ok(this)
    }

    /// The node whose programs are on an interface; nothing where there are none, or no such interface.
    ///
    /// # Errors
    ///
    /// When the kernel does not say what is there.
    pub fn on(&self, ifindex: u32, interface: &str) -> Result<Option<&str>> {
        if self.nodes.is_empty() {
            return Ok(None);
        }
        let mut there: Vec<u32> = xdp::programs(ifindex)?.iter().map(|it| it.1).collect();
        for hook in [TcHook::Ingress, TcHook::Egress] {
            let filters = filter::ours(interface, hook)?;
            there.extend(filters.iter().filter_map(|filter| filter.program));
        }
        Ok(there.into_iter().find_map(|program| self.of(program)))
    }

    /// Whether a node's program encapsulates what leaves by an interface: it is a visible end then.
    ///
    /// # Errors
    ///
    /// When the kernel does not say.
    pub fn encapsulates(&self, node: &str, interface: &str) -> Result<bool> {
        let filters = filter::ours(interface, TcHook::Egress)?;
        let mut ours = filters.iter().filter(|filter| filter.name == ENCAP);
        Ok(ours.any(|it| it.program.and_then(|id| self.of(id)) == Some(node)))
    }

    /// Removes a node's filters from an interface that has programs of it, those included that use no maps and so could
    /// be any node's. Whether there were any.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn remove_filters(&self, node: &str, interface: &str) -> Result<bool> {
        let mut removed = false;
        for hook in [TcHook::Ingress, TcHook::Egress] {
            for filter in filter::ours(interface, hook)? {
                let owner = filter.program.and_then(|id| self.of(id));
                if owner.is_none_or(|owner| owner == node) {
                    filter::remove(interface, hook, &filter)?;
                    removed = true;
                }
            }
        }
        Ok(removed)
    }

    /// The node that has the maps of a program.
    fn of(&self, program: u32) -> Option<&str> {
        let used = self.programs.get(&program)?;
        let mut nodes = self.nodes.iter();
        let (name, _) = nodes.find(|(_, maps)| used.iter().any(|map| maps.contains(map)))?;
        Some(name)
    }
}

/// The numbers of the maps that are pinned in a node's folder.
fn pinned_maps(node: &Path) -> Result<HashSet<u32>> {
    let mut maps = HashSet::new();
    for folder in pins::folders(node)? {
        let context = || format!("cannot list {}", folder.display());
        for pin in fs::read_dir(&folder).with_context(context)? {
            // What is no map, or has just been removed, is nobody's.
            if let Ok(info) = MapInfo::from_pin(pin.with_context(context)?.path()) {
                maps.insert(info.id());
            }
        }
    }
    Ok(maps)
}
