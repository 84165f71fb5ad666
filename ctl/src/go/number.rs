//! Numbers and booleans as Go's strconv reads them, with its error texts.

/// What `strconv` says of a text that is no number.
fn syntax(function: &str, text: &str) -> String {
    format!("strconv.{function}: parsing {}: invalid syntax", super::quote::quoted(text.as_bytes()))
}

fn range(function: &str, text: &str) -> String {
    format!("strconv.{function}: parsing {}: value out of range", super::quote::quoted(text.as_bytes()))
}

/// `strconv.ParseInt(text, base, 64)`. Base 0 takes the base from the prefix (`0x`, `0o`, `0b`, `0`) and
/// lets underscores stand between digits.
pub fn parse_int(text: &str, base: u32) -> Result<i64, String> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let magnitude = magnitude("ParseInt", text, digits, base)?;
    let number = if negative { -i128::from(magnitude) } else { i128::from(magnitude) };
    i64::try_from(number).map_err(|_| range("ParseInt", text))
}

/// `strconv.ParseUint(text, base, 64)`.
pub fn parse_uint(text: &str, base: u32) -> Result<u64, String> {
    magnitude("ParseUint", text, text, base)
}

fn magnitude(function: &str, text: &str, digits: &str, base: u32) -> Result<u64, String> {
    let lower = digits.to_ascii_lowercase();
    let (base, digits) = match (base, lower.as_str()) {
        (0, digits) if digits.starts_with("0x") => (16, &digits[2..]),
        (0, digits) if digits.starts_with("0o") => (8, &digits[2..]),
        (0, digits) if digits.starts_with("0b") => (2, &digits[2..]),
        (0, digits) if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        (0, digits) => (10, digits),
        (base, digits) => (base, digits),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(base)) {
        return Err(syntax(function, text));
    }
    u64::from_str_radix(digits, base).map_err(|_| range(function, text))
}

/// `strconv.ParseBool`.
pub fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(syntax("ParseBool", text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        assert_eq!(parse_int("0x10", 0), Ok(16));
        assert_eq!(parse_int("-9223372036854775808", 10), Ok(i64::MIN));
        assert_eq!(parse_int("32695410dcc0ca06", 16), Ok(0x3269_5410_dcc0_ca06));
        assert_eq!(parse_int("x", 0), Err("strconv.ParseInt: parsing \"x\": invalid syntax".to_owned()));
        assert_eq!(
            parse_int("99999999999999999999", 10),
            Err("strconv.ParseInt: parsing \"99999999999999999999\": value out of range".to_owned())
        );
        assert_eq!(parse_uint("-1", 16), Err("strconv.ParseUint: parsing \"-1\": invalid syntax".to_owned()));
        assert!(parse_int("", 10).is_err());
    }

    #[test]
    fn booleans_are_read_as_go_reads_them() {
        assert_eq!(parse_bool("T"), Ok(true));
        assert_eq!(parse_bool("0"), Ok(false));
        assert_eq!(parse_bool("yes"), Err("strconv.ParseBool: parsing \"yes\": invalid syntax".to_owned()));
    }
}
