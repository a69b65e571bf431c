//! The neighbour table.

use std::net::IpAddr;

use futures_util::TryStreamExt as _;
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};

use crate::netlink::{Asked as _, Error, Netlink};

/// Whether a neighbour can be reached, as far as the kernel knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reachability {
    /// It has answered recently.
    Confirmed,
    /// It has not answered solicitations.
    Failed,
    /// It is being solicited, or has not been for a while.
    Unknown,
    /// It is never solicited: its entry is static, or the interface needs none.
    NotProbed,
}

impl Netlink {
    /// Whether a neighbour can be reached.
    pub async fn reachability(
        &self,
        interface: u32,
        neighbour: IpAddr,
    ) -> Result<Reachability, Error> {
        let entry = self.neighbour(interface, neighbour).await?;
        Ok(match entry.map(|entry| entry.header.state) {
            Some(NeighbourState::Reachable) => Reachability::Confirmed,
            Some(NeighbourState::Failed) => Reachability::Failed,
            Some(NeighbourState::Permanent | NeighbourState::Noarp) => Reachability::NotProbed,
            _ => Reachability::Unknown,
        })
    }

    /// Has the kernel solicit a neighbour now, whatever it knows of it: a known one by unicast
    /// (`NUD_PROBE`), another one by multicast or broadcast (`NTF_USE`).
    pub async fn probe(&self, interface: u32, neighbour: IpAddr) -> Result<(), Error> {
        let entry = self.neighbour(interface, neighbour).await?;
        let known = entry.is_some_and(|entry| {
            matches!(
                entry.header.state,
                NeighbourState::Reachable
                    | NeighbourState::Stale
                    | NeighbourState::Delay
                    | NeighbourState::Probe
            )
        });
        let request = self.handle.neighbours().add(interface, neighbour).replace();
        let request = if known {
            request.state(NeighbourState::Probe)
        } else {
            request
                .state(NeighbourState::None)
                .flags(NeighbourFlags::Use)
        };
        request
            .execute()
            .await
            .asked(|| format!("cannot ask for neighbour {neighbour}"))
    }

    async fn neighbours(&self) -> Result<Vec<NeighbourMessage>, Error> {
        self.handle
            .neighbours()
            .get()
            .execute()
            .try_collect()
            .await
            .asked(|| "cannot list the neighbours".into())
    }

    async fn neighbour(
        &self,
        interface: u32,
        neighbour: IpAddr,
    ) -> Result<Option<NeighbourMessage>, Error> {
        let wanted = NeighbourAttribute::Destination(match neighbour {
            IpAddr::V4(address) => NeighbourAddress::Inet(address),
            IpAddr::V6(address) => NeighbourAddress::Inet6(address),
        });
        let mut entries = self.neighbours().await?.into_iter();
        Ok(entries
            .find(|entry| entry.header.ifindex == interface && entry.attributes.contains(&wanted)))
    }

    /// Removes the neighbours of an interface that have not answered, so that the next packet
    /// solicits at once instead of waiting for the rest of a second, or longer, after solicitations
    /// that were sent while the interface could not carry them.
    pub async fn forget_silent_neighbours(&self, interface: u32) -> Result<(), Error> {
        for neighbour in self.neighbours().await? {
            let silent = matches!(
                neighbour.header.state,
                NeighbourState::Incomplete | NeighbourState::Failed
            );
            if neighbour.header.ifindex == interface && silent {
                // It may have answered, or gone, in the meantime.
                let _ = self.handle.neighbours().del(neighbour).execute().await;
            }
        }
        Ok(())
    }
}
