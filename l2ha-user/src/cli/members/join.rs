//! `l2ha join`.

use std::{
    fs,
    net::{IpAddr, ToSocketAddrs as _, UdpSocket},
};

use anyhow::{Context as _, Result, bail};
use config::{Joined, Membership, Role};
use membership::{Done, JoinAs};

use super::{Etcd, FINE, output};

/// Where the kernel has this host's name.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// Register this node at etcd, so that all others have a tunnel to it
///
/// What it joins as is in [node] of the file, or said here; [membership.grants] says who may. The list of the others is
/// written down, from which `l2ha run` starts. Called again, it changes nothing, or what has changed. While etcd is away
/// a host that has joined before starts from the list that it has; one that has not waits for it. A node that the file
/// itself names has nothing to join.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  l2ha join
  l2ha join --node web-4 --role server --service web
  l2ha join --role client --address 10.0.0.44 --timeout 300")]
pub(in super::super) struct Join {
    #[command(flatten)]
    etcd: Etcd,
    /// Name of this node [default: the name of this host]
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// What it is: server, client or gateway [default: `role` of [node]]
    #[arg(long, value_name = "ROLE", value_parser = role)]
    role: Option<Role>,
    /// A service that it has; for each [default: `services` of [node]]
    #[arg(long, value_name = "NAME")]
    service: Vec<String>,
    /// Its address as the others see it; for each family [default: `address` of [node], or the one that etcd is reached
    /// from]
    #[arg(long, value_name = "ADDRESS")]
    address: Vec<IpAddr>,
    /// What this host has in its place, where the network translates addresses; with --interface
    #[arg(long, value_name = "ADDRESS", requires = "interface")]
    local_address: Vec<IpAddr>,
    /// The interface that has it, where none has the address that the others see
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// UDP port of its tunnels
    #[arg(long)]
    port: Option<u16>,
    /// MTU of its network
    #[arg(long)]
    mtu: Option<u16>,
}

fn role(text: &str) -> Result<Role, String> {
    let mut roles = [Role::Server, Role::Client, Role::Gateway].into_iter();
    let role = roles.find(|role| role.name() == text);
    role.ok_or_else(|| "is none of server, client and gateway".to_owned())
}

impl Join {
    pub(in super::super) fn main(self) -> Result<u8> {
        let membership = self.etcd.membership()?;
        let node = self.node(&membership)?;
        let name = node.name.clone();
        if let Some(addresses) = membership.local.get(&name) {
            if node.addresses.iter().any(|it| addresses.contains(it)) || self.node.is_none() {
                output::line(&format!("{name} is in the file: it has nothing to join"))?;
                return Ok(FINE);
            }
            bail!(
                "the file has a node `{name}`, with another address: call this one otherwise, with --node"
            );
        }
        let wanted = JoinAs {
            node,
            patience: self.etcd.patience(),
        };
        let done = membership::join(&membership, &wanted, &|nodes| {
            membership.refusal(nodes, &name)
        })?;
        let node = &wanted.node;
        let addresses: Vec<String> = node.addresses.iter().map(ToString::to_string).collect();
        let services = match node.services.is_empty() {
            true => String::new(),
            false => format!(", with {}", node.services.join(", ")),
        };
        let what = format!(
            "{name}, {} at {}{services}",
            node.role.name(),
            addresses.join(" and ")
        );
        match done {
            Done::Now => output::line(&format!("{what}: joined `{}`", membership.cluster))?,
            Done::Before => output::line(&format!(
                "{what}: had joined `{}` before",
                membership.cluster
            ))?,
            Done::FromList(why) => output::error(&format!(
                "l2ha join: {why}; {name} has joined before, and starts from the list in {}",
                membership.state_dir.display()
            )),
        }
        Ok(FINE)
    }

    /// What this host joins as.
    fn node(&self, membership: &Membership) -> Result<Joined> {
        let name = match &self.node {
            Some(name) => name.clone(),
            None => host_name()?,
        };
        let own = membership.own.as_ref();
        let (role, services) = match (self.role, own) {
            (Some(role), _) => (role, self.service.clone()),
            (None, Some((role, services))) if self.service.is_empty() => (*role, services.clone()),
            (None, Some((role, _))) => (*role, self.service.clone()),
            (None, None) if membership.local.contains_key(&name) => (Role::Server, Vec::new()),
            (None, None) => bail!(
                "nothing says what {name} joins as: write `role = \"server\"` into [node], or say it with --role"
            ),
        };
        let addresses = match (&self.address[..], membership.own_address) {
            ([], Some(address)) => vec![address],
            ([], None) => vec![towards(membership)?],
            (addresses, _) => addresses.to_vec(),
        };
        Ok(Joined {
            name,
            role,
            addresses,
            local_addresses: self.local_address.clone(),
            interface: self.interface.clone(),
            port: self.port,
            mtu: self.mtu,
            services,
        })
    }
}

/// This host's name, without its domain.
fn host_name() -> Result<String> {
    let name = fs::read_to_string(HOST_NAME)
        .context("cannot learn this host's name; say it with --node")?;
    let name = name.trim_end();
    Ok(name
        .split_once('.')
        .map_or(name, |(name, _)| name)
        .to_ascii_lowercase())
}

/// The address of this host from which etcd is reached.
fn towards(membership: &Membership) -> Result<IpAddr> {
    let say = "say this host's address with --address, or as `address` in [node]";
    let mut last = anyhow::anyhow!("[membership] names no etcd");
    for url in &membership.etcd {
        let host = url.split_once("://").map_or(url.as_str(), |(_, host)| host);
        let address = host
            .to_socket_addrs()
            .and_then(|mut all| {
                all.next()
                    .ok_or_else(|| std::io::Error::other("it has no address"))
            })
            .and_then(|remote| {
                let any = match remote.is_ipv4() {
                    true => IpAddr::from([0; 4]),
                    false => IpAddr::from([0_u16; 8]),
                };
                // Nothing is sent: the kernel only looks for a way.
                let socket = UdpSocket::bind((any, 0))?;
                socket.connect(remote)?;
                Ok(socket.local_addr()?.ip())
            });
        match address {
            Ok(address) if address.is_loopback() => {
                last = anyhow::anyhow!("etcd is reached over the loopback, {address}");
            }
            Ok(address) => return Ok(address),
            Err(error) => last = anyhow::anyhow!("no way leads to {url}: {error}"),
        }
    }
    Err(last.context(say))
}
