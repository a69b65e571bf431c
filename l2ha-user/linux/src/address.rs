//! IP addresses of interfaces.

use std::{io, net::IpAddr};

use futures_util::TryStreamExt as _;
use nix::{errno::Errno, ifaddrs::getifaddrs, net::if_::if_indextoname};
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol, CacheInfo,
};

use crate::netlink::{Asked as _, Error, Netlink, Unless as _};

/// What tells addresses that l2ha has added from others (`IFA_PROTO`, Linux 5.18): the protocol number of L2TPv3. The
/// kernel has 1 to 3 for its own (linux/if_addr.h) and takes whatever else a program says.
const PROTOCOL: AddressProtocol = AddressProtocol::Other(115);
/// A lifetime without an end (INFINITY_LIFE_TIME in addrconf.h).
const FOR_EVER: u32 = u32::MAX;

/// The addresses of this host, each with the name of its interface (getifaddrs(3)).
pub fn host_addresses() -> io::Result<Vec<(String, IpAddr)>> {
    let all = getifaddrs()?.filter_map(|found| {
        let address = found.address?;
        let v4 = address.as_sockaddr_in().map(|it| IpAddr::from(it.ip()));
        let v6 = || address.as_sockaddr_in6().map(|it| IpAddr::from(it.ip()));
        Some((found.interface_name, v4.or_else(v6)?))
    });
    Ok(all.collect())
}

/// An address on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Index of the interface.
    pub interface: u32,
    /// The address itself.
    pub address: IpAddr,
    /// Length of its prefix in bits.
    pub prefix_len: u8,
    /// Whether the kernel chooses it as the source of a connection only where nothing else will do (`preferred_lft
    /// 0`, RFC 6724 section 5 rule 3), as befits an anycast address: answers to it may reach another host.
    pub deprecated: bool,
}

impl Netlink {
    /// All addresses of the namespace.
    pub async fn addresses(&self) -> Result<Vec<Address>, Error> {
        let messages = self.address_messages().await?;
        Ok(messages.iter().filter_map(Address::from_message).collect())
    }

    /// The addresses of the namespace that [`Netlink::add_address`] has added, this process's or another one's.
    pub async fn added_addresses(&self) -> Result<Vec<Address>, Error> {
        let mut messages = self.address_messages().await?;
        messages.retain(|message| {
            let protocol = AddressAttribute::Protocol(PROTOCOL);
            message.attributes.contains(&protocol)
        });
        Ok(messages.iter().filter_map(Address::from_message).collect())
    }

    async fn address_messages(&self) -> Result<Vec<AddressMessage>, Error> {
        self.handle
            .address()
            .get()
            .execute()
            .try_collect()
            .await
            .asked(|| "cannot list the addresses".into())
    }

    /// Puts an address on an interface, without duplicate address detection: no other host can hold
    /// an anycast address on a loopback or the other end's address of a pseudowire by accident,
    /// and detection would keep the address unusable for a second.
    ///
    /// # Errors
    ///
    /// When the kernel refuses, for example because IPv6 is off on that interface; that it is there already is no error.
    pub async fn add_address(&self, address: &Address) -> Result<(), Error> {
        let Address {
            interface,
            address,
            prefix_len,
            deprecated,
        } = *address;
        let mut request = self
            .handle
            .address()
            .add(interface, address, prefix_len)
            .replace();
        let message = request.message_mut();
        message
            .attributes
            .push(AddressAttribute::Protocol(PROTOCOL));
        if address.is_ipv6() {
            message.header.flags |= AddressHeaderFlags::Nodad;
            message
                .attributes
                .push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        if deprecated {
            let mut lifetimes = CacheInfo::default();
            lifetimes.ifa_valid = FOR_EVER;
            let attributes = &mut request.message_mut().attributes;
            attributes.push(AddressAttribute::CacheInfo(lifetimes));
        }
        let name = || {
            let name = if_indextoname(interface).map(|name| name.to_string_lossy().into_owned());
            name.unwrap_or_else(|_| format!("interface {interface}"))
        };
        let added = request.execute().await;
        let added = added.asked(|| format!("cannot put {address}/{prefix_len} on {}", name()));
        added.map_err(|error| match error.errno() {
            // inet6_addr_add() in net/ipv6/addrconf.c.
            Some(Errno::EACCES) if address.is_ipv6() => error.because(format!(
                "IPv6 is off there: `sysctl net.ipv6.conf.{}.disable_ipv6=0`",
                name()
            )),
            _ => error,
        })
    }

    /// Takes an address off an interface.
    ///
    /// # Errors
    ///
    /// When the kernel refuses; that it is gone already is no error.
    pub async fn delete_address(&self, address: &Address) -> Result<(), Error> {
        let mut request =
            self.handle
                .address()
                .add(address.interface, address.address, address.prefix_len);
        let message = request.message_mut().clone();
        self.handle
            .address()
            .del(message)
            .execute()
            .await
            .asked(|| {
                format!(
                    "cannot remove {}/{} from interface {}",
                    address.address, address.prefix_len, address.interface
                )
            })
            .unless(&[Errno::EADDRNOTAVAIL, Errno::ENODEV])
    }
}

impl Address {
    pub(crate) fn from_message(message: &AddressMessage) -> Option<Self> {
        let mut found = None;
        let mut deprecated = message
            .header
            .flags
            .contains(AddressHeaderFlags::Deprecated);
        for attribute in &message.attributes {
            match attribute {
                // IFA_LOCAL is the address itself where both are there (if_addr.h).
                AddressAttribute::Local(address) => found = Some(*address),
                AddressAttribute::Address(address) if found.is_none() => found = Some(*address),
                AddressAttribute::Flags(flags) => {
                    deprecated |= flags.contains(AddressFlags::Deprecated);
                }
                _ => {}
            }
        }
        Some(Self {
            interface: message.header.index,
            address: found?,
            prefix_len: message.header.prefix_len,
            deprecated,
        })
    }
}
