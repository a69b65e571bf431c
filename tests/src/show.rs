//! The live show of `cargo xtask run`: what l2ha is for, on this machine, in half a minute.

mod joining;

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::{
    acts::Outage,
    cloud::GATEWAY_V4,
    lab::Lab,
    signals,
    trio::{ANYCAST, SERVER_1, SERVER_2, Trio, TrioOptions},
};

/// Intervals of BFD: milliseconds, and how many may be missed.
const BFD: (f64, u8) = (50.0, 3);
/// How each server's web server is checked.
const CHECK: &str = "http = \"http://[2001:db8::80]/\", interval = \"100ms\", timeout = \"200ms\"";
/// The detection time and some more for a busy machine.
const CUT_LIMIT: Duration = Duration::from_millis(500);
/// What a change that was announced may cost.
const SMOOTH_LIMIT: Duration = Duration::from_millis(100);
/// Time to watch steady answers between two events.
const PAUSE: Duration = Duration::from_secs(1);

/// What to show and what to leave.
#[derive(Debug, Clone)]
pub struct Options {
    /// The `l2ha` to run.
    pub binary: PathBuf,
    /// Whether a node joins by itself, through etcd, in place of the usual events.
    pub etcd: bool,
    /// Whether to leave the lab until Ctrl-C.
    pub keep: bool,
    /// Where to write the timeline as JSON.
    pub json: Option<PathBuf>,
}

/// Runs the show and prints its timeline. Returns whether every event went as told.
///
/// # Errors
///
/// When the lab cannot be built, an event does not happen at all, or Ctrl-C ended it early. The
/// timeline so far is printed and written all the same.
pub fn run(options: &Options) -> Result<bool> {
    signals::catch()?;
    let lab = Lab::new("show")?.with_binary(&options.binary);
    let mut timeline = Timeline::new();
    let result = match options.etcd {
        true => joining::play(&lab, &mut timeline),
        false => play(&lab, &mut timeline, options.keep),
    };
    let ok = result.is_ok() && timeline.ok;
    timeline.end(ok);
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&timeline.events)? + "\n";
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    if result.is_err() && !signals::came() {
        let evidence = crate::target_dir().join("lab-failures/show");
        let _ = fs::remove_dir_all(&evidence);
        lab.keep_evidence(&evidence)?;
        eprintln!("what there is to see is in {}", evidence.display());
    }
    result.map(|()| ok)
}

fn play(lab: &Lab, timeline: &mut Timeline, keep: bool) -> Result<()> {
    println!(
        "\nTwo servers and a client. All that joins them is a cloud that carries unicast UDP, TCP \
         and ICMP:\n\n    \
         {SERVER_1} 10.77.0.1 ──┐\n    \
         {SERVER_2} 10.77.0.2 ──┼── gateway {GATEWAY_V4}\n    \
         client   10.77.0.3 ──┘\n\n\
         Both servers hold http://[{ANYCAST}]/. The client fetches it every 5 ms.\n"
    );
    let options = TrioOptions {
        bfd: Some(BFD),
        check: Some(CHECK),
        cluster: true,
        ..TrioOptions::default()
    };
    let trio = Trio::start(lab, options)?;
    println!(
        "This file is the same on all three, and a secret:\n\n{}",
        indented(&trio.client.daemon.config().toml())
    );
    timeline.note("started", "l2ha runs on all three hosts");
    trio.wait_full()?;
    timeline.note(
        "neighbours_full",
        "OSPFv3 neighbours are Full over L2TPv3 pseudowires",
    );
    trio.wait_watched()?;
    timeline.note("watched", "BFD watches every neighbour, 50 ms x 3");
    let probe = trio.probe()?;
    timeline.note("serving", &format!("{SERVER_1} answers the client"));
    std::thread::sleep(PAUSE);

    type Act = fn(&Trio, &crate::probe::Probe) -> Result<Outage>;
    let acts: [(&str, String, &str, Duration, Act); 6] = [
        (
            "silent_cut",
            format!("{SERVER_1} is cut off silently, its link stays up"),
            SERVER_2,
            CUT_LIMIT,
            Trio::silent_cut,
        ),
        (
            "heal",
            "the cut heals".into(),
            SERVER_1,
            SMOOTH_LIMIT,
            Trio::heal,
        ),
        (
            "service_killed",
            format!("the web server on {SERVER_1} is killed (SIGKILL)"),
            SERVER_2,
            SMOOTH_LIMIT,
            Trio::service_killed,
        ),
        (
            "service_back",
            format!("the web server on {SERVER_1} is started again"),
            SERVER_1,
            SMOOTH_LIMIT,
            Trio::service_back,
        ),
        (
            "clean_stop",
            format!("l2ha on {SERVER_1} is stopped (SIGTERM)"),
            SERVER_2,
            SMOOTH_LIMIT,
            Trio::clean_stop,
        ),
        (
            "return",
            format!("l2ha on {SERVER_1} is started again"),
            SERVER_1,
            SMOOTH_LIMIT,
            Trio::come_back,
        ),
    ];
    for (event, text, server, limit, act) in acts {
        timeline.line(Instant::now(), &text, "");
        let outage = act(&trio, &probe)?;
        timeline.outage(event, server, limit, &outage);
        if event != "clean_stop" && event != "silent_cut" {
            trio.wait_full()?;
            trio.wait_watched()?;
        }
        std::thread::sleep(PAUSE);
    }
    if keep {
        look_around(&trio);
        while !signals::came() {
            std::thread::sleep(Duration::from_millis(100));
        }
        println!("\nremoving the lab");
    }
    Ok(())
}

/// What of a cluster file a user would write: not the folders of the lab.
fn indented(file: &str) -> String {
    let lab = ["[node]", "run_dir", "bpffs"];
    let lines = file
        .trim()
        .lines()
        .skip_while(|line| line.is_empty() || lab.iter().any(|begin| line.starts_with(begin)));
    lines.map(|line| format!("    {line}\n")).collect()
}

/// How to look into the lab from another terminal.
fn look_around(trio: &Trio) {
    println!("\nThe lab stays until Ctrl-C. To look around, as root in another terminal:\n");
    for member in trio.members() {
        let config = member.daemon.config();
        println!(
            "  {}:\n    nsenter --net={} bash\n    {} status --socket {}",
            member.host.name,
            member.host.ns.path().display(),
            member.daemon.binary().display(),
            config.socket().display(),
        );
    }
    let client = trio.client.host.ns.path();
    let cloud = trio.cloud.router().path();
    let port = trio.first.host.port();
    println!(
        "  fetch as the client:\n    nsenter --net={} curl -g 'http://[{ANYCAST}]/'\n  \
         cut {SERVER_1} off, and heal it:\n    \
         nsenter --net={cloud} ip rule add pref 10 iif {port} blackhole\n    \
         nsenter --net={cloud} ip rule del pref 10 iif {port} blackhole",
        client.display(),
        cloud = cloud.display(),
    );
}

/// What happened when: printed at once, and kept for the JSON file.
struct Timeline {
    start: Instant,
    ok: bool,
    worst: Duration,
    events: Vec<Value>,
}

impl Timeline {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            ok: true,
            worst: Duration::ZERO,
            events: Vec::new(),
        }
    }

    fn at_ms(&self, at: Instant) -> f64 {
        ms(at.saturating_duration_since(self.start))
    }

    fn line(&self, at: Instant, text: &str, price: &str) {
        println!("{:>9.3} s  {text:<58} {price}", self.at_ms(at) / 1000.0);
    }

    /// An event that costs nothing.
    fn note(&mut self, event: &str, text: &str) {
        let now = Instant::now();
        self.line(now, text, "");
        let object = json!({"event": event, "at_ms": self.at_ms(now), "gap_ms": 0.0, "ok": true});
        self.events.push(object);
    }

    /// An event and its price, against what it may cost.
    fn outage(&mut self, event: &str, server: &str, limit: Duration, outage: &Outage) {
        let ok = outage.gap <= limit;
        self.ok &= ok;
        self.worst = self.worst.max(outage.gap);
        let price = format!(
            "longest gap {:>6.0} ms  {} (at most {} ms)",
            ms(outage.gap),
            if ok { "ok" } else { "TOO LONG" },
            limit.as_millis()
        );
        self.line(outage.switched, &format!("{server} answers"), &price);
        self.events.push(json!({
            "event": event,
            "at_ms": self.at_ms(outage.from),
            "gap_ms": ms(outage.gap),
            "limit_ms": ms(limit),
            "switched_at_ms": self.at_ms(outage.switched),
            "served_by": server,
            "ok": ok,
        }));
    }

    fn end(&mut self, ok: bool) {
        let now = Instant::now();
        let text = if ok {
            "everything went as told"
        } else {
            "NOT everything went as told"
        };
        self.line(now, text, "");
        let object = json!({
            "event": "end",
            "at_ms": self.at_ms(now),
            "gap_ms": ms(self.worst),
            "ok": ok,
        });
        self.events.push(object);
    }
}

/// Milliseconds with one decimal.
fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_event_too_long_spoils_the_show_and_is_told() {
        let mut timeline = Timeline::new();
        let outage = |gap| Outage {
            from: timeline.start + Duration::from_millis(10),
            to: timeline.start + Duration::from_millis(30),
            switched: timeline.start + Duration::from_millis(20),
            gap: Duration::from_millis(gap),
        };
        let (short, long) = (outage(100), outage(101));
        timeline.note("started", "it runs");
        timeline.outage("heal", SERVER_1, SMOOTH_LIMIT, &short);
        assert!(timeline.ok);
        timeline.outage("return", SERVER_1, SMOOTH_LIMIT, &long);
        assert!(!timeline.ok);
        timeline.end(timeline.ok);

        let field = |key: &str| -> Vec<Value> {
            timeline
                .events
                .iter()
                .map(|event| event[key].clone())
                .collect()
        };
        assert_eq!(field("event"), ["started", "heal", "return", "end"]);
        assert_eq!(field("gap_ms"), [0.0, 100.0, 101.0, 101.0]);
        assert_eq!(field("ok"), [true, true, false, false]);
        assert!(field("at_ms").iter().all(Value::is_number));
    }
}
