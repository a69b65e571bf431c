//! How many files the process may have open.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// How many files the calling process may open at most, when it has raised its soft limit to the hard one (RLIMIT_NOFILE).
///
/// # Errors
///
/// When the kernel does not say.
pub fn most_open_files() -> std::io::Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(hard)
}

/// Raises the soft limit of open files to the hard one. The usual soft limit of 1024 is for programs that call
/// select(2), which this one does not; each tunnel has sockets of its own.
///
/// # Errors
///
/// When the kernel refuses.
pub fn raise_open_files() -> std::io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}
