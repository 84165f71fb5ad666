//! JSON with the bytes that Go's encoding/json prints for etcd's structs: 64-bit numbers as numbers,
//! bytes in base64, fields in the order of their declaration, zero values left out where the struct's tag
//! says `omitempty`.

use std::fmt::Display;

use base64::Engine as _;

/// An object, written field by field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    body: String,
}

impl Object {
    pub fn new() -> Object {
        Object::default()
    }

    /// A value that is JSON already, whatever it is.
    #[must_use]
    pub fn raw(mut self, name: &str, value: impl Display) -> Object {
        if !self.body.is_empty() {
            self.body.push(',');
        }
        self.body.push_str(&format!("\"{name}\":{value}"));
        self
    }

    /// Left out if it is zero.
    #[must_use]
    pub fn number(self, name: &str, value: impl Display + Default + PartialEq) -> Object {
        self.raw_unless(value == Default::default(), name, value)
    }

    /// Left out if it is false.
    #[must_use]
    pub fn flag(self, name: &str, value: bool) -> Object {
        self.raw_unless(!value, name, value)
    }

    /// Left out if it is empty.
    #[must_use]
    pub fn text(self, name: &str, value: &str) -> Object {
        self.raw_unless(value.is_empty(), name, string(value))
    }

    /// Left out if there are none.
    #[must_use]
    pub fn bytes(self, name: &str, value: &[u8]) -> Object {
        self.raw_unless(value.is_empty(), name, bytes(value))
    }

    /// Left out if it is not there.
    #[must_use]
    pub fn object(self, name: &str, value: Option<Object>) -> Object {
        match value {
            Some(value) => self.raw(name, value),
            None => self,
        }
    }

    /// Left out if there are none.
    #[must_use]
    pub fn list(self, name: &str, values: impl IntoIterator<Item = impl Display>) -> Object {
        let list = list(values);
        self.raw_unless(list == "[]", name, list)
    }

    fn raw_unless(self, left_out: bool, name: &str, value: impl Display) -> Object {
        if left_out { self } else { self.raw(name, value) }
    }
}

impl Display for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{{{}}}", self.body)
    }
}

/// An array of values that are JSON already.
pub fn list(values: impl IntoIterator<Item = impl Display>) -> String {
    let values: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
    format!("[{}]", values.join(","))
}

pub fn string(text: &str) -> String {
    let mut json = serde_json::Value::from(text).to_string();
    // Go escapes what HTML or old JavaScript would trip over.
    for (from, to) in [
        ("<", "\\u003c"),
        (">", "\\u003e"),
        ("&", "\\u0026"),
        ("\u{2028}", "\\u2028"),
        ("\u{2029}", "\\u2029"),
    ] {
        if json.contains(from) {
            json = json.replace(from, to);
        }
    }
    json
}

/// In base64, quoted.
pub fn bytes(bytes: &[u8]) -> String {
    format!("\"{}\"", base64::engine::general_purpose::STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_values_are_left_out_and_order_is_kept() {
        let header = Object::new().number("cluster_id", u64::MAX).number("revision", 0i64);
        let object = Object::new()
            .object("header", Some(header))
            .bytes("key", b"foo")
            .bytes("value", b"")
            .flag("more", false)
            .list("keys", Vec::<String>::new())
            .raw("Error", string(""));
        assert_eq!(
            object.to_string(),
            r#"{"header":{"cluster_id":18446744073709551615},"key":"Zm9v","Error":""}"#
        );
    }

    #[test]
    fn text_is_escaped_as_go_escapes_it() {
        assert_eq!(string("a<b>&\"\\\n\u{1}\u{2028}ä"), r#""a\u003cb\u003e\u0026\"\\\n\u0001\u2028ä""#);
    }
}
