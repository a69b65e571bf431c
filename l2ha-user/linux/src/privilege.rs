//! What the daemon may do once it runs, and what others may do with it.

use std::io;

use caps::{CapSet, Capability, CapsHashSet, errors::CapsError};
use nix::sys::prctl;

/// Interfaces, addresses, routes and tc; raw sockets; loading and attaching programs again.
const NEEDED: [Capability; 4] = [
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_RAW,
    Capability::CAP_BPF,
    Capability::CAP_PERFMON,
];

/// Keeps the process's secrets in it, and its programs without more rights than it has: no core dump has its memory
/// and nobody without CAP_SYS_PTRACE may look into it (`PR_SET_DUMPABLE`), and no program that it starts gains
/// anything by being started (`PR_SET_NO_NEW_PRIVS`, Documentation/userspace-api/no_new_privs.rst). To be called
/// before there are secrets or other threads, which inherit it.
///
/// The files below /proc/self belong to root then (proc(5)); a process may read its own in any case.
///
/// # Errors
///
/// When the kernel refuses, as one that filters system calls may.
pub fn guard_process() -> io::Result<()> {
    prctl::set_dumpable(false)?;
    prctl::set_no_new_privs()?;
    Ok(())
}

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
    match try_keep_only(needed) {
        Ok(()) => {
            let thread = std::thread::current();
            let thread = thread.name().unwrap_or_default();
            tracing::debug!(thread, kept = ?needed, "capabilities given up");
        }
        Err(error) => tracing::warn!(%error, "cannot give up capabilities, keeping all of them"),
    }
}

fn try_keep_only(needed: &[Capability]) -> Result<(), CapsError> {
    let needed: CapsHashSet = needed.iter().copied().collect();
    let held = caps::read(None, CapSet::Permitted)?;
    let keep: CapsHashSet = needed.intersection(&held).copied().collect();
    // Where CAP_SETPCAP is missing the bounding set stays as it is (capabilities(7)). It is for what is started only,
    // and by `no_new_privs` that gains nothing. The rest can be given up without.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        for capability in caps::read(None, CapSet::Bounding)?.difference(&keep) {
            caps::drop(None, CapSet::Bounding, *capability)?;
        }
    }
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &keep)?;
    caps::set(None, CapSet::Permitted, &keep)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_18_capabilities_are_given_up_without_setpcap() {
        let thread = std::thread::spawn(|| {
            let held = caps::read(None, CapSet::Effective).unwrap();
            if held.contains(&Capability::CAP_SETPCAP) {
                caps::drop(None, CapSet::Effective, Capability::CAP_SETPCAP).unwrap();
            }
            drop_capabilities();
            let held = caps::read(None, CapSet::Permitted).unwrap();
            assert!(held.iter().all(|it| NEEDED.contains(it)), "{held:?}");
            drop_all_capabilities();
            assert!(caps::read(None, CapSet::Permitted).unwrap().is_empty());
        });
        thread.join().unwrap();
    }

    #[test]
    fn fault_18_a_guarded_process_dumps_no_core_and_gives_no_rights() {
        guard_process().unwrap();
        assert!(!prctl::get_dumpable().unwrap());
        let inherited = std::thread::spawn(|| prctl::get_no_new_privs().unwrap());
        assert!(inherited.join().unwrap());
        // What concerns this process is still to be read.
        std::fs::read_to_string("/proc/self/status").unwrap();
        std::fs::File::open("/proc/self/ns/net").unwrap();
    }
}
