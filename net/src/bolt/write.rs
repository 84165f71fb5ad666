//! A file written from left to right: leaves as they fill, the branches above them when theirs are full.
//!
//! Memory: one page for each level of a tree, and its parts. The metas are written last, over the room kept for them.

use std::io::{self, Seek, SeekFrom, Write};

use super::*;

/// The transaction that a file is written by; the other meta has the one before.
const TRANSACTION: u64 = 2;

/// Pages that the metas take.
const META_PAGES: u64 = 2;

/// Writes a file. Buckets come in ascending order of their names, pairs in ascending order of their keys.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    /// Id of the page that is written next.
    next: u64,
    /// Buckets that are whole.
    root: Tree,
    bucket: Option<(Vec<u8>, Tree)>,
}

/// Sorted elements on their way into pages.
#[derive(Debug, Default)]
struct Tree {
    leaf: Vec<Element>,
    leaf_bytes: usize,
    last: Option<Vec<u8>>,
    /// From the leaves upwards.
    branches: Vec<Branch>,
}

#[derive(Debug)]
struct Element {
    key: Vec<u8>,
    value: Vec<u8>,
    is_bucket: bool,
}

/// A branch being filled.
#[derive(Debug, Default)]
struct Branch {
    /// First key and page of each child.
    children: Vec<(Vec<u8>, u64)>,
    bytes: usize,
}

impl<W: Write + Seek> Writer<W> {
    /// Errors: what cannot be written.
    pub fn new(mut out: W) -> io::Result<Writer<W>> {
        out.write_all(&[0; META_PAGES as usize * PAGE_BYTES])?;
        Ok(Writer { out, next: META_PAGES, root: Tree::default(), bucket: None })
    }

    /// Begins a bucket; the one before is whole.
    pub fn bucket(&mut self, name: &[u8]) -> io::Result<()> {
        self.end_bucket()?;
        self.bucket = Some((name.to_vec(), Tree::default()));
        Ok(())
    }

    /// Adds a pair to the bucket begun last.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let mut pages = Pages { out: &mut self.out, next: &mut self.next };
        let (_, tree) = self.bucket.as_mut().expect("pairs belong to a bucket");
        tree.push(Element { key: key.to_vec(), value: value.to_vec(), is_bucket: false }, &mut pages)
    }

    /// Ends the file; what it was written to, and its length in bytes.
    pub fn finish(mut self) -> io::Result<(W, u64)> {
        self.end_bucket()?;
        let mut pages = Pages { out: &mut self.out, next: &mut self.next };
        let root = self.root.finish(&mut pages)?;
        self.out.seek(SeekFrom::Start(0))?;
        for (page, transaction) in [(0, TRANSACTION), (1, TRANSACTION - 1)] {
            self.out.write_all(&meta_page(page, root, self.next, transaction))?;
        }
        self.out.flush()?;
        Ok((self.out, self.next * PAGE_BYTES as u64))
    }

    fn end_bucket(&mut self) -> io::Result<()> {
        let Some((name, tree)) = self.bucket.take() else { return Ok(()) };
        let mut pages = Pages { out: &mut self.out, next: &mut self.next };
        let mut value = vec![0; BUCKET_BYTES];
        if tree.is_empty() {
            // An empty leaf, inline.
            value.extend_from_slice(&page_header(0, page_flag::LEAF, 0, 0));
        } else {
            value[..8].copy_from_slice(&tree.finish(&mut pages)?.to_le_bytes());
        }
        self.root.push(Element { key: name, value, is_bucket: true }, &mut pages)
    }
}

impl Tree {
    fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    fn push<W: Write>(&mut self, element: Element, pages: &mut Pages<'_, W>) -> io::Result<()> {
        assert!(self.last.as_ref().is_none_or(|last| *last < element.key), "keys rise");
        let bytes = ELEMENT_BYTES + element.key.len() + element.value.len();
        if !self.leaf.is_empty() && HEADER_BYTES + self.leaf_bytes + bytes > PAGE_BYTES {
            self.end_leaf(pages)?;
        }
        self.last = Some(element.key.clone());
        self.leaf_bytes += bytes;
        self.leaf.push(element);
        Ok(())
    }

    fn end_leaf<W: Write>(&mut self, pages: &mut Pages<'_, W>) -> io::Result<()> {
        self.leaf_bytes = 0;
        let elements = std::mem::take(&mut self.leaf);
        let first = elements.first().map_or(Vec::new(), |element| element.key.clone());
        let page = pages.leaf(&elements)?;
        self.push_child(0, first, page, pages)
    }

    /// Hangs a page below the branch of a level; a branch that is full is written, and hung one level higher.
    fn push_child<W: Write>(
        &mut self,
        mut level: usize,
        mut first: Vec<u8>,
        mut page: u64,
        pages: &mut Pages<'_, W>,
    ) -> io::Result<()> {
        loop {
            if level == self.branches.len() {
                self.branches.push(Branch::default());
            }
            let branch = &mut self.branches[level];
            let bytes = ELEMENT_BYTES + first.len();
            // Two children at least, whatever their keys: a tree must get narrower upwards.
            if branch.children.len() < 2 || HEADER_BYTES + branch.bytes + bytes <= PAGE_BYTES {
                branch.bytes += bytes;
                branch.children.push((first, page));
                return Ok(());
            }
            let full = std::mem::take(branch);
            branch.bytes = bytes;
            branch.children.push((first, page));
            (first, page) = full.end(pages)?;
            level += 1;
        }
    }

    /// Writes what is left; the root's page.
    fn finish<W: Write>(mut self, pages: &mut Pages<'_, W>) -> io::Result<u64> {
        if !self.leaf.is_empty() || self.branches.is_empty() {
            self.end_leaf(pages)?;
        }
        let mut level = 0;
        loop {
            let branch = std::mem::take(&mut self.branches[level]);
            if level + 1 == self.branches.len() && branch.children.len() == 1 {
                return Ok(branch.children[0].1);
            }
            let (first, page) = branch.end(pages)?;
            level += 1;
            self.push_child(level, first, page, pages)?;
        }
    }
}

impl Branch {
    /// Writes it; its first key and page.
    fn end<W: Write>(self, pages: &mut Pages<'_, W>) -> io::Result<(Vec<u8>, u64)> {
        let page = pages.branch(&self.children)?;
        let first = self.children.into_iter().next().expect("a branch has children").0;
        Ok((first, page))
    }
}

/// Where pages go, one behind the other.
struct Pages<'a, W> {
    out: &'a mut W,
    next: &'a mut u64,
}

impl<W: Write> Pages<'_, W> {
    fn leaf(&mut self, elements: &[Element]) -> io::Result<u64> {
        let heads = elements.iter().map(|element| {
            let flags = if element.is_bucket { BUCKET_FLAG } else { 0 };
            (flags, element.key.as_slice(), element.value.as_slice())
        });
        let mut at = HEADER_BYTES + ELEMENT_BYTES * elements.len();
        let (mut table, mut body) = (Vec::new(), Vec::new());
        for (n, (flags, key, value)) in heads.enumerate() {
            let offset = at - (HEADER_BYTES + ELEMENT_BYTES * n);
            for number in [flags, length(offset), length(key.len()), length(value.len())] {
                table.extend_from_slice(&number.to_le_bytes());
            }
            body.extend_from_slice(key);
            body.extend_from_slice(value);
            at += key.len() + value.len();
        }
        self.page(page_flag::LEAF, elements.len(), &table, &body)
    }

    fn branch(&mut self, children: &[(Vec<u8>, u64)]) -> io::Result<u64> {
        let mut at = HEADER_BYTES + ELEMENT_BYTES * children.len();
        let (mut table, mut body) = (Vec::new(), Vec::new());
        for (n, (key, page)) in children.iter().enumerate() {
            let offset = at - (HEADER_BYTES + ELEMENT_BYTES * n);
            table.extend_from_slice(&length(offset).to_le_bytes());
            table.extend_from_slice(&length(key.len()).to_le_bytes());
            table.extend_from_slice(&page.to_le_bytes());
            body.extend_from_slice(key);
            at += key.len();
        }
        self.page(page_flag::BRANCH, children.len(), &table, &body)
    }

    /// Writes a page, and as many behind it as it needs.
    fn page(&mut self, flags: u16, count: usize, table: &[u8], body: &[u8]) -> io::Result<u64> {
        let bytes = HEADER_BYTES + table.len() + body.len();
        let pages = bytes.div_ceil(PAGE_BYTES);
        let (id, count) = (*self.next, u16::try_from(count).expect("a page holds few elements"));
        self.out.write_all(&page_header(id, flags, count, length(pages - 1)))?;
        self.out.write_all(table)?;
        self.out.write_all(body)?;
        self.out.write_all(&[0; PAGE_BYTES][..pages * PAGE_BYTES - bytes])?;
        *self.next += pages as u64;
        Ok(id)
    }
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("keys and values are bounded by the size of a request")
}

fn page_header(id: u64, flags: u16, count: u16, overflow: u32) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&id.to_le_bytes());
    header[8..10].copy_from_slice(&flags.to_le_bytes());
    header[10..12].copy_from_slice(&count.to_le_bytes());
    header[12..].copy_from_slice(&overflow.to_le_bytes());
    header
}

fn meta_page(id: u64, root: u64, pages: u64, transaction: u64) -> Vec<u8> {
    let mut page = page_header(id, page_flag::META, 0, 0).to_vec();
    for number in [MAGIC, VERSION, PAGE_BYTES as u32, 0] {
        page.extend_from_slice(&number.to_le_bytes());
    }
    for number in [root, 0, NO_FREELIST, pages, transaction] {
        page.extend_from_slice(&number.to_le_bytes());
    }
    let sum = fnv(&page[HEADER_BYTES..HEADER_BYTES + META_SUMMED_BYTES]);
    page.extend_from_slice(&sum.to_le_bytes());
    page.resize(PAGE_BYTES, 0);
    page
}
