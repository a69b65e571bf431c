//! `[[bfd_keys]]`.

use ::bfd::{Algorithm, Key};

use crate::{
    cookie_file::{self, Files},
    report::Unique,
    section::Section,
    types::BfdKey,
    words,
};

/// The names of the algorithms.
const ALGORITHMS: &[(&str, Algorithm)] = &[
    ("meticulous-keyed-sha1", Algorithm::MeticulousKeyedSha1),
    ("keyed-sha1", Algorithm::KeyedSha1),
    ("meticulous-keyed-md5", Algorithm::MeticulousKeyedMd5),
    ("keyed-md5", Algorithm::KeyedMd5),
    ("simple", Algorithm::Simple),
];

/// How the file names an algorithm.
pub(crate) fn name(algorithm: Algorithm) -> &'static str {
    words::name(ALGORITHMS, algorithm)
}

/// Reads `[[bfd_keys]]`; `tunnels` are the names of those that BFD runs over.
pub(crate) fn keys(sections: &[Section<'_>], files: &Files, tunnels: &[String]) -> Vec<BfdKey> {
    let mut ids = Unique::default();
    sections
        .iter()
        .filter_map(|section| key(section, files, tunnels, &mut ids))
        .collect()
}

fn key(
    section: &Section<'_>,
    files: &Files,
    tunnels: &[String],
    ids: &mut Unique<u32>,
) -> Option<BfdKey> {
    let id = section.unique("id", 0..=255, ids);
    let algorithm = section.choice("algorithm", ALGORITHMS);
    let algorithm = algorithm.unwrap_or(Algorithm::MeticulousKeyedSha1);
    let secret = cookie_file::secret(section, "secret_file", files, algorithm.longest_secret());
    let tunnels = section.tunnels(tunnels, "BFD");
    Some(BfdKey {
        key: Key {
            id: id?.try_into().ok()?,
            algorithm,
            secret: secret?,
        },
        tunnels,
    })
}
