//! The simulated disk as the shell sees it.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use holdfast_core::disk::DiskOp;
use holdfast_core::recover::Listed;
use holdfast_server::disk::Disk;

use super::trace;
use crate::disk::{DiskError, DiskFaults, SimDisk};
use crate::rng::{derive, mix};

/// One machine's disk; clones are handles to it, one a writer of the shell.
#[derive(Clone)]
pub struct SharedDisk {
    disk: Arc<Mutex<SimDisk>>,
    /// Of all that was asked of it.
    digest: Arc<AtomicU64>,
}

impl SharedDisk {
    pub fn new(seed: u64, faults: DiskFaults) -> SharedDisk {
        SharedDisk { disk: Arc::new(Mutex::new(SimDisk::new(seed, faults))), digest: Arc::default() }
    }

    /// Another disk in its place, empty and with the same faults.
    pub fn wipe(&self, seed: u64) {
        let mut disk = self.lock();
        *disk = SimDisk::new(derive(seed, 1), disk.faults.clone());
    }

    pub fn lock(&self) -> MutexGuard<'_, SimDisk> {
        self.disk.lock().expect("nobody panics while holding the disk")
    }
}

impl SharedDisk {
    /// Equal for two runs in which the same was asked of it.
    pub fn digest(&self) -> u64 {
        self.digest.load(Ordering::Relaxed)
    }

    fn fold(&self, op: &DiskOp) {
        let (what, bytes): (String, &[u8]) = match op {
            DiskOp::Create { file, head, len } => (format!("create {file} {len}"), head),
            DiskOp::Write { file, offset, bytes } => (format!("write {file} {offset}"), bytes),
            other => (format!("{other:?}"), &[]),
        };
        trace::tell(|| format!("  disk {:?} {what}", tokio::time::Instant::now()));
        // Frames end in zeroes up to the block.
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        self.digest.store(mix(mix(self.digest(), what.as_bytes()), &bytes[..end]), Ordering::Relaxed);
    }
}

impl Disk for SharedDisk {
    async fn perform(&mut self, op: &DiskOp) -> io::Result<()> {
        self.fold(op);
        let begun = self.lock().begin(op).map_err(refused)?;
        let Some(flush) = begun else { return Ok(()) };
        tokio::time::sleep(Duration::from_nanos(flush.takes_ns)).await;
        self.lock().end(flush).map_err(refused)
    }

    fn list(&self) -> io::Result<Vec<Listed>> {
        let disk = self.lock();
        let listed = |path: &str| Listed { path: path.to_owned(), len: disk.length(path).unwrap_or(0) };
        Ok(disk.names().map(listed).collect())
    }

    fn read(&self, path: &str, offset: u64, len: u64) -> io::Result<Bytes> {
        let bytes = self.lock().read(path).ok_or_else(|| refused(DiskError::NotFound))?;
        let end = offset.checked_add(len).filter(|end| *end <= bytes.len() as u64);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(Bytes::from(bytes).slice(offset as usize..end as usize))
    }
}

fn refused(error: DiskError) -> io::Error {
    match error {
        DiskError::NoSpace => io::ErrorKind::StorageFull.into(),
        DiskError::NotFound => io::ErrorKind::NotFound.into(),
        DiskError::Io => io::Error::other("input/output error"),
    }
}
