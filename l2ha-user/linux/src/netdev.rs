//! What a driver can do with XDP, as it says itself (generic netlink family `netdev`, Linux 6.3).

use std::io;

use rtnetlink::{
    packet_core::{NLM_F_ACK, NLM_F_REQUEST, NLMSG_ERROR, NetlinkBuffer, NlasIterator},
    sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC},
};

/// `GENL_ID_CTRL` and `CTRL_CMD_GETFAMILY` (linux/genetlink.h), and the attributes that ask and
/// answer.
const CONTROLLER: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
/// `NETDEV_CMD_DEV_GET` (linux/netdev.h), and its attributes.
const GET_DEVICE: u8 = 1;
const IFINDEX: u16 = 1;
const XDP_FEATURES: u16 = 3;
/// `NETDEV_XDP_ACT_BASIC`, `NETDEV_XDP_ACT_REDIRECT`.
const BASIC: u64 = 1;
const REDIRECT: u64 = 2;
/// `struct nlmsghdr` and `struct genlmsghdr`, in bytes.
const HEADER: usize = 16;
const GENERIC_HEADER: usize = 4;

/// Whether the driver has native XDP, as it is set up now; `None` where the kernel is too old to
/// say.
///
/// # Errors
///
/// When the kernel does not answer.
pub fn has_native_xdp(ifindex: u32) -> io::Result<Option<bool>> {
    let mut socket = Socket::new(NETLINK_GENERIC)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let name = ask(&socket, CONTROLLER, GET_FAMILY, FAMILY_NAME, b"netdev\0");
    let family = match name {
        Ok(answer) => find(&answer, FAMILY_ID),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(family) = family.and_then(|value| value.try_into().ok()) else {
        return Ok(None);
    };
    let answer = ask(
        &socket,
        u16::from_ne_bytes(family),
        GET_DEVICE,
        IFINDEX,
        &ifindex.to_ne_bytes(),
    )?;
    let features = find(&answer, XDP_FEATURES).and_then(|value| value.try_into().ok());
    Ok(features.map(|bytes| {
        let wanted = BASIC | REDIRECT;
        u64::from_ne_bytes(bytes) & wanted == wanted
    }))
}

/// Sends a request with one attribute and returns the attributes of the answer.
fn ask(
    socket: &Socket,
    family: u16,
    command: u8,
    attribute: u16,
    value: &[u8],
) -> io::Result<Vec<u8>> {
    let padded = value.len().next_multiple_of(4);
    let length = HEADER + GENERIC_HEADER + 4 + padded;
    let mut message = Vec::with_capacity(length);
    message.extend(
        u32::try_from(length)
            .map_err(io::Error::other)?
            .to_ne_bytes(),
    );
    message.extend(family.to_ne_bytes());
    message.extend((NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    message.extend([0; 8]);
    message.extend([command, 1, 0, 0]);
    let size = u16::try_from(4 + value.len()).map_err(io::Error::other)?;
    message.extend(size.to_ne_bytes());
    message.extend(attribute.to_ne_bytes());
    message.extend(value);
    message.resize(length, 0);
    socket.send(&message, 0)?;

    let mut answer = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = &datagram[..];
        while rest.len() >= HEADER {
            let buffer = NetlinkBuffer::new_checked(rest).map_err(io::Error::other)?;
            let length = (buffer.length() as usize).clamp(HEADER, rest.len());
            let payload = &rest[HEADER..length];
            if buffer.message_type() == NLMSG_ERROR {
                let code = payload.get(..4).and_then(|code| code.try_into().ok());
                return match code.map(i32::from_ne_bytes) {
                    Some(0) => Ok(answer),
                    Some(code) => Err(io::Error::from_raw_os_error(-code)),
                    None => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
            answer.extend(payload.get(GENERIC_HEADER..).unwrap_or_default());
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

/// The value of an attribute.
fn find(attributes: &[u8], kind: u16) -> Option<Vec<u8>> {
    NlasIterator::new(attributes)
        .flatten()
        .find(|attribute| attribute.kind() == kind)
        .map(|attribute| attribute.value().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_has_no_native_xdp() {
        assert_ne!(has_native_xdp(1).unwrap(), Some(true));
    }

    #[test]
    fn an_interface_that_is_not_there_is_an_error_or_nobody_can_say() {
        assert!(!matches!(has_native_xdp(u32::MAX >> 1), Ok(Some(_))));
    }
}
