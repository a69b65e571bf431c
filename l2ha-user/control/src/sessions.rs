//! What `sessions` answers.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

/// One session, with all that is known of it but the bytes of its cookies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionStatus {
    /// Name of the tunnel.
    pub name: String,
    /// Virtual interface.
    pub interface: String,
    /// `up`, `down` or `waiting` (for the underlay).
    pub state: String,
    /// What is wrong, if something is.
    pub problem: Option<String>,
    /// Session id in packets to this node.
    pub session_id: u32,
    /// Session id in packets to the peer.
    pub peer_session_id: u32,
    /// Outer address of this end.
    pub local: IpAddr,
    /// Outer address of the peer.
    pub remote: IpAddr,
    /// `udp` or `ip` (protocol 115).
    pub encapsulation: String,
    /// 4 or 6: the version of the outer IP header.
    pub ip_version: u8,
    /// UDP port of this end.
    pub local_port: Option<u16>,
    /// UDP port of the peer.
    pub remote_port: Option<u16>,
    /// Length of the cookie in packets from the peer.
    pub receive_cookie_bytes: usize,
    /// Length of the former cookie that is accepted too, while one is.
    pub previous_cookie_bytes: Option<usize>,
    /// Length of the cookie in packets to the peer.
    pub send_cookie_bytes: usize,
    /// `none` or `default`.
    pub sublayer: String,
    /// MTU of the virtual interface in bytes, when it is there.
    pub mtu: Option<u32>,
    /// Frames received.
    pub rx_packets: u64,
    /// Bytes of the frames received.
    pub rx_bytes: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes of the frames sent.
    pub tx_bytes: u64,
    /// Packets of this session that were refused, or worth a word, by the name of the reason; those
    /// that never happened are absent.
    pub reasons: BTreeMap<String, u64>,
}
