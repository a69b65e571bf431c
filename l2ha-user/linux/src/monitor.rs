//! The kernel's notifications of changes.

use std::io;

use futures_channel::mpsc::UnboundedReceiver;
use futures_util::StreamExt as _;
use rtnetlink::{
    MulticastGroup,
    packet_core::{NetlinkMessage, NetlinkPayload},
    packet_route::{RouteNetlinkMessage, route::RouteProtocol},
    sys::SocketAddr,
};

use crate::route::KernelRoute;

/// The kind of thing that changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// An interface came, went or changed.
    Link,
    /// An address came or went.
    Address,
    /// A queueing discipline or a filter came or went.
    TrafficControl,
    /// A route of protocol `ospf` came or went; the index of the first interface it leads out of, if it is told.
    OspfRoute(Option<u32>),
    /// A route of another protocol, or a rule, came or went: packets may take another way.
    Route,
    /// Notifications were lost because the socket's buffer was full: anything may have changed.
    Overrun,
}

/// A subscription to the kernel's notifications.
pub struct Monitor {
    messages: UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>,
}

impl Monitor {
    /// Subscribes to links, addresses, traffic control, routes and rules.
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
        Ok(Self { messages })
    }

    /// Waits for the next change; `None` when the subscription has ended.
    pub async fn next(&mut self) -> Option<Change> {
        loop {
            let (message, _) = self.messages.next().await?;
            match message.payload {
                NetlinkPayload::InnerMessage(inner) => {
                    if let Some(change) = classify(&inner) {
                        return Some(change);
                    }
                }
                NetlinkPayload::Overrun(_) => return Some(Change::Overrun),
                _ => {}
            }
        }
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
