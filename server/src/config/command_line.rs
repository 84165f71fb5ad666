//! Flags from the command line and from the environment.
//!
//! A small parser of our own: one dash or two for long names, `--flag` alone as true, `--flag false` as a
//! stray argument, a value that may itself begin with a dash, and the exact texts that scripts look for are
//! Go's flag package; clap would have to be turned off feature by feature and would still answer in its own
//! words.
//! Source: Go flag/flag.go (parseOne); etcd v3.7.1 pkg/flags/flag.go (SetFlagsFromEnv).

use super::table::{IGNORED, Kind, find};
use super::value::{Settings, Value};
use super::{Exit, help};

/// What the arguments say.
#[derive(Debug, Default)]
pub struct CommandLine {
    pub settings: Settings,
    pub help: bool,
    /// The first argument that is not a flag nor a flag's value; what follows it was not read.
    pub stray: Option<String>,
    pub warnings: Vec<String>,
}

/// Errors: exit code 2 and the usage, as Go's flag package ends a program.
pub fn parse(arguments: &[String]) -> Result<CommandLine, Exit> {
    let mut line = CommandLine::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let Some((name, inline)) = split(argument)? else {
            line.stray = if argument == "--" { rest.next().cloned() } else { Some(argument.clone()) };
            return Ok(line);
        };
        if IGNORED.contains(&name) {
            line.warnings.push(format!("--{name} is no longer supported and is ignored"));
            continue;
        }
        let Some(flag) = find(name) else {
            if name == "help" || name == "h" {
                return Ok(CommandLine { help: true, ..line });
            }
            return Err(misuse(&format!("flag provided but not defined: -{name}")));
        };
        let text = match inline {
            Some(text) => text,
            None if flag.kind == Kind::Bool => "true",
            None => rest.next().ok_or_else(|| misuse(&format!("flag needs an argument: -{name}")))?,
        };
        let value = Value::parse(flag.kind, text).map_err(|reason| match flag.kind {
            Kind::Bool => misuse(&format!("invalid boolean value {text:?} for -{name}: {reason}")),
            _ => misuse(&format!("invalid value {text:?} for flag -{name}: {reason}")),
        })?;
        line.settings.set(flag, value);
    }
    Ok(line)
}

/// Name and inline value of an argument that is a flag.
fn split(argument: &str) -> Result<Option<(&str, Option<&str>)>, Exit> {
    let Some(name) = argument.strip_prefix('-').filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    if name == "-" {
        return Ok(None);
    }
    let name = name.strip_prefix('-').unwrap_or(name);
    if name.starts_with(['-', '=']) {
        return Err(misuse(&format!("bad flag syntax: {argument}")));
    }
    Ok(Some(match name.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (name, None),
    }))
}

fn misuse(text: &str) -> Exit {
    Exit { code: 2, text: format!("{text}\n{}", help::usage()) }
}

/// What the variables said, beside the settings they changed.
#[derive(Debug, Default)]
pub struct Environment {
    pub notes: Vec<String>,
    pub warnings: Vec<String>,
}

/// Sets the flags that the command line left alone from their `ETCD_` variables; an empty variable is none.
/// Errors: exit code 1 for a bad value, and for a variable whose flag was given too, even with the same
/// value.
pub fn read_environment(
    variables: &[(String, String)],
    settings: &mut Settings,
) -> Result<Environment, Exit> {
    let mut said = Environment::default();
    let on_command_line = settings.clone();
    for (variable, text) in variables {
        if variable == "ETCD_VERSION" {
            if !text.is_empty() {
                said.warnings.push(format!("cannot set special environment variable: {variable}={text}"));
            }
            continue;
        }
        let Some(name) = variable.strip_prefix("ETCD_") else { continue };
        let Some(flag) =
            find(&name.to_ascii_lowercase().replace('_', "-")).filter(|flag| flag.variable() == *variable)
        else {
            if !is_ignored(name) {
                said.warnings.push(format!("unrecognized environment variable: {variable}={text}"));
            }
            continue;
        };
        if on_command_line.is_given(flag.name) {
            return Err(Exit {
                code: 1,
                text: format!(
                    "conflicting environment variable is shadowed by corresponding command-line flag \
                     (either unset environment variable or disable flag)): {variable}"
                ),
            });
        }
        if text.is_empty() {
            continue;
        }
        let value = Value::parse(flag.kind, text).map_err(|reason| Exit {
            code: 1,
            text: format!("invalid value {text:?} for {variable}: {reason}"),
        })?;
        settings.set(flag, value);
        said.notes.push(format!("recognized and used environment variable: {variable}={text}"));
    }
    Ok(said)
}

fn is_ignored(name: &str) -> bool {
    IGNORED.iter().any(|ignored| ignored.to_ascii_uppercase().replace('-', "_") == name)
}
