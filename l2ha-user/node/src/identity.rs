//! Addresses of virtual interfaces, the same after every start and repair.
//!
//! A virtual interface that was deleted and made again keeps its MAC and link-local address, so
//! the peer's neighbour entries stay right and need not expire first.

use std::net::{IpAddr, Ipv6Addr};

use config::{Config, Tunnel};

/// The MAC address of a tunnel's virtual interface: locally administered, from the names of node and tunnel, and from
/// what both ends cannot have alike, even as copies of one machine: the outer address.
pub(crate) fn mac(config: &Config, tunnel: &Tunnel) -> [u8; 6] {
    of(&config.node.name, &tunnel.name, tunnel.local)
}

fn of(node: &str, tunnel: &str, local: IpAddr) -> [u8; 6] {
    let local = local.to_string();
    let parts = [node, "\0", tunnel, "\0", &local];
    let hash = fnv1a(&parts.map(str::as_bytes)).to_be_bytes();
    // Bit 1 of the first byte set, bit 0 clear: locally administered, unicast (IEEE 802).
    [
        (hash[0] & 0xfc) | 0x02,
        hash[1],
        hash[2],
        hash[3],
        hash[4],
        hash[5],
    ]
}

/// The link-local address that belongs to a MAC address (RFC 4291 appendix A).
pub(crate) fn link_local(mac: [u8; 6]) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    let word = |high: u8, low: u8| u16::from_be_bytes([high, low]);
    Ipv6Addr::new(
        0xfe80,
        0,
        0,
        0,
        word(a ^ 0x02, b),
        word(c, 0xff),
        word(0xfe, d),
        word(e, f),
    )
}

/// FNV-1a, 64 bits: the standard library's hasher may change from release to release.
fn fnv1a(parts: &[&[u8]]) -> u64 {
    parts
        .iter()
        .flat_map(|part| part.iter())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_stable_and_differ_by_tunnel() {
        let local = IpAddr::from([10, 0, 0, 1]);
        let mac = |node, tunnel| of(node, tunnel, local);
        assert_eq!(mac("server-1", "client"), mac("server-1", "client"));
        assert_ne!(mac("server-1", "client"), mac("server-2", "client"));
        assert_ne!(mac("server-1", "client"), mac("server-1", "server-2"));
        assert_eq!(mac("a", "b")[0] & 0x03, 0x02);
    }

    #[test]
    fn two_machines_of_one_template_have_other_addresses() {
        let end = |local: &str| link_local(of("node", "peer", local.parse().unwrap()));
        assert_ne!(end("10.0.0.1"), end("10.0.0.2"));
        assert_ne!(end("fd00::1"), end("fd00::2"));
    }

    #[test]
    fn link_local_follows_the_mac() {
        // The example of RFC 2464 section 4.
        let mac = [0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde];
        assert_eq!(
            link_local(mac),
            "fe80::3656:78ff:fe9a:bcde".parse::<Ipv6Addr>().unwrap()
        );
    }
}
