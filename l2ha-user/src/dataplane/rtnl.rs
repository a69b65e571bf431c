//! Two questions to routing netlink, asked and answered at once: which XDP program does an
//! interface have, and which BPF filters are on a tc hook.

use std::io;

use anyhow::{Context as _, Result, bail};
use aya::programs::TcAttachType;
use nix::errno::Errno;
use rtnetlink::{
    packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload},
    packet_route::{
        RouteNetlinkMessage,
        link::{LinkAttribute, LinkMessage, LinkXdp, XdpAttached},
        tc::{TcAttribute, TcFilterBpfOption, TcHandle, TcMessage, TcOption},
    },
    sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE},
};

/// An XDP program on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct XdpProgram {
    /// The kernel's id of it.
    pub(super) id: u32,
    /// Whether it runs in the driver.
    pub(super) native: bool,
}

/// A BPF filter on a tc hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    pub(super) priority: u16,
    pub(super) handle: u32,
    pub(super) name: String,
    /// The kernel's id of its program.
    pub(super) program: Option<u32>,
}

/// The XDP program of an interface; `None` as well when there is no such interface.
pub(super) fn xdp_program(ifindex: u32) -> Result<Option<XdpProgram>> {
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
    let (mut id, mut native) = (0, false);
    for part in xdp.into_iter().flatten() {
        match part {
            LinkXdp::ProgId(program) => id = program,
            LinkXdp::DrvProgId(program) => {
                id = program;
                native = true;
            }
            LinkXdp::Attached(how) => native |= how == XdpAttached::Driver,
            LinkXdp::SkbProgId(program) | LinkXdp::HwProgId(program) if id == 0 => id = program,
            _ => {}
        }
    }
    Ok((id != 0).then_some(XdpProgram { id, native }))
}

/// The BPF filters on a tc hook; none where there is no clsact or no such interface.
pub(super) fn filters(ifindex: u32, hook: TcAttachType) -> Result<Vec<Filter>> {
    let parent = match hook {
        TcAttachType::Ingress => TcHandle::MIN_INGRESS,
        TcAttachType::Egress => TcHandle::MIN_EGRESS,
        TcAttachType::Custom(_) => bail!("only ingress and egress have filters of l2ha"),
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

/// Sends a request and collects the answers; none if the kernel says `absent` (or EINVAL, which
/// is its word for a hook without clsact).
fn ask(
    request: RouteNetlinkMessage,
    flags: u16,
    absent: Errno,
) -> Result<Vec<RouteNetlinkMessage>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;

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
