//! Pseudowire packets written by hand, independent of the code under test.

use std::net::IpAddr;

/// Everything of an outer packet that a test may want to be wrong.
#[derive(Clone, Debug)]
pub(crate) struct Outer {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    /// Source and destination port; `None`: IP protocol 115.
    pub(crate) ports: Option<(u16, u16)>,
    /// IPv4 options, a multiple of 4 bytes.
    pub(crate) options: Vec<u8>,
    /// IPv4 flags and fragment offset.
    pub(crate) fragment: u16,
    /// Added to the length in the IP header.
    pub(crate) ip_length_lie: i32,
    /// Added to the length in the UDP header.
    pub(crate) udp_length_lie: i32,
    /// Bytes behind the UDP header, or behind the IP header: L2TPv3 and the inner frame.
    pub(crate) payload: Vec<u8>,
    /// Bytes behind the packet.
    pub(crate) padding: usize,
}

impl Outer {
    /// The packet, from its Ethernet header on.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut packet = vec![0x52, 0x54, 0, 0, 0, 1, 0x52, 0x54, 0, 0, 0, 2];
        let transport = self.transport();
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                packet.extend([0x08, 0x00]);
                let header_length = 20 + self.options.len();
                let length = lie(header_length + transport.len(), self.ip_length_lie);
                let mut header = vec![0x40 | (header_length / 4) as u8, 0];
                header.extend(length);
                header.extend([0, 0]);
                header.extend(self.fragment.to_be_bytes());
                header.extend([64, self.protocol(), 0, 0]);
                header.extend(source.octets());
                header.extend(destination.octets());
                header.extend(&self.options);
                let checksum = ip_checksum(&header).to_be_bytes();
                header[10..12].copy_from_slice(&checksum);
                packet.extend(header);
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                packet.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                packet.extend(lie(transport.len(), self.ip_length_lie));
                packet.extend([self.protocol(), 64]);
                packet.extend(source.octets());
                packet.extend(destination.octets());
            }
            _ => panic!("outer addresses of different families"),
        }
        packet.extend(self.with_checksum(transport));
        packet.resize(packet.len() + self.padding, 0);
        packet
    }

    fn protocol(&self) -> u8 {
        if self.ports.is_some() { 17 } else { 115 }
    }

    /// The UDP checksum, where the packet is IPv6 and its lengths are true.
    fn with_checksum(&self, mut transport: Vec<u8>) -> Vec<u8> {
        if let (IpAddr::V6(source), IpAddr::V6(destination), Some(_), 0) = (
            self.source,
            self.destination,
            self.ports,
            self.udp_length_lie,
        ) {
            let mut summed = [source.octets(), destination.octets()].concat();
            summed.extend((transport.len() as u32).to_be_bytes());
            summed.extend([0, 0, 0, 17]);
            summed.extend(&transport);
            let checksum = match ip_checksum(&summed) {
                0 => 0xffff,
                other => other,
            };
            transport[6..8].copy_from_slice(&checksum.to_be_bytes());
        }
        transport
    }

    fn transport(&self) -> Vec<u8> {
        let Some((source, destination)) = self.ports else {
            return self.payload.clone();
        };
        let mut bytes = Vec::new();
        bytes.extend(source.to_be_bytes());
        bytes.extend(destination.to_be_bytes());
        bytes.extend(lie(8 + self.payload.len(), self.udp_length_lie));
        bytes.extend([0, 0]);
        bytes.extend(&self.payload);
        bytes
    }
}

fn lie(length: usize, lie: i32) -> [u8; 2] {
    let length = i32::try_from(length).expect("a packet's length") + lie;
    u16::try_from(length)
        .expect("a length that the header can say")
        .to_be_bytes()
}

/// RFC 1071 over a header whose checksum field is 0, bit for bit as the RFC words it.
pub(crate) fn ip_checksum(header: &[u8]) -> u16 {
    let mut sum: u32 = header
        .chunks(2)
        .map(|word| (u32::from(word[0]) << 8) | word.get(1).map_or(0, |low| u32::from(*low)))
        .sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

/// Pseudo-random numbers that are the same in every run (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// So many bytes.
    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
}
