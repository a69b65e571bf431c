//! Two hosts in namespaces, joined by a veth pair of their own and one subject on it.
//!
//! Each subject has its own pair, or the others would pay for its programs on the underlay.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{Namespace, Process, wait_for};

use super::{subject::Subject, udp};

/// The underlay's interface on both sides.
pub(super) const UNDERLAY: &str = "eth0";
/// 8 bytes, as the documentation's examples have them: what each side expects.
pub(super) const COOKIES: [[u8; 8]; 2] = [
    *b"\xa1\xa2\xa3\xa4\xa5\xa6\xa7\xa8",
    *b"\xb1\xb2\xb3\xb4\xb5\xb6\xb7\xb8",
];
/// Where the daemon pins what must outlive it.
const PINS: &str = "/sys/fs/bpf/l2ha";
/// For a daemon to start or end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Two hosts and what joins them.
pub(super) struct Pair {
    pub(super) subject: Subject,
    pub(super) hosts: [Namespace; 2],
    /// The session ids that each host expects; unlike any other on the machine.
    pub(super) session_ids: [u32; 2],
    dir: PathBuf,
    daemons: Vec<(Process, PathBuf)>,
}

/// What joins two hosts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wire {
    /// Leaves the checksum offload on.
    pub(super) offload: bool,
    /// Two queues instead of one, and a UDP source port for each flow in the tunnel.
    pub(super) spread: bool,
}

impl Pair {
    /// Makes it.
    pub(super) fn new(subject: Subject, wire: Wire, binary: &Path) -> Result<Self> {
        let hosts = [Namespace::new("bench-a")?, Namespace::new("bench-b")?];
        // Names and ids that no other bench or lab on the machine has.
        let (_, number) = hosts[0].name().split_once('-').context("no number")?;
        let name = format!("lab{}", number.trim_end_matches("-bench-a"));
        let dir = std::env::temp_dir().join(format!("l2ha-{name}"));
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        // 2^14 ids for each pair, so that none of 10,000 sessions is another pair's.
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let count = NUMBER.fetch_add(1, Ordering::Relaxed) % 16;
        let base = 0x8000_0000 | (std::process::id() % (1 << 13)) << 18 | count << 14;
        let mut pair = Self {
            subject,
            hosts,
            session_ids: [base, base + 1],
            dir,
            daemons: Vec::new(),
        };
        pair.underlay(wire)?;
        match subject {
            Subject::Plain => {}
            Subject::Vxlan => pair.vxlan()?,
            _ => pair.l2ha(&name, wire, binary)?,
        }
        pair.wait()
            .with_context(|| format!("{subject} does not work{}", pair.logs()))?;
        Ok(pair)
    }

    fn underlay(&self, wire: Wire) -> Result<()> {
        let [a, b] = &self.hosts;
        // One queue each, where a core is compared: native XDP on veth wants as many here as there.
        let queues = if wire.spread { "2" } else { "1" };
        a.run([
            "ip",
            "link",
            "add",
            UNDERLAY,
            "numtxqueues",
            queues,
            "numrxqueues",
            queues,
            "type",
            "veth",
            "peer",
            "name",
            UNDERLAY,
            "numtxqueues",
            queues,
            "numrxqueues",
            queues,
            "netns",
            b.name(),
        ])?;
        for (host, number) in [(a, 1), (b, 2)] {
            host.ip_batch(&format!(
                "addr add 10.8.0.{number}/24 dev {UNDERLAY}\n\
                 addr add fd08::{number}/64 dev {UNDERLAY} nodad\n\
                 link set {UNDERLAY} up\n"
            ))?;
            let sums = if wire.offload { "on" } else { "off" };
            host.run(["ethtool", "-K", UNDERLAY, "gro", "on", "tx", sums])?;
        }
        Ok(())
    }

    fn vxlan(&self) -> Result<()> {
        for (host, mine, other) in [(&self.hosts[0], 1, 2), (&self.hosts[1], 2, 1)] {
            host.ip_batch(&format!(
                "link add inner0 type vxlan id 7 local 10.8.0.{mine} remote 10.8.0.{other} \
                 dstport 4789 dev {UNDERLAY}\n\
                 addr add 10.8.1.{mine}/24 dev inner0\n\
                 link set inner0 up\n"
            ))?;
        }
        Ok(())
    }

    fn l2ha(&mut self, name: &str, wire: Wire, binary: &Path) -> Result<()> {
        // XDP on veth drops what is not summed yet.
        let mode = if wire.offload || self.subject == Subject::L2haTc {
            "tc"
        } else {
            "xdp"
        };
        let v6 = self.subject == Subject::L2haUdp6;
        for (side, other) in [(0, 1), (1, 0)] {
            let address = |side: usize| match v6 {
                true => format!("fd08::{}", side + 1),
                false => format!("10.8.0.{}", side + 1),
            };
            let encapsulation = match self.subject {
                Subject::L2haIp => "ip",
                _ => "udp",
            };
            let ports = match wire.spread {
                true => "source_port = \"flow\"\n",
                false => "",
            };
            let file = |what: &str| self.dir.join(format!("{side}.{what}"));
            for (what, cookie) in [("receive", COOKIES[side]), ("send", COOKIES[other])] {
                secret(&file(what), &cookie)?;
            }
            let node = format!("{name}-{side}");
            let config = format!(
                "[node]\nname = {node:?}\nrun_dir = {:?}\n\n\
                 [underlay]\ninterface = {UNDERLAY:?}\naddresses = [{:?}]\nmode = {mode:?}\n\n\
                 [[tunnels]]\nname = \"bench\"\ninterface = \"inner0\"\nremote = {:?}\n\
                 encapsulation = {encapsulation:?}\nsession_id = {}\npeer_session_id = {}\n\
                 receive_cookie_file = {:?}\nsend_cookie_file = {:?}\n\
                 addresses = [\"10.8.1.{}/24\"]\n{ports}",
                self.dir,
                address(side),
                address(other),
                self.session_ids[side],
                self.session_ids[other],
                file("receive"),
                file("send"),
                side + 1,
            );
            let path = file("toml");
            fs::write(&path, config)?;
            let log = fs::File::create(file("log"))?;
            let mut command = Command::new(binary);
            command
                .arg("run")
                .arg("--config")
                .arg(&path)
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log);
            let process = self.hosts[side].spawn(command)?;
            self.daemons.push((process, Path::new(PINS).join(node)));
        }
        Ok(())
    }

    /// Where the packets for a host of the pair go to: 0 or 1.
    pub(super) fn address(&self, side: u8) -> IpAddr {
        let net = match self.subject {
            Subject::Plain => 0,
            _ => 1,
        };
        Ipv4Addr::new(10, 8, net, side + 1).into()
    }

    /// Waits until a packet comes back.
    fn wait(&self) -> Result<()> {
        wait_for(&format!("a packet over {}", self.subject), PATIENCE, || {
            for (process, _) in &self.daemons {
                ensure!(process.is_running(), "the daemon has ended");
            }
            let times = udp::round_trips(self, Duration::from_millis(20));
            Ok(times.is_ok().then_some(()))
        })
    }

    /// The end of the daemons' logs.
    fn logs(&self) -> String {
        [0, 1]
            .map(|side| {
                fs::read_to_string(self.dir.join(format!("{side}.log"))).unwrap_or_default()
            })
            .concat()
            .lines()
            .map(|line| format!("\n  {line}"))
            .collect()
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for (process, _) in &self.daemons {
            // One that has ended already needs no signal.
            let _ = process.signal(nix::sys::signal::Signal::SIGTERM);
        }
        for (process, pins) in &self.daemons {
            if process.wait(PATIENCE).is_err() {
                process.kill();
            }
            if pins.exists()
                && let Err(error) = fs::remove_dir_all(pins)
            {
                eprintln!("bench: cannot remove {}: {error}", pins.display());
            }
        }
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            eprintln!("bench: cannot remove {}: {error}", self.dir.display());
        }
    }
}

/// Writes a cookie in hex for its owner only, as the daemon wants it.
fn secret(path: &Path, cookie: &[u8]) -> Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let text: String = cookie.iter().map(|byte| format!("{byte:02x}")).collect();
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?
        .write_all(text.as_bytes())
        .with_context(|| format!("cannot write {}", path.display()))
}
