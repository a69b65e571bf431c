//! A limit on how often the log says what may happen very often.

use std::time::Duration;

use tokio::time::Instant;

/// When something was said last, and how often it has happened since.
#[derive(Debug, Default)]
pub(crate) struct RateLimit {
    said: Option<Instant>,
    unsaid: u64,
}

impl RateLimit {
    /// It has happened again. How often since it was said last, if it is to be said now.
    pub(crate) fn again(&mut self, every: Duration) -> Option<u64> {
        self.unsaid += 1;
        let now = Instant::now();
        if self.said.is_some_and(|said| now < said + every) {
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_said_is_counted() {
        let mut limit = RateLimit::default();
        let hour = Duration::from_secs(3600);
        assert_eq!(limit.again(hour), Some(1));
        assert_eq!(limit.again(hour), None);
        assert_eq!(limit.again(hour), None);
        assert_eq!(limit.again(Duration::ZERO), Some(3));
    }
}
