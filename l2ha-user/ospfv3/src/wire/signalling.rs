//! The block of link-local signalling (RFC 5613) behind a Hello, and the one TLV in it that is ours.

use super::{DecodeError, Decoded, Reader, Write};
use crate::rotation::{Credential, CredentialKind};

/// RFC 5613 2.6: private TLVs begin here, and their values with an enterprise number.
const PRIVATE: u16 = 32_768;
/// The enterprise number for examples (RFC 5612), and the word by which ours is told from others'.
const OWNER: [u8; 8] = [0, 0, 0x7e, 0xd9, b'l', b'2', b'h', b'a'];
/// Credentials that are read; an end accepts two of a kind at most.
const MOST: usize = 16;

/// The block in a packet that is signed, so that its checksum is 0 (RFC 5613 2.2), which names what its sender
/// accepts.
#[must_use]
pub fn encode_accepted(accepted: &[Credential]) -> Vec<u8> {
    let mut value = OWNER.to_vec();
    for credential in accepted.iter().take(MOST) {
        value.put_u16(credential.kind.number());
        value.put_u16(0);
        value.put_u32(credential.value);
    }
    // Checksum, length in words, type and length of the TLV: 8 bytes. The value needs no padding.
    let words = (8 + value.len()) / 4;
    let mut block = Vec::with_capacity(8 + value.len());
    block.put_u16(0);
    block.put_u16(u16::try_from(words).unwrap_or(u16::MAX));
    block.put_u16(PRIVATE);
    block.put_u16(u16::try_from(value.len()).unwrap_or(u16::MAX));
    block.put(&value);
    block
}

/// What the sender of a signed block accepts, if the block says so. TLVs and kinds that are not known are skipped.
///
/// # Errors
///
/// When a length does not fit.
pub fn decode_accepted(block: &[u8]) -> Decoded<Option<Vec<Credential>>> {
    let mut r = Reader::new(block);
    // The checksum, which the trailer stands in for, and the length, by which the block was found.
    r.u32()?;
    let mut accepted = None;
    while r.remaining() > 0 {
        let kind = r.u16()?;
        let length = usize::from(r.u16()?);
        let value = r.take(length)?;
        // RFC 5613 2.3: filled up to whole words.
        r.take(length.next_multiple_of(4) - length)?;
        if kind == PRIVATE
            && let Some(ours) = value.strip_prefix(&OWNER)
        {
            accepted = Some(credentials(ours)?);
        }
    }
    Ok(accepted)
}

fn credentials(bytes: &[u8]) -> Decoded<Vec<Credential>> {
    if bytes.len() / 8 > MOST {
        return Err(DecodeError::TrailingBytes(bytes.len() - 8 * MOST));
    }
    let mut r = Reader::new(bytes);
    let mut list = Vec::with_capacity(bytes.len() / 8);
    while r.remaining() > 0 {
        let kind = CredentialKind::from_number(r.u16()?);
        r.u16()?;
        let value = r.u32()?;
        list.extend(kind.map(|kind| Credential { kind, value }));
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn some() -> Vec<Credential> {
        vec![
            Credential::ospf_key(258),
            Credential::bfd_key(3),
            Credential::cookie(&[1, 2, 3, 4, 5, 6, 7, 8]),
        ]
    }

    /// The bytes of docs/protocols.md. The fingerprint is the beginning of
    /// `printf '\1\2\3\4\5\6\7\10' | sha256sum`.
    #[test]
    fn the_block_has_the_documented_bytes() {
        let expected = [
            "0000000a 80000020",
            "00007ed9 6c326861",
            "00010000 00000102",
            "00020000 00000003",
            "00030000 66840dda",
        ];
        let hex: String = encode_accepted(&some())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(hex, expected.concat().replace(' ', ""));
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(decode_accepted(&encode_accepted(&some())), Ok(Some(some())));
        assert_eq!(decode_accepted(&encode_accepted(&[])), Ok(Some(Vec::new())));
    }

    #[test]
    fn others_tlvs_and_unknown_kinds_are_skipped() {
        // Extended Options (RFC 5613 2.5), then another enterprise's TLV of 5 bytes.
        let mut block = vec![0, 0, 0, 0, 0, 1, 0, 4, 0, 0, 0, 1];
        block.extend([0x80, 0, 0, 5, 0, 0, 0, 9, 7, 0, 0, 0]);
        assert_eq!(decode_accepted(&block), Ok(None));
        let ours = encode_accepted(&some());
        block.extend(&ours[4..]);
        // A credential of kind 9.
        let at = block.len() - 7;
        block[at] = 9;
        assert_eq!(decode_accepted(&block), Ok(Some(some()[..2].to_vec())));
    }

    #[test]
    fn lengths_that_do_not_fit_are_errors() {
        let good = encode_accepted(&some());
        for length in [1, 2, 3, 5, 9, 13, good.len() - 1, good.len() - 8] {
            assert!(decode_accepted(&good[..length]).is_err(), "{length}");
        }
        let many = vec![Credential::bfd_key(1); MOST];
        let mut long = encode_accepted(&many);
        long[7] += 8;
        long.extend([0; 8]);
        assert!(decode_accepted(&long).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_accepted(&bytes);
        }
    }
}
