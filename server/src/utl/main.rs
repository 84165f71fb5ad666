//! `holdfastutl`: what is done to a member's files while it does not run. Called as `etcdutl` it is the same.
//!
//! Commands, flags, texts and exit codes are those of etcdutl 3.7.1, as far as they are here.

#[cfg(not(madsim))]
mod snapshot;
#[cfg(not(madsim))]
mod snapshot_restore;
#[cfg(not(madsim))]
mod table;

#[cfg(not(madsim))]
fn main() -> std::process::ExitCode {
    holdfast_ctl::main(&table::ROOT)
}

/// The simulated machine has no command line.
#[cfg(madsim)]
fn main() {}
