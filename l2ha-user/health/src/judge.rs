//! The state of one check: what its attempts amount to. No clock, no I/O.

/// Judges the attempts of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judge {
    /// How many failures one after another make it fail.
    fall: u8,
    /// How many successes one after another make it pass.
    rise: u8,
    /// Attempts one after another that spoke against the state.
    against: u8,
    passing: bool,
    /// Why the last attempt failed, if it did.
    reason: Option<String>,
}

impl Judge {
    /// A check that passes, or does not, until its attempts say otherwise.
    pub(crate) fn new(fall: u8, rise: u8, passing: bool) -> Self {
        Self {
            fall,
            rise,
            against: 0,
            passing,
            reason: None,
        }
    }

    /// Whether it passes.
    pub(crate) fn is_passing(&self) -> bool {
        self.passing
    }

    /// Why the last attempt failed, if it did.
    pub(crate) fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Takes the outcome of an attempt; whether anything has changed that can be seen.
    pub(crate) fn attempt(&mut self, outcome: Result<(), String>) -> bool {
        let before = self.clone();
        let good = outcome.is_ok();
        if good == self.passing {
            self.against = 0;
        } else {
            self.against += 1;
            let needed = if good { self.rise } else { self.fall };
            if self.against >= needed {
                self.turn(good);
            }
        }
        // While it waits for further successes, the last failure stays the reason.
        match outcome {
            Err(reason) => self.reason = Some(reason),
            Ok(()) if self.passing => self.reason = None,
            Ok(()) => {}
        }
        self.passing != before.passing || (!self.passing && self.reason != before.reason)
    }

    /// It fails at once, whatever was counted: what it asks is known to be gone. Whether that is a change.
    pub(crate) fn gone(&mut self, reason: String) -> bool {
        let was = self.passing;
        self.turn(false);
        self.reason = Some(reason);
        was
    }

    fn turn(&mut self, passing: bool) {
        self.passing = passing;
        self.against = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn outcome(good: bool) -> Result<(), String> {
        match good {
            true => Ok(()),
            false => Err("refused".to_owned()),
        }
    }

    #[test]
    fn it_falls_after_two_and_rises_after_three() {
        let mut judge = Judge::new(2, 3, false);
        let states: Vec<bool> = [
            true, true, false, true, true, true, false, true, false, false, true,
        ]
        .into_iter()
        .map(|good| {
            judge.attempt(outcome(good));
            judge.is_passing()
        })
        .collect();
        assert_eq!(
            states,
            [
                false, false, false, false, false, true, true, true, true, false, false
            ]
        );
        assert_eq!(judge.reason(), Some("refused"));
    }

    #[test]
    fn what_is_gone_has_failed_at_once_and_rises_as_ever() {
        let mut judge = Judge::new(5, 2, true);
        assert!(judge.gone("nothing listens".to_owned()));
        assert!(!judge.is_passing());
        assert!(!judge.gone("nothing listens".to_owned()), "told once");
        assert!(!judge.attempt(Ok(())));
        assert!(judge.attempt(Ok(())));
        assert_eq!((judge.is_passing(), judge.reason()), (true, None));
    }

    proptest! {
        /// It passes exactly while the last `rise` successes in a row are nearer than the last `fall` failures in a row.
        #[test]
        fn the_last_run_decides(
            fall in 1u8..6,
            rise in 1u8..6,
            start: bool,
            outcomes in vec(any::<bool>(), 0..60),
        ) {
            let mut judge = Judge::new(fall, rise, start);
            for count in 1..=outcomes.len() {
                let told = judge.clone();
                let changed = judge.attempt(outcome(outcomes[count - 1]));
                let mut expected = start;
                let mut run = (start, 0u8);
                for good in &outcomes[..count] {
                    run = if run.0 == *good { (*good, run.1.saturating_add(1)) } else { (*good, 1) };
                    if run.1 >= if *good { rise } else { fall } {
                        expected = *good;
                    }
                }
                prop_assert_eq!(judge.is_passing(), expected);
                if told.is_passing() != expected {
                    prop_assert!(changed);
                }
                prop_assert!(judge.is_passing() || start || judge.reason().is_some() || outcomes[..count].iter().all(|good| *good));
            }
        }
    }
}
