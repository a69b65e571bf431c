//! The pauses of the machine: what a timed step shows counts only if the machine did not pause meanwhile.
//!
//! A thread that sleeps for a millisecond knows how late it was woken. One of them stays on each processor, of the
//! same priority as those that ask and answer: what holds these back holds it back as well. A step in whose window
//! there was a pause of more than a quarter of what it may cost says nothing, whether it went well or not (a client
//! that does not run loses nothing either), and is played again; one without is believed at once.

use std::{
    fmt::Display,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Error, Result, anyhow};

use crate::{
    cores::{cores, stay_on},
    lab::Lab,
    signals,
};

/// Time between two looks of the meter.
const EVERY: Duration = Duration::from_millis(1);
/// A pause may take this part of what a step may cost.
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

    /// The longest pause of a processor between two moments; zero for what is shorter than a look.
    pub fn longest(&self, from: Instant, to: Instant) -> Duration {
        let of = |seen: &Mutex<Seen>| loop {
            let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            // A pause is known when it is over.
            if seen.last >= to {
                return longest(&seen.late, from, to);
            }
            drop(seen);
            thread::sleep(EVERY);
        };
        self.seen
            .iter()
            .map(|seen| of(seen))
            .max()
            .unwrap_or_default()
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

fn longest(late: &[(Instant, Instant)], from: Instant, to: Instant) -> Duration {
    let within = late
        .iter()
        .filter(|(due, woken)| *due < to && *woken > from);
    let lengths = within.map(|(due, woken)| *woken - *due);
    lengths.max().unwrap_or_default()
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

    /// The pause by which it says nothing, if there was one, and what that is held against.
    fn stalled(&self, longest: impl Fn(Instant, Instant) -> Duration) -> Option<String> {
        let pauses = self
            .windows
            .iter()
            .map(|(from, to, limit)| (longest(*from, *to), limit));
        let (pause, limit) = pauses
            .filter(|(pause, limit)| *pause > **limit / PART)
            .max()?;
        Some(format!(
            "the machine paused for {pause:.1?} in a step that may cost {limit:?}"
        ))
    }
}

/// Plays a step until its machine did not pause, at most three times again. What it then returns is believed. It must
/// be such that it can be played again, also when it has failed: what it changes it puts back before it judges.
///
/// # Errors
///
/// That of the first play without a pause; or, with a pause in every one, that they say nothing.
pub fn judged<T>(lab: &Lab, what: &str, play: impl FnMut(&mut Step) -> Result<T>) -> Result<T> {
    let meter = Stalls::start()?;
    let longest = |from, to| meter.longest(from, to);
    judge(
        |text| lab.say(format_args!("{what}: {text}")),
        longest,
        play,
    )
    .with_context(|| what.to_owned())
}

fn judge<T>(
    say: impl Fn(&dyn Display),
    longest: impl Fn(Instant, Instant) -> Duration,
    mut play: impl FnMut(&mut Step) -> Result<T>,
) -> Result<T> {
    let mut last: Option<Error> = None;
    for number in 0..=AGAIN {
        if number > 0 {
            say(&format_args!("played again, {number} of {AGAIN}"));
        }
        let mut step = Step::default();
        let result = play(&mut step);
        let Some(stall) = step.stalled(&longest).filter(|_| !signals::came()) else {
            let pauses = step.windows.iter().map(|(from, to, _)| longest(*from, *to));
            let pause = pauses.max().unwrap_or_default();
            return result.with_context(|| format!("the machine paused for {pause:.1?} at most"));
        };
        say(&stall);
        last = Some(match result {
            Ok(_) => anyhow!(stall),
            Err(error) => error.context(stall),
        });
    }
    let last = last.context("no step was played")?;
    Err(last.context("it says nothing: in every play the machine paused"))
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use anyhow::ensure;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(400);
    const SHORT: Duration = Duration::from_millis(100);
    const LONG: Duration = Duration::from_millis(101);

    /// Plays of a step: how long the machine paused in each, and whether it went well. Returns how many there were,
    /// and what came of them.
    fn plays(all: &[(Duration, bool)]) -> (usize, Result<usize>) {
        let (played, said) = (Cell::new(0), RefCell::new(0));
        let pause = |_, _| all[played.get() - 1].0;
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
    fn a_step_without_a_pause_is_believed_at_once() {
        let (played, result) = plays(&[(SHORT, true)]);
        assert_eq!((played, result.unwrap()), (1, 1));
        let (played, result) = plays(&[(SHORT, false)]);
        assert_eq!(played, 1);
        let text = format!("{:#}", result.unwrap_err());
        assert_eq!(
            text,
            "the machine paused for 100.0ms at most: play 1 failed"
        );
    }

    #[test]
    fn a_step_with_a_pause_is_played_again_whether_it_went_well_or_not() {
        for first in [true, false] {
            let (played, result) = plays(&[(LONG, first), (SHORT, true)]);
            assert_eq!((played, result.unwrap()), (2, 2));
            let (played, result) = plays(&[(LONG, first), (SHORT, false)]);
            assert_eq!(played, 2);
            assert!(format!("{:#}", result.unwrap_err()).ends_with("play 2 failed"));
        }
    }

    #[test]
    fn with_a_pause_every_time_it_fails_and_says_so() {
        let (played, result) = plays(&[(LONG, true); 4]);
        assert_eq!(played, 4);
        let text = format!("{:#}", result.unwrap_err());
        assert!(
            text.contains("in every play") && text.contains("101.0ms"),
            "{text}"
        );
    }

    #[test]
    fn what_measures_nothing_is_never_played_again() {
        let mut played = 0;
        let result: Result<()> = judge(
            |_| {},
            |_, _| LONG,
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
        let late = [(at(10), at(40)), (at(100), at(105))];
        let found = [(0, 10), (0, 11), (39, 50), (40, 100), (40, 200)]
            .map(|(from, to)| longest(&late, at(from), at(to)).as_millis());
        assert_eq!(found, [0, 30, 30, 0, 5]);
    }

    #[test]
    fn a_meter_knows_every_moment_up_to_now() {
        let from = Instant::now();
        let meter = Stalls::start().unwrap();
        thread::sleep(EVERY * 5);
        let longest = meter.longest(from, Instant::now());
        assert!(longest < Duration::from_secs(60), "{longest:?}");
    }
}
