//! What the kernel programs are made of, on the host: any packet on the underlay is delivered, refused or
//! left alone within its bounds, and what is sent in any form comes back as it was.

use arbitrary::Arbitrary;
use l2ha_ebpf::{
    congestion,
    decap::{PacketRefusal, decide},
    inner,
    packet::Packet,
    sequence::Expectation,
};

use crate::session::{Choice, Memory, sent};

#[derive(Arbitrary, Debug)]
struct Input {
    choice: Choice,
    frame: Vec<u8>,
    padding: u8,
    /// What is changed in the packet: a byte of the headers mostly.
    changes: Vec<(u16, u8)>,
    length: Option<u16>,
    raw: Vec<u8>,
    numbers: Vec<u32>,
}

/// Plays bytes as an input; tells whether they are one.
pub fn run(bytes: &[u8]) -> bool {
    crate::play(bytes, play)
}

fn play(input: Input) {
    let memory = Memory::of(&input.choice);
    look(&input.raw, &memory);

    let mut frame = input.frame;
    frame.resize(frame.len().max(14), 0);
    let mut packet = sent(&input.choice, &frame);
    let end = packet.len();
    packet.resize(end + usize::from(input.padding), 0);
    let delivery = decide(Packet::of(&packet), &memory).expect("a packet of ours");
    assert_eq!(packet[delivery.start..delivery.end], frame[..]);

    for (at, value) in input.changes {
        let at = usize::from(at) % packet.len();
        packet[at] = value;
    }
    if let Some(length) = input.length {
        packet.truncate(usize::from(length));
    }
    look(&packet, &memory);

    let mut state = Expectation::default();
    for number in input.numbers {
        state = Expectation::new(state.word()).judge(number).0;
    }
}

/// Looks at a packet in every way the programs do.
fn look(bytes: &[u8], memory: &Memory) {
    // Of exactly this length, so that whoever watches memory sees a read too far.
    let bytes: Box<[u8]> = bytes.into();
    let packet = Packet::of(&bytes);
    match decide(packet, memory) {
        Ok(delivery) => {
            assert!(delivery.start + 14 <= delivery.end && delivery.end <= bytes.len());
            let _ = inner::is_mergeable(packet, delivery.start);
            let _ = inner::flow_hash(packet, delivery.start);
        }
        Err(PacketRefusal::Foreign | PacketRefusal::Pass(_) | PacketRefusal::Drop(_)) => {}
    }
    if let Some(link) = bytes.first_chunk() {
        let at = congestion::network_offset(link);
        if let Some(network) = at.and_then(|at| bytes.get(at..)?.first_chunk()) {
            for outer in 0..4 {
                let mut network = *network;
                let _ = congestion::remark(&mut network, outer);
            }
        }
    }
}
