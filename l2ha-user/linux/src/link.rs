//! Network interfaces.

use std::io;

use futures_util::TryStreamExt as _;
use nix::errno::Errno;
use rtnetlink::{
    LinkMessageBuilder, LinkUnspec, LinkVeth,
    packet_core::{NLM_F_DUMP, NetlinkDeserializable as _},
    packet_route::{
        RouteNetlinkMessage,
        link::{
            AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute,
            LinkFlags, LinkInfo, LinkMessage,
        },
    },
    sys::protocols::NETLINK_ROUTE,
};

use crate::{
    blocking::{self, Connection, Request},
    netlink::{Asked as _, Error, Netlink, Unless as _},
};

/// Interfaces removed in one step. The kernel lets nobody else change anything meanwhile, for some tenths of a second.
const REMOVED_AT_ONCE: usize = 128;
/// The group (`IFLA_GROUP`) of interfaces that are about to be removed in one step is this and the index of the first:
/// nobody else removes that one, so nobody else has this group.
const DOOMED: u32 = 1 << 30;

/// A network interface as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Interface index, unique in the network namespace and never 0.
    pub index: u32,
    /// Interface name, at most 15 bytes.
    pub name: String,
    /// Maximum transmission unit in bytes, without the Ethernet header.
    pub mtu: u32,
    /// Hardware address, 6 bytes for Ethernet.
    pub mac: Vec<u8>,
    /// Set up by an administrator (`IFF_UP`).
    pub up: bool,
    /// Operational: up and with carrier (`IFF_LOWER_UP`).
    pub running: bool,
    /// Whether it is a veth.
    pub veth: bool,
    /// What somebody has written to it (`ifalias`), empty for nothing.
    pub alias: String,
    /// For a veth, the index of its other end.
    pub peer: Option<u32>,
    /// This namespace's number of the namespace in which [`Link::peer`] is, unless it is this one.
    pub peer_namespace: Option<i32>,
    /// Index of the bridge, bond or other interface that it is a port of, which takes what it receives.
    pub controller: Option<u32>,
}

/// A veth pair to be made.
#[derive(Clone, Debug)]
pub struct VethPair<'a> {
    /// Name of the end the user sees.
    pub visible: &'a str,
    /// Name of the end the data plane redirects into.
    pub hidden: &'a str,
    /// MAC address of the visible end.
    pub mac: [u8; 6],
    /// How many queues the visible end can receive on, and the hidden one send to.
    pub queues: u32,
}

impl Netlink {
    /// All interfaces of the namespace: read one by one, so that with thousands no megabytes are held.
    pub async fn links(&self) -> Result<Vec<Link>, Error> {
        let mut links = Vec::new();
        Connection::open(NETLINK_ROUTE)
            .and_then(|mut connection| {
                connection.ask(blocking::links(0, NLM_F_DUMP), |header, body| {
                    let message = RouteNetlinkMessage::deserialize(header, body);
                    if let RouteNetlinkMessage::NewLink(link) = message.map_err(io::Error::other)? {
                        links.push(Link::from_message(link));
                    }
                    Ok(())
                })
            })
            .asked(|| "cannot list the interfaces".into())?;
        Ok(links)
    }

    /// The interface of this name, if there is one.
    pub async fn link(&self, name: &str) -> Result<Option<Link>, Error> {
        let answer = self
            .handle
            .link()
            .get()
            .match_name(name.to_owned())
            .execute()
            .try_next()
            .await
            .asked(|| format!("cannot look at interface {name}"))
            .unless(&[Errno::ENODEV])?;
        Ok(answer.map(Link::from_message))
    }

    /// Makes a veth pair, both ends down, without automatic link-local addresses.
    ///
    /// # Errors
    ///
    /// When the kernel refuses, for example because one of the names is taken.
    pub async fn add_veth(&self, pair: &VethPair<'_>) -> Result<(), Error> {
        let hidden = LinkUnspec::new_with_name(pair.hidden)
            .append_extra_attribute(LinkAttribute::NumTxQueues(pair.queues))
            .build();
        let message = LinkVeth::new(pair.visible, pair.hidden)
            .address(pair.mac.to_vec())
            .append_extra_attribute(LinkAttribute::NumRxQueues(pair.queues))
            .set_info_data(InfoData::Veth(InfoVeth::Peer(hidden)))
            .build();
        self.handle.link().add(message).execute().await.asked(|| {
            format!(
                "cannot create the veth pair {} / {}",
                pair.visible, pair.hidden
            )
        })
    }

    /// Removes an interface; a veth takes its other end along.
    ///
    /// # Errors
    ///
    /// When the kernel refuses; that it is already gone is no error.
    pub async fn delete_link(&self, index: u32) -> Result<(), Error> {
        self.handle
            .link()
            .del(index)
            .execute()
            .await
            .asked(|| format!("cannot delete interface {index}"))
            .unless(&[Errno::ENODEV])
    }

    /// Sets an interface's MTU in bytes.
    pub async fn set_mtu(&self, link: &Link, mtu: u32) -> Result<(), Error> {
        let change = LinkUnspec::new_with_index(link.index).mtu(mtu);
        self.change(change, || {
            format!("cannot set the MTU of {} to {mtu}", link.name)
        })
        .await
    }

    /// Gives an interface its MAC address.
    pub async fn set_mac(&self, link: &Link, mac: [u8; 6]) -> Result<(), Error> {
        let change = LinkUnspec::new_with_index(link.index).address(mac.to_vec());
        self.change(change, || {
            format!("cannot set the MAC address of {}", link.name)
        })
        .await
    }

    /// Writes to an interface whose it is, at most 255 bytes.
    pub async fn set_alias(&self, link: &Link, alias: &str) -> Result<(), Error> {
        let change = LinkUnspec::new_with_index(link.index)
            .append_extra_attribute(LinkAttribute::IfAlias(alias.to_owned()));
        self.change(change, || format!("cannot set the alias of {}", link.name))
            .await
    }

    /// Sets an interface up.
    pub async fn set_up(&self, link: &Link) -> Result<(), Error> {
        let change = LinkUnspec::new_with_index(link.index).up();
        self.change(change, || format!("cannot set {} up", link.name))
            .await
    }

    /// Takes an interface out of the bridge or bond that it is a port of.
    pub async fn set_free(&self, link: &Link) -> Result<(), Error> {
        let change = LinkUnspec::new_with_index(link.index).nocontroller();
        self.change(change, || {
            format!("cannot take {} out of its bridge or bond", link.name)
        })
        .await
    }

    /// Keeps the kernel from giving an interface a link-local address by itself.
    ///
    /// # Errors
    ///
    /// When the kernel refuses, for example because IPv6 is switched off.
    pub async fn no_automatic_link_local(&self, link: &Link) -> Result<(), Error> {
        let mode = vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)];
        let change = LinkUnspec::new_with_index(link.index)
            .append_extra_attribute(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(mode)]));
        self.change(change, || {
            format!(
                "cannot switch off automatic IPv6 addresses on {}; is IPv6 enabled \
                 (sysctl net.ipv6.conf.all.disable_ipv6=0)?",
                link.name
            )
        })
        .await
    }

    async fn change(
        &self,
        change: LinkMessageBuilder<LinkUnspec>,
        what: impl FnOnce() -> String,
    ) -> Result<(), Error> {
        let request = self.handle.link().set(change.build());
        request.execute().await.asked(what)
    }
}

/// Removes interfaces; a veth takes its other end along. Returns when all are gone.
///
/// One by one, each waits for all processors (`synchronize_net` in net/core/dev.c), some 20 ms. So they are put into a
/// group of their own, which the kernel removes at once (`rtnl_group_dellink` in net/core/rtnetlink.c).
///
/// # Errors
///
/// When the kernel refuses; that some are already gone is no error.
pub fn delete_links(indices: &[u32]) -> Result<(), Error> {
    if indices.is_empty() {
        return Ok(());
    }
    let what = || format!("cannot delete {} interfaces", indices.len());
    let mut connection = Connection::open(NETLINK_ROUTE).asked(what)?;
    for part in indices.chunks(REMOVED_AT_ONCE) {
        let requests = removal(part);
        let refused = connection.carry_out(&requests, |_, _| Ok(())).asked(what)?;
        let refused = refused.into_iter().map(|(_, refusal)| refusal);
        // Where all are gone, so is the group.
        let mut refused = refused.filter(|refusal| refusal.errno() != Errno::ENODEV);
        if let Some(refusal) = refused.next() {
            return Err(Error::refused(what(), &refusal));
        }
    }
    Ok(())
}

/// The requests that remove interfaces in one step.
fn removal(indices: &[u32]) -> Vec<Request> {
    let doomed = |index: u32, group: u32| {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes.push(LinkAttribute::Group(group));
        message
    };
    let delete = |message| Request::new(&RouteNetlinkMessage::DelLink(message), 0);
    let (first, is_single) = match indices {
        [] => return Vec::new(),
        [only] => (*only, true),
        [first, ..] => (*first, false),
    };
    if is_single {
        let mut message = LinkMessage::default();
        message.header.index = first;
        return vec![delete(message)];
    }
    let group = DOOMED | first;
    let sets = indices.iter().map(|index| {
        let message = RouteNetlinkMessage::SetLink(doomed(*index, group));
        Request::new(&message, 0)
    });
    let last = delete(doomed(0, group));
    sets.chain([last]).collect()
}

impl Link {
    fn from_message(message: LinkMessage) -> Self {
        let flags = message.header.flags;
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            mtu: 0,
            mac: Vec::new(),
            up: flags.contains(LinkFlags::Up),
            running: flags.contains(LinkFlags::Up) && flags.contains(LinkFlags::LowerUp),
            veth: false,
            alias: String::new(),
            peer: None,
            peer_namespace: None,
            controller: None,
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Mtu(mtu) => link.mtu = mtu,
                LinkAttribute::Address(mac) => link.mac = mac,
                LinkAttribute::Link(peer) => link.peer = Some(peer),
                LinkAttribute::IfAlias(alias) => link.alias = alias,
                LinkAttribute::LinkNetNsId(id) => link.peer_namespace = Some(id),
                LinkAttribute::Controller(index) if index != 0 => link.controller = Some(index),
                LinkAttribute::LinkInfo(infos) => {
                    link.veth = infos
                        .iter()
                        .any(|info| matches!(info, LinkInfo::Kind(InfoKind::Veth)));
                }
                _ => {}
            }
        }
        link
    }
}
