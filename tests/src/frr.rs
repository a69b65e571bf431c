//! FRR's zebra and ospf6d in a namespace, with every file and socket of their own.
//!
//! They start as root and change to the user `frr`, which Debian's package puts into `frrvty`, so
//! that nothing of the machine's accounts has to change.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{
    cloud::Host,
    lab::{Lab, PATIENCE, Resident},
    process::Process,
    routing::{LsaKey, MAX_AGE, RouterConfig},
    vty,
};

const LIBEXEC: &str = "/usr/lib/frr";
/// What [`parse_neighbours`] reads the answer of.
pub(crate) const NEIGHBOURS: &str = "show ipv6 ospf6 neighbor json";
/// What [`parse_database`] reads the answer of.
pub(crate) const DATABASE: &str = "show ipv6 ospf6 database internal";

/// A running zebra and ospf6d.
#[derive(Debug)]
pub struct Frr {
    name: String,
    dir: PathBuf,
    processes: Mutex<Vec<Process>>,
}

impl Frr {
    /// Starts both daemons and waits until they can be asked.
    ///
    /// # Errors
    ///
    /// When FRR is not installed or does not come up; its logs are in the lab's folder.
    #[track_caller]
    pub fn start(lab: &Lab, host: &Host, config: &RouterConfig) -> Result<Arc<Self>> {
        ensure!(config.stubs4.is_empty(), "FRR 8.4 routes no IPv4 by OSPFv3");
        ensure!(
            Path::new(LIBEXEC).join("ospf6d").exists(),
            "FRR is not installed: apt-get install frr"
        );
        let dir = lab.dir().join(format!("frr-{}", host.name));
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("zebra.conf"), "ipv6 forwarding\n")?;
        fs::write(dir.join("ospf6d.conf"), ospf6d_conf(config))?;
        let frr = lab.adopt(Self {
            name: host.name.clone(),
            dir,
            processes: Mutex::default(),
        });
        let mut daemons = vec!["zebra", "ospf6d"];
        if let Some((ms, multiplier)) = config.bfd {
            // The profile belongs into bfdd's own file.
            let text = format!(
                "bfd\n profile lab\n  receive-interval {ms}\n  transmit-interval {ms}\n  \
                 detect-multiplier {multiplier}\n"
            );
            fs::write(frr.dir.join("bfdd.conf"), text)?;
            daemons.insert(1, "bfdd");
        }
        crate::command::output(Command::new("chown").args(["-R", "frr:frr"]).arg(&frr.dir))?;
        fs::create_dir_all("/run/frr")?;
        for daemon in daemons {
            let process = frr.spawn(host, daemon)?;
            frr.lock().push(process.clone());
            let socket = frr.socket(daemon);
            process.wait_for(&format!("{daemon} of {}", host.name), || {
                vty::frr(&socket, &["show version"]).map(Some)
            })?;
        }
        Ok(frr)
    }

    fn spawn(&self, host: &Host, daemon: &str) -> Result<Process> {
        let file = |suffix: &str| self.dir.join(format!("{daemon}.{suffix}"));
        let output = fs::File::create(file("out"))?;
        let control = match daemon {
            "bfdd" => vec![
                "--bfdctl".to_owned(),
                self.dir.join("bfdd.sock").display().to_string(),
            ],
            _ => Vec::new(),
        };
        // It keeps what is to outlive it (the state of a graceful restart, the authentication's sequence numbers) in
        // /run/frr, whose files all FRRs of a machine share: the next one to start reads them and removes them.
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c"])
            .arg("mount --bind \"$0\" /run/frr && exec \"$@\"")
            .arg(&self.dir)
            .arg(Path::new(LIBEXEC).join(daemon))
            .arg("-f")
            .arg(file("conf"))
            .arg("-i")
            .arg(file("pid"))
            .arg("-z")
            .arg(self.dir.join("zserv.api"))
            .arg("--vty_socket")
            .arg(&self.dir)
            .args(["-P", "0"])
            .arg("--log")
            .arg(format!("file:{}", file("log").display()))
            .args(control)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        host.ns.spawn(command)
    }

    fn socket(&self, daemon: &str) -> PathBuf {
        self.dir.join(format!("{daemon}.vty"))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Process>> {
        self.processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks ospf6d for something it prints as JSON.
    ///
    /// # Errors
    ///
    /// When it does not answer or not in JSON.
    pub fn ospf6d(&self, command: &str) -> Result<Value> {
        self.ask("ospf6d", command)
    }

    /// Asks zebra for something it prints as JSON.
    ///
    /// # Errors
    ///
    /// When it does not answer or not in JSON.
    pub fn zebra(&self, command: &str) -> Result<Value> {
        self.ask("zebra", command)
    }

    /// How many of bfdd's sessions are up.
    ///
    /// # Errors
    ///
    /// When bfdd does not answer or in an unknown form.
    pub fn bfd_sessions_up(&self) -> Result<usize> {
        let peers = self.ask("bfdd", "show bfd peers json")?;
        let peers = peers.as_array().context("bfdd has no list of peers")?;
        Ok(peers.iter().filter(|peer| peer["status"] == "up").count())
    }

    fn ask(&self, daemon: &str, command: &str) -> Result<Value> {
        let text = vty::frr(&self.socket(daemon), &[command])?;
        serde_json::from_str(&text).with_context(|| format!("`{command}` says {text}"))
    }

    /// Gives ospf6d configuration commands, one after the other, from the top level.
    ///
    /// # Errors
    ///
    /// When it refuses one.
    pub fn configure(&self, commands: &[&str]) -> Result<()> {
        let commands: Vec<_> = std::iter::once(&"configure terminal")
            .chain(commands)
            .copied()
            .collect();
        vty::frr(&self.socket("ospf6d"), &commands).map(drop)
    }

    /// Has ospf6d forget its neighbours and all LSAs, and begin anew.
    ///
    /// # Errors
    ///
    /// When it refuses.
    pub fn clear(&self) -> Result<()> {
        vty::frr(&self.socket("ospf6d"), &["clear ipv6 ospf6 process"]).map(drop)
    }

    /// The router ids of the neighbours in state Full.
    ///
    /// # Errors
    ///
    /// When ospf6d does not answer.
    pub fn full_neighbours(&self) -> Result<Vec<Ipv4Addr>> {
        parse_neighbours(&self.ospf6d(NEIGHBOURS)?)
    }

    /// The link state database: of the area and the AS, and of each link.
    ///
    /// # Errors
    ///
    /// When ospf6d does not answer or in an unknown form.
    pub fn database(&self) -> Result<Vec<LsaKey>> {
        parse_database(&vty::frr(&self.socket("ospf6d"), &[DATABASE])?)
    }

    /// Has ospf6d prepare a graceful restart, kills it and starts it again; zebra goes on.
    ///
    /// # Errors
    ///
    /// When it refuses or does not come back.
    #[track_caller]
    pub fn restart_gracefully(&self, host: &Host) -> Result<()> {
        let socket = self.socket("ospf6d");
        let conf = self.dir.join("ospf6d.conf");
        let mut text = fs::read_to_string(&conf)?;
        text.push_str(" graceful-restart grace-period 60\n");
        fs::write(&conf, text)?;
        vty::frr(&socket, &["graceful-restart prepare ipv6 ospf"])?;
        // It waits for no acknowledgment itself.
        std::thread::sleep(Duration::from_secs(1));
        let old = self.lock().pop().context("ospf6d does not run")?;
        old.kill();
        let process = self.spawn(host, "ospf6d")?;
        self.lock().push(process.clone());
        process.wait_for(&format!("ospf6d of {}", host.name), || {
            vty::frr(&socket, &["show version"]).map(|_| Some(()))
        })
    }

    /// Ends both daemons with SIGTERM: they leave the network in order.
    ///
    /// # Errors
    ///
    /// When one does not end in time.
    pub fn stop(&self) -> Result<()> {
        let mut processes = self.lock();
        while let Some(process) = processes.pop() {
            process.terminate(PATIENCE)?;
        }
        Ok(())
    }
}

impl Resident for Frr {
    fn places(&self) -> Vec<String> {
        let dir = self.dir.display();
        vec![
            format!("{:<12} FRR      {dir}", self.name),
            format!("{:<12} ask      vtysh --vty_socket {dir}", self.name),
        ]
    }

    fn evidence(&self, into: &Path) -> Result<()> {
        let mut text = String::new();
        for (daemon, command) in [
            ("ospf6d", "show ipv6 ospf6 neighbor detail"),
            ("ospf6d", "show ipv6 ospf6 database detail"),
            ("ospf6d", "show ipv6 ospf6 interface"),
            ("ospf6d", "show ipv6 ospf6 route detail"),
            ("zebra", "show ipv6 route"),
        ] {
            let answer = vty::frr(&self.socket(daemon), &[command]);
            let answer = answer.unwrap_or_else(|error| format!("{error:#}\n"));
            text.push_str(&format!("# {command}\n{answer}\n"));
        }
        fs::write(into.join(format!("{}.frr", self.name)), text)?;
        Ok(())
    }

    fn end(&self) {
        for process in self.lock().drain(..).rev() {
            process.kill();
        }
    }
}

/// The configuration file of an ospf6d.
pub(crate) fn ospf6d_conf(config: &RouterConfig) -> String {
    let RouterConfig {
        router_id,
        links,
        stubs,
        stubs4: _,
        home,
        stub_areas,
        external,
        learns: _,
        hello,
        dead,
        key,
        key_algorithm,
        bfd,
        // bfdd (8.4) has no authentication.
        bfd_algorithm: _,
    } = config;
    let mut text = "debug ospf6 neighbor state\ndebug ospf6 graceful-restart\n".to_owned();
    if let Some((id, secret)) = key {
        text.push_str(&format!(
            "key chain lab\n key {id}\n  key-string {secret}\n  cryptographic-algorithm {key_algorithm}\n"
        ));
    }
    if let Some(external) = external {
        text.push_str(&format!(
            "ipv6 prefix-list outside seq 5 permit {}\nroute-map outside permit 10\n match ipv6 \
             address prefix-list outside\n",
            external.prefix
        ));
    }
    for link in links {
        let network = match link.priority {
            Some(priority) => format!("broadcast\n ipv6 ospf6 priority {priority}"),
            None => "point-to-point".to_owned(),
        };
        text.push_str(&format!(
            "interface {}\n ipv6 ospf6 area {}\n ipv6 ospf6 network {network}\n \
             ipv6 ospf6 hello-interval {hello}\n ipv6 ospf6 dead-interval {dead}\n \
             ipv6 ospf6 cost {}\n",
            link.interface, link.area, link.cost
        ));
        if key.is_some() {
            text.push_str(" ipv6 ospf6 authentication keychain lab\n");
        }
        if bfd.is_some() {
            text.push_str(" ipv6 ospf6 bfd profile lab\n");
        }
    }
    if !stubs.is_empty() {
        text.push_str(&format!(
            "interface lo\n ipv6 ospf6 area {home}\n ipv6 ospf6 passive\n"
        ));
    }
    // Last: after it, FRR reads interface commands as commands of the router.
    text.push_str(&format!(
        "router ospf6\n ospf6 router-id {router_id}\n log-adjacency-changes detail\n"
    ));
    for area in stub_areas {
        text.push_str(&format!(" area {area} stub\n"));
    }
    if let Some(external) = external {
        text.push_str(&format!(
            " redistribute kernel metric {} metric-type {} route-map outside\n",
            external.metric,
            if external.type1 { 1 } else { 2 }
        ));
    }
    text
}

/// The router ids of the neighbours in state Full.
pub(crate) fn parse_neighbours(answer: &Value) -> Result<Vec<Ipv4Addr>> {
    let neighbours = answer["neighbors"].as_array().context("no neighbors")?;
    neighbours
        .iter()
        .filter(|neighbour| neighbour["state"] == "Full")
        .map(|neighbour| {
            let id = neighbour["neighborId"].as_str().context("no neighborId")?;
            Ok(id.parse()?)
        })
        .collect()
}

/// Reads `show ipv6 ospf6 database internal`: five labelled lines for each LSA. Dead ones are left
/// out.
pub(crate) fn parse_database(text: &str) -> Result<Vec<LsaKey>> {
    let after = |line: &str, label: &str| {
        let at = line.find(label)? + label.len();
        line[at..].split_whitespace().next().map(str::to_owned)
    };
    let hex = |text: String| u32::from_str_radix(text.trim_start_matches("0x"), 16);
    let mut lsas = Vec::new();
    let mut area = None;
    let mut dead = false;
    let (mut ls_type, mut id, mut router, mut sequence) = (None, None, None, None);
    for line in text.lines() {
        if let Some(heading) = line.trim().strip_suffix(')')
            && let Some((_, name)) = heading.split_once("Area Scoped Link State Database (Area ")
        {
            area = Some(name.parse()?);
        } else if line.contains("Scoped Link State Database") {
            area = None;
        } else if let Some(name) = after(line, "Type: ") {
            dead = after(line, "Age:").is_some_and(|age| age.parse() == Ok(MAX_AGE));
            ls_type = Some(match name.as_str() {
                "Router" => 0x2001,
                "Network" => 0x2002,
                "Inter-Prefix" => 0x2003,
                "Inter-Router" => 0x2004,
                "AS-External" => 0x4005,
                "Type-7" => 0x2007,
                "Link" => 0x0008,
                "Intra-Prefix" => 0x2009,
                "Grace" => 0x000b,
                other => anyhow::bail!("FRR shows an LSA of unknown type {other}"),
            });
        } else if let Some(value) = after(line, "Link State ID: ") {
            id = Some(u32::from(value.parse::<Ipv4Addr>()?));
        } else if let Some(value) = after(line, "Advertising Router: ") {
            router = Some(value.parse()?);
        } else if let Some(value) = after(line, "LS Sequence Number: ") {
            sequence = Some(hex(value)?);
        } else if let (Some(checksum), Some(length)) =
            (after(line, "CheckSum: "), after(line, "Length: "))
        {
            let lsa = LsaKey {
                area,
                ls_type: ls_type.take().context("an LSA without type")?,
                id: id.take().context("an LSA without id")?,
                router: router.take().context("an LSA without router")?,
                sequence: sequence.take().context("an LSA without number")?,
                checksum: u16::try_from(hex(checksum)?)?,
                length: Some(length.parse()?),
            };
            if !dead {
                lsas.push(lsa);
            }
        }
    }
    lsas.sort();
    Ok(lsas)
}
