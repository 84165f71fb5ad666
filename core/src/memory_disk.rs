//! An honest disk in memory, for the core's own tests.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::disk::DiskOp;
use crate::recover::{Listed, RecoverError, Recovered};
use crate::state::STATE_VERSION;

/// Files by path; performs what is planned at once and for good.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk(pub BTreeMap<String, Vec<u8>>);

impl MemoryDisk {
    pub fn perform(&mut self, ops: Vec<DiskOp>) {
        for op in ops {
            match op {
                DiskOp::Create { file, head, len } => {
                    let mut bytes = head.to_vec();
                    bytes.resize(len as usize, 0);
                    self.0.insert(file, bytes);
                }
                DiskOp::Write { file, offset, bytes } => {
                    let at = offset as usize;
                    let file = self.0.get_mut(&file).expect("created before");
                    file.resize(file.len().max(at + bytes.len()), 0);
                    file[at..at + bytes.len()].copy_from_slice(&bytes);
                }
                DiskOp::Rename { from, to } => {
                    let bytes = self.0.remove(&from).expect("created before");
                    self.0.insert(to, bytes);
                }
                DiskOp::Remove { file } => {
                    self.0.remove(&file);
                }
                DiskOp::Sync { .. } | DiskOp::SyncDir { .. } => {}
            }
        }
    }

    pub fn recover(&self) -> Result<Recovered, RecoverError<String>> {
        let listing: Vec<Listed> = self
            .0
            .iter()
            .map(|(path, bytes)| Listed { path: path.clone(), len: bytes.len() as u64 })
            .collect();
        Recovered::read(&listing, STATE_VERSION, |path, offset, len| {
            let bytes = self.0.get(path).ok_or("no such file")?;
            Ok(Bytes::copy_from_slice(&bytes[offset as usize..(offset + len) as usize]))
        })
    }
}
