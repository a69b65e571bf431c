//! Sockets in tokio's event loop.

use std::io;

use nix::libc;
use socket2::{SockAddr, SockAddrStorage, Socket};
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

/// The address of an interface for a packet socket, which sends whole frames to it.
///
/// # Errors
///
/// When there cannot be such an index.
pub(crate) fn link_address(ifindex: u32) -> io::Result<SockAddr> {
    let index = i32::try_from(ifindex).map_err(io::Error::other)?;
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: a sockaddr_ll fits into a sockaddr_storage, which is aligned for every address, and
    // all zeros are a valid one.
    let link = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    link.sll_family = libc::AF_PACKET as u16;
    link.sll_ifindex = index;
    let length = size_of::<libc::sockaddr_ll>() as u32;
    // SAFETY: the storage holds a sockaddr_ll, of that family and length.
    Ok(unsafe { SockAddr::new(storage, length) })
}
