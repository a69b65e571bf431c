//! Reads what `l2ha ospf ... --json` prints.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::routing::{LsaKey, MAX_AGE};

/// The router ids of the neighbours in state Full, from `l2ha ospf neighbors --json`; those of IPv6.
pub(crate) fn full_neighbours(answer: &Value) -> Result<Vec<Ipv4Addr>> {
    full_neighbours_of(answer, "ipv6")
}

/// Those of a family.
pub(crate) fn full_neighbours_of(answer: &Value, family: &str) -> Result<Vec<Ipv4Addr>> {
    answer
        .as_array()
        .with_context(|| format!("no list of neighbours: {answer}"))?
        .iter()
        .filter(|neighbour| neighbour["family"] == family && neighbour["state"] == "full")
        .map(|neighbour| Ok(text(neighbour, "router_id")?.parse()?))
        .collect()
}

/// The LSAs of `l2ha ospf database --json`, without dead ones; those of IPv6.
pub(crate) fn database(answer: &Value) -> Result<Vec<LsaKey>> {
    database_of(answer, "ipv6")
}

/// Those of a family.
pub(crate) fn database_of(answer: &Value, family: &str) -> Result<Vec<LsaKey>> {
    let list = answer.as_array().or_else(|| answer["lsas"].as_array());
    let mut lsas = list
        .with_context(|| format!("no list of LSAs: {answer}"))?
        .iter()
        .filter(|lsa| lsa["family"] == family && lsa["age"] != MAX_AGE)
        .map(|lsa| {
            let area = lsa["scope"]["area"].as_str();
            Ok(LsaKey {
                area: area.map(str::parse).transpose()?,
                ls_type: ls_type(text(lsa, "type")?)?,
                id: text(lsa, "link_state_id")?.parse::<Ipv4Addr>()?.to_bits(),
                router: text(lsa, "advertising_router")?.parse()?,
                sequence: number(lsa, "sequence")?,
                checksum: u16::try_from(number(lsa, "checksum")?)?,
                length: Some(u16::try_from(number(lsa, "length")?)?),
            })
        })
        .collect::<Result<Vec<_>>>()?;
    lsas.sort();
    Ok(lsas)
}

/// An LS type by the name the daemon gives it; one it does not know is shown as a number.
fn ls_type(name: &str) -> Result<u16> {
    Ok(match name {
        "router" => 0x2001,
        "network" => 0x2002,
        "inter_area_prefix" => 0x2003,
        "inter_area_router" => 0x2004,
        "as_external" => 0x4005,
        "nssa" => 0x2007,
        "link" => 0x0008,
        "intra_area_prefix" => 0x2009,
        "grace" => 0x000b,
        other => match other.strip_prefix("0x") {
            Some(hex) => u16::from_str_radix(hex, 16)?,
            None => bail!("an LSA of type {other}"),
        },
    })
}

fn text<'a>(object: &'a Value, key: &str) -> Result<&'a str> {
    let value = object[key].as_str();
    value.with_context(|| format!("no text {key} in {object}"))
}

fn number(object: &Value, key: &str) -> Result<u32> {
    let value = object[key].as_u64();
    let value = value.with_context(|| format!("no number {key} in {object}"))?;
    Ok(u32::try_from(value)?)
}
