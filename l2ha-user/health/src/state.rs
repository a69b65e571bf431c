//! The state of a service: what its checks amount to.

use std::{collections::BTreeMap, time::Instant};

use crate::judge::Judge;

/// The states of the services that have checks, by name.
pub type States = BTreeMap<String, ServiceState>;

/// The state of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceState {
    /// What its checks say.
    pub verdict: Verdict,
    /// Since when that is so, whatever the reason was meanwhile.
    pub since: Instant,
    /// Why, where a check does not pass.
    pub failure: Option<Failure>,
}

/// What the checks of a service say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They have never all passed.
    Waiting,
    /// All pass.
    Passing,
    /// One fails.
    Failed,
}

/// Why a check does not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What was asked, and what came of it.
    pub reason: String,
    /// Number of the check, from 1.
    pub check: usize,
    /// How many checks the service has.
    pub checks: usize,
}

impl ServiceState {
    /// One that has just begun.
    pub(crate) fn new(verdict: Verdict, now: Instant) -> Self {
        Self {
            verdict,
            since: now,
            failure: None,
        }
    }

    /// What it is now, as its checks say.
    pub(crate) fn next(&self, checks: &[Judge], now: Instant) -> Self {
        let failing = checks.iter().position(|check| !check.is_passing());
        let verdict = match (failing, self.verdict) {
            (None, _) => Verdict::Passing,
            (Some(_), Verdict::Waiting) => Verdict::Waiting,
            (Some(_), Verdict::Passing | Verdict::Failed) => Verdict::Failed,
        };
        let failure = failing.map(|index| Failure {
            reason: checks[index]
                .reason()
                .unwrap_or("has not passed often enough yet")
                .to_owned(),
            check: index + 1,
            checks: checks.len(),
        });
        Self {
            verdict,
            since: if verdict == self.verdict {
                self.since
            } else {
                now
            },
            failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn all_checks_must_pass_and_the_first_that_does_not_is_named() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut checks = [Judge::new(1, 1, false), Judge::new(1, 1, false)];
        let state = ServiceState::new(Verdict::Waiting, start);
        checks[0].attempt(Ok(()));
        checks[1].attempt(Err("TCP [::1]:80 refused".to_owned()));
        let state = state.next(&checks, at(1));
        assert_eq!((state.verdict, state.since), (Verdict::Waiting, start));
        let failure = state.failure.clone().unwrap();
        assert_eq!((failure.check, failure.checks), (2, 2));
        assert_eq!(failure.reason, "TCP [::1]:80 refused");
        checks[1].attempt(Ok(()));
        let state = state.next(&checks, at(2));
        assert_eq!((state.verdict, state.since), (Verdict::Passing, at(2)));
        assert_eq!(state.failure, None);
        checks[0].attempt(Err("gone".to_owned()));
        let state = state.next(&checks, at(3));
        assert_eq!((state.verdict, state.since), (Verdict::Failed, at(3)));
        // Another reason, the same state.
        checks[1].attempt(Err("gone".to_owned()));
        checks[0].attempt(Ok(()));
        let state = state.next(&checks, at(4));
        assert_eq!((state.verdict, state.since), (Verdict::Failed, at(3)));
        assert_eq!(state.failure.map(|it| it.check), Some(2));
    }
}
