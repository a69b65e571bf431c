//! One member of etcd, a process of its own with a data folder of its own, on loopback.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use etcd_client::{Client, PutOptions, Txn, TxnOp};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use super::wait_for;

/// Where ports are looked for: below those that the kernel gives to connections.
const PORTS: std::ops::Range<u16> = 18_000..32_000;
/// How long etcd may take to answer, on a host that has other work.
const PATIENCE: Duration = Duration::from_secs(60);
/// Most operations of one transaction that etcd takes.
const MOST_OPERATIONS: usize = 100;

/// A port of the loopback that nobody has.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let span = PORTS.end - PORTS.start;
    // Tests are processes that run beside each other.
    let first = (std::process::id() % u32::from(span)) as u16;
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + (first.wrapping_mul(7).wrapping_add(next)) % span;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// What is said to etcd beside ports and folder.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// Further arguments.
    pub(crate) arguments: Vec<String>,
    /// Whether clients speak TLS.
    pub(crate) tls: bool,
    /// What `etcdctl` is called with, to reach it.
    pub(crate) ctl: Vec<String>,
}

/// Where a member is found.
#[derive(Clone, Debug)]
pub(crate) struct Ports {
    pub(crate) client: u16,
    pub(crate) peer: u16,
    metrics: u16,
}

impl Ports {
    pub(crate) fn new() -> Self {
        Self {
            client: free_port(),
            peer: free_port(),
            metrics: free_port(),
        }
    }
}

/// A member of etcd; ends when it is dropped, or the test's thread does.
pub(crate) struct Etcd {
    name: String,
    folder: TempDir,
    /// Counts data folders: a restored one is another one.
    generation: u32,
    pub(crate) ports: Ports,
    options: Options,
    /// NAME=URL of all members, and this one's own URL.
    cluster: (String, String),
    child: Option<Child>,
}

impl Etcd {
    /// A cluster of one.
    pub(crate) fn start() -> Self {
        Self::start_with(Options::default())
    }

    pub(crate) fn start_with(options: Options) -> Self {
        let ports = Ports::new();
        let url = format!("http://127.0.0.1:{}", ports.peer);
        let mut etcd = Self::member("one", ports, (format!("one={url}"), url), options);
        etcd.run();
        etcd
    }

    /// One of several, which does not run yet.
    pub(crate) fn member(
        name: &str,
        ports: Ports,
        cluster: (String, String),
        options: Options,
    ) -> Self {
        Self {
            name: name.to_owned(),
            folder: TempDir::new().unwrap(),
            generation: 0,
            ports,
            options,
            cluster,
            child: None,
        }
    }

    /// Starts the process, and waits until it answers.
    pub(crate) fn run(&mut self) {
        self.spawn();
        self.wait_until_healthy();
    }

    pub(crate) fn spawn(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let log = File::create(self.log()).unwrap();
        let scheme = if self.options.tls { "https" } else { "http" };
        let client = format!("{scheme}://127.0.0.1:{}", self.ports.client);
        // It must not outlive a test that is killed.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--", "etcd", "--name", &self.name])
            .arg("--data-dir")
            .arg(self.data())
            .args(["--listen-client-urls", &client])
            .args(["--advertise-client-urls", &client])
            .arg("--listen-peer-urls")
            .arg(format!("http://127.0.0.1:{}", self.ports.peer))
            .args(["--initial-advertise-peer-urls", &self.cluster.1])
            .args(["--initial-cluster", &self.cluster.0])
            .arg("--listen-metrics-urls")
            .arg(format!("http://127.0.0.1:{}", self.ports.metrics))
            .args(&self.options.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.child = Some(
            command
                .spawn()
                .expect("setpriv(1): apt-get install util-linux"),
        );
    }

    pub(crate) fn wait_until_healthy(&mut self) {
        let (port, log) = (self.ports.metrics, self.log());
        let child = self.child.as_mut().expect("it does not run");
        wait_for("etcd to answer", PATIENCE, || {
            if let Some(status) = child.try_wait().unwrap() {
                let said = fs::read_to_string(&log).unwrap_or_default();
                let hint = match status.code() {
                    Some(126 | 127) => {
                        "is etcd installed? apt-get install etcd-server etcd-client\n"
                    }
                    _ => "",
                };
                panic!("etcd has ended with {status}\n{hint}{said}");
            }
            is_healthy(port).then_some(())
        });
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join(format!("data-{}", self.generation))
    }

    /// A file of that name in this member's folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.options.tls { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.ports.client)
    }

    /// What `etcdctl` is called with from now on.
    pub(crate) fn set_ctl(&mut self, arguments: &[&str]) {
        self.options.ctl = arguments.iter().map(|it| (*it).to_owned()).collect();
    }

    /// What etcd is started with the next time.
    pub(crate) fn set_arguments(&mut self, arguments: &[&str]) {
        self.options.arguments = arguments.iter().map(|it| (*it).to_owned()).collect();
    }

    /// Calls `etcdctl`, and returns what it prints.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> String {
        self.try_ctl(arguments)
            .unwrap_or_else(|why| panic!("{why}"))
    }

    pub(crate) fn try_ctl(&self, arguments: &[&str]) -> Result<String, String> {
        let done = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.url()])
            .args(&self.options.ctl)
            .args(arguments)
            .output()
            .expect("etcdctl: apt-get install etcd-client");
        let printed = String::from_utf8_lossy(&done.stdout).into_owned();
        match done.status.success() {
            true => Ok(printed),
            false => Err(format!(
                "etcdctl {arguments:?}: {}: {printed}{}",
                done.status,
                String::from_utf8_lossy(&done.stderr)
            )),
        }
    }

    /// The values of all keys below a prefix.
    pub(crate) fn keys(&self, prefix: &str) -> BTreeMap<String, String> {
        let printed = self.ctl(&["get", "--prefix", prefix]);
        let mut lines = printed.lines();
        let mut keys = BTreeMap::new();
        while let (Some(key), Some(value)) = (lines.next(), lines.next()) {
            keys.insert(key.to_owned(), value.to_owned());
        }
        keys
    }

    /// The newest revision.
    pub(crate) fn revision(&self) -> i64 {
        let printed = self.ctl(&["get", "none", "-w", "fields"]);
        let line = printed
            .lines()
            .find_map(|line| line.strip_prefix("\"Revision\" : "));
        line.unwrap_or_else(|| panic!("{printed}")).parse().unwrap()
    }

    /// Writes keys, many at a time.
    pub(crate) fn put_all(&self, pairs: &[(String, Vec<u8>)], lease: Option<Duration>) {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        runtime.block_on(async {
            let mut client = Client::connect([self.url()], None).await.unwrap();
            let mut options = PutOptions::new();
            if let Some(lease) = lease {
                let lease = client.lease_grant(lease.as_secs() as i64, None).await;
                options = options.with_lease(lease.unwrap().id());
            }
            let mut at = 0;
            while at < pairs.len() {
                let mut operations = Vec::new();
                let mut bytes = 0;
                while let Some((key, value)) = pairs.get(at)
                    && operations.len() < MOST_OPERATIONS
                    && (operations.is_empty() || bytes + value.len() < 1 << 20)
                {
                    bytes += value.len();
                    operations.push(TxnOp::put(
                        key.as_str(),
                        value.clone(),
                        Some(options.clone()),
                    ));
                    at += 1;
                }
                client.txn(Txn::new().and_then(operations)).await.unwrap();
            }
        });
    }

    /// Ends it as its service would.
    pub(crate) fn stop(&mut self) {
        let mut child = self.child.take().expect("it does not run");
        signal(&child, Signal::SIGTERM);
        child.wait().unwrap();
    }

    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it does not run");
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "it had ended before: {status}");
    }

    /// It hangs.
    pub(crate) fn pause(&self) {
        signal(
            self.child.as_ref().expect("it does not run"),
            Signal::SIGSTOP,
        );
    }

    pub(crate) fn resume(&self) {
        signal(
            self.child.as_ref().expect("it does not run"),
            Signal::SIGCONT,
        );
    }

    /// Saves all that it has.
    pub(crate) fn backup(&self, name: &str) -> PathBuf {
        let file = self.file(name);
        self.ctl(&["snapshot", "save", file.to_str().unwrap()]);
        file
    }

    /// Starts it with a backup in place of what it has.
    pub(crate) fn restore(&mut self, backup: &Path) {
        self.kill();
        self.generation += 1;
        let data = self.data();
        self.ctl(&[
            "snapshot",
            "restore",
            backup.to_str().unwrap(),
            "--name",
            &self.name,
            "--initial-cluster",
            &self.cluster.0,
            "--initial-advertise-peer-urls",
            &self.cluster.1,
            "--data-dir",
            data.to_str().unwrap(),
        ]);
        self.run();
    }

    /// Starts it with nothing.
    pub(crate) fn wipe(&mut self, token: &str) {
        self.kill();
        self.generation += 1;
        self.set_arguments(&["--initial-cluster-token", token]);
        self.run();
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let said = fs::read_to_string(self.log()).unwrap_or_default();
            let last: Vec<&str> = said.lines().rev().take(15).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            eprintln!("etcd `{}` said last:\n{}", self.name, last.join("\n"));
        }
    }
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id() as i32), signal).unwrap();
}

fn is_healthy(port: u16) -> bool {
    let asked = || {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        stream
            .write_all(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n")
            .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    };
    asked().is_some_and(|answer: String| answer.contains("\"health\":\"true\""))
}
