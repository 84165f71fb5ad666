//! The format of a checkpoint file.
//!
//! Shape (little-endian): header `magic 8 | version u32 | features u32 | cluster u64 | member u64 | index u64 | term u64 |
//! crc u32`; records `len u32 | kind u8 | crc u32 | bytes`, the crc over length, kind and bytes; last a record of
//! kind 255: `records u64 | index u64 | crc u32` with the CRC32C of everything before it.

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::base::{ClusterId, LogIndex, MemberId, Term};
use crate::wal::Identity;

const MAGIC: &[u8; 8] = b"HFASTCKP";
/// A higher version is refused by name.
const VERSION: u32 = 1;
const HEADER_LEN: usize = 52;
const RECORD_HEADER_LEN: usize = 9;
/// Longest record that is believed.
const RECORD_LEN_MAX: u32 = 1 << 30;
/// Kind of the footer; other kinds are the content's.
const FOOTER: u8 = 255;
const FOOTER_LEN: usize = 20;

/// Whose state at which point of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub identity: Identity,
    pub index: LogIndex,
    pub term: Term,
}

/// One record, verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub kind: u8,
    pub bytes: Bytes,
}

/// Why a file is not a whole checkpoint, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Foreign,
    NewerVersion {
        version: u32,
    },
    UnknownFeatures {
        features: u32,
    },
    HeaderDamaged,
    RecordDamaged {
        offset: u64,
    },
    FooterDamaged {
        offset: u64,
    },
    /// The file ends before its footer.
    Shortened {
        offset: u64,
    },
    /// The records are whole, but not what a writer of ours puts into one.
    Content {
        what: &'static str,
        offset: u64,
    },
    /// Bytes behind the footer.
    TooLong {
        offset: u64,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Foreign => write!(f, "not a checkpoint of this program (no magic)"),
            Fault::NewerVersion { version } => {
                write!(f, "its version {version} is newer than {VERSION}, the newest this program knows")
            }
            Fault::UnknownFeatures { features } => {
                write!(f, "it needs features {features:#x} that this program does not know")
            }
            Fault::HeaderDamaged => write!(f, "its header is damaged (checksum)"),
            Fault::RecordDamaged { offset } => {
                write!(f, "the record at offset {offset} is damaged (checksum)")
            }
            Fault::FooterDamaged { offset } => {
                write!(f, "the footer at offset {offset} does not fit the file")
            }
            Fault::Shortened { offset } => write!(f, "the file ends inside the record at offset {offset}"),
            Fault::Content { what, offset } => {
                write!(f, "the record at offset {offset} cannot be read: {what}")
            }
            Fault::TooLong { offset } => write!(f, "bytes follow the footer at offset {offset}"),
        }
    }
}

/// Makes the bytes of a checkpoint, piece by piece.
#[derive(Debug)]
pub struct Writer {
    index: LogIndex,
    records: u64,
    crc: u32,
}

impl Writer {
    /// Starts a file in `out`.
    pub fn begin(header: &Header, out: &mut BytesMut) -> Writer {
        let start = out.len();
        out.put_slice(MAGIC);
        out.put_u32_le(VERSION);
        out.put_u32_le(0);
        out.put_u64_le(header.identity.cluster_id.0);
        out.put_u64_le(header.identity.member_id.0);
        out.put_u64_le(header.index.0);
        out.put_u64_le(header.term.0);
        let crc = crc32c::crc32c(&out[start..]);
        out.put_u32_le(crc);
        assert_eq!(out.len() - start, HEADER_LEN);
        Writer { index: header.index, records: 0, crc: crc32c::crc32c(&out[start..]) }
    }

    /// Adds a record.
    pub fn record(&mut self, kind: u8, bytes: &[u8], out: &mut BytesMut) {
        assert_ne!(kind, FOOTER, "the footer is written by `finish`");
        self.put(kind, bytes, out);
        self.records += 1;
    }

    /// Adds the footer.
    pub fn finish(&mut self, out: &mut BytesMut) {
        let mut footer = [0; FOOTER_LEN];
        let mut fields = &mut footer[..];
        fields.put_u64_le(self.records);
        fields.put_u64_le(self.index.0);
        fields.put_u32_le(self.crc);
        self.put(FOOTER, &footer, out);
    }

    fn put(&mut self, kind: u8, bytes: &[u8], out: &mut BytesMut) {
        let len = u32::try_from(bytes.len()).expect("records are far below 4 GiB");
        assert!(len <= RECORD_LEN_MAX);
        let start = out.len();
        out.put_u32_le(len);
        out.put_u8(kind);
        out.put_u32_le(record_crc(len, kind, bytes));
        out.put_slice(bytes);
        self.crc = crc32c::crc32c_append(self.crc, &out[start..]);
    }
}

fn record_crc(len: u32, kind: u8, bytes: &[u8]) -> u32 {
    let crc = crc32c::crc32c_append(crc32c::crc32c(&len.to_le_bytes()), &[kind]);
    crc32c::crc32c_append(crc, bytes)
}

/// Reads a checkpoint that arrives in pieces of any length.
#[derive(Debug, Default)]
pub struct Reader {
    pending: BytesMut,
    header: Option<Header>,
    offset: u64,
    records: u64,
    crc: u32,
    is_finished: bool,
}

impl Reader {
    pub fn new() -> Reader {
        Reader::default()
    }

    /// Takes the next bytes of the file; `take` gets each whole record, in order.
    pub fn feed(
        &mut self,
        bytes: &[u8],
        take: &mut dyn FnMut(Record) -> Result<(), &'static str>,
    ) -> Result<(), Fault> {
        self.pending.extend_from_slice(bytes);
        if self.header.is_none() {
            if self.pending.len() < HEADER_LEN {
                return Ok(());
            }
            let head = self.pending.split_to(HEADER_LEN);
            self.header = Some(decode_header(&head)?);
            self.crc = crc32c::crc32c(&head);
            self.offset = HEADER_LEN as u64;
        }
        while let Some(record) = self.next_record()? {
            let at = self.offset;
            self.offset += (RECORD_HEADER_LEN + record.bytes.len()) as u64;
            if self.is_finished {
                return Err(Fault::TooLong { offset: at });
            }
            if record.kind == FOOTER {
                self.check_footer(&record.bytes, at)?;
                self.is_finished = true;
            } else {
                self.records += 1;
                take(record).map_err(|what| Fault::Content { what, offset: at })?;
            }
        }
        Ok(())
    }

    /// The header of a file that was read to its end and is whole.
    pub fn finish(self) -> Result<Header, Fault> {
        match self.header {
            Some(_) if self.is_finished && !self.pending.is_empty() => {
                Err(Fault::TooLong { offset: self.offset })
            }
            Some(header) if self.is_finished => Ok(header),
            _ => Err(Fault::Shortened { offset: self.offset }),
        }
    }

    fn next_record(&mut self) -> Result<Option<Record>, Fault> {
        let Some(mut head) = self.pending.get(..RECORD_HEADER_LEN) else { return Ok(None) };
        let (len, kind, crc) = (head.get_u32_le(), head.get_u8(), head.get_u32_le());
        let damaged = Fault::RecordDamaged { offset: self.offset };
        if len > RECORD_LEN_MAX {
            return Err(damaged);
        }
        let end = RECORD_HEADER_LEN + len as usize;
        let Some(body) = self.pending.get(RECORD_HEADER_LEN..end) else { return Ok(None) };
        if record_crc(len, kind, body) != crc {
            return Err(damaged);
        }
        if kind != FOOTER {
            self.crc = crc32c::crc32c_append(self.crc, &self.pending[..end]);
        }
        let mut record = self.pending.split_to(end);
        record.advance(RECORD_HEADER_LEN);
        Ok(Some(Record { kind, bytes: record.freeze() }))
    }

    fn check_footer(&self, mut footer: &[u8], offset: u64) -> Result<(), Fault> {
        let header = self.header.expect("read before any record");
        let fits = footer.len() == FOOTER_LEN
            && footer.get_u64_le() == self.records
            && footer.get_u64_le() == header.index.0
            && footer.get_u32_le() == self.crc;
        if fits { Ok(()) } else { Err(Fault::FooterDamaged { offset }) }
    }
}

fn decode_header(bytes: &[u8]) -> Result<Header, Fault> {
    let (checked, mut crc) = bytes.split_at(HEADER_LEN - 4);
    let mut fields = checked;
    let mut magic = [0; 8];
    fields.copy_to_slice(&mut magic);
    if &magic != MAGIC {
        return Err(Fault::Foreign);
    }
    if crc32c::crc32c(checked) != crc.get_u32_le() {
        return Err(Fault::HeaderDamaged);
    }
    let (version, features) = (fields.get_u32_le(), fields.get_u32_le());
    if version > VERSION {
        return Err(Fault::NewerVersion { version });
    }
    if features != 0 {
        return Err(Fault::UnknownFeatures { features });
    }
    let (cluster_id, member_id) = (ClusterId(fields.get_u64_le()), MemberId(fields.get_u64_le()));
    let (index, term) = (LogIndex(fields.get_u64_le()), Term(fields.get_u64_le()));
    Ok(Header { identity: Identity { cluster_id, member_id }, index, term })
}
