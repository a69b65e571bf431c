//! Data over TCP between a host of the lab and a virtual machine, and back, with a checksum that
//! would tell of a single wrong bit.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::Vm;
use crate::{lab::wait_for, ns::Namespace};

/// The TCP port at both ends.
const PORT: u16 = 5001;
/// How long a connection may take, or stand still.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a transfer may take: an emulated processor does a tenth of this rate and more.
const SLOWEST_BYTES_PER_S: u64 = 500_000;

/// Random bytes and their SHA-256.
#[derive(Debug)]
pub struct Data {
    bytes: Vec<u8>,
    sha256: String,
}

/// How long a transfer took in each direction.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// From the host to the machine.
    pub to_vm: Duration,
    /// From the machine to the host.
    pub to_host: Duration,
}

impl Data {
    /// Makes that many bytes.
    ///
    /// # Errors
    ///
    /// When `/dev/urandom` or `sha256sum` is not there.
    pub fn random(length: usize) -> Result<Self> {
        let mut bytes = vec![0; length];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Self {
            sha256: sha256(&bytes)?,
            bytes,
        })
    }

    /// Megabits per second, if all of it took that long.
    pub fn rate(&self, time: Duration) -> f64 {
        let bits = self.bytes.len() as f64 * 8.0;
        bits / time.as_secs_f64() / 1e6
    }

    /// Sends all of it from a host to a machine and from there back; both ends check it.
    ///
    /// # Errors
    ///
    /// When a connection fails or stands still, or what arrives is not what was sent.
    pub fn exchange(&self, host: (&Namespace, IpAddr), vm: (&Vm, IpAddr)) -> Result<Times> {
        let (ns, host_address) = host;
        let (vm, vm_address) = vm;
        let limit = Duration::from_secs(self.bytes.len() as u64 / SLOWEST_BYTES_PER_S) + PATIENCE;
        let to_vm = self
            .send(ns, vm, vm_address, limit)
            .with_context(|| format!("TCP to {vm_address} in {}", vm.name))?;
        let to_host = self
            .receive(ns, host_address, vm, limit)
            .with_context(|| format!("TCP from {} to {host_address}", vm.name))?;
        Ok(Times { to_vm, to_host })
    }

    fn send(&self, ns: &Namespace, vm: &Vm, to: IpAddr, limit: Duration) -> Result<Duration> {
        let time = thread::scope(|scope| {
            let script = format!("nc -l -p {PORT} </dev/null >/tmp/data");
            let listener = scope.spawn(move || vm.run_for(&script, limit));
            let start = self.write(ns, SocketAddr::new(to, PORT));
            let heard = listener
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let start = start?;
            heard?;
            anyhow::Ok(start.elapsed())
        })?;
        self.compare(&vm.run_for("sha256sum </tmp/data", limit)?)?;
        Ok(time)
    }

    /// Connects and writes everything; returns when that began.
    fn write(&self, ns: &Namespace, to: SocketAddr) -> Result<Instant> {
        let mut stream = wait_for("a connection", PATIENCE, || {
            Ok(Some(
                ns.enter(|| TcpStream::connect_timeout(&to, PATIENCE))??,
            ))
        })?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let start = Instant::now();
        stream.write_all(&self.bytes).context("it stands still")?;
        stream.shutdown(Shutdown::Write)?;
        Ok(start)
    }

    fn receive(&self, ns: &Namespace, at: IpAddr, vm: &Vm, limit: Duration) -> Result<Duration> {
        let listener = ns.enter(|| TcpListener::bind(SocketAddr::new(at, PORT)))??;
        listener.set_nonblocking(true)?;
        thread::scope(|scope| {
            let script = format!("cat /tmp/data >/dev/tcp/{at}/{PORT}");
            let sender = scope.spawn(move || vm.run_for(&script, limit));
            let received = read(&listener);
            // Without this a machine that still connects would wait for its time to end.
            drop(listener);
            let sent = sender
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let (bytes, time) = received?;
            sent?;
            self.compare(&sha256(&bytes)?)?;
            Ok(time)
        })
    }

    fn compare(&self, sha256: &str) -> Result<()> {
        let sha256 = sha256.split_whitespace().next().unwrap_or_default();
        ensure!(
            sha256 == self.sha256,
            "SHA-256 {} was sent and {sha256} arrived",
            self.sha256
        );
        Ok(())
    }
}

fn read(listener: &TcpListener) -> Result<(Vec<u8>, Duration)> {
    let mut stream = wait_for("a connection", PATIENCE, || match listener.accept() {
        Ok((stream, _)) => Ok(Some(stream)),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error.into()),
    })?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let start = Instant::now();
    let mut bytes = Vec::new();
    stream
        .read_to_end(&mut bytes)
        .with_context(|| format!("it stands still after {} bytes", bytes.len()))?;
    Ok((bytes, start.elapsed()))
}

/// The lower-case hex of SHA-256, by coreutils.
fn sha256(bytes: &[u8]) -> Result<String> {
    let mut child = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start sha256sum")?;
    child
        .stdin
        .take()
        .context("no pipe")?
        .write_all(bytes)
        .context("sha256sum reads no more")?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "sha256sum: {}", output.status);
    let text = String::from_utf8(output.stdout)?;
    Ok(text
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned())
}
