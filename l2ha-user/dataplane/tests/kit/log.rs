//! What is logged, as text that a test can look into.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use tracing::level_filters::LevelFilter;

/// What has been logged so far.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// From now on takes what the whole process logs; once in a process.
    pub(crate) fn start() -> super::Result<Self> {
        let log = Self::default();
        let writer = log.clone();
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(LevelFilter::DEBUG)
            .with_writer(move || writer.clone())
            .try_init()
            .map_err(|error| anyhow::anyhow!("{error}"))?;
        Ok(log)
    }

    /// All of it.
    pub(crate) fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
