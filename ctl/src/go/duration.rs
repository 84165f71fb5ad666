//! `time.Duration` as Go reads and prints it.

use std::time::Duration;

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// `time.ParseDuration`; a negative one counts as none at all, which is what etcd's client makes of it.
///
/// Errors: Go's text.
pub fn parse(text: &str) -> Result<Duration, String> {
    let invalid = || format!("time: invalid duration {}", super::quote::quoted(text.as_bytes()));
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total_ns = 0f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = &rest[..end];
        rest = &rest[end..];
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {}", super::quote::quoted(text.as_bytes())));
        }
        let known = UNITS.iter().find(|(name, _)| *name == unit);
        let (_, scale) = known.ok_or_else(|| {
            format!(
                "time: unknown unit {} in duration {}",
                super::quote::quoted(unit.as_bytes()),
                super::quote::quoted(text.as_bytes())
            )
        })?;
        total_ns += number * *scale as f64;
    }
    if total_ns > i64::MAX as f64 {
        return Err(invalid());
    }
    Ok(if negative { Duration::ZERO } else { Duration::from_nanos(total_ns as u64) })
}

/// `time.Duration.String`.
pub fn format(duration: Duration) -> String {
    let ns = duration.as_nanos();
    let (scale, unit) = match ns {
        0 => return "0s".to_owned(),
        1..1_000 => return format!("{ns}ns"),
        1_000..1_000_000 => (1_000, "µs"),
        1_000_000..1_000_000_000 => (1_000_000, "ms"),
        _ => (1_000_000_000, "s"),
    };
    let (whole, part) = (ns / scale, ns % scale);
    if unit != "s" || whole < 60 {
        return format!("{whole}{}{unit}", fraction(part, scale));
    }
    let (minutes, seconds) = (whole / 60, format!("{}{}s", whole % 60, fraction(part, scale)));
    match minutes {
        0..60 => format!("{minutes}m{seconds}"),
        _ => format!("{}h{}m{seconds}", minutes / 60, minutes % 60),
    }
}

/// `.xyz` without trailing zeros, or nothing.
fn fraction(part: u128, scale: u128) -> String {
    if part == 0 {
        return String::new();
    }
    let digits = scale.ilog10() as usize;
    format!(".{part:0digits$}").trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_printed_as_go_does() {
        assert_eq!(parse("1h2m3.5s"), Ok(Duration::from_millis(3_723_500)));
        assert_eq!(parse("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(parse("x"), Err("time: invalid duration \"x\"".to_owned()));
        assert_eq!(parse("5"), Err("time: missing unit in duration \"5\"".to_owned()));
        assert_eq!(parse("5d"), Err("time: unknown unit \"d\" in duration \"5d\"".to_owned()));
        for text in ["0s", "17ns", "1.5µs", "3.008512ms", "5s", "1.2s", "1m0s", "1h2m3.5s"] {
            assert_eq!(format(parse(text).expect("a duration")), text);
        }
    }
}
