//! The shape of a row of the flag table, and how rows are found.
//! The rows themselves are in `flags.rs`; command line, environment, config file and help all read them, so
//! that a flag cannot exist in one and be missing in another.

use super::flags::{FILE_ONLY, FLAGS};
use super::value::Value;

/// Grammar of a flag's value. Each follows the Go type that etcd declares the flag with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Needs no argument on the command line; `--flag false` would leave `false` as a stray argument.
    Bool,
    /// `int`, `int64`.
    Int,
    /// `uint`, `uint64`.
    Uint,
    /// A `uint32` whose parse error carries the text of Go's `strconv`.
    Uint32,
    Duration,
    Text,
    /// Comma list of URLs, sorted, each once. Empty: the default stays.
    Urls,
    /// `*`, or a comma list of URLs.
    Origins,
    /// Comma list, sorted, each once.
    Set,
    /// Comma list in the order given.
    List,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Comma list of these words.
    SomeOf(&'static [&'static str]),
    /// `Name=bool,Name=bool`.
    Gates,
}

/// What giving the flag does here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Does what it does in etcd.
    Built,
    /// Describes a part of etcd that does not exist here, for this reason; another value than the default is
    /// answered with a warning and has no effect.
    NoMeaning(&'static str),
    /// Deprecated in etcd 3.7, which warns with this text and goes on.
    Deprecated(&'static str),
    /// Another value than the default is refused: running without what was asked for would be worse.
    NotYet,
}

/// Heading under which help lists the flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    Member,
    Clustering,
    Security,
    Auth,
    Monitoring,
    Logging,
    Tracing,
    Features,
    Unsafe,
    Program,
}

impl Group {
    pub const ALL: [Group; 10] = [
        Group::Member,
        Group::Clustering,
        Group::Security,
        Group::Auth,
        Group::Monitoring,
        Group::Logging,
        Group::Tracing,
        Group::Features,
        Group::Unsafe,
        Group::Program,
    ];

    pub fn title(self) -> &'static str {
        match self {
            Group::Member => "Member",
            Group::Clustering => "Clustering",
            Group::Security => "Security",
            Group::Auth => "Auth",
            Group::Monitoring => "Profiling and Monitoring",
            Group::Logging => "Logging",
            Group::Tracing => "Distributed tracing",
            Group::Features => "Features",
            Group::Unsafe => "Unsafe feature",
            Group::Program => "Program",
        }
    }
}

/// One flag of etcd 3.7.1.
/// Source: etcd v3.7.1 server/embed/config.go (AddFlags) and server/etcdmain/config.go (newConfig).
#[derive(Debug)]
pub struct Flag {
    pub name: &'static str,
    pub kind: Kind,
    /// As one would write it on the command line; parses with `kind`.
    pub default: &'static str,
    pub group: Group,
    pub status: Status,
    /// Keys from the root of the config file to the value, joined with `/`; empty: the file has no such key.
    pub file_key: &'static str,
    pub help: &'static str,
}

impl Flag {
    /// `listen-client-urls` -> `ETCD_LISTEN_CLIENT_URLS`.
    pub fn variable(&self) -> String {
        format!("ETCD_{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }

    pub fn default_value(&self) -> Value {
        Value::parse(self.kind, self.default)
            .expect("every default of the table parses, a test reads them all")
    }

    /// Whether `value` asks for what an absent flag gives.
    pub fn means_default(&self, value: &Value) -> bool {
        *value == self.default_value()
    }
}

/// The row of that name.
pub fn find(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.name == name)
}

/// The same among what only the config file can say too.
pub fn find_any(name: &str) -> Option<&'static Flag> {
    find(name).or_else(|| FILE_ONLY.iter().find(|flag| flag.name == name))
}

/// Names of flags that older releases had: taken without an argument or with `=value`, and ignored.
/// Source: etcd v3.7.1 server/etcdmain/config.go (`ignored`), without its two names for coverage runs.
pub const IGNORED: [&str; 13] = [
    "cluster-active-size",
    "cluster-remove-delay",
    "cluster-sync-interval",
    "config",
    "force",
    "max-result-buffer",
    "max-retry-attempts",
    "peer-heartbeat-interval",
    "peer-election-timeout",
    "retry-interval",
    "snapshot",
    "v",
    "vv",
];

/// Keys that only the config file has, and what the program cannot do yet when they are set.
/// Shape: path as in `Flag::file_key`.
/// Source: etcd v3.7.1 server/embed/config.go (securityConfig), client/v3/config.go (ConfigSpec).
pub const FILE_ONLY_NOT_YET: [&str; 5] = [
    "discovery-config/client/max-request-bytes",
    "discovery-config/client/max-recv-bytes",
    "discovery-config/client/secure/server-name",
    "discovery-config/client/auth/token",
    "grpc-additional-server-options",
];
