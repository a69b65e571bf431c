//! `l2ha bfd`.

use std::fmt::Write as _;

use anyhow::Result;
use control::{BfdSession, BfdStatus, Command};
use serde::Serialize;

use super::{socket::Show, table};

/// Show BFD and its sessions
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  l2ha bfd
  l2ha bfd --json | jq '.sessions[] | select(.state != \"up\")'")]
pub(super) struct Bfd {
    #[command(flatten)]
    show: Show,
}

impl Bfd {
    pub(super) fn main(self) -> Result<u8> {
        self.show.print(Command::Bfd, |it| text(it.as_ref()))
    }
}

/// The sessions, and what of the thread is worth knowing.
fn text(status: Option<&BfdStatus>) -> String {
    let Some(status) = status.filter(|status| !status.sessions.is_empty()) else {
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
    let milliseconds =
        |microseconds: u64| format!("{} ms", (microseconds as f64 / 100.0).round() / 10.0);
    for shown in &status.sessions {
        let session = &shown.session;
        let counters = &session.counters;
        rows.add_row([
            shown.interface.clone(),
            shown.remote.to_string(),
            words(session.state),
            milliseconds(session.transmit_interval_us),
            milliseconds(session.detection_time_us),
            counters.downs.to_string(),
            words(session.diagnostic),
            counters.own_pauses.to_string(),
            counters.probes_answered.to_string(),
            counters.sent.to_string(),
            counters.received.to_string(),
            refused(shown),
            shown.key.map_or_else(
                || "-".to_owned(),
                |(id, algorithm)| format!("{id} {}", table::cell(algorithm)),
            ),
        ]);
    }
    let mut text = table::text(&mut rows);
    let priority = if status.real_time {
        "real-time"
    } else {
        "ordinary: sessions may fall on a busy machine"
    };
    let latest = milliseconds(status.latest_wake_us);
    // Writing to a String cannot fail.
    let _ = write!(text, "\npriority: {priority}; woken at most {latest} late");
    text
}

/// A value in words.
fn words(value: impl Serialize) -> String {
    table::cell(value).replace('_', " ")
}

/// What was refused, and why.
fn refused(session: &BfdSession) -> String {
    let reasons = session.refused.iter();
    let mut all: Vec<String> = reasons
        .map(|(reason, count)| format!("{} {count}", words(reason)))
        .collect();
    match session.session.counters.refused {
        count @ 1.. => all.push(format!("wrong discriminator {count}")),
        0 if all.is_empty() => all.push("-".to_owned()),
        0 => {}
    }
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_a_line() {
        let answer = serde_json::json!({
            "real_time": true, "late_wakes": 0, "latest_wake_us": 130,
            "sessions": [{
                "interface": "l2-client", "local": "fe80::2", "remote": "fe80::1", "interval_ms": 10.0, "multiplier": 3,
                "state": "up", "remote_state": "up", "discriminator": 1, "remote_discriminator": 2,
                "diagnostic": "detection_time_expired", "remote_diagnostic": "none", "transmit_interval_us": 10_000,
                "detection_time_us": 30_000,
                "key": [7, "keyed-sha1"],
                "refused": { "auth_digest": 4, "wrong_source": 1 },
                "counters": {
                    "refused": 2, "ups": 3, "downs": 2, "own_pauses": 0, "probes": 0, "probes_answered": 0, "sent": 7,
                    "received": 8,
                },
                "send_errors": 0,
            }],
        });
        let status: BfdStatus = serde_json::from_value(answer).unwrap();
        let text = text(Some(&status));
        assert!(text.contains("up     10 ms        30 ms"), "{text}");
        assert!(text.contains("detection time expired"), "{text}");
        let refused = "auth digest 4, wrong source 1, wrong discriminator 2  7 keyed-sha1";
        assert!(text.contains(refused), "{text}");
        assert!(
            text.ends_with("priority: real-time; woken at most 0.1 ms late"),
            "{text}"
        );
        assert_eq!(super::text(None), "no sessions");
    }
}
