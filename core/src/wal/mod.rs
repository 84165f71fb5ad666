//! The write-ahead log as bytes: frames, segments, where they go and how they are read back.
//!
//! Sketch of a put of 256 B: one entry of about 380 B in a frame; all entries of a turn share one frame, one
//! write padded to 4 KiB and one durable flush. At 128 puts a turn that is 400 B and 1/128 flush a put.
//!
//! Nothing here performs I/O: `Layout` plans `DiskOp`s, `Replay` is fed with bytes.

pub mod frame;
pub mod layout;
pub mod replay;
pub mod segment;

pub use frame::{Entry, EntryKind, Frame, FrameKind, FrameWriter, HardState, RawFrame};
pub use layout::{Layout, LayoutConfig, Resume};
pub use replay::{Damage, Dropped, EntryFrame, Replay, Replayed, Why};
pub use segment::{FileKind, HeaderError, Identity, SegmentHeader, file_kind};

#[cfg(test)]
mod tests;
