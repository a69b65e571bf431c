//! When to compute: at once after a quiet time, ever more slowly while changes go on.

use std::time::Duration;

use crate::config::{SpfDelay, Time};

#[derive(Clone, Debug, Default)]
pub(crate) struct Schedule {
    at: Option<Time>,
    last_run: Option<Time>,
    hold: Duration,
    /// Whether something beside the databases has changed.
    links: bool,
}

impl Schedule {
    pub(crate) fn due(&self) -> Option<Time> {
        self.at
    }

    /// Something changed beside the databases: our own links or adjacencies.
    pub(crate) fn trigger(&mut self, now: Time, delay: &SpfDelay) {
        self.links = true;
        self.trigger_for_lsa(now, delay);
    }

    /// An LSA came, went or changed; the database knows which.
    pub(crate) fn trigger_for_lsa(&mut self, now: Time, delay: &SpfDelay) {
        if self.at.is_some() {
            return;
        }
        let soonest = now + delay.initial;
        self.at = Some(match self.last_run.map(|last| last + self.hold) {
            Some(held) if held > now => {
                self.hold = (self.hold * 2).min(delay.max);
                held.max(soonest)
            }
            _ => {
                self.hold = delay.hold;
                soonest
            }
        });
    }

    /// Something changed that must not wait.
    pub(crate) fn at_once(&mut self, now: Time) {
        self.links = true;
        self.at = Some(now);
    }

    /// Whether to compute now.
    pub(crate) fn take_due(&mut self, now: Time) -> bool {
        if self.at.is_none_or(|at| at > now) {
            return false;
        }
        self.at = None;
        self.last_run = Some(now);
        true
    }

    /// Whether anything beside the databases has changed since this was last asked.
    pub(crate) fn take_links(&mut self) -> bool {
        std::mem::take(&mut self.links)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn first_is_immediate_then_backs_off_then_recovers() {
        let delay = SpfDelay {
            initial: ms(0),
            hold: ms(50),
            max: ms(300),
        };
        let mut schedule = Schedule::default();
        let mut now = ms(1000);
        let mut gaps = Vec::new();
        for _ in 0..6 {
            schedule.trigger(now, &delay);
            let at = schedule.due().unwrap();
            gaps.push(at - now);
            now = at;
            assert!(schedule.take_due(now));
        }
        assert_eq!(gaps, [0, 50, 100, 200, 300, 300].map(ms));
        now += ms(301);
        schedule.trigger(now, &delay);
        assert_eq!(schedule.due(), Some(now), "quiet for a whole hold");
        assert!(!schedule.take_due(now - ms(1)));
    }
}
