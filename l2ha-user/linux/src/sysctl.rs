//! Switches below /proc/sys/net, of this thread's network namespace.

use std::{fs, io, path::PathBuf};

use crate::link::Link;

/// How often an unanswered neighbour is asked again, in milliseconds.
const RETRANSMIT: &str = "100";

/// Has the neighbours on a virtual interface asked ten times a second instead of once: after a
/// repair the first question may be lost, and the path is back long before a second has passed.
///
/// # Errors
///
/// When the kernel refuses.
pub fn ask_neighbours_often(link: &Link) -> io::Result<()> {
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

/// Path of a switch of IPv4, of one interface, or of `all`.
fn ipv4_switch(interface: &str, name: &str) -> PathBuf {
    ["/proc/sys/net/ipv4/conf", interface, name]
        .iter()
        .collect()
}

fn read(path: &PathBuf) -> io::Result<String> {
    Ok(fs::read_to_string(path)?.trim().to_owned())
}

/// Has a virtual interface take IPv4 packets whatever way leads back to their sender; whether that
/// had to be changed.
///
/// An anycast address is answered over the shortest way, which need not be the one the question came
/// by; and another server's answers come from an address that this node has, too. The kernel calls
/// the former a reverse path that does not fit (rp_filter, RFC 3704), and the latter a martian
/// (accept_local); fib_validate_source() in net/ipv4/fib_frontend.c.
///
/// The interface's own rp_filter counts for nothing where that of `all` is greater. Loose (2) is
/// enough for an interface with an IPv4 address. Without one, whatever has another way back is refused
/// even then, so only 0 helps.
///
/// # Errors
///
/// When the kernel refuses.
pub fn accept_any_way_back(link: &Link, has_ipv4: bool) -> io::Result<bool> {
    let own = ipv4_switch(&link.name, "rp_filter");
    let all = read(&ipv4_switch("all", "rp_filter"))?;
    let wanted = match (has_ipv4, all.as_str()) {
        (false, "0") => "0",
        _ => "2",
    };
    let present = read(&own)?;
    let mut changed = false;
    // What is loose enough stays as it is.
    if present != wanted && (present == "1" || all == "1" || !has_ipv4) {
        fs::write(&own, wanted)?;
        changed = true;
    }
    let local = ipv4_switch(&link.name, "accept_local");
    if read(&local)? != "1" {
        fs::write(&local, "1")?;
        changed = true;
    }
    Ok(changed)
}
