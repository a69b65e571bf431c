//! The pauses of the machine: what a timed step shows counts only as far as the machine let it run.
//!
//! A thread that sleeps for a millisecond knows how late it was woken. One of them stays on each processor, of the
//! same priority as those that ask and answer: what holds these back holds it back as well. A step that fails in a
//! window in which, for as long as it may cost, more than a quarter of the time was such a pause says nothing and is
//! played again; one that fails without is believed at once. A step that goes well has done so in spite of its pauses;
//! only one longer than its whole limit could have hidden what was looked for (a client that does not run loses
//! nothing), and then it is played again, too.

use std::{
    fmt::Display,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::{
    cores::{cores, stay_on},
    lab::Lab,
    signals,
};

/// Time between two looks of the meter.
const EVERY: Duration = Duration::from_millis(1);
/// Pauses may take this part of what a step may cost.
const PART: u32 = 4;
/// How often a step is played again at most.
const AGAIN: usize = 3;

/// Whether more is to be played than the gate has time for: `L2HA_DEEP=1`.
pub fn is_deep() -> bool {
    std::env::var_os("L2HA_DEEP").is_some_and(|value| value == "1")
}

/// What one processor has seen.
#[derive(Debug)]
struct Seen {
    /// When the thread was to be woken, and when it was, where that was later.
    late: Vec<(Instant, Instant)>,
    /// When it looked last.
    last: Instant,
}

/// Measures the pauses of the machine; dropping it ends that.
#[derive(Debug)]
pub struct Stalls {
    ended: Arc<AtomicBool>,
    seen: Vec<Arc<Mutex<Seen>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Stalls {
    /// Starts a thread on each processor.
    ///
    /// # Errors
    ///
    /// When the kernel does not say which processors there are.
    pub fn start() -> Result<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        let mut meter = Self {
            ended: Arc::clone(&ended),
            seen: Vec::new(),
            threads: Vec::new(),
        };
        for core in cores()? {
            let seen = Arc::new(Mutex::new(Seen {
                late: Vec::new(),
                last: Instant::now(),
            }));
            meter.seen.push(Arc::clone(&seen));
            let ended = Arc::clone(&ended);
            meter.threads.push(thread::spawn(move || {
                // Elsewhere it measures all the same, if less.
                let _ = stay_on(core);
                look(&seen, &ended);
            }));
        }
        Ok(meter)
    }

    /// The pauses between two moments, of the processor that had most of them.
    pub fn between(&self, from: Instant, to: Instant, limit: Duration) -> Pause {
        let of = |seen: &Mutex<Seen>| loop {
            let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            // A pause is known when it is over.
            if seen.last >= to {
                return Pause::within(&seen.late, from, to, limit);
            }
            drop(seen);
            thread::sleep(EVERY);
        };
        let all = self.seen.iter().map(|seen| of(seen));
        all.fold(Pause::default(), |worst, next| Pause {
            longest: worst.longest.max(next.longest),
            most: worst.most.max(next.most),
        })
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic in there was printed.
            let _ = thread.join();
        }
    }
}

fn look(seen: &Mutex<Seen>, ended: &AtomicBool) {
    while !ended.load(Ordering::Relaxed) {
        let due = Instant::now() + EVERY;
        thread::sleep(EVERY);
        let woken = Instant::now();
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if woken - due >= EVERY {
            seen.late.push((due, woken));
        }
        seen.last = woken;
    }
}

/// What the pauses of a processor were in a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pause {
    /// The longest one.
    pub longest: Duration,
    /// The most of them together within as much time as the step may cost.
    pub most: Duration,
}

impl Pause {
    /// Of those in the order of time that touch the window.
    fn within(late: &[(Instant, Instant)], from: Instant, to: Instant, limit: Duration) -> Self {
        let within = late
            .iter()
            .filter(|(due, woken)| *due < to && *woken > from);
        let within: Vec<_> = within.copied().collect();
        let lengths = within.iter().map(|(due, woken)| *woken - *due);
        let mut most = Duration::ZERO;
        // From the first pause of each stretch on, `sum` has all that begin in it, up to `end`.
        let (mut sum, mut end) = (Duration::ZERO, 0);
        for (first, woken) in &within {
            while end < within.len() && within[end].0 < *first + limit {
                sum += within[end].1 - within[end].0;
                end += 1;
            }
            let last = within[end - 1].1;
            most = most.max(sum - last.saturating_duration_since(*first + limit));
            sum -= *woken - *first;
        }
        Self {
            longest: lengths.max().unwrap_or_default(),
            most,
        }
    }
}

/// One play of a timed step.
#[derive(Debug, Default)]
pub struct Step {
    windows: Vec<(Instant, Instant, Duration)>,
}

impl Step {
    /// What happened between two moments is measured, and may cost at most `limit`: for a step in which nothing may be
    /// lost, the time for which the machine would have to pause until something is.
    pub fn window(&mut self, from: Instant, to: Instant, limit: Duration) {
        self.windows.push((from, to, limit));
    }
}

/// Plays a step until what it shows can be believed, at most three times again. It must be such that it can be played
/// again, also when it has failed: what it changes it puts back before it judges.
///
/// # Errors
///
/// That of the first play that is believed, or of the last one.
pub fn judged<T>(lab: &Lab, what: &str, play: impl FnMut(&mut Step) -> Result<T>) -> Result<T> {
    let meter = Stalls::start()?;
    let pause = |from, to, limit| meter.between(from, to, limit);
    judge(|text| lab.say(format_args!("{what}: {text}")), pause, play)
        .with_context(|| what.to_owned())
}

fn judge<T>(
    say: impl Fn(&dyn Display),
    pause: impl Fn(Instant, Instant, Duration) -> Pause,
    mut play: impl FnMut(&mut Step) -> Result<T>,
) -> Result<T> {
    let mut number = 0;
    loop {
        let mut step = Step::default();
        let result = play(&mut step);
        let windows = step.windows.iter();
        let pauses: Vec<_> = windows
            .map(|(from, to, limit)| (pause(*from, *to, *limit), *limit))
            .collect();
        let says_nothing = |(pause, limit): &&(Pause, Duration)| match result {
            Ok(_) => pause.longest > *limit,
            Err(_) => pause.most > *limit / PART,
        };
        let Some((pause, limit)) = pauses.iter().find(says_nothing) else {
            let most = pauses.iter().map(|(pause, _)| pause.most).max();
            let most = most.unwrap_or_default();
            return result.with_context(|| format!("the machine paused for {most:.1?} at most"));
        };
        say(&format_args!(
            "{} while the machine paused for {:.1?}, at once for {:.1?}, where {limit:?} are allowed",
            if result.is_ok() { "passed" } else { "failed" },
            pause.most,
            pause.longest,
        ));
        if number == AGAIN || signals::came() {
            return result.context("it says little: in every play the machine paused");
        }
        number += 1;
        say(&format_args!("played again, {number} of {AGAIN}"));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use anyhow::{anyhow, ensure};

    use super::*;

    const LIMIT: Duration = Duration::from_millis(400);
    /// A quarter of it, and more; itself, and more.
    const CALM: Duration = Duration::from_millis(100);
    const BUSY: Duration = Duration::from_millis(101);
    const LIMITED: Duration = Duration::from_millis(400);
    const HIDDEN: Duration = Duration::from_millis(401);

    /// Plays of a step: how long the machine paused in each, and whether it went well. Returns how many there were,
    /// and what came of them.
    fn plays(all: &[(Duration, bool)]) -> (usize, Result<usize>) {
        let (played, said) = (Cell::new(0), RefCell::new(0));
        let pause = |_, _, limit| {
            assert_eq!(limit, LIMIT);
            let (longest, _) = all[played.get() - 1];
            Pause {
                longest,
                most: longest,
            }
        };
        let result = judge(
            |_| *said.borrow_mut() += 1,
            pause,
            |step| {
                let now = Instant::now();
                let (_, good) = all[played.get()];
                played.set(played.get() + 1);
                step.window(now, now, LIMIT);
                ensure!(good, "play {} failed", played.get());
                Ok(played.get())
            },
        );
        // Each further play is said, with its reason.
        assert!(*said.borrow() >= 2 * (played.get() - 1));
        (played.get(), result)
    }

    #[test]
    fn what_goes_well_is_believed() {
        for pause in [CALM, BUSY, LIMITED] {
            let (played, result) = plays(&[(pause, true)]);
            assert_eq!((played, result.unwrap()), (1, 1));
        }
    }

    #[test]
    fn what_fails_without_a_pause_is_believed_at_once() {
        let (played, result) = plays(&[(CALM, false)]);
        assert_eq!(played, 1);
        let text = format!("{:#}", result.unwrap_err());
        assert_eq!(
            text,
            "the machine paused for 100.0ms at most: play 1 failed"
        );
    }

    #[test]
    fn what_fails_with_a_pause_is_played_again() {
        let (played, result) = plays(&[(BUSY, false), (CALM, true)]);
        assert_eq!((played, result.unwrap()), (2, 2));
        let (played, result) = plays(&[(BUSY, false), (CALM, false)]);
        assert_eq!((played, result.is_err()), (2, true));
        // Not for ever.
        let (played, result) = plays(&[(BUSY, false); 4]);
        assert_eq!(played, 4);
        let text = format!("{:#}", result.unwrap_err());
        assert!(
            text.contains("in every play") && text.ends_with("play 4 failed"),
            "{text}"
        );
    }

    #[test]
    fn a_pause_that_hides_everything_is_played_again_though_it_went_well() {
        let (played, result) = plays(&[(HIDDEN, true), (CALM, false)]);
        assert_eq!((played, result.is_err()), (2, true));
        let (played, result) = plays(&[(HIDDEN, true); 4]);
        assert_eq!((played, result.unwrap()), (4, 4));
    }

    #[test]
    fn what_measures_nothing_is_never_played_again() {
        let mut played = 0;
        let result: Result<()> = judge(
            |_| {},
            |_, _, _| unreachable!("there is no window"),
            |_| {
                played += 1;
                Err(anyhow!("failed"))
            },
        );
        assert_eq!((played, result.is_err()), (1, true));
    }

    #[test]
    fn pauses_count_where_they_touch_the_window() {
        let zero = Instant::now();
        let at = |ms| zero + Duration::from_millis(ms);
        let late = [(at(10), at(40)), (at(100), at(105)), (at(107), at(110))];
        let pause = |from, to, limit| {
            let limit = Duration::from_millis(limit);
            let pause = Pause::within(&late, at(from), at(to), limit);
            (pause.longest.as_millis(), pause.most.as_millis())
        };
        assert_eq!(pause(0, 10, 50), (0, 0));
        assert_eq!(pause(0, 11, 50), (30, 30));
        assert_eq!(pause(39, 50, 20), (30, 20));
        assert_eq!(pause(40, 100, 50), (0, 0));
        assert_eq!(pause(40, 200, 8), (5, 6));
        assert_eq!(pause(40, 200, 50), (5, 8));
        assert_eq!(pause(0, 200, 100), (30, 38));
        assert_eq!(pause(0, 200, 98), (30, 36));
    }

    #[test]
    fn a_meter_knows_every_moment_up_to_now() {
        let from = Instant::now();
        let meter = Stalls::start().unwrap();
        thread::sleep(EVERY * 5);
        let pause = meter.between(from, Instant::now(), LIMIT);
        assert!(pause.most <= LIMIT, "{pause:?}");
    }
}
