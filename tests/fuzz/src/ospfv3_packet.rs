//! OSPFv3's codec: whatever a peer sends is decoded or refused, and what is decoded is the same when it
//! has gone out and come back.

use std::net::Ipv6Addr;

use crate::ospf_checksum;
use ospfv3::wire::{Packet, Sections, decode_accepted, encode_accepted};

const SOURCE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const DESTINATION: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 5);

/// Plays bytes as an input; tells whether they are one.
pub fn run(bytes: &[u8]) -> bool {
    crate::play(bytes, play)
}

fn play(mut bytes: Vec<u8>) {
    let _ = Packet::decode(&bytes, SOURCE, DESTINATION);
    let _ = Packet::decode_authenticated(&bytes);
    // Behind a Hello, and as if it were all a block of link-local signalling.
    let signalling = Sections::find(&bytes).map(|sections| sections.signalling);
    for block in [signalling.unwrap_or_default(), &bytes] {
        if let Ok(Some(accepted)) = decode_accepted(block) {
            let again = decode_accepted(&encode_accepted(&accepted));
            assert_eq!(again, Ok(Some(accepted)));
        }
    }
    ospf_checksum::mend(&mut bytes, SOURCE, DESTINATION);
    let Ok(packet) = Packet::decode(&bytes, SOURCE, DESTINATION) else {
        return;
    };
    let sent = packet.encode(SOURCE, DESTINATION);
    let again = Packet::decode(&sent, SOURCE, DESTINATION).expect("what we send can be read");
    assert_eq!(packet, again);
    assert_eq!(again.encode(SOURCE, DESTINATION), sent);
}
