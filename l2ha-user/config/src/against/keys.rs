//! The keys of OSPF and BFD at the two ends of a tunnel. Secrets are compared, and never shown. What is said names the
//! key and not the tunnel, so that it is said once.

use std::fmt::Display;

use super::{
    files::NodeFile,
    misfit::{Misfits, Says, Spot},
    pairs::End,
};
use crate::{bfd_key, ospf_key, types::is_for};

/// What is compared of a key.
struct Key<'a> {
    file: &'a NodeFile,
    /// Path of its section.
    section: String,
    /// The keys that name its secret and its id there.
    names: (&'static str, &'static str),
    id: u32,
    /// As the file names it.
    algorithm: &'static str,
    secret: &'a [u8],
}

impl<'a> Key<'a> {
    fn says(&self, key: &'a str, value: &dyn Display) -> Says<'a> {
        Says {
            file: self.file,
            places: vec![format!("{}.{key}", self.section)],
            key,
            value: format!("\"{value}\""),
        }
    }

    fn spot(&self, key: &str) -> Spot {
        self.file.spot(&[format!("{}.{key}", self.section)])
    }

    fn is_read(&self) -> bool {
        self.file
            .is_read(&format!("{}.{}", self.section, self.names.0))
    }
}

/// The keys of one end.
struct Keys<'a> {
    end: &'a End<'a>,
    list: Vec<Key<'a>>,
    /// Those that sign until the neighbour says that it accepts the first, or the one that signs last.
    signs: Vec<usize>,
}

/// What the keys are of.
struct Protocol {
    /// Stable name of what does not fit.
    id: &'static str,
    name: &'static str,
    /// The table of the file.
    table: &'static str,
}

const OSPF: Protocol = Protocol {
    id: "ospf-key",
    name: "OSPF",
    table: "ospf_keys",
};
const BFD: Protocol = Protocol {
    id: "bfd-key",
    name: "BFD",
    table: "bfd_keys",
};

/// How a key that several tunnels can share names its secret and its id.
const SHARED: (&str, &str) = ("secret_file", "id");

/// Those that a tunnel has for itself: the present one and the former one.
fn own<'a>(
    end: &'a End<'a>,
    names: [(&'static str, &'static str); 2],
    algorithm: &'static str,
    keys: impl Iterator<Item = (u32, &'a [u8])>,
) -> Keys<'a> {
    let list: Vec<Key<'_>> = keys
        .zip(names)
        .map(|((id, secret), names)| Key {
            file: end.file,
            section: end.section(),
            names,
            id,
            algorithm,
            secret,
        })
        .collect();
    Keys {
        end,
        signs: (0..list.len()).collect(),
        list,
    }
}

/// Compares the keys of OSPF.
pub(super) fn ospf(found: &mut Misfits, one: &End<'_>, other: &End<'_>) {
    compare(found, &OSPF, &ospf_keys(one), &ospf_keys(other));
    for (one, other) in [(one, other), (other, one)] {
        lifetimes(found, one, other);
    }
    protocol_ids(found, one, other);
}

/// Compares the keys of BFD.
pub(super) fn bfd(found: &mut Misfits, one: &End<'_>, other: &End<'_>) {
    compare(found, &BFD, &bfd_keys(one), &bfd_keys(other));
}

/// Those of OSPF that several tunnels can share and this one does, with their index in the file.
fn of_tunnel<'a>(end: &'a End<'_>) -> impl Iterator<Item = (usize, &'a ospfv3::AuthKey)> + use<'a> {
    let keys = end.file.config().ospf_keys.iter().enumerate();
    let has_own = end.tunnel.ospf_key.is_some();
    keys.filter(move |(_, key)| !has_own && is_for(&key.tunnels, &end.tunnel.name))
        .map(|(index, key)| (index, &key.key))
}

fn ospf_keys<'a>(end: &'a End<'a>) -> Keys<'a> {
    if let Some(key) = &end.tunnel.ospf_key {
        let names = [
            ("ospf_key_file", "ospf_key_id"),
            ("ospf_key_previous_file", "ospf_key_previous_id"),
        ];
        let algorithm = ospf_key::name(key.present.algorithm);
        let all = [&key.present].into_iter().chain(&key.former);
        let all = all.map(|key| (key.sa_id.into(), key.secret.as_slice()));
        return own(end, names, algorithm, all);
    }
    let list: Vec<Key<'_>> = of_tunnel(end)
        .map(|(index, key)| Key {
            file: end.file,
            section: format!("{}[{index}]", OSPF.table),
            names: SHARED,
            id: key.sa_id.into(),
            algorithm: ospf_key::name(key.algorithm),
            secret: &key.secret,
        })
        .collect();
    let begins = |(_, (_, key)): &(usize, (usize, &ospfv3::AuthKey))| key.send.from;
    let last = of_tunnel(end).enumerate().max_by_key(begins);
    Keys {
        end,
        list,
        signs: last.map(|(place, _)| place).into_iter().collect(),
    }
}

fn bfd_keys<'a>(end: &'a End<'a>) -> Keys<'a> {
    if let Some(key) = &end.tunnel.bfd_key {
        let names = [
            ("bfd_key_file", "bfd_key_id"),
            ("bfd_key_previous_file", "bfd_key_previous_id"),
        ];
        let algorithm = bfd_key::name(key.present.algorithm);
        let all = [&key.present].into_iter().chain(&key.former);
        let all = all.map(|key| (key.id.into(), key.secret.as_slice()));
        return own(end, names, algorithm, all);
    }
    let keys = end.file.config().bfd_keys.iter().enumerate();
    let keys = keys.filter(|(_, key)| is_for(&key.tunnels, &end.tunnel.name));
    let list: Vec<Key<'_>> = keys
        .map(|(index, key)| Key {
            file: end.file,
            section: format!("{}[{index}]", BFD.table),
            names: SHARED,
            id: key.key.id.into(),
            algorithm: bfd_key::name(key.key.algorithm),
            secret: &key.key.secret,
        })
        .collect();
    Keys {
        end,
        signs: list.first().map(|_| 0).into_iter().collect(),
        list,
    }
}

fn compare(found: &mut Misfits, protocol: &Protocol, one: &Keys<'_>, other: &Keys<'_>) {
    for key in &one.list {
        let Some(same_id) = other.list.iter().find(|other| other.id == key.id) else {
            continue;
        };
        let subject = format!("{} key {}", protocol.name, key.id);
        found.same(
            protocol.id,
            &subject,
            key.says("algorithm", &key.algorithm),
            same_id.says("algorithm", &same_id.algorithm),
        );
        if key.is_read() && same_id.is_read() && key.secret != same_id.secret {
            let remedy = format!(
                "copy the file that `{}` names in {} over the one that `{}` names in {}, or the other way round",
                key.names.0,
                key.file.path().display(),
                same_id.names.0,
                same_id.file.path().display(),
            );
            let places = [key, same_id].map(|key| key.spot(key.names.0));
            let what = format!("{subject}: the secrets are not the same");
            found.add(protocol.id, places, what, remedy);
        }
    }
    for (one, other) in [(one, other), (other, one)] {
        signer(found, protocol, one, other);
    }
}

/// The key that `one` signs with in the end must be known at `other`.
fn signer(found: &mut Misfits, protocol: &Protocol, one: &Keys<'_>, other: &Keys<'_>) {
    let signing: Vec<&Key<'_>> = one
        .signs
        .iter()
        .filter_map(|index| one.list.get(*index))
        .collect();
    let known = |key: &&Key<'_>| other.list.iter().any(|other| other.id == key.id);
    let Some(key) = signing.first().filter(|_| !signing.iter().any(known)) else {
        return;
    };
    let (signs, lacks) = (one.end.file, other.end.file);
    let what = format!(
        "{}: {} signs with key {}, which {} does not have",
        protocol.name,
        signs.name(),
        key.id,
        lacks.name(),
    );
    let for_tunnel = match other.list.is_empty() {
        // It may be there, for other tunnels.
        true => format!(
            " and nothing in `tunnels` or also \"{}\"",
            other.end.tunnel.name
        ),
        false => String::new(),
    };
    let own = other
        .list
        .iter()
        .chain([*key])
        .find(|key| key.names != SHARED);
    let remedy = match own {
        Some(own) => format!(
            "write `{} = {}` in {}, with a copy of that key in the file that `{}` names",
            own.names.1,
            key.id,
            lacks.path().display(),
            own.names.0,
        ),
        None => format!(
            "add to {} a section `[[{}]]` with `id = {}`, `algorithm = \"{}\"`, `secret_file = \"FILE\"`, a copy of that \
         key{for_tunnel}",
            lacks.path().display(),
            protocol.table,
            key.id,
            key.algorithm,
        ),
    };
    let there = match other.list.first() {
        Some(first) => first.spot(first.names.1),
        None => lacks.spot(&[other.end.key("name")]),
    };
    found.add(protocol.id, [key.spot(key.names.1), there], what, remedy);
}

/// What `sender` signs must be accepted from its first moment on.
fn lifetimes(found: &mut Misfits, sender: &End<'_>, receiver: &End<'_>) {
    for (index, key) in of_tunnel(sender) {
        let mut at_receiver = of_tunnel(receiver);
        let Some((there, accepts)) = at_receiver.find(|(_, other)| other.sa_id == key.sa_id) else {
            continue;
        };
        if accepts.accept.from <= key.send.from {
            continue;
        }
        let what = format!(
            "OSPF key {}: {} signs with it before {} accepts it",
            key.sa_id,
            sender.file.name(),
            receiver.file.name(),
        );
        let remedy = format!(
            "write an earlier `accept_from` in {}, or a later `send_from` in {}",
            receiver.file.path().display(),
            sender.file.path().display(),
        );
        let places = [
            sender.file.spot(&[format!("ospf_keys[{index}].send_from")]),
            receiver
                .file
                .spot(&[format!("ospf_keys[{there}].accept_from")]),
        ];
        found.add("ospf-key-lifetime", places, what, remedy);
    }
}

/// What is appended to the key must be the same, unless one end follows the other.
fn protocol_ids(found: &mut Misfits, one: &End<'_>, other: &End<'_>) {
    for (index, key) in of_tunnel(one) {
        let mut others = of_tunnel(other);
        let Some((there, same_id)) = others.find(|(_, other)| other.sa_id == key.sa_id) else {
            continue;
        };
        if key.protocol_id.is_none() || same_id.protocol_id.is_none() {
            continue;
        }
        let says = |file, index: usize, id| Says {
            file,
            places: vec![format!("ospf_keys[{index}].protocol_id")],
            key: "protocol_id",
            value: format!("\"{}\"", ospf_key::protocol_name(id)),
        };
        found.same(
            "ospf-key",
            &format!("OSPF key {}", key.sa_id),
            says(one.file, index, key.protocol_id),
            says(other.file, there, same_id.protocol_id),
        );
    }
}
