//! The black-box checker: whether one order of all requests explains what clients saw, without any log.
//!
//! Three steps. `ground` and `watch` read the history: an acknowledged write names its revision, so most of
//! the order is given; what was seen by whom and when bounds the rest. `search` then builds the order from
//! the first revision on. Whatever changes nothing is placed as soon as it fits, which loses no solution; a
//! revision with a known maker has no choice; what is left (revisions of unanswered writes and of leases that
//! ran out, grants, revokes and compactions that share a revision) is searched with memory of failed states,
//! after Wing and Gong, and Lowe. Each revision must agree, the moment it is made, with all watches that
//! cover it and all local reads at it. `brute` is a second search, slow and without any of these ideas.

mod answer;
pub mod brute;
pub mod export;
mod facts;
pub mod ground;
pub mod history;
mod search;
mod steps;
mod watch;

use std::fmt;

use ground::Ground;
use history::ClientHistory;
pub use search::Explained;

/// A contradiction, and the calls that it is between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Which check found it.
    pub check: &'static str,
    pub what: String,
    /// Indices into `ClientHistory::calls`.
    pub calls: Vec<usize>,
}

impl Conflict {
    fn of(check: &'static str, what: String, calls: impl Into<Vec<usize>>) -> Conflict {
        Conflict { check, what, calls: calls.into() }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (calls {:?})", self.check, self.what, self.calls)
    }
}

/// What was looked at, so that a silent checker shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Calls that got a place in the order because of their answer.
    pub placed: u64,
    /// Reads that members answered from where they were.
    pub locals: u64,
    pub events: u64,
    /// Revisions that an unanswered write explains, and those that the end of a lease does.
    pub unknown_done: u64,
    pub expired: u64,
    /// Steps of the search that were taken back.
    pub taken_back: u64,
}

/// What became of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order.
    Ok(Counted),
    /// There is none.
    Violation(Conflict),
    /// The search was given up.
    Undecided { why: String },
}

/// The checks of this module, by the names that conflicts carry.
pub const CHECKS: [&str; 11] = [
    "blackbox_form",
    "blackbox_hash",
    "blackbox_lease",
    "blackbox_local",
    "blackbox_nobody",
    "blackbox_read",
    "blackbox_real_time",
    "blackbox_twice",
    "blackbox_watch",
    "blackbox_watch_order",
    "blackbox_write",
];

/// Judges a history.
pub fn check(history: &ClientHistory) -> Verdict {
    explain(history).0
}

/// Judges a history, and gives the order that was found.
pub fn explain(history: &ClientHistory) -> (Verdict, Option<Explained>) {
    let mut counted = Counted::default();
    match Ground::of(history, &mut counted) {
        Ok(ground) => search::search(&ground, counted),
        Err(conflict) => (Verdict::Violation(conflict), None),
    }
}
