//! Switches below /proc/sys/net, of this thread's network namespace.

use std::{fs, io, path::PathBuf};

use super::Link;

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
