//! The neighbour table.

use futures_util::TryStreamExt as _;
use rtnetlink::packet_route::neighbour::{NeighbourMessage, NeighbourState};

use super::{Asked as _, Error, Netlink};

impl Netlink {
    /// Forgets the neighbours of an interface that have not answered, so that the next packet asks
    /// at once instead of waiting for the rest of a second, or longer, after what was asked while
    /// the interface could not carry it.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub async fn forget_silent_neighbours(&self, interface: u32) -> Result<(), Error> {
        let neighbours: Vec<NeighbourMessage> = self
            .handle
            .neighbours()
            .get()
            .execute()
            .try_collect()
            .await
            .asked(|| "cannot list the neighbours".into())?;
        for neighbour in neighbours {
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
