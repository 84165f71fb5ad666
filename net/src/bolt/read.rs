//! A file read from the root down. Nothing in it is trusted: lengths, places and order are judged as they are met.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::*;

/// Pages between the root and a leaf: with two children each, more than any file has.
const DEPTH_MAX: usize = 64;

/// Bytes that can be read anywhere.
pub trait Source {
    /// How many there are.
    fn bytes(&self) -> io::Result<u64>;

    /// Errors: `UnexpectedEof` for bytes that are not there.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;
}

impl Source for File {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(into, offset)
    }
}

impl Source for [u8] {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let from = start.checked_add(into.len()).and_then(|end| self.get(start..end));
        into.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The text is bbolt's.
    #[error("invalid database")]
    NotBolt,
    #[error("page {page}: {what}")]
    Page { page: u64, what: &'static str },
    #[error(transparent)]
    Read(#[from] io::Error),
}

/// What is met on the way through a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// The pairs that follow are in the bucket of this name.
    Bucket(&'a [u8]),
    Pair(&'a [u8], &'a [u8]),
}

/// An open file.
#[derive(Debug)]
pub struct Db<'a, S: ?Sized> {
    source: &'a S,
    page_bytes: u64,
    root: u64,
    /// Pages in use, free ones among them.
    pages: u64,
}

/// Takes a leaf: its page, its bytes, and how many pages may still be read.
type Visit<'a, E> = dyn FnMut(u64, &[u8], &mut u64) -> Result<(), E> + 'a;

/// What one of the two metas says.
struct Meta {
    page_bytes: u64,
    root: u64,
    pages: u64,
    transaction: u64,
}

impl<'a, S: Source + ?Sized> Db<'a, S> {
    /// Errors: no meta that is whole, fewer bytes than it speaks of.
    pub fn open(source: &'a S) -> Result<Db<'a, S>, Fault> {
        let first = read_meta(source, 0)?;
        let second = match &first {
            Some(meta) => read_meta(source, meta.page_bytes)?,
            // The size of a page is not known then.
            None => (0..16).find_map(|n| read_meta(source, 1024 << n).transpose()).transpose()?,
        };
        let newest = first.into_iter().chain(second).max_by_key(|meta| meta.transaction);
        let Meta { page_bytes, root, pages, .. } = newest.ok_or(Fault::NotBolt)?;
        let is_sound = page_bytes.is_power_of_two() && (1024..=1 << 26).contains(&page_bytes);
        if !is_sound || pages.checked_mul(page_bytes).is_none_or(|bytes| bytes > source.bytes().unwrap_or(0))
        {
            return Err(Fault::NotBolt);
        }
        Ok(Db { source, page_bytes, root, pages })
    }

    /// Bytes of the database, without what may be appended to it.
    pub fn bytes(&self) -> u64 {
        self.pages * self.page_bytes
    }

    /// Visits every bucket with its pairs, in order.
    /// Cost: each page is read once; more pages than there are mean that the file is wrong.
    pub fn for_each<E: From<Fault>>(
        &self,
        visit: &mut dyn FnMut(Item<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut left = self.pages;
        let mut names = Order::default();
        self.for_each_leaf(self.root, &mut left, &mut |page, bytes, left| {
            for element in Leaf::read(page, bytes)? {
                let Element { is_bucket, key: name, value } = element?;
                names.check(page, name)?;
                if !is_bucket || value.len() < BUCKET_BYTES {
                    return Err(damage(page, "something other than a bucket lies among the buckets").into());
                }
                visit(Item::Bucket(name))?;
                let mut keys = Order::default();
                let mut pairs = |page, bytes: &[u8], _: &mut u64| -> Result<(), E> {
                    for element in Leaf::read(page, bytes)? {
                        let Element { is_bucket, key, value } = element?;
                        keys.check(page, key)?;
                        if is_bucket {
                            return Err(damage(page, "a bucket lies in another one").into());
                        }
                        visit(Item::Pair(key, value))?;
                    }
                    Ok(())
                };
                match u64_at(value, 0) {
                    0 => pairs(page, &value[BUCKET_BYTES..], left)?,
                    root => self.for_each_leaf(root, left, &mut pairs)?,
                }
            }
            Ok(())
        })
    }

    /// Visits the leaves below a page from left to right. `left`: how many pages may still be read.
    fn for_each_leaf<E: From<Fault>>(
        &self,
        root: u64,
        left: &mut u64,
        visit: &mut Visit<'_, E>,
    ) -> Result<(), E> {
        // Pages still to be read, the leftmost on top; with the depth at which each lies.
        let mut todo = vec![(root, 0)];
        while let Some((page, depth)) = todo.pop() {
            *left = left.checked_sub(1).ok_or(damage(page, "it is met twice"))?;
            let bytes = self.read_page(page)?;
            match u16_at(&bytes, 8) {
                page_flag::LEAF => visit(page, &bytes, left)?,
                page_flag::BRANCH if depth == DEPTH_MAX => {
                    return Err(damage(page, "it lies too deep").into());
                }
                page_flag::BRANCH => {
                    let children = children(page, &bytes)?;
                    todo.extend(children.into_iter().rev().map(|child| (child, depth + 1)));
                }
                _ => return Err(damage(page, "it is neither leaf nor branch").into()),
            }
        }
        Ok(())
    }

    /// A page with those behind it that belong to it.
    fn read_page(&self, page: u64) -> Result<Vec<u8>, Fault> {
        if page >= self.pages {
            return Err(damage(page, "it lies behind the end"));
        }
        let mut header = [0; HEADER_BYTES];
        self.source.read_at(page * self.page_bytes, &mut header)?;
        if u64_at(&header, 0) != page {
            return Err(damage(page, "it says that it is another one"));
        }
        let count = 1 + u64::from(u32_at(&header, 12));
        if count > self.pages - page {
            return Err(damage(page, "what belongs to it lies behind the end"));
        }
        let bytes = usize::try_from(count * self.page_bytes).map_err(|_| damage(page, "it is too large"))?;
        let mut whole = vec![0; bytes];
        self.source.read_at(page * self.page_bytes, &mut whole)?;
        Ok(whole)
    }
}

/// `None`: there is none at this place, or its checksum is wrong.
fn read_meta<S: Source + ?Sized>(source: &S, offset: u64) -> Result<Option<Meta>, Fault> {
    let mut page = [0; HEADER_BYTES + META_BYTES];
    match source.read_at(offset, &mut page) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let meta = &page[HEADER_BYTES..];
    let is_whole = u32_at(meta, 0) == MAGIC
        && u32_at(meta, 4) == VERSION
        && u64_at(meta, META_SUMMED_BYTES) == fnv(&meta[..META_SUMMED_BYTES]);
    Ok(is_whole.then(|| Meta {
        page_bytes: u64::from(u32_at(meta, 8)),
        root: u64_at(meta, 16),
        pages: u64_at(meta, 40),
        transaction: u64_at(meta, 48),
    }))
}

/// The pages below a branch.
fn children(page: u64, bytes: &[u8]) -> Result<Vec<u64>, Fault> {
    let count = usize::from(u16_at(bytes, 10));
    let table = bytes[HEADER_BYTES..].get(..count * ELEMENT_BYTES);
    let table = table.filter(|table| !table.is_empty()).ok_or(damage(page, "its elements are cut off"))?;
    Ok(table.chunks_exact(ELEMENT_BYTES).map(|element| u64_at(element, 8)).collect())
}

/// The elements of a leaf.
struct Leaf<'a> {
    page: u64,
    bytes: &'a [u8],
    next: usize,
    count: usize,
}

struct Element<'a> {
    is_bucket: bool,
    key: &'a [u8],
    value: &'a [u8],
}

impl<'a> Leaf<'a> {
    /// Of a whole page, or of the inline one that is part of page `page`.
    fn read(page: u64, bytes: &'a [u8]) -> Result<Leaf<'a>, Fault> {
        if bytes.len() < HEADER_BYTES || u16_at(bytes, 8) != page_flag::LEAF {
            return Err(damage(page, "it has no leaf where one must be"));
        }
        Ok(Leaf { page, bytes, next: 0, count: usize::from(u16_at(bytes, 10)) })
    }
}

impl<'a> Iterator for Leaf<'a> {
    type Item = Result<Element<'a>, Fault>;

    fn next(&mut self) -> Option<Result<Element<'a>, Fault>> {
        if self.next == self.count {
            return None;
        }
        let at = HEADER_BYTES + ELEMENT_BYTES * self.next;
        self.next += 1;
        let element = || {
            let head = self.bytes.get(at..at + ELEMENT_BYTES)?;
            let [offset, key_bytes, value_bytes] = [4, 8, 12].map(|field| u32_at(head, field) as usize);
            let key = self.bytes.get(at + offset..)?.get(..key_bytes)?;
            let value = self.bytes.get(at + offset + key_bytes..)?.get(..value_bytes)?;
            Some(Element { is_bucket: u32_at(head, 0) & BUCKET_FLAG != 0, key, value })
        };
        Some(element().ok_or(damage(self.page, "an element reaches beyond it")))
    }
}

/// Keys must rise.
#[derive(Default)]
struct Order {
    last: Option<Vec<u8>>,
}

impl Order {
    fn check(&mut self, page: u64, key: &[u8]) -> Result<(), Fault> {
        match &mut self.last {
            Some(last) if last.as_slice() >= key => return Err(damage(page, "its keys do not rise")),
            Some(last) => {
                last.clear();
                last.extend_from_slice(key);
            }
            None => self.last = Some(key.to_vec()),
        }
        Ok(())
    }
}

fn damage(page: u64, what: &'static str) -> Fault {
    Fault::Page { page, what }
}
