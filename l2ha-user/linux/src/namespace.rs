//! Other network namespaces as this one numbers them.

use std::{fs::File, os::fd::AsRawFd as _};

use futures_util::StreamExt as _;
use rtnetlink::packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::{
    RouteNetlinkMessage,
    nsid::{NsidAttribute, NsidMessage},
};

use crate::netlink::{Asked as _, Error, Netlink};

impl Netlink {
    /// The number that this namespace has given to another, as in [`crate::Link::peer_namespace`];
    /// `None` if it has given none.
    ///
    /// # Errors
    ///
    /// When the kernel refuses, as for a file that is no network namespace.
    pub async fn namespace_id(&self, namespace: &File) -> Result<Option<i32>, Error> {
        let asked = || "cannot ask for the number of a network namespace".to_owned();
        let fd = namespace.as_raw_fd().cast_unsigned();
        let mut question = NsidMessage::default();
        question.attributes.push(NsidAttribute::Fd(fd));
        let mut message = NetlinkMessage::from(RouteNetlinkMessage::GetNsId(question));
        message.header.flags = NLM_F_REQUEST;
        let mut answers = self.handle.clone().request(message).asked(asked)?;
        while let Some(answer) = answers.next().await {
            match answer.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNsId(answer)) => {
                    return Ok(answer
                        .attributes
                        .iter()
                        .find_map(|attribute| match attribute {
                            NsidAttribute::Id(id) if *id >= 0 => Some(*id),
                            _ => None,
                        }));
                }
                NetlinkPayload::Error(error) => {
                    return Err(rtnetlink::Error::NetlinkError(error)).asked(asked);
                }
                _ => {}
            }
        }
        Ok(None)
    }
}
