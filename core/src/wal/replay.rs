//! Replay: what segments say, read in order; pure functions of their bytes.
//!
//! Where the chain of frames stops there is either the end of the log, behind it perhaps a batch that was
//! being written when the power went (it acknowledged nothing and is dropped), or damage to what was
//! acknowledged (which refuses to start). It is damage if
//! - a later segment exists: it was made only after everything before it was durable; or
//! - a frame further on verifies by itself and was appended behind the missing one: an append begins only
//!   when the one before it is durable.
//!
//! Stale frames cannot raise a false alarm. Those in a recycled segment have lower numbers. An earlier life
//! leaves at most one torn append; its frames name that append's first frame, and the next life numbers its
//! own frames from that very one or a later one. What this cannot see is damage to the very last append:
//! it looks like a torn one.

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;

use super::frame::{Entry, FrameWriter, HardState, RawFrame};
use super::layout::{Resume, Segment};
use super::segment::{FileKind, HeaderError, Identity, SegmentHeader, file_kind};
use crate::base::{LogIndex, Lsn, Term};
use crate::disk::{BLOCK_LEN, round_up};

/// Bytes that cannot be trusted; nothing has been changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub file: String,
    pub offset: u64,
    pub why: Why,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    Header(HeaderError),
    /// The file's own number and its name differ, or a segment between is missing.
    Sequence {
        expected: u64,
        found: u64,
    },
    Identity {
        expected: Identity,
        found: Identity,
    },
    Shortened {
        len: u64,
        expected: u64,
    },
    /// A frame that was on disk does not verify any more.
    Lost {
        lsn: Lsn,
    },
    /// The first segment's frames do not follow the last one's.
    Chain {
        expected: Lsn,
        found: Lsn,
    },
    /// A checksum held, and yet the content is not what a writer of ours makes.
    Content {
        what: &'static str,
    },
    Gap {
        after: LogIndex,
        found: LogIndex,
    },
    CommitBeyondLog {
        commit: LogIndex,
        last: LogIndex,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at offset {}: ", self.file, self.offset)?;
        match &self.why {
            Why::Header(error) => error.fmt(f),
            Why::Sequence { expected, found } => {
                write!(f, "segment {found} where segment {expected} belongs")
            }
            Why::Identity { expected, found } => write!(
                f,
                "belongs to member {:x} of cluster {:x}, not to member {:x} of cluster {:x}",
                found.member_id, found.cluster_id, expected.member_id, expected.cluster_id
            ),
            Why::Shortened { len, expected } => write!(f, "the file has {len} bytes of {expected}"),
            Why::Lost { lsn } => write!(f, "frame {lsn} was on disk and does not verify any more"),
            Why::Chain { expected, found } => write!(f, "starts with frame {found} where {expected} belongs"),
            Why::Content { what } => write!(f, "a frame that verifies cannot be read: {what}"),
            Why::Gap { after, found } => write!(f, "entry {found} follows entry {after}"),
            Why::CommitBeyondLog { commit, last } => {
                write!(f, "commit index {commit} is beyond the last entry {last}")
            }
        }
    }
}

impl std::error::Error for Damage {}

/// The tail that was dropped: it was being written and acknowledged nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    pub file: String,
    pub offset: u64,
    pub lsn: Lsn,
}

/// Where entries stand: what must be kept while one of them may be needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryFrame {
    pub lsn: Lsn,
    /// Last entry in it.
    pub last: LogIndex,
    pub bytes: u64,
}

/// What the log says.
#[derive(Clone, Debug)]
pub struct Replayed {
    pub identity: Identity,
    pub hard: HardState,
    /// Index of the entry before `entries`; unknown while the log has neither entry nor snapshot marker.
    pub base: Option<LogIndex>,
    /// Entries behind what has been reclaimed, without gaps. Those that a checkpoint holds are without their
    /// data.
    pub entries: Vec<Entry>,
    /// Frames with entries, oldest first.
    pub frames: VecDeque<EntryFrame>,
    /// The last frame that carries a hard state.
    pub hard_at: Lsn,
    /// Continues the frames.
    pub writer: FrameWriter,
    /// Continues the files.
    pub resume: Resume,
    pub dropped: Option<Dropped>,
}

impl Replayed {
    /// The entries behind a checkpoint at `index` of `term`. `None`: the log ends before it, or holds another
    /// entry there. Then the log is older than the checkpoint, which came from a leader.
    pub fn after_checkpoint(self, index: LogIndex, term: Term) -> Option<Vec<Entry>> {
        let at = self.entries.iter().find(|entry| entry.index == index);
        let is_another = at.is_some_and(|entry| entry.term != term);
        let last = self.base.map(|base| base.0 + self.entries.len() as u64);
        if is_another || last.is_some_and(|last| last < index.0) {
            return None;
        }
        Some(self.entries.into_iter().filter(|entry| entry.index > index).collect())
    }
}

/// Reads segments one by one, oldest first.
#[derive(Debug, Default)]
pub struct Replay {
    identity: Option<Identity>,
    segments: VecDeque<Segment>,
    /// Number and checksum of the last frame; known from the first segment's header on.
    writer: Option<FrameWriter>,
    hard: HardState,
    hard_at: Lsn,
    frames: VecDeque<EntryFrame>,
    entries: Vec<Entry>,
    /// Index of the entry before `entries`, once known.
    base: Option<LogIndex>,
    /// Of entries up to here only index and term are wanted.
    behind: LogIndex,
    /// Where the last segment's frames stopped, with its bytes for the judgement at the end.
    stop: Option<Stop>,
}

#[derive(Debug)]
struct Stop {
    file: String,
    bytes: Bytes,
    /// Where the first frame that is not there would stand.
    offset: u64,
    /// The block where appends go on.
    resume: u64,
}

impl Replay {
    /// For a log whose entries up to `checkpoint` (0: there is none) are in a State already: their data,
    /// which would keep every segment in memory, is not kept.
    pub fn behind(checkpoint: LogIndex) -> Replay {
        Replay { behind: checkpoint, ..Replay::default() }
    }

    /// Reads segment file `file` (its path) with the whole of its bytes.
    /// Errors: it is not the next segment of this log, or it is damaged.
    pub fn feed(&mut self, file: &str, bytes: Bytes) -> Result<(), Damage> {
        let damage = |offset, why| Damage { file: file.to_owned(), offset, why };
        let header = SegmentHeader::decode(&bytes).map_err(|e| damage(0, Why::Header(e)))?;
        self.check_header(file, &header).map_err(|why| damage(0, why))?;
        if (bytes.len() as u64) < header.len {
            let why = Why::Shortened { len: bytes.len() as u64, expected: header.len };
            return Err(damage(bytes.len() as u64, why));
        }
        let writer = self.writer.get_or_insert(FrameWriter::new(Lsn(header.first_lsn.0 - 1), header.chain));
        let expected = Lsn(writer.last().0 + 1);
        if header.first_lsn != expected || header.chain != writer.crc() {
            // Frames are missing before this segment, which was made when they were durable.
            return Err(match self.stop.take() {
                Some(stop) if header.first_lsn > expected => {
                    Damage { file: stop.file, offset: stop.offset, why: Why::Lost { lsn: expected } }
                }
                _ => damage(0, Why::Chain { expected, found: header.first_lsn }),
            });
        }
        let (offset, resume) = self.read_frames(file, &bytes)?;
        let last = self.writer.as_ref().expect("set above").last();
        self.segments.push_back(Segment { seq: header.seq, len: header.len, last });
        self.stop = Some(Stop { file: file.to_owned(), bytes, offset, resume });
        Ok(())
    }

    fn check_header(&mut self, file: &str, header: &SegmentHeader) -> Result<(), Why> {
        let name = file.rsplit('/').next().unwrap_or(file);
        if let FileKind::Segment { seq } = file_kind(name)
            && seq != header.seq
        {
            return Err(Why::Sequence { expected: seq, found: header.seq });
        }
        if let Some(before) = self.segments.back()
            && before.seq + 1 != header.seq
        {
            return Err(Why::Sequence { expected: before.seq + 1, found: header.seq });
        }
        let expected = *self.identity.get_or_insert(header.identity);
        if expected != header.identity {
            return Err(Why::Identity { expected, found: header.identity });
        }
        if header.first_lsn == Lsn(0) {
            return Err(Why::Content { what: "frames are numbered from 1" });
        }
        Ok(())
    }

    /// Takes frames while number and chain hold; gives the offset where they stop and the block to go on at.
    fn read_frames(&mut self, file: &str, bytes: &Bytes) -> Result<(u64, u64), Damage> {
        let mut offset = BLOCK_LEN;
        // Where a frame was expected right behind another one and something else stood.
        let mut torn_at = None;
        loop {
            let at = bytes.slice((offset as usize).min(bytes.len())..);
            let writer = self.writer.expect("set by the header");
            let next = RawFrame::read(&at)
                .filter(|raw| raw.lsn.0 == writer.last().0 + 1 && raw.prev_crc == writer.crc());
            match next {
                Some(raw) => {
                    let damage = |why| Damage { file: file.to_owned(), offset, why };
                    self.take(&raw).map_err(damage)?;
                    self.writer = Some(FrameWriter::new(raw.lsn, raw.crc));
                    offset += raw.encoded_len() as u64;
                    torn_at = None;
                }
                // Behind the last frame of an append there is padding, or the torn rest of the append that
                // a later life dropped; either way the next append starts on the next block.
                None if !offset.is_multiple_of(BLOCK_LEN) => {
                    torn_at = (!is_padding(&at, offset)).then_some(offset);
                    offset = round_up(offset);
                }
                None => return Ok((torn_at.unwrap_or(offset), offset)),
            }
        }
    }

    /// Adds a frame's content to what is known.
    fn take(&mut self, raw: &RawFrame) -> Result<(), Why> {
        let frame = raw.decode().map_err(|error| Why::Content { what: error.0 })?;
        if let Some(hard) = frame.hard {
            self.hard = hard;
            self.hard_at = raw.lsn;
        }
        if let Some(last) = frame.entries.last() {
            let (lsn, last, bytes) = (raw.lsn, last.index, raw.encoded_len() as u64);
            self.frames.push_back(EntryFrame { lsn, last, bytes });
        }
        if let Some((index, _)) = frame.snapshot {
            self.entries.clear();
            self.base = Some(index);
        }
        for mut entry in frame.entries {
            if entry.index == LogIndex(0) {
                return Err(Why::Content { what: "entries are numbered from 1" });
            }
            if entry.index <= self.behind {
                entry.data = Bytes::new();
            }
            let base = *self.base.get_or_insert(LogIndex(entry.index.0 - 1));
            let last = LogIndex(base.0 + self.entries.len() as u64);
            if entry.index.0 > last.0 + 1 {
                return Err(Why::Gap { after: last, found: entry.index });
            }
            if entry.index <= base {
                // A later leader's overwrite reaches behind what was reclaimed: nothing before it counts.
                self.entries.clear();
                self.base = Some(LogIndex(entry.index.0 - 1));
            } else {
                self.entries.truncate((entry.index.0 - base.0 - 1) as usize);
            }
            self.entries.push(entry);
        }
        Ok(())
    }

    /// The whole log. `spares` and `temporaries`: other files of its directory, spares with their lengths.
    /// Errors: what was acknowledged is lost. `None`: there is no segment at all.
    pub fn finish(
        mut self,
        spares: Vec<(u64, u64)>,
        temporaries: Vec<String>,
    ) -> Result<Option<Replayed>, Damage> {
        let (Some(stop), Some(writer), Some(identity)) = (self.stop.take(), self.writer, self.identity)
        else {
            return Ok(None);
        };
        let lost = Lsn(writer.last().0 + 1);
        if is_proved_durable(&stop.bytes, stop.resume, lost) {
            return Err(Damage { file: stop.file, offset: stop.offset, why: Why::Lost { lsn: lost } });
        }
        let last = LogIndex(self.base.unwrap_or_default().0 + self.entries.len() as u64);
        if self.base.is_some() && self.hard.commit > last {
            let why = Why::CommitBeyondLog { commit: self.hard.commit, last };
            return Err(Damage { file: stop.file, offset: stop.offset, why });
        }
        let is_torn = stop.bytes.len() as u64 > stop.offset
            && RawFrame::peek(&stop.bytes[stop.offset as usize..]) == Some((lost, writer.crc()));
        let dropped = is_torn.then_some(Dropped { file: stop.file, offset: stop.offset, lsn: lost });
        let resume =
            Resume { segments: std::mem::take(&mut self.segments), offset: stop.resume, spares, temporaries };
        let Replay { hard, hard_at, frames, entries, base, .. } = self;
        Ok(Some(Replayed { identity, hard, base, entries, frames, hard_at, writer, resume, dropped }))
    }
}

/// Whether the rest of the block behind a frame is zeroes.
fn is_padding(bytes: &[u8], offset: u64) -> bool {
    let rest = (round_up(offset) - offset) as usize;
    bytes[..rest.min(bytes.len())].iter().all(|byte| *byte == 0)
}

/// Whether an append behind block `from` proves that frame `lsn` was durable. Appends start on blocks.
fn is_proved_durable(bytes: &Bytes, from: u64, lsn: Lsn) -> bool {
    (from as usize..bytes.len()).step_by(BLOCK_LEN as usize).any(|block| {
        RawFrame::claims_batch_behind(&bytes[block..], lsn) && RawFrame::read(&bytes.slice(block..)).is_some()
    })
}
