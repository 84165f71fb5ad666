use bytes::{Bytes, BytesMut};

use super::files::Checkpoints;
use super::format::{Fault, Header, Reader, Record, Writer};
use crate::base::{ClusterId, LogIndex, MemberId, Term};
use crate::boundary::CheckpointStep;
use crate::disk::DiskOp;
use crate::wal::Identity;

const HEADER: Header = Header {
    identity: Identity { cluster_id: ClusterId(1), member_id: MemberId(2) },
    index: LogIndex(30),
    term: Term(4),
};

fn file() -> BytesMut {
    let mut out = BytesMut::new();
    let mut writer = Writer::begin(&HEADER, &mut out);
    writer.record(1, b"meta", &mut out);
    writer.record(4, b"", &mut out);
    writer.record(4, &[9; 300], &mut out);
    writer.finish(&mut out);
    out
}

/// Records of a file fed in pieces of `piece` bytes.
fn read(bytes: &[u8], piece: usize) -> Result<(Header, Vec<Record>), Fault> {
    let mut reader = Reader::new();
    let mut records = Vec::new();
    for piece in bytes.chunks(piece) {
        reader.feed(piece, &mut |record| {
            records.push(record);
            Ok(())
        })?;
    }
    reader.finish().map(|header| (header, records))
}

#[test]
fn file_survives_a_round_trip_in_pieces_of_any_length() {
    for piece in [1, 7, 64, 4096] {
        let (header, records) = read(&file(), piece).expect("whole");
        assert_eq!(header, HEADER);
        assert_eq!(
            records.iter().map(|r| (r.kind, r.bytes.len())).collect::<Vec<_>>(),
            [(1, 4), (4, 0), (4, 300)]
        );
    }
}

#[test]
fn every_flipped_bit_cut_and_addition_is_seen() {
    let whole = file();
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&flipped, 64).is_err(), "bit {bit}");
    }
    for len in 0..whole.len() {
        assert!(matches!(read(&whole[..len], 64), Err(Fault::Shortened { .. })), "cut at {len}");
    }
    let mut longer = whole.clone();
    longer.extend_from_slice(&[0]);
    assert!(matches!(read(&longer, 64), Err(Fault::TooLong { .. })));
}

#[test]
fn a_record_taken_out_is_seen_by_the_footer() {
    let mut out = BytesMut::new();
    let mut writer = Writer::begin(&HEADER, &mut out);
    writer.record(1, b"meta", &mut out);
    let mark = out.len();
    writer.record(4, b"lost", &mut out);
    let end = out.len();
    writer.finish(&mut out);
    let without = [&out[..mark], &out[end..]].concat();
    assert!(matches!(read(&without, 64), Err(Fault::FooterDamaged { .. })));
}

#[test]
fn a_checkpoint_whose_end_failed_is_not_counted_among_those_kept() {
    let step = |index| {
        [
            CheckpointStep::Begin { index: LogIndex(index), bytes: Bytes::new() },
            CheckpointStep::End { bytes: Bytes::new() },
        ]
    };
    let mut checkpoints = Checkpoints::new(vec![LogIndex(1), LogIndex(2)], Vec::new());
    for write in step(3) {
        checkpoints.plan(write);
    }
    checkpoints.plan(CheckpointStep::Abort);
    let [_, end] = step(4).map(|step| checkpoints.plan(step));
    assert!(!end.iter().any(|op| matches!(op, DiskOp::Remove { .. })), "2 and 4 are the newest two: {end:?}");
}
