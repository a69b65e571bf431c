//! The queueing discipline that tc programs hang on.

use futures_util::TryStreamExt as _;
use nix::errno::Errno;
use rtnetlink::packet_route::tc::{TcAttribute, TcHandle, TcMessage};

use crate::netlink::{Asked as _, Error, Netlink};

const KIND: &str = "clsact";
/// `TC_H_CLSACT` (linux/pkt_sched.h).
const PARENT: TcHandle = TcHandle {
    major: 0xffff,
    minor: 0xfff1,
};

impl Netlink {
    /// Whether an interface has a clsact.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub async fn has_clsact(&self, interface: u32) -> Result<bool, Error> {
        let disciplines: Vec<TcMessage> = self
            .handle
            .qdisc()
            .get()
            .index(interface.cast_signed())
            .execute()
            .try_collect()
            .await
            .asked(|| format!("cannot list the qdiscs of interface {interface}"))?;
        let is_clsact =
            |attribute: &TcAttribute| matches!(attribute, TcAttribute::Kind(kind) if kind == KIND);
        // Some kernels list those of every interface.
        Ok(disciplines.iter().any(|discipline| {
            discipline.header.index == interface.cast_signed()
                && discipline.attributes.iter().any(is_clsact)
        }))
    }

    /// Removes an interface's clsact, unless somebody's filters hang on it.
    ///
    /// # Errors
    ///
    /// When the kernel refuses; that there is none is no error.
    pub async fn remove_unused_clsact(&self, interface: u32) -> Result<(), Error> {
        let mut filters = self.handle.traffic_filter(interface.cast_signed());
        for request in [filters.get().ingress(), filters.get().egress()] {
            let found = request
                .execute()
                .try_collect::<Vec<TcMessage>>()
                .await
                .asked(|| format!("cannot list the tc filters of interface {interface}"));
            match found {
                Ok(found) if !found.is_empty() => return Ok(()),
                Ok(_) => {}
                Err(error) if error.errno() == Some(Errno::EINVAL) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        let mut request = self.handle.qdisc().del(interface.cast_signed());
        let message = request.message_mut();
        message.header.parent = PARENT;
        message.header.handle = TcHandle {
            major: PARENT.major,
            minor: 0,
        };
        message.attributes.push(TcAttribute::Kind(KIND.to_owned()));
        let removed = request
            .execute()
            .await
            .asked(|| format!("cannot remove clsact from interface {interface}"));
        match removed {
            Err(error) if matches!(error.errno(), Some(Errno::ENOENT | Errno::EINVAL)) => Ok(()),
            other => other,
        }
    }
}
