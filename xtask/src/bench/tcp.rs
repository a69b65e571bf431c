//! TCP throughput, by iperf3.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use l2ha_lab::Namespace;
use serde_json::Value;

use super::pair::Pair;

/// How many bytes came, and how fast.
pub(super) struct Transfer {
    pub(super) gbit_per_second: f64,
    pub(super) gigabytes: f64,
}

/// The cases: name, streams, and whether the server sends.
pub(super) const CASES: [(&str, u32, bool); 4] = [
    ("tcp1", 1, false),
    ("tcp1-reverse", 1, true),
    ("tcp4", 4, false),
    ("tcp16", 16, false),
];

/// Starts the server in a host; it ends with the host.
pub(super) fn serve(host: &Namespace) -> Result<()> {
    let mut command = Command::new("iperf3");
    command
        .arg("-s")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    host.spawn(command).map(drop)
}

/// Runs one transfer.
pub(super) fn transfer(
    pair: &Pair,
    streams: u32,
    reverse: bool,
    time: Duration,
) -> Result<Transfer> {
    let address = pair.address(1).to_string();
    let seconds = time.as_secs().max(1).to_string();
    let streams = streams.to_string();
    let limit = (time.as_secs() + 10).to_string();
    let mut words = vec![
        "timeout",
        &limit,
        "iperf3",
        "-c",
        &address,
        "-t",
        &seconds,
        "-P",
        &streams,
        "-J",
        "--connect-timeout",
        "2000",
    ];
    if reverse {
        words.push("-R");
    }
    // The server may still be busy with the end of the last run.
    for attempt in 0.. {
        let (_, text) = pair.hosts[0].ns.try_run(&words)?;
        match parse(&text) {
            Ok(transfer) => return Ok(transfer),
            Err(_) if attempt < 3 => std::thread::sleep(Duration::from_millis(200)),
            Err(error) => return Err(error),
        }
    }
    bail!("no attempt")
}

/// Reads what `iperf3 -J` prints.
pub(super) fn parse(text: &str) -> Result<Transfer> {
    let json: Value = serde_json::from_str(text).with_context(|| format!("iperf3 says {text}"))?;
    if let Some(error) = json["error"].as_str() {
        bail!("iperf3: {error}");
    }
    let sum = &json["end"]["sum_received"];
    let number = |name: &str| {
        sum[name]
            .as_f64()
            .with_context(|| format!("iperf3: no {name}"))
    };
    Ok(Transfer {
        gbit_per_second: number("bits_per_second")? / 1e9,
        gigabytes: number("bytes")? / 1e9,
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn what_came_counts_and_not_what_was_sent() {
        let text = r#"{"end":{"sum_sent":{"bytes":9,"bits_per_second":9},
            "sum_received":{"bytes":2000000000,"bits_per_second":16000000000.0}}}"#;
        let transfer = parse(text).expect("it is complete");
        assert_eq!(transfer.gbit_per_second, 16.0);
        assert_eq!(transfer.gigabytes, 2.0);
        assert!(parse(r#"{"error":"the server is busy"}"#).is_err());
        assert!(parse("").is_err());
    }
}
