//! A typed line as words: bare, 'as they are', or "with Go's escapes".
//!
//! Source: etcd 3.7.1 etcdctl/ctlv3/command/util.go (Argify, argsRegexp).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use crate::exit::{Code, Exit};
use crate::go::quote::unquote_prefix;

/// Errors: an escape that Go does not know.
pub fn argify(line: &str) -> Result<Vec<OsString>, Exit> {
    let mut words = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        if let Some((raw, after)) = double_quoted(rest) {
            let (bytes, _) = unquote_prefix(raw)
                .ok_or_else(|| Exit::new(Code::InvalidInput, "invalid syntax in quoted string"))?;
            words.push(OsString::from_vec(bytes));
            rest = after;
        } else if let Some((word, after)) = rest.strip_prefix('\'').and_then(|rest| rest.split_once('\'')) {
            words.push(word.into());
            rest = after;
        } else if first.is_whitespace() || first == '"' || first == '\'' {
            rest = &rest[first.len_utf8()..];
        } else {
            // A bare word goes to the next blank, whatever stands in it, but ends with no quote unless it
            // is part of a longer run.
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            words.push(rest[..end].into());
            rest = &rest[end..];
        }
    }
    Ok(words)
}

/// `"…"` with its quotes, and what follows.
fn double_quoted(text: &str) -> Option<(&str, &str)> {
    let body = text.strip_prefix('"')?;
    let mut escaped = false;
    let end = body.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    Some(text.split_at(end + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_as_etcdctl_splits_them() {
        for (line, words) in [
            ("put foo bar", vec!["put", "foo", "bar"]),
            ("  put  \"a b\"\t'c \"d'  ", vec!["put", "a b", "c \"d"]),
            (r#"put key "x\"y\n""#, vec!["put", "key", "x\"y\n"]),
            ("watch -- echo hi", vec!["watch", "--", "echo", "hi"]),
            ("a\"b c", vec!["a\"b", "c"]),
            ("\"open it", vec!["open", "it"]),
            ("", vec![]),
        ] {
            assert_eq!(argify(line).expect("fine"), words, "{line}");
        }
        assert!(argify(r#"put "\q""#).is_err());
    }
}
