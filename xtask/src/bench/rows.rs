//! What was measured: samples, and the rows made of them.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// What carries the packets.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub(super) enum Underlay {
    /// veth with checksum offload off: every packet is cut and summed, as on a wire.
    Wire,
    /// veth with all offloads: super-packets cross it whole.
    Offload,
    /// Frames injected as a driver would, on one core.
    Driver,
    /// Two virtual machines over virtio-net.
    Virtio,
}

impl Underlay {
    /// In the order they are measured.
    pub(super) const ALL: [Self; 4] = [Self::Wire, Self::Offload, Self::Driver, Self::Virtio];
}

impl fmt::Display for Underlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wire => "wire",
            Self::Offload => "offload",
            Self::Driver => "driver",
            Self::Virtio => "virtio",
        })
    }
}

/// A figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Figure {
    /// Gbit/s of user data.
    Throughput,
    /// Millions of packets a second.
    Rate,
    /// Microseconds.
    LatencyP50,
    /// Microseconds.
    LatencyP99,
    /// Busy time of all cores, in seconds per gigabyte of user data.
    CpuPerGigabyte,
    /// Busy time of all cores, in nanoseconds per packet.
    CpuPerPacket,
}

impl Figure {
    fn metric_and_unit(self) -> (&'static str, &'static str) {
        match self {
            Self::Throughput => ("throughput", "Gbit/s"),
            Self::Rate => ("rate", "Mpps"),
            Self::LatencyP50 => ("latency-p50", "µs"),
            Self::LatencyP99 => ("latency-p99", "µs"),
            Self::CpuPerGigabyte => ("cpu", "s/GB"),
            Self::CpuPerPacket => ("cpu", "ns/packet"),
        }
    }
}

/// One line of the result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) underlay: Underlay,
    pub(super) subject: String,
    pub(super) case: String,
    pub(super) metric: String,
    pub(super) unit: String,
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) runs: usize,
}

/// In the order of the tables.
const CASES: &[&str] = &[
    "tcp1",
    "tcp1-reverse",
    "tcp4",
    "tcp16",
    "small",
    "rr",
    "rr-one-core",
    "streams-1",
    "streams-4",
    "sessions-1",
    "sessions-100",
    "sessions-10000",
];
const SUBJECTS: &[&str] = &[
    "plain",
    "vxlan",
    "l2tp",
    "l2ha",
    "l2ha-tc",
    "l2ha-udp6",
    "l2ha-ip",
];

/// Everything measured, in the order in which it came first.
#[derive(Debug, Default)]
pub(super) struct Samples {
    order: Vec<Key>,
    values: BTreeMap<Key, Vec<f64>>,
}

type Key = (Underlay, String, String, Figure);

impl Samples {
    /// Adds one run's figure.
    pub(super) fn add(
        &mut self,
        underlay: Underlay,
        subject: &str,
        case: &str,
        figure: Figure,
        value: f64,
    ) {
        let key = (underlay, case.to_owned(), subject.to_owned(), figure);
        let values = self.values.entry(key.clone()).or_default();
        if values.is_empty() {
            self.order.push(key);
        }
        values.push(value);
    }

    /// The rows, by underlay and case.
    pub(super) fn rows(&self) -> Vec<Row> {
        let mut keys = self.order.clone();
        keys.sort_by_key(|(underlay, case, subject, figure)| {
            let place = |names: &[&str], name: &str| names.iter().position(|other| *other == name);
            let case = (place(CASES, case), case.clone());
            (*underlay, case, *figure, place(SUBJECTS, subject))
        });
        keys.iter()
            .map(|key| {
                let (underlay, case, subject, figure) = key;
                let values = &self.values[key];
                let (metric, unit) = figure.metric_and_unit();
                Row {
                    underlay: *underlay,
                    subject: subject.clone(),
                    case: case.clone(),
                    metric: metric.to_owned(),
                    unit: unit.to_owned(),
                    median: round(median(values)),
                    min: round(values.iter().copied().fold(f64::INFINITY, f64::min)),
                    max: round(values.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
                    runs: values.len(),
                }
            })
            .collect()
    }
}

/// The middle value, or the mean of both middle ones; 0 of nothing.
pub(super) fn median(values: &[f64]) -> f64 {
    percentile(values, 50.0)
}

/// The value below which `percent` of the values lie, between two of them in proportion.
pub(super) fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else {
        return 0.0;
    };
    let place = percent / 100.0 * last as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * place.fract()
}

/// Four significant digits are more than any run repeats.
fn round(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let digits = (3 - value.abs().log10().floor() as i32).max(0);
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_the_middle() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[7.0]), 7.0);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        let hundred: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        assert_eq!(percentile(&hundred, 99.0), 99.0);
        assert_eq!(percentile(&[10.0, 20.0], 25.0), 12.5);
    }

    #[test]
    fn digits_that_say_something() {
        assert_eq!(round(0.123_456), 0.1235);
        assert_eq!(round(12.345_6), 12.35);
        assert_eq!(round(12_345.6), 12_346.0);
        assert_eq!(round(0.0), 0.0);
    }

    #[test]
    fn rows_have_the_shape_that_was_promised() {
        let mut samples = Samples::default();
        for value in [2.0, 1.0, 4.0] {
            samples.add(Underlay::Wire, "l2ha-udp6", "rr", Figure::LatencyP50, value);
        }
        let json = serde_json::to_value(samples.rows()).expect("it is plain data");
        let expected = serde_json::json!([{
            "underlay": "wire", "subject": "l2ha-udp6", "case": "rr", "metric": "latency-p50",
            "unit": "µs", "median": 2.0, "min": 1.0, "max": 4.0, "runs": 3
        }]);
        assert_eq!(json, expected);
        let back: Vec<Row> = serde_json::from_value(json).expect("it was made of this");
        assert_eq!(back, samples.rows());
    }
}
