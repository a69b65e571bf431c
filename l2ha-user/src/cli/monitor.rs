//! `l2ha monitor`.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    net::{IpAddr, SocketAddr},
    num::NonZeroU64,
};

use anyhow::Result;
use control::{Command, Line, RefusedPacket};

use super::{
    FINE,
    socket::Daemon,
    stream::{self, Sink},
};

/// Show packets that are refused, as they come, with the reason
///
/// Each processor shows at most 100 packets a second; what is missing is counted, and said at the
/// end. Where a cookie can be, zeros are shown. Ctrl-C ends it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  l2ha monitor
  l2ha monitor --reason wrong_cookie --count 1
  l2ha monitor --json | jq '{reason, source, session_id}'")]
pub(super) struct Monitor {
    #[command(flatten)]
    daemon: Daemon,
    /// Only packets refused for this reason, as `l2ha status` names it; may be given several times
    #[arg(long = "reason", value_name = "REASON")]
    reasons: Vec<String>,
    /// End after this many packets
    #[arg(long, value_name = "N")]
    count: Option<NonZeroU64>,
    /// Print a JSON object for each packet, one a line
    #[arg(long)]
    json: bool,
}

impl Monitor {
    pub(super) fn main(self) -> Result<u8> {
        let reasons = self.reasons.iter().map(|name| name.replace(' ', "_"));
        let command = Command::Monitor {
            reasons: reasons.collect(),
        };
        let mut printer = Printer {
            output: io::stdout().lock(),
            json: self.json,
            left: self.count.map(NonZeroU64::get),
        };
        let missed = stream::follow(&self.daemon.path()?, command, &mut printer)?;
        stream::say_missing(missed);
        Ok(FINE)
    }
}

struct Printer {
    output: io::StdoutLock<'static>,
    json: bool,
    left: Option<u64>,
}

impl Sink for Printer {
    fn take(&mut self, line: Line) -> Result<bool> {
        let Line::Refused(packet) = line else {
            return Ok(false);
        };
        let text = if self.json {
            serde_json::to_string(&packet)?
        } else {
            text(&packet)
        };
        self.output.write_all(text.as_bytes())?;
        self.output.write_all(b"\n")?;
        Ok(is_last(&mut self.left))
    }

    fn flush(&mut self) -> Result<()> {
        Ok(self.output.flush()?)
    }
}

/// Counts one packet; whether it is the last.
pub(super) fn is_last(left: &mut Option<u64>) -> bool {
    match left {
        Some(left) => {
            *left = left.saturating_sub(1);
            *left == 0
        }
        None => false,
    }
}

fn text(packet: &RefusedPacket) -> String {
    let end = |address: Option<IpAddr>, port: Option<u16>| match (address, port) {
        (Some(address), Some(port)) => SocketAddr::new(address, port).to_string(),
        (Some(address), None) => address.to_string(),
        (None, _) => "?".to_owned(),
    };
    let mut text = format!(
        "{} {} {}: {} -> {}",
        clock(packet.time_ns),
        packet.interface,
        packet.reason,
        end(packet.source, packet.source_port),
        end(packet.destination, packet.destination_port),
    );
    if let Some(id) = packet.session_id {
        let _ = write!(text, ", session {id}");
    }
    let _ = write!(text, ", {} bytes ({})", packet.length, packet.text);
    for line in packet.bytes.as_bytes().chunks(64) {
        text.push_str("\n   ");
        for group in line.chunks(4) {
            text.push(' ');
            text.extend(group.iter().copied().map(char::from));
        }
    }
    text
}

/// The time of day, UTC.
fn clock(nanoseconds: u64) -> String {
    let (seconds, micros) = (nanoseconds / 1_000_000_000, nanoseconds / 1000 % 1_000_000);
    let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{micros:06}Z", seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_a_line_and_its_bytes() {
        let packet = RefusedPacket {
            time_ns: 3_723_000_004_000,
            reason: "wrong_cookie".to_owned(),
            text: "why".to_owned(),
            interface: "eth0".to_owned(),
            source: Some("10.0.0.2".parse().unwrap()),
            source_port: Some(1701),
            destination: Some("10.0.0.1".parse().unwrap()),
            destination_port: Some(1702),
            session_id: Some(7),
            length: 99,
            bytes: "0011223344".to_owned(),
        };
        assert_eq!(
            text(&packet),
            "01:02:03.000004Z eth0 wrong_cookie: 10.0.0.2:1701 -> 10.0.0.1:1702, session 7, 99 bytes \
             (why)\n    0011 2233 44"
        );
    }

    #[test]
    fn the_last_packet_is_told() {
        let mut left = Some(2);
        assert!(!is_last(&mut left));
        assert!(is_last(&mut left));
        assert!(!is_last(&mut None));
    }
}
