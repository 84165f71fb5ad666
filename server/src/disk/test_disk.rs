//! A disk in memory that fails on demand, for tests.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use holdfast_core::disk::DiskOp;
use holdfast_core::recover::Listed;

use super::Disk;

/// Files in memory; what begins with `failing` fails that way.
#[derive(Clone, Default)]
pub struct TestDisk(Arc<Mutex<Contents>>);

#[derive(Default)]
pub struct Contents {
    pub files: BTreeMap<String, Vec<u8>>,
    failing: Option<(&'static str, ErrorKind)>,
}

impl TestDisk {
    pub fn fail(&self, failing: Option<(&'static str, ErrorKind)>) {
        self.contents().failing = failing;
    }

    pub fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().expect("no test panics while it holds this")
    }

    pub fn names(&self) -> Vec<String> {
        self.contents().files.keys().cloned().collect()
    }
}

impl Disk for TestDisk {
    async fn perform(&mut self, op: &DiskOp) -> io::Result<()> {
        let mut contents = self.contents();
        let verb = format!("{op:?}");
        let (failing, files) = (contents.failing, &mut contents.files);
        // A file that could not be filled is there all the same.
        if let DiskOp::Create { file, head, len } = op {
            let mut bytes = head.to_vec();
            bytes.resize(usize::try_from(*len).expect("tests are small"), 0);
            files.insert(file.clone(), bytes);
        }
        if let Some((verb_failing, kind)) = failing
            && verb.starts_with(verb_failing)
        {
            return Err(kind.into());
        }
        match op {
            DiskOp::Write { file, offset, bytes } => {
                let at = usize::try_from(*offset).expect("tests are small");
                let file = files.get_mut(file).ok_or(ErrorKind::NotFound)?;
                file.resize(file.len().max(at + bytes.len()), 0);
                file[at..at + bytes.len()].copy_from_slice(bytes);
            }
            DiskOp::Rename { from, to } => {
                let bytes = files.remove(from).ok_or(ErrorKind::NotFound)?;
                files.insert(to.clone(), bytes);
            }
            DiskOp::Remove { file } => {
                files.remove(file);
            }
            DiskOp::Create { .. } | DiskOp::Sync { .. } | DiskOp::SyncDir { .. } => {}
        }
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<Listed>> {
        let contents = self.contents();
        let listed =
            |(path, bytes): (&String, &Vec<u8>)| Listed { path: path.clone(), len: bytes.len() as u64 };
        Ok(contents.files.iter().map(listed).collect())
    }

    fn read(&self, path: &str, offset: u64, len: u64) -> io::Result<Bytes> {
        let contents = self.contents();
        let file = contents.files.get(path).ok_or(ErrorKind::NotFound)?;
        Ok(Bytes::copy_from_slice(&file[offset as usize..(offset + len) as usize]))
    }
}
