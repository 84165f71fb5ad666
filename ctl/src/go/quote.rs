//! `%q` and its inverse: Go's double-quoted strings.
//!
//! Source: Go's strconv/quote.go.

/// `fmt.Sprintf("%q", bytes)`.
pub fn quoted(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            push_char(&mut out, c);
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out.push('"');
    out
}

fn push_char(out: &mut String, c: char) {
    match c {
        '"' | '\\' => out.extend(['\\', c]),
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\x0c' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x0b' => out.push_str("\\v"),
        c if is_print(c) => out.push(c),
        c if u32::from(c) < 0x80 => out.push_str(&format!("\\x{:02x}", u32::from(c))),
        c if u32::from(c) < 0x1_0000 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
        c => out.push_str(&format!("\\U{:08x}", u32::from(c))),
    }
}

/// `strconv.IsPrint`: letters, marks, numbers, punctuation, symbols and the ASCII space. Rust's debug
/// format leaves the same characters as they are when they do not stand first.
fn is_print(c: char) -> bool {
    if c == '\'' {
        return true;
    }
    let text: String = ['a', c].iter().collect();
    text.escape_debug().count() == 2
}

/// Reads one double-quoted Go string at the start of `text`; gives its bytes and what follows it.
///
/// Errors: the text is not so quoted, or an escape is wrong.
pub fn unquote_prefix(text: &str) -> Option<(Vec<u8>, &str)> {
    let mut rest = text.strip_prefix('"')?;
    let mut out = Vec::new();
    loop {
        let c = rest.chars().next()?;
        rest = &rest[c.len_utf8()..];
        match c {
            '"' => return Some((out, rest)),
            '\n' => return None,
            '\\' => rest = unescape(rest, &mut out)?,
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Reads what follows a backslash.
fn unescape<'a>(rest: &'a str, out: &mut Vec<u8>) -> Option<&'a str> {
    let kind = rest.chars().next()?;
    let after = &rest[kind.len_utf8()..];
    let simple = match kind {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' | '"' => u8::try_from(kind).ok()?,
        'x' => {
            out.push(u8::from_str_radix(after.get(..2)?, 16).ok()?);
            return after.get(2..);
        }
        'u' | 'U' => {
            let digits = if kind == 'u' { 4 } else { 8 };
            let code = u32::from_str_radix(after.get(..digits)?, 16).ok()?;
            out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
            return after.get(digits..);
        }
        '0'..='7' => {
            out.push(u8::try_from(u32::from_str_radix(rest.get(..3)?, 8).ok()?).ok()?);
            return rest.get(3..);
        }
        _ => return None,
    };
    out.push(simple);
    Some(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_quoted_as_go_quotes_them() {
        assert_eq!(quoted(b"foo"), r#""foo""#);
        assert_eq!(quoted(b"a\"b\\c\n\t\0\x7f"), r#""a\"b\\c\n\t\x00\x7f""#);
        assert_eq!(quoted(b"\xff\xfeok"), r#""\xff\xfeok""#);
        assert_eq!(quoted("äöü 日本 'x'".as_bytes()), "\"äöü 日本 'x'\"");
        assert_eq!(quoted("\u{a0}\u{200b}\u{feff}".as_bytes()), r#""\u00a0\u200b\ufeff""#);
        assert_eq!(quoted("e\u{301}".as_bytes()), "\"e\u{301}\"");
        assert_eq!(quoted("\u{10ffff}".as_bytes()), r#""\U0010ffff""#);
    }

    #[test]
    fn what_was_quoted_comes_back() {
        for bytes in [&b"foo"[..], b"a\"b\\c\n\t\0\x7f", b"\xff", "日本\u{10ffff}".as_bytes()] {
            let text = format!("{}) = x", quoted(bytes));
            assert_eq!(unquote_prefix(&text), Some((bytes.to_vec(), ") = x")));
        }
        assert_eq!(unquote_prefix(r#""\101""#), Some((b"A".to_vec(), "")));
        assert_eq!(unquote_prefix("\"open"), None);
        assert_eq!(unquote_prefix("bare"), None);
        assert_eq!(unquote_prefix(r#""\q""#), None);
    }
}
