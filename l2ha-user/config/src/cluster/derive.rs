//! What a cluster's nodes share, derived from names and one secret: HKDF-SHA-256 (RFC 5869). docs/cluster.md has the
//! inputs and test vectors.

use std::net::{Ipv4Addr, Ipv6Addr};

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

/// Version of the derivation; part of every input, so that another one would give other values.
const SALT: &[u8] = b"l2ha cluster 1";
/// Bytes of the cluster's secret.
pub(crate) const SECRET: usize = 32;
/// Bytes of a node's own key: the fingerprint, then what is derived.
pub(crate) const NODE_KEY: usize = 1 + SECRET;

/// Expands `key` over these words, each closed by a zero byte, which no name has.
fn expand<const N: usize>(key: &Hkdf<Sha256>, words: &[&str]) -> Zeroizing<[u8; N]> {
    let info: Vec<u8> = words
        .iter()
        .flat_map(|word| word.bytes().chain([0]))
        .collect();
    let mut out = Zeroizing::new([0; N]);
    key.expand(&info, &mut out[..])
        .expect("HKDF gives up to 8160 bytes");
    out
}

/// What follows from names alone, and is no secret.
pub(crate) struct Public(Hkdf<Sha256>);

impl Public {
    /// Of the cluster of this name.
    pub(crate) fn new(cluster: &str) -> Self {
        Self(Hkdf::new(Some(SALT), cluster.as_bytes()))
    }

    /// Session id of packets from one node to another; not 0.
    pub(crate) fn session_id(&self, from: &str, to: &str) -> u32 {
        u32::from_be_bytes(*expand(&self.0, &["session", from, to])).max(1)
    }

    /// Router id of a node; not 0.0.0.0.
    pub(crate) fn router_id(&self, node: &str) -> Ipv4Addr {
        let id = u32::from_be_bytes(*expand(&self.0, &["router", node]));
        Ipv4Addr::from(id.max(1))
    }

    /// The node's own address, in the cluster's /48 of unique local addresses (RFC 4193), subnet 0.
    pub(crate) fn address(&self, node: &str) -> Ipv6Addr {
        let global: [u8; 5] = *expand(&self.0, &["prefix"]);
        let interface: [u8; 8] = *expand(&self.0, &["address", node]);
        let mut octets = [0; 16];
        octets[0] = 0xfd;
        octets[1..6].copy_from_slice(&global);
        octets[8..].copy_from_slice(&interface);
        octets.into()
    }

    /// Six hexadecimal digits for the interface of a tunnel to a node whose name is too long for one.
    pub(crate) fn interface_digits(&self, node: &str) -> String {
        hex(&expand::<3>(&self.0, &["interface", node])[..])
    }
}

/// The secret of a cluster, which its servers have.
#[derive(Clone)]
pub(crate) struct Secret {
    root: Hkdf<Sha256>,
    fingerprint: u8,
}

impl Secret {
    /// From the file's bytes.
    pub(crate) fn new(secret: &[u8; SECRET], cluster: &str) -> Self {
        let root = Hkdf::new(Some(SALT), secret);
        let fingerprint = expand::<1>(&root, &["fingerprint", cluster])[0];
        Self { root, fingerprint }
    }

    /// The key of a node that has no more than that.
    pub(crate) fn node_key(&self, cluster: &str, node: &str) -> NodeKey {
        let mut key = Zeroizing::new([0; NODE_KEY]);
        key[0] = self.fingerprint;
        key[1..].copy_from_slice(&expand::<SECRET>(&self.root, &["node", cluster, node])[..]);
        NodeKey(key)
    }

    /// What two nodes of the same role share.
    pub(crate) fn alike(&self, cluster: &str, one: &str, other: &str) -> PairKeys {
        let (first, second) = (one.min(other), one.max(other));
        let pair = expand::<SECRET>(&self.root, &["alike", cluster, first, second]);
        PairKeys::new(&pair, self.fingerprint)
    }
}

/// A node's own key: a client has it in place of the secret.
#[derive(Clone)]
pub(crate) struct NodeKey(Zeroizing<[u8; NODE_KEY]>);

impl NodeKey {
    /// From the file's bytes.
    pub(crate) fn new(bytes: Zeroizing<[u8; NODE_KEY]>) -> Self {
        Self(bytes)
    }

    /// Which secret it comes from: one byte, the same for all keys of a secret.
    pub(crate) fn fingerprint(&self) -> u8 {
        self.0[0]
    }

    /// Its file's text.
    pub(crate) fn hex(&self) -> Zeroizing<String> {
        Zeroizing::new(hex(&self.0[..]))
    }

    /// What the node shares with a server.
    pub(crate) fn with_server(&self, server: &str) -> PairKeys {
        let key = Hkdf::from_prk(&self.0[1..]).expect("as long as a hash");
        PairKeys::new(&expand::<SECRET>(&key, &["pair", server]), self.0[0])
    }
}

/// What the two ends of a tunnel share.
pub(crate) struct PairKeys {
    pair: Hkdf<Sha256>,
    fingerprint: u8,
}

impl PairKeys {
    fn new(pair: &[u8; SECRET], fingerprint: u8) -> Self {
        let pair = Hkdf::from_prk(pair).expect("as long as a hash");
        Self { pair, fingerprint }
    }

    /// The cookie of packets from one end to the other, as 16 hexadecimal digits.
    pub(crate) fn cookie(&self, from: &str, to: &str) -> Zeroizing<String> {
        Zeroizing::new(hex(&expand::<8>(&self.pair, &["cookie", from, to])[..]))
    }

    /// The key of OSPF: 64 characters.
    pub(crate) fn ospf(&self) -> Zeroizing<String> {
        Zeroizing::new(hex(&expand::<32>(&self.pair, &["ospf"])[..]))
    }

    /// The key of BFD: 20 characters, as many as Keyed SHA1 takes (RFC 5880 section 6.7.4).
    pub(crate) fn bfd(&self) -> Zeroizing<String> {
        Zeroizing::new(hex(&expand::<10>(&self.pair, &["bfd"])[..]))
    }

    /// Security Association ID of OSPF's key (RFC 7166 section 3): 1 to 256, another one after a rotation.
    pub(crate) fn sa_id(&self) -> u16 {
        1 + u16::from(self.fingerprint)
    }

    /// Key ID of BFD's key (RFC 5880 section 4.4), another one after a rotation.
    pub(crate) fn bfd_id(&self) -> u8 {
        self.fingerprint
    }
}

/// Lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// The bytes of as many digits.
pub(crate) fn from_hex<const N: usize>(text: &[u8]) -> Option<Zeroizing<[u8; N]>> {
    let text = text.trim_ascii();
    let digit = |at: usize| char::from(text[at]).to_digit(16);
    let mut bytes = Zeroizing::new([0; N]);
    if text.len() != 2 * N {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::try_from(digit(2 * at)? << 4 | digit(2 * at + 1)?).ok()?;
    }
    Some(bytes)
}
