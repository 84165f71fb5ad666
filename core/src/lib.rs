//! The database as a pure function of its inputs.
//!
//! No I/O, clock, thread, lock or ambient randomness: two worlds drive this code, the production shell
//! and the simulator. ARCHITECTURE.md has the picture; `boundary` has the contract.

pub mod admit;
pub mod apply;
pub mod auth;
pub mod backup;
pub mod base;
pub mod boundary;
pub mod check;
pub mod checkpoint;
pub mod codec;
pub mod command;
pub mod conf;
pub mod disk;
mod keyset;
#[cfg(test)]
mod kv_fixture;
#[cfg(test)]
mod kv_model_tests;
pub mod lease;
pub mod members;
#[cfg(test)]
mod memory_disk;
pub mod mvcc;
pub mod node;
pub mod peer;
pub mod permit;
pub mod raft;
pub mod range;
pub mod read;
pub mod recover;
pub mod request;
pub mod seen;
pub mod snapshot;
pub mod state;
pub mod status;
pub mod txn;
pub mod url;
pub mod wal;
pub mod watch;
