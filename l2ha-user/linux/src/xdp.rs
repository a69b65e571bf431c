//! The XDP programs of an interface, and what its driver has against native XDP.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::errno::Errno;
use rtnetlink::{
    packet_route::{
        RouteNetlinkMessage,
        link::{LinkAttribute, LinkMessage, LinkXdp},
    },
    sys::protocols::NETLINK_ROUTE,
};

use crate::{
    blocking::{Connection, KernelRefusal, Request, ask_route},
    netlink::{Asked as _, Error, Unless as _},
};

/// Flags of linux/if_link.h.
const XDP_FLAGS_UPDATE_IF_NOEXIST: u32 = 1;
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
const XDP_FLAGS_HW_MODE: u32 = 1 << 3;
const XDP_FLAGS_REPLACE: u32 = 1 << 4;

/// An XDP program on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XdpProgram {
    /// The kernel's id of it.
    pub id: u32,
    /// Whether it runs in the driver.
    pub native: bool,
}

/// Where in a driver or above it an XDP program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver, before the kernel makes a packet of it.
    Native,
    /// Above the driver ("generic", "skb").
    Generic,
    /// On the NIC itself.
    Offload,
}

/// The XDP program of an interface; `None` as well when there is no such interface.
pub fn program(ifindex: u32) -> Result<Option<XdpProgram>, Error> {
    let programs = programs(ifindex)?;
    let native = programs.iter().find(|(mode, _)| *mode == XdpMode::Native);
    Ok(native.or(programs.first()).map(|(mode, id)| XdpProgram {
        id: *id,
        native: *mode == XdpMode::Native,
    }))
}

/// All XDP programs of an interface: at most one in each mode, native first.
pub fn programs(ifindex: u32) -> Result<Vec<(XdpMode, u32)>, Error> {
    let mut message = LinkMessage::default();
    message.header.index = ifindex;
    let answers = ask_route(&RouteNetlinkMessage::GetLink(message), 0)
        .asked(|| format!("cannot ask for interface {ifindex}"))
        .unless(&[Errno::ENODEV, Errno::EINVAL])?;
    let attributes = answers.into_iter().find_map(|answer| match answer {
        RouteNetlinkMessage::NewLink(link) => Some(link.attributes),
        _ => None,
    });
    let xdp = attributes
        .into_iter()
        .flatten()
        .find_map(|attribute| match attribute {
            LinkAttribute::Xdp(xdp) => Some(xdp),
            _ => None,
        });
    let mut programs: Vec<(XdpMode, u32)> = xdp
        .into_iter()
        .flatten()
        .filter_map(|part| match part {
            LinkXdp::DrvProgId(id) => Some((XdpMode::Native, id)),
            LinkXdp::SkbProgId(id) => Some((XdpMode::Generic, id)),
            LinkXdp::HwProgId(id) => Some((XdpMode::Offload, id)),
            _ => None,
        })
        .filter(|(_, id)| *id != 0)
        .collect();
    programs.sort_by_key(|(mode, _)| *mode != XdpMode::Native);
    Ok(programs)
}

/// Offers a program to an interface's driver, for native XDP, and takes it away again at once;
/// says why the driver refuses, if it does. Some drivers set their queues up again for it.
///
/// # Errors
///
/// When the kernel does not answer, or the program cannot be taken away again.
pub fn offer(ifindex: u32, program: BorrowedFd<'_>) -> Result<Option<KernelRefusal>, Error> {
    let refusal = set_xdp(ifindex, program.as_raw_fd(), XDP_FLAGS_UPDATE_IF_NOEXIST)?;
    if refusal.is_none()
        && let Some(refusal) = set_xdp(ifindex, -1, 0)?
    {
        let what = "an XDP program was attached for a trial and cannot be taken away".to_owned();
        return Err(Error::refused(what, &refusal));
    }
    Ok(refusal)
}

/// Whether a link holds an interface's XDP program, and not netlink. `other` is a program that is
/// attached nowhere: the kernel is asked to take it off, and refuses for one reason or the other
/// (`dev_xdp_attach`, net/core/dev.c).
pub fn is_held_by_link(ifindex: u32, mode: XdpMode, other: BorrowedFd<'_>) -> Result<bool, Error> {
    let flags = match mode {
        XdpMode::Native => XDP_FLAGS_DRV_MODE,
        XdpMode::Generic => XDP_FLAGS_SKB_MODE,
        XdpMode::Offload => XDP_FLAGS_HW_MODE,
    };
    let refusal = change_xdp(
        ifindex,
        vec![
            LinkXdp::Fd(-1),
            LinkXdp::Flags(flags | XDP_FLAGS_REPLACE),
            LinkXdp::ExpectedFd(other.as_raw_fd().cast_unsigned()),
        ],
    )?;
    Ok(refusal.is_some_and(|refusal| refusal.errno() == Errno::EBUSY))
}

fn set_xdp(ifindex: u32, program: i32, flags: u32) -> Result<Option<KernelRefusal>, Error> {
    let flags = LinkXdp::Flags(XDP_FLAGS_DRV_MODE | flags);
    change_xdp(ifindex, vec![LinkXdp::Fd(program), flags])
}

fn change_xdp(ifindex: u32, change: Vec<LinkXdp>) -> Result<Option<KernelRefusal>, Error> {
    let mut message = LinkMessage::default();
    message.header.index = ifindex;
    message.attributes.push(LinkAttribute::Xdp(change));
    let request = Request::new(&RouteNetlinkMessage::SetLink(message), 0);
    let refused = Connection::open(NETLINK_ROUTE)
        .and_then(|mut connection| connection.carry_out(&[request], |_, _| Ok(())))
        .asked(|| format!("cannot change the XDP program of interface {ifindex}"))?;
    Ok(refused.into_iter().next().map(|(_, refusal)| refusal))
}
