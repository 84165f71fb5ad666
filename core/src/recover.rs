//! Recovery: which files of a member directory are read, in what order, and what they amount to.
//!
//! Whoever has the disk lists the directory and reads bytes; everything that is decided is decided here,
//! so that the simulator recovers by the same code on a disk that tears and flips. Nothing is changed.

use std::fmt;
use std::mem::take;

use bytes::Bytes;

use crate::base::{LogIndex, Term};
use crate::checkpoint::{self, Checkpoints, Fault, Header, Reader};
use crate::snapshot::Restorer;
use crate::state::{STATE_IS_NEWER, State};
use crate::wal::{self, Damage, Dropped, Identity, Layout, LayoutConfig, Replay, Replayed, Resume};

/// Bytes of a checkpoint read at a time.
const PIECE_BYTES: u64 = 4 << 20;

/// A file below the member directory: its path with `/`, and its length.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    pub path: String,
    pub len: u64,
}

/// What was found.
pub struct Recovered {
    /// `None`: an empty directory, to be bootstrapped.
    pub found: Option<Found>,
    pub checkpoints: Checkpoints,
}

/// A member's state and log.
pub struct Found {
    pub identity: Identity,
    /// The newest checkpoint that verified.
    pub checkpoint: Option<(State, LogIndex, Term)>,
    pub log: Replayed,
    /// Checkpoints that did not verify; an older one, or the whole log, stands in.
    pub skipped: Vec<(String, Fault)>,
}

/// Why a directory is refused.
#[derive(Debug)]
pub enum RecoverError<E> {
    /// A file could not be read.
    Read {
        path: String,
        error: E,
    },
    /// A file that no version of this program known here makes.
    UnknownFile {
        path: String,
    },
    Log(Damage),
    /// No checkpoint verifies, and the log does not reach back to the beginning.
    Checkpoint {
        path: String,
        fault: Fault,
    },
    /// A checkpoint of a cluster that a later release has taken further.
    NewerState {
        path: String,
    },
    /// Checkpoints without any log.
    NoLog {
        path: String,
    },
    /// A checkpoint of another member.
    Identity {
        path: String,
        expected: Identity,
        found: Identity,
    },
}

impl<E: fmt::Display> fmt::Display for RecoverError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecoverError::Read { path, error } => write!(f, "cannot read {path}: {error}"),
            RecoverError::UnknownFile { path } => write!(f, "{path} is not a file of this program"),
            RecoverError::Log(damage) => damage.fmt(f),
            RecoverError::Checkpoint { path, fault } => {
                write!(f, "{path}: {fault}; no other checkpoint verifies and the log starts behind it")
            }
            RecoverError::NewerState { path } => write!(f, "{path}: {STATE_IS_NEWER}"),
            RecoverError::NoLog { path } => write!(f, "{path} is there, but no log"),
            RecoverError::Identity { path, expected, found } => write!(
                f,
                "{path} belongs to member {:x} of cluster {:x}, the log to member {:x} of cluster {:x}",
                found.member_id, found.cluster_id, expected.member_id, expected.cluster_id
            ),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for RecoverError<E> {}

impl Recovered {
    /// Reads what `listing` names, for a program that knows State up to `version_max`. `read(path, offset, len)`
    /// gives exactly these bytes.
    pub fn read<E>(
        listing: &[Listed],
        version_max: u32,
        mut read: impl FnMut(&str, u64, u64) -> Result<Bytes, E>,
    ) -> Result<Recovered, RecoverError<E>> {
        let mut files = Files::sort(listing).map_err(|path| RecoverError::UnknownFile { path })?;
        let mut whole: Vec<LogIndex> = files.checkpoints.iter().map(|(index, _)| *index).collect();
        if files.segments.is_empty() {
            return match files.checkpoints.into_iter().next() {
                Some((_, file)) => Err(RecoverError::NoLog { path: file.path }),
                None => {
                    Ok(Recovered { found: None, checkpoints: Checkpoints::new(whole, files.temporaries) })
                }
            };
        }
        let (mut newest, mut skipped) = (None, Vec::new());
        for (index, file) in files.checkpoints.iter().rev() {
            match read_checkpoint(file, version_max, &mut read)? {
                Ok((header, state)) => {
                    newest = Some((file.path.clone(), header, state));
                    break;
                }
                Err(fault) => {
                    whole.retain(|kept| kept != index);
                    skipped.push((file.path.clone(), fault));
                }
            }
        }
        let behind = newest.as_ref().map_or(LogIndex(0), |(_, header, _)| header.index);
        let log = files.read_log(behind, &mut read)?;
        let identity = log.identity;
        if let Some((path, header, _)) = &newest
            && header.identity != identity
        {
            let (path, found) = (path.clone(), header.identity);
            return Err(RecoverError::Identity { path, expected: identity, found });
        }
        let reaches_back = log.entries.first().is_none_or(|entry| entry.index == LogIndex(1));
        if let Some((path, fault)) = skipped.last()
            && newest.is_none()
            && !reaches_back
        {
            return Err(RecoverError::Checkpoint { path: path.clone(), fault: *fault });
        }
        let checkpoint = newest.map(|(_, header, state)| (state, header.index, header.term));
        let found = Found { identity, checkpoint, log, skipped };
        Ok(Recovered { found: Some(found), checkpoints: Checkpoints::new(whole, files.temporaries) })
    }
}

impl Found {
    /// Whether nothing was ever decided or promised here: a first life that ended before its bootstrap was in
    /// the log.
    pub fn is_bare(&self) -> bool {
        let Replayed { entries, base, hard, .. } = &self.log;
        self.checkpoint.is_none()
            && entries.is_empty()
            && base.is_none()
            && *hard == wal::HardState::default()
    }

    /// The tail that was being written when the life before ended.
    pub fn dropped(&self) -> Option<&Dropped> {
        self.log.dropped.as_ref()
    }
}

/// Plans the log's operations behind what was found.
pub fn layout(identity: Identity, config: LayoutConfig, found: Option<&Found>) -> Layout {
    let resume = found.map_or_else(Resume::default, |found| found.log.resume.clone());
    Layout::new(identity, config, resume)
}

/// `Ok(Err(_))`: this file is not a whole checkpoint.
fn read_checkpoint<E>(
    file: &Listed,
    version_max: u32,
    read: &mut impl FnMut(&str, u64, u64) -> Result<Bytes, E>,
) -> Result<Result<(Header, State), Fault>, RecoverError<E>> {
    let mut reader = Reader::new();
    let mut restorer = Restorer::new(version_max);
    let mut offset = 0;
    while offset < file.len {
        let len = PIECE_BYTES.min(file.len - offset);
        let bytes = read(&file.path, offset, len)
            .map_err(|error| RecoverError::Read { path: file.path.clone(), error })?;
        let mut restore =
            |record: checkpoint::Record| restorer.record(record.kind, record.bytes).map_err(|e| e.0);
        match reader.feed(&bytes, &mut restore) {
            Ok(()) => {}
            // Not damaged: an older one must not stand in for it.
            Err(Fault::Content { what: STATE_IS_NEWER, .. }) => {
                return Err(RecoverError::NewerState { path: file.path.clone() });
            }
            Err(fault) => return Ok(Err(fault)),
        }
        offset += len;
    }
    let header = match reader.finish() {
        Ok(header) => header,
        Err(fault) => return Ok(Err(fault)),
    };
    let state = restorer.finish(&header).map_err(|error| Fault::Content { what: error.0, offset });
    Ok(state.map(|state| (header, state)))
}

/// A listing, sorted by what the files are.
#[derive(Default)]
struct Files {
    /// By number.
    segments: Vec<(u64, Listed)>,
    spares: Vec<(u64, u64)>,
    log_temporaries: Vec<String>,
    /// By index.
    checkpoints: Vec<(LogIndex, Listed)>,
    temporaries: Vec<String>,
}

impl Files {
    fn sort(listing: &[Listed]) -> Result<Files, String> {
        let mut files = Files::default();
        for file in listing {
            match file.path.split_once('/') {
                Some((wal::segment::DIR, name)) => match wal::file_kind(name) {
                    wal::FileKind::Segment { seq } => files.segments.push((seq, file.clone())),
                    wal::FileKind::Spare { number } => files.spares.push((number, file.len)),
                    wal::FileKind::Temporary => files.log_temporaries.push(file.path.clone()),
                    wal::FileKind::Unknown => return Err(file.path.clone()),
                },
                Some((checkpoint::files::DIR, name)) => match checkpoint::files::file_kind(name) {
                    checkpoint::files::FileKind::Checkpoint { index } => {
                        files.checkpoints.push((index, file.clone()));
                    }
                    checkpoint::files::FileKind::Temporary => files.temporaries.push(file.path.clone()),
                    checkpoint::files::FileKind::Unknown => return Err(file.path.clone()),
                },
                _ => return Err(file.path.clone()),
            }
        }
        files.segments.sort();
        files.spares.sort_unstable();
        files.checkpoints.sort();
        Ok(files)
    }

    /// The log, of which entries up to `behind` are in a checkpoint that verified.
    fn read_log<E>(
        &mut self,
        behind: LogIndex,
        read: &mut impl FnMut(&str, u64, u64) -> Result<Bytes, E>,
    ) -> Result<Replayed, RecoverError<E>> {
        let mut replay = Replay::behind(behind);
        for (_, file) in &self.segments {
            let bytes = read(&file.path, 0, file.len)
                .map_err(|error| RecoverError::Read { path: file.path.clone(), error })?;
            replay.feed(&file.path, bytes).map_err(RecoverError::Log)?;
        }
        let (spares, temporaries) = (take(&mut self.spares), take(&mut self.log_temporaries));
        let log = replay.finish(spares, temporaries).map_err(RecoverError::Log)?;
        Ok(log.expect("there is a segment"))
    }
}
