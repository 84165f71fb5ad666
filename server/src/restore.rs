//! A data directory made from a snapshot: a checkpoint of the State in it, and a log that has no frame yet.
//!
//! The member that starts there belongs to a new cluster: ids come from the flags, members from `--initial-cluster`,
//! everything else from the snapshot. Each of the new members restores from the same one.
//!
//! Source: etcd 3.7.1 etcdutl/snapshot/v3_snapshot.go (Restore).

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use holdfast_core::backup::{Backup, Restore, RestoreError};
use holdfast_core::checkpoint::Checkpoints;
use holdfast_core::disk::DiskOp;
use holdfast_core::members::Bootstrap;
use holdfast_core::snapshot::SnapshotRun;
use holdfast_core::state::State;
use holdfast_core::wal::{Identity, Layout, LayoutConfig, Resume};
use holdfast_net::backup::{HASH_BYTES, ReadError, Snapshot};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::data_dir::{DataDir, Refusal};
use crate::disk::durable::FlushWay;
use crate::disk::{Disk, RealDisk};
use crate::logs::io_text;

/// Bytes of one step of a checkpoint.
const PIECE_BYTES_MAX: usize = 4 << 20;

/// What is made of what.
#[derive(Clone, Debug)]
pub struct Plan {
    pub snapshot: PathBuf,
    /// Empty, or not there.
    pub data_dir: PathBuf,
    /// The new cluster; its name is one of the members'.
    pub bootstrap: Bootstrap,
    pub skip_hash_check: bool,
    /// `--bump-revision`: added to the revision, all below which then counts as compacted. 0: nothing.
    pub bump_revision: u64,
}

/// Why nothing was restored; what had been made is gone again.
#[derive(Debug, Error)]
pub enum Failure {
    #[error("data-dir {0:?} not empty or could not be read")]
    NotEmpty(PathBuf),
    #[error("{what} {}: {}", path.display(), io_text(error))]
    File { what: &'static str, path: PathBuf, error: io::Error },
    #[error("snapshot missing hash but --skip-hash-check=false")]
    NoHash,
    #[error("expected sha256 {}, got {}", list(expected), list(got))]
    Hash { expected: Vec<u8>, got: Vec<u8> },
    #[error("{}: {error}", path.display())]
    Read { path: PathBuf, error: ReadError },
    #[error("{}: {}", path.display(), why.0)]
    Content { path: PathBuf, why: RestoreError },
    #[error("--bump-revision={0} goes beyond the last revision there is")]
    Bump(u64),
    #[error("couldn't find local name {0:?} in the initial cluster configuration")]
    NoName(String),
    #[error(transparent)]
    Directory(#[from] Refusal),
    #[error("cannot write in {}: {error}", path.display())]
    Write { path: PathBuf, error: io::Error },
}

/// Bytes as Go prints them.
fn list(bytes: &[u8]) -> String {
    format!("[{}]", bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(" "))
}

impl Plan {
    /// Reads the snapshot and makes the directory.
    pub async fn carry_out(&self) -> Result<(), Failure> {
        if !is_free(&self.data_dir) {
            return Err(Failure::NotEmpty(self.data_dir.clone()));
        }
        let bootstrap = &self.bootstrap;
        let name = || Failure::NoName(bootstrap.name.clone());
        let member_id = bootstrap.member_id().ok_or_else(name)?;
        let identity = Identity { cluster_id: bootstrap.cluster_id(), member_id };
        let file = |what| {
            let path = self.snapshot.clone();
            move |error| Failure::File { what, path, error }
        };
        let mut snapshot = File::open(&self.snapshot).map_err(file("open"))?;
        self.check_hash(&mut snapshot).map_err(|unfit| match unfit {
            Unfit::Failure(failure) => failure,
            Unfit::Io(error) => file("read")(error),
        })?;
        let state = self.read(&snapshot)?;
        let was_there = self.data_dir.exists();
        let written = self.write(&state, identity).await;
        if written.is_err() {
            // The failure is what the user must hear of, not what is left behind.
            let made = if was_there { self.data_dir.join("member") } else { self.data_dir.clone() };
            fs::remove_dir_all(made).ok();
        }
        written
    }

    /// The hash stands behind the database, whose length is one of whole sectors.
    fn check_hash(&self, snapshot: &mut File) -> Result<(), Unfit> {
        let bytes = snapshot.metadata()?.len();
        let has_hash = bytes % 512 == HASH_BYTES as u64;
        if self.skip_hash_check {
            return Ok(());
        }
        if !has_hash {
            return Err(Failure::NoHash.into());
        }
        let mut hash = Sha256::new();
        io::copy(&mut snapshot.take(bytes - HASH_BYTES as u64), &mut hash)?;
        let mut expected = vec![0; HASH_BYTES];
        snapshot.seek(SeekFrom::End(-(HASH_BYTES as i64)))?;
        snapshot.read_exact(&mut expected)?;
        let got = hash.finalize().to_vec();
        if expected == got { Ok(()) } else { Err(Failure::Hash { expected, got }.into()) }
    }

    /// The State in the snapshot, with the members of the new cluster.
    fn read(&self, file: &File) -> Result<State, Failure> {
        let path = || self.snapshot.clone();
        let read = |error| Failure::Read { path: path(), error };
        let content = |why| Failure::Content { path: path(), why };
        let snapshot = Snapshot::read(file).map_err(read)?;
        let backup = self.bumped(snapshot.backup().clone())?;
        let mut restore = Restore::begin(backup, self.bootstrap.members()).map_err(content)?;
        snapshot.for_each_record::<Unreadable>(&mut |record| Ok(restore.record(record)?)).map_err(
            |unreadable| match unreadable {
                Unreadable::Read(error) => read(error),
                Unreadable::Content(why) => content(why),
            },
        )?;
        Ok(restore.finish())
    }

    /// Clients that have seen later revisions than the snapshot's must not take new ones for those: the revision
    /// jumps, and what they ask from before is compacted.
    fn bumped(&self, backup: Backup) -> Result<Backup, Failure> {
        if self.bump_revision == 0 {
            return Ok(backup);
        }
        let bump = i64::try_from(self.bump_revision).ok();
        let revision =
            bump.and_then(|bump| backup.revision.checked_add(bump)).filter(|at| *at < i64::MAX / 2);
        let revision = revision.ok_or(Failure::Bump(self.bump_revision))?;
        Ok(Backup { revision, compact_revision: revision, ..backup })
    }

    /// A checkpoint, then the log: a directory with a log only is whole.
    async fn write(&self, state: &State, identity: Identity) -> Result<(), Failure> {
        let directory = DataDir::open(&self.data_dir)?;
        let failed = |error| Failure::Write { path: directory.member.clone(), error };
        let way = FlushWay::probe(&directory.wal).map_err(failed)?;
        let mut disk = RealDisk::new(&directory.member, way);
        let mut checkpoints = Checkpoints::new(Vec::new(), Vec::new());
        let mut run = SnapshotRun::begin(state, identity);
        while !run.is_finished() {
            let step = run.next_step(&state.kv, PIECE_BYTES_MAX);
            perform(&mut disk, checkpoints.plan(step)).await.map_err(failed)?;
        }
        let mut layout = Layout::new(identity, LayoutConfig::default(), Resume::default());
        perform(&mut disk, layout.begin()).await.map_err(failed)
    }
}

async fn perform(disk: &mut RealDisk, ops: Vec<DiskOp>) -> io::Result<()> {
    for op in ops {
        disk.perform(&op).await?;
    }
    Ok(())
}

/// Whether a directory may be filled.
fn is_free(path: &Path) -> bool {
    match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Why a file's hash cannot be believed.
enum Unfit {
    Failure(Failure),
    Io(io::Error),
}

impl From<Failure> for Unfit {
    fn from(failure: Failure) -> Unfit {
        Unfit::Failure(failure)
    }
}

impl From<io::Error> for Unfit {
    fn from(error: io::Error) -> Unfit {
        Unfit::Io(error)
    }
}

/// Why history ends early.
enum Unreadable {
    Read(ReadError),
    Content(RestoreError),
}

impl From<ReadError> for Unreadable {
    fn from(error: ReadError) -> Unreadable {
        Unreadable::Read(error)
    }
}

impl From<RestoreError> for Unreadable {
    fn from(why: RestoreError) -> Unreadable {
        Unreadable::Content(why)
    }
}
