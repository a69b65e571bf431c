//! Names of interfaces, nodes, tunnels and services.

use crate::{report::Unique, section::Section};

/// Longest interface name in bytes (`IFNAMSIZ` less the final zero).
pub(crate) const LONGEST: usize = 15;
/// Longest name of a node, a tunnel or a service in bytes.
pub(crate) const LONGEST_NAME: usize = 32;
/// What a virtual interface's default name begins with.
pub(crate) const VISIBLE: &str = "l2-";
/// What the name of its hidden end begins with.
const HIDDEN: &str = "l2h-";

/// Name of the hidden end of a virtual interface: the same for the same name, whatever else is
/// configured. Two names that come to the same one are refused as a mistake.
pub fn hidden(visible: &str) -> String {
    let rest = visible.strip_prefix(VISIBLE).unwrap_or(visible);
    if HIDDEN.len() + rest.len() <= LONGEST {
        return format!("{HIDDEN}{rest}");
    }
    // Eleven hexadecimal digits are what is left of the name's length.
    format!("{HIDDEN}{:011x}", fnv1a(visible.as_bytes()) >> 20)
}

/// What the kernel would refuse about an interface name (`dev_valid_name`), or read as a pattern
/// (`dev_alloc_name`).
pub(crate) fn problem(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("an interface name cannot be empty".to_owned());
    }
    if name.len() > LONGEST {
        return Some(format!(
            "`{name}` has {} bytes, the kernel takes at most {LONGEST}",
            name.len()
        ));
    }
    if name == "." || name == ".." {
        return Some(format!("`{name}` is not an interface name"));
    }
    name.chars()
        .find(|c| !c.is_ascii_graphic() || matches!(c, '/' | ':' | '%'))
        .map(|c| format!("{c:?} cannot be in an interface name"))
}

/// What is wrong with a node's name: it becomes part of file names.
pub(crate) fn node_problem(name: &str) -> Option<String> {
    name_problem(name, "a to z, 0 to 9 and -", |c| {
        c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
    })
}

/// What is wrong with the name of a tunnel or a service.
pub(crate) fn label_problem(name: &str) -> Option<String> {
    name_problem(name, "letters, digits, -, _ and .", |c| {
        c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
    })
}

fn name_problem(name: &str, allowed: &str, good: impl Fn(char) -> bool) -> Option<String> {
    if name.is_empty() {
        return Some("a name cannot be empty".to_owned());
    }
    if name.len() > LONGEST_NAME {
        return Some(format!(
            "the name has {} bytes, at most {LONGEST_NAME} are allowed",
            name.len()
        ));
    }
    name.chars()
        .find(|c| !good(*c))
        .map(|c| format!("{c:?} cannot be in this name, only {allowed} can"))
}

/// A name as near to this one as the rules allow.
pub(crate) fn corrected(
    name: &str,
    longest: usize,
    problem: fn(&str) -> Option<String>,
) -> Option<String> {
    let mut corrected = String::new();
    for c in name.chars() {
        let c = [c, c.to_ascii_lowercase(), '-']
            .into_iter()
            .find(|c| problem(c.encode_utf8(&mut [0; 4])).is_none());
        corrected.extend(c);
    }
    corrected.truncate(longest);
    problem(&corrected).is_none().then_some(corrected)
}

/// FNV-1a, 64 bits: the standard library's hasher may change from release to release.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The name of a tunnel or a service, unlike the others; nothing for one that another has, of which nothing more
/// is said.
/// A name that is shown as what to write has at most `longest` bytes.
pub(crate) fn label(
    section: &Section<'_>,
    others: &mut Unique<String>,
    longest: usize,
) -> Option<String> {
    let good = |text: &str| corrected(text, longest, label_problem);
    let found = section.text_or("name", good)?;
    if let Some(problem) = label_problem(found.value) {
        let good = good(found.value).unwrap_or_else(|| "client".to_owned());
        section
            .report
            .error(&found.place, problem, format!("write `name = \"{good}\"`"));
        return None;
    }
    let name = found.value.to_owned();
    let is_free = others.take(section.report, found.with(name.clone()), |others| {
        let numbered = |n: u32| {
            let end = format!("-{n}");
            let kept = name.len().min(longest - end.len());
            format!("{}{end}", &name[..kept])
        };
        let free = (2..).map(numbered).find(|name| !others.has(name));
        format!(
            "write another, as `name = \"{}\"`",
            free.unwrap_or_default()
        )
    });
    is_free.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_names_fit_and_are_stable() {
        assert_eq!(hidden("l2-client"), "l2h-client");
        assert_eq!(hidden("wire"), "l2h-wire");
        assert_eq!(hidden("l2-elevenbytes"), "l2h-elevenbytes");
        for long in ["l2-twelve-bytes", "fifteen-bytes-x", "fifteen-bytes-y"] {
            let name = hidden(long);
            assert_eq!(name.len(), LONGEST, "{name}");
            assert_eq!(problem(&name), None);
        }
        assert_ne!(hidden("fifteen-bytes-x"), hidden("fifteen-bytes-y"));
        // A literal: an update must find what an earlier version made.
        assert_eq!(hidden("l2-twelve-bytes"), "l2h-4fcf7b0fa1a");
    }

    #[test]
    fn corrections_are_near_and_good() {
        assert_eq!(
            corrected("Server_1", LONGEST_NAME, node_problem).as_deref(),
            Some("server-1")
        );
        assert_eq!(
            corrected("my tunnel", LONGEST_NAME, label_problem).as_deref(),
            Some("my-tunnel")
        );
        assert_eq!(
            corrected("interface-too-long", LONGEST, problem).as_deref(),
            Some("interface-too-l")
        );
        assert_eq!(corrected("", LONGEST, problem), None);
    }

    #[test]
    fn what_the_kernel_refuses_is_refused() {
        for good in ["eth0", "l2-client", "eth0.100", "a"] {
            assert_eq!(problem(good), None, "{good}");
        }
        for bad in [
            "",
            "sixteen-bytes-xx",
            ".",
            "..",
            "a/b",
            "a b",
            "a:1",
            "eth%d",
            "é",
        ] {
            assert!(problem(bad).is_some(), "{bad}");
        }
    }
}
