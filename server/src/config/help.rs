//! Texts for people: help, usage, version.

use super::flags::FLAGS;
use super::gates::GATES;
use super::table::{Flag, Group, Kind, Status};
use std::fmt::Write;

/// The release whose behaviour this server has; `Status.version` and `/version` answer it too.
pub const ETCD_VERSION: &str = "3.7.1";

/// Shown after a flag that could not be read.
pub fn usage() -> String {
    "Usage:

  holdfast [flags]
    Start a server.

  holdfast --version
    Show the version.

  holdfast -h | --help
    Show all flags.

  holdfast --config-file PATH
    Read the settings from a YAML or JSON file; all other flags and ETCD_ variables are then ignored.
    Durations in the file are integer nanoseconds, or texts such as \"10m\".
"
    .to_owned()
}

/// Usage, then every flag below its group with its default.
pub fn help() -> String {
    let mut text = usage();
    for group in Group::ALL {
        write!(text, "\n{}:\n", group.title()).expect("a String takes every write");
        for flag in FLAGS.iter().filter(|flag| flag.group == group) {
            write_flag(&mut text, flag);
        }
    }
    text.push_str("\nUnsafe flags may break what the consensus protocol promises.\n");
    text
}

fn write_flag(text: &mut String, flag: &Flag) {
    let default = if flag.name == "data-dir" { "${name}.etcd" } else { flag.default };
    let status = match flag.status {
        Status::Built => String::new(),
        Status::NoMeaning(reason) => format!(" Has no effect: {reason}."),
        Status::Deprecated(_) => " Deprecated, has no effect.".to_owned(),
        Status::NotYet => " Not supported yet.".to_owned(),
    };
    write!(text, "  --{} '{default}'\n    {}{status}\n", flag.name, flag.help)
        .expect("a String takes every write");
    if flag.kind == Kind::Gates {
        for gate in &GATES {
            writeln!(text, "    {}=true|false ({} - default={})", gate.name, gate.stage, gate.default)
                .expect("a String takes every write");
        }
    }
}

/// The first line is etcd's, which scripts read.
pub fn version() -> String {
    format!("etcd Version: {ETCD_VERSION}\nHoldfast Version: {}\n", env!("CARGO_PKG_VERSION"))
}
