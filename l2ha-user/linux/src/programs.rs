//! Questions to routing netlink, asked and answered at once: which XDP program does an interface
//! have, which BPF filters are on a tc hook, and what has a driver against native XDP.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use rtnetlink::{
    packet_core::{
        ErrorMessage, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
        NetlinkPayload, NlasIterator,
    },
    packet_route::{
        RouteNetlinkMessage,
        link::{LinkAttribute, LinkMessage, LinkXdp},
        tc::{TcAttribute, TcFilterBpfOption, TcHandle, TcMessage, TcOption},
    },
    sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE},
};

/// Flags of linux/if_link.h.
const XDP_FLAGS_UPDATE_IF_NOEXIST: u32 = 1;
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
const XDP_FLAGS_HW_MODE: u32 = 1 << 3;
const XDP_FLAGS_REPLACE: u32 = 1 << 4;
/// `NLMSGERR_ATTR_MSG` (linux/netlink.h), and the length of `struct nlmsghdr`.
const NLMSGERR_ATTR_MSG: u16 = 1;
const NETLINK_HEADER: usize = 16;

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

/// A hook of tc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcHook {
    /// What comes in.
    Ingress,
    /// What goes out.
    Egress,
}

/// What a driver answered that was offered a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverRefusal {
    /// Its error.
    pub code: Errno,
    /// Its own words, where it had any.
    pub words: Option<String>,
}

/// A BPF filter on a tc hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Its priority (`pref`); the lowest is asked first.
    pub priority: u16,
    /// Its handle.
    pub handle: u32,
    /// Its name.
    pub name: String,
    /// The kernel's id of its program.
    pub program: Option<u32>,
}

/// The XDP program of an interface; `None` as well when there is no such interface.
///
/// # Errors
///
/// When the kernel does not answer.
pub fn xdp_program(ifindex: u32) -> Result<Option<XdpProgram>> {
    let programs = xdp_programs(ifindex)?;
    let native = programs.iter().find(|(mode, _)| *mode == XdpMode::Native);
    Ok(native.or(programs.first()).map(|(mode, id)| XdpProgram {
        id: *id,
        native: *mode == XdpMode::Native,
    }))
}

/// All XDP programs of an interface: at most one in each mode, native first.
///
/// # Errors
///
/// When the kernel does not answer.
pub fn xdp_programs(ifindex: u32) -> Result<Vec<(XdpMode, u32)>> {
    let mut message = LinkMessage::default();
    message.header.index = ifindex;
    let answers = ask(
        RouteNetlinkMessage::GetLink(message),
        NLM_F_REQUEST,
        Errno::ENODEV,
    )
    .with_context(|| format!("cannot ask for interface {ifindex}"))?;
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
/// says why the driver refuses, if it does. Some drivers set their queues up anew for it.
///
/// # Errors
///
/// When the kernel does not answer, or the program cannot be taken away again.
pub fn offer(ifindex: u32, program: BorrowedFd<'_>) -> Result<Option<DriverRefusal>> {
    let refusal = set_xdp(ifindex, program.as_raw_fd(), XDP_FLAGS_UPDATE_IF_NOEXIST)?;
    if refusal.is_none()
        && let Some(refusal) = set_xdp(ifindex, -1, 0)?
    {
        bail!("an XDP program was attached for a trial and cannot be taken away: {refusal:?}");
    }
    Ok(refusal)
}

/// Whether a link holds an interface's XDP program, and not netlink. `other` is a program that is
/// attached nowhere: the kernel is asked to take it off, and refuses for one reason or the other
/// (`dev_xdp_attach`, net/core/dev.c).
///
/// # Errors
///
/// When the kernel does not answer.
pub fn is_held_by_link(ifindex: u32, mode: XdpMode, other: BorrowedFd<'_>) -> Result<bool> {
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
    Ok(refusal.is_some_and(|refusal| refusal.code == Errno::EBUSY))
}

fn set_xdp(ifindex: u32, program: i32, flags: u32) -> Result<Option<DriverRefusal>> {
    let flags = LinkXdp::Flags(XDP_FLAGS_DRV_MODE | flags);
    change_xdp(ifindex, vec![LinkXdp::Fd(program), flags])
}

fn change_xdp(ifindex: u32, change: Vec<LinkXdp>) -> Result<Option<DriverRefusal>> {
    let mut message = LinkMessage::default();
    message.header.index = ifindex;
    message.attributes.push(LinkAttribute::Xdp(change));
    let socket = send(
        RouteNetlinkMessage::SetLink(message),
        NLM_F_REQUEST | NLM_F_ACK,
    )?;
    let (datagram, _) = socket.recv_from_full()?;
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&datagram)
        .context("the kernel's answer cannot be read")?;
    let NetlinkPayload::Error(answer) = answer.payload else {
        bail!("the kernel did not answer whether it attached the program");
    };
    Ok(answer.code.map(|code| DriverRefusal {
        code: Errno::from_raw(-code.get()),
        words: words(&answer),
    }))
}

/// What a driver says beside the error (`NLMSGERR_ATTR_MSG`).
fn words(answer: &ErrorMessage) -> Option<String> {
    // The request's header comes first, without its contents (`NETLINK_CAP_ACK`).
    let attributes = answer.header.get(NETLINK_HEADER..)?;
    let attribute = NlasIterator::new(attributes)
        .flatten()
        .find(|attribute| attribute.kind() == NLMSGERR_ATTR_MSG)?;
    let text = String::from_utf8_lossy(attribute.value()).into_owned();
    Some(text.trim_end_matches('\0').to_owned())
}

/// The BPF filters on a tc hook; none where there is no clsact or no such interface.
///
/// # Errors
///
/// When the kernel does not answer.
pub fn filters(ifindex: u32, hook: TcHook) -> Result<Vec<Filter>> {
    let parent = match hook {
        TcHook::Ingress => TcHandle::MIN_INGRESS,
        TcHook::Egress => TcHandle::MIN_EGRESS,
    };
    let mut message = TcMessage::with_index(ifindex.cast_signed());
    message.header.parent = TcHandle {
        major: TcHandle::CLSACT.major,
        minor: parent,
    };
    let request = RouteNetlinkMessage::GetTrafficFilter(message);
    let answers = ask(request, NLM_F_REQUEST | NLM_F_DUMP, Errno::ENODEV)
        .with_context(|| format!("cannot list the tc filters of interface {ifindex}"))?;
    Ok(answers
        .into_iter()
        .filter_map(|answer| match answer {
            RouteNetlinkMessage::NewTrafficFilter(message) => filter(&message),
            _ => None,
        })
        .collect())
}

/// A BPF filter with a name, from what the kernel says of it.
fn filter(message: &TcMessage) -> Option<Filter> {
    let options = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            TcAttribute::Options(options) => Some(options),
            _ => None,
        })?;
    let (mut name, mut program) = (None, None);
    for option in options {
        match option {
            TcOption::Bpf(TcFilterBpfOption::ProgName(text)) => name = Some(text.clone()),
            TcOption::Bpf(TcFilterBpfOption::ProgId(id)) => program = Some(*id),
            _ => {}
        }
    }
    Some(Filter {
        priority: (message.header.info >> 16) as u16,
        handle: message.header.handle.into(),
        name: name?,
        program,
    })
}

/// Sends a request over a socket of its own, on which the answer will come.
fn send(request: RouteNetlinkMessage, flags: u16) -> Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.set_ext_ack(true)?;
    socket.set_cap_ack(true)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    Ok(socket)
}

/// Sends a request and collects the answers; none if the kernel says `absent` (or EINVAL, which
/// is its word for a hook without clsact).
fn ask(
    request: RouteNetlinkMessage,
    flags: u16,
    absent: Errno,
) -> Result<Vec<RouteNetlinkMessage>> {
    let socket = send(request, flags)?;
    let is_dump = flags & NLM_F_DUMP == NLM_F_DUMP;
    let mut answers = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = &datagram[..];
        while !rest.is_empty() {
            let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                .context("the kernel's answer cannot be read")?;
            let length = answer.header.length as usize;
            match answer.payload {
                NetlinkPayload::InnerMessage(inner) => {
                    answers.push(inner);
                    if !is_dump {
                        return Ok(answers);
                    }
                }
                NetlinkPayload::Error(error) => {
                    let error: io::Error = error.to_io();
                    let code = error.raw_os_error().map(Errno::from_raw);
                    if code == Some(absent) || code == Some(Errno::EINVAL) {
                        return Ok(Vec::new());
                    }
                    return Err(error.into());
                }
                NetlinkPayload::Done(_) => return Ok(answers),
                _ => {}
            }
            // Messages are aligned to 4 bytes.
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}
