//! The rows as a table for the terminal.

use std::fmt::Write as _;

use super::rows::Row;

/// A table, the medians with their spread, and the ratio to VXLAN and plain.
pub(super) fn text(rows: &[Row]) -> String {
    let mut text = format!(
        "\n{:<8} {:<14} {:<11} {:<12} {:>9} {:>9} {:>9}  {:<10} {:>8} {:>8}\n",
        "underlay", "case", "subject", "metric", "median", "min", "max", "unit", "/vxlan", "/plain"
    );
    for row in rows {
        let ratio =
            |to: &str| ratio(rows, row, to).map_or(String::new(), |ratio| format!("{ratio:.2}"));
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{:<8} {:<14} {:<11} {:<12} {:>9} {:>9} {:>9}  {:<10} {:>8} {:>8}",
            row.underlay.to_string(),
            row.case,
            row.subject,
            row.metric,
            row.median,
            row.min,
            row.max,
            row.unit,
            ratio("vxlan"),
            ratio("plain"),
        );
    }
    text
}

/// A row's median against that of another subject, all else equal.
pub(super) fn ratio(rows: &[Row], row: &Row, to: &str) -> Option<f64> {
    // The sessions of l2ha are compared with what has none.
    let other = rows.iter().find(|other| {
        other.underlay == row.underlay
            && other.case == row.case
            && other.metric == row.metric
            && other.subject == to
    })?;
    (other.subject != row.subject && other.median != 0.0).then(|| row.median / other.median)
}
