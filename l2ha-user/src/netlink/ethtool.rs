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

/// `struct ethtool_value` (`linux/ethtool.h`): command and data.
type Value = [u32; 2];

/// `struct ethtool_channels`: command, greatest numbers of rx, tx, other and combined queues, and
/// the present ones.
type Channels = [u32; 9];
const GET_CHANNELS: u32 = 0x3c;
const SET_CHANNELS: u32 = 0x3d;
const MOST_RX: usize = 1;
const RX: usize = 5;

/// Reads whether an offload is on.
///
/// # Errors
///
/// When there is no such interface in this thread's network namespace.
pub fn is_on(interface: &str, offload: Offload) -> io::Result<bool> {
    let (get, _) = offload.commands();
    let mut value: Value = [get, 0];
    ioctl(interface, &mut value)?;
    Ok(value[1] != 0)
}

/// Switches an offload on or off.
///
/// # Errors
///
/// When there is no such interface in this thread's network namespace, or its driver refuses.
pub fn set(interface: &str, offload: Offload, on: bool) -> io::Result<()> {
    let (_, set) = offload.commands();
    ioctl(interface, &mut [set, u32::from(on)])
}

/// Gives an interface this many receive queues, or as many as it can have.
///
/// # Errors
///
/// When there is no such interface in this thread's network namespace, or its driver refuses.
pub fn set_receive_queues(interface: &str, wanted: u32) -> io::Result<()> {
    let mut channels: Channels = [0; 9];
    channels[0] = GET_CHANNELS;
    ioctl(interface, &mut channels)?;
    let wanted = wanted.min(channels[MOST_RX]);
    if channels[RX] == wanted {
        return Ok(());
    }
    channels[0] = SET_CHANNELS;
    channels[RX] = wanted;
    ioctl(interface, &mut channels)
}

fn ioctl<const N: usize>(interface: &str, value: &mut [u32; N]) -> io::Result<()> {
    let socket = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    // SAFETY: all-zero bytes are a valid `ifreq`, a C struct of integers and a pointer.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let name = interface.as_bytes();
    if name.len() >= request.ifr_name.len() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = std::ptr::from_mut(value).cast();
    // SAFETY: the request names an interface with a terminating zero and points to a structure that
    // outlives the call and is as long as its command, the first word, says: two words, or nine for
    // channels.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &mut request) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
