//! What a cluster's file says by the number of its nodes.

/// A node sends, and gets, at most this many packets of BFD a second.
const MOST_PACKETS: usize = 2_000;
/// Milliseconds between BFD's packets, the fastest that a cluster has by default first.
const INTERVALS: [usize; 3] = [50, 100, 300];

/// BFD for a cluster of so many servers and clients: the fastest that costs its busiest node, which is a server with a
/// tunnel to every other node, no more than it should.
pub(super) fn bfd(servers: usize, clients: usize) -> String {
    let tunnels = (servers + clients).saturating_sub(1);
    let fits = |interval: &&usize| tunnels * 1000 / **interval <= MOST_PACKETS;
    let interval = INTERVALS.iter().find(fits).unwrap_or(&INTERVALS[2]);
    format!("{interval}x3")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn larger_clusters_have_slower_timers() {
        assert_eq!(bfd(3, 2), "50x3");
        assert_eq!(bfd(10, 91), "50x3");
        assert_eq!(bfd(10, 92), "100x3");
        assert_eq!(bfd(30, 171), "100x3");
        assert_eq!(bfd(30, 470), "300x3");
        assert_eq!(bfd(100, 9900), "300x3");
    }
}
