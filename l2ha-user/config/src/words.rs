//! Words for people: what a value is, and which known word was probably meant.

use toml::de::DeValue;

/// A word that is this much like a known one was probably meant to be it.
const ALIKE: f64 = 0.82;

/// What a person calls a value's kind.
pub(crate) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// The text of a single value.
pub(crate) fn literal(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(digits) => Some(digits.as_str().to_owned()),
        DeValue::Float(digits) => Some(digits.as_str().to_owned()),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        DeValue::Datetime(date) => Some(date.to_string()),
        DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// The known word that was probably meant.
pub(crate) fn closest<'w>(word: &str, known: &[&'w str]) -> Option<&'w str> {
    // Hyphens for underscores and capitals are the commonest slips.
    let word = word.replace('-', "_").to_ascii_lowercase();
    known
        .iter()
        .map(|known| (strsim::jaro_winkler(&word, known), *known))
        // One wrong letter in a short word makes much of it.
        .filter(|(likeness, known)| *likeness >= ALIKE || strsim::osa_distance(&word, known) == 1)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}

/// The word of a choice.
pub(crate) fn name<T: PartialEq>(choices: &[(&'static str, T)], chosen: T) -> &'static str {
    let choice = choices.iter().find(|(_, choice)| *choice == chosen);
    choice.map_or("", |(word, _)| word)
}

/// `a`, `b` and `c`.
pub(crate) fn list(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_found() {
        let known = ["remote", "session_id", "peer_session_id", "mtu", "cost"];
        assert_eq!(closest("remot", &known), Some("remote"));
        assert_eq!(closest("session-id", &known), Some("session_id"));
        assert_eq!(closest("MTU", &known), Some("mtu"));
        assert_eq!(closest("sesion_id", &known), Some("session_id"));
        assert_eq!(closest("xpd", &["auto", "xdp", "tc"]), Some("xdp"));
        assert_eq!(closest("colour", &known), None);
    }

    #[test]
    fn lists_read_well() {
        assert_eq!(list(&[]), "");
        assert_eq!(list(&["a"]), "`a`");
        assert_eq!(list(&["a", "b", "c"]), "`a`, `b` and `c`");
    }
}
