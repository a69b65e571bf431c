//! What the programs log of refused packets, brought to this process's log.

use std::{
    os::fd::AsFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya_log::EbpfLogger;
use l2ha_ebpf::reason::Reason;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How long the thread may take to notice that it shall end, in milliseconds.
const PATIENCE_MS: u8 = 200;

/// A thread that reads the programs' log records until it is dropped.
pub(crate) struct Forwarder {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Forwarder {
    pub(crate) fn start(bpf: &mut Ebpf) -> Result<Self> {
        let mut logger = EbpfLogger::init_with_logger(bpf, ToTracing)
            .context("cannot read what the kernel programs log")?;
        let end = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&end);
        let thread = thread::Builder::new()
            .name("l2ha-bpf-log".to_owned())
            .spawn(move || {
                while !seen.load(Ordering::Relaxed) {
                    let mut fds = [PollFd::new(logger.as_fd(), PollFlags::POLLIN)];
                    // An interrupted wait is as good as one that has ended.
                    let _ = poll(&mut fds, PollTimeout::from(PATIENCE_MS));
                    logger.flush();
                }
                // What came while it was told to end.
                logger.flush();
            })
            .context("cannot start a thread")?;
        Ok(Self {
            end,
            thread: Some(thread),
        })
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in there was printed already.
            let _ = thread.join();
        }
    }
}

/// Records of the programs as events of ours, at debug level whatever they were.
struct ToTracing;

impl log::Log for ToTracing {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        tracing::enabled!(tracing::Level::DEBUG)
    }

    fn log(&self, record: &log::Record<'_>) {
        let text = record.args().to_string();
        match refused(&text) {
            Some((reason, length)) => tracing::debug!(reason = reason.name(), length, "refused"),
            None => tracing::debug!("{text}"),
        }
    }

    fn flush(&self) {}
}

/// Reads the record of a refused packet: the reason and the length of the packet in bytes.
fn refused(text: &str) -> Option<(Reason, u32)> {
    let mut words = text.strip_prefix("refused ")?.split(' ');
    let number: usize = words.next()?.parse().ok()?;
    let length = words.next()?.parse().ok()?;
    Some((*Reason::ALL.get(number)?, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_understood() {
        assert_eq!(refused("refused 3 60"), Some((Reason::BadVersion, 60)));
        assert_eq!(refused("refused 300 60"), None);
        assert_eq!(refused("something else"), None);
    }
}
