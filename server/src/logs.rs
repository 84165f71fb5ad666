//! Log lines in the shape of etcd's: one JSON object a line, or tab separated for people.
//!
//! `{"level":"info","ts":"2026-07-23T10:00:00.123456Z","caller":"server/logs.rs:12","msg":"...", fields}`,
//! fields in the order in which the event names them. Events are `tracing`'s; fields take etcd's names with
//! dashes when they are written as strings: `tracing::info!("local-member-id" = %id, "published local
//! member")`. etcd drops most of a burst of equal lines; here every line is written.
//! Source: etcd v3.7.1 client/pkg/logutil/zap.go, server/embed/config_logging.go.

mod format;
mod settings;

#[cfg(test)]
mod tests;

pub use format::List;
pub use settings::{LogFormat, LogLevel, LogOutput, LogSettings};

use format::EtcdFormat;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::Arc;
use tracing::Metadata;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry};

/// Target of events after which the process ends. `tracing` has no level above error; these are written as
/// `fatal`, and `--log-level=fatal` lets only them through.
pub const FATAL: &str = "holdfast::fatal";

/// Where lines go. Shape: no output twice; empty discards all.
#[derive(Clone)]
pub struct Outputs(Arc<Vec<Sink>>);

enum Sink {
    Stdout,
    Stderr,
    File(File),
}

impl Outputs {
    /// Opens files for appending.
    /// Errors: the path, and why it cannot be written.
    pub fn open(outputs: &[LogOutput]) -> Result<Outputs, String> {
        let mut sinks = Vec::new();
        for output in outputs {
            sinks.push(match output {
                LogOutput::Stdout => Sink::Stdout,
                LogOutput::Stderr => Sink::Stderr,
                LogOutput::File(path) => {
                    let file = OpenOptions::new().append(true).create(true).open(path);
                    Sink::File(file.map_err(|error| {
                        format!("open sink {path:?}: open {}: {}", path.display(), io_text(&error))
                    })?)
                }
            });
        }
        Ok(Outputs(Arc::new(sinks)))
    }
}

/// One line on its way to all outputs.
pub struct Line<'a>(&'a [Sink]);

impl Write for Line<'_> {
    /// Takes the whole line. An output that fails does not keep the line from the others; the last failure is
    /// returned.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut result = Ok(line.len());
        for sink in self.0 {
            let written = match sink {
                Sink::Stdout => io::stdout().write_all(line),
                Sink::Stderr => io::stderr().write_all(line),
                Sink::File(file) => (&mut &*file).write_all(line),
            };
            if let Err(error) = written {
                result = Err(error);
            }
        }
        result
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Outputs {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(&self.0)
    }
}

/// Sends all events of this process to the outputs. To be called once, before other threads start.
/// Errors: an output that cannot be opened, or a subscriber that is set already.
pub fn init(settings: &LogSettings) -> Result<(), String> {
    let outputs = Outputs::open(&settings.outputs)?;
    let subscriber = subscriber(settings, outputs, EtcdFormat::new(settings.format));
    tracing::subscriber::set_global_default(subscriber).map_err(|error| error.to_string())
}

/// An error of the system as Go words it: `no such file or directory`.
pub fn io_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

fn subscriber<W>(settings: &LogSettings, outputs: W, format: EtcdFormat) -> impl tracing::Subscriber + use<W>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let level = settings.level;
    // The hint must let fatal events through, which are errors to `tracing`.
    let hint = level.as_tracing().max(LevelFilter::ERROR);
    let filter = FilterFn::new(move |metadata| is_wanted(level, metadata)).with_max_level_hint(hint);
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .log_internal_errors(false)
        .with_writer(outputs)
        .event_format(format)
        .with_filter(filter);
    Registry::default().with(layer)
}

/// Libraries are heard from warnings on: their debug lines would bury the server's own.
fn is_wanted(level: LogLevel, metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    if target == FATAL {
        return true;
    }
    let ours = target.starts_with("holdfast");
    *metadata.level() <= level.as_tracing() && (ours || *metadata.level() <= tracing::Level::WARN)
}
