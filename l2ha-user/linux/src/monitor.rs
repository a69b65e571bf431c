//! The kernel's notifications of changes.

use std::{future::poll_fn, io, net::IpAddr};

use nix::{
    errno::Errno,
    sys::socket::{setsockopt, sockopt::RcvBufForce},
};
use rtnetlink::{
    MulticastGroup,
    packet_core::{NetlinkBuffer, NetlinkDeserializable as _, NetlinkHeader, Parseable as _},
    packet_route::{
        RouteNetlinkMessage,
        address::AddressMessage,
        route::{RouteMessage, RouteProtocol, RouteType},
    },
    sys::{AsyncSocket as _, TokioSocket, protocols::NETLINK_ROUTE},
};

use crate::{address::Address, blocking::attribute, route::KernelRoute};

/// How many bytes of notifications may wait in the kernel, as it counts them.
const WAITING: usize = 4 << 20;

/// Of links, nexthop objects and the settings that the kernel notifies of (include/uapi/linux/rtnetlink.h).
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWNETCONF: u16 = 80;
const RTM_DELNETCONF: u16 = 81;
const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;

/// `struct netconfmsg`, padded, and the index of the interface behind it (`NETCONFA_IFINDEX`; linux/netconf.h).
const NETCONF_HEADER: usize = 4;
const NETCONFA_IFINDEX: u16 = 1;

/// Length of `struct ifinfomsg` in bytes, and the name behind it (linux/if_link.h).
const LINK_HEADER: usize = 16;
const IFLA_IFNAME: u16 = 3;

/// What changed, and where, as far as the kernel tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An interface came, went or changed.
    Link {
        /// Its index.
        interface: u32,
        /// Its name.
        name: String,
    },
    /// An address came or went, or the local route that makes it this host's.
    Address {
        /// Index of the interface.
        interface: Option<u32>,
        /// The address.
        address: Option<IpAddr>,
    },
    /// A queueing discipline or a filter came or went, on the interface with this index.
    TrafficControl(u32),
    /// A route of protocol `ospf` came or went; the index of the first interface it leads out of, if it is told.
    OspfRoute(Option<u32>),
    /// A route of another protocol came or went: packets may take another way.
    Route {
        /// Index of the interface, of a route that leads out of one alone and uses no nexthop object.
        interface: Option<u32>,
        /// Destination.
        destination: IpAddr,
    },
    /// A routing rule came or went: packets may take another way.
    Rule,
    /// A nexthop object came, went or was changed. With `nexthop_compat_mode` 0, nothing else is told of the routes
    /// that went with it, and of those of IPv4 nothing ever is.
    Nexthop,
    /// A setting below `/proc/sys/net` was changed, one of the few that the kernel notifies of (`rp_filter` is): of the
    /// interface with this index, or of none alone.
    Setting(Option<u32>),
    /// Notifications were lost because the socket's buffer was full: anything may have changed.
    Overrun,
}

/// A subscription to the kernel's notifications.
///
/// They wait in the kernel until they are asked for: so many are made by the setting up of a thousand tunnels that they
/// would fill a hundred megabytes here.
pub struct Monitor(TokioSocket);

impl Monitor {
    /// Subscribes to links, addresses, traffic control, routes, rules, nexthop objects and settings.
    pub fn open() -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        socket.socket_mut().bind_auto()?;
        // Where it is refused fewer can wait, and what was lost is looked for.
        let _ = setsockopt(socket.socket_ref(), RcvBufForce, &WAITING);
        for group in [
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Tc,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
            MulticastGroup::Ipv4Rule,
            MulticastGroup::Ipv6Rule,
            MulticastGroup::Nexthop,
            MulticastGroup::Ipv4Netconf,
            MulticastGroup::Ipv6Netconf,
        ] {
            socket.socket_mut().add_membership(group as u32)?;
        }
        Ok(Self(socket))
    }

    /// Waits for the next change; `None` when the subscription has ended.
    pub async fn next(&mut self) -> Option<Change> {
        loop {
            match poll_fn(|context| self.0.poll_recv_from_full(context)).await {
                Ok((bytes, _)) => {
                    if let Some(change) = read(&bytes) {
                        return Some(change);
                    }
                }
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {
                    return Some(Change::Overrun);
                }
                Err(error) => {
                    tracing::error!(%error, "cannot listen to the kernel any more");
                    return None;
                }
            }
        }
    }
}

/// What a message is about. Of several in a datagram the first tells: the kernel sends each in one of its own.
fn read(datagram: &[u8]) -> Option<Change> {
    let message = NetlinkBuffer::new_checked(datagram).ok()?;
    let body = message.payload();
    match message.message_type() {
        // Longer than all others, and little of it is of interest.
        RTM_NEWLINK | RTM_DELLINK => link(body),
        RTM_NEWNEXTHOP | RTM_DELNEXTHOP => Some(Change::Nexthop),
        RTM_NEWNETCONF | RTM_DELNETCONF => {
            let attributes = body.get(NETCONF_HEADER..);
            let index = attributes.and_then(|it| attribute(it, NETCONFA_IFINDEX));
            let index = index.and_then(|it| it.first_chunk().copied());
            // Negative for `all` and `default`.
            let index = index.and_then(|it| u32::try_from(i32::from_ne_bytes(it)).ok());
            Some(Change::Setting(index))
        }
        _ => {
            let header = NetlinkHeader::parse(&message).ok()?;
            classify(&RouteNetlinkMessage::deserialize(&header, body).ok()?)
        }
    }
}

/// Reads `struct ifinfomsg` and the name behind it.
fn link(body: &[u8]) -> Option<Change> {
    let index: [u8; 4] = body.get(4..8)?.try_into().ok()?;
    let name = attribute(body.get(LINK_HEADER..)?, IFLA_IFNAME).unwrap_or_default();
    let name = String::from_utf8_lossy(name);
    Some(Change::Link {
        interface: u32::from_ne_bytes(index),
        name: name.trim_end_matches('\0').to_owned(),
    })
}

fn classify(message: &RouteNetlinkMessage) -> Option<Change> {
    match message {
        RouteNetlinkMessage::NewAddress(message) | RouteNetlinkMessage::DelAddress(message) => {
            Some(address(message))
        }
        RouteNetlinkMessage::NewQueueDiscipline(message)
        | RouteNetlinkMessage::DelQueueDiscipline(message)
        | RouteNetlinkMessage::NewTrafficFilter(message)
        | RouteNetlinkMessage::DelTrafficFilter(message) => {
            Some(Change::TrafficControl(message.header.index.cast_unsigned()))
        }
        RouteNetlinkMessage::NewRoute(message) => Some(route(message)),
        RouteNetlinkMessage::DelRoute(message) => Some(match route(message) {
            Change::Route {
                interface,
                destination,
            } if is_local(message) => Change::Address {
                interface,
                address: Some(destination),
            },
            change => change,
        }),
        RouteNetlinkMessage::NewRule(_) | RouteNetlinkMessage::DelRule(_) => Some(Change::Rule),
        _ => None,
    }
}

fn address(message: &AddressMessage) -> Change {
    Change::Address {
        interface: Some(message.header.index),
        address: Address::from_message(message).map(|it| it.address),
    }
}

fn route(message: &RouteMessage) -> Change {
    let route = KernelRoute::from_message(message);
    if message.header.protocol == RouteProtocol::Ospf {
        return Change::OspfRoute(route.nexthops.first().map(|hop| hop.interface));
    }
    Change::Route {
        interface: match (route.nexthops.as_slice(), route.object) {
            ([only], None) => Some(only.interface),
            _ => None,
        },
        destination: route.destination,
    }
}

fn is_local(route: &RouteMessage) -> bool {
    route.header.kind == RouteType::Local
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use rtnetlink::packet_route::{
        AddressFamily,
        route::{RouteAddress, RouteAttribute},
    };

    use super::*;
    use crate::blocking::append;

    #[test]
    fn nexthops_and_settings_are_told_by_the_type_of_the_message() {
        let message = |kind: u16| {
            let mut bytes = 16_u32.to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; 10]);
            bytes
        };
        assert_eq!(read(&message(RTM_DELNEXTHOP)), Some(Change::Nexthop));
        assert_eq!(read(&message(RTM_NEWNEXTHOP)), Some(Change::Nexthop));
        assert_eq!(read(&message(RTM_NEWNETCONF)), Some(Change::Setting(None)));
        // A bucket of a resilient group (RTM_NEWNEXTHOPBUCKET) has moved: that is its work.
        assert_eq!(read(&message(116)), None);
        for length in 0..16 {
            assert_eq!(read(&message(RTM_DELNEXTHOP)[..length]), None);
        }
    }

    #[test]
    fn a_setting_names_its_interface() {
        let of = |index: i32| {
            let mut bytes = 28_u32.to_ne_bytes().to_vec();
            bytes.extend(RTM_NEWNETCONF.to_ne_bytes());
            bytes.extend([0; 10]);
            bytes.extend([2, 0, 0, 0]);
            bytes.extend([8_u16.to_ne_bytes(), NETCONFA_IFINDEX.to_ne_bytes()].concat());
            bytes.extend(index.to_ne_bytes());
            bytes
        };
        assert_eq!(read(&of(7)), Some(Change::Setting(Some(7))));
        // NETCONFA_IFINDEX_ALL and NETCONFA_IFINDEX_DEFAULT.
        assert_eq!(read(&of(-1)), Some(Change::Setting(None)));
        assert_eq!(read(&of(-2)), Some(Change::Setting(None)));
        for length in 16..28 {
            let mut cut = of(7);
            cut.truncate(length);
            cut[..4].copy_from_slice(&u32::try_from(length).unwrap().to_ne_bytes());
            assert_eq!(read(&cut), Some(Change::Setting(None)), "{length}");
        }
    }

    #[test]
    fn an_interface_is_told_by_index_and_name() {
        let mut body = vec![0; LINK_HEADER];
        body[4..8].copy_from_slice(&7_u32.to_ne_bytes());
        append(&mut body, 1, &[2; 6]);
        append(&mut body, IFLA_IFNAME, b"docker0\0");
        let of = |body: &[u8]| {
            let mut bytes = u32::try_from(16 + body.len())
                .unwrap()
                .to_ne_bytes()
                .to_vec();
            bytes.extend(RTM_NEWLINK.to_ne_bytes());
            bytes.extend([0; 10]);
            bytes.extend(body);
            read(&bytes)
        };
        let (interface, name) = (7, "docker0".to_owned());
        assert_eq!(of(&body), Some(Change::Link { interface, name }));
        for length in 0..body.len() {
            let told = of(&body[..length]);
            assert_eq!(told.is_some(), length >= LINK_HEADER, "{length}");
        }
    }

    #[test]
    fn a_change_says_where_it_is() {
        let mut message = RouteMessage::default();
        message.header.kind = RouteType::Local;
        message.header.address_family = AddressFamily::Inet;
        let address = Ipv4Addr::new(192, 0, 2, 1);
        let destination = RouteAttribute::Destination(RouteAddress::Inet(address));
        message.attributes = vec![destination, RouteAttribute::Oif(7)];
        let (interface, address) = (Some(7), IpAddr::V4(address));
        assert_eq!(
            classify(&RouteNetlinkMessage::NewRoute(message.clone())),
            Some(Change::Route {
                interface,
                destination: address
            })
        );
        assert_eq!(
            classify(&RouteNetlinkMessage::DelRoute(message.clone())),
            Some(Change::Address {
                interface,
                address: Some(address)
            })
        );
        // By a nexthop object, which may lead elsewhere tomorrow.
        message.attributes.push(RouteAttribute::NhId(3));
        assert_eq!(
            classify(&RouteNetlinkMessage::NewRoute(message)),
            Some(Change::Route {
                interface: None,
                destination: address
            })
        );
    }
}
