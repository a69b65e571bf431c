//! The kernel's notifications of changes.

use std::{future::poll_fn, io};

use futures_channel::mpsc::UnboundedReceiver;
use futures_util::StreamExt as _;
use nix::errno::Errno;
use rtnetlink::{
    MulticastGroup,
    packet_core::{NetlinkBuffer, NetlinkMessage, NetlinkPayload},
    packet_route::{
        RouteNetlinkMessage,
        route::{RouteMessage, RouteProtocol, RouteType},
    },
    sys::{AsyncSocket as _, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE},
};

use crate::route::KernelRoute;

/// Of nexthop objects and of the settings that the kernel notifies of (include/uapi/linux/rtnetlink.h).
const RTM_NEWNETCONF: u16 = 80;
const RTM_DELNETCONF: u16 = 81;
const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;

/// The kind of thing that changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// An interface came, went or changed.
    Link,
    /// An address came or went, or the local route that makes it this host's.
    Address,
    /// A queueing discipline or a filter came or went.
    TrafficControl,
    /// A route of protocol `ospf` came or went; the index of the first interface it leads out of, if it is told.
    OspfRoute(Option<u32>),
    /// A route of another protocol, or a rule, came or went: packets may take another way.
    Route,
    /// A nexthop object came, went or was changed. With `nexthop_compat_mode` 0, nothing else is told of the routes
    /// that went with it, and of those of IPv4 nothing ever is.
    Nexthop,
    /// A setting below `/proc/sys/net` was changed, one of the few that the kernel notifies of (`rp_filter` is).
    Setting,
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
        RTM_NEWNETCONF | RTM_DELNETCONF => Some(Change::Setting),
        _ => None,
    }
}

fn classify(message: &RouteNetlinkMessage) -> Option<Change> {
    match message {
        RouteNetlinkMessage::NewLink(_) | RouteNetlinkMessage::DelLink(_) => Some(Change::Link),
        RouteNetlinkMessage::NewAddress(_) | RouteNetlinkMessage::DelAddress(_) => {
            Some(Change::Address)
        }
        RouteNetlinkMessage::NewQueueDiscipline(_)
        | RouteNetlinkMessage::DelQueueDiscipline(_)
        | RouteNetlinkMessage::NewTrafficFilter(_)
        | RouteNetlinkMessage::DelTrafficFilter(_) => Some(Change::TrafficControl),
        RouteNetlinkMessage::DelRoute(route) if is_local(route) => Some(Change::Address),
        RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route) => {
            Some(match route.header.protocol {
                RouteProtocol::Ospf => {
                    let hops = KernelRoute::from_message(route).nexthops;
                    Change::OspfRoute(hops.first().map(|hop| hop.interface))
                }
                _ => Change::Route,
            })
        }
        RouteNetlinkMessage::NewRule(_) | RouteNetlinkMessage::DelRule(_) => Some(Change::Route),
        _ => None,
    }
}

fn is_local(route: &RouteMessage) -> bool {
    route.header.kind == RouteType::Local
}

#[cfg(test)]
mod tests {
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
        assert_eq!(other(&message(RTM_NEWNETCONF)), Some(Change::Setting));
        // A bucket of a resilient group (RTM_NEWNEXTHOPBUCKET) has moved: that is its work.
        assert_eq!(other(&message(116)), None);
        for length in 0..16 {
            assert_eq!(other(&message(RTM_DELNEXTHOP)[..length]), None);
        }
    }
}
