//! tc: an interface's clsact and the filters on its hooks.

use nix::errno::Errno;
use rtnetlink::{
    packet_core::NLM_F_DUMP,
    packet_route::{
        RouteNetlinkMessage,
        tc::{TcAttribute, TcFilterBpfOption, TcHandle, TcMessage, TcOption},
    },
};

use crate::{
    blocking::ask_route,
    netlink::{Asked as _, Error, Unless as _},
};

const KIND: &str = "clsact";
/// `TC_H_CLSACT` (linux/pkt_sched.h).
const PARENT: TcHandle = TcHandle {
    major: 0xffff,
    minor: 0xfff1,
};

/// A hook of tc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcHook {
    /// What comes in.
    Ingress,
    /// What goes out.
    Egress,
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

/// The BPF filters on a tc hook; none where there is no clsact or no such interface.
pub fn filters(ifindex: u32, hook: TcHook) -> Result<Vec<Filter>, Error> {
    let messages = list(ifindex, hook)?;
    Ok(messages.iter().filter_map(filter).collect())
}

/// Whether an interface has a clsact.
pub fn has_clsact(ifindex: u32) -> Result<bool, Error> {
    let message = TcMessage::with_index(ifindex.cast_signed());
    let request = RouteNetlinkMessage::GetQueueDiscipline(message);
    let disciplines = ask_route(&request, NLM_F_DUMP)
        .asked(|| format!("cannot list the qdiscs of interface {ifindex}"))?;
    let clsact = TcAttribute::Kind(KIND.to_owned());
    // Some kernels list those of every interface.
    Ok(disciplines.iter().any(|discipline| {
        matches!(discipline, RouteNetlinkMessage::NewQueueDiscipline(message)
            if message.header.index == ifindex.cast_signed()
                && message.attributes.contains(&clsact))
    }))
}

/// Removes an interface's clsact, unless it has filters of others.
///
/// # Errors
///
/// When the kernel refuses; that there is none is no error.
pub fn remove_unused_clsact(ifindex: u32) -> Result<(), Error> {
    for hook in [TcHook::Ingress, TcHook::Egress] {
        if !list(ifindex, hook)?.is_empty() {
            return Ok(());
        }
    }
    let mut message = TcMessage::with_index(ifindex.cast_signed());
    message.header.parent = PARENT;
    message.header.handle = TcHandle {
        major: PARENT.major,
        minor: 0,
    };
    message.attributes.push(TcAttribute::Kind(KIND.to_owned()));
    ask_route(&RouteNetlinkMessage::DelQueueDiscipline(message), 0)
        .map(drop)
        .asked(|| format!("cannot remove clsact from interface {ifindex}"))
        .unless(&[Errno::ENOENT, Errno::EINVAL])
}

/// All filters on a tc hook.
fn list(ifindex: u32, hook: TcHook) -> Result<Vec<TcMessage>, Error> {
    let mut message = TcMessage::with_index(ifindex.cast_signed());
    message.header.parent = TcHandle {
        major: PARENT.major,
        minor: match hook {
            TcHook::Ingress => TcHandle::MIN_INGRESS,
            TcHook::Egress => TcHandle::MIN_EGRESS,
        },
    };
    let answers = ask_route(&RouteNetlinkMessage::GetTrafficFilter(message), NLM_F_DUMP)
        .asked(|| format!("cannot list the tc filters of interface {ifindex}"))
        // EINVAL is the kernel's answer for a hook without clsact.
        .unless(&[Errno::ENODEV, Errno::EINVAL])?;
    let filters = answers.into_iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewTrafficFilter(message) => Some(message),
        _ => None,
    });
    Ok(filters.collect())
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
