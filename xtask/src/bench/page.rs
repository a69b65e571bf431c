//! docs/benchmarks.md, and the plots in it.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result};

use super::{
    plot,
    record::Record,
    report::ratio,
    rows::{Row, Underlay},
};

const PAGE: &str = "benchmarks.md";
/// Everything from this line on is a person's, and no run changes it.
const BY_HAND: &str = "<!-- Kept by hand from here on: `cargo xtask bench` leaves it as it is. -->";
const EMPTY: &str = "\n## What did not help\n\nNothing noted yet.\n";

/// What the project has set itself: a ratio of two medians, or of two sums of medians.
struct Mark {
    what: &'static str,
    underlay: &'static str,
    metric: &'static str,
    /// Subject and cases above the line, and below it.
    ratio: [(&'static str, &'static [&'static str]); 2],
    goal: Goal,
}

enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

const ONE: &[&str] = &["tcp1"];
const BOTH: &[&str] = &["tcp1", "tcp1-reverse"];
const SMALL: &[&str] = &["small"];

const MARKS: &[Mark] = &[
    Mark {
        what: "receiver's capacity, small packets, one core, against VXLAN",
        underlay: "driver",
        metric: "rate",
        ratio: [("l2ha", SMALL), ("vxlan", SMALL)],
        goal: Goal::AtLeast(1.7),
    },
    Mark {
        what: "the same against the plain underlay",
        underlay: "driver",
        metric: "rate",
        ratio: [("l2ha", SMALL), ("plain", SMALL)],
        goal: Goal::AtLeast(0.95),
    },
    Mark {
        what: "one TCP stream, veth as a wire, against VXLAN",
        underlay: "wire",
        metric: "throughput",
        ratio: [("l2ha", ONE), ("vxlan", ONE)],
        goal: Goal::AtLeast(1.1),
    },
    Mark {
        what: "one TCP stream, super-packets left whole, against VXLAN",
        underlay: "offload",
        metric: "throughput",
        ratio: [("l2ha", ONE), ("vxlan", ONE)],
        goal: Goal::AtLeast(1.15),
    },
    Mark {
        what: "one TCP stream between two VMs, mean of both directions, against the kernel's l2tp",
        underlay: "virtio",
        metric: "throughput",
        ratio: [("l2ha", BOTH), ("l2tp", BOTH)],
        goal: Goal::AtLeast(1.5),
    },
    Mark {
        what: "the same against VXLAN",
        underlay: "virtio",
        metric: "throughput",
        ratio: [("l2ha", BOTH), ("vxlan", BOTH)],
        goal: Goal::AtLeast(1.1),
    },
    Mark {
        what: "receiver's capacity, 4 streams in one tunnel on 2 cores, against one stream on one",
        underlay: "driver",
        metric: "rate",
        ratio: [("l2ha", &["streams-4"]), ("l2ha", &["streams-1"])],
        goal: Goal::AtLeast(1.6),
    },
    Mark {
        what: "request and response, p50, a core for each host, against the plain underlay",
        underlay: "wire",
        metric: "latency-p50",
        ratio: [("l2ha", &["rr"]), ("plain", &["rr"])],
        goal: Goal::AtMost(1.15),
    },
    Mark {
        what: "receiver's capacity with 10,000 sessions, against one",
        underlay: "driver",
        metric: "rate",
        ratio: [("l2ha", &["sessions-10000"]), ("l2ha", &["sessions-1"])],
        goal: Goal::AtLeast(0.95),
    },
];

impl Mark {
    fn reached(&self, rows: &[Row]) -> Option<f64> {
        let sum = |(subject, cases): (&str, &[&str])| -> Option<f64> {
            cases
                .iter()
                .map(|case| {
                    let found = rows.iter().find(|row| {
                        row.underlay.to_string() == self.underlay
                            && row.subject == subject
                            && row.case == *case
                            && row.metric == self.metric
                    });
                    found.map(|row| row.median)
                })
                .sum()
        };
        let [above, below] = self.ratio.map(sum);
        let below = below.filter(|below| *below > 0.0)?;
        above.map(|above| above / below)
    }

    fn line(&self, rows: &[Row]) -> String {
        let (goal, reached) = match self.goal {
            Goal::AtLeast(goal) => (
                format!("at least {goal}"),
                self.reached(rows).map(|ratio| (ratio, ratio >= goal)),
            ),
            Goal::AtMost(goal) => (
                format!("at most {goal}"),
                self.reached(rows).map(|ratio| (ratio, ratio <= goal)),
            ),
        };
        let (ratio, verdict) = match reached {
            None => (String::new(), "not measured"),
            Some((ratio, true)) => (format!("{ratio:.2}"), "reached"),
            Some((ratio, false)) => (format!("{ratio:.2}"), "**not reached**"),
        };
        format!("| {} | {goal} | {ratio} | {verdict} |\n", self.what)
    }
}

/// Writes the plots and the page, whose part kept by hand stays as it is.
pub(super) fn write(record: &Record, docs: &Path) -> Result<()> {
    let write = |name: &str, text: &str| {
        let path = docs.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    for underlay in record.machines.keys() {
        let svg = plot::svg(&record.rows, *underlay);
        write(&plot_name(*underlay), &svg)?;
    }
    let before = fs::read_to_string(docs.join(PAGE)).unwrap_or_default();
    write(PAGE, &markdown(record, &before))
}

/// The file of an underlay's plot.
fn plot_name(underlay: Underlay) -> String {
    format!("benchmarks-{underlay}.svg")
}

/// The page, with what was kept by hand in `before`.
fn markdown(record: &Record, before: &str) -> String {
    let mut text = String::from(
        "# Benchmarks\n\nMeasured by `cargo xtask bench`, the subjects taking turns; each figure is \
         the median of its runs,\nwith the least and the most in brackets. Figures of a small or \
         busy machine are good for ratios\nonly. The rows are in [benchmarks.json](benchmarks.json).\n\n\
         ## Against the marks\n\n| What | Mark | Ratio | |\n| --- | --- | ---: | --- |\n",
    );
    for mark in MARKS {
        text.push_str(&mark.line(&record.rows));
    }
    for (underlay, machine) in &record.machines {
        let _ = write!(
            text,
            "\n## {}\n\n{machine}.\n\n![{underlay}]({})\n\n\
             | Case | Metric | Subject | Median | Against VXLAN | Against plain |\n\
             | --- | --- | --- | ---: | ---: | ---: |\n",
            heading(*underlay),
            plot_name(*underlay),
        );
        for row in record.rows.iter().filter(|row| row.underlay == *underlay) {
            let ratio = |to: &str| {
                ratio(&record.rows, row, to).map_or(String::new(), |ratio| format!("{ratio:.2}"))
            };
            let _ = writeln!(
                text,
                "| {} | {}, {} | {} | {} ({} to {}) | {} | {} |",
                row.case,
                row.metric,
                row.unit,
                row.subject,
                row.median,
                row.min,
                row.max,
                ratio("vxlan"),
                ratio("plain"),
            );
        }
    }
    let by_hand = before
        .split_once(BY_HAND)
        .map_or(EMPTY, |(_, by_hand)| by_hand);
    format!("{text}\n{BY_HAND}\n\n{}\n", by_hand.trim())
}

fn heading(underlay: Underlay) -> &'static str {
    match underlay {
        Underlay::Wire => "wire: veth with checksum offload off, GRO on",
        Underlay::Offload => "offload: veth with all offloads, l2ha on tc",
        Underlay::Driver => "driver: frames injected as a driver would, received on one core",
        Underlay::Virtio => {
            "virtio: two emulated machines with Linux 6.1 over virtio-net, native XDP"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::rows::{Figure, Samples};

    fn record(l2ha: f64) -> Record {
        let mut samples = Samples::default();
        for (subject, value) in [("plain", 1.2), ("vxlan", 0.5), ("l2ha", l2ha)] {
            samples.add(Underlay::Driver, subject, "small", Figure::Rate, value);
        }
        let mut record = Record::default();
        record.replace(&[Underlay::Driver], samples.rows(), "a machine");
        record
    }

    #[test]
    fn a_mark_is_judged() {
        let good = markdown(&record(1.0), "");
        assert!(
            good.contains("against VXLAN | at least 1.7 | 2.00 | reached |"),
            "{good}"
        );
        assert!(good.contains("plain underlay | at least 0.95 | 0.83 | **not reached** |"));
        assert!(
            good.contains(
                "on 2 cores, against one stream on one | at least 1.6 |  | not measured |"
            )
        );
        assert!(good.contains("| small | rate, Mpps | l2ha | 1 (1 to 1) | 2.00 | 0.83 |"));
        let bad = markdown(&record(0.8), "");
        assert!(bad.contains("at least 1.7 | 1.60 | **not reached** |"));
    }

    #[test]
    fn what_a_person_wrote_stays() {
        let first = markdown(&record(1.0), "");
        assert!(first.contains("Nothing noted yet."));
        let edited = first.replace("Nothing noted yet.", "- cpumap: slower.");
        let second = markdown(&record(0.8), &edited);
        assert!(second.contains("- cpumap: slower."));
        assert!(!second.contains("Nothing noted yet."));
        assert_eq!(second, markdown(&record(0.8), &second));
    }
}
