//! The capabilities that the daemon keeps once it runs.

use caps::{CapSet, Capability, CapsHashSet};

/// Interfaces, addresses, routes and tc; raw sockets; loading and attaching programs again.
const NEEDED: [Capability; 4] = [
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_RAW,
    Capability::CAP_BPF,
    Capability::CAP_PERFMON,
];

/// Drops, for the calling thread, every capability that is not needed for repair, reload and a clean stop.
///
/// If that fails, a warning is logged and all are kept: the daemon works either way.
pub fn drop_capabilities() {
    keep_only(&NEEDED);
}

/// Drops every capability for the calling thread, and for the programs that it starts.
pub fn drop_all_capabilities() {
    keep_only(&[]);
}

fn keep_only(needed: &[Capability]) {
    let keep: CapsHashSet = needed.iter().copied().collect();
    let result = caps::read(None, CapSet::Permitted).and_then(|held| {
        let keep: CapsHashSet = keep.intersection(&held).copied().collect();
        for capability in caps::read(None, CapSet::Bounding)?.difference(&keep) {
            caps::drop(None, CapSet::Bounding, *capability)?;
        }
        caps::clear(None, CapSet::Inheritable)?;
        caps::set(None, CapSet::Effective, &keep)?;
        caps::set(None, CapSet::Permitted, &keep)
    });
    match result {
        Ok(()) => {
            let thread = std::thread::current();
            let thread = thread.name().unwrap_or_default();
            tracing::debug!(thread, kept = ?needed, "capabilities given up");
        }
        Err(error) => tracing::warn!(%error, "cannot give up capabilities, keeping all of them"),
    }
}
