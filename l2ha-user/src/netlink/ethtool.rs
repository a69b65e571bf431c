//! Offload switches of an interface (ethtool's older ioctls, which every kernel has).

use std::{io, os::fd::AsRawFd as _};

use nix::{
    libc,
    sys::socket::{AddressFamily, SockFlag, SockType, socket},
};

/// An offload that can be switched (`linux/ethtool.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offload {
    /// Generic receive offload; on a veth it also switches the receiving NAPI on.
    Gro,
    /// TCP segmentation offload.
    Tso,
    /// Generic segmentation offload.
    Gso,
    /// Checksums of what is sent.
    TxChecksum,
}

impl Offload {
    /// The commands that read and set it.
    fn commands(self) -> (u32, u32) {
        match self {
            Self::Gro => (0x2b, 0x2c),
            Self::Tso => (0x1e, 0x1f),
            Self::Gso => (0x23, 0x24),
            Self::TxChecksum => (0x16, 0x17),
        }
    }
}

/// `struct ethtool_value` (`linux/ethtool.h`).
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

/// Reads whether an offload is on.
///
/// # Errors
///
/// When there is no such interface in this thread's network namespace.
pub fn is_on(interface: &str, offload: Offload) -> io::Result<bool> {
    let (get, _) = offload.commands();
    Ok(ioctl(interface, get, 0)? != 0)
}

/// Switches an offload on or off.
///
/// # Errors
///
/// When there is no such interface in this thread's network namespace, or its driver refuses.
pub fn set(interface: &str, offload: Offload, on: bool) -> io::Result<()> {
    let (_, set) = offload.commands();
    ioctl(interface, set, u32::from(on)).map(drop)
}

fn ioctl(interface: &str, command: u32, data: u32) -> io::Result<u32> {
    let socket = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    let mut value = EthtoolValue { command, data };
    // SAFETY: all-zero bytes are a valid `ifreq`, a C struct of integers and a pointer.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let name = interface.as_bytes();
    if name.len() >= request.ifr_name.len() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = std::ptr::from_mut(&mut value).cast();
    // SAFETY: the request names an interface with a terminating zero and points to an
    // `ethtool_value` that outlives the call, as SIOCETHTOOL wants for these commands.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &mut request) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(value.data)
}
