//! What is to be looked at.

use std::{net::IpAddr, path::PathBuf};

use config::{AttachMode, Config};

use crate::facts::{Carried, Ipv4, Routing, Tunnel};

/// What is to be looked at.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Name of the underlay's interface.
    pub interface: String,
    /// How the program shall be attached.
    pub mode: AttachMode,
    /// The underlay's addresses.
    pub addresses: Vec<IpAddr>,
    /// The tunnels.
    pub tunnels: Vec<Tunnel>,
    /// What the configuration says of IPv4, if OSPF routes it.
    pub ipv4: Option<Ipv4>,
    /// The families of which the node carries other networks' packets.
    pub carried: Vec<Carried>,
    /// What the configuration says of OSPF's routes, if it runs.
    pub routing: Option<Routing>,
    /// How many files the daemon needs open.
    pub open_files: u64,
    /// Where the bpffs shall be.
    pub bpffs: PathBuf,
    /// The node's folder of pins, if it is known.
    pub pins: Option<PathBuf>,
    /// Whether to try, in a network namespace made for it, what the kernel has.
    pub try_kernel: bool,
    /// Whether to offer the driver an empty XDP program for a moment.
    pub try_driver: bool,
}

impl Subject {
    /// An interface alone.
    pub fn interface(name: &str) -> Self {
        Self {
            interface: name.to_owned(),
            mode: AttachMode::Auto,
            addresses: Vec::new(),
            tunnels: Vec::new(),
            ipv4: None,
            carried: Vec::new(),
            routing: None,
            open_files: 0,
            bpffs: config::DEFAULT_BPFFS.into(),
            pins: None,
            try_kernel: false,
            try_driver: false,
        }
    }

    /// What a configuration says.
    pub fn of(config: &Config) -> Self {
        let tunnels = config.tunnels.iter().map(|tunnel| Tunnel {
            name: tunnel.name.clone(),
            mtu: tunnel.mtu.map(u32::from),
            overhead: tunnel.overhead().into(),
        });
        Self {
            mode: config.underlay.mode,
            addresses: config.underlay.addresses.clone(),
            tunnels: tunnels.collect(),
            ipv4: ipv4(config),
            carried: carried(config),
            routing: config.ospf.as_ref().map(|ospf| Routing {
                table: ospf.table,
                metric: ospf.route_metric,
                interfaces: config
                    .tunnels
                    .iter()
                    .map(|it| it.interface.clone())
                    .collect(),
                ..Routing::default()
            }),
            open_files: config.open_files(),
            bpffs: config.node.bpffs.clone(),
            pins: Some(config.node.pins()),
            ..Self::interface(&config.underlay.interface)
        }
    }
}

/// The families of the prefixes that `redistribute_only` names.
fn carried(config: &Config) -> Vec<Carried> {
    let named = config.ospf.iter().flat_map(|ospf| &ospf.redistribute.only);
    let families = [false, true].map(|ipv4| Carried {
        ipv4,
        prefixes: named
            .clone()
            .filter(|it| it.prefix.addr().is_ipv4() == ipv4)
            .map(|it| it.prefix.to_string())
            .collect(),
        forwards: None,
    });
    let families = families.into_iter();
    families.filter(|it| !it.prefixes.is_empty()).collect()
}

/// What a configuration says of IPv4.
fn ipv4(config: &Config) -> Option<Ipv4> {
    config.ospf.as_ref()?.ipv4?;
    let routed = config.tunnels.iter().filter(|tunnel| tunnel.ospf.is_some());
    let has_none = |tunnel: &&config::Tunnel| {
        let mut addresses = tunnel.addresses.iter();
        !addresses.any(|net| net.addr().is_ipv4())
    };
    Some(Ipv4 {
        tunnels: routed.clone().count(),
        bare: routed.filter(has_none).map(|it| it.name.clone()).collect(),
        ..Ipv4::default()
    })
}
