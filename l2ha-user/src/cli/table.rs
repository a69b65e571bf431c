//! Tables for people.

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use serde_json::{Value, json};

/// A table without lines, whose columns begin with these words.
pub(super) fn new(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header.to_vec());
    table
}

/// The table's text, without the blanks at the ends of its lines.
pub(super) fn text(table: &mut Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let text = table.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n")
}

/// A value in the words that `--json` has for it.
pub(super) fn cell(value: impl Serialize) -> String {
    match json!(value) {
        Value::Null => "-".to_owned(),
        Value::String(text) => text,
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_without_blanks() {
        let mut table = new(&["name", "state"]);
        table.add_row(["client", "up"]).add_row(["s", ""]);
        assert_eq!(text(&mut table), "name    state\nclient  up\ns");
    }
}
