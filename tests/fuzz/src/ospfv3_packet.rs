//! OSPFv3's codec: whatever a peer sends is decoded or refused, and what is decoded is the same when it
//! has gone out and come back.
#![no_main]

use std::net::Ipv6Addr;

use libfuzzer_sys::fuzz_target;
use ospfv3::wire::Packet;

mod ospf_checksum;

const SOURCE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const DESTINATION: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 5);

fuzz_target!(|bytes: Vec<u8>| {
    let mut bytes = bytes;
    let _ = Packet::decode(&bytes, SOURCE, DESTINATION);
    let _ = Packet::decode_authenticated(&bytes);
    ospf_checksum::mend(&mut bytes, SOURCE, DESTINATION);
    let Ok(packet) = Packet::decode(&bytes, SOURCE, DESTINATION) else {
        return;
    };
    let sent = packet.encode(SOURCE, DESTINATION);
    let again = Packet::decode(&sent, SOURCE, DESTINATION).expect("what we send can be read");
    assert_eq!(packet, again);
    assert_eq!(again.encode(SOURCE, DESTINATION), sent);
});
