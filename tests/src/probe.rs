//! A client that fetches from the anycast address all the time and remembers when it got answers,
//! and from which server.

use std::{
    io::ErrorKind,
    net::{Ipv6Addr, SocketAddrV6},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    http::{PORT, fetch},
    lab::wait_for,
    ns::Namespace,
};

/// A silence that breaks a run of answers; as long as an attempt may take.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a run of answers must be to count as steady.
const STEADY: Duration = Duration::from_millis(300);

/// How a probe asks.
#[derive(Debug, Clone, Copy)]
pub struct ProbeOptions {
    /// Time between the starts of two attempts.
    pub every: Duration,
    /// Time an attempt may take altogether.
    pub timeout: Duration,
    /// Scope of a link-local address, 0 otherwise.
    pub scope: u32,
}

impl Default for ProbeOptions {
    fn default() -> Self {
        Self {
            every: Duration::from_millis(5),
            timeout: Duration::from_millis(100),
            scope: 0,
        }
    }
}

/// One successful fetch.
#[derive(Debug, Clone)]
pub struct Answer {
    /// When the answer was complete.
    pub at: Instant,
    /// What the answering server called itself.
    pub server: String,
}

/// What a probe has seen, oldest first.
#[derive(Debug, Default)]
struct Seen {
    answers: Vec<Answer>,
    failures: u64,
    cut_off: u64,
    last_failure: Option<String>,
    skipped: u64,
}

/// A running probe; dropping it ends its threads.
#[derive(Debug)]
pub struct Probe {
    ended: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Probe {
    /// Starts to fetch `http://[address]/` from inside a namespace. Attempts overlap, so that one
    /// that hangs does not hide that the next already succeeds.
    ///
    /// # Errors
    ///
    /// When the threads cannot be started.
    pub fn start(ns: &Namespace, address: Ipv6Addr, options: ProbeOptions) -> Result<Self> {
        let target = SocketAddrV6::new(address, PORT, 0, options.scope);
        let ended = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Seen::default()));
        // As many as can hang at the same time, and some to spare.
        let workers = options.timeout.as_micros() / options.every.as_micros().max(1) + 4;
        // One attempt may wait while a worker comes back for it; more would come too late to tell
        // anything and are skipped.
        let (sender, receiver) = sync_channel::<()>(1);
        let receiver = Arc::new(Mutex::new(receiver));
        let mut threads = Vec::new();
        for _ in 0..workers {
            let (receiver, seen) = (Arc::clone(&receiver), Arc::clone(&seen));
            threads.push(ns.thread(move || work(&receiver, target, options.timeout, &seen))?);
        }
        threads.push(std::thread::spawn({
            let (ended, seen) = (Arc::clone(&ended), Arc::clone(&seen));
            move || {
                tick(&sender, options.every, &ended, &seen);
                Ok(())
            }
        }));
        Ok(Self {
            ended,
            seen,
            threads,
        })
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every answer since a moment.
    pub fn answers_since(&self, since: Instant) -> Vec<Answer> {
        let seen = self.seen();
        let first = seen.answers.partition_point(|answer| answer.at < since);
        seen.answers[first..].to_vec()
    }

    /// The longest time without an answer between two moments: between two answers one after the
    /// other, or between a moment's edge and the answer next to it. What was silent already at
    /// `from` counts from the last answer before it.
    pub fn longest_gap(&self, from: Instant, to: Instant) -> Duration {
        let seen = self.seen();
        let times: Vec<_> = seen.answers.iter().map(|answer| answer.at).collect();
        longest_gap(&times, from, to)
    }

    /// The server that answered last, and when.
    pub fn last(&self) -> Option<Answer> {
        self.seen().answers.last().cloned()
    }

    /// Attempts that failed so far, and why the last one did.
    pub fn failures(&self) -> (u64, Option<String>) {
        let seen = self.seen();
        (seen.failures, seen.last_failure.clone())
    }

    /// Of the failures, those of connections that were open when the address moved: another server, which does not
    /// know them, has reset them.
    pub fn cut_off(&self) -> u64 {
        self.seen().cut_off
    }

    /// Waits until `server` has answered `times` times in a row after `since`; returns when the
    /// first of them came.
    ///
    /// # Errors
    ///
    /// When that does not happen in time; the text says which server answered instead.
    #[track_caller]
    pub fn wait_served_by(
        &self,
        server: &str,
        since: Instant,
        times: usize,
        timeout: Duration,
    ) -> Result<Instant> {
        wait_for(&format!("answers from {server}"), timeout, || {
            let answers = self.answers_since(since);
            let run = answers.rsplit(|answer| answer.server != server).next();
            let run = run.unwrap_or_default();
            ensure!(
                run.len() >= times,
                "{} of {times} in a row; {}",
                run.len(),
                self.story()
            );
            Ok(Some(run[0].at))
        })
    }

    /// What came last.
    fn story(&self) -> String {
        let last = self.last().map(|it| (it.at.elapsed(), it.server));
        let (failures, why) = self.failures();
        format!("the last answer is {last:?}; {failures} attempts failed, the last by {why:?}")
    }

    /// Waits until answers have come for 300 ms without a pause of 100 ms or more, all
    /// after `since`; returns how long after `since` that began. Zero when they never paused.
    ///
    /// # Errors
    ///
    /// When that does not happen in time.
    #[track_caller]
    pub fn wait_steady(&self, since: Instant, timeout: Duration) -> Result<Duration> {
        let began = wait_for("steady answers", timeout, || {
            let now = Instant::now();
            let mut began = now;
            for answer in self.seen().answers.iter().rev() {
                if began.saturating_duration_since(answer.at) >= PAUSE || answer.at < since {
                    break;
                }
                began = answer.at;
            }
            let steady = now.saturating_duration_since(began.max(since));
            ensure!(steady >= STEADY, "for {steady:?}; {}", self.story());
            Ok(Some(began))
        })?;
        // The first attempt after `since` takes its time even when nothing is wrong.
        let took = began.saturating_duration_since(since);
        Ok(if took < PAUSE { Duration::ZERO } else { took })
    }

    /// Attempts that were not made because every worker hung or the machine was busy.
    pub fn skipped(&self) -> u64 {
        self.seen().skipped
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic in there was printed; there is nothing to add.
            let _ = thread.join();
        }
    }
}

fn tick(sender: &SyncSender<()>, every: Duration, ended: &AtomicBool, seen: &Mutex<Seen>) {
    let mut next = Instant::now();
    while !ended.load(Ordering::Relaxed) {
        match sender.try_send(()) {
            Ok(()) => {}
            Err(TrySendError::Full(())) => {
                seen.lock().unwrap_or_else(PoisonError::into_inner).skipped += 1;
            }
            Err(TrySendError::Disconnected(())) => return,
        }
        // After a pause of the machine the missed attempts are not made up for.
        next = (next + every).max(Instant::now());
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

fn work(
    receiver: &Mutex<Receiver<()>>,
    target: SocketAddrV6,
    timeout: Duration,
    seen: &Mutex<Seen>,
) {
    let told = || {
        receiver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv()
    };
    while told().is_ok() {
        let result = fetch(target, timeout);
        let at = Instant::now();
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(server) => {
                // Two workers may finish in one order and get here in the other.
                let at = seen.answers.last().map_or(at, |last| last.at.max(at));
                seen.answers.push(Answer { at, server });
            }
            Err(error) => {
                seen.failures += 1;
                let cut_off = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
                seen.cut_off += u64::from(cut_off.contains(&error.kind()));
                seen.last_failure = Some(error.to_string());
            }
        }
    }
}

fn longest_gap(times: &[Instant], from: Instant, to: Instant) -> Duration {
    let first = times.partition_point(|at| *at < from);
    let end = times.partition_point(|at| *at <= to);
    let before = first.checked_sub(1).map_or(from, |index| times[index]);
    let mut last = before;
    let mut longest = Duration::ZERO;
    for at in times[first..end].iter().copied().chain([to]) {
        longest = longest.max(at.saturating_duration_since(last));
        last = at;
    }
    longest
}

/// One fetch with its own patience, from inside a namespace.
///
/// # Errors
///
/// When there is no answer in time.
pub fn fetch_once(ns: &Namespace, address: Ipv6Addr, timeout: Duration) -> Result<String> {
    let target = SocketAddrV6::new(address, PORT, 0, 0);
    ns.enter(|| fetch(target, timeout))?
        .with_context(|| format!("no answer from http://[{address}]/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_measured_between_answers_and_at_the_edges() {
        let zero = Instant::now();
        let ms = Duration::from_millis;
        let times: Vec<_> = [0, 10, 20, 120, 130].map(|at| zero + ms(at)).into();
        let gap = |from, to| longest_gap(&times, zero + ms(from), zero + ms(to));
        assert_eq!(gap(0, 130), ms(100));
        // A cut in the middle of a silence counts from the last answer before it.
        assert_eq!(gap(60, 125), ms(100));
        assert_eq!(gap(0, 20), ms(10));
        // Silence that goes on to the end counts up to there.
        assert_eq!(gap(130, 500), ms(370));
        assert_eq!(longest_gap(&[], zero, zero + ms(7)), ms(7));
    }
}
