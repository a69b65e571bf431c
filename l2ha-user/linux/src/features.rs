//! All of an interface's offloads by the names that `ethtool -k` shows, and whether they can be
//! switched (`ETHTOOL_GFEATURES`, linux/ethtool.h).

use std::{collections::BTreeMap, io};

use crate::ethtool::{ioctl, text};

const GET_SET_INFO: u32 = 0x37;
const GET_STRINGS: u32 = 0x1b;
const GET_FEATURES: u32 = 0x3a;
/// `ETH_SS_FEATURES`: the set of strings that names the features.
const FEATURE_NAMES: u32 = 4;
/// `ETH_GSTRING_LEN` in words.
const NAME_WORDS: usize = 8;
/// Features in one block of `struct ethtool_gfeatures`, and its words: available, requested,
/// active, never changed.
const BLOCK: usize = 32;
const BLOCK_WORDS: usize = 4;

/// An offload's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Whether it is on.
    pub on: bool,
    /// Whether it can be switched; `ethtool -k` shows `[fixed]` where not.
    pub changeable: bool,
}

/// The features of an interface by their names in the kernel, as `rx-lro`.
///
/// # Errors
///
/// When there is no such interface in this thread's network namespace.
pub fn features(interface: &str) -> io::Result<BTreeMap<String, Feature>> {
    let names = names(interface)?;
    let blocks = names.len().div_ceil(BLOCK);
    let mut words = vec![0; 2 + blocks * BLOCK_WORDS];
    words[0] = GET_FEATURES;
    words[1] = u32::try_from(blocks).map_err(io::Error::other)?;
    ioctl(interface, &mut words)?;
    let states = &words[2..];
    let feature = |bit: usize| {
        let block = &states[bit / BLOCK * BLOCK_WORDS..][..BLOCK_WORDS];
        let is_set = |word: usize| block[word] & (1 << (bit % BLOCK)) != 0;
        Feature {
            on: is_set(2),
            changeable: is_set(0) && !is_set(3),
        }
    };
    Ok(names
        .into_iter()
        .enumerate()
        .filter(|(_, name)| !name.is_empty())
        .map(|(bit, name)| (name, feature(bit)))
        .collect())
}

/// The names of all features, each in the place of its bit.
fn names(interface: &str) -> io::Result<Vec<String>> {
    // struct ethtool_sset_info: command, reserved, a mask of 64 bits, one number per set asked for.
    let mut info = [GET_SET_INFO, 0, 0, 0, 0];
    let mask = (1_u64 << FEATURE_NAMES).to_ne_bytes();
    for (word, bytes) in info[2..4].iter_mut().zip(mask.chunks_exact(4)) {
        *word = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    ioctl(interface, &mut info)?;
    let count = info[4] as usize;
    // struct ethtool_gstrings: command, set, number, then the strings: always all of them.
    let mut words = vec![0; 3 + count * NAME_WORDS];
    words[0] = GET_STRINGS;
    words[1] = FEATURE_NAMES;
    words[2] = info[4];
    ioctl(interface, &mut words)?;
    Ok(words[3..].chunks_exact(NAME_WORDS).map(text).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_has_features_that_can_be_switched_and_such_that_cannot() {
        let features = features("lo").unwrap();
        let state = |name: &str| features.get(name).copied().unwrap();
        assert!(state("tx-tcp-segmentation").changeable);
        assert!(!state("loopback").changeable && state("loopback").on);
    }
}
