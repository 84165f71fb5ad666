//! Why a call failed, in the words of etcd's client.
//!
//! Source: etcd 3.7.1 client/v3/client.go (ContextError), api/v3rpc/rpctypes (Error).

use std::fmt;

use holdfast_core::status::Status as Refusal;
use tonic::{Code, Status};

use crate::log;

#[derive(Clone, Debug)]
pub enum CallError {
    /// The server's answer.
    Status { code: Code, text: String },
    /// The connection broke, or there was none. `proven`: a server has answered there before.
    Connection { endpoint: String, why: String, proven: bool },
    /// The time that the user gave is over, or no endpoint could be reached in `--dial-timeout`.
    TimedOut,
    /// We ended it ourselves.
    Canceled,
    /// What no server has said.
    Own(String),
}

impl From<Status> for CallError {
    fn from(status: Status) -> CallError {
        // What a server says has no source on this side.
        match std::error::Error::source(&status) {
            Some(source) => {
                let (endpoint, why) = (String::new(), innermost(source));
                CallError::Connection { endpoint, why, proven: true }
            }
            None => CallError::Status { code: status.code(), text: status.message().to_owned() },
        }
    }
}

/// The error that says what happened, below those that say where it was noticed.
pub fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

impl CallError {
    /// The server refused with just this.
    pub fn is(&self, refusal: Refusal) -> bool {
        matches!(self, CallError::Status { text, .. } if text == refusal.text())
    }

    /// The server may be right back.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, CallError::Status { code: Code::Unavailable, .. } | CallError::Connection { .. })
    }

    /// Trying again cannot help: it was refused, not lost.
    pub fn is_final(&self) -> bool {
        let may_pass = matches!(self, CallError::Status { code: Code::Unavailable | Code::Internal, .. });
        !(may_pass || matches!(self, CallError::Connection { .. })) || self.is(Refusal::NoLeader)
    }
}

/// Refusals that etcd's client knows by their text are printed without their code.
pub fn is_known(text: &str) -> bool {
    text.starts_with("etcdserver: ") && Refusal::ALL.iter().any(|refusal| refusal.text() == text)
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Status { text, .. } if is_known(text) => f.write_str(text),
            CallError::Status { code, text } => {
                let name = match code {
                    Code::Cancelled => "Canceled".to_owned(),
                    code => format!("{code:?}"),
                };
                write!(f, "rpc error: code = {name} desc = {text}")
            }
            CallError::Connection { endpoint, why, .. } => {
                let gap = if endpoint.is_empty() { "" } else { ": " };
                write!(f, "rpc error: code = Unavailable desc = connection error: {endpoint}{gap}{why}")
            }
            CallError::TimedOut => f.write_str("context deadline exceeded"),
            CallError::Canceled => f.write_str("context canceled"),
            CallError::Own(text) => f.write_str(text),
        }
    }
}

/// What is told of an attempt that is the last. A connection on which nobody ever answered counts as none.
pub fn given_up(error: CallError) -> CallError {
    match error {
        CallError::Connection { endpoint, why, proven: false } => {
            log::warn("endpoint does not answer", &[("endpoint", &endpoint), ("error", &why)]);
            CallError::TimedOut
        }
        other => other,
    }
}

impl From<CallError> for crate::exit::Exit {
    fn from(error: CallError) -> crate::exit::Exit {
        crate::exit::Exit::error(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_refusals_stand_alone_and_others_show_their_code() {
        let known = CallError::from(Status::out_of_range(Refusal::FutureRev.text()));
        assert_eq!(known.to_string(), "etcdserver: mvcc: required revision is a future revision");
        let other = CallError::from(Status::unavailable("gone"));
        assert_eq!(other.to_string(), "rpc error: code = Unavailable desc = gone");
        assert!(other.is_unavailable() && !other.is_final());
        assert!(known.is_final());
        let canceled = CallError::from(Status::cancelled("x"));
        assert_eq!(canceled.to_string(), "rpc error: code = Canceled desc = x");
        assert_eq!(CallError::TimedOut.to_string(), "context deadline exceeded");
    }
}
