//! Nexthop objects: ways that many routes share, so that one message moves all of them
//! (include/uapi/linux/nexthop.h, net/ipv4/nexthop.c).

use std::net::IpAddr;

use nix::libc;
use rtnetlink::packet_core::NLA_F_NESTED;

use crate::{
    blocking::{append, attribute, attributes},
    route::Nexthop,
};

/// Attributes, include/uapi/linux/nexthop.h.
const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_GROUP_TYPE: u16 = 3;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;
const NHA_RES_GROUP: u16 = 12;
const NHA_RES_GROUP_BUCKETS: u16 = 1;
const NHA_RES_GROUP_IDLE_TIMER: u16 = 2;
const NEXTHOP_GRP_TYPE_RES: u16 = 1;
/// `RTPROT_OSPF`, include/uapi/linux/rtnetlink.h.
const PROTOCOL_OSPF: u8 = 188;
/// Length of `struct nhmsg`.
const HEADER: usize = 8;
/// Length of `struct nexthop_grp`.
const MEMBER: usize = 8;
/// Buckets of a resilient group: as many as keep the shares of eight members within some percent.
const BUCKETS: u16 = 256;
/// Clock ticks in a second as the kernel tells user space (`USER_HZ`).
const TICKS: u32 = 100;

/// A nexthop object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NexthopObject {
    /// Its number, unique in the network namespace.
    pub id: u32,
    /// Where it leads.
    pub leads: Leads,
}

/// Where a nexthop object leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leads {
    /// To one next hop; whether it is for routes of IPv4.
    To(Nexthop, bool),
    /// To one of these objects, each flow to the same.
    Among(Vec<u32>, Spread),
}

/// How a group spreads flows over its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// By dividing the hash again whenever a member comes or goes.
    Hash,
    /// By buckets that stay with their member (`type resilient` in ip-nexthop); one that has been idle
    /// for this many seconds may move to a member that has too few.
    Resilient(u32),
}

/// What is in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// An object of protocol `ospf`.
    Ours(NexthopObject),
    /// An object of others.
    Foreign(u32),
}

fn header(family: i32, protocol: u8) -> Vec<u8> {
    let family = u8::try_from(family).expect("address families are small");
    vec![family, 0, protocol, 0, 0, 0, 0, 0]
}

impl NexthopObject {
    /// The body of an RTM_NEWNEXTHOP.
    pub(crate) fn body(&self) -> Vec<u8> {
        let family = match &self.leads {
            Leads::Among(..) => libc::AF_UNSPEC,
            Leads::To(hop, ipv4) => match hop.gateway {
                Some(IpAddr::V6(_)) => libc::AF_INET6,
                Some(IpAddr::V4(_)) => libc::AF_INET,
                None if *ipv4 => libc::AF_INET,
                None => libc::AF_INET6,
            },
        };
        let mut body = header(family, PROTOCOL_OSPF);
        append(&mut body, NHA_ID, &self.id.to_ne_bytes());
        match &self.leads {
            Leads::To(hop, _) => {
                append(&mut body, NHA_OIF, &hop.interface.to_ne_bytes());
                match hop.gateway {
                    Some(IpAddr::V6(gateway)) => {
                        append(&mut body, NHA_GATEWAY, &gateway.octets());
                    }
                    Some(IpAddr::V4(gateway)) => {
                        append(&mut body, NHA_GATEWAY, &gateway.octets());
                    }
                    None => {}
                }
            }
            Leads::Among(members, spread) => {
                let entry = |id: &u32| [id.to_ne_bytes(), [0; 4]].concat();
                let members: Vec<u8> = members.iter().flat_map(entry).collect();
                append(&mut body, NHA_GROUP, &members);
                if let Spread::Resilient(idle) = spread {
                    let ty = NEXTHOP_GRP_TYPE_RES.to_ne_bytes();
                    append(&mut body, NHA_GROUP_TYPE, &ty);
                    let mut nested = Vec::new();
                    let idle = idle.saturating_mul(TICKS).to_ne_bytes();
                    append(&mut nested, NHA_RES_GROUP_BUCKETS, &BUCKETS.to_ne_bytes());
                    append(&mut nested, NHA_RES_GROUP_IDLE_TIMER, &idle);
                    append(&mut body, NHA_RES_GROUP | NLA_F_NESTED, &nested);
                }
            }
        }
        body
    }

    /// The body of an RTM_DELNEXTHOP, or of the RTM_GETNEXTHOP that lists all.
    pub(crate) fn name(id: Option<u32>) -> Vec<u8> {
        let mut body = header(libc::AF_UNSPEC, 0);
        if let Some(id) = id {
            append(&mut body, NHA_ID, &id.to_ne_bytes());
        }
        body
    }
}

impl Found {
    /// Reads the body of an RTM_NEWNEXTHOP; nothing if it is malformed.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let (header, rest) = body.split_at_checked(HEADER)?;
        let (family, protocol) = (header.first()?, header.get(2)?);
        let ipv4 = i32::from(*family) == libc::AF_INET;
        let (mut id, mut oif, mut gateway, mut group) = (None, None, None, None);
        let mut spread = Spread::Hash;
        for (kind, value) in attributes(rest) {
            match kind {
                NHA_ID => id = number(value),
                NHA_OIF => oif = number(value),
                NHA_GATEWAY => gateway = address(value),
                NHA_GROUP => {
                    let members = value.chunks_exact(MEMBER);
                    group = Some(members.filter_map(|it| number(it.get(..4)?)).collect());
                }
                NHA_RES_GROUP => spread = Spread::Resilient(idle_timer(value)?),
                _ => {}
            }
        }
        let id = id?;
        if *protocol != PROTOCOL_OSPF {
            return Some(Self::Foreign(id));
        }
        let leads = match (group, oif) {
            (Some(members), _) => Leads::Among(members, spread),
            (None, Some(interface)) => Leads::To(Nexthop { interface, gateway }, ipv4),
            // A blackhole, or one for a bridge: not of ours.
            (None, None) => return Some(Self::Foreign(id)),
        };
        Some(Self::Ours(NexthopObject { id, leads }))
    }
}

fn number(value: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(value.try_into().ok()?))
}

fn address(value: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(value) {
        return Some(IpAddr::from(octets));
    }
    Some(IpAddr::from(<[u8; 16]>::try_from(value).ok()?))
}

/// In seconds.
fn idle_timer(nested: &[u8]) -> Option<u32> {
    let ticks = number(attribute(nested, NHA_RES_GROUP_IDLE_TIMER)?)?;
    Some(ticks / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let hop = |gateway: Option<&str>| Nexthop {
            interface: 7,
            gateway: gateway.map(|text| text.parse().unwrap()),
        };
        let all = [
            Leads::To(hop(Some("fe80::1")), false),
            Leads::To(hop(Some("192.0.2.1")), true),
            Leads::To(hop(None), true),
            Leads::To(hop(None), false),
            Leads::Among(vec![5, 6, 7], Spread::Hash),
            Leads::Among(vec![5], Spread::Resilient(120)),
        ];
        for leads in all {
            let object = NexthopObject { id: 9, leads };
            assert_eq!(Found::read(&object.body()), Some(Found::Ours(object)));
        }
    }

    #[test]
    fn others_are_told_by_their_protocol_and_the_malformed_are_nothing() {
        let object = NexthopObject {
            id: 9,
            leads: Leads::Among(vec![5], Spread::Hash),
        };
        let mut body = object.body();
        if let Some(protocol) = body.get_mut(2) {
            *protocol = 11;
        }
        assert_eq!(Found::read(&body), Some(Found::Foreign(9)));
        for length in 0..body.len() {
            // None of these may panic.
            let _ = Found::read(&body[..length]);
        }
        assert_eq!(Found::read(&body[..HEADER]), None);
    }
}
