//! Looking at an interface without changing it: which programs hang on it and how, and whether its
//! driver would have native XDP.

use std::{io, os::fd::AsFd as _, path::Path};

use anyhow::{Context as _, Result};
use aya::programs::{
    links::{FdLink, PinnedLink},
    loaded_programs,
};
use linux::{tc, xdp};
pub use linux::{tc::TcHook, xdp::XdpMode};

use crate::{bpffs, filter, object::PREFIX, raw};

/// Where on an interface a program hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// XDP.
    Xdp(XdpMode),
    /// A filter of clsact.
    Tc {
        /// The hook.
        hook: TcHook,
        /// Its priority (`pref`); the lowest is asked first.
        priority: u16,
        /// Its handle.
        handle: u32,
    },
    /// tcx, which is asked before all filters of clsact.
    Tcx(TcHook),
}

/// What holds a program on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// A request by netlink; it stays until another one.
    Netlink,
    /// The bpf_link of this id.
    Link(u32),
    /// One of these bpf_links. The others hold the same program on interfaces of the same index in
    /// other network namespaces, which the kernel does not tell apart.
    OneOf(Vec<u32>),
}

/// A program that hangs on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Where.
    pub place: Place,
    /// The kernel's id of it.
    pub id: u32,
    /// Its name; empty if it has none.
    pub name: String,
    /// The hash of its instructions, as `bpftool prog` shows it.
    pub tag: String,
    /// What holds it there.
    pub held: Held,
    /// Whether it belongs to the node that asks.
    pub ours: bool,
}

impl Program {
    /// Whether it is an XDP program.
    pub fn is_xdp(&self) -> bool {
        matches!(self.place, Place::Xdp(_))
    }
}

/// What hangs on an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Programs {
    /// All of it: XDP, then tcx and tc filters with BPF programs, each in the order they are asked.
    pub list: Vec<Program>,
    /// Whether the kernel has tcx.
    pub tcx: bool,
}

/// What came of offering a driver a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trial {
    /// The driver took it.
    Taken,
    /// The driver refused it, for this reason.
    Refused(String),
}

/// The programs on an interface. An XDP program is ours if the link pinned in `pins` holds it;
/// where no folder is given, and for tc filters, its name decides.
///
/// # Errors
///
/// When the kernel does not answer, as when the caller may not ask.
pub fn programs(ifindex: u32, pins: Option<&Path>) -> Result<Programs> {
    let mut found = Programs::default();
    let pinned = pins.map(pinned_program).transpose()?;
    for (mode, id) in xdp::programs(ifindex)? {
        let mut program = describe(Place::Xdp(mode), id);
        program.held = held(ifindex, mode, id)?;
        if let Some(pinned) = pinned {
            program.ours = pinned == Some(id);
        }
        found.list.push(program);
    }
    for (hook, kind) in [
        (TcHook::Ingress, raw::TCX_INGRESS),
        (TcHook::Egress, raw::TCX_EGRESS),
    ] {
        if let Some(list) = raw::tcx(ifindex, kind).context("cannot list the tcx programs")? {
            found.tcx = true;
            found.list.extend(list.into_iter().map(|it| Program {
                held: it.link.map_or(Held::Netlink, Held::Link),
                ours: false,
                ..describe(Place::Tcx(hook), it.program)
            }));
        }
        let mut filters = tc::filters(ifindex, hook)?;
        filters.sort_by_key(|filter| filter.priority);
        found.list.extend(filters.into_iter().map(|filter| {
            let place = Place::Tc {
                hook,
                priority: filter.priority,
                handle: filter.handle,
            };
            let mut program = describe(place, filter.program.unwrap_or_default());
            program.ours = filter.name.starts_with(PREFIX);
            if program.name.is_empty() {
                program.name = filter.name;
            }
            program
        }));
    }
    Ok(found)
}

/// Whether the kernel lets the caller load a program at all.
///
/// # Errors
///
/// The kernel's answer when it does not.
pub fn may_load() -> io::Result<()> {
    raw::load_pass().map(drop)
}

/// Whether a folder is on a bpffs.
///
/// # Errors
///
/// When there is no such folder.
pub fn is_bpffs(path: &Path) -> Result<bool> {
    bpffs::is_bpffs(path)
}

/// Adds to an interface the queueing discipline that tc programs hang on, to see whether the kernel
/// has it.
pub fn try_clsact(interface: &str) -> Result<()> {
    filter::add_clsact(interface)
}

/// Offers an interface's driver a program that passes everything on, for native XDP, and takes it
/// away at once. Some drivers set their queues up again for it and lose packets in the meantime.
///
/// # Errors
///
/// When the program cannot be loaded or not be taken away again.
pub fn offer_native(ifindex: u32) -> Result<Trial> {
    let program = raw::load_pass().context("cannot load an XDP program")?;
    Ok(match xdp::offer(ifindex, program.as_fd())? {
        None => Trial::Taken,
        Some(refusal) => Trial::Refused(match refusal.text {
            Some(text) => text,
            None => refusal.errno().desc().to_owned(),
        }),
    })
}

fn held(ifindex: u32, mode: XdpMode, program: u32) -> Result<Held> {
    let other = raw::load_pass().context("cannot load an XDP program")?;
    if !xdp::is_held_by_link(ifindex, mode, other.as_fd())? {
        return Ok(Held::Netlink);
    }
    let links = raw::xdp_links(ifindex, program).context("cannot list the bpf links")?;
    Ok(match links[..] {
        [only] => Held::Link(only),
        _ => Held::OneOf(links),
    })
}

/// The program of the link that a node pinned.
fn pinned_program(pins: &Path) -> Result<Option<u32>> {
    let pin = pins.join("xdp");
    if !pin.exists() {
        return Ok(None);
    }
    let link = PinnedLink::from_pin(&pin)
        .with_context(|| format!("{} is not a link that l2ha pinned", pin.display()))?;
    Ok(Some(FdLink::from(link).info()?.program_id()))
}

fn describe(place: Place, id: u32) -> Program {
    let info = loaded_programs().flatten().find(|info| info.id() == id);
    let name = info
        .as_ref()
        .and_then(|info| info.name_as_str())
        .unwrap_or_default()
        .to_owned();
    Program {
        place,
        id,
        ours: name.starts_with(PREFIX),
        name,
        tag: info
            .map(|info| format!("{:016x}", info.tag()))
            .unwrap_or_default(),
        held: Held::Netlink,
    }
}
