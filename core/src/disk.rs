//! Operations on a data directory, planned here and performed by whoever has the disk.
//!
//! Operations of one plan are performed strictly in order, each complete before the next; a failed one is
//! the end of the plan. Paths are relative to the member directory, with `/`.

use bytes::Bytes;

/// Blocks in which the log is written; a block that holds an acknowledged byte is never written again.
pub const BLOCK_LEN: u64 = 4096;

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskOp {
    /// A new file of `len` bytes: `head`, then zeroes; all of it on stable storage when done.
    /// Replaces a file of that name.
    Create { file: String, head: Bytes, len: u64 },
    /// Bytes at an offset; for the log both are multiples of `BLOCK_LEN`. Durable after `Sync`.
    Write { file: String, offset: u64, bytes: Bytes },
    /// Everything written to the file before is on stable storage when done.
    Sync { file: String },
    /// A file takes another name, replacing what had it. Durable after `SyncDir`.
    Rename { from: String, to: String },
    /// Names in a directory are on stable storage when done.
    SyncDir { dir: &'static str },
    /// A file goes; no error if it is not there.
    Remove { file: String },
}

/// `len` rounded up to whole blocks.
pub fn round_up(len: u64) -> u64 {
    len.div_ceil(BLOCK_LEN) * BLOCK_LEN
}
