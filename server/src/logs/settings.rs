//! What the log flags say.

use std::path::PathBuf;
use tracing::level_filters::LevelFilter;

/// `--log-level`, least to most severe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
    /// Nothing is logged at this level; it differs from Error by letting no error through.
    Panic,
    Fatal,
}

impl LogLevel {
    /// Panic and Fatal turn ordinary events off.
    pub fn as_tracing(self) -> LevelFilter {
        match self {
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Error => LevelFilter::ERROR,
            LogLevel::Panic | LogLevel::Fatal => LevelFilter::OFF,
        }
    }
}

/// `--log-format`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Json,
    Console,
}

/// One of `--log-outputs`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogOutput {
    Stderr,
    Stdout,
    File(PathBuf),
}

/// The log flags together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    pub level: LogLevel,
    pub format: LogFormat,
    /// Sorted, each once; empty discards everything.
    pub outputs: Vec<LogOutput>,
}

impl Default for LogSettings {
    /// What lines look like before the flags are read.
    fn default() -> LogSettings {
        LogSettings { level: LogLevel::Info, format: LogFormat::Json, outputs: vec![LogOutput::Stderr] }
    }
}

impl LogSettings {
    /// Errors: etcd's texts, but for a level it does not know: etcd panics there.
    pub fn parse(level: &str, format: &str, outputs: &[String]) -> Result<LogSettings, String> {
        let level = match level.to_ascii_lowercase().as_str() {
            "debug" => LogLevel::Debug,
            "info" | "" => LogLevel::Info,
            "warn" | "warning" => LogLevel::Warn,
            "error" => LogLevel::Error,
            "panic" | "dpanic" => LogLevel::Panic,
            "fatal" => LogLevel::Fatal,
            _ => return Err(format!("unrecognized level: {level:?}")),
        };
        let format = match format {
            "json" | "" => LogFormat::Json,
            "console" => LogFormat::Console,
            _ => return Err(format!("unknown log format: {format}, supported values json, console")),
        };
        Ok(LogSettings { level, format, outputs: parse_outputs(outputs)? })
    }
}

fn parse_outputs(names: &[String]) -> Result<Vec<LogOutput>, String> {
    if names.len() > 1 && names.iter().any(|name| name == "default") {
        return Err("multi logoutput for \"default\" is not supported yet".to_owned());
    }
    if names.iter().any(|name| name == "systemd/journal") {
        return Err("--log-outputs=systemd/journal is not supported yet".to_owned());
    }
    // As in etcd: one /dev/null silences all outputs.
    if names.iter().any(|name| name == "/dev/null") {
        return Ok(Vec::new());
    }
    let mut outputs: Vec<LogOutput> = names
        .iter()
        .map(|name| match name.as_str() {
            "default" | "stderr" => LogOutput::Stderr,
            "stdout" => LogOutput::Stdout,
            path => LogOutput::File(PathBuf::from(path)),
        })
        .collect();
    if outputs.is_empty() {
        outputs.push(LogOutput::Stderr);
    }
    outputs.sort();
    outputs.dedup();
    Ok(outputs)
}
