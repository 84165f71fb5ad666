//! Where frames go: the plan of disk operations for appends, new segments and reclaimed ones.
//!
//! A batch starts on a block of its own and is padded to whole blocks; it never straddles segments. The
//! next segment is a spare one if there is (recycled, or made ahead by `prepare`), else it is created on
//! the spot. Stale bytes in a recycled segment are told by their lower frame numbers and broken chain.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

use super::frame::{HEADER_LEN, RawFrame};
use super::segment::{DIR, Identity, SegmentHeader, segment_file, spare_file};
use crate::base::Lsn;
use crate::checkpoint;
use crate::disk::{BLOCK_LEN, DiskOp, round_up};

/// Lengths of segments and how many spares are kept.
#[derive(Clone, Copy, Debug)]
pub struct LayoutConfig {
    /// The first segment of a log: short, since it is zero-filled before the member serves.
    pub first_segment_bytes: u64,
    pub segment_bytes: u64,
    pub spares_max: usize,
}

impl Default for LayoutConfig {
    fn default() -> LayoutConfig {
        LayoutConfig { first_segment_bytes: 4 << 20, segment_bytes: 64 << 20, spares_max: 2 }
    }
}

/// A segment with frames in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub seq: u64,
    pub len: u64,
    /// Last frame in it.
    pub last: Lsn,
}

/// What replay found, so that appends go on behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resume {
    /// Oldest first; the last one is written to.
    pub(super) segments: VecDeque<Segment>,
    /// Where in the last one: the block behind the last frame.
    pub(super) offset: u64,
    /// Numbers of spare files with their lengths.
    pub(super) spares: Vec<(u64, u64)>,
    /// Files of creations that were cut short.
    pub(super) temporaries: Vec<String>,
}

/// Plans disk operations; performs none.
#[derive(Debug)]
pub struct Layout {
    identity: Identity,
    config: LayoutConfig,
    segments: VecDeque<Segment>,
    offset: u64,
    /// Numbers and lengths of spare files.
    spares: VecDeque<(u64, u64)>,
    spare_counter: u64,
    /// The spare being made elsewhere.
    preparing: Option<(u64, u64)>,
    temporaries: Vec<String>,
    /// Whether what was found may be in the page cache only: a killed process flushed neither its last
    /// append nor the names it made.
    is_found_unflushed: bool,
}

impl Layout {
    /// Continues behind `resume`; an empty one starts a log.
    pub fn new(identity: Identity, config: LayoutConfig, resume: Resume) -> Layout {
        let Resume { segments, offset, spares, temporaries } = resume;
        let spare_counter = spares.iter().map(|(number, _)| *number).max().unwrap_or(0);
        let spares = spares.into();
        let is_found_unflushed = !segments.is_empty();
        Layout {
            identity,
            config,
            segments,
            offset,
            spares,
            spare_counter,
            preparing: None,
            temporaries,
            is_found_unflushed,
        }
    }

    /// Operations that remove what a life before left half made.
    pub fn clean_up(&mut self) -> Vec<DiskOp> {
        self.temporaries.drain(..).map(|file| DiskOp::Remove { file }).collect()
    }

    /// Operations that put a batch of whole frames on disk; durable when the last is done.
    /// One append of the node, and one only: frames name the append they were written with.
    pub fn append(&mut self, frames: &Bytes, through: Lsn) -> Vec<DiskOp> {
        assert!(frames.len() >= HEADER_LEN, "a batch has at least one frame");
        let padded = round_up(frames.len() as u64);
        let mut ops = Vec::with_capacity(8);
        if std::mem::take(&mut self.is_found_unflushed) {
            self.flush_found(&mut ops);
        }
        let has_room = self.segments.back().is_some_and(|last| self.offset + padded <= last.len);
        if !has_room {
            let (first_lsn, chain) = RawFrame::peek(frames).expect("a batch has at least one frame");
            self.open_segment(first_lsn, chain, padded, &mut ops);
        }
        let segment = self.segments.back_mut().expect("opened above");
        assert!(through > segment.last, "appends come in order");
        segment.last = through;
        let file = segment_file(segment.seq);
        let mut bytes = BytesMut::with_capacity(padded as usize);
        bytes.put_slice(frames);
        bytes.resize(padded as usize, 0);
        ops.push(DiskOp::Write { file: file.clone(), offset: self.offset, bytes: bytes.freeze() });
        ops.push(DiskOp::Sync { file });
        self.offset += padded;
        ops
    }

    /// Operations that begin a log with no frame in it: it goes with a checkpoint that no log led to.
    pub fn begin(&mut self) -> Vec<DiskOp> {
        assert!(self.segments.is_empty(), "there is no log yet");
        let mut ops = Vec::new();
        self.open_segment(Lsn(1), 0, 0, &mut ops);
        ops
    }

    /// Makes durable what this life continues, before its first write: a frame behind another proves that
    /// one to be durable, also when the power goes between the two. The names of checkpoints too: a life whose
    /// log ended before its checkpoint says in its first frame that the log begins behind it, and a process
    /// killed between rename and flush leaves that checkpoint to the page cache.
    fn flush_found(&self, ops: &mut Vec<DiskOp>) {
        let last = self.segments.back().expect("something was found");
        ops.push(DiskOp::SyncDir { dir: checkpoint::files::DIR });
        ops.push(DiskOp::SyncDir { dir: DIR });
        ops.push(DiskOp::Sync { file: segment_file(last.seq) });
    }

    /// The next segment, long enough for `padded` bytes of frames, under its name and durable.
    fn open_segment(&mut self, first_lsn: Lsn, chain: u32, padded: u64, ops: &mut Vec<DiskOp>) {
        let seq = self.segments.back().map_or(1, |last| last.seq + 1);
        let needed = BLOCK_LEN + padded;
        let file = segment_file(seq);
        let header = |len| SegmentHeader { identity: self.identity, seq, first_lsn, len, chain }.encode();
        let spare = self.spares.iter().position(|(_, len)| *len >= needed);
        let (from, len) = match spare.and_then(|position| self.spares.remove(position)) {
            Some((number, len)) => {
                let spare = spare_file(number);
                ops.push(DiskOp::Write { file: spare.clone(), offset: 0, bytes: header(len) });
                ops.push(DiskOp::Sync { file: spare.clone() });
                (spare, len)
            }
            None => {
                let usual = match seq {
                    1 => self.config.first_segment_bytes,
                    // A segment made on the spot is short: somebody waits for its zeroes.
                    _ => self.config.first_segment_bytes.min(self.config.segment_bytes),
                };
                let len = round_up(usual.max(needed));
                let temporary = format!("{DIR}/{seq:016x}.tmp");
                ops.push(DiskOp::Create { file: temporary.clone(), head: header(len), len });
                (temporary, len)
            }
        };
        ops.push(DiskOp::Rename { from, to: file });
        ops.push(DiskOp::SyncDir { dir: DIR });
        let last = Lsn(first_lsn.0 - 1);
        self.segments.push_back(Segment { seq, len, last });
        self.offset = BLOCK_LEN;
    }

    /// Operations that make the next segment ahead of need, to be performed beside appends; `None` if
    /// one is there or under way. Report the end with `prepared`.
    pub fn prepare(&mut self) -> Option<Vec<DiskOp>> {
        if self.preparing.is_some() || !self.spares.is_empty() || self.config.spares_max == 0 {
            return None;
        }
        self.spare_counter += 1;
        let (number, len) = (self.spare_counter, self.config.segment_bytes);
        self.preparing = Some((number, len));
        let temporary = format!("{DIR}/spare-{number:016x}.tmp");
        Some(vec![
            DiskOp::Create { file: temporary.clone(), head: Bytes::new(), len },
            DiskOp::Rename { from: temporary, to: spare_file(number) },
            DiskOp::SyncDir { dir: DIR },
        ])
    }

    /// What `prepare` planned is done, or failed (disk full: the next segment is made when it is needed).
    pub fn prepared(&mut self, ok: bool) {
        let spare = self.preparing.take().expect("prepare was called before");
        if ok {
            self.spares.push_back(spare);
        }
    }

    /// Operations that give back segments whose frames are all at or below `through`.
    pub fn reclaim(&mut self, through: Lsn) -> Vec<DiskOp> {
        let mut ops = Vec::new();
        while self.segments.len() > 1 && self.segments[0].last <= through {
            let segment = self.segments.pop_front().expect("more than one");
            let file = segment_file(segment.seq);
            let reusable =
                segment.len == self.config.segment_bytes && self.spares.len() < self.config.spares_max;
            if reusable {
                self.spare_counter += 1;
                let spare = (self.spare_counter, segment.len);
                ops.push(DiskOp::Rename { from: file, to: spare_file(spare.0) });
                self.spares.push_back(spare);
            } else {
                ops.push(DiskOp::Remove { file });
            }
            // One by one: were two kept back by a power loss in another order, the log would have a hole.
            ops.push(DiskOp::SyncDir { dir: DIR });
        }
        ops
    }

    /// Bytes of the log's files, spares included.
    pub fn bytes(&self) -> u64 {
        let spares = self.spares.iter().map(|(_, len)| len);
        self.segments.iter().map(|segment| &segment.len).chain(spares).sum()
    }

    /// Files that hold frames, oldest first.
    pub fn files(&self) -> impl Iterator<Item = String> + '_ {
        self.segments.iter().map(|segment| segment_file(segment.seq))
    }
}
