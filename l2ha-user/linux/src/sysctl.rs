//! Settings below /proc/sys/net, of this thread's network namespace.

use std::{fs, io, path::PathBuf};

use crate::link::Link;

/// Time between solicitations of a neighbour that does not answer, in milliseconds.
const RETRANSMIT: &str = "100";

/// Has the neighbours on a virtual interface solicited ten times a second instead of once: after a
/// repair the first solicitation may be lost, and the path is back long before a second has passed.
pub fn set_retransmit_time(link: &Link) -> io::Result<()> {
    for family in ["ipv4", "ipv6"] {
        let path: PathBuf = [
            "/proc/sys/net",
            family,
            "neigh",
            &link.name,
            "retrans_time_ms",
        ]
        .iter()
        .collect();
        if fs::read_to_string(&path)?.trim() != RETRANSMIT {
            fs::write(&path, RETRANSMIT)?;
        }
    }
    Ok(())
}

/// Path of an IPv4 setting of one interface, or of `all`.
fn ipv4_setting(interface: &str, name: &str) -> PathBuf {
    ["/proc/sys/net/ipv4/conf", interface, name]
        .iter()
        .collect()
}

fn read(path: &PathBuf) -> io::Result<String> {
    Ok(fs::read_to_string(path)?.trim().to_owned())
}

/// Has a virtual interface accept IPv4 packets whatever the route back to their source is. Returns
/// whether that had to be changed.
///
/// Replies from an anycast address take the shortest path, which need not be the one that the request
/// came by; and another server's replies come from an address that this node has, too. The kernel
/// drops the former by reverse path filtering (rp_filter, RFC 3704) and the latter as martians
/// (accept_local); fib_validate_source() in net/ipv4/fib_frontend.c.
///
/// The greater of the interface's own rp_filter and that of `all` counts. Loose (2) is enough for an
/// interface with an IPv4 address. Without one, packets with another route back are dropped even then,
/// so only 0 helps.
pub fn relax_source_validation(link: &Link, has_ipv4: bool) -> io::Result<bool> {
    let own = ipv4_setting(&link.name, "rp_filter");
    let all = read(&ipv4_setting("all", "rp_filter"))?;
    let wanted = match (has_ipv4, all.as_str()) {
        (false, "0") => "0",
        _ => "2",
    };
    let present = read(&own)?;
    let mut changed = false;
    // A value that is loose enough stays as it is.
    if present != wanted && (present == "1" || all == "1" || !has_ipv4) {
        fs::write(&own, wanted)?;
        changed = true;
    }
    let local = ipv4_setting(&link.name, "accept_local");
    if read(&local)? != "1" {
        fs::write(&local, "1")?;
        changed = true;
    }
    Ok(changed)
}
