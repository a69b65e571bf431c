//! Decapsulation on the underlay: native XDP, or tc ingress.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow};
use aya::programs::{
    ProgramError, XdpMode,
    links::{FdLink, PinnedLink},
    loaded_programs,
};
use l2ha_ebpf::plan::AttachMode;
use linux::{tc::TcHook, xdp};

use crate::{
    filter,
    object::{DECAP, MERGED, Object, XDP},
    probe::{self, Trial},
    types::{Attached, Hook},
};

/// Decapsulation on the underlay, and the pin that keeps it there.
pub(crate) struct Underlay {
    /// Where the XDP program's link is pinned.
    pin: PathBuf,
    attached: Option<Attachment>,
}

/// What decapsulation is attached to.
struct Attachment {
    interface: String,
    ifindex: u32,
    hook: Hook,
    /// Keeps the XDP program attached even when the pin is removed.
    _link: Option<PinnedLink>,
}

impl Underlay {
    /// Attached to nothing yet.
    pub(crate) fn new(pin_dir: &Path) -> Self {
        Self {
            pin: pin_dir.join("xdp"),
            attached: None,
        }
    }

    /// As [`crate::DataPlane::attach_underlay`].
    pub(crate) fn attach(
        &mut self,
        object: &mut Object,
        ifindex: u32,
        interface: &str,
        mode: AttachMode,
    ) -> Result<Attached> {
        let (hook, link, adopted, why_not_xdp) = match mode {
            AttachMode::Tc => (
                Hook::Tc,
                None,
                object.attach_filter(DECAP, interface, TcHook::Ingress)?,
                None,
            ),
            AttachMode::Xdp => {
                let (link, adopted) = self.attach_xdp(object, ifindex, interface)?;
                (Hook::Xdp, Some(link), adopted, None)
            }
            AttachMode::Auto => match self.attach_xdp(object, ifindex, interface) {
                Ok((link, adopted)) => (Hook::Xdp, Some(link), adopted, None),
                Err(error) => {
                    let why = format!("{error:#}");
                    (
                        Hook::Tc,
                        None,
                        object.attach_filter(DECAP, interface, TcHook::Ingress)?,
                        Some(why),
                    )
                }
            },
        };
        let before = self.attached.replace(Attachment {
            interface: interface.to_owned(),
            ifindex,
            hook,
            _link: link,
        });
        if let Some(before) = before
            && before.interface != interface
        {
            filter::remove_ours(&before.interface, TcHook::Ingress, None)?;
        }
        if hook == Hook::Tc {
            remove_pin(&self.pin)?;
        }
        Ok(Attached {
            hook,
            why_not_xdp,
            adopted,
        })
    }

    /// As [`crate::DataPlane::would_adopt`].
    pub(crate) fn would_adopt(
        &self,
        ifindex: u32,
        interface: &str,
        mode: AttachMode,
    ) -> Result<bool> {
        if mode != AttachMode::Tc
            && let Some(there) = xdp::program(ifindex)?
            && pinned(&self.pin, there.id)?.is_some()
        {
            return Ok(true);
        }
        // What tc is left for in automatic mode is not known before.
        Ok(mode == AttachMode::Tc && filter::is_there(DECAP, interface, TcHook::Ingress)?)
    }

    /// As [`crate::DataPlane::underlay_attached`].
    pub(crate) fn is_attached(&self, object: &Object) -> Result<bool> {
        let Some(underlay) = &self.attached else {
            return Ok(false);
        };
        match underlay.hook {
            Hook::Xdp => {
                let id = object.program_id(XDP)?;
                let there = xdp::program(underlay.ifindex)?;
                Ok(there.is_some_and(|there| there.native && there.id == id)
                    && object.is_filter_attached(MERGED, &underlay.interface, TcHook::Ingress)?)
            }
            Hook::Tc => object.is_filter_attached(DECAP, &underlay.interface, TcHook::Ingress),
        }
    }

    /// As [`crate::DataPlane::detach_underlay`].
    pub(crate) fn detach(&mut self) -> Result<()> {
        let pin = remove_pin(&self.pin);
        match self.attached.take() {
            Some(underlay) => pin.and(filter::remove_ours(
                &underlay.interface,
                TcHook::Ingress,
                None,
            )),
            None => pin,
        }
    }

    /// Attaches to native XDP and returns the link, and whether it was there before.
    fn attach_xdp(
        &self,
        object: &mut Object,
        ifindex: u32,
        interface: &str,
    ) -> Result<(PinnedLink, bool)> {
        let pin = &self.pin;
        let there = xdp::program(ifindex)?;
        if let Some(there) = there {
            let Some(link) = pinned(pin, there.id)? else {
                return Err(not_ours(interface, there.id));
            };
            object.attach_filter(MERGED, interface, TcHook::Ingress)?;
            // The same link, pinned already: only its program changes.
            let link = FdLink::from(link).try_into()?;
            let context = || format!("cannot replace the XDP program of {interface}");
            let program = object.xdp()?;
            let link = program.attach_to_link(link).with_context(context)?;
            drop(program.take_link(link)?);
            let link = PinnedLink::from_pin(pin).with_context(context)?;
            return Ok((link, true));
        }
        // First, so that no frame is redirected to a program that is not there.
        object.attach_filter(MERGED, interface, TcHook::Ingress)?;
        let program = object.xdp()?;
        let link = program
            .attach_to_if_index(ifindex, XdpMode::Driver)
            .map_err(|error| why_not(interface, ifindex, error));
        let link = match link {
            Ok(link) => link,
            Err(error) => {
                filter::remove_ours(interface, TcHook::Ingress, None)?;
                return Err(error);
            }
        };
        let link = FdLink::try_from(program.take_link(link)?)
            .context("l2ha needs Linux 5.9 or newer for an XDP link that can be pinned")?;
        // An old link may be pinned there that is attached to nothing, or to another interface.
        remove_pin(pin)?;
        let link = link
            .pin(pin)
            .with_context(|| format!("cannot pin the XDP link at {}", pin.display()))?;
        Ok((link, false))
    }
}

/// The pinned link, if its program is the one that the interface has.
fn pinned(pin: &Path, program: u32) -> Result<Option<PinnedLink>> {
    if !pin.exists() {
        return Ok(None);
    }
    let link = PinnedLink::from_pin(pin)
        .with_context(|| format!("{} is not a link that l2ha pinned", pin.display()))?;
    let link = FdLink::from(link);
    if link.info()?.program_id() != program {
        return Ok(None);
    }
    drop(link);
    Ok(Some(PinnedLink::from_pin(pin)?))
}

fn remove_pin(pin: &Path) -> Result<()> {
    match fs::remove_file(pin) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot remove {}", pin.display())),
    }
}

/// A program of others is there.
fn not_ours(interface: &str, id: u32) -> anyhow::Error {
    let name = loaded_programs()
        .flatten()
        .find(|program| program.id() == id)
        .and_then(|program| program.name_as_str().map(str::to_owned))
        .unwrap_or_else(|| "without a name".to_owned());
    anyhow!(
        "{interface} has another XDP program, {name} (id {id}), which is left alone: remove it \
         (`ip link set dev {interface} xdp off`, or by what attached it), or set mode = \"tc\""
    )
}

/// Why native XDP could not be attached, with what can be done about it.
fn why_not(interface: &str, ifindex: u32, error: ProgramError) -> anyhow::Error {
    let code = match &error {
        ProgramError::SyscallError(error) => error.io_error.raw_os_error(),
        ProgramError::XdpError(aya::programs::XdpError::NetlinkError(error)) => {
            error.raw_os_error()
        }
        _ => None,
    };
    let remedy = match code.map(nix::errno::Errno::from_raw) {
        Some(nix::errno::Errno::EOPNOTSUPP) => {
            "its driver has no native XDP, or not with the present features"
        }
        Some(nix::errno::Errno::EINVAL | nix::errno::Errno::ERANGE) => {
            "its driver wants a smaller MTU or LRO and GRO_HW off for native XDP"
        }
        Some(nix::errno::Errno::ENOSPC | nix::errno::Errno::ENOMEM) => {
            "its driver wants more free queues for native XDP: `ethtool -L` with half of them"
        }
        Some(nix::errno::Errno::EBUSY | nix::errno::Errno::EEXIST) => {
            "another XDP program has just been attached there"
        }
        _ => "native XDP cannot be had there",
    };
    // A link is refused without words; netlink has them.
    let words = match probe::offer_native(ifindex) {
        Ok(Trial::Refused(words)) => format!(" (the kernel says: {words})"),
        Ok(Trial::Taken) | Err(_) => String::new(),
    };
    anyhow!(error).context(format!(
        "cannot attach native XDP to {interface}: {remedy}{words}"
    ))
}
