//! tc filters: attaching ours, replacing ours, removing ours.

use anyhow::{Context as _, Result};
use aya::programs::{
    TcAttachType,
    tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle, qdisc_add_clsact},
};
use linux::tc::{self, Filter, TcHook};
use nix::{errno::Errno, net::if_::if_nametoindex};

use crate::object::{Object, PREFIX};

/// Priority of new filters. Any would do; this one leaves room before and behind.
const PRIORITY: u16 = 115;

impl Object {
    /// Attaches a program. A filter that an earlier daemon left gets the new program in one step.
    /// Returns whether there was one.
    pub(crate) fn attach_filter(
        &mut self,
        program: &str,
        interface: &str,
        hook: TcHook,
    ) -> Result<bool> {
        let id = self.classifier(program)?.info()?.id();
        let context = || format!("cannot attach {program} to {interface}");
        let old: Vec<Filter> = ours(interface, hook)?
            .into_iter()
            .filter(|filter| filter.name == program)
            .collect();
        if old.iter().any(|filter| filter.program == Some(id)) {
            return Ok(true);
        }
        let classifier = self.classifier(program)?;
        let link = if let Some(old) = old.first() {
            let link = link(interface, hook, old).with_context(context)?;
            classifier.attach_to_link(link).with_context(context)?
        } else {
            add_clsact(interface)?;
            let options = NlOptions {
                priority: PRIORITY,
                ..NlOptions::default()
            };
            classifier
                .attach_with_options(interface, kind(hook), TcAttachOptions::Netlink(options))
                .with_context(context)?
        };
        // A link that is dropped takes its filter along; this one shall outlive the process.
        std::mem::forget(classifier.take_link(link)?);
        // More than one can only be there if they were changed by hand.
        remove_ours(interface, hook, Some(id))?;
        Ok(!old.is_empty())
    }

    /// Whether the program of this load is on the hook.
    pub(crate) fn is_filter_attached(
        &self,
        program: &str,
        interface: &str,
        hook: TcHook,
    ) -> Result<bool> {
        let Some(id) = self.program_id(program)? else {
            return Ok(false);
        };
        Ok(ours(interface, hook)?
            .iter()
            .any(|filter| filter.program == Some(id)))
    }
}

/// Whether a program of this name, of whatever load, is on a hook.
pub(crate) fn is_there(program: &str, interface: &str, hook: TcHook) -> Result<bool> {
    Ok(ours(interface, hook)?
        .iter()
        .any(|filter| filter.name == program))
}

/// Removes our filters from a hook, except those with the program `keep`.
pub(crate) fn remove_ours(interface: &str, hook: TcHook, keep: Option<u32>) -> Result<()> {
    for filter in ours(interface, hook)? {
        if keep.is_some() && filter.program == keep {
            continue;
        }
        remove(interface, hook, &filter)?;
    }
    Ok(())
}

/// Removes a filter.
pub(crate) fn remove(interface: &str, hook: TcHook, filter: &Filter) -> Result<()> {
    // Dropping the link detaches it.
    drop(link(interface, hook, filter)?);
    Ok(())
}

/// Our filters on a hook; none when the interface is gone.
pub(crate) fn ours(interface: &str, hook: TcHook) -> Result<Vec<Filter>> {
    let ifindex = match if_nametoindex(interface) {
        Ok(ifindex) => ifindex,
        Err(Errno::ENODEV) => return Ok(Vec::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot look for interface {interface}"));
        }
    };
    let mut filters = tc::filters(ifindex, hook)?;
    filters.retain(|filter| filter.name.starts_with(PREFIX));
    Ok(filters)
}

fn link(interface: &str, hook: TcHook, filter: &Filter) -> Result<SchedClassifierLink> {
    SchedClassifierLink::attached(
        interface,
        kind(hook),
        filter.priority,
        TcHandle::from(filter.handle),
        None,
    )
    .with_context(|| format!("interface {interface} has gone"))
}

/// The hook in aya's terms.
fn kind(hook: TcHook) -> TcAttachType {
    match hook {
        TcHook::Ingress => TcAttachType::Ingress,
        TcHook::Egress => TcAttachType::Egress,
    }
}

/// Adds the qdisc that filters hang on, unless it is there.
pub(crate) fn add_clsact(interface: &str) -> Result<()> {
    match qdisc_add_clsact(interface) {
        Ok(()) => Ok(()),
        Err(TcError::NetlinkError(error)) if error.raw_os_error() == Some(Errno::EEXIST as i32) => {
            Ok(())
        }
        Err(error) => {
            Err(error).with_context(|| format!("cannot add a clsact qdisc to {interface}"))
        }
    }
}
