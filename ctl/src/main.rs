//! `holdfastctl`: the command line client of an etcd v3 cluster. Called as `etcdctl` it is the same.

use std::process::ExitCode;

use holdfast_ctl::cli::table::ROOT;

fn main() -> ExitCode {
    holdfast_ctl::main(&ROOT)
}
