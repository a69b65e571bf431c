//! The secrets that `[[tunnels]]` names files of: cookies, and keys of this tunnel alone.

use l2ha_ebpf::plan::Cookie;
use ospfv3::AuthKey;

use crate::{
    cookie_file::{self, Files},
    ospf_key::LONGEST_SECRET,
    report::{Found, Place},
    rotation::Rotating,
    section::Section,
};

/// The cookies of a tunnel.
pub(crate) struct Cookies {
    pub(crate) send: Cookie,
    pub(crate) previous_send: Option<Cookie>,
    pub(crate) receive: Cookie,
    pub(crate) previous_receive: Option<Cookie>,
}

/// Its keys, where it has some of its own.
pub(crate) struct Keys {
    pub(crate) ospf: Option<Rotating<AuthKey>>,
    pub(crate) bfd: Option<Rotating<bfd::Key>>,
}

/// Reads the cookies; nothing where there is a mistake.
pub(crate) fn cookies(section: &Section<'_>, files: &Files) -> Option<Cookies> {
    let read = |key| match section.place_of(key) {
        Some(_) => cookie_file::read(section, key, files).map(Some),
        None => Some(None),
    };
    let (send, receive) = (read("send_cookie_file"), read("receive_cookie_file"));
    let previous_send = read("send_cookie_previous_file");
    let previous_receive = read("receive_cookie_previous_file");
    let (send, receive) = (send?, receive?);
    let (previous_send, previous_receive) = (previous_send?, previous_receive?);
    for (present, previous, key) in [
        (&receive, &previous_receive, "receive_cookie_file"),
        (&send, &previous_send, "send_cookie_file"),
    ] {
        if let (None, Some(previous)) = (present, previous) {
            section.report.error(
                &previous.place,
                "there is a former cookie but no present one",
                format!("add `{key} = \"FILE\"`, or remove this"),
            );
            return None;
        }
    }
    if let (Some(send), Some(previous)) = (&send, &previous_send)
        && send.value.size() != previous.value.size()
        // One that is not here is empty.
        && send.value.size() > 0
        && previous.value.size() > 0
    {
        section.report.error(
            &previous.place,
            format!(
                "the former cookie has {} bytes, and the present one {} (line {}): packets would not be of one size",
                previous.value.size(),
                send.value.size(),
                send.place.line
            ),
            "make the present one with `l2ha genkey --bytes` and that number, at both ends",
        );
        return None;
    }
    if let (Some(send), Some(receive)) = (&send, &receive)
        && send.value == receive.value
        // Both are empty where neither is here.
        && send.value.size() > 0
    {
        section.report.error(
            &receive.place,
            format!(
                "the cookie is the same as the one to send (line {}): whoever receives it could \
                 send as the peer",
                send.place.line
            ),
            "make another with `l2ha genkey --output FILE` at both ends, and name it here as \
             `receive_cookie_file = \"FILE\"`",
        );
        return None;
    }
    let cookie = |found: Option<Found<Cookie>>| found.map(|found| found.value);
    Some(Cookies {
        send: cookie(send).unwrap_or_default(),
        previous_send: cookie(previous_send),
        receive: cookie(receive).unwrap_or_default(),
        previous_receive: cookie(previous_receive),
    })
}

/// The names of the keys of one protocol.
struct Names {
    file: &'static str,
    id: &'static str,
    previous_file: &'static str,
    previous_id: &'static str,
}

const OSPF: Names = Names {
    file: "ospf_key_file",
    id: "ospf_key_id",
    previous_file: "ospf_key_previous_file",
    previous_id: "ospf_key_previous_id",
};
const BFD: Names = Names {
    file: "bfd_key_file",
    id: "bfd_key_id",
    previous_file: "bfd_key_previous_file",
    previous_id: "bfd_key_previous_id",
};
/// What goes with a former key of OSPF: in its Hellos the neighbour says what it accepts.
const ROTATED_WITH_OSPF: [&str; 2] = ["send_cookie_previous_file", "bfd_key_previous_file"];

/// Reads the keys; nothing where there is a mistake.
pub(crate) fn keys(section: &Section<'_>, files: &Files) -> Option<Keys> {
    let secret = |key: &'static str, longest| match section.place_of(key) {
        Some(_) => cookie_file::secret(section, key, files, longest).map(Some),
        None => Some(None),
    };
    let algorithm = ospfv3::Algorithm::HmacSha256;
    let ospf = rotating(section, &OSPF, 1..=65535, |file, id| {
        let secret = secret(file, LONGEST_SECRET)?;
        Some(secret.map(|secret| AuthKey {
            secret,
            ..AuthKey::new(id, algorithm, [])
        }))
    });
    let algorithm = bfd::Algorithm::MeticulousKeyedSha1;
    let bfd = rotating(section, &BFD, 0..=255, |file, id| {
        let secret = secret(file, algorithm.longest_secret())?;
        Some(secret.map(|secret| bfd::Key {
            id,
            algorithm,
            secret,
        }))
    });
    if section.place_of(OSPF.previous_file).is_none() {
        let alone: Vec<Place> = ROTATED_WITH_OSPF
            .iter()
            .filter_map(|key| section.place_of(key))
            .collect();
        for place in &alone {
            section.report.error(
                place,
                "what the neighbour accepts is learned from its Hellos, which are signed with OSPF's former key too",
                "add `ospf_key_previous_file = \"FILE\"`, or remove this",
            );
        }
        if !alone.is_empty() {
            return None;
        }
    }
    Some(Keys {
        ospf: ospf?,
        bfd: bfd?,
    })
}

/// A present and a former key; the outer layer is empty where there is a mistake.
fn rotating<K, I>(
    section: &Section<'_>,
    names: &Names,
    ids: std::ops::RangeInclusive<i128>,
    read: impl Fn(&'static str, I) -> Option<Option<K>>,
) -> Option<Option<Rotating<K>>>
where
    I: TryFrom<i128> + From<u8> + PartialEq + Copy,
{
    let id = |key| match section.place_of(key) {
        Some(_) => section.integer::<I>(key, ids.clone()).map(|it| it.value),
        None => Some(I::from(1)),
    };
    let (present_id, former_id) = (id(names.id)?, id(names.previous_id)?);
    let (present, former) = (
        read(names.file, present_id)?,
        read(names.previous_file, former_id)?,
    );
    let Some(place) = section.place_of(names.previous_file) else {
        return Some(present.map(|present| Rotating {
            present,
            former: None,
        }));
    };
    let Some(present) = present else {
        section.report.error(
            &place,
            "there is a former key but no present one",
            format!("add `{} = \"FILE\"`, or remove this", names.file),
        );
        return None;
    };
    if present_id == former_id {
        section.report.error(
            &place,
            "the former key has the id of the present one, by which packets tell them apart",
            format!(
                "write the number that it had as `{}`, and another as `{}`",
                names.previous_id, names.id
            ),
        );
        return None;
    }
    Some(Some(Rotating { present, former }))
}
