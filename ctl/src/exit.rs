//! How the program ends, as etcdctl does.
//!
//! Source: etcd 3.7.1 pkg/cobrautl/error.go.

use std::fmt;

/// Exit codes. 0 is success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    Error = 1,
    BadConnection = 2,
    /// What was typed into `txn` or `watch`, or keys that are in the way of `check`.
    InvalidInput = 3,
    /// A flag that is known with a value that is not.
    BadFeature = 4,
    Interrupted = 5,
    BadArguments = 128,
}

/// Why a command did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    pub code: u8,
    /// What standard error is told behind `Error: `; `None` if all has been said.
    pub text: Option<String>,
}

impl Exit {
    pub fn new(code: Code, text: impl fmt::Display) -> Exit {
        Exit { code: code as u8, text: Some(text.to_string()) }
    }

    /// The common case.
    pub fn error(text: impl fmt::Display) -> Exit {
        Exit::new(Code::Error, text)
    }

    pub fn arguments(text: impl fmt::Display) -> Exit {
        Exit::new(Code::BadArguments, text)
    }

    /// All has been said already.
    pub fn silent(code: u8) -> Exit {
        Exit { code, text: None }
    }
}

pub type Outcome = Result<(), Exit>;
