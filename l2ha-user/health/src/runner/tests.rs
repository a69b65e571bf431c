//! The thread with real sockets.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    thread,
};

use config::HttpCheck;

use super::*;

/// How long a change may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn check(kind: CheckKind) -> Check {
    Check {
        kind,
        interval: Duration::from_millis(50),
        timeout: Duration::from_millis(500),
        fall: 2,
        rise: 2,
    }
}

fn watched(name: &str, checks: &[Check]) -> Watched {
    Watched {
        name: name.to_owned(),
        checks: checks.to_vec(),
        passing: false,
    }
}

fn wait(health: &Health, what: &str, seen: impl Fn(&ServiceState) -> bool) -> ServiceState {
    let until = Instant::now() + PATIENCE;
    loop {
        let state = health.states().borrow().get("web").cloned();
        if let Some(state) = state.clone().filter(&seen) {
            return state;
        }
        assert!(Instant::now() < until, "{what}: {state:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A web server that answers every question with this status.
fn web(status: Arc<AtomicU16>, body: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = answer(stream.unwrap(), status.load(Ordering::Relaxed), body);
        }
    });
    address
}

fn answer(mut stream: TcpStream, status: u16, body: &str) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    assert!(head.starts_with("get /health?a=b http/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nhost: shop.example\r\n"), "{head}");
    write!(
        stream,
        "HTTP/1.1 {status} Whatever\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn http(target: SocketAddr, body: Option<&str>) -> CheckKind {
    CheckKind::Http(HttpCheck {
        url: "http://shop.example/health?a=b".to_owned(),
        tls: false,
        verify: true,
        target,
        host: "shop.example".to_owned(),
        authority: "shop.example".to_owned(),
        path: "/health?a=b".to_owned(),
        status: (200, 399),
        body: body.map(str::to_owned),
    })
}

#[test]
fn a_service_waits_passes_fails_and_passes_again() {
    let status = Arc::new(AtomicU16::new(503));
    let address = web(Arc::clone(&status), "all is fine");
    let health = Health::start(|| {}).unwrap();
    health.watch(vec![watched(
        "web",
        &[check(http(address, Some("is fine")))],
    )]);
    let state = wait(&health, "a first failure", |it| {
        it.failure
            .as_ref()
            .is_some_and(|it| it.reason.contains("503"))
    });
    assert_eq!(state.verdict, Verdict::Waiting);
    assert_eq!(
        state.failure.unwrap().reason,
        "GET http://shop.example/health?a=b status 503"
    );
    status.store(200, Ordering::Relaxed);
    wait(&health, "passing", |it| {
        it.verdict == Verdict::Passing && it.failure.is_none()
    });
    status.store(500, Ordering::Relaxed);
    let failed = wait(&health, "failed", |it| it.verdict == Verdict::Failed);
    // The same check goes on in its state, another one begins in that of the service.
    health.watch(vec![watched(
        "web",
        &[
            check(http(address, Some("is fine"))),
            check(CheckKind::Tcp(address)),
        ],
    )]);
    let both = wait(&health, "two checks", |it| {
        it.failure.as_ref().is_some_and(|it| it.checks == 2)
    });
    assert_eq!((both.verdict, both.since), (Verdict::Failed, failed.since));
    status.store(200, Ordering::Relaxed);
    wait(&health, "passing again", |it| {
        it.verdict == Verdict::Passing
    });
    // A check that is wrong from the start does not take what it has passed before at once.
    health.watch(vec![watched(
        "web",
        &[check(http(address, Some("not there")))],
    )]);
    let wrong = wait(&health, "a wrong check", |it| it.verdict == Verdict::Failed);
    assert!(
        wrong
            .failure
            .unwrap()
            .reason
            .ends_with("`not there` is not in the answer")
    );
    health.watch(Vec::new());
    let until = Instant::now() + PATIENCE;
    while !health.states().borrow().is_empty() {
        assert!(Instant::now() < until);
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_closed_listener_is_noticed_between_two_attempts() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let rare = Check {
        interval: Duration::from_secs(3600),
        rise: 1,
        fall: 5,
        ..check(CheckKind::Tcp(address))
    };
    let health = Health::start(|| {}).unwrap();
    health.watch(vec![watched("web", &[rare])]);
    wait(&health, "passing", |it| it.verdict == Verdict::Passing);
    drop(listener);
    let gone = wait(&health, "failed", |it| it.verdict == Verdict::Failed);
    assert_eq!(
        gone.failure.unwrap().reason,
        format!("TCP {address} nothing listens there")
    );
}

#[test]
fn a_server_that_hangs_is_noticed_by_the_timeout() {
    // It takes connections, and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let health = Health::start(|| {}).unwrap();
    let hangs = Watched {
        passing: true,
        ..watched(
            "web",
            &[Check {
                timeout: Duration::from_millis(50),
                ..check(http(address, None))
            }],
        )
    };
    health.watch(vec![hangs]);
    wait(&health, "taken to pass", |it| {
        it.verdict == Verdict::Passing
    });
    let hung = wait(&health, "failed", |it| it.verdict == Verdict::Failed);
    assert_eq!(
        hung.failure.unwrap().reason,
        "GET http://shop.example/health?a=b no answer within 50 ms"
    );
}
