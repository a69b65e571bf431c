//! A stream of numbered packets at a steady rate, by which a single one lost or overtaken is seen.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::socket::{
    setsockopt,
    sockopt::{RcvBufForce, UdpGsoSegment},
};

use crate::{cores::stay_on_last_core, ns::Namespace};

/// Room for what arrives while the receiving thread does not run, in bytes.
const BUFFER: usize = 256 << 20;
/// Bytes of a packet: its number.
const NUMBER: usize = 8;
/// As many packets as the kernel takes at once (`UDP_MAX_SEGMENTS` of Linux 6.1); it sends them as one
/// super-packet.
const AT_ONCE: u64 = 64;
/// How much too long a sleep may be.
const DOZE: Duration = Duration::from_micros(200);
/// How long the last packets may take.
const LAST: Duration = Duration::from_millis(500);

/// A running stream.
#[derive(Debug)]
pub struct Stream {
    stop: Arc<AtomicBool>,
    sender: Option<JoinHandle<Result<u64>>>,
    listener: Listener,
    started: Instant,
}

/// Counts the numbered packets that arrive.
#[derive(Debug)]
pub struct Listener {
    target: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Seen>>>,
}

/// What became of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Packets sent.
    pub sent: u64,
    /// Packets that arrived.
    pub received: u64,
    /// Packets that arrived behind one sent later, or twice.
    pub reordered: u64,
    /// Packets a second, as sent.
    pub rate: u64,
}

impl Seen {
    /// Packets that never arrived.
    pub const fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.received)
    }

    /// Whether every packet arrived, in its order.
    pub const fn is_whole(&self) -> bool {
        self.lost() == 0 && self.reordered == 0
    }
}

impl Stream {
    /// Starts sending `rate` packets a second to an address of the other namespace.
    ///
    /// # Errors
    ///
    /// When a socket cannot be had.
    pub fn start(from: &Namespace, to: &Namespace, address: IpAddr, rate: u64) -> Result<Self> {
        ensure!(rate > 0, "a stream without packets");
        let listener = Listener::start(to, address)?;
        let any = match address {
            IpAddr::V4(_) => "0.0.0.0:0",
            IpAddr::V6(_) => "[::]:0",
        };
        let sender = from.enter(|| UdpSocket::bind(any))??;
        sender.connect(listener.target())?;
        setsockopt(&sender, UdpGsoSegment, &(NUMBER as i32)).context("no super-packets")?;
        let stop = Arc::new(AtomicBool::new(false));
        let sender = {
            let stop = Arc::clone(&stop);
            thread::spawn(move || send(&sender, rate, &stop))
        };
        Ok(Self {
            stop,
            sender: Some(sender),
            listener,
            started: Instant::now(),
        })
    }

    /// Ends the stream and says what became of it.
    ///
    /// # Errors
    ///
    /// When a packet could not be sent or received.
    pub fn finish(mut self) -> Result<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        let lasted = self.started.elapsed();
        let sent = join(self.sender.take().context("no sender")?)?;
        let seen = self.listener.stop()?;
        let rate = u128::from(sent) * 1000 / lasted.as_millis().max(1);
        Ok(Seen {
            sent,
            rate: rate.try_into()?,
            ..seen
        })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Listener {
    /// Listens on a port of an address, in its namespace.
    ///
    /// # Errors
    ///
    /// When a socket cannot be had.
    pub fn start(at: &Namespace, address: IpAddr) -> Result<Self> {
        let socket = at.enter(|| UdpSocket::bind(SocketAddr::new(address, 0)))??;
        setsockopt(&socket, RcvBufForce, &BUFFER).context("no room for what arrives")?;
        socket.set_read_timeout(Some(LAST))?;
        let target = socket.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let stop = Arc::clone(&stop);
            thread::spawn(move || receive(&socket, &stop))
        };
        Ok(Self {
            target,
            stop,
            thread: Some(thread),
        })
    }

    /// Where packets have to go.
    pub const fn target(&self) -> SocketAddr {
        self.target
    }

    /// Waits for the last packets and says what came; how much was sent is not known here.
    ///
    /// # Errors
    ///
    /// When a packet could not be received.
    pub fn stop(&mut self) -> Result<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        join(self.thread.take().context("no listener")?)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn join<T>(thread: JoinHandle<Result<T>>) -> Result<T> {
    thread
        .join()
        .map_err(|_| anyhow::anyhow!("a thread of the stream panicked"))?
}

/// Sends super-packets at even distances. One that is late moves those after it: to catch up would overflow
/// the queues on the way. On one processor all the time: of packets sent on two, the later ones may
/// overtake.
fn send(socket: &UdpSocket, rate: u64, stop: &AtomicBool) -> Result<u64> {
    stay_on_last_core()?;
    let distance = Duration::from_secs(AT_ONCE) / u32::try_from(rate)?;
    let mut due = Instant::now();
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        let numbers: Vec<u8> = (sent..sent + AT_ONCE).flat_map(u64::to_be_bytes).collect();
        socket
            .send(&numbers)
            .with_context(|| format!("packet {sent} was not sent"))?;
        sent += AT_ONCE;
        due = Instant::now().max(due + distance);
        loop {
            match due.saturating_duration_since(Instant::now()) {
                Duration::ZERO => break,
                long if long > DOZE => thread::sleep(long - DOZE),
                _ => std::hint::spin_loop(),
            }
        }
    }
    Ok(sent)
}

fn receive(socket: &UdpSocket, stop: &AtomicBool) -> Result<Seen> {
    let mut seen = Seen {
        sent: 0,
        received: 0,
        reordered: 0,
        rate: 0,
    };
    let mut next = 0;
    let mut packet = [0; NUMBER];
    loop {
        match socket.recv(&mut packet) {
            Ok(NUMBER) => {}
            Ok(length) => anyhow::bail!("a packet of {length} bytes"),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if stop.load(Ordering::Relaxed) {
                    return Ok(seen);
                }
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        let number = u64::from_be_bytes(packet);
        seen.received += 1;
        if number < next {
            seen.reordered += 1;
        }
        next = next.max(number + 1);
    }
}
