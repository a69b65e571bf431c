//! Sockets in tokio's event loop.

use std::io;

use socket2::Socket;
use tokio::io::unix::AsyncFd;

/// Puts a non-blocking socket into the event loop of the current runtime.
///
/// # Errors
///
/// When the event loop cannot watch it.
pub(crate) fn watch(socket: Socket) -> io::Result<AsyncFd<Socket>> {
    // SAFETY: the socket owns its file descriptor and is owned by the returned value, which gives
    // it out only by shared reference; so the descriptor stays open and the same until the event
    // loop has let go of it.
    unsafe { AsyncFd::register(socket) }.map_err(io::Error::from)
}
