//! All commands.

use holdfast_ctl::cli::spec::{Flag, Spec};
use holdfast_ctl::cli::table::{HELP, OPTIONS};
use holdfast_ctl::command::completion;
use holdfast_ctl::output::print;

use crate::snapshot;

/// The etcdutl that we answer as; scripts read these lines.
const VERSION_LINES: &[u8] = b"etcdutl version: 3.7.1\nAPI version: 3.7\n";

pub static ROOT: Spec = Spec::holder("etcdutl", "A tool for the files of etcd members.", COMMANDS)
    .persistent_flags(&[
        Flag::duration(
            "timeout",
            "10s",
            "how long to wait for a member's lock on its files (0: without end)",
        ),
        Flag::text("write-out", "simple", "output format (fields, json, protobuf, simple, table)")
            .short('w')
            .values(&["fields", "json", "protobuf", "simple", "table"]),
    ]);

const COMMANDS: &[&Spec] = &[&snapshot::SPEC, &VERSION, &completion::SPEC, &OPTIONS, &HELP];

static VERSION: Spec =
    Spec::leaf("version", "Shows the version", |_| Box::pin(async { print(VERSION_LINES) }));
