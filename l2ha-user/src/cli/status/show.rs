//! The status as text: what is wrong comes first, numbers last.

use std::{collections::BTreeMap, fmt::Write as _};

use control::{OspfStatus, Status, TunnelStatus};
use l2ha_ebpf::abi::MAX_ROWS;
use serde_json::{Value, json};

use crate::cli::table;

/// The whole text, without a final line end.
pub(super) fn text(status: &Status, problems: &[String]) -> String {
    let mut text = headline(status, problems);
    let mut add = |title: &str, body: String| {
        if !body.is_empty() {
            // Writing to a String does not fail.
            let _ = write!(text, "\n\n{title}\n{}", indent(&body));
        }
    };
    add("underlay", underlay(status));
    add("tunnels", tunnels(&status.tunnels));
    add(
        "sessions",
        without_row(status.dataplane.sessions_without_row),
    );
    add("services", services(status));
    add("ospf", status.ospf.as_ref().map_or_else(String::new, ospf));
    add("packets", counters(&status.dataplane.reasons));
    add("repairs", counters(&status.repairs));
    add("at the sockets", counters(&status.socket));
    add("found at the start", findings(status));
    text
}

/// Nothing, mostly.
fn without_row(count: usize) -> String {
    if count == 0 {
        return String::new();
    }
    format!(
        "{count} found by a second look: the last {} bits of their ids are another session's, or the log says why",
        MAX_ROWS.ilog2()
    )
}

/// What `l2ha doctor` can say more about.
fn findings(status: &Status) -> String {
    if status.findings.is_empty() {
        return String::new();
    }
    format!("{} (see `l2ha doctor`)", status.findings.join(", "))
}

fn headline(status: &Status, problems: &[String]) -> String {
    let about = format!(
        "l2ha {}, pid {}, up {}, {}",
        status.version,
        status.pid,
        duration(status.uptime_s),
        status.config_file
    );
    match problems {
        [] if status.drained => format!(
            "{}: healthy, drained: the last resort until `l2ha drain --off`\n{about}",
            status.node
        ),
        [] => format!("{}: healthy\n{about}", status.node),
        [only] => format!("{}: {only}\n{about}", status.node),
        several => {
            let list: Vec<String> = several
                .iter()
                .map(|problem| format!("  {problem}"))
                .collect();
            format!(
                "{}: {} things are wrong\n{}\n{about}",
                status.node,
                several.len(),
                list.join("\n")
            )
        }
    }
}

fn underlay(status: &Status) -> String {
    let underlay = &status.underlay;
    let addresses: Vec<String> = underlay.addresses.iter().map(ToString::to_string).collect();
    let mut text = format!("{}  {}", underlay.interface, addresses.join(" "));
    if let Some(mtu) = underlay.mtu {
        let _ = write!(text, "  mtu {mtu}");
    }
    if let Some(hook) = &underlay.hook {
        let _ = write!(text, "  {hook}");
    }
    if let Some(why) = &underlay.why_not_xdp {
        let _ = write!(text, " (not native XDP: {why})");
    }
    text
}

fn tunnels(tunnels: &[TunnelStatus]) -> String {
    if tunnels.is_empty() {
        return String::new();
    }
    let mut table = table::new(&[
        "name",
        "state",
        "interface",
        "mtu",
        "remote",
        "over",
        "session",
        "cookie",
        "received",
        "sent",
    ]);
    for tunnel in tunnels {
        let state = match (tunnel.up, &tunnel.problem) {
            (true, None) => "up",
            (true, Some(_)) => "up?",
            (false, _) => "DOWN",
        };
        let mtu = tunnel
            .mtu
            .map_or_else(|| "-".to_owned(), |mtu| mtu.to_string());
        table.add_row([
            tunnel.name.clone(),
            state.to_owned(),
            tunnel.interface.clone(),
            mtu,
            tunnel.remote.to_string(),
            tunnel.encapsulation.clone(),
            format!("{} -> {}", tunnel.session_id, tunnel.peer_session_id),
            format!(
                "{}/{}",
                tunnel.receive_cookie_bytes, tunnel.send_cookie_bytes
            ),
            traffic(tunnel.rx_packets, tunnel.rx_bytes),
            traffic(tunnel.tx_packets, tunnel.tx_bytes),
        ]);
    }
    table::text(&mut table)
}

fn services(status: &Status) -> String {
    if status.services.is_empty() {
        return String::new();
    }
    let mut table = table::new(&["name", "address", "state"]);
    for service in &status.services {
        let state = match (service.last_resort || !service.advertised, status.drained) {
            (false, true) => "advertised as last resort".to_owned(),
            _ => service.state(),
        };
        table.add_row([service.name.clone(), service.address.to_string(), state]);
    }
    table::text(&mut table)
}

/// OSPF: all of it, one name a line, counters that are 0 left out.
fn ospf(status: &OspfStatus) -> String {
    let mut lines = Vec::new();
    flatten(&json!(status), "", 0, &mut lines);
    aligned(&lines)
}

fn flatten(value: &Value, name: &str, depth: usize, lines: &mut Vec<(String, String)>) {
    let below = |key: &str| match name {
        "" => key.to_owned(),
        _ => format!("{name} {key}"),
    };
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                flatten(value, &below(&key.replace('_', " ")), depth + 1, lines);
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                flatten(value, &below(&index.to_string()), depth + 1, lines);
            }
        }
        Value::Null => {}
        // The counters are below the top: what is there says how things are, even if it is 0.
        Value::Number(number) if depth > 1 && number.as_u64() == Some(0) => {}
        Value::String(text) => lines.push((name.to_owned(), text.clone())),
        other => lines.push((name.to_owned(), other.to_string())),
    }
}

/// The counters that are not 0.
fn counters(counters: &BTreeMap<String, u64>) -> String {
    let lines: Vec<(String, String)> = counters
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(name, count)| (name.replace('_', " "), count.to_string()))
        .collect();
    aligned(&lines)
}

fn aligned(lines: &[(String, String)]) -> String {
    let width = lines.iter().map(|(name, _)| name.chars().count()).max();
    let width = width.unwrap_or_default();
    let lines: Vec<String> = lines
        .iter()
        .map(|(name, value)| format!("{name:width$}  {value}"))
        .collect();
    lines.join("\n")
}

fn indent(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("  {line}")).collect();
    lines.join("\n")
}

fn traffic(packets: u64, bytes: u64) -> String {
    format!("{packets} ({})", size(bytes))
}

/// Bytes in a unit that needs at most four digits.
fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let power = (0..units.len())
        .rev()
        .find(|power| bytes >> (10 * power) > 0);
    let power = power.unwrap_or_default();
    format!("{} {}", bytes >> (10 * power), units[power])
}

fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
pub(super) mod tests;
