//! The command line client of an etcd v3 cluster, and what its sister tools share with it.
//!
//! Commands, flags, environment, output formats, texts and exit codes are those of etcdctl 3.7.1; `cli`
//! reads the command line, `command` has a file for each family, `client` talks to the cluster, `output`
//! prints, `go` writes and reads text the way Go does. A tool is a table of commands: `main` runs any.

pub mod cli;
pub mod client;
pub mod command;
pub mod exit;
pub mod go;
pub mod log;
pub mod output;
pub mod signals;
pub mod terminal;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use cli::given::Given;
use cli::spec::Spec;
use cli::{find, parse, usage};
use exit::{Exit, Outcome};
use output::{print, tell};

/// Runs the tool whose commands hang below `root` on this process's command line.
pub fn main(root: &'static Spec) -> ExitCode {
    let mut words = std::env::args_os();
    let program = words.next().and_then(|path| name(&path)).unwrap_or_else(|| root.name().to_owned());
    let outcome = run(root, program, &words.collect::<Vec<_>>());
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => {
            if let Some(text) = &exit.text {
                tell(&format!("Error: {text}"));
            }
            ExitCode::from(exit.code)
        }
    }
}

/// What the program was called by.
fn name(path: &OsString) -> Option<String> {
    Some(Path::new(path).file_name()?.to_string_lossy().into_owned())
}

fn run(root: &'static Spec, program: String, words: &[OsString]) -> Outcome {
    let found = find::find(root, words);
    let path = found.path;
    if let Some(unknown) = found.unknown {
        return Err(unknown_command(&program, &path, &unknown));
    }
    let matches = parse::parse(&path, &found.rest).map_err(|why| {
        tell(&format!("Error: {why}\n{}", usage::usage(&program, &path)));
        Exit::silent(1)
    })?;
    let run = path.spec().run.filter(|_| !matches.get_flag("help"));
    let Some(run) = run else { return print(usage::help(&program, &path).as_bytes()) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Exit::error(format!("no runtime: {error}")))?;
    let outcome = tokio::task::LocalSet::new().block_on(&runtime, async {
        let given = Given::new(program, path, matches);
        run(&given).await
    });
    // Standard input may be waited for in a thread that nothing ends.
    runtime.shutdown_background();
    outcome
}

fn unknown_command(program: &str, path: &find::Path, unknown: &str) -> Exit {
    let near = find::suggestions(path.spec(), unknown);
    let near = if near.is_empty() {
        String::new()
    } else {
        format!("\nDid you mean this?\n\t{}\n\n", near.join("\n\t"))
    };
    tell(&format!(
        "Error: unknown command {unknown:?} for {program:?}\n{near}Run '{program} --help' for usage."
    ));
    Exit::silent(1)
}
