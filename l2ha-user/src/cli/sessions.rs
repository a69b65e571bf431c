//! `l2ha sessions`.

use anyhow::Result;
use control::{Command, SessionStatus};
use l2ha_ebpf::reason::Reason;

use super::{socket::Show, table};

/// Show every session: its ends, its form on the wire, its state and its traffic
///
/// Of cookies only the lengths are shown. Bytes are those of the inner frames. What a session has refused,
/// and why, stands below.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  l2ha sessions
  l2ha sessions --json | jq '.[] | select(.state != \"up\")'
  l2ha sessions --json | jq '.[] | {name, rx_packets, tx_packets}'
  l2ha sessions --json | jq '.[] | {name, reasons}'")]
pub(super) struct Sessions {
    #[command(flatten)]
    show: Show,
}

impl Sessions {
    pub(super) fn main(self) -> Result<u8> {
        self.show.print(Command::Sessions, |all| text(all))
    }
}

fn text(sessions: &[SessionStatus]) -> String {
    if sessions.is_empty() {
        return "no sessions".to_owned();
    }
    let mut rows = table::new(&[
        "name",
        "interface",
        "state",
        "session",
        "peer",
        "form",
        "rx packets",
        "rx bytes",
        "tx packets",
        "tx bytes",
    ]);
    for session in sessions {
        rows.add_row([
            session.name.clone(),
            session.interface.clone(),
            session.state.clone(),
            format!("{} -> {}", session.session_id, session.peer_session_id),
            session.remote.to_string(),
            form(session),
            session.rx_packets.to_string(),
            session.rx_bytes.to_string(),
            session.tx_packets.to_string(),
            session.tx_bytes.to_string(),
        ]);
    }
    let mut text = table::text(&mut rows);
    for session in sessions {
        if let Some(problem) = &session.problem {
            text.push_str(&format!("\n{}: {problem}", session.name));
        }
        for (reason, count) in &session.reasons {
            let meaning = Reason::named(reason).map_or("", Reason::text);
            text.push_str(&format!("\n{}: {reason} {count} ({meaning})", session.name));
        }
    }
    text
}

/// What the packets look like, in few words.
fn form(session: &SessionStatus) -> String {
    let mut form = format!("{}/v{}", session.encapsulation, session.ip_version);
    if let (Some(local), Some(remote)) = (session.local_port, session.remote_port) {
        form.push_str(&format!(" {local} -> {remote}"));
    }
    form.push_str(&format!(
        ", cookie {}/{}",
        session.receive_cookie_bytes, session.send_cookie_bytes
    ));
    if let Some(previous) = session.previous_cookie_bytes {
        form.push_str(&format!(" (former: {previous})"));
    }
    if session.sublayer != "none" {
        form.push_str(", sublayer");
    }
    form
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn session() -> SessionStatus {
        SessionStatus {
            name: "client".to_owned(),
            interface: "l2-client".to_owned(),
            state: "up".to_owned(),
            problem: None,
            session_id: 1001,
            peer_session_id: 2001,
            local: "10.77.0.1".parse().unwrap(),
            remote: "10.77.0.9".parse().unwrap(),
            encapsulation: "udp".to_owned(),
            ip_version: 4,
            local_port: Some(1701),
            remote_port: Some(1702),
            receive_cookie_bytes: 8,
            previous_cookie_bytes: None,
            send_cookie_bytes: 4,
            sublayer: "none".to_owned(),
            mtu: Some(1442),
            rx_packets: 512,
            rx_bytes: 41984,
            tx_packets: 498,
            tx_bytes: 39936,
            reasons: BTreeMap::new(),
        }
    }

    #[test]
    fn a_session_is_one_line() {
        let text = text(&[session()]);
        let line = text.lines().nth(1).unwrap();
        let wanted = "client  l2-client  up     1001 -> 2001  10.77.0.9  \
                      udp/v4 1701 -> 1702, cookie 8/4  512         41984     498         39936";
        assert_eq!(line, wanted);
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn what_is_wrong_is_said_below() {
        let broken = SessionStatus {
            encapsulation: "ip".to_owned(),
            ip_version: 6,
            local_port: None,
            remote_port: None,
            previous_cookie_bytes: Some(8),
            sublayer: "default".to_owned(),
            state: "waiting".to_owned(),
            problem: Some("waits for the underlay".to_owned()),
            reasons: BTreeMap::from([("wrong_cookie".to_owned(), 3)]),
            ..session()
        };
        assert_eq!(form(&broken), "ip/v6, cookie 8/4 (former: 8), sublayer");
        let text = text(&[broken]);
        let below = "\nclient: waits for the underlay\nclient: wrong_cookie 3 (cookie is not";
        assert!(text.contains(below), "{text}");
    }
}
