//! `holdfast-madsim`: storms over three members under the production shell, and one of them again.

use std::process::ExitCode;

#[cfg(madsim)]
mod storms;

#[cfg(madsim)]
fn main() -> ExitCode {
    storms::main()
}

#[cfg(not(madsim))]
fn main() -> ExitCode {
    eprintln!("holdfast-madsim: the simulated machine needs other flags for rustc: `cargo madsim` has them");
    ExitCode::from(2)
}
