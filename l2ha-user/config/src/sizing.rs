//! What a cluster of some size is best given: docs/scale.md has what these figures come from.

/// A node sends, and gets, at most this many packets of BFD a second.
const MOST_BFD: usize = 2_000;
/// Milliseconds between BFD's packets, the fastest that a cluster has by default first.
const BFD_INTERVALS: [u32; 4] = [50, 100, 300, 1000];
/// A node sends, and gets, at most this many Hellos a second.
const MOST_HELLOS: usize = 100;
/// Seconds between Hellos, likewise.
const HELLO_INTERVALS: [u16; 4] = [1, 3, 5, 10];
/// Nodes beyond which one area costs each of them more than it should: memory, route calculations, and what is
/// sent when a server dies.
const MOST_IN_AREA: usize = 500;

/// What a cluster is given by its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizing {
    /// Milliseconds between BFD's packets; three may be lost.
    pub bfd_interval: u32,
    /// Seconds between Hellos. BFD is what notices a death, so they need not be frequent.
    pub hello_interval: u16,
    /// Seconds of silence after which a neighbour is dead, should BFD not have said so.
    pub dead_interval: u16,
    /// In how many areas of OSPF the clients are best shared out.
    pub areas: usize,
}

impl Sizing {
    /// For so many servers, which have tunnels to everybody, and clients, which have tunnels to the servers.
    pub fn of(servers: usize, clients: usize) -> Self {
        // Its busiest node is a server.
        let tunnels = (servers + clients).saturating_sub(1);
        let bfd_fits = |interval: &u32| tunnels * 1000 <= MOST_BFD * *interval as usize;
        let hello_fits = |interval: &u16| tunnels <= MOST_HELLOS * usize::from(*interval);
        let hello_interval = first(&HELLO_INTERVALS, hello_fits);
        Self {
            bfd_interval: first(&BFD_INTERVALS, bfd_fits),
            hello_interval,
            dead_interval: hello_interval * 4,
            areas: (servers + clients).div_ceil(MOST_IN_AREA).max(1),
        }
    }

    /// BFD as `bfd` has it in a file.
    pub fn bfd(&self) -> String {
        format!("{}x3", self.bfd_interval)
    }
}

/// The first that fits; where none does, the last.
fn first<T: Copy + Default>(of: &[T], fits: impl Fn(&T) -> bool) -> T {
    let found = of.iter().copied().find(fits);
    found.or(of.last().copied()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn larger_clusters_have_slower_timers() {
        let bfd = |servers, clients| Sizing::of(servers, clients).bfd();
        assert_eq!(bfd(3, 2), "50x3");
        assert_eq!(bfd(10, 91), "50x3");
        assert_eq!(bfd(10, 92), "100x3");
        assert_eq!(bfd(30, 171), "100x3");
        assert_eq!(bfd(30, 470), "300x3");
        assert_eq!(bfd(100, 9900), "1000x3");
        let ospf = |servers, clients| {
            let sizing = Sizing::of(servers, clients);
            (sizing.hello_interval, sizing.dead_interval, sizing.areas)
        };
        assert_eq!(ospf(0, 0), (1, 4, 1));
        assert_eq!(ospf(3, 2), (1, 4, 1));
        assert_eq!(ospf(10, 91), (1, 4, 1));
        assert_eq!(ospf(10, 92), (3, 12, 1));
        assert_eq!(ospf(30, 470), (5, 20, 1));
        assert_eq!(ospf(30, 471), (5, 20, 2));
        assert_eq!(ospf(100, 9900), (10, 40, 20));
    }
}
