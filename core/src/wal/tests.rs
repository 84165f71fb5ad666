//! Layout and replay against each other on a small disk in memory.

use bytes::{Bytes, BytesMut};

use super::*;
use crate::base::{ClusterId, LogIndex, Lsn, MemberId, Term};
use crate::memory_disk::MemoryDisk;

const IDENTITY: Identity = Identity { cluster_id: ClusterId(1), member_id: MemberId(2) };
const CONFIG: LayoutConfig =
    LayoutConfig { first_segment_bytes: 16 << 10, segment_bytes: 16 << 10, spares_max: 1 };

impl MemoryDisk {
    fn replay(&self) -> Result<Option<Replayed>, Damage> {
        self.replay_behind(LogIndex(0))
    }

    fn replay_behind(&self, checkpoint: LogIndex) -> Result<Option<Replayed>, Damage> {
        let mut replay = Replay::behind(checkpoint);
        let mut spares = Vec::new();
        for (file, bytes) in &self.0 {
            match file_kind(file.strip_prefix("wal/").expect("all in one directory")) {
                FileKind::Segment { .. } => replay.feed(file, Bytes::from(bytes.clone()))?,
                FileKind::Spare { number } => spares.push((number, bytes.len() as u64)),
                kind => panic!("{file} is {kind:?}"),
            }
        }
        replay.finish(spares, Vec::new())
    }
}

/// A log being written: appends of one frame with one entry of `len` bytes each.
struct Log {
    files: MemoryDisk,
    layout: Layout,
    writer: FrameWriter,
    index: u64,
}

impl Log {
    fn new() -> Log {
        let layout = Layout::new(IDENTITY, CONFIG, Resume::default());
        Log { files: MemoryDisk::default(), layout, writer: FrameWriter::new(Lsn(0), 0), index: 0 }
    }

    fn frames(&mut self, lens: &[usize]) -> Bytes {
        let batch = Lsn(self.writer.last().0 + 1);
        let mut out = BytesMut::new();
        for len in lens {
            self.index += 1;
            let entry = Entry {
                index: LogIndex(self.index),
                term: Term(1),
                kind: EntryKind::Normal,
                data: vec![self.index as u8; *len].into(),
            };
            let frame = Frame { kind: FrameKind::Ready, hard: None, snapshot: None, entries: vec![entry] };
            self.writer.push(&frame, batch, &mut out);
        }
        out.freeze()
    }

    fn append(&mut self, lens: &[usize]) {
        let frames = self.frames(lens);
        let ops = self.layout.append(&frames, self.writer.last());
        self.files.perform(ops);
    }

    fn reopen(self) -> Log {
        let replayed = self.files.replay().expect("undamaged").expect("not empty");
        let index = replayed.entries.last().map_or(self.index, |entry| entry.index.0);
        let layout = Layout::new(IDENTITY, CONFIG, replayed.resume);
        Log { files: self.files, layout, writer: replayed.writer, index }
    }
}

#[test]
fn what_was_appended_is_replayed_over_segments_and_lives() {
    let mut log = Log::new();
    for len in [10, 3000, 5000, 9000, 1, 20_000, 4064, 4096 - 32] {
        log.append(&[len, 7]);
        log = log.reopen();
    }
    let replayed = log.files.replay().expect("undamaged").expect("not empty");
    assert_eq!(replayed.entries.len(), 16);
    assert_eq!(replayed.entries[10].data.len(), 20_000);
    assert_eq!(replayed.writer, log.writer);
    assert!(log.files.0.len() > 3, "the batches span segments");
}

#[test]
fn torn_last_append_is_dropped_and_written_over() {
    let mut log = Log::new();
    log.append(&[100]);
    let before = log.files.clone();
    log.append(&[100, 6000]);
    let file = log.layout.files().last().expect("one");
    let mut torn = log.files.clone();
    torn.0.get_mut(&file).expect("there")[8192 + 5000..].fill(0);
    let replayed = torn.replay().expect("a torn tail is no damage").expect("not empty");
    assert_eq!(replayed.entries.len(), 2, "the first frame of the append is whole");
    let dropped = replayed.dropped.expect("the second was torn");
    assert_eq!((dropped.lsn, dropped.file), (Lsn(3), file));
    assert!(before.replay().expect("undamaged").expect("not empty").dropped.is_none());
}

#[test]
fn torn_rest_of_a_dropped_append_does_not_hide_the_next_life() {
    let mut log = Log::new();
    log.append(&[100, 100]);
    let file = log.layout.files().last().expect("one");
    let second = log.files.0[&file].windows(100).rposition(|w| w == [2; 100]).expect("written");
    log.files.0.get_mut(&file).expect("there")[second] ^= 1;
    let mut log = log.reopen();
    assert_eq!(log.writer.last(), Lsn(1));
    log.append(&[7]);
    let replayed = log.files.replay().expect("no damage").expect("not empty");
    assert_eq!((replayed.writer, replayed.dropped), (log.writer, None));
}

#[test]
fn damage_before_a_later_append_names_file_and_offset() {
    let mut log = Log::new();
    for _ in 0..3 {
        log.append(&[100]);
    }
    let file = log.layout.files().last().expect("one");
    let mut flipped = log.files.clone();
    flipped.0.get_mut(&file).expect("there")[8192 + 50] ^= 1;
    let damage = flipped.replay().expect_err("frame 2 was on disk when frame 3 was written");
    assert_eq!(damage, Damage { file, offset: 8192, why: Why::Lost { lsn: Lsn(2) } });
}

#[test]
fn damage_before_a_later_segment_is_seen() {
    let mut log = Log::new();
    log.append(&[9000]);
    log.append(&[9000]);
    let first = log.layout.files().next().expect("two");
    let mut flipped = log.files.clone();
    flipped.0.get_mut(&first).expect("there")[5000] ^= 1;
    assert_eq!(flipped.replay().expect_err("damage").why, Why::Lost { lsn: Lsn(1) });
    let mut missing = log.files.clone();
    missing.0.remove(&first);
    let left = missing.replay().expect("nothing tells").expect("not empty");
    assert_eq!(left.entries[0].index, LogIndex(2), "the node refuses a log that starts too late");
}

#[test]
fn shortened_file_is_damage() {
    let mut log = Log::new();
    log.append(&[100]);
    let file = log.layout.files().last().expect("one");
    log.files.0.get_mut(&file).expect("there").truncate(9000);
    let damage = log.files.replay().expect_err("it was created at its full length");
    assert_eq!(damage.why, Why::Shortened { len: 9000, expected: 16 << 10 });
}

#[test]
fn stale_frames_of_a_recycled_segment_and_of_an_earlier_life_do_not_join() {
    let mut log = Log::new();
    for _ in 0..12 {
        log.append(&[3000]);
    }
    let ops = log.layout.reclaim(log.writer.last());
    log.files.perform(ops);
    assert!(log.files.0.keys().any(|file| file.ends_with(".spare")));
    let mut recycled = false;
    for _ in 0..12 {
        log.append(&[10]);
        recycled |= !log.files.0.keys().any(|file| file.ends_with(".spare"));
        let replayed = log.files.replay().expect("undamaged").expect("not empty");
        assert_eq!(replayed.writer, log.writer);
    }
    assert!(recycled, "the spare became a segment");
    // A torn append whose later frames survive, and a shorter one over it.
    let stale = log.frames(&[3900, 3900, 10, 10]);
    let mut torn = stale.to_vec();
    torn[..100].fill(0xff);
    let ops = log.layout.append(&stale, log.writer.last());
    let file = log.layout.files().last().expect("some");
    log.files.perform(ops);
    let at = log.files.0[&file].windows(100).position(|w| w == &stale[..100]).expect("written");
    log.files.0.get_mut(&file).expect("there")[at..at + 100].fill(0xff);
    let mut log = log.reopen();
    log.append(&[10]);
    let replayed = log.files.replay().expect("no false alarm").expect("not empty");
    assert_eq!(replayed.writer, log.writer);
}

#[test]
fn what_a_checkpoint_holds_is_read_without_its_data() {
    let mut log = Log::new();
    log.append(&[10, 20, 30]);
    let whole = log.files.replay().expect("undamaged").expect("not empty");
    let behind = log.files.replay_behind(LogIndex(2)).expect("undamaged").expect("not empty");
    let lens = |replayed: &Replayed| replayed.entries.iter().map(|e| e.data.len()).collect::<Vec<_>>();
    assert_eq!((lens(&whole), lens(&behind)), (vec![10, 20, 30], vec![0, 0, 30]));
    let after = |replayed: Replayed| replayed.after_checkpoint(LogIndex(2), Term(1));
    assert_eq!(after(behind), after(whole), "what is behind the checkpoint is the same");
}

#[test]
fn foreign_and_newer_files_are_refused_by_name() {
    let mut replay = Replay::behind(LogIndex(0));
    let damage = replay.feed("wal/x.wal", Bytes::from_static(&[7; 8192])).expect_err("no magic");
    assert_eq!(damage.why, Why::Header(HeaderError::Foreign));
    assert_eq!(damage.to_string(), "wal/x.wal at offset 0: not a file of this program (no magic)");
}
