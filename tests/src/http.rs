//! A small HTTP/1.1 server that says its name, and a client that wants the answer soon.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use socket2::{Domain, Protocol, Socket, Type};

use crate::ns::Namespace;

/// Where the lab's servers listen.
pub(crate) const PORT: u16 = 80;
/// How long a server's thread may wait for a client; a lost one must not hold it for ever.
const SERVER_PATIENCE: Duration = Duration::from_secs(1);
/// The longest answer the client reads in bytes.
const LONGEST: usize = 4096;

/// A web server in a namespace; dropping it closes it.
#[derive(Debug)]
pub struct HttpServer {
    ended: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl HttpServer {
    /// Listens on `address`, which may not be there yet (as an anycast address before its service
    /// comes up), and answers every request with `name`.
    ///
    /// # Errors
    ///
    /// When the port is taken.
    pub fn start(ns: &Namespace, address: Ipv6Addr, name: &str) -> Result<Self> {
        let listener = ns
            .enter(|| listen(address))?
            .with_context(|| format!("cannot listen on [{address}]:{PORT} in {}", ns.name()))?;
        let ended = Arc::new(AtomicBool::new(false));
        let served = Arc::new(AtomicU64::new(0));
        let answer = format!(
            "HTTP/1.1 200 OK\r\nServer: l2ha-lab\r\nContent-Type: text/plain\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{name}\n",
            name.len() + 1
        );
        let thread = ns.thread({
            let (ended, served) = (Arc::clone(&ended), Arc::clone(&served));
            move || serve(&listener, &answer, &ended, &served)
        })?;
        Ok(Self {
            ended,
            served,
            thread: Some(thread),
        })
    }

    /// Requests answered so far.
    pub fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in there was printed; there is nothing to add.
            let _ = thread.join();
        }
    }
}

fn listen(address: Ipv6Addr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_freebind_v6(true)?;
    socket.bind(&SocketAddr::from((address, PORT)).into())?;
    socket.listen(256)?;
    let listener = TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn serve(listener: &TcpListener, answer: &str, ended: &AtomicBool, served: &AtomicU64) {
    use std::os::fd::AsFd as _;
    while !ended.load(Ordering::Relaxed) {
        let mut wait = [nix::poll::PollFd::new(
            listener.as_fd(),
            nix::poll::PollFlags::POLLIN,
        )];
        // Woken for nothing or by a signal: accept tells.
        let _ = nix::poll::poll(&mut wait, 50_u16);
        while let Ok((stream, _)) = listener.accept() {
            // A client that went silent in the middle delays no other: lab clients send their
            // request with the handshake's last segment or never.
            let answer = answer.to_owned();
            let handled = std::thread::Builder::new()
                .stack_size(64 * 1024)
                .spawn(move || reply(stream, &answer));
            if handled.is_ok() {
                served.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Reads one request's head and answers. A client that goes away in between is its own affair.
fn reply(mut stream: TcpStream, answer: &str) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(SERVER_PATIENCE))?;
    stream.set_write_timeout(Some(SERVER_PATIENCE))?;
    stream.set_nodelay(true)?;
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let length = stream.read(&mut buffer)?;
        if length == 0 || head.len() > LONGEST {
            return Ok(());
        }
        head.extend_from_slice(&buffer[..length]);
    }
    stream.write_all(answer.as_bytes())
}

/// Fetches `http://[address]/` and returns the body's first line, within `timeout` altogether.
///
/// # Errors
///
/// When that takes longer, the connection breaks, or the answer is not a complete 200.
pub fn fetch(address: SocketAddrV6, timeout: Duration) -> io::Result<String> {
    let until = Instant::now() + timeout;
    let left = || {
        until
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
            .ok_or_else(|| io::Error::from(io::ErrorKind::TimedOut))
    };
    let mut stream = TcpStream::connect_timeout(&address.into(), timeout)?;
    stream.set_write_timeout(Some(left()?))?;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: [{}]\r\nConnection: close\r\n\r\n",
        address.ip()
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        stream.set_read_timeout(Some(left()?))?;
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        answer.extend_from_slice(&buffer[..length]);
        if answer.len() > LONGEST {
            return Err(io::Error::other("the answer is too long"));
        }
    }
    body(&answer).ok_or_else(|| io::Error::other("not a complete HTTP answer"))
}

/// The first line of a complete answer with status 200.
fn body(answer: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let length: usize = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))?
        .parse()
        .ok()?;
    (head.starts_with("HTTP/1.1 200 ") && body.len() == length)
        .then(|| body.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::body;

    #[test]
    fn only_whole_answers_count() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc\n";
        assert_eq!(body(whole).as_deref(), Some("abc"));
        assert_eq!(body(&whole[..whole.len() - 1]), None);
        assert_eq!(
            body(b"HTTP/1.1 404 No\r\nContent-Length: 4\r\n\r\nabc\n"),
            None
        );
        assert_eq!(body(b""), None);
    }
}
