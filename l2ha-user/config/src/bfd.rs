//! `bfd`: an interval and a multiplier, as in `10x3`.

use std::time::Duration;

use ::bfd::Timers;

use crate::section::Section;

/// What the key says when there is to be no BFD.
const OFF: &str = "off";
/// Intervals in microseconds.
const INTERVALS: std::ops::RangeInclusive<u64> = 3_000..=10_000_000;
/// Multipliers: one lost packet shall not take a path down, and more than this is no detection.
const MULTIPLIERS: std::ops::RangeInclusive<u8> = 2..=50;
/// A good value, for remedies.
const GOOD: &str = "50x3";
/// The multiplier of an interval that stands alone.
const USUAL: &str = "x3";

/// Reads the key: nothing when it is absent, `Some(None)` when it says `off`.
pub(crate) fn bfd(section: &Section<'_>) -> Option<Option<Timers>> {
    section.place_of("bfd")?;
    let found = section.text_or("bfd", |text| Some(near(text)))?;
    let text = found.value.trim();
    if text == OFF {
        return Some(None);
    }
    let problem = match parse(text) {
        Some(timers) if !INTERVALS.contains(&microseconds(timers)) => {
            "the interval must be 3 to 10000 milliseconds".to_owned()
        }
        Some(timers) if !MULTIPLIERS.contains(&timers.multiplier) => {
            "the multiplier must be 2 to 50".to_owned()
        }
        Some(timers) => return Some(Some(timers)),
        None => format!("`{text}` is not milliseconds, `x` and a multiplier"),
    };
    section.report.error(
        &found.place,
        problem,
        format!("write `bfd = \"{}\"`, or `bfd = \"{OFF}\"`", near(text)),
    );
    None
}

/// What was probably meant: an interval alone, or a number beyond its bounds.
fn near(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let text = text.to_ascii_lowercase().replace("ms", "");
    if ["false", "no", "none", "0"].contains(&text.as_str()) {
        return OFF.to_owned();
    }
    let Some(timers) = parse(&text).or_else(|| parse(&format!("{text}{USUAL}"))) else {
        return GOOD.to_owned();
    };
    let of = microseconds(timers).clamp(*INTERVALS.start(), *INTERVALS.end());
    let multiplier = timers
        .multiplier
        .clamp(*MULTIPLIERS.start(), *MULTIPLIERS.end());
    self::text(Some(Timers {
        interval: Duration::from_micros(of),
        multiplier,
    }))
}

/// As the key says it.
pub(crate) fn text(timers: Option<Timers>) -> String {
    let Some(timers) = timers else {
        return OFF.to_owned();
    };
    let of = microseconds(timers);
    let (whole, thousandths) = (of / 1000, of % 1000);
    let fraction = format!(".{thousandths:03}");
    format!(
        "{whole}{}x{}",
        fraction.trim_end_matches(['0']).trim_end_matches('.'),
        timers.multiplier
    )
}

/// Milliseconds with up to three decimals, `x`, and a whole number.
pub(crate) fn parse(text: &str) -> Option<Timers> {
    let (interval, multiplier) = text.split_once('x')?;
    let (whole, fraction) = interval.split_once('.').unwrap_or((interval, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 3 || !digits(multiplier) {
        return None;
    }
    let thousandths: u64 = format!("{fraction:0<3}").parse().ok()?;
    let microseconds = whole.parse::<u64>().ok()?.checked_mul(1000)? + thousandths;
    Some(Timers {
        interval: Duration::from_micros(microseconds),
        multiplier: multiplier.parse().ok()?,
    })
}

fn microseconds(timers: Timers) -> u64 {
    u64::try_from(timers.interval.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_milliseconds() {
        let of = |text| parse(text).map(|timers| (microseconds(timers), timers.multiplier));
        assert_eq!(of("10x3"), Some((10_000, 3)));
        assert_eq!(of("3.3x3"), Some((3_300, 3)));
        assert_eq!(of("0.125x255"), Some((125, 255)));
        for wrong in [
            "", "10", "x3", "10x", "10x3x3", "-1x3", "1.2345x3", "10 x 3", "1ex3", "1x256",
        ] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_was_meant_is_near() {
        for (wrong, right) in [
            ("50", "50x3"),
            ("10", "10x3"),
            ("10 ms x 5", "10x5"),
            ("3.3", "3.3x3"),
            ("1x3", "3x3"),
            ("20000x3", "10000x3"),
            ("50x1", "50x2"),
            ("0.125X255", "3x50"),
            ("false", "off"),
            ("0", "off"),
            ("true", "50x3"),
            ("fast", "50x3"),
        ] {
            assert_eq!(near(wrong), right, "{wrong}");
        }
    }
}
