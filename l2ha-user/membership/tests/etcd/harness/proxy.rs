//! A TCP proxy: what is between a node and etcd, or between etcd's members, and can be cut.

use std::{
    io::{ErrorKind, Read, Write as _},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use super::etcd::free_port;

/// What etcd's members say in each request to each other (`server/etcdserver/api/rafthttp`).
const FROM: &str = "x-server-from: ";

#[derive(Default)]
struct State {
    ended: AtomicBool,
    cut: AtomicBool,
    accepted: AtomicUsize,
    /// Whose connections are cut, as they say themselves.
    cut_from: Mutex<Option<String>>,
    /// Both ends of each connection, and who has made it, where that is known.
    open: Mutex<Vec<(Option<String>, TcpStream, TcpStream)>>,
}

/// A proxy; ends when it is dropped.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    state: Arc<State>,
}

impl Proxy {
    /// Of clients: it carries whatever comes.
    pub(crate) fn to(port: u16) -> Self {
        Self::start(free_port(), port, false)
    }

    /// Of etcd's members: it reads who they are.
    pub(crate) fn between_members(port: u16, to: u16) -> Self {
        Self::start(port, to, true)
    }

    fn start(port: u16, to: u16, members: bool) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.ended.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                shared.accepted.fetch_add(1, Ordering::SeqCst);
                if shared.cut.load(Ordering::SeqCst) {
                    continue;
                }
                let shared = Arc::clone(&shared);
                thread::spawn(move || carry(&shared, stream, to, members));
            }
        });
        Self { port, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How many connections were made.
    pub(crate) fn accepted(&self) -> usize {
        self.state.accepted.load(Ordering::SeqCst)
    }

    /// Ends all connections, and each further one as it comes.
    pub(crate) fn cut(&self) {
        self.state.cut.store(true, Ordering::SeqCst);
        self.end(|_| true);
    }

    pub(crate) fn mend(&self) {
        self.state.cut.store(false, Ordering::SeqCst);
        *self.state.cut_from.lock().unwrap() = None;
        // What was held back is lost.
        self.end(|_| true);
    }

    /// Ends what this member has made, and whatever it tries.
    pub(crate) fn cut_from(&self, member: &str) {
        *self.state.cut_from.lock().unwrap() = Some(member.to_owned());
        self.end(|from| from.is_none_or(|from| from == member));
    }

    fn end(&self, whom: impl Fn(Option<&str>) -> bool) {
        let mut open = self.state.open.lock().unwrap();
        open.retain(|(from, one, other)| {
            let end = whom(from.as_deref());
            if end {
                let _ = one.shutdown(Shutdown::Both);
                let _ = other.shutdown(Shutdown::Both);
            }
            !end
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        self.end(|_| true);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

fn carry(state: &Arc<State>, mut near: TcpStream, to: u16, members: bool) {
    let mut head = Vec::new();
    let mut from = None;
    if members {
        let mut bytes = [0; 1024];
        while !head.windows(4).any(|it| it == b"\r\n\r\n") {
            match near.read(&mut bytes) {
                Ok(0) | Err(_) => return,
                Ok(count) => head.extend_from_slice(&bytes[..count]),
            }
        }
        let text = String::from_utf8_lossy(&head).to_lowercase();
        from = text
            .lines()
            .find_map(|line| Some(line.strip_prefix(FROM)?.trim().to_owned()));
    }
    let Ok(mut far) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)) else {
        return;
    };
    let (Ok(one), Ok(other)) = (near.try_clone(), far.try_clone()) else {
        return;
    };
    {
        let mut open = state.open.lock().unwrap();
        let cut_from = state.cut_from.lock().unwrap();
        if state.cut.load(Ordering::SeqCst) || from.is_some() && *cut_from == from {
            return;
        }
        open.push((from, one, other));
    }
    if far.write_all(&head).is_err() {
        return;
    }
    let (Ok(near_too), Ok(far_too)) = (near.try_clone(), far.try_clone()) else {
        return;
    };
    let shared = Arc::clone(state);
    thread::spawn(move || copy(&shared, far_too, near_too));
    copy(state, near, far);
}

fn copy(state: &State, mut from: TcpStream, mut to: TcpStream) {
    let _ = from.set_read_timeout(Some(Duration::from_millis(200)));
    let mut bytes = [0; 16 << 10];
    while !state.ended.load(Ordering::SeqCst) {
        match from.read(&mut bytes) {
            Ok(0) => break,
            Ok(count) => {
                if to.write_all(&bytes[..count]).is_err() {
                    break;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
