//! The real member directory.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use holdfast_core::disk::DiskOp;
use holdfast_core::recover::Listed;
use holdfast_core::{checkpoint, wal};

use super::Disk;
use super::durable::{AlignedBuffer, DurableFile, FlushWay, create_zeroed, flush_directory};

/// Files below `DIR/member`. Log segments are written past the page cache where the file system lets us;
/// checkpoints are ordinary files.
#[derive(Debug)]
pub struct RealDisk {
    root: PathBuf,
    way: FlushWay,
    /// Open log segments: what is written to them is durable on return.
    segments: BTreeMap<String, DurableFile>,
    /// The checkpoint being written.
    checkpoint: Option<(String, File)>,
    buffer: AlignedBuffer,
}

impl Clone for RealDisk {
    fn clone(&self) -> RealDisk {
        RealDisk::new(&self.root, self.way)
    }
}

impl RealDisk {
    pub fn new(member_dir: &Path, way: FlushWay) -> RealDisk {
        let root = member_dir.to_owned();
        RealDisk { root, way, segments: BTreeMap::new(), checkpoint: None, buffer: AlignedBuffer::default() }
    }

    fn perform_now(&mut self, op: &DiskOp) -> io::Result<()> {
        match op {
            DiskOp::Create { file, head, len } if is_log(file) => {
                create_zeroed(&self.root.join(file), *len, self.way)?;
                if head.is_empty() { Ok(()) } else { self.write_log(file, 0, head) }
            }
            DiskOp::Create { file, head, .. } => {
                let mut options = OpenOptions::new();
                options.create(true).truncate(true).write(true).mode(0o600);
                let created = options.open(self.root.join(file))?;
                created.write_all_at(head, 0)?;
                self.checkpoint = Some((file.clone(), created));
                Ok(())
            }
            DiskOp::Write { file, offset, bytes } if is_log(file) => self.write_log(file, *offset, bytes),
            DiskOp::Write { file, offset, bytes } => self.checkpoint(file)?.write_all_at(bytes, *offset),
            // What this life wrote to a segment is durable already.
            DiskOp::Sync { file } if self.segments.contains_key(file) || self.way == FlushWay::Never => {
                Ok(())
            }
            DiskOp::Sync { file } if is_log(file) => File::open(self.root.join(file))?.sync_all(),
            DiskOp::Sync { file } => self.checkpoint(file)?.sync_all(),
            DiskOp::Rename { from, to } => {
                if let Some(open) = self.segments.remove(from) {
                    self.segments.insert(to.clone(), open);
                }
                fs::rename(self.root.join(from), self.root.join(to))
            }
            DiskOp::SyncDir { dir } => flush_directory(&self.root.join(dir), self.way),
            DiskOp::Remove { file } => {
                self.segments.remove(file);
                match fs::remove_file(self.root.join(file)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                    _ => Ok(()),
                }
            }
        }
    }

    fn write_log(&mut self, file: &str, offset: u64, bytes: &Bytes) -> io::Result<()> {
        if !self.segments.contains_key(file) {
            // Only the last segment is written to; older ones are closed here.
            self.segments.clear();
            let open = DurableFile::open(&self.root.join(file), self.way)?;
            self.segments.insert(file.to_owned(), open);
        }
        self.buffer.fill(std::iter::once(&bytes[..]));
        self.segments[file].write(offset, &self.buffer)
    }

    fn checkpoint(&mut self, file: &str) -> io::Result<&File> {
        if self.checkpoint.as_ref().is_none_or(|(open, _)| open != file) {
            let opened = OpenOptions::new().write(true).open(self.root.join(file))?;
            self.checkpoint = Some((file.to_owned(), opened));
        }
        Ok(&self.checkpoint.as_ref().expect("opened above").1)
    }
}

impl Disk for RealDisk {
    // On a lane of its own: it may block.
    async fn perform(&mut self, op: &DiskOp) -> io::Result<()> {
        self.perform_now(op)
    }

    fn list(&self) -> io::Result<Vec<Listed>> {
        let mut listing = Vec::new();
        for dir in [wal::segment::DIR, checkpoint::files::DIR] {
            for entry in fs::read_dir(self.root.join(dir))? {
                let entry = entry?;
                let path = format!("{dir}/{}", entry.file_name().to_string_lossy());
                listing.push(Listed { path, len: entry.metadata()?.len() });
            }
        }
        listing.sort();
        Ok(listing)
    }

    fn read(&self, path: &str, offset: u64, len: u64) -> io::Result<Bytes> {
        let mut file = File::open(self.root.join(path))?;
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::with_capacity(usize::try_from(len).map_err(io::Error::other)?);
        if file.take(len).read_to_end(&mut bytes)? as u64 != len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes.into())
    }
}

fn is_log(file: &str) -> bool {
    file.starts_with(wal::segment::DIR)
}

#[cfg(test)]
mod tests {
    use holdfast_core::base::{ClusterId, LogIndex, Lsn, MemberId, Term};
    use holdfast_core::recover::{self, Recovered};
    use holdfast_core::state::STATE_VERSION;
    use holdfast_core::wal::{Entry, EntryKind, Frame, FrameKind, FrameWriter, Identity, LayoutConfig};

    use bytes::BytesMut;

    use super::*;

    #[test]
    fn what_is_appended_is_recovered_by_the_next_life() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for sub in ["wal", "ckpt"] {
            fs::create_dir(dir.path().join(sub)).expect("it is ours");
        }
        let identity = Identity { cluster_id: ClusterId(1), member_id: MemberId(2) };
        let config = LayoutConfig { first_segment_bytes: 64 << 10, segment_bytes: 64 << 10, spares_max: 1 };
        let mut writer = FrameWriter::new(Lsn(0), 0);
        for life in 0..3u64 {
            let mut disk = RealDisk::new(dir.path(), FlushWay::probe(dir.path()).expect("it is ours"));
            let recovered =
                Recovered::read(&disk.list().expect("readable"), STATE_VERSION, |p, o, l| disk.read(p, o, l));
            let found = recovered.expect("undamaged").found;
            let known = found.as_ref().map_or(0, |found| found.log.entries.len());
            assert_eq!(known as u64, life * 5);
            let mut layout = recover::layout(identity, config, found.as_ref());
            for i in 0..5 {
                let batch = Lsn(writer.last().0 + 1);
                let data = vec![7; 9000].into();
                let index = LogIndex(life * 5 + i + 1);
                let entry = Entry { index, term: Term(1), kind: EntryKind::Normal, data };
                let frame =
                    Frame { kind: FrameKind::Ready, hard: None, snapshot: None, entries: vec![entry] };
                let mut bytes = BytesMut::new();
                writer.push(&frame, batch, &mut bytes);
                for op in layout.append(&bytes.freeze(), writer.last()) {
                    disk.perform_now(&op).expect("there is room");
                }
            }
        }
    }
}
