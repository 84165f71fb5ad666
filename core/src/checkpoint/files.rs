//! Checkpoint files: their names, and the plan of operations for writing one.
//!
//! A checkpoint is written to a temporary file, flushed, renamed, and its directory flushed: under its
//! name it is whole. The newest two are kept; the log reaches back to the older.

use crate::base::LogIndex;
use crate::boundary::CheckpointStep;
use crate::disk::DiskOp;

/// Directory below the member directory.
pub const DIR: &str = "ckpt";

/// Checkpoints kept.
const KEPT: usize = 2;

/// Name of the checkpoint at `index`.
pub fn checkpoint_file(index: LogIndex) -> String {
    format!("{DIR}/{:016x}.ckpt", index.0)
}

/// What a file of the directory is, by its name (without the directory).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    Checkpoint { index: LogIndex },
    Temporary,
    Unknown,
}

/// Reads a name.
pub fn file_kind(name: &str) -> FileKind {
    match name.split_once('.') {
        Some((stem, "ckpt")) if stem.len() == 16 => u64::from_str_radix(stem, 16)
            .map_or(FileKind::Unknown, |index| FileKind::Checkpoint { index: LogIndex(index) }),
        Some((_, "tmp")) => FileKind::Temporary,
        _ => FileKind::Unknown,
    }
}

/// The checkpoints on disk and the one being written.
#[derive(Debug, Default)]
pub struct Checkpoints {
    /// Oldest first.
    indexes: Vec<LogIndex>,
    /// Left over from a life before.
    temporaries: Vec<String>,
    writing: Option<Writing>,
    /// The one whose end was planned last; it counts unless `Abort` follows.
    ended: Option<LogIndex>,
}

#[derive(Debug)]
struct Writing {
    index: LogIndex,
    temporary: String,
    offset: u64,
}

impl Checkpoints {
    /// From a listing: whole checkpoints ascending, and temporary files.
    pub fn new(mut indexes: Vec<LogIndex>, temporaries: Vec<String>) -> Checkpoints {
        indexes.sort();
        Checkpoints { indexes, temporaries, writing: None, ended: None }
    }

    /// Operations that remove what a life before left half made.
    pub fn clean_up(&mut self) -> Vec<DiskOp> {
        self.temporaries.drain(..).map(|file| DiskOp::Remove { file }).collect()
    }

    /// Operations for one step of the node; the step is done when the last is.
    pub fn plan(&mut self, step: CheckpointStep) -> Vec<DiskOp> {
        match step {
            CheckpointStep::Begin { index, bytes } => {
                let temporary = format!("{DIR}/{:016x}.tmp", index.0);
                let (len, file) = (bytes.len() as u64, temporary.clone());
                self.ended = None;
                self.writing = Some(Writing { index, temporary, offset: len });
                vec![DiskOp::Create { file, head: bytes, len }]
            }
            CheckpointStep::Piece { bytes } => {
                let writing = self.writing.as_mut().expect("begun before");
                let offset = writing.offset;
                writing.offset += bytes.len() as u64;
                vec![DiskOp::Write { file: writing.temporary.clone(), offset, bytes }]
            }
            CheckpointStep::End { bytes } => {
                let Writing { index, temporary, offset } = self.writing.take().expect("begun before");
                let mut ops = vec![
                    DiskOp::Write { file: temporary.clone(), offset, bytes },
                    DiskOp::Sync { file: temporary.clone() },
                    DiskOp::Rename { from: temporary, to: checkpoint_file(index) },
                    DiskOp::SyncDir { dir: DIR },
                ];
                self.indexes.retain(|kept| *kept != index);
                self.indexes.push(index);
                self.ended = Some(index);
                while self.indexes.len() > KEPT {
                    ops.push(DiskOp::Remove { file: checkpoint_file(self.indexes.remove(0)) });
                }
                ops
            }
            CheckpointStep::Abort => {
                // Its end may have failed: it is not one of those that are kept.
                if let Some(index) = self.ended.take() {
                    self.indexes.retain(|kept| *kept != index);
                }
                let gone = self.writing.take().map(|writing| DiskOp::Remove { file: writing.temporary });
                gone.into_iter().collect()
            }
        }
    }
}
