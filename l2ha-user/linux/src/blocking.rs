//! Netlink without an event loop: a call sends its requests and returns with the kernel's answers.
//! What can wait for an event loop goes through [`crate::Netlink`].

use std::{fmt, io};

use nix::errno::Errno;
use rtnetlink::{
    packet_core::{
        DefaultNla, Emitable as _, NLA_HEADER_SIZE, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_REQUEST,
        NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN, NetlinkBuffer,
        NetlinkDeserializable as _, NetlinkHeader, NetlinkSerializable, NlasIterator,
        Parseable as _,
    },
    packet_route::{RouteNetlinkMessage, link::LinkMessage},
    sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE},
};

/// `NLMSGERR_ATTR_MSG` (linux/netlink.h).
const NLMSGERR_ATTR_MSG: u16 = 1;
/// linux/if_link.h, linux/rtnetlink.h.
const IFLA_EXT_MASK: u16 = 29;
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;

/// One request.
pub(crate) struct Request {
    /// Message type.
    pub kind: u16,
    /// Flags beside `NLM_F_REQUEST` and `NLM_F_ACK`.
    pub flags: u16,
    /// What follows the header.
    pub body: Vec<u8>,
}

impl Request {
    pub(crate) fn new(message: &impl NetlinkSerializable, flags: u16) -> Self {
        let mut body = vec![0; message.buffer_len()];
        message.serialize(&mut body);
        Self {
            kind: message.message_type(),
            flags,
            body,
        }
    }
}

/// Asks for the interface with this index, or with 0 for all of them (`NLM_F_DUMP`); without statistics, which nobody
/// reads and which are more than half of each answer.
pub(crate) fn links(index: u32, flags: u16) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = index;
    let mut request = Request::new(&RouteNetlinkMessage::GetLink(message), flags);
    let mask = RTEXT_FILTER_SKIP_STATS.to_ne_bytes();
    append(&mut request.body, IFLA_EXT_MASK, &mask);
    request
}

/// What the kernel answers to a request that it refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelRefusal {
    code: i32,
    /// What it says beside the error number (extended acknowledgement).
    pub text: Option<String>,
}

impl KernelRefusal {
    /// The error number.
    pub fn errno(&self) -> Errno {
        Errno::from_raw(self.code)
    }
}

impl fmt::Display for KernelRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", io::Error::from_raw_os_error(self.code))?;
        self.text.iter().try_for_each(|text| write!(f, ": {text}"))
    }
}

impl From<KernelRefusal> for io::Error {
    fn from(refusal: KernelRefusal) -> Self {
        Self::from_raw_os_error(refusal.code)
    }
}

/// A socket in the network namespace of the thread that opened it.
pub(crate) struct Connection {
    socket: Socket,
    sequence: u32,
}

impl Connection {
    pub(crate) fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Errors come without a copy of the request, and with the kernel's text if it has one.
        socket.set_cap_ack(true)?;
        socket.set_ext_ack(true)?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// Sends requests in one piece. The kernel carries out each, whatever becomes of those before;
    /// `take` gets the messages with which it answers. Returns those refused, by their place.
    ///
    /// # Errors
    ///
    /// When the socket or `take` fails: what has become of the requests is not known then.
    pub(crate) fn carry_out(
        &mut self,
        requests: &[Request],
        take: impl FnMut(&NetlinkHeader, &[u8]) -> io::Result<()>,
    ) -> io::Result<Vec<(usize, KernelRefusal)>> {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        let mut reader = Reader {
            first: self.sequence.wrapping_add(1),
            count: requests.len(),
            refused: Vec::new(),
            take,
        };
        let mut bytes = Vec::new();
        for (place, request) in requests.iter().enumerate() {
            self.sequence = self.sequence.wrapping_add(1);
            // The last one's acknowledgement says that all have been carried out.
            let ack = if place + 1 == requests.len() {
                NLM_F_ACK
            } else {
                0
            };
            let mut header = NetlinkHeader::default();
            let start = bytes.len();
            let length = header.buffer_len() + request.body.len();
            header.length = u32::try_from(length).map_err(io::Error::other)?;
            header.message_type = request.kind;
            header.flags = NLM_F_REQUEST | ack | request.flags;
            header.sequence_number = self.sequence;
            bytes.resize(start + header.buffer_len(), 0);
            header.emit(&mut bytes[start..]);
            bytes.extend(&request.body);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        self.socket.send(&bytes, 0)?;
        while !reader.read(&self.socket.recv_from_full()?.0)? {}
        Ok(reader.refused)
    }

    /// Carries out one request; `take` gets the messages with which the kernel answers.
    pub(crate) fn ask(
        &mut self,
        request: Request,
        take: impl FnMut(&NetlinkHeader, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let refused = self.carry_out(&[request], take)?;
        refused
            .into_iter()
            .try_for_each(|(_, refusal)| Err(refusal.into()))
    }
}

/// Asks routing netlink over a socket of its own.
pub(crate) fn ask_route(
    message: &RouteNetlinkMessage,
    flags: u16,
) -> io::Result<Vec<RouteNetlinkMessage>> {
    let mut answers = Vec::new();
    Connection::open(NETLINK_ROUTE)?.ask(Request::new(message, flags), |header, body| {
        let answer = RouteNetlinkMessage::deserialize(header, body);
        answers.push(answer.map_err(io::Error::other)?);
        Ok(())
    })?;
    Ok(answers)
}

/// Reads the answers to requests whose sequence numbers begin with `first`.
struct Reader<T> {
    first: u32,
    count: usize,
    refused: Vec<(usize, KernelRefusal)>,
    take: T,
}

impl<T: FnMut(&NetlinkHeader, &[u8]) -> io::Result<()>> Reader<T> {
    /// Reads a datagram; whether it ends the answer to the last request.
    fn read(&mut self, mut datagram: &[u8]) -> io::Result<bool> {
        while !datagram.is_empty() {
            let buffer = NetlinkBuffer::new_checked(datagram).map_err(io::Error::other)?;
            let header = NetlinkHeader::parse(&buffer).map_err(io::Error::other)?;
            let next = (header.length as usize).next_multiple_of(4);
            datagram = datagram.get(next..).unwrap_or_default();
            let place = header.sequence_number.wrapping_sub(self.first) as usize;
            if place >= self.count {
                // Of an earlier call, which has failed before it had read everything.
                continue;
            }
            match header.message_type {
                NLMSG_NOOP | NLMSG_OVERRUN => {}
                NLMSG_ERROR | NLMSG_DONE => {
                    let refusal = refusal(&header, buffer.payload())?;
                    self.refused.extend(refusal.map(|it| (place, it)));
                    if place + 1 == self.count {
                        return Ok(true);
                    }
                }
                _ => (self.take)(&header, buffer.payload())?,
            }
        }
        Ok(false)
    }
}

/// Reads an acknowledgement, or the end of a list; nothing if the request was carried out.
fn refusal(header: &NetlinkHeader, body: &[u8]) -> io::Result<Option<KernelRefusal>> {
    let code = match body.first_chunk() {
        Some(code) => i32::from_ne_bytes(*code),
        // An empty one ends a list.
        None if header.message_type == NLMSG_DONE => 0,
        None => return Err(io::Error::other("a netlink error without its number")),
    };
    if code == 0 {
        return Ok(None);
    }
    let attributes_at = match header.message_type {
        // The request's header comes first.
        NLMSG_ERROR => size_of_val(&code) + header.buffer_len(),
        _ => size_of_val(&code),
    };
    let text = body
        .get(attributes_at..)
        .filter(|_| header.flags & NLM_F_ACK_TLVS != 0)
        .and_then(|attributes| attribute(attributes, NLMSGERR_ATTR_MSG))
        .map(|text| String::from_utf8_lossy(text).trim_end_matches('\0').into());
    Ok(Some(KernelRefusal {
        code: code.saturating_neg(),
        text,
    }))
}

/// Appends an attribute.
pub(crate) fn append(to: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let attribute = DefaultNla::new(kind, value.to_vec());
    let start = to.len();
    to.resize(start + attribute.buffer_len(), 0);
    attribute.emit(&mut to[start..]);
}

/// The attributes in `bytes`, type and value, up to the first that is malformed.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes)
        .map_while(Result::ok)
        .filter_map(|it| {
            let (kind, end) = (it.kind(), usize::from(it.length()));
            Some((kind, it.into_inner().get(NLA_HEADER_SIZE..end)?))
        })
}

/// The value of the first attribute of a type.
pub(crate) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes)
        .find(|(found, _)| *found == kind)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use nix::libc;
    use rtnetlink::{
        packet_core::{NLM_F_CAPPED, NLM_F_DUMP},
        packet_route::link::LinkMessage,
    };

    use super::*;

    const FIRST: u32 = u32::MAX;
    const NEWLINK: u16 = 16;

    fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
        let mut header = NetlinkHeader::default();
        header.length = (16 + body.len()) as u32;
        header.message_type = kind;
        header.flags = flags;
        header.sequence_number = sequence;
        let mut bytes = vec![0; 16];
        header.emit(&mut bytes);
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn error(code: i32, text: Option<&[u8]>, sequence: u32) -> Vec<u8> {
        let mut body = code.to_ne_bytes().to_vec();
        body.extend([0; 16]);
        let mut flags = NLM_F_CAPPED;
        if let Some(text) = text {
            flags |= NLM_F_ACK_TLVS;
            append(&mut body, 7, &[0; 3]);
            append(&mut body, NLMSGERR_ATTR_MSG, text);
        }
        message(NLMSG_ERROR, flags, sequence, &body)
    }

    /// Whether a datagram was the last, the bodies of the messages in it, and what it refuses.
    type Read = (bool, Vec<Vec<u8>>, Vec<(usize, KernelRefusal)>);

    /// Reads a datagram that answers three requests.
    fn read(datagram: &[u8]) -> io::Result<Read> {
        let mut bodies = Vec::new();
        let mut reader = Reader {
            first: FIRST,
            count: 3,
            refused: Vec::new(),
            take: |_: &NetlinkHeader, body: &[u8]| {
                bodies.push(body.to_vec());
                Ok(())
            },
        };
        let is_last = reader.read(datagram)?;
        let refused = reader.refused;
        Ok((is_last, bodies, refused))
    }

    #[test]
    fn answers_belong_to_their_requests_and_the_last_one_ends_the_call() {
        let datagram = [
            error(-libc::EEXIST, None, FIRST.wrapping_sub(1)),
            error(-libc::ENOENT, Some(b"no such object\0"), FIRST),
            message(NEWLINK, 0, FIRST.wrapping_add(2), b"12345"),
        ]
        .concat();
        let (is_last, bodies, refused) = read(&datagram).unwrap();
        assert!(!is_last);
        assert_eq!(bodies, [b"12345"]);
        let [(0, refusal)] = &refused[..] else {
            panic!("{refused:?}");
        };
        assert_eq!(refusal.errno(), Errno::ENOENT);
        assert_eq!(refusal.text.as_deref(), Some("no such object"));
        assert_eq!(
            refusal.to_string(),
            "No such file or directory (os error 2): no such object"
        );
        let last = FIRST.wrapping_add(2);
        assert_eq!(read(&error(0, None, last)).unwrap(), (true, vec![], vec![]));
        for body in [&[][..], &[0; 4]] {
            let done = message(NLMSG_DONE, 0, last, body);
            assert_eq!(read(&done).unwrap(), (true, vec![], vec![]));
        }
        let failed = message(NLMSG_DONE, 0, last, &(-libc::EINVAL).to_ne_bytes());
        let (is_last, _, refused) = read(&failed).unwrap();
        assert!(is_last);
        assert_eq!(refused[0].1.errno(), Errno::EINVAL);
    }

    #[test]
    fn a_text_is_read_only_where_the_kernel_says_that_there_is_one() {
        let mut datagram = error(-libc::ENOENT, Some(b"text"), FIRST);
        datagram[6..8].copy_from_slice(&NLM_F_CAPPED.to_ne_bytes());
        let (_, _, refused) = read(&datagram).unwrap();
        assert_eq!(refused[0].1.text, None);
    }

    #[test]
    fn no_length_in_a_datagram_is_believed() {
        let good = [
            message(NEWLINK, 0, FIRST, b"1234567"),
            error(i32::MIN, Some(b"text"), FIRST),
        ]
        .concat();
        assert!(read(&good).is_ok());
        for length in [0, 1, 15, good.len() as u32 + 1, u32::MAX - 2, u32::MAX] {
            let mut datagram = good.clone();
            datagram[..4].copy_from_slice(&length.to_ne_bytes());
            assert!(read(&datagram).is_err(), "{length}");
        }
        let cut_off = message(NLMSG_ERROR, 0, FIRST, &[0; 3]);
        assert!(read(&cut_off[..19]).is_err());
        // None of these may panic or go on for ever.
        for length in 0..good.len() {
            let _ = read(&good[..length]);
        }
        for place in 0..good.len() {
            for value in [0, 1, 3, 4, 0x7f, 0x80, 0xff] {
                let mut datagram = good.clone();
                datagram[place] = value;
                let _ = read(&datagram);
            }
        }
    }

    #[test]
    fn attributes_end_where_one_is_malformed() {
        let mut bytes = Vec::new();
        append(&mut bytes, 1, b"12345");
        append(&mut bytes, 2, b"");
        append(&mut bytes, 3, b"123");
        let all = [(1, &b"12345"[..]), (2, b""), (3, b"123")];
        assert!(attributes(&bytes).eq(all));
        assert_eq!(attribute(&bytes, 3), Some(&b"123"[..]));
        assert_eq!(attribute(&bytes, 4), None);
        // The padding after the last one need not be there.
        assert_eq!(attributes(&bytes[..bytes.len() - 1]).count(), 3);
        for length in [0, 3, 12, 13, u16::MAX] {
            let mut bytes = bytes.clone();
            bytes[12..14].copy_from_slice(&length.to_ne_bytes());
            let count = if length == 12 { 2 } else { 1 };
            assert_eq!(attributes(&bytes).count(), count, "{length}");
        }
    }

    #[test]
    fn the_kernel_is_asked_for_one_interface_for_all_and_for_one_that_is_not_there() {
        let ask = |index, flags| {
            let mut link = LinkMessage::default();
            link.header.index = index;
            ask_route(&RouteNetlinkMessage::GetLink(link), flags)
        };
        let is_link =
            |answer: &RouteNetlinkMessage| matches!(answer, RouteNetlinkMessage::NewLink(_));
        let one = ask(1, 0).unwrap();
        assert!(one.len() == 1 && one.iter().all(is_link));
        let all = ask(0, NLM_F_DUMP).unwrap();
        assert!(!all.is_empty() && all.iter().all(is_link));
        let none = ask(u32::MAX >> 1, 0).unwrap_err();
        assert_eq!(none.raw_os_error(), Some(libc::ENODEV));
    }
}
