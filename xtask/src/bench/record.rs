//! What is kept of the runs: the figures beside the documentation.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::rows::{Row, Underlay};

const DATA: &str = "benchmarks.json";

/// The last figures of each underlay.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Record {
    /// On what they were measured.
    pub(super) machines: BTreeMap<Underlay, String>,
    pub(super) rows: Vec<Row>,
}

impl Record {
    /// Reads what an earlier run left; nothing is an empty record.
    pub(super) fn read(docs: &Path) -> Result<Self> {
        let path = docs.join(DATA);
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = fs::read_to_string(&path)?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} is not what a run wrote: remove it", path.display()))
    }

    /// Replaces the figures of these underlays; those of others stay.
    pub(super) fn replace(&mut self, underlays: &[Underlay], rows: Vec<Row>, machine: &str) {
        self.rows.retain(|row| !underlays.contains(&row.underlay));
        self.rows.extend(rows);
        // The sort is stable: within an underlay the order is the tables'.
        self.rows.sort_by_key(|row| row.underlay);
        for underlay in underlays {
            self.machines.insert(*underlay, machine.to_owned());
        }
    }

    /// Writes the figures.
    pub(super) fn write(&self, docs: &Path) -> Result<()> {
        let path = docs.join(DATA);
        fs::write(&path, serde_json::to_string_pretty(self)? + "\n")
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::rows::{Figure, Samples};

    #[test]
    fn other_underlays_keep_their_figures() {
        let rows = |underlay, value| {
            let mut samples = Samples::default();
            samples.add(underlay, "plain", "tcp1", Figure::Throughput, value);
            samples.rows()
        };
        let mut record = Record::default();
        record.replace(&[Underlay::Driver], rows(Underlay::Driver, 1.0), "one");
        record.replace(&[Underlay::Wire], rows(Underlay::Wire, 2.0), "two");
        record.replace(&[Underlay::Driver], rows(Underlay::Driver, 3.0), "three");
        let medians: Vec<f64> = record.rows.iter().map(|row| row.median).collect();
        assert_eq!(medians, [2.0, 3.0]);
        assert_eq!(record.machines[&Underlay::Driver], "three");
        assert_eq!(record.machines[&Underlay::Wire], "two");

        let json = serde_json::to_string(&record).expect("it is plain data");
        let back: Record = serde_json::from_str(&json).expect("it was written so");
        assert_eq!(back.rows, record.rows);
    }
}
