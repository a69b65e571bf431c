//! The receive queues of a virtual interface in tc mode, which the program chooses and the daemon sets up.

/// For large packets; the daemon has it spread over all processors (RPS).
pub const BULK: u32 = 0;
/// Where those for all else begin: one for each queue of the underlay. A frame sent to a veth's queue N is
/// received as of queue N - 1 where RPS is concerned, because nobody counts it anew: so not right behind
/// the other.
pub const OTHERS: u32 = 2;
