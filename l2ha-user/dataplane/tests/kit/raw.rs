//! Frames sent and received byte for byte on an interface of a namespace.

use std::{io::Read as _, mem::MaybeUninit, time::Duration};

use anyhow::Context as _;
use l2ha_lab::Namespace;
use nix::libc;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::Result;

/// All ethertypes, in network byte order as the kernel wants it.
const ALL: u16 = (libc::ETH_P_ALL as u16).to_be();

/// A packet socket on one interface.
pub(crate) struct Raw {
    socket: Socket,
    ifindex: i32,
}

impl Raw {
    /// Opens it.
    pub(crate) fn open(ns: &Namespace, interface: &str) -> Result<Self> {
        let ifindex = ns
            .ifindex(interface)?
            .with_context(|| format!("no {interface}"))?;
        let ifindex = i32::try_from(ifindex)?;
        let socket = ns.enter(|| {
            let protocol = Protocol::from(i32::from(ALL));
            let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?;
            socket.set_recv_buffer_size(1 << 22)?;
            socket.set_read_timeout(Some(Duration::from_secs(2)))?;
            socket.bind(&address(ifindex, ALL)?)?;
            anyhow::Ok(socket)
        })??;
        Ok(Self { socket, ifindex })
    }

    /// Sends a frame.
    pub(crate) fn send(&self, frame: &[u8]) -> Result {
        let ethertype = u16::from_ne_bytes([frame[12], frame[13]]);
        self.socket
            .send_to(frame, &address(self.ifindex, ethertype)?)
            .with_context(|| format!("cannot send {} bytes", frame.len()))?;
        Ok(())
    }

    /// The next frame that arrives and that the filter wants, or an error after two seconds.
    pub(crate) fn receive(&self, wanted: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>> {
        let mut buffer = vec![0; 10_000];
        loop {
            let length = (&self.socket)
                .read(&mut buffer)
                .context("nothing arrived")?;
            if wanted(&buffer[..length]) {
                buffer.truncate(length);
                return Ok(buffer);
            }
        }
    }
}

/// The address of an interface's packets; the ethertype is in network byte order.
fn address(ifindex: i32, ethertype: u16) -> Result<SockAddr> {
    // SAFETY: every field of sockaddr_ll may be 0.
    let mut address: libc::sockaddr_ll = unsafe { MaybeUninit::zeroed().assume_init() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = ifindex;
    address.sll_protocol = ethertype;
    // SAFETY: the storage has room for any socket address, and its length is set with it.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            storage.cast::<libc::sockaddr_ll>().write(address);
            *length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            Ok(())
        })
    }?;
    Ok(address)
}
