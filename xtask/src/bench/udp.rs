//! Small packets one way, and there and back.

use std::{
    fs, io,
    net::{SocketAddr, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};

use super::pair::Pair;

/// What is sent: with the headers, an Ethernet frame of the least length.
const SMALL: usize = 18;
/// Request and response.
const QUESTION: usize = 64;
/// Where small packets go to.
pub(super) const SINK: u16 = 9;
/// Where injected ones come from.
pub(super) const SOURCE: u16 = 4000;

/// Measures times of requests, in microseconds.
type RoundTrips = fn(&Pair, Duration) -> Result<Vec<f64>>;

/// The cases: name, and how it is measured.
pub(super) const ROUND_TRIPS: [(&str, RoundTrips); 2] =
    [("rr", round_trips), ("rr-one-core", round_trips_on_one)];

/// Times of requests answered one after the other for a while, in microseconds. Who asks and who answers
/// have a core each, as two machines would, if there are two.
pub(super) fn round_trips(pair: &Pair, time: Duration) -> Result<Vec<f64>> {
    let cores = l2ha_lab::cores()?;
    let (last, first) = (*cores.last().context("no core")?, cores[0]);
    round_trips_on(pair, time, [last, first])
}

/// The same with both on one core: what it costs, without what it takes to wake another core.
fn round_trips_on_one(pair: &Pair, time: Duration) -> Result<Vec<f64>> {
    let last = *l2ha_lab::cores()?.last().context("no core")?;
    round_trips_on(pair, time, [last; 2])
}

fn round_trips_on(pair: &Pair, time: Duration, [asks, answers]: [usize; 2]) -> Result<Vec<f64>> {
    const LOST: Duration = Duration::from_millis(200);
    let [a, b] = &pair.hosts;
    let (here, there) = (pair.address(0), pair.address(1));
    let server = b.ns.enter(|| UdpSocket::bind((there, 0)))??;
    server.set_read_timeout(Some(Duration::from_millis(50)))?;
    let client = a.ns.enter(|| UdpSocket::bind((here, 0)))??;
    client.connect(server.local_addr()?)?;
    client.set_read_timeout(Some(LOST))?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            // Where it cannot be had, the one who asks says so.
            let _ = l2ha_lab::stay_on(answers);
            let mut buffer = [0; QUESTION];
            while !stop.load(Ordering::Relaxed) {
                if let Ok((length, from)) = server.recv_from(&mut buffer) {
                    // A lost answer is seen by who asked.
                    let _ = server.send_to(&buffer[..length], from);
                }
            }
        });
        let asker = scope.spawn(|| {
            l2ha_lab::stay_on(asks)?;
            ask(&client, time)
        });
        let result = asker.join().map_err(|_| anyhow!("panicked"))?;
        stop.store(true, Ordering::Relaxed);
        result
    })
}

fn ask(client: &UdpSocket, time: Duration) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    let mut lost = 0;
    let mut question = [0; QUESTION];
    let mut answer = [0; QUESTION];
    let start = Instant::now();
    let mut number = 0_u64;
    while start.elapsed() < time {
        number += 1;
        question[..8].copy_from_slice(&number.to_ne_bytes());
        let asked = Instant::now();
        client.send(&question)?;
        // An answer that was given up on may still come.
        let answered = loop {
            match client.recv(&mut answer) {
                Ok(_) if answer == question => break true,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break false,
                Err(error) => return Err(error.into()),
            }
        };
        if answered {
            times.push(asked.elapsed().as_secs_f64() * 1e6);
        } else {
            lost += 1;
        }
    }
    ensure!(!times.is_empty(), "no request was answered");
    ensure!(
        lost * 100 <= times.len(),
        "{lost} requests of {} were not answered",
        times.len() + lost
    );
    Ok(times)
}

/// A socket that nobody reads: what does not fit is counted and dropped, which costs the receiver
/// least and shows what has reached it.
pub(super) struct Sink<'a> {
    pair: &'a Pair,
    _socket: UdpSocket,
}

impl<'a> Sink<'a> {
    /// Opens it on a port of the pair's second host, for what this port of the first one sends. Connected, so
    /// that its route is looked up once and not for each packet.
    pub(super) fn open(pair: &'a Pair, from: u16, to: u16) -> Result<Self> {
        let address = SocketAddr::new(pair.address(1), to);
        let socket = pair.hosts[1].ns.enter(|| -> Result<UdpSocket> {
            let socket = UdpSocket::bind(address)?;
            socket.connect((pair.address(0), from))?;
            nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::RcvBuf, &0)?;
            Ok(socket)
        })??;
        Ok(Self {
            pair,
            _socket: socket,
        })
    }

    /// How many have come since the host exists: those dropped at the full socket.
    pub(super) fn count(&self) -> Result<u64> {
        // /proc/net is the main thread's.
        let text = self.pair.hosts[1]
            .ns
            .enter(|| fs::read_to_string("/proc/thread-self/net/snmp"))??;
        column(&text, "Udp:", "RcvbufErrors")
    }
}

/// A counter of /proc/net/snmp, which has a line of names and a line of numbers.
fn column(text: &str, table: &str, name: &str) -> Result<u64> {
    let mut lines = text.lines().filter(|line| line.starts_with(table));
    let (names, numbers) = lines.next().zip(lines.next()).context("no such table")?;
    let at = names
        .split_whitespace()
        .position(|word| word == name)
        .with_context(|| format!("no counter {name}"))?;
    let number = numbers.split_whitespace().nth(at).context("no number")?;
    Ok(number.parse()?)
}

/// Sends small packets for a while from one thread; returns how many came and the seconds it took.
pub(super) fn blast(pair: &Pair, time: Duration) -> Result<(u64, f64)> {
    let client = pair.hosts[0]
        .ns
        .enter(|| UdpSocket::bind((pair.address(0), 0)))??;
    client.connect((pair.address(1), SINK))?;
    let sink = Sink::open(pair, client.local_addr()?.port(), SINK)?;
    let message = [0; SMALL];
    let before = sink.count()?;
    let start = Instant::now();
    while start.elapsed() < time {
        for _ in 0..64 {
            // A full queue is part of what is measured.
            let _ = client.send(&message);
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    thread::sleep(Duration::from_millis(5));
    let count = sink.count()? - before;
    ensure!(count > 0, "no packet came");
    Ok((count, seconds))
}

#[cfg(test)]
mod tests {
    use super::column;

    #[test]
    fn a_counter_is_found_by_its_name() {
        let text =
            "Ip: A\nIp: 1\nUdp: InDatagrams RcvbufErrors\nUdp: 5 7\nUdpLite: A\nUdpLite: 0\n";
        assert_eq!(column(text, "Udp:", "RcvbufErrors").ok(), Some(7));
        assert!(column(text, "Udp:", "Nothing").is_err());
        assert!(column(text, "Tcp:", "A").is_err());
    }
}
