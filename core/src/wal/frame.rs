//! A frame: what one raft `Ready` must not lose, under one checksum.
//!
//! Shape (little-endian): `body_len u32 | crc u32 | prev_crc u32 | kind u32 | lsn u64 | batch u64 | body`. `crc` is
//! CRC32C over everything but itself. `prev_crc` is the crc of the frame before (of the first: the chain
//! value in the segment header), so that frames of an earlier life behind a torn tail never join the log;
//! since it stands in the frame, each frame can also be verified alone. `batch` is the first frame of the
//! append it was written with: everything before that was durable already. These two tell damage to
//! what was acknowledged from a torn tail.
//!
//! Hard state and entries share a frame: as separate records a torn write could leave a commit index beside
//! old, conflicting entries.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::base::{LogIndex, Lsn, MemberId, Term};
use crate::codec::{DecodeError, Decoder, Encoder};

/// Bytes before the body.
pub const HEADER_LEN: usize = 32;

/// Longest body that is believed; a longer length is damage.
pub const BODY_LEN_MAX: u32 = 1 << 30;

/// One log entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub index: LogIndex,
    pub term: Term,
    pub kind: EntryKind,
    pub data: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    Normal,
    /// A membership change.
    Conf,
}

/// Raft's durable state beside the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    pub term: Term,
    /// 0: none.
    pub vote: MemberId,
    pub commit: LogIndex,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// Opens a life; `life` is drawn, so that no two boot records are alike.
    Boot {
        life: u64,
    },
    Ready,
}

/// The content of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: FrameKind,
    pub hard: Option<HardState>,
    /// Index and term of a snapshot that replaced the log.
    pub snapshot: Option<(LogIndex, Term)>,
    pub entries: Vec<Entry>,
}

/// A frame as read, with what surrounds its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawFrame {
    pub kind: u8,
    pub lsn: Lsn,
    /// First frame of the same append.
    pub batch: Lsn,
    pub crc: u32,
    pub prev_crc: u32,
    pub body: Bytes,
}

/// Makes frames one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameWriter {
    last: Lsn,
    crc: u32,
}

impl FrameWriter {
    /// Continues behind frame `last`, whose checksum is `crc`.
    pub fn new(last: Lsn, crc: u32) -> FrameWriter {
        FrameWriter { last, crc }
    }

    /// The last frame made.
    pub fn last(&self) -> Lsn {
        self.last
    }

    /// Its checksum: the chain value for what follows.
    pub fn crc(&self) -> u32 {
        self.crc
    }

    /// Adds the next frame to `out`, the bytes of an append that starts with frame `batch`; gives its number.
    pub fn push(&mut self, frame: &Frame, batch: Lsn, out: &mut BytesMut) -> Lsn {
        assert!(batch.0 <= self.last.0 + 1, "an append starts with this frame or one before");
        let start = out.len();
        let lsn = Lsn(self.last.0 + 1);
        out.put_bytes(0, HEADER_LEN);
        let kind = encode_body(frame, out);
        let body_len =
            u32::try_from(out.len() - start - HEADER_LEN).expect("a turn's frame is far below 4 GiB");
        assert!(body_len <= BODY_LEN_MAX, "a turn's frame is bounded by what raft takes");
        let mut header = &mut out[start..start + HEADER_LEN];
        header.put_u32_le(body_len);
        header.put_u32_le(0);
        header.put_u32_le(self.crc);
        header.put_u32_le(u32::from(kind));
        header.put_u64_le(lsn.0);
        header.put_u64_le(batch.0);
        let crc = checksum(&out[start..]);
        out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
        self.last = lsn;
        self.crc = crc;
        lsn
    }
}

/// CRC32C of a whole frame but for the crc field.
fn checksum(frame: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&frame[..4]), &frame[8..])
}

impl RawFrame {
    /// Number of the frame at the start of `bytes` and the chain value it continues; unchecked.
    pub fn peek(bytes: &[u8]) -> Option<(Lsn, u32)> {
        let mut header = bytes.get(..HEADER_LEN)?;
        header.advance(8);
        let prev_crc = header.get_u32_le();
        header.advance(4);
        Some((Lsn(header.get_u64_le()), prev_crc))
    }

    /// Whether the frame at the start of `bytes` claims to be of an append that starts behind `lsn`;
    /// unchecked, to spare checksums over what cannot matter.
    pub fn claims_batch_behind(bytes: &[u8], lsn: Lsn) -> bool {
        let Some(mut header) = bytes.get(..HEADER_LEN) else { return false };
        header.advance(16);
        let (own, batch) = (Lsn(header.get_u64_le()), Lsn(header.get_u64_le()));
        batch > lsn && own >= batch
    }

    /// The frame at the start of `bytes`, if a whole one verifies there.
    pub fn read(bytes: &Bytes) -> Option<RawFrame> {
        let mut header = bytes.get(..HEADER_LEN)?;
        let body_len = header.get_u32_le();
        let crc = header.get_u32_le();
        let prev_crc = header.get_u32_le();
        let kind = header.get_u32_le();
        let (lsn, batch) = (Lsn(header.get_u64_le()), Lsn(header.get_u64_le()));
        if body_len > BODY_LEN_MAX || lsn == Lsn(0) {
            return None;
        }
        let end = HEADER_LEN + body_len as usize;
        if bytes.len() < end || checksum(&bytes[..end]) != crc {
            return None;
        }
        let kind = u8::try_from(kind).ok()?;
        Some(RawFrame { kind, lsn, batch, crc, prev_crc, body: bytes.slice(HEADER_LEN..end) })
    }

    /// Bytes the frame takes.
    pub fn encoded_len(&self) -> usize {
        HEADER_LEN + self.body.len()
    }

    /// The content. Errors: the checksum held, so a newer or wrong writer made it.
    pub fn decode(&self) -> Result<Frame, DecodeError> {
        decode_body(self.kind, self.body.clone())
    }
}

mod kind {
    pub const BOOT: u8 = 1;
    pub const READY: u8 = 2;
}

fn encode_body(frame: &Frame, out: &mut BytesMut) -> u8 {
    let mut e = Encoder(out);
    let kind = match frame.kind {
        FrameKind::Boot { life } => {
            e.u64(life);
            kind::BOOT
        }
        FrameKind::Ready => kind::READY,
    };
    e.bool(frame.hard.is_some());
    if let Some(hard) = &frame.hard {
        e.u64(hard.term.0).u64(hard.vote.0).u64(hard.commit.0);
    }
    e.bool(frame.snapshot.is_some());
    if let Some((index, term)) = frame.snapshot {
        e.u64(index.0).u64(term.0);
    }
    e.list_len(frame.entries.len());
    for entry in &frame.entries {
        e.u64(entry.index.0).u64(entry.term.0);
        e.u8(match entry.kind {
            EntryKind::Normal => 0,
            EntryKind::Conf => 1,
        });
        e.bytes(&entry.data);
    }
    kind
}

fn decode_body(kind: u8, body: Bytes) -> Result<Frame, DecodeError> {
    let mut d = Decoder(body);
    let kind = match kind {
        kind::BOOT => FrameKind::Boot { life: d.u64()? },
        kind::READY => FrameKind::Ready,
        _ => return Err(DecodeError("unknown kind of frame")),
    };
    let hard = match d.bool()? {
        true => {
            let (term, vote) = (Term(d.u64()?), MemberId(d.u64()?));
            Some(HardState { term, vote, commit: LogIndex(d.u64()?) })
        }
        false => None,
    };
    let snapshot = match d.bool()? {
        true => Some((LogIndex(d.u64()?), Term(d.u64()?))),
        false => None,
    };
    let entries = (0..d.list_len()?).map(|_| decode_entry(&mut d)).collect::<Result<_, _>>()?;
    d.finish()?;
    Ok(Frame { kind, hard, snapshot, entries })
}

fn decode_entry(d: &mut Decoder) -> Result<Entry, DecodeError> {
    let (index, term) = (LogIndex(d.u64()?), Term(d.u64()?));
    let kind = match d.u8()? {
        0 => EntryKind::Normal,
        1 => EntryKind::Conf,
        _ => return Err(DecodeError("unknown kind of entry")),
    };
    Ok(Entry { index, term, kind, data: d.bytes()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Frame {
        let entry = |index, data: &'static [u8]| Entry {
            index: LogIndex(index),
            term: Term(2),
            kind: EntryKind::Normal,
            data: Bytes::from_static(data),
        };
        Frame {
            kind: FrameKind::Ready,
            hard: Some(HardState { term: Term(2), vote: MemberId(9), commit: LogIndex(3) }),
            snapshot: Some((LogIndex(3), Term(1))),
            entries: vec![entry(4, b"a"), entry(5, b"")],
        }
    }

    #[test]
    fn frame_survives_a_round_trip() {
        let mut writer = FrameWriter::new(Lsn(6), 77);
        let mut out = BytesMut::new();
        assert_eq!(writer.push(&frame(), Lsn(5), &mut out), Lsn(7));
        let raw = RawFrame::read(&out.freeze()).expect("whole");
        assert_eq!((raw.lsn, raw.batch, raw.prev_crc), (Lsn(7), Lsn(5), 77));
        assert_eq!(raw.decode(), Ok(frame()));
        assert_eq!(raw.crc, writer.crc());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_seen() {
        let mut out = BytesMut::new();
        FrameWriter::new(Lsn(0), 0).push(&frame(), Lsn(0), &mut out);
        for bit in 0..out.len() * 8 {
            let mut flipped = out.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RawFrame::read(&flipped.freeze()), None, "bit {bit}");
        }
        for len in 0..out.len() {
            assert_eq!(RawFrame::read(&out.clone().freeze().slice(..len)), None);
        }
    }
}
