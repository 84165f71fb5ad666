//! The `holdfast` program: flags in, a served member out. Called as `etcd` it is the same.

#[cfg(not(madsim))]
mod memory;
#[cfg(not(madsim))]
mod serve;

#[cfg(not(madsim))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(not(madsim))]
fn main() -> std::process::ExitCode {
    use holdfast_server::config::{Outcome, parse_process};
    use holdfast_server::logs::{self, LogSettings};
    use std::process::ExitCode;

    // The first word says whether it is a server at all.
    if matches!(std::env::args().nth(1).as_deref(), Some("gateway")) {
        return holdfast_ctl::main(&holdfast_server::proxy::ROOT);
    }
    match parse_process() {
        Ok(Outcome::Print(text)) => {
            println!("{}", text.trim_end());
            ExitCode::SUCCESS
        }
        Ok(Outcome::Run(config)) => {
            memory::give_back();
            serve::run(*config)
        }
        Err(exit) if exit.code == 2 => {
            eprintln!("{}", exit.text.trim_end());
            ExitCode::from(2)
        }
        Err(exit) => {
            // Standard error is always there to log to.
            logs::init(&LogSettings::default()).ok();
            tracing::warn!(error = exit.text, "failed to verify flags");
            ExitCode::from(exit.code)
        }
    }
}

/// The simulated machine runs `holdfast_server::run` instead.
#[cfg(madsim)]
fn main() {}
