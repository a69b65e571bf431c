//! The status as text: what is wrong comes first, then a line for each tunnel and service; numbers only where they
//! are asked for.

use std::{collections::BTreeMap, fmt::Write as _};

use control::{OspfStatus, Problem, Status, TunnelStatus};
use l2ha_ebpf::abi::MAX_ROWS;
use serde_json::{Value, json};

use crate::cli::table;

/// Columns of a terminal.
const WIDTH: usize = 80;

/// The whole text, without a final line end.
pub(super) fn text(status: &Status, with_counters: bool) -> String {
    let mut text = headline(status);
    for problem in &status.problems {
        text.push('\n');
        text.push_str(&about(problem));
    }
    // Writing to a String does not fail.
    let _ = write!(
        text,
        "\n{}",
        wrapped(
            &format!(
                "l2ha {}, pid {}, up {}, {}",
                status.version,
                status.pid,
                duration(status.uptime_s),
                status.config_file
            ),
            "",
            "  "
        )
    );
    if let Some(rotation) = &status.rotation {
        let line = wrapped(&format!("rotation: {}", rotation.text()), "", "  ");
        let _ = write!(text, "\n{line}");
    }
    let mut add = |title: &str, body: String| {
        if !body.is_empty() {
            let _ = write!(text, "\n\n{title}\n{}", indent(&body));
        }
    };
    add("tunnels", tunnels(status));
    add("services", services(status));
    add("underlay", underlay(status));
    add("found at the start", findings(status));
    if with_counters {
        add("sessions", sessions(&status.tunnels));
        let without_row = status.dataplane.sessions_without_row;
        add(
            "sessions found by a second look",
            without_row_text(without_row),
        );
        add("ospf", status.ospf.as_ref().map_or_else(String::new, ospf));
        add("packets", counters(&status.dataplane.reasons));
        add("repairs", counters(&status.repairs));
        add("at the sockets", counters(&status.socket));
        add("what fits", counters(&status.path_mtu));
        let lost = BTreeMap::from([("lines lost".to_owned(), status.log_lines_lost)]);
        add("log", counters(&lost));
        let pause = BTreeMap::from([(
            "longest pause of the main loop, µs".to_owned(),
            status.loop_pause_max_us,
        )]);
        add("daemon", counters(&pause));
    }
    text
}

/// How the node is.
fn headline(status: &Status) -> String {
    let problems = match status.problems.len() {
        0 => String::new(),
        1 => ", 1 problem".to_owned(),
        several => format!(", {several} problems"),
    };
    let drained = if status.drained {
        ", drained: the last resort until `l2ha drain --off`"
    } else {
        ""
    };
    let health = status.health.name();
    wrapped(
        &format!("{}: {health}{problems}{drained}", status.node),
        "",
        "  ",
    )
}

/// A problem: what it is about, what is so, and what to do.
fn about(problem: &Problem) -> String {
    let Problem {
        severity,
        subject,
        text,
        remedy,
        ..
    } = problem;
    let what = format!("{}: {subject}: {text}", severity.name());
    format!(
        "{}\n{}",
        wrapped(&what, "  ", "    "),
        wrapped(remedy, "    -> ", "    ")
    )
}

/// Nothing, mostly.
fn without_row_text(count: usize) -> String {
    if count == 0 {
        return String::new();
    }
    format!(
        "{count}: the last {} bits of their ids are another session's, or the log says why",
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

/// A line for each tunnel.
fn tunnels(status: &Status) -> String {
    if status.tunnels.is_empty() {
        return String::new();
    }
    let ipv4 = status.ospf.as_ref().is_some_and(|ospf| ospf.ipv4.is_some());
    let mut table = table::new(&["name", "state", "peer", "heard", "bfd", "ospf"]);
    for tunnel in &status.tunnels {
        let heard = match tunnel.heard_ms {
            None => "never".to_owned(),
            Some(ms) if ms < 2000 => "now".to_owned(),
            Some(ms) => format!("{} ago", duration(ms / 1000)),
        };
        let mut ospf = table::cell(tunnel.ospf);
        if ipv4 {
            let _ = write!(ospf, "/{}", table::cell(tunnel.ospf_ipv4));
        }
        table.add_row([
            tunnel.name.clone(),
            if tunnel.up { "up" } else { "DOWN" }.to_owned(),
            tunnel.remote.to_string(),
            heard,
            table::cell(tunnel.bfd),
            ospf,
        ]);
    }
    table::text(&mut table)
}

/// The tunnels' sessions: what their packets look like, and how many there were.
fn sessions(tunnels: &[TunnelStatus]) -> String {
    let lines = tunnels.iter().map(|tunnel| {
        let mtu = tunnel
            .mtu
            .map_or_else(|| "-".to_owned(), |mtu| mtu.to_string());
        let carries = match tunnel.carries {
            Some(carries) => format!(" ({carries} found to fit)"),
            None => String::new(),
        };
        format!(
            "{}: {}, mtu {mtu}{carries}, {}, session {} -> {}, cookie {}/{}\n  received {}, sent {}",
            tunnel.name,
            tunnel.interface,
            tunnel.encapsulation,
            tunnel.session_id,
            tunnel.peer_session_id,
            tunnel.receive_cookie_bytes,
            tunnel.send_cookie_bytes,
            traffic(tunnel.rx_packets, tunnel.rx_bytes),
            traffic(tunnel.tx_packets, tunnel.tx_bytes),
        )
    });
    lines.collect::<Vec<_>>().join("\n")
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

/// Two columns further in; what is too long goes on in the next line.
fn indent(text: &str) -> String {
    let lines = text.lines().map(|line| {
        if line.chars().count() + 2 <= WIDTH {
            format!("  {line}")
        } else {
            wrapped(line.trim_start(), "  ", "      ")
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Words in lines of at most [`WIDTH`] columns. `first` stands before the first line, `others` before each that
/// follows; a word that is longer than a line is cut.
fn wrapped(text: &str, first: &str, others: &str) -> String {
    let mut lines = Vec::new();
    let mut line = first.to_owned();
    let mut is_empty = true;
    let mut columns = line.chars().count();
    for word in text.split(' ') {
        let mut word = word;
        let mut length = word.chars().count();
        if !is_empty && columns + 1 + length > WIDTH {
            lines.push(std::mem::replace(&mut line, others.to_owned()));
            (is_empty, columns) = (true, others.chars().count());
        }
        while columns + length > WIDTH && is_empty {
            let fits = WIDTH - columns;
            let at = word
                .char_indices()
                .nth(fits)
                .map_or(word.len(), |(at, _)| at);
            let (now, later) = word.split_at(at);
            line.push_str(now);
            lines.push(std::mem::replace(&mut line, others.to_owned()));
            columns = others.chars().count();
            (word, length) = (later, length - fits);
        }
        if !is_empty {
            line.push(' ');
            columns += 1;
        }
        line.push_str(word);
        columns += length;
        is_empty = false;
    }
    lines.push(line);
    let lines: Vec<&str> = lines.iter().map(|line| line.trim_end()).collect();
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
