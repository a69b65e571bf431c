//! `[[ospf_keys]]`.

use std::time::Duration;

use ospfv3::{Algorithm, AuthKey, Lifetime, ProtocolId};
use toml::value::{Datetime, Offset};

use crate::{
    cookie_file::{self, Files},
    report::{Found, Unique},
    schema::OSPF,
    section::Section,
    types::OspfKey,
    words,
};

/// The names of the algorithms.
const ALGORITHMS: &[(&str, Algorithm)] = &[
    ("hmac-sha-1", Algorithm::HmacSha1),
    ("hmac-sha-256", Algorithm::HmacSha256),
    ("hmac-sha-384", Algorithm::HmacSha384),
    ("hmac-sha-512", Algorithm::HmacSha512),
];
/// The names of the orders of the protocol id.
const PROTOCOL_IDS: &[(&str, Option<ProtocolId>)] = &[
    ("auto", None),
    ("network-order", Some(ProtocolId::NetworkOrder)),
    ("little-endian", Some(ProtocolId::LittleEndian)),
];
/// Characters of a secret: FRR and BIRD take no more.
pub(crate) const LONGEST_SECRET: usize = 128;
/// A good moment, for remedies.
const MOMENT: &str = "2027-01-31T12:00:00Z";

/// How the file names an algorithm.
pub(crate) fn name(algorithm: Algorithm) -> &'static str {
    words::name(ALGORITHMS, algorithm)
}

/// How the file names an order of the protocol id.
pub(crate) fn protocol_name(order: Option<ProtocolId>) -> &'static str {
    words::name(PROTOCOL_IDS, order)
}

/// Reads `[[ospf_keys]]`; `tunnels` are the names of those that OSPF can run over.
pub(crate) fn keys(
    sections: &[Section<'_>],
    files: &Files,
    has_ospf: bool,
    tunnels: &[String],
) -> Vec<OspfKey> {
    if let Some(first) = sections.first()
        && !has_ospf
    {
        let example = OSPF.key("router_id").map_or("", |key| key.example);
        first.report.error(
            &first.place,
            "these keys are for OSPF, but there is no [ospf]",
            format!("add a line `[ospf]`, and below it `router_id = {example}`"),
        );
    }
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
) -> Option<OspfKey> {
    let id = section.unique("id", 1..=65535, ids);
    let algorithm = section.choice("algorithm", ALGORITHMS);
    let protocol_id = section.choice("protocol_id", PROTOCOL_IDS);
    let secret = cookie_file::secret(section, "secret_file", files, LONGEST_SECRET);
    let tunnels = section.tunnels(tunnels, "OSPF");
    let send = lifetime(section, "send_from", "send_until");
    let accept = lifetime(section, "accept_from", "accept_until");
    Some(OspfKey {
        key: AuthKey {
            sa_id: id?.try_into().ok()?,
            algorithm: algorithm.unwrap_or(Algorithm::HmacSha256),
            secret: secret?,
            protocol_id: protocol_id.unwrap_or_default(),
            send,
            accept,
        },
        tunnels,
    })
}

fn lifetime(section: &Section<'_>, from: &str, until: &str) -> Lifetime {
    let (begin, end) = (moment(section, from), moment(section, until));
    if let (Some(begin), Some(end)) = (&begin, &end)
        && begin.value >= end.value
    {
        section.report.error(
            &end.place,
            format!(
                "the key would end before it begins (line {})",
                begin.place.line
            ),
            format!("write a later moment, or remove `{until}` for ever"),
        );
    }
    Lifetime {
        from: begin.map(|found| found.value),
        until: end.map(|found| found.value),
    }
}

/// A moment as seconds since 1970.
fn moment(section: &Section<'_>, key: &str) -> Option<Found<Duration>> {
    section.place_of(key)?;
    let seconds = |text: &str| text.trim().parse().ok().and_then(since_1970);
    // TOML has moments of its own, which stand without quotes.
    let found = section.text_or(key, |text| seconds(text).map(|_| text.to_owned()))?;
    let moment = seconds(found.value);
    if moment.is_none() {
        section.report.error(
            &found.place,
            format!("`{}` is not a moment with date, time and zone", found.value),
            format!("write `{key} = \"{MOMENT}\"`"),
        );
    }
    moment.map(|moment| found.with(moment))
}

/// RFC 3339, as TOML has it; nothing without a zone or before 1970.
fn since_1970(moment: Datetime) -> Option<Duration> {
    let (date, time) = (moment.date?, moment.time?);
    let offset = match moment.offset? {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes) * 60,
    };
    let seconds = i64::from(time.hour) * 3600
        + i64::from(time.minute) * 60
        + i64::from(time.second.unwrap_or(0));
    let days = days_since_1970(date.year.into(), date.month.into(), date.day.into());
    u64::try_from(days * 86_400 + seconds - offset)
        .ok()
        .map(Duration::from_secs)
}

/// Days in the Gregorian calendar, counted in years that begin in March, so that a leap day is the
/// last of its year.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (century, of_century) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    century * 146_097 + of_century * 365 + of_century / 4 - of_century / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_seconds() {
        let seconds = |text: &str| {
            let moment = text.parse::<Datetime>().unwrap();
            since_1970(moment).map(|moment| moment.as_secs())
        };
        assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(seconds("2000-02-29T23:59:59Z"), Some(951_868_799));
        assert_eq!(seconds("2000-03-01T00:00:00Z"), Some(951_868_800));
        assert_eq!(seconds("2026-11-23T10:00:00+02:00"), Some(1_795_420_800));
        assert_eq!(seconds("2026-11-23T10:00:00"), None);
        assert_eq!(seconds("2026-11-23"), None);
    }
}
