//! Values of flags, and the text that each kind is read from.

use super::number::{NumberError, parse_bool, parse_int, parse_uint};
use super::table::{Flag, Kind};
use super::url::Url;
use super::{duration, gates};
use std::collections::BTreeMap;

/// A value of a flag, read and checked as far as its kind goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Bool(bool),
    Int(i64),
    Uint(u64),
    /// Nanoseconds; negative ones parse, as in Go.
    Duration(i64),
    Text(String),
    Urls(Vec<Url>),
    List(Vec<String>),
    /// Gates that are not at their default.
    Gates(Vec<(&'static str, bool)>),
}

impl Value {
    /// Errors: the reason in the words of Go's flag package or of etcd's own flag types.
    pub fn parse(kind: Kind, text: &str) -> Result<Value, String> {
        let number = |error: NumberError| error.flag_text().to_owned();
        match kind {
            Kind::Bool => parse_bool(text).map(Value::Bool).ok_or_else(|| number(NumberError::Syntax)),
            Kind::Int => parse_int(text).map(Value::Int).map_err(number),
            Kind::Uint => parse_uint(text, u64::MAX).map(Value::Uint).map_err(number),
            Kind::Uint32 => parse_uint(text, u64::from(u32::MAX))
                .map(Value::Uint)
                .map_err(|error| format!("strconv.ParseUint: parsing {text:?}: {}", error.strconv_text())),
            Kind::Duration => {
                duration::parse(text).map(Value::Duration).ok_or_else(|| number(NumberError::Syntax))
            }
            Kind::Text => Ok(Value::Text(text.to_owned())),
            Kind::Urls if text.is_empty() => Ok(Value::Urls(Vec::new())),
            Kind::Urls => Url::parse_list(text).map(Value::Urls),
            Kind::Origins if text == "*" => Ok(Value::List(vec![text.to_owned()])),
            Kind::Origins => Ok(Value::List(Url::parse_list(text)?.iter().map(Url::to_string).collect())),
            Kind::Set => {
                let mut list = split(text);
                list.sort();
                list.dedup();
                Ok(Value::List(list))
            }
            Kind::List => Ok(Value::List(split(text))),
            Kind::OneOf(words) if words.contains(&text) => Ok(Value::Text(text.to_owned())),
            Kind::OneOf(_) => Err("invalid value".to_owned()),
            Kind::SomeOf(words) => match text.split(',').find(|word| !words.contains(word)) {
                Some(word) => Err(format!("invalid value {word:?}")),
                None => Ok(Value::Text(text.to_owned())),
            },
            Kind::Gates => gates::parse(text).map(Value::Gates),
        }
    }
}

fn split(text: &str) -> Vec<String> {
    if text.is_empty() { Vec::new() } else { text.split(',').map(str::to_owned).collect() }
}

/// The flags that one source gave; the others are at their defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    given: BTreeMap<&'static str, Value>,
}

macro_rules! getters {
    ($($method:ident $variant:ident $type:ty;)*) => {
        $(pub fn $method(&self, name: &str) -> $type {
            match self.value(name) {
                Value::$variant(value) => value,
                other => panic!("--{name} is of another kind: {other:?}"),
            }
        })*
    };
}

impl Settings {
    pub fn set(&mut self, flag: &'static Flag, value: Value) {
        // An empty URL list does not clear the default.
        // Source: etcd v3.7.1 pkg/flags/unique_urls.go (Set, Allowed).
        let kept = if flag.kind == Kind::Urls && value == Value::Urls(Vec::new()) {
            flag.default_value()
        } else {
            value
        };
        self.given.insert(flag.name, kept);
    }

    /// Whether the source named the flag, with whatever value.
    pub fn is_given(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    pub fn given(&self, name: &str) -> Option<&Value> {
        self.given.get(name)
    }

    /// Whether a feature gate is open. Only of gates that are closed by default.
    pub fn is_gate_open(&self, name: &str) -> bool {
        let given = self.given("feature-gates");
        matches!(given, Some(Value::Gates(gates)) if gates.contains(&(name, true)))
    }

    fn value(&self, name: &str) -> Value {
        let flag = super::table::find_any(name).expect("callers name flags of the table");
        self.given.get(name).cloned().unwrap_or_else(|| flag.default_value())
    }

    getters! {
        bool Bool bool;
        int Int i64;
        uint Uint u64;
        duration_ns Duration i64;
        text Text String;
        urls Urls Vec<Url>;
        list List Vec<String>;
    }
}
