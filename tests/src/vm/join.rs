//! A tunnel between a node of ours and a virtual machine's kernel.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::{Pseudowire, Vm};
use crate::config::{Link, NodeConfig, Outer, PORT, TunnelConfig, cookie_file};

/// Joins a node and a machine by a tunnel: the node's end goes into its configuration, the
/// machine's end comes back. The first cookie of `link` is what the node expects, the second what
/// the machine does; its costs but the first mean nothing here.
///
/// `number` makes ids, ports and names unlike those of the node's other tunnels. Inside are
/// 10.78.`number`.1 and fd78:`number`::1 at the node, and the same with a 2 at the machine.
///
/// # Errors
///
/// When the cookies' files cannot be written.
pub fn join_vm(node: &mut NodeConfig, vm: &Vm, number: u8, link: Link) -> Result<Pseudowire> {
    let name = format!("{}-{number}", vm.name);
    let interface = format!("l2-{name}");
    let (to_node, to_vm) = link.cookies;
    let receive = cookie_file(&node.cookies.join(format!("{name}.receive")), to_node)?;
    let send = cookie_file(&node.cookies.join(format!("{name}.send")), to_vm)?;
    let (session_id, peer_session_id) = (1000 + u32::from(number), 2000 + u32::from(number));
    // The kernel keeps a socket for each tunnel, and those of one peer must differ in a port.
    let ports = (PORT + u16::from(number), PORT + 1000 + u16::from(number));
    let addresses = |end: u8| {
        vec![
            format!("10.78.{number}.{end}/24"),
            format!("fd78:{number:x}::{end}/64"),
        ]
    };
    let (local, remote) = if link.v6 {
        (vm.v6.into(), node.host.v6.into())
    } else {
        (vm.v4.into(), node.host.v4.into())
    };
    let end = Pseudowire {
        interface: interface.clone(),
        mac: None,
        tunnel_id: u32::from(number),
        outer: link.outer,
        local,
        remote,
        ports: (ports.1, ports.0),
        session_id: peer_session_id,
        peer_session_id: session_id,
        send_cookie: bytes(receive.as_ref())?,
        receive_cookie: bytes(send.as_ref())?,
        sublayer: link.sublayer,
        sequenced: false,
        addresses: addresses(2),
    };
    node.tunnels.push(TunnelConfig {
        name,
        interface,
        remote: local,
        outer: link.outer,
        ports: match link.outer {
            Outer::Udp => ports,
            Outer::Ip => (PORT, PORT),
        },
        session_id,
        peer_session_id,
        receive_cookie: receive,
        previous_cookie: None,
        send_cookie: send,
        sublayer: link.sublayer,
        addresses: addresses(1),
        cost: link.costs.0,
        more: Vec::new(),
    });
    Ok(end)
}

/// Reads a cookie's file, which is in hex; none is no cookie.
fn bytes(file: Option<&PathBuf>) -> Result<Vec<u8>> {
    let Some(file) = file else {
        return Ok(Vec::new());
    };
    let text = fs::read_to_string(file)?;
    let digits = text.trim();
    ensure!(digits.len() % 2 == 0, "{} is not in hex", file.display());
    (0..digits.len())
        .step_by(2)
        .map(|at| {
            u8::from_str_radix(&digits[at..at + 2], 16)
                .with_context(|| format!("{} is not in hex", file.display()))
        })
        .collect()
}
