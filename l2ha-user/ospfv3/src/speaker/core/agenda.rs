//! What is to be done for the rest of the speaker, and when.

use crate::config::{SpfDelay, Time};
use crate::spf::Schedule;

#[derive(Clone, Debug, Default)]
pub(super) struct Agenda {
    /// When to compare what we should originate with what we have.
    reconcile_at: Option<Time>,
    spf: Schedule,
}

impl Agenda {
    pub(super) fn reconcile_by(&mut self, at: Time) {
        self.reconcile_at = Some(self.reconcile_at.map_or(at, |old| old.min(at)));
    }

    pub(super) fn is_reconcile_due(&self, now: Time) -> bool {
        self.reconcile_at.is_some_and(|at| at <= now)
    }

    pub(super) fn take_reconcile(&mut self, now: Time) -> bool {
        let due = self.is_reconcile_due(now);
        if due {
            self.reconcile_at = None;
        }
        due
    }

    pub(super) fn links_changed(&mut self, now: Time, delay: &SpfDelay) {
        self.spf.trigger(now, delay);
    }

    pub(super) fn lsa_changed(&mut self, now: Time, delay: &SpfDelay) {
        self.spf.trigger_for_lsa(now, delay);
    }

    pub(super) fn compute_at_once(&mut self, now: Time) {
        self.spf.at_once(now);
    }

    pub(super) fn take_spf(&mut self, now: Time) -> bool {
        self.spf.take_due(now)
    }

    pub(super) fn take_links(&mut self) -> bool {
        self.spf.take_links()
    }

    pub(super) fn next(&self) -> Option<Time> {
        self.reconcile_at.into_iter().chain(self.spf.due()).min()
    }
}
