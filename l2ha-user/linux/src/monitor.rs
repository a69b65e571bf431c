//! The kernel's notifications of changes.

use std::{future::poll_fn, io, net::IpAddr};

use futures_channel::mpsc::UnboundedReceiver;
use futures_util::StreamExt as _;
use nix::errno::Errno;
use rtnetlink::{
    MulticastGroup,
    packet_core::{NetlinkBuffer, NetlinkMessage, NetlinkPayload},
    packet_route::{
        RouteNetlinkMessage,
        address::AddressMessage,
        link::{LinkAttribute, LinkMessage},
        route::{RouteMessage, RouteProtocol, RouteType},
    },
    sys::{AsyncSocket as _, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE},
};

use crate::{address::Address, blocking::attribute, route::KernelRoute};

/// Of nexthop objects and of the settings that the kernel notifies of (include/uapi/linux/rtnetlink.h).
const RTM_NEWNETCONF: u16 = 80;
const RTM_DELNETCONF: u16 = 81;
const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;

/// `struct netconfmsg`, padded, and the index of the interface behind it (`NETCONFA_IFINDEX`; linux/netconf.h).
const NETCONF_HEADER: usize = 4;
const NETCONFA_IFINDEX: u16 = 1;

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
pub struct Monitor {
    messages: UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>,
    /// Of messages whose types [`RouteNetlinkMessage`] does not know.
    others: TokioSocket,
}

impl Monitor {
    /// Subscribes to links, addresses, traffic control, routes, rules, nexthop objects and settings.
    pub fn open() -> io::Result<Self> {
        let (connection, _, messages) = rtnetlink::new_multicast_connection(&[
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Tc,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
            MulticastGroup::Ipv4Rule,
            MulticastGroup::Ipv6Rule,
        ])?;
        tokio::spawn(connection);
        let mut others = TokioSocket::new(NETLINK_ROUTE)?;
        others.socket_mut().bind_auto()?;
        for group in [
            MulticastGroup::Nexthop,
            MulticastGroup::Ipv4Netconf,
            MulticastGroup::Ipv6Netconf,
        ] {
            others.socket_mut().add_membership(group as u32)?;
        }
        Ok(Self { messages, others })
    }

    /// Waits for the next change; `None` when the subscription has ended.
    pub async fn next(&mut self) -> Option<Change> {
        loop {
            let Self { messages, others } = self;
            tokio::select! {
                message = messages.next() => {
                    let change = match message?.0.payload {
                        NetlinkPayload::InnerMessage(inner) => classify(&inner),
                        NetlinkPayload::Overrun(_) => Some(Change::Overrun),
                        _ => None,
                    };
                    if change.is_some() {
                        return change;
                    }
                }
                datagram = poll_fn(|context| others.poll_recv_from_full(context)) => match datagram {
                    Ok((bytes, _)) => {
                        if let Some(change) = other(&bytes) {
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
                },
            }
        }
    }
}

/// What a message is about whose type [`RouteNetlinkMessage`] does not know. Of several in a datagram the first
/// tells: the kernel sends each in one of its own.
fn other(datagram: &[u8]) -> Option<Change> {
    let message = NetlinkBuffer::new_checked(datagram).ok()?;
    match message.message_type() {
        RTM_NEWNEXTHOP | RTM_DELNEXTHOP => Some(Change::Nexthop),
        RTM_NEWNETCONF | RTM_DELNETCONF => {
            let attributes = message.payload().get(NETCONF_HEADER..);
            let index = attributes.and_then(|it| attribute(it, NETCONFA_IFINDEX));
            let index = index.and_then(|it| it.first_chunk().copied());
            // Negative for `all` and `default`.
            let index = index.and_then(|it| u32::try_from(i32::from_ne_bytes(it)).ok());
            Some(Change::Setting(index))
        }
        _ => None,
    }
}

fn classify(message: &RouteNetlinkMessage) -> Option<Change> {
    match message {
        RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link) => {
            Some(Change::Link {
                interface: link.header.index,
                name: name(link),
            })
        }
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

fn name(link: &LinkMessage) -> String {
    let name = link
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name.clone()),
            _ => None,
        });
    name.unwrap_or_default()
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

    #[test]
    fn nexthops_and_settings_are_told_by_the_type_of_the_message() {
        let message = |kind: u16| {
            let mut bytes = 16_u32.to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; 10]);
            bytes
        };
        assert_eq!(other(&message(RTM_DELNEXTHOP)), Some(Change::Nexthop));
        assert_eq!(other(&message(RTM_NEWNEXTHOP)), Some(Change::Nexthop));
        assert_eq!(other(&message(RTM_NEWNETCONF)), Some(Change::Setting(None)));
        // A bucket of a resilient group (RTM_NEWNEXTHOPBUCKET) has moved: that is its work.
        assert_eq!(other(&message(116)), None);
        for length in 0..16 {
            assert_eq!(other(&message(RTM_DELNEXTHOP)[..length]), None);
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
        assert_eq!(other(&of(7)), Some(Change::Setting(Some(7))));
        // NETCONFA_IFINDEX_ALL and NETCONFA_IFINDEX_DEFAULT.
        assert_eq!(other(&of(-1)), Some(Change::Setting(None)));
        assert_eq!(other(&of(-2)), Some(Change::Setting(None)));
        for length in 16..28 {
            let mut cut = of(7);
            cut.truncate(length);
            cut[..4].copy_from_slice(&u32::try_from(length).unwrap().to_ne_bytes());
            assert_eq!(other(&cut), Some(Change::Setting(None)), "{length}");
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
