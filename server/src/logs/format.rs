//! One event as one line.

use super::{FATAL, LogFormat};
use chrono::{DateTime, FixedOffset, Local};
use serde_json::{Number, Value};
use std::fmt;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Marks the debug text of a `List` as JSON already. No text of a field begins with it unless a program does
/// so on purpose: it is a control character.
const JSON_MARK: char = '\u{1e}';

/// A list of texts as a field's value: `"listen-client-urls" = ?List(&urls)` gives a JSON array, as etcd
/// does.
pub struct List<'a, T>(pub &'a [T]);

impl<T: fmt::Display> fmt::Debug for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let items: Vec<Value> = self.0.iter().map(|item| Value::String(item.to_string())).collect();
        write!(f, "{JSON_MARK}{}", Value::Array(items))
    }
}

/// etcd's encoder.
pub struct EtcdFormat {
    format: LogFormat,
    /// Wall time in the local zone; another clock in tests.
    now: fn() -> DateTime<FixedOffset>,
}

impl EtcdFormat {
    pub fn new(format: LogFormat) -> EtcdFormat {
        EtcdFormat { format, now: || Local::now().fixed_offset() }
    }

    #[cfg(test)]
    pub fn with_clock(format: LogFormat, now: fn() -> DateTime<FixedOffset>) -> EtcdFormat {
        EtcdFormat { format, now }
    }
}

impl<S, N> FormatEvent<S, N> for EtcdFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let (time, level, caller) = (show_time((self.now)()), show_level(metadata), show_caller(metadata));
        match self.format {
            LogFormat::Json => {
                write!(line, "{{\"level\":\"{level}\",\"ts\":\"{time}\"")?;
                if let Some(caller) = caller {
                    write!(line, ",\"caller\":{}", Value::String(caller))?;
                }
                write!(line, ",\"msg\":{}", Value::String(fields.message))?;
                for (name, value) in &fields.named {
                    write!(line, ",{}:{value}", Value::String((*name).to_owned()))?;
                }
                writeln!(line, "}}")
            }
            LogFormat::Console => {
                write!(line, "{time}\t{level}")?;
                if let Some(caller) = caller {
                    write!(line, "\t{caller}")?;
                }
                write!(line, "\t{}", fields.message)?;
                for (at, (name, value)) in fields.named.iter().enumerate() {
                    let before = if at == 0 { "\t{" } else { ", " };
                    write!(line, "{before}{}: {value}", Value::String((*name).to_owned()))?;
                }
                writeln!(line, "{}", if fields.named.is_empty() { "" } else { "}" })
            }
        }
    }
}

/// `2026-07-23T10:00:00.123456Z`, or `+0200` for `Z` outside UTC.
fn show_time(time: DateTime<FixedOffset>) -> String {
    let zone = if time.offset().local_minus_utc() == 0 { "Z" } else { "%z" };
    time.format(&format!("%Y-%m-%dT%H:%M:%S%.6f{zone}")).to_string()
}

fn show_level(metadata: &Metadata<'_>) -> &'static str {
    if metadata.target() == FATAL {
        return "fatal";
    }
    match *metadata.level() {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG | Level::TRACE => "debug",
    }
}

/// Last folder but `src`, file and line: `server/src/logs.rs` -> `server/logs.rs:12`.
fn show_caller(metadata: &Metadata<'_>) -> Option<String> {
    let (file, line) = (metadata.file()?, metadata.line()?);
    let mut parts = file.rsplit(['/', '\\']).filter(|part| *part != "src");
    let name = parts.next()?;
    Some(match parts.next() {
        Some(folder) => format!("{folder}/{name}:{line}"),
        None => format!("{name}:{line}"),
    })
}

/// An event's fields in its order, values as JSON.
#[derive(Default)]
struct Fields {
    message: String,
    named: Vec<(&'static str, Value)>,
}

impl Fields {
    fn push(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            ("message", value) => self.message = value.to_string(),
            (name, value) => self.named.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        let list = text.strip_prefix(JSON_MARK).and_then(|json| serde_json::from_str(json).ok());
        self.push(field, list.unwrap_or(Value::String(text)));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, Value::String(value.to_owned()));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.push(field, Value::String(value.to_string()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, Value::Bool(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, Value::Number(value.into()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, Value::Number(value.into()));
    }

    /// JSON has no NaN and no infinity; they become texts, as in etcd.
    fn record_f64(&mut self, field: &Field, value: f64) {
        let number = Number::from_f64(value).map(Value::Number);
        self.push(field, number.unwrap_or_else(|| Value::String(value.to_string())));
    }
}
