//! The server's settings: etcd 3.7.1's flags from command line, environment or config file, read through one
//! table.
//!
//! `parse` is a pure function of the arguments and of what it is told about its surroundings. It ends in the
//! settings to run with, in a text to print, or in the code and text to exit with:
//! - a flag that cannot be read exits with 2, anything else that is wrong with 1, as in etcd;
//! - a flag that asks for something this server cannot do yet is refused by name, never ignored;
//! - a flag that describes a part of etcd which does not exist here is a warning.

mod auth_token;
mod check;
mod command_line;
pub mod duration;
mod file;
mod flags;
mod gates;
mod help;
mod number;
mod security;
mod server;
mod table;
mod value;
mod yaml;

#[cfg(test)]
mod security_tests;
#[cfg(test)]
mod tests;

pub use auth_token::JwtOptions;
pub use help::ETCD_VERSION;
pub use holdfast_core::url::{self, Url};
pub use security::Security;
pub use server::{ClusterState, ServerConfig, default_host};

use value::Settings;

/// What `parse` may ask about the world.
pub struct Surroundings<'a> {
    /// All environment variables.
    pub environment: &'a [(String, String)],
    /// A file's text, or why there is none.
    pub read_file: &'a dyn Fn(&str) -> Result<String, String>,
    /// This machine's address in its network; asked only when a listener has 0.0.0.0 and no advertised URL.
    pub default_host: &'a dyn Fn() -> Option<String>,
}

/// What the program is to do.
#[derive(Debug)]
pub enum Outcome {
    Run(Box<ServerConfig>),
    /// To standard output, exit code 0.
    Print(String),
}

/// The program ends before it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// 2: a flag could not be read; `text` is for standard error as it is. 1: anything else; `text` is one
    /// line, which etcd logs as the `error` of a warning `failed to verify flags`.
    pub code: u8,
    pub text: String,
}

fn refusal(text: String) -> Exit {
    Exit { code: 1, text }
}

/// Reads the settings. `arguments` are without the program's name.
/// Source: etcd v3.7.1 server/etcdmain/config.go (parse, configFromCmdLine, configFromFile).
pub fn parse(arguments: &[String], around: &Surroundings<'_>) -> Result<Outcome, Exit> {
    if arguments.first().is_some_and(|program| program == "grpc-proxy") {
        return Err(refusal("grpc-proxy is not supported yet".to_owned()));
    }
    let mut line = command_line::parse(arguments)?;
    if line.help {
        return Ok(Outcome::Print(help::help()));
    }
    if let Some(stray) = line.stray {
        return Err(refusal(format!("{stray:?} is not a valid flag")));
    }
    if line.settings.bool("version") {
        return Ok(Outcome::Print(help::version()));
    }
    let mut notes = Vec::new();
    let file = config_file(&line.settings, around);
    let settings = match &file {
        Some(path) => {
            let text = (around.read_file)(path).map_err(refusal)?;
            let settings = file::parse(&text).map_err(|reason| refusal(format!("{path}: {reason}")))?;
            notes.push(format!(
                "loaded server configuration, other configuration command line flags and environment variables \
                 will be ignored if provided: {path}"
            ));
            settings
        }
        None => {
            let said = command_line::read_environment(around.environment, &mut line.settings)?;
            notes.extend(said.notes);
            line.warnings.extend(said.warnings);
            line.settings
        }
    };
    let mut config = check::resolve(&settings, around.default_host).map_err(refusal)?;
    if file.is_none() {
        check::check_given_together(&settings).map_err(refusal)?;
    }
    config.warnings.splice(0..0, line.warnings);
    config.notes.splice(0..0, notes);
    Ok(Outcome::Run(Box::new(config)))
}

/// The path that the flag, or else its variable, names.
fn config_file(settings: &Settings, around: &Surroundings<'_>) -> Option<String> {
    let from_flag = settings.text("config-file");
    if !from_flag.is_empty() {
        return Some(from_flag);
    }
    let from_variable = around.environment.iter().find(|(name, _)| name == "ETCD_CONFIG_FILE");
    from_variable.map(|(_, path)| path.clone()).filter(|path| !path.is_empty())
}

/// `parse` for this process. Variables and arguments that are not Unicode are read with replacement
/// characters.
pub fn parse_process() -> Result<Outcome, Exit> {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|text| text.to_string_lossy().into_owned()).collect();
    let environment: Vec<(String, String)> = std::env::vars_os()
        .map(|(name, text)| (name.to_string_lossy().into_owned(), text.to_string_lossy().into_owned()))
        .collect();
    let read_file = |path: &str| {
        std::fs::read_to_string(path)
            .map_err(|error| format!("open {path}: {}", crate::logs::io_text(&error)))
    };
    parse(
        &arguments,
        &Surroundings { environment: &environment, read_file: &read_file, default_host: &default_host },
    )
}
