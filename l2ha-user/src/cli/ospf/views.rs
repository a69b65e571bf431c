//! OSPF's views as tables: what people look for first, and how it reads.

use std::net::Ipv4Addr;

use control::{InFamily, NotInstalled, OspfInterface, OspfNexthop, OspfRefused, OspfRoute};
use ospfv3::{DbId, GracefulView, LsaView, NeighborView, Refusal};

use crate::cli::table::{self, cell};

/// `l2ha ospf interfaces`.
pub(super) fn interfaces(rows: &[InFamily<OspfInterface>]) -> String {
    let columns: Columns<'_, InFamily<OspfInterface>> = &[
        ("interface", |it| it.entry.view.name.clone()),
        ("family", |it| cell(it.family)),
        ("area", |it| it.entry.view.area.to_string()),
        ("kind", |it| cell(it.entry.view.kind)),
        ("state", |it| cell(it.entry.view.state)),
        ("cost", |it| it.entry.view.cost.to_string()),
        ("designated router", |it| {
            cell(it.entry.view.designated_router)
        }),
        ("backup", |it| cell(it.entry.view.backup_router)),
        ("neighbours", |it| it.entry.view.neighbors.to_string()),
        ("full", |it| it.entry.view.adjacent.to_string()),
        ("lost", |it| it.entry.adjacencies_lost.to_string()),
        ("refused last", |it| refused(&it.entry.refused)),
    ];
    text(columns, rows, "OSPF runs on no interface")
}

/// `l2ha ospf neighbors`.
pub(super) fn neighbors(rows: &[InFamily<NeighborView>]) -> String {
    let columns: Columns<'_, InFamily<NeighborView>> = &[
        ("router id", |it| it.entry.router_id.to_string()),
        ("family", |it| cell(it.family)),
        ("area", |it| it.entry.area.to_string()),
        ("state", |it| cell(it.entry.state)),
        ("for", |it| seconds(it.entry.since_ms)),
        ("dead in", |it| seconds(it.entry.dead_in_ms)),
        ("interface", |it| it.entry.interface_name.clone()),
        ("address", |it| it.entry.address.to_string()),
        ("to acknowledge", |it| it.entry.unacknowledged.to_string()),
        ("to send us", |it| it.entry.requested.to_string()),
        ("restart", |it| graceful(&it.entry.graceful)),
    ];
    text(columns, rows, "no neighbours")
}

/// `l2ha ospf database`.
pub(super) fn database(rows: &[InFamily<LsaView>]) -> String {
    let columns: Columns<'_, InFamily<LsaView>> = &[
        ("family", |it| cell(it.family)),
        ("scope", |it| scope(it.entry.scope)),
        ("type", |it| cell(it.entry.ty)),
        ("link state id", |it| it.entry.link_state_id.to_string()),
        ("advertising router", |it| {
            it.entry.advertising_router.to_string()
        }),
        ("age", |it| it.entry.age.to_string()),
        ("sequence", |it| format!("{:08x}", it.entry.sequence)),
        ("checksum", |it| format!("{:04x}", it.entry.checksum)),
        ("bytes", |it| it.entry.length.to_string()),
        ("own", |it| if it.entry.own { "yes" } else { "" }.to_owned()),
    ];
    text(columns, rows, "the database is empty")
}

/// `l2ha ospf routes`.
pub(super) fn routes(rows: &[InFamily<OspfRoute>]) -> String {
    let columns: Columns<'_, InFamily<OspfRoute>> = &[
        ("prefix", |it| it.entry.prefix.to_string()),
        ("metric", |it| it.entry.metric.to_string()),
        ("kind", |it| cell(it.entry.kind)),
        ("via", |it| list(&it.entry.nexthops, nexthop, "directly")),
        ("advertised by", |it| {
            list(&it.entry.routers, Ipv4Addr::to_string, "-")
        }),
        ("not installed", |it| {
            it.entry
                .not_installed
                .map_or("", NotInstalled::text)
                .to_owned()
        }),
    ];
    text(columns, rows, "no routes")
}

/// The columns of a table: what stands above, and what is shown of a row.
type Columns<'a, T> = &'a [(&'static str, fn(&T) -> String)];

/// The table, or what is said when there is nothing.
fn text<T>(columns: Columns<'_, T>, rows: &[T], none: &str) -> String {
    if rows.is_empty() {
        return none.to_owned();
    }
    let header: Vec<&str> = columns.iter().map(|(header, _)| *header).collect();
    let mut table = table::new(&header);
    for row in rows {
        table.add_row(columns.iter().map(|(_, show)| show(row)));
    }
    table::text(&mut table)
}

/// A list with commas.
fn list<T>(all: &[T], show: impl Fn(&T) -> String, none: &str) -> String {
    if all.is_empty() {
        return none.to_owned();
    }
    all.iter().map(show).collect::<Vec<_>>().join(", ")
}

/// Milliseconds as seconds, with as many digits as matter.
fn seconds(ms: u64) -> String {
    match ms {
        0..10_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        10_000..600_000 => format!("{} s", ms / 1000),
        600_000..36_000_000 => format!("{} min", ms / 60_000),
        _ => format!("{} h", ms / 3_600_000),
    }
}

/// A neighbour's graceful restart: the one that goes on, or how the last ended.
fn graceful(view: &GracefulView) -> String {
    match (view.help, view.last_end, view.last_end_ms) {
        (Some(help), ..) => format!(
            "helping, {} left, now {}",
            seconds(help.remaining_ms),
            cell(help.conversation)
        ),
        (None, Some(end), Some(ms)) => format!("{}, {} ago", cell(end), seconds(ms)),
        _ => "-".to_owned(),
    }
}

/// What was refused last that will not pass by itself, and how often: why there is no adjacency.
fn refused(all: &[OspfRefused]) -> String {
    let Some(last) = all.iter().find(|it| !it.transient) else {
        return "-".to_owned();
    };
    let side = |side: u32| match last.reason {
        Refusal::AreaMismatch => Ipv4Addr::from(side).to_string(),
        _ => side.to_string(),
    };
    let sides = match (last.ours, last.theirs) {
        (Some(limit), Some(router)) if last.reason.is_of_router() => {
            format!(" ({}, more than {limit})", Ipv4Addr::from(router))
        }
        (Some(ours), Some(theirs)) => format!(" (ours {}, theirs {})", side(ours), side(theirs)),
        _ => String::new(),
    };
    format!(
        "{}{sides} from {}, {} times, {} ago",
        cell(last.reason).replace('_', " "),
        last.source,
        last.count,
        seconds(last.ago_ms)
    )
}

fn scope(scope: DbId) -> String {
    match scope {
        DbId::Link(interface) => format!("link {interface}"),
        DbId::Area(area) => format!("area {area}"),
        DbId::As => "as".to_owned(),
    }
}

/// `address interface`, as `ip route` has it.
fn nexthop(hop: &OspfNexthop) -> String {
    let address = hop.address.map(|address| address.to_string());
    let parts: Vec<String> = address.into_iter().chain(hop.interface.clone()).collect();
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;

    /// The lines of a table, each without repeated blanks.
    fn lines<T: DeserializeOwned>(view: fn(&[T]) -> String, answer: Value) -> Vec<String> {
        let rows: Vec<T> = serde_json::from_value(answer).unwrap();
        let text = view(&rows);
        let words = text.lines().map(str::split_whitespace);
        words
            .map(|words| words.collect::<Vec<_>>().join(" "))
            .collect()
    }

    #[test]
    fn of_interfaces() {
        let answer = json!([{
            "id": 7, "name": "l2-hub", "family": "ipv6", "area": "0.0.0.1", "kind": "broadcast", "state": "backup",
            "link_local": "fe80::3", "mtu": 1442, "hello_interval": 1, "dead_interval": 4, "instance_id": 0,
            "cost": 10, "designated_router": "10.0.0.9", "backup_router": "10.0.0.1",
            "authentication": null, "prefixes": [], "neighbors": 3, "adjacent": 2, "adjacencies_lost": 4,
            "refused": [
                { "reason": "dd_sequence", "source": "fe80::2", "ours": null, "theirs": null, "count": 1, "ago_ms": 10,
                  "transient": true },
                { "reason": "area_mismatch", "source": "fe80::1", "ours": 0, "theirs": 7, "count": 12, "ago_ms": 300,
                  "transient": false },
            ],
        }, {
            "id": 4_294_967_295_u32, "name": "lo", "family": "ipv4", "area": "0.0.0.0", "kind": "loopback",
            "link_local": "::1", "mtu": 1500, "hello_interval": 10, "dead_interval": 40, "instance_id": 64,
            "state": "loopback", "cost": 10, "designated_router": null, "backup_router": null,
            "authentication": null, "prefixes": [], "neighbors": 0, "adjacent": 0, "adjacencies_lost": 0,
            "refused": [],
        }]);
        let lines = lines(interfaces, answer);
        assert_eq!(
            lines[1],
            "l2-hub ipv6 0.0.0.1 broadcast backup 10 10.0.0.9 10.0.0.1 3 2 4 \
             area mismatch (ours 0.0.0.0, theirs 0.0.0.7) from fe80::1, 12 times, 0.3 s ago"
        );
        assert_eq!(lines[2], "lo ipv4 0.0.0.0 loopback loopback 10 - - 0 0 0 -");
    }

    #[test]
    fn of_neighbours() {
        let answer = json!([{
            "family": "ipv4", "interface": 7, "interface_name": "l2-client", "router_id": "10.0.0.9", "area": "0.0.0.1",
            "address": "fe80::9", "interface_id": 3, "state": "full", "since_ms": 754_321,
            "dead_in_ms": 3_456, "priority": 1, "options": ["V6"], "unacknowledged": 0,
            "requested": 2, "graceful": {"help": null, "last_end": null, "last_end_ms": null},
        }]);
        assert_eq!(
            lines(neighbors, answer)[1],
            "10.0.0.9 ipv4 0.0.0.1 full 12 min 3.4 s l2-client fe80::9 0 2 -"
        );
        assert_eq!(lines(neighbors, json!([])), ["no neighbours"]);
        let graceful = |view| graceful(&serde_json::from_value(view).unwrap());
        let help = json!({
            "since_ms": 1_600, "remaining_ms": 118_400, "reason": "software_restart", "conversation": "exchange",
        });
        assert_eq!(
            graceful(json!({"help": help, "last_end": "expired", "last_end_ms": 1})),
            "helping, 118 s left, now exchange"
        );
        assert_eq!(
            graceful(json!({"help": null, "last_end": "completed", "last_end_ms": 2500})),
            "completed, 2.5 s ago"
        );
    }

    #[test]
    fn of_a_database() {
        let lsa = |scope, own| {
            json!({
                "family": "ipv6", "scope": scope, "type": "router", "link_state_id": "0.0.0.0",
                "advertising_router": "10.0.0.1", "age": 12, "sequence": 0x8000_0001_u32,
                "checksum": 0x0abc, "length": 40, "own": own, "body": {"unknown": []},
            })
        };
        let answer = json!([
            lsa(json!({"area": "0.0.0.0"}), true),
            lsa(json!({"link": 7}), false),
            lsa(json!("as"), false),
        ]);
        let lines = lines(database, answer);
        assert_eq!(
            lines[1],
            "ipv6 area 0.0.0.0 router 0.0.0.0 10.0.0.1 12 80000001 0abc 40 yes"
        );
        assert!(lines[2].starts_with("ipv6 link 7 router"), "{lines:?}");
        assert!(lines[3].starts_with("ipv6 as router"), "{lines:?}");
    }

    #[test]
    fn of_routes() {
        let answer = json!([
            {
                "family": "ipv6", "prefix": "2001:db8::80/128", "metric": 10, "kind": "intra_area",
                "nexthops": [
                    {"interface": "l2-a", "address": "fe80::1"},
                    {"interface": "l2-b", "address": null},
                ],
                "routers": ["10.0.0.1", "10.0.0.2"],
            },
            {
                "family": "ipv6", "prefix": "fd00::/64", "metric": 0, "kind": "intra_area", "nexthops": [],
                "routers": [],
            },
            {
                "family": "ipv4", "prefix": "192.0.2.80/32", "metric": 5, "kind": "intra_area",
                "nexthops": [{"interface": "l2-a", "address": "fe80::1"}], "routers": ["10.0.0.1"],
            },
            {
                "family": "ipv6", "prefix": "::1/128", "metric": 5, "kind": "external",
                "nexthops": [{"interface": "l2-a", "address": "fe80::1"}], "routers": ["10.0.0.1"],
                "not_installed": "loopback",
            },
        ]);
        let lines = lines(routes, answer);
        assert_eq!(lines.len(), 5);
        assert_eq!(
            lines[4],
            "::1/128 5 external fe80::1 l2-a 10.0.0.1 a loopback address"
        );
        assert_eq!(
            lines[1],
            "2001:db8::80/128 10 intra_area fe80::1 l2-a, l2-b 10.0.0.1, 10.0.0.2"
        );
        assert_eq!(lines[2], "fd00::/64 0 intra_area directly -");
        assert_eq!(lines[3], "192.0.2.80/32 5 intra_area fe80::1 l2-a 10.0.0.1");
    }
}
