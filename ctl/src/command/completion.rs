//! `completion`: scripts for shells, from the same table as the commands.

use std::ffi::OsStr;

use clap::Command;
use clap_complete::{Shell, generate};

use crate::cli::given::Given;
use crate::cli::parse::argument;
use crate::cli::spec::{Flag, Group, Kind, Spec};
use crate::exit::{Exit, Outcome};
use crate::output::{print, tell};

const SHELLS: &[&str] = &["bash", "zsh", "fish", "powershell"];

pub static SPEC: Spec =
    Spec::leaf("completion [bash|zsh|fish|powershell]", "Prints a completion script", |given| {
        Box::pin(async { completion(given) })
    })
    .long(
        "Prints a completion script.

bash:        source <(etcdctl completion bash)
zsh:         etcdctl completion zsh > \"${fpath[1]}/_etcdctl\"
fish:        etcdctl completion fish | source
powershell:  etcdctl completion powershell | Out-String | Invoke-Expression",
    )
    .group(Group::Utility);

fn completion(given: &Given) -> Outcome {
    let words = given.os_words();
    let shell = match words.as_slice() {
        [word] => shell(word)
            .ok_or_else(|| format!("invalid argument {word:?} for \"{} completion\"", given.program)),
        _ => Err(format!("accepts 1 arg(s), received {}", words.len())),
    };
    let shell = shell.map_err(|why| {
        tell(&format!("Error: {why}\n{}", crate::cli::usage::usage(&given.program, &given.path)));
        Exit::silent(1)
    })?;
    let mut script = Vec::new();
    generate(shell, &mut tree(given.path.root(), true), &given.program, &mut script);
    print(&script)
}

fn shell(word: &OsStr) -> Option<Shell> {
    let all = [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell];
    SHELLS.iter().position(|name| word == *name).map(|at| all[at])
}

/// The whole table as clap has it.
fn tree(spec: &'static Spec, is_root: bool) -> Command {
    let flag = |flag: &'static Flag| {
        let arg = argument(flag).global(is_root || spec.flags_persist);
        match flag.kind {
            Kind::Text if !flag.values.is_empty() => arg.value_parser(flag.values.to_vec()),
            _ => arg,
        }
    };
    let command = Command::new(spec.name())
        .about(spec.about)
        .disable_help_subcommand(true)
        .disable_version_flag(true)
        .args(spec.flags.iter().map(flag))
        .subcommands(spec.commands.iter().map(|command| tree(command, false)));
    if spec.name() == "completion" {
        command.arg(clap::Arg::new("shell").value_parser(SHELLS.to_vec()))
    } else {
        command
    }
}
