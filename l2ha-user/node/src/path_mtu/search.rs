//! Which packets fit through a tunnel: Datagram Packetization Layer Path MTU Discovery (RFC 8899), without I/O and
//! clock.
//!
//! ```text
//!              answer                        all but the largest lost
//!   Asking ─────────────▶ Round(search) ──────────────────────────────▶ Round(search), narrower
//!     ▲   ▲                    │  ▲                                            │
//!     │   └── no answer ───────┘  │ lost, a hint, RAISE, reload                │
//!     │                           │                                            │
//!     └── no answer ──────── Round(confirm) ◀──── CONFIRM ──── Resting ◀───────┘ nothing between left
//! ```
//!
//! Asking is the RFC's Base, a search its Search, and Resting its Search Complete (5.2); that less than
//! [`BASE`] fits is its Error. Where nobody answers at all nothing is learned, and what was believed stays.
//! The RFC has one probe on its way, and 15 s for it. Here several sizes share a round of 1 s in which each is
//! sent up to three times (MAX_PROBES), because a pseudowire is short, and TCP stands still meanwhile.

use std::time::{Duration, Instant};

/// Least MTU of IPv6 (RFC 8200 5), and BASE_PLPMTU (RFC 8899 5.1.2).
pub(crate) const BASE: u16 = 1280;
/// The smallest probe: an IPv6 header, and an Echo Request with what makes it ours.
pub(crate) const SMALLEST: u16 = 64;
/// MAX_PROBES of RFC 8899 5.1.2.
const TRIES: u8 = 3;
/// Between two tries.
const WAIT: Duration = Duration::from_millis(350);
/// Between two questions whether anybody answers, at first and later.
const ASK: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// So many questions are asked at the quicker pace.
const QUICK: u32 = 30;
/// How often it is confirmed that what fitted still does: what is lost beyond that is a black hole (RFC 8899 4.3).
const CONFIRM: Duration = Duration::from_secs(3);
/// How often more is tried where less than all fits. RFC 8899 5.1.1 recommends 600 s for paths through the
/// Internet; a probe a minute costs nothing, and a mended way is used again soon.
const RAISE: Duration = Duration::from_secs(60);
/// Hints are followed so often at most: anybody can send them.
const HINTS: Duration = Duration::from_secs(5);
/// Sizes of a round between what fits and what does not.
const STEPS: u16 = 8;

/// The search over one tunnel. Sizes are those of IP packets in it, in bytes.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    largest: u16,
    fits: Option<u16>,
    phase: Phase,
    due: Instant,
    /// When it is looked for more than what fits; never where all does.
    search_at: Option<Instant>,
    hint: Option<u16>,
    hinted_at: Option<Instant>,
}

#[derive(Clone, Debug)]
enum Phase {
    /// Does anybody answer? Asked so often.
    Asking(u32),
    /// Nothing is on its way.
    Resting,
    /// Probes are on their way.
    Round(Round),
}

#[derive(Clone, Debug)]
struct Round {
    /// Whether it only confirms what is believed.
    confirms: bool,
    /// Ascending.
    sizes: Vec<u16>,
    tries: u8,
    /// The largest that was answered since the search began.
    best: Option<u16>,
    /// Less than this fits.
    above: u16,
}

impl Search {
    /// Begins; `largest` is the virtual interface's MTU, and `believed` what an earlier daemon has found to fit.
    pub(crate) fn new(now: Instant, largest: u16, believed: Option<u16>) -> Self {
        Self {
            largest,
            fits: believed.filter(|fits| *fits < largest),
            phase: Phase::Asking(0),
            due: now,
            search_at: Some(now),
            hint: None,
            hinted_at: None,
        }
    }

    /// The largest packet that is known to fit; none while that is not known.
    pub(crate) fn fits(&self) -> Option<u16> {
        self.fits
    }

    /// The MTU that IP shall use: no less than IPv6 needs, whatever fits.
    pub(crate) fn mtu(&self) -> u16 {
        let fits = self.fits.unwrap_or(self.largest);
        fits.max(BASE).min(self.largest)
    }

    /// When [`Self::poll`] has something to do.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// Whether answers may be on their way.
    pub(crate) fn awaits(&self) -> bool {
        !matches!(self.phase, Phase::Resting)
    }

    /// The sizes of the probes to send now. What was answered has to be told before.
    pub(crate) fn poll(&mut self, now: Instant) -> Vec<u16> {
        if now < self.due {
            return Vec::new();
        }
        match &mut self.phase {
            Phase::Asking(times) => {
                *times = times.saturating_add(1);
                self.due = now + if *times <= QUICK { ASK.0 } else { ASK.1 };
                vec![SMALLEST]
            }
            Phase::Resting if self.search_at.is_some_and(|at| now >= at) => self.search(now),
            Phase::Resting => {
                let fits = self.fits.unwrap_or(self.largest);
                self.begin(
                    now,
                    Round {
                        confirms: true,
                        sizes: vec![fits],
                        tries: 0,
                        best: None,
                        above: self.largest.saturating_add(1),
                    },
                )
            }
            // What does not answer to the confirmation's only probe is probed again by the search.
            Phase::Round(round)
                if round.tries < TRIES && !round.confirms && !round.is_answered() =>
            {
                round.tries += 1;
                self.due = now + WAIT;
                round.unanswered()
            }
            Phase::Round(round) => {
                let round = round.clone();
                self.conclude(now, round)
            }
        }
    }

    /// A probe of this size was answered.
    pub(crate) fn answered(&mut self, now: Instant, size: u16) {
        match &mut self.phase {
            Phase::Asking(_) => {
                self.phase = Phase::Resting;
                self.search_at = Some(now);
                self.due = now;
            }
            Phase::Round(round) => {
                round.best = round.best.max(Some(size));
                if round.is_answered() {
                    self.due = now;
                }
            }
            // Later than anybody has waited for it, and more than is believed.
            Phase::Resting if self.fits < Some(size) => {
                self.search_at = Some(now);
                self.due = now;
            }
            Phase::Resting => {}
        }
    }

    /// Somebody says that no more than this fits. Whether that is looked into: it is believed only when probes of
    /// more are lost.
    pub(crate) fn hint(&mut self, now: Instant, size: u16) -> bool {
        let lately = self.hinted_at.is_some_and(|at| now < at + HINTS);
        if lately || size >= self.mtu() {
            return false;
        }
        match self.phase {
            // Nobody answers, so it cannot be looked into.
            Phase::Asking(_) => false,
            Phase::Resting | Phase::Round(_) => {
                self.hinted_at = Some(now);
                self.hint = Some(size.max(SMALLEST));
                self.restart(now);
                true
            }
        }
    }

    /// Looks anew, because the way may be another one.
    pub(crate) fn restart(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::Asking(_)) {
            self.phase = Phase::Resting;
            self.search_at = Some(now);
        }
        self.due = now;
    }

    /// The virtual interface has another MTU.
    pub(crate) fn set_largest(&mut self, now: Instant, largest: u16) {
        if self.largest != largest {
            self.largest = largest;
            self.restart(now);
        }
    }

    /// The first round of a search: all sizes may fit.
    fn search(&mut self, now: Instant) -> Vec<u16> {
        let above = self.largest.saturating_add(1);
        let mut sizes = between(BASE.min(self.largest), self.largest);
        sizes.extend([SMALLEST, BASE, self.largest]);
        sizes.extend(self.fits);
        sizes.extend(self.hint.take());
        sizes.retain(|size| *size < above);
        sizes.sort_unstable();
        sizes.dedup();
        self.begin(
            now,
            Round {
                confirms: false,
                sizes,
                tries: 0,
                best: None,
                above,
            },
        )
    }

    fn begin(&mut self, now: Instant, mut round: Round) -> Vec<u16> {
        round.tries = 1;
        let sizes = round.sizes.clone();
        self.phase = Phase::Round(round);
        self.due = now + WAIT;
        sizes
    }

    fn conclude(&mut self, now: Instant, round: Round) -> Vec<u16> {
        let Some(best) = round.best else {
            if round.confirms {
                // Too large now, or the peer is away.
                return self.search(now);
            }
            self.phase = Phase::Asking(0);
            self.due = now + ASK.0;
            return Vec::new();
        };
        if round.confirms {
            self.rest(now);
            return Vec::new();
        }
        self.fits = Some(best);
        let lost = round.sizes.iter().find(|size| **size > best);
        let above = lost.map_or(round.above, |lost| round.above.min(*lost));
        let mut sizes = between(best, above);
        // Three losses in a row may be bad luck: once more with each round.
        sizes.extend(Some(self.largest).filter(|largest| *largest >= above));
        if best.saturating_add(1) >= above {
            self.search_at = (best < self.largest).then(|| now + RAISE);
            self.rest(now);
            return Vec::new();
        }
        self.begin(
            now,
            Round {
                confirms: false,
                sizes,
                tries: 0,
                best: Some(best),
                above,
            },
        )
    }

    fn rest(&mut self, now: Instant) {
        self.phase = Phase::Resting;
        self.due = now + CONFIRM;
    }
}

impl Round {
    /// Whether nothing more has to be waited for: what is smaller than one that fits, fits.
    fn is_answered(&self) -> bool {
        self.best >= self.sizes.last().copied()
    }

    fn unanswered(&self) -> Vec<u16> {
        let sizes = self.sizes.iter().copied();
        sizes.filter(|size| Some(*size) > self.best).collect()
    }
}

/// Up to [`STEPS`] sizes, evenly between one that fits and one that does not.
fn between(fits: u16, above: u16) -> Vec<u16> {
    let gap = above.saturating_sub(fits);
    if gap <= STEPS + 1 {
        return (fits.saturating_add(1)..above).collect();
    }
    let step = |number: u16| u32::from(gap) * u32::from(number) / u32::from(STEPS + 1);
    let steps = (1..=STEPS).filter_map(|number| u16::try_from(step(number)).ok());
    steps.map(|step| fits + step).collect()
}

#[cfg(test)]
mod tests;
