//! A server with `l2ha`, and a bare host in the place of its peer.

use std::{fs, net::IpAddr, sync::Arc};

use anyhow::{Context as _, Result};
use l2ha_lab::{CloudOptions, Daemon, Host, Lab, Link, NodeConfig, Outer, join};
use socket2::{Domain, Protocol, Socket, Type};

pub(crate) const PORT: u16 = 1701;
/// An ethertype for local experiments (IEEE 802): nothing else in the lab uses it.
const ETHERTYPE: u16 = 0x88b5;

pub(crate) struct BarePeer {
    pub(crate) server: Arc<Daemon>,
    pub(crate) peer: Arc<Host>,
    /// Another host of the cloud.
    pub(crate) stranger: Arc<Host>,
    /// The server's address.
    pub(crate) target: IpAddr,
    pub(crate) session: u32,
    pub(crate) cookie: Vec<u8>,
    /// Hears every frame of [`ETHERTYPE`] that is delivered on any interface of the server.
    pub(crate) ear: Socket,
}

impl BarePeer {
    /// With more lines for the server's tunnel.
    pub(crate) fn new(
        lab: &Lab,
        (outer, v6): (Outer, bool),
        mode: &str,
        more: &[String],
    ) -> Result<Self> {
        let options = CloudOptions {
            carries_l2tp: true,
            ..CloudOptions::default()
        };
        let (_cloud, hosts) = lab.cloud(options, &["server", "peer", "stranger"])?;
        let [server, peer, stranger] = &hosts[..] else {
            unreachable!()
        };
        let mut config = NodeConfig::tunnels_only(lab, server)?;
        config.mode = mode.into();
        // The peer's end is only needed for its half of the configuration.
        let mut other = NodeConfig::tunnels_only(lab, peer)?;
        let link = Link {
            outer,
            v6,
            ..Link::default()
        };
        join(&mut config, &mut other, link)?;
        for tunnel in &mut config.tunnels {
            tunnel.more.extend_from_slice(more);
        }
        let tunnel = config.tunnel("peer");
        let (session, file) = (tunnel.session_id, tunnel.receive_cookie.clone());
        let cookie = unhex(fs::read_to_string(file.context("no cookie")?)?.trim())?;
        let ear = server.ns.enter(|| {
            let protocol = Protocol::from(i32::from(ETHERTYPE.to_be()));
            Socket::new(Domain::PACKET, Type::RAW, Some(protocol))
        })??;
        Ok(Self {
            target: match v6 {
                true => server.v6.into(),
                false => server.v4.into(),
            },
            server: Daemon::start(lab, config)?,
            peer: Arc::clone(peer),
            stranger: Arc::clone(stranger),
            session,
            cookie,
            ear,
        })
    }
}

/// A frame of [`ETHERTYPE`].
pub(crate) fn frame(payload: impl IntoIterator<Item = u8>) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 1]);
    frame.extend(ETHERTYPE.to_be_bytes());
    frame.extend(payload);
    frame
}

fn unhex(text: &str) -> Result<Vec<u8>> {
    (0..text.len())
        .step_by(2)
        .map(|at| Ok(u8::from_str_radix(&text[at..at + 2], 16)?))
        .collect()
}
