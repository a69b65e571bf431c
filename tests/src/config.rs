//! Configuration files for the daemon, made for the hosts of a lab.

use std::{
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::{Deref, DerefMut},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result};

use crate::{
    cloud::{Host, UNDERLAY},
    lab::{Lab, PINS},
};

/// The UDP port of L2TP, where nothing else is said.
pub(crate) const PORT: u16 = 1701;

/// Id and secret of the key that BFD's packets are signed with, where they are.
pub const BFD_KEY: (u8, &str) = (9, "a-key-of-16-byte");

/// The outer headers of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outer {
    /// UDP.
    Udp,
    /// IP protocol 115.
    Ip,
}

/// A tunnel between two nodes, before it is written into both their files.
#[derive(Debug, Clone, Copy)]
pub struct Link {
    /// Its outer headers.
    pub outer: Outer,
    /// Whether they are of IPv6.
    pub v6: bool,
    /// Length of the cookies in bytes, towards the first node and towards the second: 0, 4 or 8.
    pub cookies: (usize, usize),
    /// Whether the default L2-specific sublayer is used.
    pub sublayer: bool,
    /// OSPF cost at the first node and at the second.
    pub costs: (u16, u16),
}

impl Default for Link {
    fn default() -> Self {
        Self {
            outer: Outer::Udp,
            v6: false,
            cookies: (8, 8),
            sublayer: false,
            costs: (10, 10),
        }
    }
}

/// One end of a tunnel, as in `[[tunnels]]`.
#[derive(Debug, Clone)]
pub struct TunnelConfig {
    /// Name, also of the peer's host.
    pub name: String,
    /// Name of the virtual interface.
    pub interface: String,
    /// The peer's underlay address.
    pub remote: IpAddr,
    /// Outer headers.
    pub outer: Outer,
    /// My UDP port and the peer's; written only where they are not [`PORT`].
    pub ports: (u16, u16),
    /// My session id.
    pub session_id: u32,
    /// The peer's session id.
    pub peer_session_id: u32,
    /// File of the cookie I expect.
    pub receive_cookie: Option<PathBuf>,
    /// File of the cookie I expected before.
    pub previous_cookie: Option<PathBuf>,
    /// File of the cookie I send.
    pub send_cookie: Option<PathBuf>,
    /// Whether the default L2-specific sublayer is used.
    pub sublayer: bool,
    /// Addresses of the virtual interface, with their prefix length.
    pub addresses: Vec<String>,
    /// OSPF cost.
    pub cost: u16,
    /// More lines of its section.
    pub more: Vec<String>,
}

/// `[ospf]`.
#[derive(Debug, Clone)]
pub struct OspfConfig {
    /// Router id.
    pub router_id: Ipv4Addr,
    /// Seconds between Hellos.
    pub hello: u16,
    /// Seconds until a silent neighbour is dead.
    pub dead: u16,
    /// Intervals of BFD, as `10x3`.
    pub bfd: Option<String>,
    /// More lines of the section.
    pub more: Vec<String>,
}

impl TunnelConfig {
    /// A tunnel in UDP without cookies.
    pub fn new(name: &str, remote: IpAddr, session_id: u32, peer_session_id: u32) -> Self {
        Self {
            name: name.to_owned(),
            interface: format!("l2-{name}"),
            remote,
            outer: Outer::Udp,
            ports: (PORT, PORT),
            session_id,
            peer_session_id,
            receive_cookie: None,
            previous_cookie: None,
            send_cookie: None,
            sublayer: false,
            addresses: Vec::new(),
            cost: 10,
            more: Vec::new(),
        }
    }
}

/// A node's whole configuration file.
#[derive(Debug, Clone)]
pub struct NodeFile {
    /// Name of the node, unlike any other on the machine.
    pub name: String,
    /// Folder of the control socket, if not the usual one.
    pub run_dir: Option<PathBuf>,
    /// Name of the underlay's interface.
    pub interface: String,
    /// Its addresses; those of IPv6 behind the first are written only where a tunnel needs them.
    pub underlay: Vec<IpAddr>,
    /// `auto`, `xdp` or `tc`.
    pub mode: String,
    /// `[[tunnels]]`.
    pub tunnels: Vec<TunnelConfig>,
    /// `[ospf]`; without it the daemon only carries frames.
    pub ospf: Option<OspfConfig>,
    /// `addresses` of `[node]`.
    pub own_addresses: Vec<IpAddr>,
    /// Sections beside these, as text.
    pub more: String,
    /// `[[services]]`: name and address.
    pub services: Vec<(String, Ipv6Addr)>,
    /// Id and secret of the key that OSPF packets are signed with.
    pub key: Option<(u16, String)>,
    /// How they are signed with it, as in the file.
    pub key_algorithm: &'static str,
    /// Algorithm of the key [`BFD_KEY`] that BFD's packets are signed with, as in the file.
    pub bfd_algorithm: Option<&'static str>,
    /// A cluster file, in place of all of the above.
    pub cluster: Option<String>,
    /// Folder of the files with cookies and keys.
    pub(crate) cookies: PathBuf,
}

/// A configuration file for a host of the lab: everything of [`NodeFile`] is its own.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The host it is for.
    pub host: Arc<Host>,
    file: NodeFile,
    run_dir: PathBuf,
}

impl Deref for NodeConfig {
    type Target = NodeFile;

    fn deref(&self) -> &NodeFile {
        &self.file
    }
}

impl DerefMut for NodeConfig {
    fn deref_mut(&mut self) -> &mut NodeFile {
        &mut self.file
    }
}

impl NodeConfig {
    /// A node with OSPF (hello 1, dead 3) on a host, without tunnels or services yet.
    ///
    /// # Errors
    ///
    /// When the lab's folders cannot be made.
    pub fn new(lab: &Lab, host: &Arc<Host>) -> Result<Self> {
        let mut config = Self::tunnels_only(lab, host)?;
        config.ospf = Some(OspfConfig {
            router_id: router_id(host),
            hello: 1,
            dead: 3,
            bfd: None,
            more: Vec::new(),
        });
        Ok(config)
    }

    /// As [`NodeConfig::new`], without OSPF: another daemon speaks it over the tunnels.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn tunnels_only(lab: &Lab, host: &Arc<Host>) -> Result<Self> {
        let run_dir = lab.dir().join("run");
        let cookies = lab.dir().join("cookies");
        for dir in [&run_dir, &cookies] {
            fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        }
        let name = format!("{}-{}", lab.prefix(), host.name);
        let file = NodeFile {
            run_dir: Some(run_dir.clone()),
            cookies,
            ..NodeFile::new(&name, UNDERLAY, &[host.v4.into(), host.v6.into()])
        };
        Ok(Self {
            host: Arc::clone(host),
            file,
            run_dir,
        })
    }

    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        self.run_dir.join(format!("{}.sock", self.name))
    }

    /// The folder the daemon pins its programs and maps in.
    pub fn pins(&self) -> PathBuf {
        Path::new(PINS).join(&self.name)
    }
}

impl NodeFile {
    /// A node without OSPF, tunnels or services.
    pub fn new(name: &str, interface: &str, underlay: &[IpAddr]) -> Self {
        Self {
            name: name.to_owned(),
            run_dir: None,
            interface: interface.to_owned(),
            underlay: underlay.to_vec(),
            mode: "auto".into(),
            tunnels: Vec::new(),
            ospf: None,
            own_addresses: Vec::new(),
            more: String::new(),
            services: Vec::new(),
            key: None,
            key_algorithm: "hmac-sha-256",
            bfd_algorithm: None,
            cluster: None,
            cookies: PathBuf::new(),
        }
    }

    /// The file with the secret of [`NodeFile::key`].
    pub fn key_file(&self) -> PathBuf {
        self.cookies.join(format!("{}.ospf-key", self.name))
    }

    /// The file with the secret of [`BFD_KEY`].
    pub fn bfd_key_file(&self) -> PathBuf {
        self.cookies.join(format!("{}.bfd-key", self.name))
    }

    /// The tunnel to a host.
    ///
    /// # Panics
    ///
    /// When there is none: the scenario is wrong.
    pub fn tunnel(&self, to: &str) -> &TunnelConfig {
        self.tunnels
            .iter()
            .find(|tunnel| tunnel.name == to)
            .unwrap_or_else(|| panic!("{} has no tunnel {to}", self.name))
    }

    /// The file's text.
    pub fn toml(&self) -> String {
        if let Some(cluster) = &self.cluster {
            return cluster.clone();
        }
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, to: &mut String) -> std::fmt::Result {
        let v6 = self.tunnels.iter().any(|tunnel| tunnel.remote.is_ipv6());
        let underlay = self.underlay.iter().enumerate();
        let addresses: Vec<_> = underlay
            .filter(|(number, address)| *number == 0 || address.is_ipv4() || v6)
            .map(|(_, address)| address.to_string())
            .collect();
        writeln!(to, "[node]")?;
        writeln!(to, "name = {:?}", self.name)?;
        if !self.own_addresses.is_empty() {
            let own: Vec<String> = self.own_addresses.iter().map(IpAddr::to_string).collect();
            writeln!(to, "addresses = {own:?}")?;
        }
        if let Some(run_dir) = &self.run_dir {
            writeln!(to, "run_dir = {run_dir:?}")?;
        }
        writeln!(to, "\n[underlay]")?;
        writeln!(to, "interface = {:?}", self.interface)?;
        writeln!(to, "addresses = {addresses:?}")?;
        writeln!(to, "mode = {:?}", self.mode)?;
        for tunnel in &self.tunnels {
            writeln!(to, "\n[[tunnels]]")?;
            writeln!(to, "name = {:?}", tunnel.name)?;
            writeln!(to, "interface = {:?}", tunnel.interface)?;
            writeln!(to, "remote = \"{}\"", tunnel.remote)?;
            if tunnel.outer == Outer::Ip {
                writeln!(to, "encapsulation = \"ip\"")?;
            } else {
                for (key, port) in [
                    ("local_port", tunnel.ports.0),
                    ("remote_port", tunnel.ports.1),
                ] {
                    if port != PORT {
                        writeln!(to, "{key} = {port}")?;
                    }
                }
            }
            writeln!(to, "session_id = {}", tunnel.session_id)?;
            writeln!(to, "peer_session_id = {}", tunnel.peer_session_id)?;
            if let Some(file) = &tunnel.receive_cookie {
                writeln!(to, "receive_cookie_file = {file:?}")?;
            }
            if let Some(file) = &tunnel.previous_cookie {
                writeln!(to, "receive_cookie_previous_file = {file:?}")?;
            }
            if let Some(file) = &tunnel.send_cookie {
                writeln!(to, "send_cookie_file = {file:?}")?;
            }
            if tunnel.sublayer {
                writeln!(to, "sublayer = \"default\"")?;
            }
            if !tunnel.addresses.is_empty() {
                writeln!(to, "addresses = {:?}", tunnel.addresses)?;
            }
            if self.ospf.is_some() {
                writeln!(to, "cost = {}", tunnel.cost)?;
            }
            for line in &tunnel.more {
                writeln!(to, "{line}")?;
            }
        }
        if let Some(ospf) = &self.ospf {
            writeln!(to, "\n[ospf]")?;
            writeln!(to, "router_id = \"{}\"", ospf.router_id)?;
            writeln!(to, "hello_interval = {}", ospf.hello)?;
            writeln!(to, "dead_interval = {}", ospf.dead)?;
            if let Some(bfd) = &ospf.bfd {
                writeln!(to, "bfd = {bfd:?}")?;
            }
            for line in &ospf.more {
                writeln!(to, "{line}")?;
            }
        }
        if let (Some((id, _)), Some(_)) = (&self.key, &self.ospf) {
            writeln!(to, "\n[[ospf_keys]]")?;
            writeln!(to, "id = {id}")?;
            writeln!(to, "secret_file = {:?}", self.key_file())?;
            writeln!(to, "algorithm = {:?}", self.key_algorithm)?;
        }
        if let (Some(algorithm), Some(_)) = (self.bfd_algorithm, &self.ospf) {
            let (id, _) = BFD_KEY;
            writeln!(to, "\n[[bfd_keys]]")?;
            writeln!(to, "id = {id}")?;
            writeln!(to, "algorithm = {algorithm:?}")?;
            writeln!(to, "secret_file = {:?}", self.bfd_key_file())?;
        }
        writeln!(to, "{}", self.more)?;
        for (name, address) in &self.services {
            writeln!(to, "\n[[services]]")?;
            writeln!(to, "name = {name:?}")?;
            writeln!(to, "address = \"{address}\"")?;
        }
        Ok(())
    }
}

/// The router id the lab gives a host.
pub fn router_id(host: &Host) -> Ipv4Addr {
    let [.., number] = host.v4.octets();
    Ipv4Addr::new(10, 0, 0, number)
}

/// Joins two nodes by a tunnel: one end goes into each configuration.
///
/// # Errors
///
/// When the cookie files cannot be written.
pub fn join(a: &mut NodeConfig, b: &mut NodeConfig, link: Link) -> Result<()> {
    let (to_a, to_b) = link.cookies;
    let file = |from: &NodeConfig, to: &NodeConfig, length: usize| {
        let name = format!("{}-to-{}", from.host.name, to.host.name);
        cookie_file(&from.cookies.join(name), length)
    };
    let to_a = file(b, a, to_a)?;
    let to_b = file(a, b, to_b)?;
    // Ids that tell a reader of a capture whose they are: 1002 is the first node's second tunnel.
    let session = |node: &NodeConfig| {
        let [.., number] = node.host.v4.octets();
        u32::from(number) * 1000 + u32::try_from(node.tunnels.len()).unwrap_or(0) + 1
    };
    let (session_a, session_b) = (session(a), session(b));
    let end = |remote: &NodeConfig, session_id, peer_session_id, receive, send, cost| {
        let address = if link.v6 {
            remote.host.v6.into()
        } else {
            remote.host.v4.into()
        };
        TunnelConfig {
            outer: link.outer,
            receive_cookie: receive,
            send_cookie: send,
            sublayer: link.sublayer,
            cost,
            ..TunnelConfig::new(&remote.host.name, address, session_id, peer_session_id)
        }
    };
    let end_a = end(
        b,
        session_a,
        session_b,
        to_a.clone(),
        to_b.clone(),
        link.costs.0,
    );
    let end_b = end(a, session_b, session_a, to_b, to_a, link.costs.1);
    a.tunnels.push(end_a);
    b.tunnels.push(end_b);
    Ok(())
}

/// Writes a file with a random cookie in hex, for its owner only; none for length 0.
pub(crate) fn cookie_file(path: &Path, length: usize) -> Result<Option<PathBuf>> {
    if length == 0 {
        return Ok(None);
    }
    new_secret(path, length)?;
    Ok(Some(path.to_owned()))
}

/// Writes a file with so many random bytes in hex, for its owner only.
pub(crate) fn new_secret(path: &Path, length: usize) -> Result<()> {
    let mut bytes = vec![0; length];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let mut hex = String::new();
    for byte in bytes {
        let _ = write!(hex, "{byte:02x}");
    }
    secret_file(path, &hex)
}

/// Writes a file for its owner only.
///
/// # Errors
///
/// When it cannot be written.
pub fn secret_file(path: &Path, text: &str) -> Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(writeln!(file, "{text}")?)
}
