//! What is decided about a packet, on the host: the programs are made of the same code.

use std::{cell::RefCell, collections::HashMap};

use l2ha_ebpf::{
    abi::{
        Address, Carrier, Dscp, EndpointKey, OuterForm, Receive, SessionId, SessionPlan,
        SessionValue, Transmit,
    },
    congestion,
    decap::{Delivery, PacketRefusal, Sequence, Tables, decide},
    packet::Packet,
    reason::Reason,
};
use proptest::prelude::*;

/// Maps in memory.
#[derive(Default)]
struct Memory {
    sessions: HashMap<SessionId, SessionValue>,
    endpoints: Vec<EndpointKey>,
    blamed: RefCell<Vec<(u32, Reason)>>,
}

impl Tables for Memory {
    fn session(&self, id: SessionId) -> Option<Receive> {
        self.sessions.get(&id).map(|session| *session.receive())
    }

    fn previous_cookie(&self, id: SessionId) -> Option<[u8; 8]> {
        self.sessions.get(&id).map(SessionValue::previous_cookie)
    }

    fn is_endpoint(&self, key: &EndpointKey) -> bool {
        self.endpoints.contains(key)
    }

    fn blame(&self, slot: u32, reason: Reason) {
        self.blamed.borrow_mut().push((slot, reason));
    }
}

/// One of the two ends of a session; the second one's addresses and ports are the other way round.
fn plan(v6: bool, udp: bool, sublayer: bool, cookie: &[u8], first: bool) -> SessionPlan<'_> {
    let (one, two) = if v6 {
        ("2001:db8::1", "2001:db8::2")
    } else {
        ("192.0.2.1", "192.0.2.2")
    };
    let (local, remote) = if first { (one, two) } else { (two, one) };
    SessionPlan {
        id: 77,
        local: local.parse().expect("an address"),
        remote: remote.parse().expect("an address"),
        ports: udp.then_some(if first { (1701, 1702) } else { (1702, 1701) }),
        peer_session_id: 77,
        send_cookie: cookie,
        receive_cookie: cookie,
        previous_cookie: None,
        sublayer,
        form: OuterForm::default(),
        visible_ifindex: 3,
        hidden_ifindex: 4,
        underlay_ifindex: 2,
        next_hop: None,
        slot: 5,
    }
}

/// A frame as the first end sends it.
fn encapsulate(plan: &SessionPlan<'_>, frame: &[u8]) -> Vec<u8> {
    classified(plan, 0, frame)
}

/// The same with these bits of the inner traffic class.
fn classified(plan: &SessionPlan<'_>, class: u8, frame: &[u8]) -> Vec<u8> {
    let transmit = Transmit::new(plan).expect("a plan that is right");
    let mut outer = *transmit.outer();
    let length = transmit.outer_length();
    outer.add_class(transmit.carrier(), class);
    outer.finish(transmit.carrier(), length - 14 + frame.len() as u32);
    let mut packet = outer.bytes()[..length as usize].to_vec();
    if transmit.has_checksum() {
        // Not looked at, but must not be 0.
        packet[14 + 40 + 6] = 1;
    }
    packet.extend(frame);
    packet
}

/// What the second end knows.
fn receiver(plan: &SessionPlan<'_>) -> Memory {
    let port = plan.ports.unwrap_or_default().0.to_be_bytes();
    let endpoint = EndpointKey::new(Address::from(plan.local), plan.carrier(), port);
    let mut memory = Memory::default();
    let value = SessionValue::new(plan).expect("a plan that is right");
    memory.sessions.insert(SessionId::new(77), value);
    memory.endpoints = vec![endpoint, endpoint.of_fragments()];
    memory
}

prop_compose! {
    fn ends()(
        v6: bool,
        udp: bool,
        sublayer: bool,
        cookie in prop_oneof![
            Just(vec![]),
            prop::collection::vec(any::<u8>(), 4),
            prop::collection::vec(any::<u8>(), 8),
        ],
    ) -> (bool, bool, bool, Vec<u8>) {
        (v6, udp, sublayer, cookie)
    }
}

proptest! {
    #[test]
    fn what_is_sent_is_received(
        (v6, udp, sublayer, cookie) in ends(),
        frame in prop::collection::vec(any::<u8>(), 14..2000),
        padding in 0..50_usize,
    ) {
        let mut packet = encapsulate(&plan(v6, udp, sublayer, &cookie, true), &frame);
        let end = packet.len();
        packet.resize(end + padding, 0);
        let memory = receiver(&plan(v6, udp, sublayer, &cookie, false));
        let delivery = decide(Packet::of(&packet), &memory);
        prop_assert_eq!(delivery, Ok(Delivery {
            start: end - frame.len(),
            end,
            hidden_ifindex: 4,
            visible_ifindex: 3,
            slot: 5,
            previous_cookie: false,
            sequence: Sequence::Unchecked,
            ecn: 0,
        }));
    }

    #[test]
    fn one_byte_of_the_headers_changed_never_delivers_another_frame(
        (v6, udp, sublayer, cookie) in ends(),
        frame in prop::collection::vec(any::<u8>(), 14..100),
        at in any::<prop::sample::Index>(),
        change in 1..=255_u8,
    ) {
        let mut packet = encapsulate(&plan(v6, udp, sublayer, &cookie, true), &frame);
        let headers = packet.len() - frame.len();
        packet[at.index(headers)] ^= change;
        let memory = receiver(&plan(v6, udp, sublayer, &cookie, false));
        // A field that is ignored may change, and then the same frame is delivered. Over IPv6
        // without UDP nothing guards the only length there is: the frame may lose its end.
        if let Ok(delivery) = decide(Packet::of(&packet), &memory) {
            let delivered = &packet[delivery.start..delivery.end];
            let shortened = v6 && !udp && frame.starts_with(delivered);
            prop_assert!(shortened || delivered == &frame[..]);
        }
    }

    #[test]
    fn nothing_makes_it_read_beyond_the_end(
        (v6, udp, sublayer, cookie) in ends(),
        bytes in prop::collection::vec(any::<u8>(), 0..120),
        cut in any::<prop::sample::Index>(),
    ) {
        let memory = receiver(&plan(v6, udp, sublayer, &cookie, false));
        let random = decide(Packet::of(&bytes), &memory);
        prop_assert!(random.is_err());
        let packet = encapsulate(&plan(v6, udp, sublayer, &cookie, true), &bytes);
        let cut = cut.index(packet.len());
        // An allocation of exactly this length, so that a tool that watches memory sees a read too
        // far (Miri, ASan).
        let cut: Box<[u8]> = packet[..cut].into();
        prop_assert!(decide(Packet::of(&cut), &memory).is_err());
    }

    #[test]
    fn the_class_comes_from_where_it_should(
        (v6, udp, sublayer, cookie) in ends(),
        inner: u8,
        dscp in prop_oneof![Just(Dscp::Copy), (0..64_u8).prop_map(Dscp::Fixed)],
        ecn: bool,
    ) {
        let form = OuterForm { dscp, ecn, ..OuterForm::default() };
        let sender = SessionPlan { form, ..plan(v6, udp, sublayer, &cookie, true) };
        let transmit = Transmit::new(&sender).expect("a plan that is right");
        let copied = inner & transmit.copied_class();
        let mut packet = classified(&sender, copied, &[0; 60]);
        let fixed = match dscp {
            Dscp::Copy => inner & congestion::DSCP,
            Dscp::Fixed(dscp) => dscp << 2,
        };
        let wanted = fixed | if ecn { inner & congestion::ECN } else { 0 };
        prop_assert_eq!(congestion::class(packet[14], packet[15]), wanted);
        prop_assert!(v6 || is_sum_right(&packet));
        // Somebody on the way says that there is congestion.
        if v6 {
            packet[15] |= 0x30;
            let receiver = receiver(&SessionPlan {
                form,
                ..plan(v6, udp, sublayer, &cookie, false)
            });
            let delivery = decide(Packet::of(&packet), &receiver).expect("a delivery");
            prop_assert_eq!(delivery.ecn, if ecn { 3 } else { 0 });
        }
    }

    #[test]
    fn the_ipv4_checksum_is_right(frame in prop::collection::vec(any::<u8>(), 14..1400)) {
        let packet = encapsulate(&plan(false, true, false, &[], true), &frame);
        prop_assert!(is_sum_right(&packet));
    }
}

#[test]
fn a_checksum_is_missed_where_its_absence_was_not_agreed() {
    for agreed in [false, true] {
        let form = OuterForm {
            udp_checksum: !agreed,
            ..OuterForm::default()
        };
        let plan = |first| SessionPlan {
            form,
            ..plan(true, true, false, &[], first)
        };
        let mut packet = encapsulate(&plan(true), &[0; 60]);
        assert!(decide(Packet::of(&packet), &receiver(&plan(false))).is_ok());
        packet[14 + 40 + 6..][..2].fill(0);
        let receiver = receiver(&plan(false));
        let refused = decide(Packet::of(&packet), &receiver);
        let blamed = [(5, Reason::MissingChecksum)];
        assert_eq!(receiver.blamed.take(), &blamed[usize::from(agreed)..]);
        let missing = PacketRefusal::Drop(Reason::MissingChecksum);
        assert_eq!(refused.err(), (!agreed).then_some(missing));
    }
}

/// Whether the sum over the outer IPv4 header is what it must be (RFC 791 3.1).
fn is_sum_right(packet: &[u8]) -> bool {
    let sum: u32 = packet[14..34]
        .chunks(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    (folded & 0xffff) + (folded >> 16) == 0xffff
}

#[test]
fn a_super_packet_says_the_most_it_can() {
    for (v6, lengths) in [(false, 16..18), (true, 18..20)] {
        let plan = plan(v6, true, false, &[], true);
        let packet = encapsulate(&plan, &vec![0; 100_000]);
        assert_eq!(packet[lengths], [0xff, 0xff]);
        let udp = if v6 { 58 } else { 38 };
        assert_eq!(packet[udp..udp + 2], [0xff, 0xff]);
    }
}

#[test]
fn without_an_endpoint_nothing_wrong_is_ours() {
    let cookie = [1, 2, 3, 4];
    let frame = [0; 60];
    let packet = encapsulate(&plan(false, true, false, &cookie, true), &frame);
    let mut memory = receiver(&plan(false, true, false, &cookie, false));
    memory.sessions.clear();
    let unknown = PacketRefusal::Drop(Reason::UnknownSession);
    assert_eq!(decide(Packet::of(&packet), &memory), Err(unknown));
    memory.endpoints.clear();
    assert_eq!(
        decide(Packet::of(&packet), &memory),
        Err(PacketRefusal::Foreign)
    );
}

#[test]
fn carriers_do_not_share_endpoints() {
    let address = Address::from("192.0.2.1".parse::<std::net::IpAddr>().expect("an address"));
    let udp = EndpointKey::new(address, Carrier::UDP_V4, [0; 2]);
    let ip = EndpointKey::new(address, Carrier::IP_V4, [0; 2]);
    assert_ne!(udp, ip);
}
