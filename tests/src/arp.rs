//! A gateway whose NIC, or rather whose neighbour's NIC, is deaf at times: ARP questions for it are
//! answered by the lab, which looks first.

use std::{
    io::Read as _,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::{
    cloud::{Cloud, GATEWAY_V4, Host, UNDERLAY},
    ns::Namespace,
};

/// `ETH_P_ARP`; operations of ARP (RFC 826).
const ETHERTYPE: u16 = 0x0806;
const REQUEST: u16 = 1;
const REPLY: u16 = 2;
/// Bytes of an Ethernet header and an ARP packet for IPv4.
const FRAME: usize = 42;

/// When the gateway does not answer a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deaf {
    /// It always answers.
    Never,
    /// While a native XDP program is on the host's NIC.
    WithXdp,
    /// While any BPF program is at tc ingress of the host's NIC, as one always is with l2ha.
    WithTc,
    /// It never answers.
    Always,
}

/// Answers ARP for the gateway on one host's link, in place of the cloud's router.
#[derive(Debug)]
pub struct Gateway {
    end: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<Result<()>>>,
}

impl Gateway {
    /// Takes over from the router. The host has no IPv6 gateway any more.
    ///
    /// # Errors
    ///
    /// When the link cannot be changed.
    pub fn start(cloud: &Cloud, host: &Arc<Host>, deaf: Deaf) -> Result<Self> {
        let (router, port) = (cloud.router(), host.port());
        // 8: do not answer for any address (ip-sysctl.rst).
        router.sysctl(&format!("net/ipv4/conf/{port}/arp_ignore"), "8")?;
        let _ = host
            .ns
            .try_run(["ip", "-6", "route", "del", "default", "dev", UNDERLAY])?;
        host.ns.run(["ip", "neigh", "flush", "dev", UNDERLAY])?;
        let index = router.ifindex(&port)?.context("the host has no port")?;
        let mac = router.mac(&port)?;
        let end = Arc::new(AtomicBool::new(false));
        let (host, stop) = (Arc::clone(host), Arc::clone(&end));
        let socket = router.enter(|| listen(index))??;
        let thread = thread::spawn(move || {
            let mut frame = [0; 128];
            while !stop.load(Ordering::Relaxed) {
                let Ok(length) = (&socket).read(&mut frame) else {
                    continue;
                };
                let Some(reply) = reply(&frame[..length], mac) else {
                    continue;
                };
                let silent = match deaf {
                    Deaf::Never => false,
                    Deaf::Always => true,
                    Deaf::WithXdp => has_xdp(&host.ns)?,
                    Deaf::WithTc => has_tc(&host.ns)?,
                };
                if !silent {
                    socket.send(&reply)?;
                }
            }
            Ok(())
        });
        Ok(Self {
            end,
            thread: Some(thread),
        })
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(thread::JoinHandle::join);
        if let Some(Ok(Err(error))) = ended {
            eprintln!("lab: the gateway that answers ARP has ended: {error:#}");
        }
    }
}

/// Whether a native XDP program is on a host's NIC.
fn has_xdp(ns: &Namespace) -> Result<bool> {
    let links = ns.ip_json(&["link", "show", "dev", UNDERLAY])?;
    // 1: XDP_ATTACHED_DRV (linux/if_link.h).
    Ok(links[0]["xdp"]["mode"] == 1)
}

/// Whether a BPF program is at tc ingress of a host's NIC.
fn has_tc(ns: &Namespace) -> Result<bool> {
    let filters = ns.run(["tc", "filter", "show", "dev", UNDERLAY, "ingress"])?;
    Ok(filters.contains("bpf"))
}

/// A socket that hears the ARP packets of one interface.
fn listen(index: u32) -> Result<Socket> {
    let protocol = Protocol::from(i32::from(ETHERTYPE.to_be()));
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?;
    socket.bind(&link_address(index, ETHERTYPE)?)?;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    Ok(socket)
}

/// The address of an interface for packet sockets, as `struct sockaddr_ll`: family, protocol, index; the rest is not
/// needed to receive, or to send whole frames.
///
/// # Errors
///
/// When there cannot be such an index.
pub fn link_address(index: u32, ethertype: u16) -> Result<SockAddr> {
    let address = nix::libc::sockaddr_ll {
        sll_family: nix::libc::AF_PACKET as u16,
        sll_protocol: ethertype.to_be(),
        sll_ifindex: i32::try_from(index)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: a sockaddr_ll is written whole into the storage, which has room for any address, and
    // its length is returned.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            storage.cast::<nix::libc::sockaddr_ll>().write(address);
            *length = size_of::<nix::libc::sockaddr_ll>() as u32;
            Ok(())
        })
    }?;
    Ok(address)
}

/// The answer to a question for the gateway.
fn reply(frame: &[u8], mac: [u8; 6]) -> Option<Vec<u8>> {
    let arp = frame.get(14..FRAME)?;
    let operation = u16::from_be_bytes([arp[6], arp[7]]);
    let target: [u8; 4] = arp[24..28].try_into().ok()?;
    if operation != REQUEST || Ipv4Addr::from(target) != GATEWAY_V4 {
        return None;
    }
    let (asker, asker_address) = (&arp[8..14], &arp[14..18]);
    let mut reply = Vec::with_capacity(FRAME);
    reply.extend(asker);
    reply.extend(mac);
    reply.extend(ETHERTYPE.to_be_bytes());
    // Ethernet, IPv4, and their lengths, as asked.
    reply.extend(&arp[..6]);
    reply.extend(REPLY.to_be_bytes());
    reply.extend(mac);
    reply.extend(target);
    reply.extend(asker);
    reply.extend(asker_address);
    Some(reply)
}
