//! A segment: a file of fixed length with one header block, then frames.
//!
//! Shape of the header (little-endian): `magic 8 | version u32 | features u32 | cluster u64 | member u64 | seq u64 |
//! first_lsn u64 | len u64 | chain u32 | crc u32`, zeroes to the end of the block. A segment gets its name
//! only when its header and its whole length are on stable storage: a bad header is damage, never a torn write.

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::base::{ClusterId, Lsn, MemberId};
use crate::disk::BLOCK_LEN;

const MAGIC: &[u8; 8] = b"HFASTWAL";

/// Format of segments and frames; a higher one is refused by name.
pub const FORMAT: u32 = 1;

/// Bytes of the header before its crc.
const CHECKED_LEN: usize = 60;

/// Whose log it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub cluster_id: ClusterId,
    pub member_id: MemberId,
}

/// The first block of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    pub identity: Identity,
    /// Number of the segment, from 1 without gaps.
    pub seq: u64,
    /// Number of its first frame.
    pub first_lsn: Lsn,
    /// Bytes of the file.
    pub len: u64,
    /// Checksum of the frame before its first one.
    pub chain: u32,
}

/// Why a header is not ours to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderError {
    Foreign,
    Damaged,
    NewerFormat { format: u32 },
    UnknownFeatures { features: u32 },
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeaderError::Foreign => write!(f, "not a file of this program (no magic)"),
            HeaderError::Damaged => write!(f, "its header is damaged (checksum)"),
            HeaderError::NewerFormat { format } => {
                write!(f, "its format {format} is newer than {FORMAT}, the newest this program knows")
            }
            HeaderError::UnknownFeatures { features } => {
                write!(f, "it needs features {features:#x} that this program does not know")
            }
        }
    }
}

impl SegmentHeader {
    /// One block.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(BLOCK_LEN as usize);
        out.put_slice(MAGIC);
        out.put_u32_le(FORMAT);
        out.put_u32_le(0);
        out.put_u64_le(self.identity.cluster_id.0);
        out.put_u64_le(self.identity.member_id.0);
        out.put_u64_le(self.seq);
        out.put_u64_le(self.first_lsn.0);
        out.put_u64_le(self.len);
        out.put_u32_le(self.chain);
        assert_eq!(out.len(), CHECKED_LEN);
        let crc = crc32c::crc32c(&out);
        out.put_u32_le(crc);
        out.resize(BLOCK_LEN as usize, 0);
        out.freeze()
    }

    /// Reads the header at the start of a file.
    pub fn decode(mut bytes: &[u8]) -> Result<SegmentHeader, HeaderError> {
        let checked = bytes.get(..CHECKED_LEN).ok_or(HeaderError::Foreign)?;
        let crc = crc32c::crc32c(checked);
        let mut magic = [0; 8];
        bytes.copy_to_slice(&mut magic);
        if &magic != MAGIC {
            return Err(HeaderError::Foreign);
        }
        let (format, features) = (bytes.get_u32_le(), bytes.get_u32_le());
        let identity =
            Identity { cluster_id: ClusterId(bytes.get_u64_le()), member_id: MemberId(bytes.get_u64_le()) };
        let (seq, first_lsn, len) = (bytes.get_u64_le(), Lsn(bytes.get_u64_le()), bytes.get_u64_le());
        let chain = bytes.get_u32_le();
        if bytes.remaining() < 4 || bytes.get_u32_le() != crc {
            return Err(HeaderError::Damaged);
        }
        if format > FORMAT {
            return Err(HeaderError::NewerFormat { format });
        }
        if features != 0 {
            return Err(HeaderError::UnknownFeatures { features });
        }
        Ok(SegmentHeader { identity, seq, first_lsn, len, chain })
    }
}

/// Directory of the log below the member directory.
pub const DIR: &str = "wal";

/// Name of segment `seq`.
pub fn segment_file(seq: u64) -> String {
    format!("{DIR}/{seq:016x}.wal")
}

/// Name of a segment that is kept for reuse.
pub fn spare_file(number: u64) -> String {
    format!("{DIR}/{number:016x}.spare")
}

/// What a file of the log's directory is, by its name (without the directory).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    Segment {
        seq: u64,
    },
    Spare {
        number: u64,
    },
    /// Left over from a creation that was cut short.
    Temporary,
    Unknown,
}

/// Reads a name.
pub fn file_kind(name: &str) -> FileKind {
    let number = |stem: &str| (stem.len() == 16).then(|| u64::from_str_radix(stem, 16).ok()).flatten();
    match name.split_once('.') {
        Some((stem, "wal")) => number(stem).map_or(FileKind::Unknown, |seq| FileKind::Segment { seq }),
        Some((stem, "spare")) => number(stem).map_or(FileKind::Unknown, |number| FileKind::Spare { number }),
        Some((_, "tmp")) => FileKind::Temporary,
        _ => FileKind::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        let identity = Identity { cluster_id: ClusterId(7), member_id: MemberId(9) };
        SegmentHeader { identity, seq: 3, first_lsn: Lsn(44), len: 1 << 20, chain: 0xdead_beef }
    }

    #[test]
    fn header_survives_a_round_trip() {
        assert_eq!(SegmentHeader::decode(&header().encode()), Ok(header()));
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let bytes = header().encode();
        for bit in 0..(CHECKED_LEN + 4) * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn newer_format_is_refused_by_name() {
        let mut bytes = header().encode()[..CHECKED_LEN].to_vec();
        bytes[8] = 2;
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&bytes), Err(HeaderError::NewerFormat { format: 2 }));
    }

    #[test]
    fn names_are_read_back() {
        assert_eq!(file_kind("000000000000001f.wal"), FileKind::Segment { seq: 31 });
        assert_eq!(segment_file(31), "wal/000000000000001f.wal");
        assert_eq!(file_kind("0.tmp"), FileKind::Temporary);
        assert_eq!(file_kind("0000000000000000-0000000000000000.wal"), FileKind::Unknown);
    }
}
