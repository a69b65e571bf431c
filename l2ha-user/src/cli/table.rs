//! Tables for people.

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Map, Value};

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

/// A table of JSON objects: a column for every field that has a plain value in one of them, in
/// the order in which they come.
pub(super) fn of_objects(rows: &[Value]) -> String {
    let objects: Vec<&Map<String, Value>> = rows.iter().filter_map(Value::as_object).collect();
    let mut columns: Vec<&str> = Vec::new();
    for (name, value) in objects.iter().flat_map(|object| object.iter()) {
        if scalar(value).is_some() && !columns.contains(&name.as_str()) {
            columns.push(name);
        }
    }
    let header: Vec<String> = columns.iter().map(|name| name.replace('_', " ")).collect();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut table = new(&header);
    for object in objects {
        table.add_row(
            columns
                .iter()
                .map(|name| object.get(*name).and_then(scalar).unwrap_or_default()),
        );
    }
    text(&mut table)
}

/// A plain value as text: text, numbers, truth values, and short lists of these.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some("-".to_owned()),
        Value::Bool(true) => Some("yes".to_owned()),
        Value::Bool(false) => Some("no".to_owned()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        Value::Array(list) => {
            let texts: Option<Vec<String>> = list.iter().map(scalar).collect();
            Some(texts?.join(", "))
        }
        Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_become_rows() {
        let rows = [
            json!({"router_id": "10.0.0.1", "state": "full", "detail": {"a": 1}}),
            json!({"router_id": "10.0.0.200", "state": null, "dead_in_s": 3, "on": [1, true]}),
        ];
        let text = of_objects(&rows);
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(lines.len(), 3, "{text}");
        for word in ["router", "id", "state", "dead", "in", "s", "on"] {
            assert!(lines[0].contains(&word), "{text}");
        }
        assert!(!text.contains("detail"), "{text}");
        assert!(
            lines[1].contains(&"10.0.0.1") && lines[1].contains(&"full"),
            "{text}"
        );
        assert!(lines[2].contains(&"-") && text.contains("1, yes"), "{text}");
        assert!(text.lines().all(|line| line == line.trim_end()), "{text:?}");
    }
}
