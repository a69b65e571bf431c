//! Authentication of control packets, RFC 5880 6.7.

use std::{fmt, time::Duration};

use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    packet::{AUTHENTICATION, DecodeError, LENGTH, PACKET_LENGTH, Packet},
    session::Time,
};

/// Auth Type, Auth Len, Auth Key ID, Reserved and Sequence Number, before a digest.
const DIGEST_AT: usize = 8;
/// Auth Type, Auth Len and Auth Key ID, before a password.
const PASSWORD_AT: usize = 3;

/// How packets are signed, RFC 5880 4.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// The secret itself: any reader of a packet knows it.
    Simple,
    /// MD5 over packet and secret, with a sequence number that counts the changes of what is sent.
    KeyedMd5,
    /// The same, with a sequence number that counts the packets.
    MeticulousKeyedMd5,
    /// SHA-1 over packet and secret, with a sequence number that counts the changes of what is sent.
    KeyedSha1,
    /// The same, with a sequence number that counts the packets.
    MeticulousKeyedSha1,
}

impl Algorithm {
    /// Auth Type.
    const fn number(self) -> u8 {
        match self {
            Self::Simple => 1,
            Self::KeyedMd5 => 2,
            Self::MeticulousKeyedMd5 => 3,
            Self::KeyedSha1 => 4,
            Self::MeticulousKeyedSha1 => 5,
        }
    }

    /// The longest secret, in bytes; a shorter one is filled up with zeros.
    #[must_use]
    pub const fn longest_secret(self) -> usize {
        match self {
            Self::Simple | Self::KeyedMd5 | Self::MeticulousKeyedMd5 => 16,
            Self::KeyedSha1 | Self::MeticulousKeyedSha1 => 20,
        }
    }

    /// Whether no two packets have the same sequence number.
    const fn is_meticulous(self) -> bool {
        matches!(self, Self::MeticulousKeyedMd5 | Self::MeticulousKeyedSha1)
    }

    fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Simple => Vec::new(),
            Self::KeyedMd5 | Self::MeticulousKeyedMd5 => Md5::digest(bytes).to_vec(),
            Self::KeyedSha1 | Self::MeticulousKeyedSha1 => Sha1::digest(bytes).to_vec(),
        }
    }
}

/// A key.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// Auth Key ID.
    pub id: u8,
    /// How it signs.
    pub algorithm: Algorithm,
    /// The secret: 1 to [`Algorithm::longest_secret`] bytes; what is beyond is not used. No longer in memory when it
    /// is dropped.
    pub secret: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl Key {
    fn secret(&self) -> &[u8] {
        let longest = self.algorithm.longest_secret();
        self.secret.get(..longest).unwrap_or(&self.secret)
    }

    /// Packet and authentication section, with the secret where the digest goes (RFC 5880 6.7.3 and
    /// 6.7.4): what is digested.
    fn message(&self, packet: &[u8; PACKET_LENGTH], sequence: u32) -> Zeroizing<Vec<u8>> {
        let secret = self.secret();
        let length = match self.algorithm {
            Algorithm::Simple => PASSWORD_AT + secret.len(),
            _ => DIGEST_AT + self.algorithm.longest_secret(),
        };
        // At most 28: it fits. With room from the beginning, so that it is not copied.
        let mut message = Zeroizing::new(Vec::with_capacity(PACKET_LENGTH + length));
        message.extend(packet);
        message.extend([self.algorithm.number(), length as u8, self.id]);
        if self.algorithm != Algorithm::Simple {
            message.push(0);
            message.extend(sequence.to_be_bytes());
        }
        message.extend(secret);
        message.resize(PACKET_LENGTH + length, 0);
        for (at, value) in [
            (FLAGS, packet[FLAGS] | AUTHENTICATION),
            (LENGTH, message.len() as u8),
        ] {
            if let Some(byte) = message.get_mut(at) {
                *byte = value;
            }
        }
        message
    }

    /// The packet as it goes out.
    fn seal(&self, packet: &[u8; PACKET_LENGTH], sequence: u32) -> Vec<u8> {
        let mut message = self.message(packet, sequence);
        let digest = self.algorithm.digest(&message);
        // Over the secret, which is as long.
        let length = message.len() - digest.len();
        message.truncate(length);
        message.extend(digest);
        std::mem::take(&mut message)
    }
}

const FLAGS: usize = 1;

/// Why a packet is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// No control packet.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// An authentication section that is no such.
    #[error("the authentication section is malformed")]
    Section,
    /// Without authentication, where there are keys.
    #[error("the packet is not authenticated")]
    Missing,
    /// With authentication, where there are no keys.
    #[error("the packet is authenticated")]
    Unexpected,
    /// No key has this number.
    #[error("there is no key {0}")]
    UnknownKey(u8),
    /// The key with this number signs otherwise.
    #[error("authentication type {0}")]
    WrongType(u8),
    /// Another secret, or a packet that was changed on its way.
    #[error("the digest is wrong")]
    WrongDigest,
    /// A sequence number that is not expected.
    #[error("sequence number {0} is none of those expected")]
    Replayed(u32),
}

impl Refused {
    /// The name of its counter.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Section => "auth_malformed",
            Self::Missing => "auth_missing",
            Self::Unexpected => "auth_unexpected",
            Self::UnknownKey(_) => "auth_unknown_key",
            Self::WrongType(_) => "auth_wrong_type",
            Self::WrongDigest => "auth_digest",
            Self::Replayed(_) => "auth_replayed",
        }
    }
}

/// What a session knows of authentication: the keys, and the state variables that begin with
/// `bfd.Auth` and end with `AuthSeq` in RFC 5880 6.8.1.
#[derive(Clone, Debug)]
pub struct Authenticator {
    keys: Vec<Key>,
    /// bfd.XmitAuthSeq.
    sequence: u32,
    /// What that number was sent with.
    last: Option<[u8; PACKET_LENGTH]>,
    /// bfd.RcvAuthSeq and until when it is known (bfd.AuthSeqKnown).
    received: Option<(u32, Time)>,
}

impl Authenticator {
    /// Signs with the first of the keys and accepts all; without any, packets are not authenticated.
    /// Sequence numbers begin at `sequence`, which should be random.
    #[must_use]
    pub const fn new(keys: Vec<Key>, sequence: u32) -> Self {
        Self {
            keys,
            sequence,
            last: None,
            received: None,
        }
    }

    /// Changes the keys; sequence numbers go on.
    pub fn set_keys(&mut self, keys: Vec<Key>) {
        self.keys = keys;
    }

    /// The key that signs.
    #[must_use]
    pub fn signs_with(&self) -> Option<&Key> {
        self.keys.first()
    }

    /// The bytes of a packet to send.
    pub fn seal(&mut self, packet: &Packet) -> Vec<u8> {
        let bytes = packet.encode();
        let Some(key) = self.keys.first() else {
            return bytes.to_vec();
        };
        // RFC 5880 6.7.3: a number that is not meticulous should grow when the packet changes.
        if key.algorithm.is_meticulous() || self.last != Some(bytes) {
            self.sequence = self.sequence.wrapping_add(1);
            self.last = Some(bytes);
        }
        key.seal(&bytes, self.sequence)
    }

    /// Reads a packet and checks its authentication; `detection_time` is the session's.
    ///
    /// # Errors
    ///
    /// When it is to be discarded.
    pub fn open(
        &mut self,
        now: Time,
        bytes: &[u8],
        detection_time: Duration,
    ) -> Result<Packet, Refused> {
        let (packet, section) = Packet::split(bytes)?;
        if self.keys.is_empty() {
            return match section {
                None => Ok(packet),
                Some(_) => Err(Refused::Unexpected),
            };
        }
        let section = section.ok_or(Refused::Missing)?;
        let &[ty, length, id, ..] = section else {
            return Err(Refused::Section);
        };
        let key = self.keys.iter().find(|key| key.id == id);
        let key = key.ok_or(Refused::UnknownKey(id))?;
        if key.algorithm.number() != ty {
            return Err(Refused::WrongType(ty));
        }
        if usize::from(length) != section.len() {
            return Err(Refused::Section);
        }
        let sequence = match (key.algorithm, section) {
            (Algorithm::Simple, _) => None,
            (algorithm, [_, _, _, _, a, b, c, d, digest @ ..])
                if digest.len() == algorithm.longest_secret() =>
            {
                Some(u32::from_be_bytes([*a, *b, *c, *d]))
            }
            _ => return Err(Refused::Section),
        };
        let received = self.received.filter(|(_, until)| now < *until);
        if let (Some(sequence), Some((last, _))) = (sequence, received) {
            // RFC 5880 6.7.3: at most three times Detect Mult ahead, in a circular number space.
            let ahead = sequence.wrapping_sub(last);
            let least = u32::from(key.algorithm.is_meticulous());
            if !(least..=3 * u32::from(packet.detect_mult)).contains(&ahead) {
                return Err(Refused::Replayed(sequence));
            }
        }
        // Reserved is ignored on receipt (RFC 5880 4.3), and yet digested.
        let Some(head) = bytes.first_chunk::<PACKET_LENGTH>() else {
            return Err(Refused::Section);
        };
        let mut expected = key.message(head, sequence.unwrap_or_default());
        if sequence.is_some()
            && let (Some(to), Some(reserved)) =
                (expected.get_mut(PACKET_LENGTH + 3), section.get(3))
        {
            *to = *reserved;
        }
        let digest = key.algorithm.digest(&expected);
        let length = expected.len() - digest.len();
        expected.truncate(length);
        expected.extend(digest);
        let signed = bytes.get(..PACKET_LENGTH + section.len());
        if !signed.is_some_and(|signed| is_same(signed, &expected)) {
            return Err(Refused::WrongDigest);
        }
        if let Some(sequence) = sequence {
            // RFC 5880 6.8.1: forgotten after twice the detection time of silence.
            self.received = Some((sequence, now + detection_time * 2));
        }
        Ok(packet)
    }
}

/// Whether both are the same, in constant time.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    let differs = a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b));
    a.len() == b.len() && std::hint::black_box(differs) == 0
}
