//! `l2ha bfd`.

use std::fmt::Write as _;

use anyhow::Result;
use control::Command;
use serde_json::Value;

use super::{FINE, output, socket::Daemon, table};

/// Show BFD and its sessions
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  l2ha bfd
  l2ha bfd --json | jq '.sessions[] | select(.state != \"up\")'")]
pub(super) struct Bfd {
    #[command(flatten)]
    daemon: Daemon,
    /// Print the daemon's JSON
    #[arg(long)]
    json: bool,
}

impl Bfd {
    pub(super) fn main(self) -> Result<u8> {
        let answer = self.daemon.ask(Command::Bfd)?;
        if self.json {
            output::json(&answer)?;
        } else {
            output::line(&text(&answer))?;
        }
        Ok(FINE)
    }
}

/// The sessions, and what of the thread is worth knowing.
fn text(answer: &Value) -> String {
    let sessions = answer["sessions"].as_array().map(Vec::as_slice);
    let Some(sessions @ [_, ..]) = sessions else {
        return "no sessions".to_owned();
    };
    let mut rows = table::new(&[
        "interface",
        "neighbour",
        "state",
        "sends every",
        "detects in",
        "downs",
        "last reason",
        "own pauses",
        "kept by echo",
        "sent",
        "received",
        "refused",
        "key",
    ]);
    let word = |value: &Value| match value {
        Value::String(text) => text.replace('_', " "),
        other => other.to_string(),
    };
    let milliseconds = |value: &Value| {
        let microseconds = value.as_f64().unwrap_or_default();
        format!("{} ms", (microseconds / 100.0).round() / 10.0)
    };
    for session in sessions {
        let counters = &session["counters"];
        rows.add_row([
            word(&session["interface"]),
            word(&session["remote"]),
            word(&session["state"]),
            milliseconds(&session["transmit_interval_us"]),
            milliseconds(&session["detection_time_us"]),
            word(&counters["downs"]),
            word(&session["diagnostic"]),
            word(&counters["own_pauses"]),
            word(&counters["probes_answered"]),
            word(&counters["sent"]),
            word(&counters["received"]),
            refused(session),
            key(session),
        ]);
    }
    let mut text = table::text(&mut rows);
    let priority = match answer["real_time"].as_bool() {
        Some(true) => "real-time",
        _ => "ordinary: sessions may fall on a busy machine",
    };
    let latest = milliseconds(&answer["latest_wake_us"]);
    // Writing to a String cannot fail.
    let _ = write!(text, "\npriority: {priority}; woken at most {latest} late");
    text
}

/// What was refused, and why.
fn refused(session: &Value) -> String {
    let reasons = session["refused"].as_object().into_iter().flatten();
    let mut all: Vec<String> = reasons
        .map(|(reason, count)| format!("{} {count}", reason.replace('_', " ")))
        .collect();
    match session["counters"]["refused"].as_u64() {
        Some(count @ 1..) => all.push(format!("wrong discriminator {count}")),
        _ if all.is_empty() => all.push("-".to_owned()),
        _ => {}
    }
    all.join(", ")
}

/// Number and algorithm of the key that signs.
fn key(session: &Value) -> String {
    match (session["key"][0].as_u64(), session["key"][1].as_str()) {
        (Some(id), Some(algorithm)) => format!("{id} {algorithm}"),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_a_line() {
        let answer = serde_json::json!({
            "real_time": true, "late_wakes": 0, "latest_wake_us": 130,
            "sessions": [{
                "interface": "l2-client", "remote": "fe80::1", "state": "up",
                "diagnostic": "detection_time_expired", "transmit_interval_us": 10_000,
                "detection_time_us": 30_000,
                "key": [7, "keyed-sha1"],
                "refused": { "auth_digest": 4, "wrong_source": 1 },
                "counters": { "refused": 2, "downs": 2, "own_pauses": 0, "probes_answered": 0, "sent": 7, "received": 8 },
            }],
        });
        let text = text(&answer);
        assert!(text.contains("up     10 ms        30 ms"), "{text}");
        assert!(text.contains("detection time expired"), "{text}");
        let refused = "auth digest 4, wrong source 1, wrong discriminator 2  7 keyed-sha1";
        assert!(text.contains(refused), "{text}");
        assert!(
            text.ends_with("priority: real-time; woken at most 0.1 ms late"),
            "{text}"
        );
        assert_eq!(super::text(&Value::Null), "no sessions");
    }
}
