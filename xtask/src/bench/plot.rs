//! A plot of an underlay's figures: a bar for each subject, a line from the least to the most.

use std::fmt::Write as _;

use super::rows::{Row, Underlay};

const LABELS: u32 = 100;
const BARS: u32 = 430;
const WIDTH: u32 = 720;
const LINE: u32 = 18;
const HEADING: u32 = 30;

/// The plot as SVG, readable on light and dark pages.
pub(super) fn svg(rows: &[Row], underlay: Underlay) -> String {
    let rows: Vec<&Row> = rows
        .iter()
        // What costs least is longest in rate; one view of it is enough.
        .filter(|row| row.underlay == underlay && row.metric != "cpu")
        .collect();
    let mut text = String::new();
    let mut y = 10;
    for group in rows.chunk_by(|a, b| a.case == b.case && a.metric == b.metric) {
        let most = group.iter().map(|row| row.max).fold(0.0, f64::max);
        let scale = |value: f64| value / most.max(f64::MIN_POSITIVE) * f64::from(BARS);
        y += HEADING;
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "<text x=\"0\" y=\"{}\" class=\"heading\">{}, {} ({})</text>",
            y - 8,
            group[0].case,
            group[0].metric,
            group[0].unit,
        );
        for row in group {
            let middle = y + LINE / 2;
            let _ = writeln!(
                text,
                "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
                 <rect x=\"{LABELS}\" y=\"{}\" width=\"{:.1}\" height=\"{}\" class=\"{}\"/>\
                 <path d=\"M{:.1} {middle}H{:.1}\" class=\"spread\"/>\
                 <text x=\"{:.1}\" y=\"{}\">{}</text>",
                LABELS - 8,
                middle + 4,
                row.subject,
                y + 2,
                scale(row.median),
                LINE - 4,
                if row.subject.starts_with("l2ha") {
                    "ours"
                } else {
                    "others"
                },
                f64::from(LABELS) + scale(row.min),
                f64::from(LABELS) + scale(row.max),
                f64::from(LABELS) + scale(row.max) + 8.0,
                middle + 4,
                row.median,
            );
            y += LINE;
        }
    }
    let height = y + 10;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\">\n<style>\n\
         text {{ font: 12px sans-serif; fill: #777 }}\n.heading {{ font-weight: bold }}\n\
         .ours {{ fill: #2a7de1 }}\n.others {{ fill: #9aa5b1 }}\n\
         .spread {{ stroke: #444; stroke-width: 2 }}\n</style>\n{text}</svg>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::rows::{Figure, Samples};

    #[test]
    fn the_longest_bar_is_the_most() {
        let mut samples = Samples::default();
        for (subject, value) in [("plain", 2.0), ("l2ha", 1.0)] {
            samples.add(Underlay::Driver, subject, "small", Figure::Rate, value);
            samples.add(
                Underlay::Driver,
                subject,
                "small",
                Figure::CpuPerPacket,
                value,
            );
        }
        let svg = svg(&samples.rows(), Underlay::Driver);
        assert_eq!(svg.matches("<rect").count(), 2, "{svg}");
        assert!(svg.contains("width=\"430.0\" height=\"14\" class=\"others\""));
        assert!(svg.contains("width=\"215.0\" height=\"14\" class=\"ours\""));
    }
}
