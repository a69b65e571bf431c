//! What to write instead of a line that is not TOML.

use crate::schema::{TABLES, Table};

/// What is wrong with a line, which the parser has said in a message.
pub(crate) fn what(line: &str, message: &str) -> String {
    match line.split_once('=') {
        Some((key, _)) if message == "duplicate key" => {
            format!("not TOML: duplicate key `{}`", key.trim())
        }
        _ => format!("not TOML: {message}"),
    }
}

/// A corrected line, or what lines look like.
pub(crate) fn remedy(line: &str, message: &str) -> String {
    let line = line.trim();
    if message.contains("duplicate key") {
        return "keep one of the two and remove the other; for a further tunnel or service, begin \
                it with `[[tunnels]]` or `[[services]]`"
            .to_owned();
    }
    // A cookie in place of its file's name must not come to light.
    if line.contains("cookie") {
        return "write `KEY = \"FILE\"`, with the file's name between two `\"`".to_owned();
    }
    if line.starts_with('[') {
        let name = line.trim_matches(['[', ']', ' ']);
        let header = TABLES
            .iter()
            .find(|table| table.name == name)
            .map(Table::header);
        return format!("write `{}`", header.unwrap_or(format!("[{name}]")));
    }
    if let Some((key, value)) = line.split_once('=') {
        let (key, value) = (key.trim(), value.trim());
        if !key.is_empty() && !value.is_empty() {
            return assignment(key, value);
        }
    } else if let Some((key, value)) = line.split_once(':') {
        let value = value.trim().trim_matches('"');
        return format!("write `{} = \"{value}\"`", key.trim());
    }
    "write every line as `key = \"text\"`, `key = 1`, `key = true`, `[section]` or `# comment`"
        .to_owned()
}

fn assignment(key: &str, value: &str) -> String {
    if value.starts_with('[') && !value.ends_with(']') {
        return format!("close the list: `{key} = {value}]`");
    }
    if value.starts_with('[') {
        return format!("write the list with commas and quotes: `{key} = [\"a\", \"b\"]`");
    }
    let text = value.trim_matches(['"', '\'']);
    format!("write `{key} = \"{text}\"`, or a number or true or false without quotes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_shown_corrected() {
        let starts = |line, message, start| {
            let remedy = remedy(line, message);
            assert!(remedy.starts_with(start), "{line}: {remedy}");
        };
        starts("name = server-1", "", "write `name = \"server-1\"`");
        starts("name = \"server-1", "", "write `name = \"server-1\"`");
        starts("name: \"server-1\"", "", "write `name = \"server-1\"`");
        let list = "addresses = [\"10.0.0.1\"";
        starts(list, "", "close the list: `addresses = [\"10.0.0.1\"]`");
        starts("[node", "", "write `[node]`");
        starts("[[node]", "", "write `[node]`");
        starts("[[tunnels]", "", "write `[[tunnels]]`");
        starts("name = \"a\"", "duplicate key", "keep one of the two");
        let secret = remedy("send_cookie_file = 0011223344556677", "");
        assert!(
            secret.contains("FILE") && !secret.contains("0011"),
            "{secret}"
        );
        starts("hello", "", "write every line as");
    }
}
