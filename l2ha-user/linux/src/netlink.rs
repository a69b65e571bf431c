//! The connection to rtnetlink and what its requests fail with.

use std::io;

use rtnetlink::Handle;

/// A connection to rtnetlink in the network namespace of the thread that opened it.
#[derive(Clone)]
pub struct Netlink {
    pub(crate) handle: Handle,
}

impl Netlink {
    /// Opens the connection; its driver runs as a task of the current tokio runtime.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the socket.
    pub fn open() -> io::Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }
}

/// A request that the kernel refused: what was asked, and its answer.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {}", reason(.source))]
pub struct Error {
    pub(crate) what: String,
    pub(crate) source: rtnetlink::Error,
}

impl Error {
    /// The kernel's error number, if it was the kernel that refused.
    pub fn errno(&self) -> Option<nix::errno::Errno> {
        match &self.source {
            rtnetlink::Error::NetlinkError(message) => {
                let code = message.code?.get();
                Some(nix::errno::Errno::from_raw(-code))
            }
            _ => None,
        }
    }
}

/// The kernel's answer in the words of errno(3).
fn reason(error: &rtnetlink::Error) -> String {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io().to_string(),
        other => other.to_string(),
    }
}

/// Names the request in its error.
pub(crate) trait Asked<T> {
    fn asked(self, what: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T> Asked<T> for Result<T, rtnetlink::Error> {
    fn asked(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error {
            what: what(),
            source,
        })
    }
}
