//! `version`.

use crate::cli::spec::{Group, Spec};
use crate::output::print;

/// The etcdctl that we answer as; scripts read these lines.
const LINES: &[u8] = b"etcdctl version: 3.7.1\nAPI version: 3.7\n";

pub static SPEC: Spec =
    Spec::leaf("version", "Shows the version", |_| Box::pin(async { print(LINES) })).group(Group::Utility);
