//! What a command and a flag are.

use std::pin::Pin;

use super::given::Given;
use crate::exit::Outcome;

/// What a flag's value is. Integers are 64 bits wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Alone it means true; a value needs `=`.
    Bool,
    Duration,
    Int,
    Text,
    /// Separated by commas; given twice, all count.
    Texts,
    Uint,
}

impl Kind {
    /// The type's name in help.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Bool => "",
            Kind::Duration => "duration",
            Kind::Int => "int",
            Kind::Text => "string",
            Kind::Texts => "strings",
            Kind::Uint => "uint",
        }
    }
}

/// A flag.
#[derive(Debug)]
pub struct Flag {
    pub name: &'static str,
    pub short: Option<char>,
    pub kind: Kind,
    /// As it would be typed.
    pub default: &'static str,
    pub about: &'static str,
    /// What completion offers; others may be typed.
    pub values: &'static [&'static str],
}

impl Flag {
    const fn new(name: &'static str, kind: Kind, default: &'static str, about: &'static str) -> Flag {
        Flag { name, short: None, kind, default, about, values: &[] }
    }

    pub const fn bool(name: &'static str, about: &'static str) -> Flag {
        Flag::new(name, Kind::Bool, "false", about)
    }

    /// A switch that is on unless told otherwise.
    pub const fn bool_on(name: &'static str, about: &'static str) -> Flag {
        Flag::new(name, Kind::Bool, "true", about)
    }

    pub const fn duration(name: &'static str, default: &'static str, about: &'static str) -> Flag {
        Flag::new(name, Kind::Duration, default, about)
    }

    pub const fn int(name: &'static str, default: &'static str, about: &'static str) -> Flag {
        Flag::new(name, Kind::Int, default, about)
    }

    pub const fn uint(name: &'static str, default: &'static str, about: &'static str) -> Flag {
        Flag::new(name, Kind::Uint, default, about)
    }

    pub const fn text(name: &'static str, default: &'static str, about: &'static str) -> Flag {
        Flag::new(name, Kind::Text, default, about)
    }

    pub const fn texts(name: &'static str, default: &'static str, about: &'static str) -> Flag {
        Flag::new(name, Kind::Texts, default, about)
    }

    #[must_use]
    pub const fn short(self, short: char) -> Flag {
        Flag { short: Some(short), ..self }
    }

    #[must_use]
    pub const fn values(self, values: &'static [&'static str]) -> Flag {
        Flag { values, ..self }
    }
}

/// Where the list of all commands shows one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    KeyValue,
    ClusterMaintenance,
    Concurrency,
    Authentication,
    Utility,
}

impl Group {
    pub const ALL: [Group; 5] = [
        Group::KeyValue,
        Group::ClusterMaintenance,
        Group::Concurrency,
        Group::Authentication,
        Group::Utility,
    ];

    pub fn title(self) -> &'static str {
        match self {
            Group::KeyValue => "Key-value commands",
            Group::ClusterMaintenance => "Cluster maintenance commands",
            Group::Concurrency => "Concurrency commands",
            Group::Authentication => "Authentication commands",
            Group::Utility => "Utility commands",
        }
    }
}

pub type Running<'a> = Pin<Box<dyn Future<Output = Outcome> + 'a>>;
pub type Run = for<'a> fn(&'a Given) -> Running<'a>;

/// A command.
#[derive(Debug)]
pub struct Spec {
    /// The name, then what its arguments are called.
    pub usage: &'static str,
    pub about: &'static str,
    /// Help in full, if `about` is not all.
    pub long: &'static str,
    pub example: &'static str,
    pub group: Option<Group>,
    pub flags: &'static [Flag],
    /// Its own flags reach down to its commands too.
    pub flags_persist: bool,
    pub commands: &'static [&'static Spec],
    /// `None`: it only holds other commands.
    pub run: Option<Run>,
    /// Of a tool's root: what the variables begin with that stand for its flags.
    pub variables: Option<&'static str>,
}

impl Spec {
    const EMPTY: Spec = Spec {
        usage: "",
        about: "",
        long: "",
        example: "",
        group: None,
        flags: &[],
        flags_persist: false,
        commands: &[],
        run: None,
        variables: None,
    };

    /// A command that does something.
    pub const fn leaf(usage: &'static str, about: &'static str, run: Run) -> Spec {
        Spec { usage, about, run: Some(run), ..Spec::EMPTY }
    }

    /// A command that only holds others.
    pub const fn holder(
        usage: &'static str,
        about: &'static str,
        commands: &'static [&'static Spec],
    ) -> Spec {
        Spec { usage, about, commands, ..Spec::EMPTY }
    }

    #[must_use]
    pub const fn flags(self, flags: &'static [Flag]) -> Spec {
        Spec { flags, ..self }
    }

    #[must_use]
    pub const fn persistent_flags(self, flags: &'static [Flag]) -> Spec {
        Spec { flags, flags_persist: true, ..self }
    }

    #[must_use]
    pub const fn long(self, long: &'static str) -> Spec {
        Spec { long, ..self }
    }

    #[must_use]
    pub const fn example(self, example: &'static str) -> Spec {
        Spec { example, ..self }
    }

    #[must_use]
    pub const fn group(self, group: Group) -> Spec {
        Spec { group: Some(group), ..self }
    }

    pub fn name(&self) -> &'static str {
        self.usage.split(' ').next().expect("a split has a first part")
    }
}
