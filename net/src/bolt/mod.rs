//! Files as bbolt has them: written once, from the first page to the last, and read without trust.
//!
//! Shape: pages of one size, little endian. A page begins with 16 bytes: its id (u64), flags (u16), count of
//! elements (u16), pages behind it that belong to it (u32). The first two pages are metas, of which the one with the
//! higher transaction counts: magic (u32), version (u32), page size (u32), flags (u32), root page (u64), sequence
//! (u64), page of the freelist (u64), pages in the file (u64), transaction (u64), FNV-1a over these (u64).
//! The others are leaves, of elements flags (u32), offset of the key from the element (u32), key length (u32), value
//! length (u32), and branches: offset of the key (u32), key length (u32), page (u64); both sorted by key. Values
//! flagged as buckets begin with a root page (u64) and a sequence (u64); root 0 means that a leaf follows inline.
//!
//! Source: go.etcd.io/bbolt v1.5.0 internal/common/{page,meta,inode,bucket}.go.

mod read;
mod write;

#[cfg(test)]
mod tests;

pub use read::{Db, Fault, Item, Source};
pub use write::Writer;

/// Bytes of a page in a file that we write.
const PAGE_BYTES: usize = 4096;
/// Bytes before a page's elements.
const HEADER_BYTES: usize = 16;
/// Bytes of an element, in leaves and branches.
const ELEMENT_BYTES: usize = 16;
/// Bytes before an inline bucket's page.
const BUCKET_BYTES: usize = 16;
/// Bytes of a meta behind its page header.
const META_BYTES: usize = 64;
/// Of these the checksum is taken.
const META_SUMMED_BYTES: usize = 56;

const MAGIC: u32 = 0xed0c_daed;
const VERSION: u32 = 2;
/// Stands in place of the freelist's page: whoever opens the file finds out what is free.
const NO_FREELIST: u64 = u64::MAX;

/// What a page is.
mod page_flag {
    pub const BRANCH: u16 = 0x01;
    pub const LEAF: u16 = 0x02;
    pub const META: u16 = 0x04;
}

/// Marks a value of a leaf as a bucket.
const BUCKET_FLAG: u32 = 0x01;

/// FNV-1a, 64 bits.
fn fnv(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
