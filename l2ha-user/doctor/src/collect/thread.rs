//! Work with rtnetlink in a thread of its own: in another network namespace, or from inside a
//! runtime that must not be blocked on.

use std::thread;

use anyhow::{Context as _, Result};
use linux::Netlink;

/// Runs `work` with a connection to rtnetlink, in the network namespace that `enter` brings the
/// thread into.
pub(super) fn with_netlink<T: Send>(
    enter: impl FnOnce() -> Result<()> + Send,
    work: impl AsyncFnOnce(Netlink) -> Result<T> + Send,
) -> Result<T> {
    thread::scope(|scope| {
        let handle = scope.spawn(|| {
            enter()?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let netlink = Netlink::open().context("cannot open rtnetlink")?;
                work(netlink).await
            })
        });
        handle
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
