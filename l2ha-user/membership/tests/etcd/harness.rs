//! etcd as a process of the test's own, hosts that join, and what can be cut between them.

pub(crate) mod etcd;
pub(crate) mod host;
pub(crate) mod proxy;
pub(crate) mod trio;

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long anything may take on a host that has other work; what is waited for is there much earlier.
pub(crate) const PATIENCE: Duration = Duration::from_secs(45);

/// Waits until there is something.
pub(crate) fn wait_for<T>(
    what: &str,
    patience: Duration,
    mut is_there: impl FnMut() -> Option<T>,
) -> T {
    let began = Instant::now();
    loop {
        if let Some(it) = is_there() {
            return it;
        }
        assert!(began.elapsed() < patience, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
