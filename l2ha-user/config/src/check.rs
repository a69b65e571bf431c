//! `check` and `on_change` of `[[services]]`.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::{
    duration::duration,
    schema::CHECK,
    section::Section,
    types::{Check, CheckKind, HttpCheck},
    words::list,
};

/// The kinds of a check.
const KINDS: [&str; 4] = ["tcp", "http", "exec", "unit"];
/// The kinds of a unit (systemd.unit(5)).
const UNIT_KINDS: [&str; 11] = [
    "service",
    "socket",
    "device",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "timer",
    "slice",
    "scope",
];
/// How many checks a service may have.
const MOST: usize = 8;
/// What can be written for `interval`.
const INTERVALS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(3600));
/// What can be written for `timeout`.
const TIMEOUTS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(60));
/// Where neither says anything.
const DEFAULT_TIME: Duration = Duration::from_secs(1);
/// Status of an answer that redirects is good: the server lives.
const DEFAULT_STATUS: (u16, u16) = (200, 399);
/// Reads the checks of a service with this address.
pub(crate) fn checks(section: &Section<'_>, service: Option<IpAddr>) -> Vec<Check> {
    let tables = section.tables("check", &CHECK);
    if let Some(over) = tables.get(MOST) {
        section.report.error(
            &over.place,
            format!("a service has at most {MOST} checks"),
            "remove it, or let one `exec` check several things",
        );
    }
    let checks = tables.iter();
    checks.filter_map(|table| check(table, service)).collect()
}

fn check(section: &Section<'_>, service: Option<IpAddr>) -> Option<Check> {
    let there: Vec<&str> = KINDS
        .into_iter()
        .filter(|kind| section.place_of(kind).is_some())
        .collect();
    let kind = match there[..] {
        [kind] => kind,
        [] => {
            if !KINDS.iter().any(|kind| section.is_misspelt(kind)) {
                section.report.error(
                    &section.place,
                    format!("a check has one of {}", list(&KINDS)),
                    format!("add `tcp = {}`", section.example("tcp")),
                );
            }
            ""
        }
        [_, second, ..] => {
            let place = section.place_of(second);
            section.report.error(
                &place.unwrap_or_else(|| section.place.clone()),
                format!("{} are two checks, but this is one table", list(&there)),
                "write a table for each, as `check = [{ tcp = \"..\" }, { exec = [\"..\"] }]`",
            );
            ""
        }
    };
    only_for_http(section, kind);
    let time = |name, (least, most)| duration(section, name, least..=most).unwrap_or(DEFAULT_TIME);
    let count = |name, usual| {
        let found = section.integer::<u8>(name, 1..=100);
        found.map_or(usual, |found| found.value)
    };
    let (interval, timeout) = (time("interval", INTERVALS), time("timeout", TIMEOUTS));
    let (fall, rise) = (count("fall", 2), count("rise", 3));
    let kind = match kind {
        "tcp" => CheckKind::Tcp(tcp(section)?),
        "http" => CheckKind::Http(http(section, service)?),
        "exec" => CheckKind::Exec(command(section, "exec")?),
        "unit" => CheckKind::Unit(unit(section)?),
        _ => return None,
    };
    Some(Check {
        kind,
        interval,
        timeout,
        fall,
        rise,
    })
}

/// Reports what says something about an answer where none is asked for.
fn only_for_http(section: &Section<'_>, kind: &str) {
    if kind.is_empty() || kind == "http" {
        return;
    }
    for name in ["status", "body", "verify"] {
        if let Some(place) = section.place_of(name) {
            section.report.error(
                &place,
                format!("`{name}` is about the answer of `http`, but this is `{kind}`"),
                "remove it",
            );
        }
    }
}

fn tcp(section: &Section<'_>) -> Option<SocketAddr> {
    let found = section.string("tcp")?;
    let address = found.value.parse::<SocketAddr>().ok();
    let problem = match address {
        Some(address) if address.port() == 0 => "port 0 is no port",
        Some(address) if address.ip().is_unspecified() => "no host can be reached at it",
        Some(address) => return Some(address),
        None => "it is not an address with a port",
    };
    // An address without port, or IPv6 without brackets.
    let good = match found.value.parse::<IpAddr>() {
        Ok(address) if !address.is_unspecified() => {
            format!("\"{}\"", SocketAddr::new(address, 80))
        }
        _ => section.example("tcp").to_owned(),
    };
    section.report.error(
        &found.place,
        format!("`{}`: {problem}", found.value),
        format!("write `tcp = {good}`"),
    );
    None
}

fn http(section: &Section<'_>, service: Option<IpAddr>) -> Option<HttpCheck> {
    let status = status(section);
    let body = section.text_or("body", |text| Some(text.to_owned()));
    if let Some(body) = body.as_ref().filter(|body| body.value.is_empty()) {
        section.report.error(
            &body.place,
            "no text is in every answer",
            "remove it, or write `body = \"ok\"`",
        );
    }
    let verify = section.choice("verify", &[("certificate", true), ("nothing", false)]);
    let found = section.string("http")?;
    let url = match url(found.value) {
        Ok(url) => url,
        Err(problem) => {
            section.report.error(
                &found.place,
                format!("`{}`: {problem}", found.value),
                format!("write `http = {}`", section.example("http")),
            );
            return None;
        }
    };
    if !url.tls
        && let Some(place) = section.place_of("verify")
    {
        section.report.error(
            &place,
            "there is a certificate with https only",
            "remove it, or write `http = \"https://..\"`",
        );
    }
    let address = match url.host.parse() {
        Ok(address) => address,
        Err(_) => service?,
    };
    Some(HttpCheck {
        url: found.value.to_owned(),
        tls: url.tls,
        verify: verify.unwrap_or(true),
        target: SocketAddr::new(address, url.port),
        host: url.host,
        authority: url.authority,
        path: url.path,
        status: status.unwrap_or(DEFAULT_STATUS),
        body: body.map(|found| found.value.to_owned()),
    })
}

/// One status, or the first and the last of several.
fn status(section: &Section<'_>) -> Option<(u16, u16)> {
    let meant = |digits: &str| statuses(digits).map(|_| digits.to_owned());
    let found = section.text_or("status", meant)?;
    let range = statuses(found.value);
    if range.is_none() {
        section.report.error(
            &found.place,
            format!("`{}` is no status, and no range of them", found.value),
            format!(
                "write `status = {}`, or one as \"200\"",
                section.example("status")
            ),
        );
    }
    range
}

fn statuses(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| {
        let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse::<u16>().ok().filter(|_| digits)?;
        (100..=599).contains(&number).then_some(number)
    };
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}

/// The parts of a URL.
struct Url {
    tls: bool,
    host: String,
    port: u16,
    authority: String,
    path: String,
}

fn url(text: &str) -> Result<Url, &'static str> {
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("spaces and other characters must be written with %");
    }
    let (tls, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
        (Some(rest), _) => (false, rest),
        (_, Some(rest)) => (true, rest),
        _ => return Err("it begins neither with http:// nor with https://"),
    };
    let at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(at);
    if path.contains('#') {
        return Err("what is behind # is never sent");
    }
    if authority.contains('@') {
        return Err("a password does not belong into this file");
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or("the bracket ] is missing")?;
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return Err("between [ and ] there must be an IPv6 address");
            }
            match port {
                "" => (host, None),
                _ => (
                    host,
                    Some(port.strip_prefix(':').ok_or("no port is behind ]")?),
                ),
            }
        }
        None => match authority.split_once(':') {
            Some((_, rest)) if rest.contains(':') => {
                return Err("an IPv6 address stands in brackets");
            }
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
    if host.is_empty() || !host.chars().all(named) {
        return Err("it names no host");
    }
    let port = match port {
        None => {
            if tls {
                443
            } else {
                80
            }
        }
        Some(port) => port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or("its port is not in 1 to 65535")?,
    };
    let path = match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("/{path}"),
    };
    Ok(Url {
        tls,
        host: host.to_owned(),
        port,
        authority: authority.to_owned(),
        path,
    })
}

/// A program with its arguments; none where the array is empty.
pub(crate) fn command(section: &Section<'_>, name: &str) -> Option<Vec<String>> {
    let found = section.strings(name, |text| text.starts_with('/'))?;
    let words: Vec<String> = found.good.iter().map(|it| it.value.to_owned()).collect();
    if found.empty && name == "on_change" {
        return Some(words);
    }
    let example = match name {
        "on_change" => "[\"/usr/local/bin/tell-somebody\"]",
        _ => section.example(name),
    };
    let write = format!("write `{name} = {example}`");
    let Some(program) = found.good.first() else {
        if found.empty {
            section
                .report
                .error(&found.place, "there must be a program", write);
        }
        return None;
    };
    if !program.value.starts_with('/') {
        section.report.error(
            &program.place,
            format!("`{}` is not an absolute path", program.value),
            format!("{write}; there is no shell, and no PATH is searched"),
        );
        return None;
    }
    if let Some(word) = found.good.iter().find(|word| word.value.contains('\0')) {
        let what = "the character of number 0 ends a text for programs";
        section.report.error(&word.place, what, "remove it");
        return None;
    }
    Some(words)
}

/// The name of a unit (systemd.unit(5)).
fn unit(section: &Section<'_>) -> Option<String> {
    let found = section.string("unit")?;
    let name = found.value;
    let good = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    let kind = name.rsplit_once('.').map(|(_, kind)| kind);
    let named = !name.is_empty() && name.len() <= 255 && name.chars().all(good);
    let problem = if !named {
        "it is no name of a unit"
    } else if !kind.is_some_and(|kind| UNIT_KINDS.contains(&kind)) {
        "its name does not end with `.service` or another kind"
    } else if name.contains("@.") {
        "a template is never active, only an instance of it is"
    } else {
        return Some(name.to_owned());
    };
    let write = match named && !name.contains(['.', '@']) {
        true => format!("\"{name}.service\""),
        false => section.example("unit").to_owned(),
    };
    section.report.error(
        &found.place,
        format!("`{name}`: {problem}"),
        format!("write `unit = {write}`"),
    );
    None
}
