//! OSPF's views as tables: what of the daemon's JSON people look for first, and how it reads.

use std::net::Ipv4Addr;

use anyhow::{Result, bail};
use serde_json::Value;

use crate::cli::table;

/// A column of a table.
struct Column {
    header: &'static str,
    /// Field of the object.
    field: &'static str,
    show: fn(&Value) -> String,
}

/// A list of objects as a table.
pub(super) struct View {
    columns: &'static [Column],
    /// What is said when the list is empty.
    none: &'static str,
}

const fn column(header: &'static str, field: &'static str, show: fn(&Value) -> String) -> Column {
    Column {
        header,
        field,
        show,
    }
}

/// `l2ha ospf interfaces`.
pub(super) const INTERFACES: View = View {
    columns: &[
        column("interface", "name", plain),
        column("family", "family", plain),
        column("area", "area", plain),
        column("kind", "kind", plain),
        column("state", "state", plain),
        column("cost", "cost", plain),
        column("designated router", "designated_router", plain),
        column("backup", "backup_router", plain),
        column("neighbours", "neighbors", plain),
        column("full", "adjacent", plain),
        column("lost", "adjacencies_lost", plain),
        column("refused last", "refused", refused),
    ],
    none: "OSPF runs on no interface",
};

/// `l2ha ospf neighbors`.
pub(super) const NEIGHBORS: View = View {
    columns: &[
        column("router id", "router_id", plain),
        column("family", "family", plain),
        column("area", "area", plain),
        column("state", "state", plain),
        column("for", "since_ms", seconds),
        column("dead in", "dead_in_ms", seconds),
        column("interface", "interface_name", plain),
        column("address", "address", plain),
        column("to acknowledge", "unacknowledged", plain),
        column("to send us", "requested", plain),
        column("restart", "graceful", graceful),
    ],
    none: "no neighbours",
};

/// `l2ha ospf database`.
pub(super) const DATABASE: View = View {
    columns: &[
        column("family", "family", plain),
        column("scope", "scope", scope),
        column("type", "type", plain),
        column("link state id", "link_state_id", plain),
        column("advertising router", "advertising_router", plain),
        column("age", "age", plain),
        column("sequence", "sequence", hex8),
        column("checksum", "checksum", hex4),
        column("bytes", "length", plain),
        column("own", "own", yes),
    ],
    none: "the database is empty",
};

/// `l2ha ospf routes`.
pub(super) const ROUTES: View = View {
    columns: &[
        column("prefix", "prefix", plain),
        column("metric", "metric", plain),
        column("kind", "kind", plain),
        column("via", "nexthops", nexthops),
        column("advertised by", "routers", plain),
    ],
    none: "no routes",
};

impl View {
    /// The table.
    ///
    /// # Errors
    ///
    /// When the daemon has not answered with a list of objects.
    pub(super) fn text(&self, answer: &Value) -> Result<String> {
        let Value::Array(rows) = answer else {
            bail!("the daemon answers something else than a list: {answer}");
        };
        if rows.is_empty() {
            return Ok(self.none.to_owned());
        }
        let header: Vec<&str> = self.columns.iter().map(|column| column.header).collect();
        let mut table = table::new(&header);
        for row in rows {
            table.add_row(self.columns.iter().map(|column| {
                let value = row.get(column.field).unwrap_or(&Value::Null);
                (column.show)(value)
            }));
        }
        Ok(table::text(&mut table))
    }
}

/// A value as it is; a list with commas.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => {
            let list: Vec<String> = list.iter().map(plain).collect();
            list.join(", ")
        }
        other => other.to_string(),
    }
}

fn yes(value: &Value) -> String {
    match value {
        Value::Bool(true) => "yes".to_owned(),
        _ => String::new(),
    }
}

/// Milliseconds as seconds, with as many digits as matter.
fn seconds(value: &Value) -> String {
    match value.as_u64() {
        Some(ms) if ms < 10_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        Some(ms) if ms < 600_000 => format!("{} s", ms / 1000),
        Some(ms) if ms < 36_000_000 => format!("{} min", ms / 60_000),
        Some(ms) => format!("{} h", ms / 3_600_000),
        None => plain(value),
    }
}

/// A neighbour's graceful restart: the one that goes on, or how the last ended.
fn graceful(value: &Value) -> String {
    let text = |value: &Value, field: &str| value.get(field).map_or_else(String::new, plain);
    let time = |value: &Value, field: &str| value.get(field).map_or_else(String::new, seconds);
    match (value.get("help"), value.get("last_end")) {
        (Some(help @ Value::Object(_)), _) => format!(
            "helping, {} left, now {}",
            time(help, "remaining_ms"),
            text(help, "conversation")
        ),
        (_, Some(end @ Value::String(_))) => {
            format!("{}, {} ago", plain(end), time(value, "last_end_ms"))
        }
        _ => "-".to_owned(),
    }
}

/// What was refused last that will not pass by itself, and how often: why there is no adjacency.
fn refused(value: &Value) -> String {
    let all = value.as_array().into_iter().flatten();
    let Some(last) = all.into_iter().find(|it| it["transient"] == false) else {
        return "-".to_owned();
    };
    let reason = plain(&last["reason"]).replace('_', " ");
    let side = |side: &str| match last[side].as_u64() {
        Some(area) if reason.starts_with("area mismatch") => u32::try_from(area).map_or_else(
            |_| area.to_string(),
            |area| Ipv4Addr::from(area).to_string(),
        ),
        Some(number) => number.to_string(),
        None => String::new(),
    };
    let sides = match (side("ours"), side("theirs")) {
        (ours, theirs) if ours.is_empty() || theirs.is_empty() => String::new(),
        (ours, theirs) => format!(" (ours {ours}, theirs {theirs})"),
    };
    let (count, ago) = (plain(&last["count"]), seconds(&last["ago_ms"]));
    format!(
        "{reason}{sides} from {}, {count} times, {ago} ago",
        plain(&last["source"])
    )
}

fn hex8(value: &Value) -> String {
    value
        .as_u64()
        .map_or_else(|| plain(value), |number| format!("{number:08x}"))
}

fn hex4(value: &Value) -> String {
    value
        .as_u64()
        .map_or_else(|| plain(value), |number| format!("{number:04x}"))
}

/// `{"area": "0.0.0.0"}`, `{"link": 7}` or `"as"`.
fn scope(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter();
            let fields: Vec<String> = fields
                .map(|(name, value)| format!("{name} {}", plain(value)))
                .collect();
            fields.join(" ")
        }
        other => plain(other),
    }
}

/// `address interface`, as `ip route` has it.
fn nexthops(value: &Value) -> String {
    let Value::Array(list) = value else {
        return plain(value);
    };
    let list: Vec<String> = list
        .iter()
        .map(|hop| {
            let field = |name| hop.get(name).filter(|value| !value.is_null());
            let parts = [field("address"), field("interface")];
            let parts: Vec<String> = parts.into_iter().flatten().map(plain).collect();
            parts.join(" ")
        })
        .collect();
    if list.is_empty() {
        "directly".to_owned()
    } else {
        list.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The lines of a table, each without repeated blanks.
    fn lines(view: &View, answer: &Value) -> Vec<String> {
        let text = view.text(answer).unwrap();
        let words = text.lines().map(str::split_whitespace);
        words
            .map(|words| words.collect::<Vec<_>>().join(" "))
            .collect()
    }

    #[test]
    fn interfaces() {
        let answer = json!([{
            "id": 7, "name": "l2-hub", "family": "ipv6", "area": "0.0.0.1", "kind": "broadcast", "state": "backup",
            "cost": 10, "designated_router": "10.0.0.9", "backup_router": "10.0.0.1",
            "neighbors": 3, "adjacent": 2, "adjacencies_lost": 4,
            "refused": [
                { "reason": "dd_sequence", "source": "fe80::2", "ours": null, "theirs": null, "count": 1, "ago_ms": 10,
                  "transient": true },
                { "reason": "area_mismatch", "source": "fe80::1", "ours": 0, "theirs": 7, "count": 12, "ago_ms": 300,
                  "transient": false },
            ],
        }, {
            "id": 4_294_967_295_u32, "name": "lo", "family": "ipv4", "area": "0.0.0.0", "kind": "loopback",
            "state": "loopback", "cost": 10, "designated_router": null, "backup_router": null,
            "neighbors": 0, "adjacent": 0, "adjacencies_lost": 0,
        }]);
        let lines = lines(&INTERFACES, &answer);
        assert_eq!(
            lines[1],
            "l2-hub ipv6 0.0.0.1 broadcast backup 10 10.0.0.9 10.0.0.1 3 2 4 \
             area mismatch (ours 0.0.0.0, theirs 0.0.0.7) from fe80::1, 12 times, 0.3 s ago"
        );
        assert_eq!(lines[2], "lo ipv4 0.0.0.0 loopback loopback 10 - - 0 0 0 -");
    }

    #[test]
    fn neighbours() {
        let answer = json!([{
            "family": "ipv4", "interface": 7, "interface_name": "l2-client", "router_id": "10.0.0.9", "area": "0.0.0.1",
            "address": "fe80::9", "interface_id": 3, "state": "full", "since_ms": 754_321,
            "dead_in_ms": 3_456, "priority": 1, "options": ["V6"], "unacknowledged": 0,
            "requested": 2, "graceful": {"help": null, "last_end": null, "last_end_ms": null},
        }]);
        assert_eq!(
            lines(&NEIGHBORS, &answer)[1],
            "10.0.0.9 ipv4 0.0.0.1 full 12 min 3.4 s l2-client fe80::9 0 2 -"
        );
        assert_eq!(lines(&NEIGHBORS, &json!([])), ["no neighbours"]);
        let help = json!({"remaining_ms": 118_400, "conversation": "exchange"});
        assert_eq!(
            graceful(&json!({"help": help, "last_end": "expired", "last_end_ms": 1})),
            "helping, 118 s left, now exchange"
        );
        assert_eq!(
            graceful(&json!({"help": null, "last_end": "completed", "last_end_ms": 2500})),
            "completed, 2.5 s ago"
        );
    }

    #[test]
    fn database() {
        let lsa = |scope, own| {
            json!({
                "family": "ipv6", "scope": scope, "type": "router", "link_state_id": "0.0.0.0",
                "advertising_router": "10.0.0.1", "age": 12, "sequence": 0x8000_0001_u32,
                "checksum": 0x0abc, "length": 40, "own": own, "body": {},
            })
        };
        let answer = json!([
            lsa(json!({"area": "0.0.0.0"}), true),
            lsa(json!({"link": 7}), false),
            lsa(json!("as"), false),
        ]);
        let lines = lines(&DATABASE, &answer);
        assert_eq!(
            lines[1],
            "ipv6 area 0.0.0.0 router 0.0.0.0 10.0.0.1 12 80000001 0abc 40 yes"
        );
        assert!(lines[2].starts_with("ipv6 link 7 router"), "{lines:?}");
        assert!(lines[3].starts_with("ipv6 as router"), "{lines:?}");
    }

    #[test]
    fn routes() {
        let answer = json!([
            {
                "prefix": "2001:db8::80/128", "metric": 10, "kind": "intra_area",
                "nexthops": [
                    {"interface": "l2-a", "address": "fe80::1"},
                    {"interface": "l2-b", "address": null},
                ],
                "routers": ["10.0.0.1", "10.0.0.2"],
            },
            {"prefix": "fd00::/64", "metric": 0, "kind": "intra_area", "nexthops": []},
            {
                "prefix": "192.0.2.80/32", "metric": 5, "kind": "intra_area",
                "nexthops": [{"interface": "l2-a", "address": "fe80::1"}], "routers": ["10.0.0.1"],
            },
        ]);
        let lines = lines(&ROUTES, &answer);
        assert_eq!(
            lines[1],
            "2001:db8::80/128 10 intra_area fe80::1 l2-a, l2-b 10.0.0.1, 10.0.0.2"
        );
        assert_eq!(lines[2], "fd00::/64 0 intra_area directly -");
        assert_eq!(lines[3], "192.0.2.80/32 5 intra_area fe80::1 l2-a 10.0.0.1");
    }

    #[test]
    fn something_else_is_refused() {
        let error = ROUTES.text(&json!({"error": "x"})).unwrap_err();
        assert!(error.to_string().contains("something else"), "{error}");
    }
}
