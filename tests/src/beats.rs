//! A question to the anycast address every millisecond, answered by the name of the server: the
//! finest gap that can be seen without disturbing what is looked at.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    os::fd::AsFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{lab::wait_for, ns::Namespace};

/// Where the servers listen: echo.
const PORT: u16 = 7;
/// Time between two questions.
const EVERY: Duration = Duration::from_millis(1);
/// How long a socket waits before it looks whether all is over.
const LOOK: Duration = Duration::from_millis(50);

/// Answers questions in a namespace; dropping it ends that.
#[derive(Debug)]
pub struct Echo {
    ended: Arc<AtomicBool>,
    refused: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Echo {
    /// Answers at an address, which may not be there yet, with `name`.
    ///
    /// # Errors
    ///
    /// When the port is taken.
    pub fn start(ns: &Namespace, address: impl Into<IpAddr>, name: &str) -> Result<Self> {
        let address = address.into();
        let socket = ns.enter(|| listen(address))?.context("cannot listen")?;
        let ended = Arc::new(AtomicBool::new(false));
        let refused = Arc::new(AtomicU64::new(0));
        let name = name.to_owned();
        let thread = ns.thread({
            let (ended, refused) = (Arc::clone(&ended), Arc::clone(&refused));
            move || {
                let mut question = [0; 8];
                let mut answer = Vec::new();
                while !ended.load(Ordering::Relaxed) {
                    if let Ok((8, from)) = socket.recv_from(&mut question) {
                        answer.clear();
                        answer.extend(question);
                        answer.extend(name.as_bytes());
                        // The way back may be gone.
                        if socket.send_to(&answer, from).is_err() {
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            }
        })?;
        Ok(Self {
            ended,
            refused,
            thread: Some(thread),
        })
    }

    /// Answers that the kernel did not send, because it had no route for them.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in there was printed.
            let _ = thread.join();
        }
    }
}

/// Room for seconds of questions or answers: on a busy machine the threads here may wait for the processor,
/// and what is lost in front of them was not lost on the way.
fn make_room(socket: &impl AsFd) -> io::Result<()> {
    Ok(setsockopt(socket, RcvBufForce, &(8 << 20))?)
}

fn listen(address: IpAddr) -> io::Result<UdpSocket> {
    let address = SocketAddr::new(address, PORT);
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    match domain {
        Domain::IPV4 => socket.set_freebind_v4(true)?,
        _ => socket.set_freebind_v6(true)?,
    }
    socket.set_read_timeout(Some(LOOK))?;
    make_room(&socket)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// One question.
#[derive(Debug, Clone)]
struct Beat {
    asked: Instant,
    /// When the answer came, and from which server.
    answer: Option<(Instant, String)>,
}

/// A client that asks every millisecond; dropping it ends that.
#[derive(Debug)]
pub struct Beats {
    ended: Arc<AtomicBool>,
    beats: Arc<Mutex<Vec<Beat>>>,
    threads: Vec<JoinHandle<Result<()>>>,
}

/// What a change cost.
#[derive(Debug, Clone, Copy)]
pub struct Gap {
    /// The longest time between two answers.
    pub longest: Duration,
    /// Questions that were never answered.
    pub lost: u64,
}

impl Beats {
    /// Starts to ask `address` from a namespace.
    ///
    /// # Errors
    ///
    /// When there can be no socket.
    pub fn start(ns: &Namespace, address: impl Into<IpAddr>) -> Result<Self> {
        let target = SocketAddr::new(address.into(), PORT);
        let any = match target {
            SocketAddr::V4(_) => "0.0.0.0:0",
            SocketAddr::V6(_) => "[::]:0",
        };
        let socket = ns.enter(|| -> io::Result<_> {
            let socket = UdpSocket::bind(any)?;
            socket.set_read_timeout(Some(LOOK))?;
            make_room(&socket)?;
            Ok(socket)
        })??;
        let ended = Arc::new(AtomicBool::new(false));
        let beats: Arc<Mutex<Vec<Beat>>> = Arc::default();
        let ask = {
            let (ended, beats, socket) =
                (Arc::clone(&ended), Arc::clone(&beats), socket.try_clone()?);
            ns.thread(move || {
                let mut next = Instant::now();
                while !ended.load(Ordering::Relaxed) {
                    let number = {
                        let mut beats = beats.lock().unwrap_or_else(PoisonError::into_inner);
                        beats.push(Beat {
                            asked: Instant::now(),
                            answer: None,
                        });
                        beats.len() as u64 - 1
                    };
                    // Without a route there is an error at once: as lost as on the way.
                    let _ = socket.send_to(&number.to_be_bytes(), target);
                    next = (next + EVERY).max(Instant::now());
                    std::thread::sleep(next.saturating_duration_since(Instant::now()));
                }
            })?
        };
        let hear = {
            let (ended, beats) = (Arc::clone(&ended), Arc::clone(&beats));
            ns.thread(move || {
                let mut answer = [0; 64];
                while !ended.load(Ordering::Relaxed) {
                    let Ok(length) = socket.recv(&mut answer) else {
                        continue;
                    };
                    let now = Instant::now();
                    let Some((number, name)) = answer[..length].split_first_chunk() else {
                        continue;
                    };
                    let name = String::from_utf8_lossy(name).into_owned();
                    let mut beats = beats.lock().unwrap_or_else(PoisonError::into_inner);
                    let number = usize::try_from(u64::from_be_bytes(*number)).unwrap_or(usize::MAX);
                    if let Some(beat) = beats.get_mut(number) {
                        beat.answer = Some((now, name));
                    }
                }
            })?
        };
        Ok(Self {
            ended,
            beats,
            threads: vec![ask, hear],
        })
    }

    fn since(&self, from: Instant) -> Vec<Beat> {
        let beats = self.beats.lock().unwrap_or_else(PoisonError::into_inner);
        let first = beats.partition_point(|beat| beat.asked < from);
        beats[first.saturating_sub(20)..].to_vec()
    }

    /// Waits until `server` has answered `times` questions in a row that were asked after `since`.
    ///
    /// # Errors
    ///
    /// When it does not in time.
    #[track_caller]
    pub fn wait_served_by(
        &self,
        server: &str,
        since: Instant,
        times: usize,
        timeout: Duration,
    ) -> Result<()> {
        wait_for(&format!("answers from {server}"), timeout, || {
            let beats = self.since(since);
            let asked = beats.iter().rev().filter(|beat| beat.asked >= since);
            let answers = asked.filter_map(|beat| beat.answer.as_ref());
            let run = answers.clone().take_while(|(_, name)| name == server);
            let (run, last) = (run.count(), answers.clone().next());
            ensure!(
                run >= times,
                "{run} of {times} in a row; of {} answers the last is {:?}",
                answers.count(),
                last.map(|(at, name)| (name, at.elapsed()))
            );
            Ok(Some(()))
        })
    }

    /// The servers that have answered the questions asked since a moment.
    pub fn answered_by(&self, from: Instant) -> BTreeSet<String> {
        let beats = self.since(from).into_iter();
        let beats = beats.filter(|beat| beat.asked >= from);
        beats.filter_map(|beat| Some(beat.answer?.1)).collect()
    }

    /// What the time from `from` to `to` cost; ask a moment after `to`, when all answers have come.
    pub fn gap(&self, from: Instant, to: Instant) -> Gap {
        let beats: Vec<Beat> = self
            .since(from)
            .into_iter()
            .filter(|beat| beat.asked < to)
            .collect();
        let mut answers: Vec<Instant> = beats
            .iter()
            .filter_map(|beat| Some(beat.answer.as_ref()?.0))
            .collect();
        answers.sort_unstable();
        let longest = answers
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .max()
            .unwrap_or(to - from);
        let lost = beats
            .iter()
            .filter(|beat| beat.asked >= from && beat.answer.is_none())
            .count();
        Gap {
            longest,
            lost: lost as u64,
        }
    }
}

impl Drop for Beats {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic in there was printed.
            let _ = thread.join();
        }
    }
}
