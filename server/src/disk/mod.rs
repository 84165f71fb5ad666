//! Bytes on disk: operations that the core plans, performed here.

pub mod checkpoint_writer;
#[cfg(not(madsim))]
pub mod durable;
pub mod log_writer;
#[cfg(not(madsim))]
mod real;
#[cfg(test)]
pub mod test_disk;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;

use bytes::Bytes;
use holdfast_core::disk::DiskOp;
use holdfast_core::recover::Listed;

#[cfg(not(madsim))]
pub use real::RealDisk;

/// A member directory: the real one, or that of a simulated machine.
/// Clones are handles to the same directory, one a writer.
pub trait Disk: Clone + Send + 'static {
    /// Carries out one operation; durable as `DiskOp` says when it is done.
    /// Errors: the disk's own. After one, nothing may be believed about what the operation covered.
    fn perform(&mut self, op: &DiskOp) -> impl Future<Output = io::Result<()>> + Send;

    /// Every file of the log and of checkpoints.
    fn list(&self) -> io::Result<Vec<Listed>>;

    /// Just these bytes of a file.
    fn read(&self, path: &str, offset: u64, len: u64) -> io::Result<Bytes>;
}
