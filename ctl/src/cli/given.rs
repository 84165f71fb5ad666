//! What the user gave a command: flags by name, words, and how to reach the cluster.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use clap::ArgMatches;
use clap::parser::ValueSource;
use tokio::time::Instant;

use super::find::Path;
use super::parse::{self, WORDS};
use super::spec::{Flag, Kind};
use crate::client::Client;
use crate::exit::{Code, Exit};
use crate::go::{duration, number};
use crate::output::Printer;

/// One call of the program.
pub struct Given {
    /// What the program is called by.
    pub program: String,
    pub path: Path,
    matches: ArgMatches,
    /// When the command began: what `--command-timeout` counts from.
    began: Instant,
}

impl Given {
    pub fn new(program: String, path: Path, matches: ArgMatches) -> Given {
        Given { program, path, matches, began: Instant::now() }
    }

    /// The words that are no flags, as bytes.
    pub fn words(&self) -> Vec<Vec<u8>> {
        self.os_words().into_iter().map(parse::bytes).collect()
    }

    /// The same where only text makes sense; what is no UTF-8 is replaced and found wrong later.
    pub fn texts(&self) -> Vec<String> {
        self.os_words().into_iter().map(|word| word.to_string_lossy().into_owned()).collect()
    }

    pub fn os_words(&self) -> Vec<&OsStr> {
        let words = self.matches.get_many::<OsString>(WORDS);
        words.map_or(Vec::new(), |words| words.map(OsString::as_os_str).collect())
    }

    /// Whether the flag was typed.
    pub fn is_typed(&self, name: &str) -> bool {
        self.matches.value_source(name) == Some(ValueSource::CommandLine)
    }

    /// Whether the flag was typed or is in the environment.
    pub fn is_set(&self, name: &str) -> bool {
        self.is_typed(name) || self.environment(name).is_some()
    }

    fn flag(&self, name: &str) -> &'static Flag {
        let mut flags = self.path.specs.iter().flat_map(|spec| spec.flags);
        flags.find(|flag| flag.name == name).expect("a command asks only for flags in its table")
    }

    /// A value that clap has read, or the environment's, or the default.
    fn value<T: Clone + Send + Sync + 'static>(
        &self,
        name: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        let flag = self.flag(name);
        if let Some(typed) = self.matches.get_one::<T>(name) {
            return typed.clone();
        }
        // Like etcdctl, a value in the environment that cannot be read counts as none.
        let from_environment = self.environment(name).and_then(|text| read(&text).ok());
        from_environment.unwrap_or_else(|| read(flag.default).expect("defaults can be read"))
    }

    /// What stands in the environment for a flag that all commands have, if the tool looks there.
    fn environment(&self, name: &str) -> Option<String> {
        let root = self.path.root();
        let is_global = root.flags.iter().any(|flag| flag.name == name);
        let value = std::env::var(super::globals::variable(root.variables?, name)).ok()?;
        (is_global && !value.is_empty()).then_some(value)
    }

    pub fn bool(&self, name: &str) -> bool {
        self.value(name, number::parse_bool)
    }

    pub fn int(&self, name: &str) -> i64 {
        self.value(name, |text| number::parse_int(text, 0))
    }

    pub fn uint(&self, name: &str) -> u64 {
        self.value(name, |text| number::parse_uint(text, 0))
    }

    pub fn duration(&self, name: &str) -> Duration {
        self.value(name, duration::parse)
    }

    pub fn os_text(&self, name: &str) -> OsString {
        self.value(name, |text| Ok(OsString::from(text)))
    }

    pub fn text(&self, name: &str) -> String {
        self.os_text(name).to_string_lossy().into_owned()
    }

    /// All values of a list.
    pub fn list(&self, name: &str) -> Vec<String> {
        let flag = self.flag(name);
        assert_eq!(flag.kind, Kind::Texts);
        let typed: Vec<String> = match self.matches.get_many::<OsString>(name) {
            Some(values) => values.map(|value| value.to_string_lossy().into_owned()).collect(),
            None => vec![self.environment(name).unwrap_or_else(|| flag.default.to_owned())],
        };
        typed.iter().flat_map(|value| value.split(',')).map(str::to_owned).collect()
    }

    /// Until when a command may take that keeps to `--command-timeout`.
    pub fn deadline(&self) -> Instant {
        self.began + self.duration("command-timeout")
    }

    /// How answers are printed.
    ///
    /// Errors: no such format.
    pub fn printer(&self) -> Result<Printer, Exit> {
        Printer::new(&self.text("write-out"), self.bool("hex"))
            .ok_or_else(|| Exit::new(Code::BadFeature, "unsupported output format"))
    }

    /// Reads all global flags and the environment, in etcdctl's order of complaints, and gives a client
    /// that is about to be connected.
    pub async fn connect(&self) -> Result<(Client, Printer), Exit> {
        let config = super::globals::config(self).await?;
        let printer = self.printer()?;
        let client = Client::new(config).await?;
        Ok((client, printer))
    }

    /// The same, bound to `--command-timeout`.
    pub async fn connect_bounded(&self) -> Result<(Client, Printer), Exit> {
        let (client, printer) = self.connect().await?;
        Ok((client.until(self.deadline()), printer))
    }
}
