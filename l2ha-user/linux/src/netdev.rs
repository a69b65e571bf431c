//! What a driver can do with XDP, as it says itself (generic netlink family `netdev`, Linux 6.3).

use std::io;

use rtnetlink::sys::protocols::NETLINK_GENERIC;

use crate::blocking::{Connection, Request, append, attribute};

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

/// Whether the driver has native XDP, as it is set up now; `None` where the kernel is too old to
/// say.
pub fn has_native_xdp(ifindex: u32) -> io::Result<Option<bool>> {
    let mut connection = Connection::open(NETLINK_GENERIC)?;
    let name = (FAMILY_NAME, &b"netdev\0"[..]);
    let family = match ask(&mut connection, (CONTROLLER, GET_FAMILY), name, FAMILY_ID) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        answer => answer?.and_then(|value| value.try_into().ok()),
    };
    let Some(family) = family.map(u16::from_ne_bytes) else {
        return Ok(None);
    };
    let device = (IFINDEX, &ifindex.to_ne_bytes()[..]);
    let features = ask(&mut connection, (family, GET_DEVICE), device, XDP_FEATURES)?;
    let features = features.and_then(|value| value.try_into().ok());
    Ok(features.map(|bytes| {
        let wanted = BASIC | REDIRECT;
        u64::from_ne_bytes(bytes) & wanted == wanted
    }))
}

/// Sends a request with one attribute and returns an attribute of the answer.
fn ask(
    connection: &mut Connection,
    (family, command): (u16, u8),
    (kind, value): (u16, &[u8]),
    wanted: u16,
) -> io::Result<Option<Vec<u8>>> {
    // `struct genlmsghdr`: command, version, reserved.
    let mut body = vec![command, 1, 0, 0];
    let header = body.len();
    append(&mut body, kind, value);
    let request = Request {
        kind: family,
        flags: 0,
        body,
    };
    let mut found = None;
    connection.ask(request, |_, body| {
        let attributes = body.get(header..).unwrap_or_default();
        found = attribute(attributes, wanted).map(<[u8]>::to_vec);
        Ok(())
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_has_no_native_xdp() {
        assert_ne!(has_native_xdp(1).unwrap(), Some(true));
    }

    #[test]
    fn an_interface_that_is_not_there_is_an_error_or_unknown() {
        assert!(!matches!(has_native_xdp(u32::MAX >> 1), Ok(Some(_))));
    }
}
