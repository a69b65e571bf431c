//! One end of a pseudowire as the machine's own kernel has it, made with `ip l2tp`.

use std::{fmt::Write as _, net::IpAddr};

use anyhow::Result;

use super::Vm;
use crate::config::Outer;

/// One end of a pseudowire of the Linux kernel.
#[derive(Debug, Clone)]
pub struct Pseudowire {
    /// Name of the virtual interface.
    pub interface: String,
    /// Its MAC address; the kernel makes one up otherwise.
    pub mac: Option<String>,
    /// The kernel's number of the tunnel, unlike any other of the machine and not on the wire.
    pub tunnel_id: u32,
    /// Outer headers.
    pub outer: Outer,
    /// My outer address.
    pub local: IpAddr,
    /// The peer's outer address.
    pub remote: IpAddr,
    /// My UDP port and the peer's.
    pub ports: (u16, u16),
    /// My session id: what the peer puts on the wire.
    pub session_id: u32,
    /// The peer's session id: what I put on the wire.
    pub peer_session_id: u32,
    /// The cookie I send: 0, 4 or 8 bytes.
    pub send_cookie: Vec<u8>,
    /// The cookie I expect: 0, 4 or 8 bytes.
    pub receive_cookie: Vec<u8>,
    /// Whether the default L2-specific sublayer is used.
    pub sublayer: bool,
    /// Whether frames are numbered in both directions, which needs the sublayer.
    pub sequenced: bool,
    /// Addresses of the virtual interface, with their prefix length.
    pub addresses: Vec<String>,
}

impl Pseudowire {
    /// Makes the tunnel, its only session and the interface, and sets that up.
    ///
    /// # Errors
    ///
    /// When the kernel refuses it.
    pub fn add(&self, vm: &Vm) -> Result<()> {
        vm.run(&self.commands()).map(drop)
    }

    /// Removes all of it.
    ///
    /// # Errors
    ///
    /// When it is not there.
    pub fn remove(&self, vm: &Vm) -> Result<()> {
        let Self {
            tunnel_id,
            session_id,
            ..
        } = self;
        vm.run(&format!(
            "ip l2tp del session tunnel_id {tunnel_id} session_id {session_id}\n\
             ip l2tp del tunnel tunnel_id {tunnel_id}"
        ))
        .map(drop)
    }

    fn commands(&self) -> String {
        let Self {
            interface,
            tunnel_id,
            local,
            remote,
            session_id,
            peer_session_id,
            ..
        } = self;
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "ip l2tp add tunnel tunnel_id {tunnel_id} peer_tunnel_id {tunnel_id} \
             local {local} remote {remote}"
        );
        let _ = match self.outer {
            Outer::Udp => write!(
                text,
                " encap udp udp_sport {} udp_dport {}",
                self.ports.0, self.ports.1
            ),
            Outer::Ip => write!(text, " encap ip"),
        };
        let _ = write!(
            text,
            "\nip l2tp add session name {interface} tunnel_id {tunnel_id} \
             session_id {session_id} peer_session_id {peer_session_id} l2spec_type {}",
            if self.sublayer { "default" } else { "none" }
        );
        // In iproute2's words `cookie` is what I send and `peer_cookie` what I expect.
        for (word, cookie) in [
            ("cookie", &self.send_cookie),
            ("peer_cookie", &self.receive_cookie),
        ] {
            if !cookie.is_empty() {
                let _ = write!(text, " {word} ");
            }
            for byte in cookie {
                let _ = write!(text, "{byte:02x}");
            }
        }
        if self.sequenced {
            text.push_str(" seq both");
        }
        if let Some(mac) = &self.mac {
            let _ = write!(text, "\nip link set {interface} address {mac}");
        }
        let _ = write!(text, "\nip link set {interface} up");
        for address in &self.addresses {
            let _ = write!(text, "\nip addr add {address} dev {interface}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_those_of_iproute2() {
        let mut end = Pseudowire {
            interface: "l2-a".into(),
            mac: None,
            tunnel_id: 7,
            outer: Outer::Udp,
            local: [10, 0, 0, 1].into(),
            remote: [10, 0, 0, 2].into(),
            ports: (1701, 1702),
            session_id: 11,
            peer_session_id: 22,
            send_cookie: vec![1, 2, 3, 0xff],
            receive_cookie: Vec::new(),
            sublayer: false,
            sequenced: false,
            addresses: vec!["192.0.2.1/24".into()],
        };
        assert_eq!(
            end.commands(),
            "ip l2tp add tunnel tunnel_id 7 peer_tunnel_id 7 local 10.0.0.1 remote 10.0.0.2 \
             encap udp udp_sport 1701 udp_dport 1702\n\
             ip l2tp add session name l2-a tunnel_id 7 session_id 11 peer_session_id 22 \
             l2spec_type none cookie 010203ff\n\
             ip link set l2-a up\n\
             ip addr add 192.0.2.1/24 dev l2-a"
        );
        end.outer = Outer::Ip;
        end.sublayer = true;
        assert!(end.commands().contains("encap ip\n"));
        assert!(end.commands().contains("l2spec_type default"));
    }
}
