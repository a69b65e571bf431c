//! Durations, as `"50ms"` or `"1.5s"`.

use std::{ops::RangeInclusive, time::Duration};

use crate::section::Section;

/// A duration of this range.
pub(crate) fn duration(
    section: &Section<'_>,
    name: &str,
    range: RangeInclusive<Duration>,
) -> Option<Duration> {
    let (least, most) = (*range.start(), *range.end());
    let meant = |text: &str| near(text).map(|duration| shown(duration.clamp(least, most)));
    let found = section.text_or(name, meant)?;
    let Some(duration) = parse(found.value) else {
        let good = meant(found.value).map(|good| format!("\"{good}\""));
        let good = good.unwrap_or_else(|| section.example(name).to_owned());
        section.report.error(
            &found.place,
            format!("`{}` is not a number with `ms` or `s`", found.value),
            format!("write `{name} = {good}`"),
        );
        return None;
    };
    if range.contains(&duration) {
        return Some(duration);
    }
    let good = if duration < least { least } else { most };
    section.report.error(
        &found.place,
        format!(
            "`{}` is not in {} to {}",
            found.value,
            shown(least),
            shown(most)
        ),
        format!("write `{name} = \"{}\"`", shown(good)),
    );
    None
}

/// A duration of this range that is written as a whole number of `s`, `m`, `h` or `d`.
pub(crate) fn long_duration(
    section: &Section<'_>,
    name: &str,
    range: RangeInclusive<Duration>,
) -> Option<Duration> {
    let found = section.string(name)?;
    let duration = parse_long(found.value);
    if let Some(duration) = duration.filter(|duration| range.contains(duration)) {
        return Some(duration);
    }
    let what = match duration {
        Some(_) => format!(
            "`{}` is not in {} to {} days",
            found.value,
            shown(*range.start()),
            range.end().as_secs() / 86_400
        ),
        None => format!(
            "`{}` is not a whole number with `s`, `m`, `h` or `d`",
            found.value
        ),
    };
    let remedy = format!("write `{name} = {}`", section.example(name));
    section.report.error(&found.place, what, remedy);
    None
}

fn parse_long(text: &str) -> Option<Duration> {
    let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];
    units.into_iter().find_map(|(unit, seconds)| {
        let number = text.strip_suffix(unit)?;
        let plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let number = plain.then(|| number.parse::<u64>().ok())??;
        Some(Duration::from_secs(number.checked_mul(seconds)?))
    })
}

/// A whole number of milliseconds or seconds, or seconds with up to three decimals.
fn parse(text: &str) -> Option<Duration> {
    let (number, thousandths) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (text.strip_suffix('s')?, 1000),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let decimals = if thousandths == 1 { "0" } else { fraction };
    if !digits(whole) || !digits(fraction) || fraction.len() > 3 || decimals != fraction {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(thousandths)?;
    let fraction: u64 = format!("{fraction:0<3}").parse().ok()?;
    Some(Duration::from_millis(whole.checked_add(fraction)?))
}

/// What was probably meant: with spaces, capitals, long words, or without a unit.
fn near(text: &str) -> Option<Duration> {
    let text = text.to_ascii_lowercase().replace(char::is_whitespace, "");
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(at.unwrap_or(text.len()));
    let good = match unit {
        "ms" | "msec" | "milliseconds" => format!("{number}ms"),
        "" | "s" | "sec" | "second" | "seconds" => format!("{number}s"),
        "m" | "min" | "minute" | "minutes" => {
            format!("{}s", number.parse::<u64>().ok()?.checked_mul(60)?)
        }
        _ => return None,
    };
    parse(&good)
}

/// As it is written.
fn shown(duration: Duration) -> String {
    match duration.as_millis() {
        ms if ms.is_multiple_of(1000) => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_a_unit() {
        let ms = |text| parse(text).map(|duration| duration.as_millis());
        assert_eq!(ms("50ms"), Some(50));
        assert_eq!(ms("1s"), Some(1000));
        assert_eq!(ms("0.25s"), Some(250));
        for wrong in [
            "",
            "s",
            "ms",
            "1",
            "1.5ms",
            "-1s",
            "1 s",
            "1.s",
            ".5s",
            "1.2345s",
            "1m",
            "1e3s",
            "99999999999999999999s",
        ] {
            assert_eq!(ms(wrong), None, "{wrong}");
        }
        let near = |text| near(text).map(shown);
        assert_eq!(near("2 Seconds").as_deref(), Some("2s"));
        assert_eq!(near("2min").as_deref(), Some("120s"));
        assert_eq!(near("0.25").as_deref(), Some("250ms"));
        assert_eq!(near("soon"), None);
    }
}
