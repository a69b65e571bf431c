//! Writing pcapng (draft-ietf-opsawg-pcapng), as much of it as is needed.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;
const LINKTYPE_ETHERNET: u16 = 1;
/// `shb_userappl`, `if_name`, `if_tsresol`, `epb_flags`.
const USER_APPLICATION: u16 = 4;
const INTERFACE_NAME: u16 = 2;
const TIME_RESOLUTION: u16 = 9;
const FLAGS: u16 = 2;
/// Times are in 10^-9 s.
const NANOSECONDS: u8 = 9;
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// A capture that is being written; numbers are little-endian.
pub(super) struct Pcapng<W> {
    to: W,
    snaplen: u32,
    interfaces: BTreeMap<String, u32>,
}

impl<W: Write> Pcapng<W> {
    /// Begins one, of which no packet has more than `snaplen` bytes.
    pub(super) fn new(mut to: W, snaplen: u32) -> io::Result<Self> {
        let mut body = Vec::new();
        body.extend(BYTE_ORDER.to_le_bytes());
        body.extend([1, 0, 0, 0]);
        // The section's length is not known.
        body.extend(u64::MAX.to_le_bytes());
        let program = concat!("l2ha ", env!("CARGO_PKG_VERSION"));
        option(&mut body, USER_APPLICATION, program.as_bytes());
        end_of_options(&mut body);
        block(&mut to, SECTION_HEADER, &body)?;
        Ok(Self {
            to,
            snaplen,
            interfaces: BTreeMap::new(),
        })
    }

    /// Adds a packet of `length` bytes, of which `bytes` were captured, `time` nanoseconds after
    /// 1970.
    pub(super) fn packet(
        &mut self,
        interface: &str,
        inbound: bool,
        time: u64,
        length: u32,
        bytes: &[u8],
    ) -> io::Result<()> {
        let interface = self.interface(interface)?;
        let captured = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        let mut body = Vec::with_capacity(bytes.len() + 48);
        body.extend(interface.to_le_bytes());
        body.extend(((time >> 32) as u32).to_le_bytes());
        body.extend((time as u32).to_le_bytes());
        body.extend(captured.to_le_bytes());
        body.extend(length.max(captured).to_le_bytes());
        body.extend(bytes);
        pad(&mut body);
        let flags = if inbound { INBOUND } else { OUTBOUND };
        option(&mut body, FLAGS, &flags.to_le_bytes());
        end_of_options(&mut body);
        block(&mut self.to, PACKET, &body)
    }

    /// Passes on what is still held back.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }

    /// An interface's number; its block is written before its first packet.
    fn interface(&mut self, name: &str) -> io::Result<u32> {
        if let Some(number) = self.interfaces.get(name) {
            return Ok(*number);
        }
        let number = u32::try_from(self.interfaces.len()).map_err(io::Error::other)?;
        let mut body = Vec::new();
        body.extend(LINKTYPE_ETHERNET.to_le_bytes());
        body.extend([0, 0]);
        body.extend(self.snaplen.to_le_bytes());
        option(&mut body, INTERFACE_NAME, name.as_bytes());
        option(&mut body, TIME_RESOLUTION, &[NANOSECONDS]);
        end_of_options(&mut body);
        block(&mut self.to, INTERFACE, &body)?;
        self.interfaces.insert(name.to_owned(), number);
        Ok(number)
    }
}

fn block(to: &mut impl Write, kind: u32, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len() + 12).map_err(io::Error::other)?;
    to.write_all(&kind.to_le_bytes())?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(body)?;
    to.write_all(&length.to_le_bytes())
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend(code.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    body.extend(value);
    pad(body);
}

fn end_of_options(body: &mut Vec<u8>) {
    body.extend([0; 4]);
}

fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The blocks of a capture: kind and body. Fails where lengths do not agree.
    fn blocks(mut bytes: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let word =
            |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let mut blocks = Vec::new();
        while !bytes.is_empty() {
            let length = word(bytes, 4) as usize;
            assert_eq!(length % 4, 0);
            assert_eq!(word(bytes, length - 4) as usize, length);
            blocks.push((word(bytes, 0), bytes[8..length - 4].to_vec()));
            bytes = &bytes[length..];
        }
        blocks
    }

    #[test]
    fn each_tunnel_is_an_interface_and_packets_follow_it() {
        let mut capture = Pcapng::new(Vec::new(), 256).unwrap();
        for (tunnel, inbound) in [("a", true), ("b", false), ("a", false)] {
            capture
                .packet(tunnel, inbound, 0x1_0000_0002, 99, &[7; 15])
                .unwrap();
        }
        let blocks = blocks(&capture.to);
        let kinds: Vec<u32> = blocks.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(
            kinds,
            [SECTION_HEADER, INTERFACE, PACKET, INTERFACE, PACKET, PACKET]
        );
        let (_, last) = &blocks[5];
        assert_eq!(last[..4], 0_u32.to_le_bytes(), "of the first interface");
        assert_eq!(last[4..12], [1, 0, 0, 0, 2, 0, 0, 0], "time");
        assert_eq!(last[12..20], [15, 0, 0, 0, 99, 0, 0, 0], "lengths");
        assert_eq!(last[20..35], [7; 15]);
        assert_eq!(last[36..44], [2, 0, 4, 0, 2, 0, 0, 0], "outbound");
    }
}
