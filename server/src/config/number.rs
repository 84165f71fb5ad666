//! Numbers and bools as Go's `strconv` reads them with base 0, which is what its flag package asks for.

/// Why a number was not taken, in the words of Go's flag package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberError {
    Syntax,
    Range,
}

impl NumberError {
    /// Source: Go flag/flag.go (errParse, errRange).
    pub fn flag_text(self) -> &'static str {
        match self {
            NumberError::Syntax => "parse error",
            NumberError::Range => "value out of range",
        }
    }

    /// Source: Go strconv (ErrSyntax, ErrRange).
    pub fn strconv_text(self) -> &'static str {
        match self {
            NumberError::Syntax => "invalid syntax",
            NumberError::Range => "value out of range",
        }
    }
}

pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// An unsigned number up to `max` in Go's syntax: decimal, `0x`, `0o`, `0b`, or octal with a leading `0`; `_`
/// may stand between digits and after a prefix.
pub fn parse_uint(text: &str, max: u64) -> Result<u64, NumberError> {
    let lower = text.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    if radix == 10 && digits.starts_with('_') {
        return Err(NumberError::Syntax);
    }
    let plain = without_underscores(digits)?;
    if plain.is_empty() || !plain.chars().all(|c| c.is_digit(radix)) {
        return Err(NumberError::Syntax);
    }
    match u64::from_str_radix(&plain, radix) {
        Ok(number) if number <= max => Ok(number),
        _ => Err(NumberError::Range),
    }
}

/// A signed number of 64 bits in the same forms.
pub fn parse_int(text: &str) -> Result<i64, NumberError> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let bound = i64::MAX as u64 + u64::from(negative);
    let size = parse_uint(digits, bound)?;
    let signed = if negative { -i128::from(size) } else { i128::from(size) };
    Ok(i64::try_from(signed).expect("the size was held below the bound of its sign"))
}

/// One underscore at a time, never at the end.
fn without_underscores(digits: &str) -> Result<String, NumberError> {
    if digits.ends_with('_') || digits.contains("__") {
        return Err(NumberError::Syntax);
    }
    Ok(digits.replace('_', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_zero() {
        for (text, number) in [
            ("0", 0),
            ("10", 10),
            ("0x1F", 31),
            ("0o17", 15),
            ("017", 15),
            ("0b101", 5),
            ("0x_ff_ff", 65535),
            ("1_000", 1000),
        ] {
            assert_eq!(parse_uint(text, u64::MAX), Ok(number), "{text}");
        }
        for text in ["", "x", "-1", "+1", "_1", "1_", "08", "0x", "0x__1", "0x1_", " 1", "1.0"] {
            assert_eq!(parse_uint(text, u64::MAX), Err(NumberError::Syntax), "{text}");
        }
    }

    #[test]
    fn bounds() {
        assert_eq!(parse_uint("4294967296", u64::from(u32::MAX)), Err(NumberError::Range));
        assert_eq!(parse_uint("18446744073709551616", u64::MAX), Err(NumberError::Range));
        assert_eq!(parse_int("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(parse_int("9223372036854775808"), Err(NumberError::Range));
        assert_eq!(parse_int("--1"), Err(NumberError::Syntax));
    }
}
