//! Keys and digests of the authentication trailer, RFC 7166.

use std::fmt;
use std::net::Ipv6Addr;
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Serialize;
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

use crate::wire::{TRAILER_FIXED_LEN, Trailer};

/// RFC 7166 4.5: Apad behind the source address.
const APAD: [u8; 4] = [0x87, 0x8f, 0xe1, 0xf3];

/// Time of day since 1970-01-01 00:00 UTC, in which the lifetimes of keys are given.
pub type WallTime = Duration;

/// How a digest is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// HMAC-SHA-1, 20 bytes.
    HmacSha1,
    /// HMAC-SHA-256, 32 bytes.
    HmacSha256,
    /// HMAC-SHA-384, 48 bytes.
    HmacSha384,
    /// HMAC-SHA-512, 64 bytes.
    HmacSha512,
}

/// The Cryptographic Protocol ID of OSPFv3 that is appended to a secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProtocolId {
    /// 1 in network byte order, RFC 7166 4.5.
    #[default]
    NetworkOrder,
    /// 1 with the low byte first, as FRR before 9.1 has it on x86 and Arm (ospf6_auth_update_digest()).
    LittleEndian,
}

impl ProtocolId {
    const fn bytes(self) -> [u8; 2] {
        match self {
            Self::NetworkOrder => [0, 1],
            Self::LittleEndian => [1, 0],
        }
    }
}

impl Algorithm {
    /// Bytes of the digest.
    pub const fn size(self) -> usize {
        match self {
            Self::HmacSha1 => 20,
            Self::HmacSha256 => 32,
            Self::HmacSha384 => 48,
            Self::HmacSha512 => 64,
        }
    }

    /// RFC 7166 4.5 (1): keys longer than the digest are hashed. Shorter ones are filled with
    /// zeros, which HMAC does.
    fn key(self, secret: &[u8], id: ProtocolId) -> Zeroizing<Vec<u8>> {
        let key = Zeroizing::new([secret, &id.bytes()].concat());
        if key.len() <= self.size() {
            return key;
        }
        Zeroizing::new(match self {
            Self::HmacSha1 => Sha1::digest(&key).to_vec(),
            Self::HmacSha256 => Sha256::digest(&key).to_vec(),
            Self::HmacSha384 => Sha384::digest(&key).to_vec(),
            Self::HmacSha512 => Sha512::digest(&key).to_vec(),
        })
    }
}

/// From when until when a key is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lifetime {
    /// First moment; none means always.
    pub from: Option<WallTime>,
    /// First moment after; none: without end.
    pub until: Option<WallTime>,
}

impl Lifetime {
    /// Whether `now` lies in it.
    pub fn contains(&self, now: WallTime) -> bool {
        self.from.is_none_or(|from| from <= now) && !self.is_over(now)
    }

    /// Whether it has ended.
    pub fn is_over(&self, now: WallTime) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

/// A key shared with the neighbours of a link: a Security Association, RFC 7166 3.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthKey {
    /// Its number, the same at both ends.
    pub sa_id: u16,
    /// How digests are made with it.
    pub algorithm: Algorithm,
    /// The secret. Never shown, and no longer in memory when it is dropped.
    pub secret: Zeroizing<Vec<u8>>,
    /// What is appended to it; if that is not said, what the neighbours of the link append to it.
    pub protocol_id: Option<ProtocolId>,
    /// When it signs.
    pub send: Lifetime,
    /// When it is accepted.
    pub accept: Lifetime,
}

impl fmt::Debug for AuthKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthKey")
            .field("sa_id", &self.sa_id)
            .field("algorithm", &self.algorithm)
            .field("protocol_id", &self.protocol_id)
            .field("send", &self.send)
            .field("accept", &self.accept)
            .finish_non_exhaustive()
    }
}

impl AuthKey {
    /// A key without limits.
    pub fn new(sa_id: u16, algorithm: Algorithm, secret: impl Into<Vec<u8>>) -> Self {
        Self {
            sa_id,
            algorithm,
            secret: Zeroizing::new(secret.into()),
            protocol_id: None,
            send: Lifetime::default(),
            accept: Lifetime::default(),
        }
    }

    /// Bytes that its trailers add to a packet.
    pub fn overhead(&self) -> usize {
        TRAILER_FIXED_LEN + self.algorithm.size()
    }

    /// Appends a trailer to a packet (and its block of link-local signalling) from `source`; `heard` is what the
    /// neighbours append to the secret.
    pub fn sign(&self, heard: ProtocolId, sequence: u64, source: Ipv6Addr, packet: &mut Vec<u8>) {
        let trailer = Trailer {
            sa_id: self.sa_id,
            sequence,
            data: self.apad(source),
        };
        trailer.encode(packet);
        let digest = self.digest(self.protocol_id.unwrap_or(heard), packet);
        let start = packet.len() - digest.len();
        if let Some(data) = packet.get_mut(start..) {
            data.copy_from_slice(&digest);
        }
    }

    /// Whether `datagram`, which ends with `trailer`, was signed with this key, and what was appended to its secret
    /// then. The time it takes depends on nothing else of the digest.
    pub fn verify(
        &self,
        source: Ipv6Addr,
        datagram: &[u8],
        trailer: &Trailer,
    ) -> Option<ProtocolId> {
        let size = self.algorithm.size();
        if trailer.data.len() != size || datagram.len() < size {
            return None;
        }
        let mut signed = datagram.to_vec();
        signed.truncate(datagram.len() - size);
        signed.extend(self.apad(source));
        let either = [ProtocolId::NetworkOrder, ProtocolId::LittleEndian];
        let mut possible = either
            .into_iter()
            .filter(|id| self.protocol_id.is_none_or(|only| only == *id));
        possible.find(|id| self.is_digest(*id, &signed, &trailer.data))
    }

    fn is_digest(&self, id: ProtocolId, signed: &[u8], digest: &[u8]) -> bool {
        let key = self.algorithm.key(&self.secret, id);
        match self.algorithm {
            Algorithm::HmacSha1 => Hmac::<Sha1>::new_from_slice(&key)
                .is_ok_and(|mac| mac.chain_update(signed).verify_slice(digest).is_ok()),
            Algorithm::HmacSha256 => Hmac::<Sha256>::new_from_slice(&key)
                .is_ok_and(|mac| mac.chain_update(signed).verify_slice(digest).is_ok()),
            Algorithm::HmacSha384 => Hmac::<Sha384>::new_from_slice(&key)
                .is_ok_and(|mac| mac.chain_update(signed).verify_slice(digest).is_ok()),
            Algorithm::HmacSha512 => Hmac::<Sha512>::new_from_slice(&key)
                .is_ok_and(|mac| mac.chain_update(signed).verify_slice(digest).is_ok()),
        }
    }

    /// What stands in place of the digest while it is made, RFC 7166 4.5.
    fn apad(&self, source: Ipv6Addr) -> Vec<u8> {
        let mut apad = source.octets().to_vec();
        while apad.len() < self.algorithm.size() {
            apad.extend(APAD);
        }
        apad
    }

    fn digest(&self, id: ProtocolId, bytes: &[u8]) -> Vec<u8> {
        let key = self.algorithm.key(&self.secret, id);
        // HMAC takes keys of any length.
        let digest = match self.algorithm {
            Algorithm::HmacSha1 => Hmac::<Sha1>::new_from_slice(&key)
                .map(|mac| mac.chain_update(bytes).finalize().into_bytes().to_vec()),
            Algorithm::HmacSha256 => Hmac::<Sha256>::new_from_slice(&key)
                .map(|mac| mac.chain_update(bytes).finalize().into_bytes().to_vec()),
            Algorithm::HmacSha384 => Hmac::<Sha384>::new_from_slice(&key)
                .map(|mac| mac.chain_update(bytes).finalize().into_bytes().to_vec()),
            Algorithm::HmacSha512 => Hmac::<Sha512>::new_from_slice(&key)
                .map(|mac| mac.chain_update(bytes).finalize().into_bytes().to_vec()),
        };
        digest.unwrap_or_else(|_| vec![0; self.algorithm.size()])
    }
}

/// The keys of a link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyChain {
    /// In any order; SA IDs are unique.
    pub keys: Vec<AuthKey>,
}

/// The key to sign with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signer<'a> {
    pub(crate) key: &'a AuthKey,
    /// Its time is over, and there is no other.
    pub(crate) expired: bool,
}

impl KeyChain {
    /// Of these keys, the youngest whose time it is. When the last one has expired it goes on: neither no
    /// authentication nor silence would be better (RFC 7166 3).
    pub(crate) fn signer(
        &self,
        now: WallTime,
        which: impl Fn(&AuthKey) -> bool,
    ) -> Option<Signer<'_>> {
        let keys = || self.keys.iter().filter(|key| which(key));
        let current = keys().filter(|key| key.send.contains(now));
        let youngest = current.max_by_key(|key| (key.send.from, key.sa_id));
        if let Some(key) = youngest {
            return Some(Signer {
                key,
                expired: false,
            });
        }
        let over = keys().filter(|key| key.send.is_over(now));
        let last = over.max_by_key(|key| (key.send.until, key.sa_id));
        last.map(|key| Signer { key, expired: true })
    }

    /// Whether packets signed with `key` are accepted: in its time, and if the time of all is over
    /// the last one goes on.
    pub(crate) fn accepts(&self, key: &AuthKey, now: WallTime) -> bool {
        if key.accept.contains(now) {
            return true;
        }
        let all_over = self.keys.iter().all(|key| key.accept.is_over(now));
        let last = self.keys.iter().map(|key| key.accept.until).max().flatten();
        all_over && key.accept.until == last
    }

    pub(crate) fn find(&self, sa_id: u16) -> Option<&AuthKey> {
        self.keys.iter().find(|key| key.sa_id == sa_id)
    }

    /// Bytes to keep free for a trailer with any of the keys.
    pub(crate) fn overhead(&self) -> usize {
        self.keys.iter().map(AuthKey::overhead).max().unwrap_or(0)
    }
}
