//! Offload switches and queues of an interface (ethtool's ioctls, which every kernel has).

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
type Words = [u32; 9];
const GET_CHANNELS: u32 = 0x3c;
const SET_CHANNELS: u32 = 0x3d;

/// How many queues an interface has, and may have (`struct ethtool_channels`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Channels {
    /// Queues that only receive.
    pub rx: u32,
    /// Queues that only send.
    pub tx: u32,
    /// Queues that do both.
    pub combined: u32,
    /// The most of [`Channels::rx`].
    pub max_rx: u32,
    /// The most of [`Channels::tx`].
    pub max_tx: u32,
    /// The most of [`Channels::combined`].
    pub max_combined: u32,
}

impl Channels {
    /// All queues that receive.
    pub fn receiving(&self) -> u32 {
        self.rx + self.combined
    }

    /// All queues that send.
    pub fn sending(&self) -> u32 {
        self.tx + self.combined
    }
}

/// `struct ethtool_drvinfo`: command, then 32 bytes each of driver, version, firmware and bus, and
/// what is not used here; in words.
const DRIVER_INFO_WORDS: usize = 49;
const GET_DRIVER: u32 = 0x3;

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

/// The queues that [`set_queues`] sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queues {
    /// To receive on.
    Rx,
    /// To send to.
    Tx,
}

impl Queues {
    /// Their most and present number among the [`Words`].
    fn words(self) -> (usize, usize) {
        match self {
            Self::Rx => (1, 5),
            Self::Tx => (2, 6),
        }
    }
}

/// Gives an interface this many queues, or as many as it can have.
///
/// # Errors
///
/// When there is no such interface in this thread's network namespace, or its driver refuses.
pub fn set_queues(interface: &str, queues: Queues, wanted: u32) -> io::Result<()> {
    let (most, present) = queues.words();
    let mut channels: Words = [0; 9];
    channels[0] = GET_CHANNELS;
    ioctl(interface, &mut channels)?;
    let wanted = wanted.min(channels[most]);
    if channels[present] == wanted {
        return Ok(());
    }
    channels[0] = SET_CHANNELS;
    channels[present] = wanted;
    ioctl(interface, &mut channels)
}

/// How many queues an interface has.
///
/// # Errors
///
/// When there is no such interface in this thread's network namespace, or its driver does not say.
pub fn channels(interface: &str) -> io::Result<Channels> {
    let mut words: Words = [0; 9];
    words[0] = GET_CHANNELS;
    ioctl(interface, &mut words)?;
    let [_, max_rx, max_tx, _, max_combined, rx, tx, _, combined] = words;
    Ok(Channels {
        rx,
        tx,
        combined,
        max_rx,
        max_tx,
        max_combined,
    })
}

/// The name of an interface's driver.
///
/// # Errors
///
/// When there is no such interface in this thread's network namespace, or its driver does not say.
pub fn driver(interface: &str) -> io::Result<String> {
    let mut words = [0; DRIVER_INFO_WORDS];
    words[0] = GET_DRIVER;
    ioctl(interface, &mut words)?;
    Ok(text(&words[1..9]))
}

/// The text in words of memory, up to its terminating zero.
pub(crate) fn text(words: &[u32]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let end = bytes.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned()
}

/// One request; its command is the first word. The kernel reads and writes as many words as the
/// command's structure has, so `value` must have at least these.
pub(crate) fn ioctl(interface: &str, value: &mut [u32]) -> io::Result<()> {
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
    request.ifr_ifru.ifru_data = value.as_mut_ptr().cast();
    // SAFETY: the request names an interface with a terminating zero and points to a structure that
    // outlives the call and is as long as its command, the first word, says: the callers, all in
    // this module and its sibling `features`, give each command its own structure.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &mut request) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
