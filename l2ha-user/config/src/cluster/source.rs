//! What a file says, table by table, and its values as TOML again.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::report::{Place, Report};

/// A table that there is one of, or none.
pub(crate) fn single<'a>(report: &Report, root: &'a DeTable<'a>, name: &str) -> Vec<Entries<'a>> {
    let found = root.iter().find(|(key, _)| key.get_ref() == name);
    found
        .and_then(|(_, value)| entries(report, value))
        .into_iter()
        .collect()
}

/// The keys of a table, and where it begins.
pub(crate) type Entries<'a> = (Place, Vec<(&'a str, &'a Spanned<DeValue<'a>>)>);

/// A table that there are several of.
pub(crate) fn tables<'a>(report: &Report, root: &'a DeTable<'a>, name: &str) -> Vec<Entries<'a>> {
    let found = root.iter().find(|(key, _)| key.get_ref() == name);
    match found.map(|(_, value)| value.get_ref()) {
        Some(DeValue::Array(array)) => array.iter().filter_map(|it| entries(report, it)).collect(),
        _ => Vec::new(),
    }
}

fn entries<'a>(report: &Report, value: &'a Spanned<DeValue<'a>>) -> Option<Entries<'a>> {
    let place = Place {
        line: report.line(value.span().start),
        key: String::new(),
    };
    let DeValue::Table(table) = value.get_ref() else {
        return None;
    };
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let named = entries.into_iter();
    let named = named.map(|(key, value)| -> (&'a str, _) { (key.get_ref(), value) });
    Some((place, named.collect()))
}

/// A value on one line.
pub(crate) fn inline(value: &DeValue<'_>) -> String {
    match value {
        DeValue::Array(array) => {
            let all: Vec<String> = array.iter().map(|it| inline(it.get_ref())).collect();
            format!("[{}]", all.join(", "))
        }
        DeValue::Table(table) => {
            let mut all: Vec<_> = table.iter().collect();
            all.sort_by_key(|(key, _)| key.span().start);
            let all = all.into_iter();
            let all: Vec<String> = all
                .map(|(key, value)| {
                    format!("{} = {}", quoted(key.get_ref()), inline(value.get_ref()))
                })
                .collect();
            format!("{{ {} }}", all.join(", "))
        }
        DeValue::String(text) => toml::Value::String(text.to_string()).to_string(),
        DeValue::Integer(digits) if digits.radix() == 10 => digits.as_str().to_owned(),
        DeValue::Integer(digits) => {
            let number = i128::from_str_radix(digits.as_str(), digits.radix());
            number.map_or_else(|_| digits.as_str().to_owned(), |number| number.to_string())
        }
        DeValue::Float(digits) => digits.as_str().to_owned(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(date) => date.to_string(),
    }
}

/// A key as TOML has it.
pub(crate) fn quoted(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match !key.is_empty() && key.chars().all(bare) {
        true => key.to_owned(),
        false => toml::Value::String(key.to_owned()).to_string(),
    }
}
