//! A virtual machine on the lab's cloud.

use std::{
    fmt, fs,
    net::{Ipv4Addr, Ipv6Addr},
    os::unix::net::UnixStream,
    panic::Location,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{agent::Agent, image::Image};
use crate::{
    cloud::{Cloud, GATEWAY_V4, GATEWAY_V6, UNDERLAY},
    lab::{Lab, Resident, wait_for},
    process::Process,
};

const QEMU: &str = "qemu-system-x86_64";
/// Time for qemu to start.
const START: Duration = Duration::from_secs(10);
/// Time for Linux to boot; usually it takes 5 s.
const BOOT: Duration = Duration::from_secs(180);
/// Time for a command that says nothing else.
const COMMAND: Duration = Duration::from_secs(60);

/// A virtual machine with a kernel of its own, whose NIC is on a cloud like any host's.
pub struct Vm {
    /// Its name in the lab.
    pub name: String,
    /// The IPv4 address of its NIC.
    pub v4: Ipv4Addr,
    /// The IPv6 address of its NIC.
    pub v6: Ipv6Addr,
    process: Process,
    /// What its console printed.
    log: PathBuf,
    agent: Mutex<Agent>,
    // It lives in the cloud's namespace, and is still asked for evidence after the scenario.
    _cloud: Arc<Cloud>,
}

/// What a machine has besides its kernel and its NIC on the cloud.
#[derive(Debug, Clone)]
pub struct Extras {
    /// Programs of this machine, to be found in /usr/bin, with the libraries they need.
    pub programs: Vec<PathBuf>,
    /// More virtio NICs, eth1 and so on, each a `-netdev` of qemu's without the id. They are in
    /// the cloud's namespace.
    pub nics: Vec<String>,
    /// More arguments for qemu, as for NICs of another kind; the interfaces come after those.
    pub arguments: Vec<String>,
    /// How many processors it has, which take turns on one of the host's.
    pub processors: u8,
}

impl Default for Extras {
    fn default() -> Self {
        Self {
            programs: Vec::new(),
            nics: Vec::new(),
            arguments: Vec::new(),
            processors: 2,
        }
    }
}

impl Vm {
    /// Boots a machine with 10.77.0.`number` and fd77::`number`, which must not be those of a host
    /// of the cloud; returns when its agent answers and its NIC is up.
    ///
    /// # Errors
    ///
    /// When a program is missing, the kernel cannot be had, or it does not boot in time; the text
    /// has the end of its console.
    pub fn boot(lab: &Lab, cloud: &Arc<Cloud>, name: &str, number: u8) -> Result<Arc<Self>> {
        Self::boot_with(lab, cloud, name, number, &Extras::default())
    }

    /// As [`Vm::boot`], with more in it than a bare kernel.
    ///
    /// # Errors
    ///
    /// As there, and when a program is missing.
    pub fn boot_with(
        lab: &Lab,
        cloud: &Arc<Cloud>,
        name: &str,
        number: u8,
        extras: &Extras,
    ) -> Result<Arc<Self>> {
        let image = Image::make(lab.dir().join(format!("{name}.cpio")), &extras.programs)?;
        let v4 = Ipv4Addr::new(10, 77, 0, number);
        let v6 = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, u16::from(number));
        let mtu = cloud.options().mtu;
        let port = format!("to-{name}");
        // Frames cross the tap as they would a wire: no header with what the NIC still has to do.
        cloud.router().ip_batch(&format!(
            "tuntap add dev {port} mode tap\n\
             link set {port} mtu {mtu}\n\
             addr add {GATEWAY_V4}/32 dev {port}\n\
             addr add {GATEWAY_V6}/64 dev {port}\n\
             link set {port} up\n\
             route add {v4}/32 dev {port}\n\
             route add {v6}/128 dev {port}\n",
        ))?;

        let log = lab.dir().join(format!("{name}.console"));
        let socket = lab.dir().join(format!("{name}.agent"));
        let listener = Agent::listen(&socket)?;
        // It computes all the time on one core and is the last to end, and the labs beside it mostly wait: its limits
        // are in real time too.
        let mut command = Command::new("nice");
        command
            .args(["-n", "-20", QEMU])
            // The processors take turns: with a thread for each, one would run code that another is just patching
            // (static keys), and the guest died of `Oops: int3`.
            .args(["-accel", "tcg,thread=single", "-cpu", "max"])
            .args(["-m", "768", "-smp", &extras.processors.to_string()])
            .args([
                "-nodefaults",
                "-no-user-config",
                "-display",
                "none",
                "-no-reboot",
            ])
            .arg("-kernel")
            .arg(&image.kernel)
            .arg("-initrd")
            .arg(&image.files)
            .args([
                "-append",
                "console=ttyS0 quiet loglevel=5 panic=-1 mitigations=off",
            ])
            .args(["-serial", &format!("file:{}", log.display())])
            .args([
                "-chardev",
                &format!("socket,id=agent,path={}", socket.display()),
            ])
            .args(["-device", "virtio-serial-pci"])
            .args(["-device", "virtserialport,chardev=agent,name=agent"])
            .args([
                "-netdev",
                &format!("tap,id=nic,ifname={port},script=no,downscript=no,vnet_hdr=off"),
            ])
            // romfile: it boots from nothing but -kernel.
            .args([
                "-device",
                &format!("virtio-net-pci,netdev=nic,romfile=,mac=52:54:00:77:00:{number:02x}"),
            ])
            .args(extras.nics.iter().zip(1..).flat_map(|(netdev, nic)| {
                [
                    "-netdev".to_owned(),
                    format!("{netdev},id=nic{nic}"),
                    "-device".to_owned(),
                    format!(
                        "virtio-net-pci,netdev=nic{nic},romfile=,mac=52:54:00:78:{nic:02x}:{number:02x}"
                    ),
                ]
            }))
            .args(&extras.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(lab.dir().join(format!("{name}.qemu")))?);
        let process = cloud
            .router()
            .spawn(command)
            .with_context(|| format!("is {QEMU} there? apt-get install qemu-system-x86"))?;
        // Until the lab ends it.
        let started = Self::greet(lab, name, &process, &listener)
            .with_context(|| format!("its console: {}", tail(&log)))
            .inspect_err(|_| process.kill());
        let vm = lab.adopt(Self {
            name: name.to_owned(),
            v4,
            v6,
            agent: Mutex::new(started?),
            process,
            log,
            _cloud: Arc::clone(cloud),
        });
        // It is in the machine's memory now, and does not have to be kept as evidence.
        fs::remove_file(&image.files)?;
        vm.run(&format!(
            "ip link set {UNDERLAY} mtu {mtu} up\n\
             ip addr add {v4}/32 dev {UNDERLAY}\n\
             ip addr add {v6}/128 dev {UNDERLAY}\n\
             ip route add {GATEWAY_V4} dev {UNDERLAY} scope link\n\
             ip route add default via {GATEWAY_V4} dev {UNDERLAY}\n\
             ip -6 route add default via {GATEWAY_V6} dev {UNDERLAY}"
        ))?;
        lab.say(format_args!("{name} runs {}", vm.run("uname -sr")?.trim()));
        Ok(vm)
    }

    fn greet(
        lab: &Lab,
        name: &str,
        process: &Process,
        listener: &std::os::unix::net::UnixListener,
    ) -> Result<Agent> {
        let stream: UnixStream = wait_for(&format!("qemu of {name}"), START, || {
            let stream = Agent::accept(listener)?;
            if stream.is_none() && !process.is_running() {
                let said = fs::read_to_string(lab.dir().join(format!("{name}.qemu")))?;
                bail!("it has ended: {said}");
            }
            Ok(stream)
        })?;
        Agent::greet(stream, BOOT).with_context(|| format!("{name} does not boot"))
    }

    /// Runs a shell script in the machine and returns what it wrote.
    ///
    /// # Errors
    ///
    /// When any command of it fails, or it takes more than a minute; the text says who asked.
    #[track_caller]
    pub fn run(&self, script: &str) -> Result<String> {
        self.run_for(script, COMMAND)
    }

    /// As [`Vm::run`], for at most `limit`.
    ///
    /// # Errors
    ///
    /// As there.
    #[track_caller]
    pub fn run_for(&self, script: &str, limit: Duration) -> Result<String> {
        let (status, text) = self.try_run(&format!("set -e\n{script}\n"), limit)?;
        ensure!(
            status == 0,
            "{}: in {}: status {status} of\n{}\n{}",
            Location::caller(),
            self.name,
            script.trim(),
            text.trim()
        );
        Ok(text)
    }

    /// Runs a shell script in the machine for at most `limit` and returns its status and what it
    /// wrote. A script that is ended for its time has status 143.
    ///
    /// # Errors
    ///
    /// When the machine does not answer.
    #[track_caller]
    pub fn try_run(&self, script: &str, limit: Duration) -> Result<(u8, String)> {
        let asked = Location::caller();
        self.agent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .run(script, limit)
            .with_context(|| format!("{asked}: {} does not answer", self.name))
    }

    /// Writes a file in the machine.
    ///
    /// # Errors
    ///
    /// When that fails there, or the text has a line that is only `END-OF-FILE`.
    #[track_caller]
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        const END: &str = "END-OF-FILE";
        ensure!(!text.lines().any(|line| line == END), "a line {END}");
        let text = text.trim_end_matches('\n');
        self.run(&format!("cat >{path} <<'{END}'\n{text}\n{END}"))
            .map(drop)
    }

    /// Takes away whatever was made in the machine since it booted: processes, tunnels, programs
    /// on its NIC, mounts and files; afterwards its NIC is as it was.
    ///
    /// # Errors
    ///
    /// When the machine does not answer, or something cannot be removed.
    pub fn clean(&self) -> Result<()> {
        self.run(include_str!("clean.sh"))
            .context("what was left in the machine cannot be removed")
            .map(drop)
    }

    /// How long qemu has computed: other than the time on the clock, that does not depend on what
    /// else this host does.
    ///
    /// # Errors
    ///
    /// When qemu has ended.
    pub fn cpu_time(&self) -> Result<Duration> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.process.pid()))?;
        // After the name, which may have anything in it, from field 3 of proc(5) on.
        let (_, fields) = text.rsplit_once(')').context("no name")?;
        let ticks: u64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|field| field.parse::<u64>().unwrap_or(0))
            .sum();
        // USER_HZ is 100 wherever Linux runs.
        Ok(Duration::from_millis(ticks * 10))
    }
}

impl fmt::Debug for Vm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the machine {}", self.name)
    }
}

impl Resident for Vm {
    fn evidence(&self, into: &Path) -> Result<()> {
        let state = [
            "ip -d addr",
            "ip route show table all",
            "ip -6 route show table all",
            "ip neigh",
            "ip -s link",
            "ip l2tp show tunnel",
            "ip l2tp show session",
            "cat /proc/net/snmp",
            "cat /proc/net/snmp6",
            "dmesg",
            "ps",
        ]
        .map(|command| format!("echo '# {command}'; {command}\n"))
        .concat();
        // First: a machine that is dead says here why, and nothing else.
        fs::copy(&self.log, into.join(format!("{}.console", self.name)))?;
        let (_, text) = self.try_run(&state, COMMAND)?;
        fs::write(into.join(format!("{}.state", self.name)), text)?;
        Ok(())
    }

    fn end(&self) {
        self.process.kill();
    }
}

/// The last lines of a console.
fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
