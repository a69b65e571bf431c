//! Sessions of every form, in memory.

use arbitrary::Arbitrary;
use l2ha_ebpf::{
    abi::{
        Address, Dscp, EndpointKey, OuterForm, Receive, SessionId, SessionPlan, SessionValue,
        Transmit,
    },
    decap::Tables,
    reason::Reason,
};

/// A form of the headers.
#[derive(Arbitrary, Clone, Debug)]
pub(crate) struct Choice {
    v6: bool,
    udp: bool,
    sublayer: bool,
    cookie: Length,
    previous: Option<Length>,
    bytes: [u8; 8],
    former: [u8; 8],
    checksum: bool,
    flow_ports: bool,
    ecn: bool,
    dscp: Option<u8>,
    numbered: bool,
    class: u8,
    number: u32,
    hash: u32,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Length {
    None,
    Four,
    Eight,
}

impl Length {
    fn of(self, bytes: &[u8; 8]) -> &[u8] {
        match self {
            Self::None => &[],
            Self::Four => &bytes[..4],
            Self::Eight => bytes,
        }
    }
}

fn plan(choice: &Choice, first: bool) -> SessionPlan<'_> {
    let (one, two) = if choice.v6 {
        ("2001:db8::1", "2001:db8::2")
    } else {
        ("192.0.2.1", "192.0.2.2")
    };
    let (local, remote) = if first { (one, two) } else { (two, one) };
    let numbered = choice.numbered && choice.sublayer;
    let cookie = choice.cookie.of(&choice.bytes);
    SessionPlan {
        id: 77,
        local: local.parse().expect("an address"),
        remote: remote.parse().expect("an address"),
        ports: choice
            .udp
            .then_some(if first { (1701, 1702) } else { (1702, 1701) }),
        peer_session_id: 77,
        send_cookie: cookie,
        receive_cookie: cookie,
        // Without a present cookie any frame may begin like the former one.
        previous_cookie: choice
            .previous
            .filter(|_| !cookie.is_empty())
            .map(|length| length.of(&choice.former)),
        sublayer: choice.sublayer,
        form: OuterForm {
            ttl: 64,
            dscp: choice
                .dscp
                .map_or(Dscp::Copy, |dscp| Dscp::Fixed(dscp & 63)),
            ecn: choice.ecn,
            udp_checksum: choice.checksum,
            flow_ports: choice.flow_ports,
            send_sequence: numbered,
            receive_sequence: numbered,
        },
        visible_ifindex: 3,
        hidden_ifindex: 4,
        underlay_ifindex: 2,
        next_hop: None,
        slot: 5,
    }
}

/// A frame as the first end sends it.
pub(crate) fn sent(choice: &Choice, frame: &[u8]) -> Vec<u8> {
    let plan = plan(choice, true);
    let transmit = Transmit::new(&plan).expect("a plan that is right");
    let mut outer = *transmit.outer();
    let length = transmit.outer_length();
    outer.add_class(transmit.carrier(), choice.class & transmit.copied_class());
    if transmit.has_flow_ports() {
        outer.set_flow_port(transmit.carrier(), choice.hash);
    }
    outer.finish(transmit.carrier(), length - 14 + frame.len() as u32);
    let mut packet = outer.bytes()[..length as usize].to_vec();
    if transmit.has_sequence() {
        let at = packet.len() - 4;
        packet[at..].copy_from_slice(&l2ha_ebpf::sequence::write(u64::from(choice.number)));
    }
    if transmit.has_checksum() {
        // Not looked at, but must not be 0.
        packet[14 + 40 + 6] = 1;
    }
    packet.extend(frame);
    packet
}

/// What the second end knows.
pub(crate) struct Memory {
    session: SessionValue,
    endpoint: EndpointKey,
}

impl Memory {
    /// Of a session of this form.
    pub(crate) fn of(choice: &Choice) -> Self {
        let plan = plan(choice, false);
        let port = plan.ports.unwrap_or_default().0.to_be_bytes();
        Self {
            session: SessionValue::new(&plan).expect("a plan that is right"),
            endpoint: EndpointKey::new(Address::from(plan.local), plan.carrier(), port),
        }
    }
}

impl Tables for Memory {
    fn session(&self, id: SessionId) -> Option<Receive> {
        (id == SessionId::new(77)).then_some(*self.session.receive())
    }

    fn previous_cookie(&self, _id: SessionId) -> Option<[u8; 8]> {
        Some(self.session.previous_cookie())
    }

    fn is_endpoint(&self, key: &EndpointKey) -> bool {
        *key == self.endpoint || *key == self.endpoint.of_fragments()
    }

    fn blame(&self, slot: u32, _reason: Reason) {
        assert_eq!(slot, 5);
    }
}
