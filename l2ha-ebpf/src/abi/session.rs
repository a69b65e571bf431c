//! Values: what a session's packets must be, and what is written around its frames.

use core::net::IpAddr;

use bytemuck::{Pod, Zeroable};

use super::{
    Address, Carrier, EndpointKey, NextHop, OuterForm, SessionId, form::Flags, layout::layout,
};
use crate::outer::{Outer, OuterLength};

/// How many rows there are, a power of two: twice as many as sessions, so that few ids meet in one.
pub const MAX_ROWS: u32 = 32768;

/// What the daemon knows of a session when it fills [`SessionValue`] and [`Transmit`].
#[derive(Clone, Copy, Debug)]
pub struct SessionPlan<'a> {
    /// Its own id.
    pub id: u32,
    /// Local outer address; of the same family as `remote`.
    pub local: IpAddr,
    /// The peer's outer address.
    pub remote: IpAddr,
    /// Local and remote port, or `None` for IP protocol 115.
    pub ports: Option<(u16, u16)>,
    /// The session id the peer expects.
    pub peer_session_id: u32,
    /// What the peer expects: 0, 4 or 8 bytes.
    pub send_cookie: &'a [u8],
    /// What this node expects: 0, 4 or 8 bytes.
    pub receive_cookie: &'a [u8],
    /// What this node expected before and still accepts: 0, 4 or 8 bytes; `None` when it accepts
    /// only the present one.
    pub previous_cookie: Option<&'a [u8]>,
    /// Whether the default L2-specific sublayer is there.
    pub sublayer: bool,
    /// What of the outer headers can be chosen.
    pub form: OuterForm,
    /// Index of the end that the user sees.
    pub visible_ifindex: u32,
    /// Index of the end that is the data plane's.
    pub hidden_ifindex: u32,
    /// Index of the interface that carries the outer packets.
    pub underlay_ifindex: u32,
    /// The neighbour on the underlay that outer packets go to, if there is a way to the peer.
    pub next_hop: Option<IpAddr>,
    /// Index into the traffic counters.
    pub slot: u32,
}

impl SessionPlan<'_> {
    /// What carries the session.
    #[must_use]
    pub const fn carrier(&self) -> Carrier {
        Carrier::new(self.remote.is_ipv6(), self.ports.is_some())
    }
}

/// Value of the sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct SessionValue {
    receive: Receive,
    previous_cookie: [u8; 8],
}

layout!(SessionValue {
    receive,
    previous_cookie,
});

/// Value of the rows: what a packet of this session must be, and where its frame goes. One cache line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(8))]
pub struct Receive {
    local: Address,
    remote: Address,
    cookie: [u8; 8],
    local_port: [u8; 2],
    remote_port: [u8; 2],
    cookie_length: u8,
    checks: Checks,
    carrier: Carrier,
    previous_length: u8,
    hidden_ifindex: u32,
    visible_ifindex: u32,
    slot: u32,
    id: SessionId,
}

const _: () = assert!(size_of::<Receive>() == 64);

layout!(Receive {
    local,
    remote,
    cookie,
    local_port,
    remote_port,
    cookie_length,
    checks,
    carrier,
    previous_length,
    hidden_ifindex,
    visible_ifindex,
    slot,
    id,
});

/// What is looked at in each packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
struct Checks(u8);

impl Checks {
    const SEQUENCE: u8 = 1;
    const ECN: u8 = 2;
    /// There is an L2-specific sublayer: the bit is its length in bytes.
    const SUBLAYER: u8 = 4;
    const CHECKSUM: u8 = 8;

    fn new(plan: &SessionPlan<'_>) -> Self {
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        let over_ipv6 = plan.remote.is_ipv6() && plan.ports.is_some();
        Self(
            flag(plan.sublayer && plan.form.receive_sequence, Self::SEQUENCE)
                | flag(plan.form.ecn, Self::ECN)
                | flag(plan.sublayer, Self::SUBLAYER)
                | flag(over_ipv6 && plan.form.udp_checksum, Self::CHECKSUM),
        )
    }
}

/// A remote port that says: whatever flow it is of. Also of sessions without ports.
const ANY_PORT: u16 = 0;

/// A `previous_length` that says: there is no former cookie.
const NO_PREVIOUS: u8 = u8::MAX;

impl SessionValue {
    /// Fills the value; `None` when a cookie is not 0, 4 or 8 bytes long or the addresses are of
    /// different families.
    #[must_use]
    pub fn new(plan: &SessionPlan<'_>) -> Option<Self> {
        if plan.local.is_ipv4() != plan.remote.is_ipv4() {
            return None;
        }
        let (local_port, mut remote_port) = plan.ports.unwrap_or_default();
        if plan.form.flow_ports {
            remote_port = ANY_PORT;
        }
        let (previous_cookie, previous_length) = match plan.previous_cookie {
            Some(bytes) => cookie(bytes)?,
            None => ([0; 8], NO_PREVIOUS),
        };
        let (cookie, cookie_length) = cookie(plan.receive_cookie)?;
        let receive = Receive {
            local: plan.local.into(),
            remote: plan.remote.into(),
            cookie,
            local_port: local_port.to_be_bytes(),
            remote_port: remote_port.to_be_bytes(),
            cookie_length,
            checks: Checks::new(plan),
            carrier: plan.carrier(),
            previous_length,
            hidden_ifindex: plan.hidden_ifindex,
            visible_ifindex: plan.visible_ifindex,
            slot: plan.slot,
            id: SessionId::new(plan.id),
        };
        Some(Self {
            receive,
            previous_cookie,
        })
    }

    /// What is looked at first.
    #[inline(always)]
    #[must_use]
    pub const fn receive(&self) -> &Receive {
        &self.receive
    }

    /// The former cookie, of [`Receive::previous_length`].
    #[inline(always)]
    #[must_use]
    pub const fn previous_cookie(&self) -> [u8; 8] {
        self.previous_cookie
    }
}

impl Receive {
    /// The session's id.
    #[inline(always)]
    #[must_use]
    pub const fn id(&self) -> SessionId {
        self.id
    }

    /// The same of no session.
    #[must_use]
    pub const fn without_id(self) -> Self {
        Self {
            id: SessionId::NONE,
            ..self
        }
    }

    /// Whether a packet that came to this endpoint can be of this session.
    #[inline(always)]
    #[must_use]
    pub fn is_at(&self, endpoint: &EndpointKey) -> bool {
        self.carrier == endpoint.carrier()
            && u16::from_ne_bytes(self.local_port) == u16::from_ne_bytes(endpoint.port())
            && self.local.is(endpoint.address())
    }

    /// The peer's address.
    #[inline(always)]
    #[must_use]
    pub const fn remote(&self) -> &Address {
        &self.remote
    }

    /// Whether this can be the peer's port, big-endian.
    #[inline(always)]
    #[must_use]
    pub const fn is_remote_port(&self, port: [u8; 2]) -> bool {
        let wanted = u16::from_ne_bytes(self.remote_port);
        wanted == ANY_PORT || wanted == u16::from_ne_bytes(port)
    }

    /// The cookie's length in bytes: 0, 4 or 8.
    #[inline(always)]
    #[must_use]
    pub const fn cookie_length(&self) -> usize {
        self.cookie_length as usize
    }

    /// The cookie; of its 8 bytes, as many as it is long count.
    #[inline(always)]
    #[must_use]
    pub const fn cookie(&self) -> [u8; 8] {
        self.cookie
    }

    /// Length in bytes of the former cookie that is still accepted, if there is one.
    #[inline(always)]
    #[must_use]
    pub const fn previous_length(&self) -> Option<usize> {
        match self.previous_length {
            NO_PREVIOUS => None,
            length => Some(length as usize),
        }
    }

    /// Length of the L2-specific sublayer in bytes: 0 or 4.
    #[inline(always)]
    #[must_use]
    pub const fn sublayer_length(&self) -> usize {
        (self.checks.0 & Checks::SUBLAYER) as usize
    }

    /// Whether packets must be numbered, in order.
    #[inline(always)]
    #[must_use]
    pub const fn wants_sequence(&self) -> bool {
        self.checks.0 & Checks::SEQUENCE != 0
    }

    /// Whether the outer header's congestion mark is brought into the inner one.
    #[inline(always)]
    #[must_use]
    pub const fn wants_ecn(&self) -> bool {
        self.checks.0 & Checks::ECN != 0
    }

    /// Whether packets over IPv6 must carry a UDP checksum.
    #[inline(always)]
    #[must_use]
    pub const fn wants_checksum(&self) -> bool {
        self.checks.0 & Checks::CHECKSUM != 0
    }

    /// Index of the hidden end: what is sent there arrives at the visible one.
    #[inline(always)]
    #[must_use]
    pub const fn hidden_ifindex(&self) -> u32 {
        self.hidden_ifindex
    }

    /// Index of the visible end.
    #[inline(always)]
    #[must_use]
    pub const fn visible_ifindex(&self) -> u32 {
        self.visible_ifindex
    }

    /// Index into the traffic counters.
    #[inline(always)]
    #[must_use]
    pub const fn slot(&self) -> u32 {
        self.slot
    }
}

/// Value of the interfaces: what is written around a frame, and where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Transmit {
    outer: Outer,
    carrier: Carrier,
    outer_length: OuterLength,
    flags: Flags,
    reserved: [u8; 3],
    underlay_ifindex: u32,
    slot: u32,
    next_hop: NextHop,
}

layout!(Transmit {
    outer,
    carrier,
    outer_length,
    flags,
    reserved,
    underlay_ifindex,
    slot,
    next_hop,
});

impl Transmit {
    /// Fills the value; `None` under the conditions of [`SessionValue::new`].
    #[must_use]
    pub fn new(plan: &SessionPlan<'_>) -> Option<Self> {
        let (cookie, cookie_length) = cookie(plan.send_cookie)?;
        let (outer, outer_length) = Outer::new(plan, &cookie[..usize::from(cookie_length)])?;
        Some(Self {
            outer,
            carrier: plan.carrier(),
            outer_length,
            flags: Flags::new(plan.form, plan.remote.is_ipv6(), plan.ports.is_some()),
            reserved: [0; 3],
            underlay_ifindex: plan.underlay_ifindex,
            slot: plan.slot,
            next_hop: plan.next_hop.map_or(NextHop::NONE, NextHop::from),
        })
    }

    /// The outer headers, without lengths and checksum.
    #[inline(always)]
    #[must_use]
    pub const fn outer(&self) -> &Outer {
        &self.outer
    }

    /// Length of the outer headers in bytes, their Ethernet header included.
    #[inline(always)]
    #[must_use]
    pub const fn outer_length(&self) -> u32 {
        self.outer_length.bytes()
    }

    /// What carries the session.
    #[inline(always)]
    #[must_use]
    pub const fn carrier(&self) -> Carrier {
        self.carrier
    }

    /// Whether packets carry a UDP checksum that has to be computed.
    #[inline(always)]
    #[must_use]
    pub const fn has_checksum(&self) -> bool {
        self.flags.checksum()
    }

    /// Whether super-packets have to be cut before they are encapsulated: the kernel segments
    /// nothing behind protocol 115, writes no UDP checksum for a tunnel that is not its own, and gives
    /// every piece of a super-packet the same L2-specific sublayer.
    #[inline(always)]
    #[must_use]
    pub const fn wants_cut_packets(&self) -> bool {
        self.flags.cut()
    }

    /// The bits of the traffic class that are the inner header's.
    #[inline(always)]
    #[must_use]
    pub const fn copied_class(&self) -> u8 {
        self.flags.copied()
    }

    /// Whether packets are numbered.
    #[inline(always)]
    #[must_use]
    pub const fn has_sequence(&self) -> bool {
        self.flags.numbered()
    }

    /// Whether the UDP source port is of the inner flow.
    #[inline(always)]
    #[must_use]
    pub const fn has_flow_ports(&self) -> bool {
        self.flags.flow_ports()
    }

    /// Index of the interface that carries the outer packets.
    #[inline(always)]
    #[must_use]
    pub const fn underlay_ifindex(&self) -> u32 {
        self.underlay_ifindex
    }

    /// The neighbour there.
    #[inline(always)]
    #[must_use]
    pub const fn next_hop(&self) -> &NextHop {
        &self.next_hop
    }

    /// Index into the traffic counters.
    #[inline(always)]
    #[must_use]
    pub const fn slot(&self) -> u32 {
        self.slot
    }
}

fn cookie(bytes: &[u8]) -> Option<([u8; 8], u8)> {
    let mut cookie = [0; 8];
    match bytes.len() {
        length @ (0 | 4 | 8) => {
            cookie[..length].copy_from_slice(bytes);
            Some((cookie, length as u8))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_of_another_length_is_refused() {
        let plan = SessionPlan {
            id: 1,
            local: "10.0.0.1".parse().unwrap(),
            remote: "10.0.0.2".parse().unwrap(),
            ports: Some((1701, 1701)),
            peer_session_id: 1,
            send_cookie: &[],
            receive_cookie: &[1, 2, 3],
            previous_cookie: None,
            sublayer: false,
            form: OuterForm::default(),
            visible_ifindex: 1,
            hidden_ifindex: 2,
            underlay_ifindex: 3,
            next_hop: None,
            slot: 0,
        };
        assert!(SessionValue::new(&plan).is_none());
        assert!(Transmit::new(&plan).is_some());
        let mixed = SessionPlan {
            remote: "::1".parse().unwrap(),
            receive_cookie: &[],
            ..plan
        };
        assert!(SessionValue::new(&mixed).is_none());
        assert!(Transmit::new(&mixed).is_none());
    }
}
