//! The connection to rtnetlink and what its requests fail with.

use std::io;

use nix::errno::Errno;
use rtnetlink::Handle;

use crate::blocking::KernelRefusal;

/// A connection to rtnetlink in the network namespace of the thread that opened it.
#[derive(Clone)]
pub struct Netlink {
    pub(crate) handle: Handle,
}

impl Netlink {
    /// Opens the connection; its driver runs as a task of the current tokio runtime.
    pub fn open() -> io::Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }
}

/// A request that failed: what was asked, and why it failed.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {reason}")]
pub struct Error {
    what: String,
    reason: String,
    errno: Option<Errno>,
}

impl Error {
    pub(crate) fn refused(what: String, refusal: &KernelRefusal) -> Self {
        Self {
            what,
            reason: refusal.to_string(),
            errno: Some(refusal.errno()),
        }
    }

    /// The same with a better reason than the kernel's.
    pub(crate) fn because(self, reason: String) -> Self {
        Self { reason, ..self }
    }

    /// The kernel's error number, if it was the kernel that refused.
    pub fn errno(&self) -> Option<Errno> {
        self.errno
    }
}

/// Names the request in its error.
pub(crate) trait Asked<T> {
    fn asked(self, what: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T> Asked<T> for io::Result<T> {
    fn asked(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|error| Error {
            what: what(),
            reason: error.to_string(),
            errno: error.raw_os_error().map(Errno::from_raw),
        })
    }
}

impl<T> Asked<T> for Result<T, rtnetlink::Error> {
    fn asked(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|error| match error {
            rtnetlink::Error::NetlinkError(message) => message.to_io(),
            other => io::Error::other(other),
        })
        .asked(what)
    }
}

/// Takes some refusals for the answer that nothing is there, or that there is nothing left to do.
pub(crate) trait Unless {
    fn unless(self, refusals: &[Errno]) -> Self;
}

impl<T: Default> Unless for Result<T, Error> {
    fn unless(self, refusals: &[Errno]) -> Self {
        match self {
            Err(Error {
                errno: Some(errno), ..
            }) if refusals.contains(&errno) => Ok(T::default()),
            other => other,
        }
    }
}
