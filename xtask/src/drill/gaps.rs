//! The gaps of all drills: percentiles and a histogram.

use l2ha_lab::Gap;

/// Width of the longest bar.
const WIDTH: usize = 50;
/// How many bars at most.
const BARS: usize = 12;

/// What the drills cost, one after the other.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    milliseconds: Vec<f64>,
    lost: u64,
}

impl Gaps {
    pub(super) fn add(&mut self, gap: &Gap) {
        let ms = gap.longest.as_secs_f64() * 1000.0;
        let at = self.milliseconds.partition_point(|other| *other < ms);
        self.milliseconds.insert(at, ms);
        self.lost += gap.lost;
    }

    pub(super) const fn count(&self) -> usize {
        self.milliseconds.len()
    }

    pub(super) const fn lost(&self) -> u64 {
        self.lost
    }

    /// The smallest gap that this part of all does not exceed, to a tenth of a millisecond.
    pub(super) fn at(&self, part: f64) -> f64 {
        let rank = (part * self.count() as f64).ceil().max(1.0) as usize - 1;
        let ms = self
            .milliseconds
            .get(rank.min(self.count().saturating_sub(1)));
        (ms.copied().unwrap_or_default() * 10.0).round() / 10.0
    }

    /// The histogram.
    pub(super) fn text(&self) -> String {
        let (least, most) = (self.at(0.0).floor(), self.at(1.0));
        let step = [
            1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 5000.0,
        ]
        .into_iter()
        .find(|step| (most - least) / step < BARS as f64)
        .unwrap_or(10_000.0);
        let first = (least / step).floor();
        let bars = ((most / step).floor() - first) as usize + 1;
        let mut counts = vec![0_usize; bars];
        for ms in &self.milliseconds {
            let bar = ((ms / step).floor() - first).max(0.0) as usize;
            counts[bar.min(bars - 1)] += 1;
        }
        let highest = counts.iter().copied().max().unwrap_or(1).max(1);
        counts
            .iter()
            .enumerate()
            .map(|(bar, count)| {
                let from = (first + bar as f64) * step;
                let bar = "#".repeat((count * WIDTH).div_ceil(highest));
                format!("{from:>7.0} ms {count:>5} {bar}\n")
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn percentiles_are_ranks() {
        let mut gaps = Gaps::default();
        for ms in (1..=100).rev() {
            gaps.add(&Gap {
                longest: Duration::from_millis(ms),
                lost: 2,
            });
        }
        let at = [0.0, 0.5, 0.99, 1.0].map(|part| gaps.at(part));
        assert_eq!(at, [1.0, 50.0, 99.0, 100.0]);
        assert_eq!((gaps.count(), gaps.lost()), (100, 200));
        let text = gaps.text();
        assert!(text.lines().count() <= BARS, "{text}");
        assert!(text.contains("     10 ms    10 #"), "{text}");
        assert_eq!(Gaps::default().at(0.5), 0.0);
    }
}
