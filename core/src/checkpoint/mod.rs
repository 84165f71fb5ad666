//! Checkpoint files as bytes: a header, records with a checksum each, a footer over all of it.
//!
//! What the records say is `snapshot`'s business. Nothing here performs I/O: `Writer` fills buffers,
//! `Reader` is fed with bytes, `files` plans operations.

pub mod files;
mod format;

pub use files::Checkpoints;
pub use format::{Fault, Header, Reader, Record, Writer};

#[cfg(test)]
mod tests;
