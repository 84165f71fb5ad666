//! Answers printed in the format the user chose.
//!
//! Source: etcd 3.7.1 etcdctl/ctlv3/command/printer*.go.

mod auth;
mod cluster;
mod endpoint;
mod kv;
mod lease;
mod maintenance;
pub mod table;
#[cfg(test)]
mod tests;
mod watch;

use std::io::Write as _;

use holdfast_net::proto::etcdserverpb as pb;

pub use self::auth::{HeaderOnly, PermissionRevoked, RoleGot, UserGot};
pub use self::cluster::{MemberChange, MemberChanged};
pub use self::endpoint::{Health, Located};
pub use self::lease::{Renewed, Revoked};
pub use self::maintenance::{Downgraded, LeaderMoved};
use self::table::Table;
pub use self::watch::kind_name as event_kind;
use crate::exit::{Code, Exit, Outcome};
use crate::go::json::Object;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Fields,
    Json,
    Protobuf,
    Simple,
    Table,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Format::Fields => "fields",
            Format::Json => "json",
            Format::Protobuf => "protobuf",
            Format::Simple => "simple",
            Format::Table => "table",
        }
    }
}

/// The chosen format with what bends it.
#[derive(Clone, Copy, Debug)]
pub struct Printer {
    pub format: Format,
    style: Style,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// `--hex`.
    pub hex: bool,
    /// `--print-value-only`.
    pub value_only: bool,
}

/// What a format does not do for an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Unsupported {
    Format,
    /// Protobuf of what is no message; with the name that etcdctl calls it by.
    Message(&'static str),
}

/// Lines to be printed.
#[derive(Debug, Default)]
pub struct Lines {
    pub style: Style,
    out: Vec<u8>,
    errors: Vec<u8>,
}

impl Lines {
    pub fn new(style: Style) -> Lines {
        Lines { style, ..Lines::default() }
    }

    pub fn line(&mut self, text: impl AsRef<[u8]>) {
        self.raw(text);
        self.out.push(b'\n');
    }

    /// Without an end of line.
    pub fn raw(&mut self, text: impl AsRef<[u8]>) {
        self.out.extend_from_slice(text.as_ref());
    }

    /// `"Name" : value`.
    pub fn field(&mut self, name: &str, value: impl std::fmt::Display) {
        self.line(format!("\"{name}\" : {value}"));
    }

    /// `"Name" : "value"`.
    pub fn quoted(&mut self, name: &str, value: &[u8]) {
        self.field(name, crate::go::quote::quoted(value));
    }

    /// For standard error.
    pub fn error_line(&mut self, text: &str) {
        self.errors.extend_from_slice(text.as_bytes());
        self.errors.push(b'\n');
    }

    #[cfg(test)]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }
}

/// Something that is printed.
pub trait Answer {
    fn simple(&self, out: &mut Lines);

    fn fields(&self, _out: &mut Lines) -> Result<(), Unsupported> {
        Err(Unsupported::Format)
    }

    fn json(&self, style: Style) -> Result<String, Unsupported>;

    fn protobuf(&self) -> Result<Vec<u8>, Unsupported> {
        Err(Unsupported::Format)
    }

    fn table(&self) -> Result<Table, Unsupported> {
        Err(Unsupported::Format)
    }
}

impl Printer {
    pub fn new(format: &str, hex: bool) -> Option<Printer> {
        let all = [Format::Fields, Format::Json, Format::Protobuf, Format::Simple, Format::Table];
        let format = all.into_iter().find(|known| known.name() == format)?;
        Some(Printer { format, style: Style { hex, value_only: false } })
    }

    /// The same, printing values without their keys.
    #[must_use]
    pub fn value_only(self) -> Printer {
        Printer { style: Style { value_only: true, ..self.style }, ..self }
    }

    /// Errors: a format that the answer does not have.
    pub fn print(&self, answer: &impl Answer) -> Outcome {
        let mut out = Lines::new(self.style);
        let done = match self.format {
            Format::Simple => {
                answer.simple(&mut out);
                Ok(())
            }
            Format::Fields => answer.fields(&mut out),
            Format::Json => answer.json(self.style).map(|json| out.line(json)),
            Format::Protobuf => answer.protobuf().map(|bytes| out.raw(bytes)),
            Format::Table => answer.table().map(|table| out.raw(table.to_string())),
        };
        done.map_err(|unsupported| match unsupported {
            Unsupported::Format => {
                let text = format!("{} not supported as output format", self.format.name());
                Exit::new(Code::BadFeature, text)
            }
            Unsupported::Message(name) => {
                Exit::new(Code::BadFeature, format!("marshal unsupported for type {name}"))
            }
        })?;
        print(&out.out)?;
        if !out.errors.is_empty() {
            tell(String::from_utf8_lossy(&out.errors).trim_end());
        }
        Ok(())
    }
}

/// To standard output, at once. A reader who has gone ends the program without a word.
pub fn print(bytes: &[u8]) -> Outcome {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|_| Exit::silent(1))
}

pub fn print_line(text: &str) -> Outcome {
    print(format!("{text}\n").as_bytes())
}

/// A line to standard error.
pub fn tell(text: &str) {
    // There is nobody left to tell if standard error is gone.
    writeln!(std::io::stderr(), "{text}").ok();
}

/// The fields of a header, as all JSON has them.
fn header_json(header: &pb::ResponseHeader) -> Object {
    Object::new()
        .number("cluster_id", header.cluster_id)
        .number("member_id", header.member_id)
        .number("revision", header.revision)
        .number("raft_term", header.raft_term)
}

/// An object that begins with its header, if there is one.
fn headed(header: Option<&pb::ResponseHeader>) -> Object {
    Object::new().object("header", header.map(header_json))
}

fn header_fields(out: &mut Lines, header: Option<&pb::ResponseHeader>) {
    let header = header.copied().unwrap_or_default();
    id_field(out, "ClusterID", header.cluster_id);
    id_field(out, "MemberID", header.member_id);
    // Answers that are not about keys have none.
    if header.revision > 0 {
        out.field("Revision", header.revision);
    }
    out.field("RaftTerm", header.raft_term);
}

/// An id of a member or cluster.
fn id_field(out: &mut Lines, name: &str, id: u64) {
    if out.style.hex {
        out.field(name, format!("{id:x}"));
    } else {
        out.field(name, id);
    }
}

fn lease_field(out: &mut Lines, name: &str, id: i64) {
    if out.style.hex {
        out.field(name, hex16(id));
    } else {
        out.field(name, id);
    }
}

/// Go's `%016x` of a signed number: the sign stands before the digits and takes one of their places.
pub fn hex16(id: i64) -> String {
    if id < 0 { format!("-{:015x}", id.unsigned_abs()) } else { format!("{id:016x}") }
}
