//! Performing planned disk operations on the simulated disk: each is instant or takes a flush's time.

use holdfast_core::disk::DiskOp;

use crate::disk::{DiskError, SimDisk, Sync};

/// An operation that takes time; to be handed to `end` when `takes_ns` have passed.
#[derive(Debug)]
pub struct Flush {
    pub takes_ns: u64,
    what: What,
}

#[derive(Debug)]
enum What {
    File(Sync),
    Directory(&'static str),
}

impl SimDisk {
    /// Begins an operation; `None` if it is done at once. A killed process leaves what it began undone or
    /// done; a power loss takes it back as far as chance says.
    pub fn begin(&mut self, op: &DiskOp) -> Result<Option<Flush>, DiskError> {
        let flush = |sync: Sync| Flush { takes_ns: sync.takes_ns, what: What::File(sync) };
        match op {
            DiskOp::Create { file, head, len } => {
                self.create(file, *len)?;
                self.write(file, 0, head)?;
                self.begin_sync(file).map(|sync| Some(flush(sync)))
            }
            DiskOp::Write { file, offset, bytes } => self.write(file, *offset, bytes).map(|()| None),
            DiskOp::Sync { file } => self.begin_sync(file).map(|sync| Some(flush(sync))),
            DiskOp::Rename { from, to } => self.rename(from, to).map(|()| None),
            DiskOp::SyncDir { dir } => {
                let takes_ns = self.draw_sync_ns();
                Ok(Some(Flush { takes_ns, what: What::Directory(dir) }))
            }
            DiskOp::Remove { file } => match self.remove(file) {
                Ok(()) | Err(DiskError::NotFound) => Ok(None),
                Err(error) => Err(error),
            },
        }
    }

    /// Ends an operation that took time. Errors: a failed flush.
    pub fn end(&mut self, flush: Flush) -> Result<(), DiskError> {
        match flush.what {
            What::File(sync) => self.end_sync(sync),
            What::Directory(directory) => {
                self.sync_dir(directory);
                Ok(())
            }
        }
    }
}
