//! What OSPF needs of IPv6.

use std::net::Ipv6Addr;

/// AllSPFRouters, RFC 5340 A.1.
pub const ALL_SPF_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 5);
/// AllDRouters, RFC 5340 A.1.
pub const ALL_D_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 6);
/// The IPv6 next header value of OSPF.
pub const NEXT_HEADER: u8 = 89;
/// Bytes of an IPv6 header, which every packet must leave room for in the MTU.
pub const IPV6_HEADER_LEN: usize = 40;
