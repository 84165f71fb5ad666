//! The data directory: made, locked for one process, and refused if it is not ours.
//!
//! `DIR/member/` (mode 0700) holds `lock`, `wal/` and `ckpt/`.
//! A directory that etcd itself wrote is recognised before anything in it is touched.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use holdfast_core::{checkpoint, wal};
use thiserror::Error;

/// Why a data directory cannot be used; each is one line for the operator.
#[derive(Debug, Error)]
pub enum Refusal {
    #[error(
        "{} holds the data of etcd ({} was found) and is left untouched; to take it over, run etcd on it, save it \
         with `etcdctl snapshot save` and make another --data-dir of that with `holdfastutl snapshot restore`, or \
         copy it to a running holdfast with `etcdctl make-mirror`", dir.display(), found.display()
    )]
    RealEtcd { dir: PathBuf, found: PathBuf },
    #[error("{} is in use by another process (its lock is held)", dir.display())]
    Locked { dir: PathBuf },
    #[error("cannot {what} {}: {error}", path.display())]
    World { what: &'static str, path: PathBuf, error: io::Error },
}

/// The open data directory of this process.
/// Invariant: while it lives, no other process can open the same one.
#[derive(Debug)]
pub struct DataDir {
    /// `DIR/member`.
    pub member: PathBuf,
    /// Where log segments are.
    pub wal: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes what is missing below `dir`, and takes the lock.
    ///
    /// Errors: the directory of a real etcd, another process, or the file system's own; nothing of
    /// another's making is changed.
    pub fn open(dir: &Path) -> Result<DataDir, Refusal> {
        let member = dir.join("member");
        let wal = member.join(wal::segment::DIR);
        let checkpoints = member.join(checkpoint::files::DIR);
        check_not_etcd(dir, &wal)?;
        for path in [&member, &wal, &checkpoints] {
            make_private(path)?;
        }
        let lock = take_lock(dir, &member.join("lock"))?;
        for path in [&wal, &checkpoints] {
            check_writable(path)?;
        }
        for path in [dir, &member] {
            flush_directory(path)?;
        }
        Ok(DataDir { member, wal, _lock: lock })
    }
}

/// Refuses a directory in which etcd keeps a backend or a log.
/// Source: etcd server/storage/datadir: `member/snap/db`, and `member/wal/<seq>-<index>.wal` in 16 hex digits.
fn check_not_etcd(dir: &Path, wal: &Path) -> Result<(), Refusal> {
    let refuse = |found: PathBuf| Err(Refusal::RealEtcd { dir: dir.to_path_buf(), found });
    let snap = dir.join("member").join("snap");
    if snap.exists() {
        return refuse(snap);
    }
    let entries = match fs::read_dir(wal) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Refusal::World { what: "read directory", path: wal.to_path_buf(), error }),
    };
    for entry in entries {
        let entry = entry.map_err(|error| Refusal::World {
            what: "read directory",
            path: wal.to_path_buf(),
            error,
        })?;
        if is_etcd_segment(&entry.file_name().to_string_lossy()) {
            return refuse(entry.path());
        }
    }
    Ok(())
}

/// Whether `name` is what etcd calls a log segment: two numbers of 16 hex digits, or its spare `N.tmp`.
fn is_etcd_segment(name: &str) -> bool {
    let Some(stem) = name.strip_suffix(".wal") else {
        return false;
    };
    let hex = |part: &str| part.len() == 16 && part.bytes().all(|b| b.is_ascii_hexdigit());
    stem.split_once('-').is_some_and(|(sequence, index)| hex(sequence) && hex(index))
}

fn make_private(path: &Path) -> Result<(), Refusal> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| Refusal::World {
        what: "create directory",
        path: path.to_path_buf(),
        error,
    })
}

fn take_lock(dir: &Path, path: &Path) -> Result<File, Refusal> {
    let world = |what, error| Refusal::World { what, path: path.to_path_buf(), error };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|error| world("create", error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Refusal::Locked { dir: dir.to_path_buf() }),
        Err(TryLockError::Error(error)) => Err(world("lock", error)),
    }
}

/// Writes and removes a file, so that a read-only directory is named at start, not at the first segment.
fn check_writable(dir: &Path) -> Result<(), Refusal> {
    let path = dir.join(".touch");
    let world = |error| Refusal::World { what: "write in", path: dir.to_path_buf(), error };
    File::create(&path).map_err(world)?;
    fs::remove_file(&path).map_err(world)
}

/// Makes the names in a directory survive a power loss.
fn flush_directory(path: &Path) -> Result<(), Refusal> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(|error| Refusal::World {
        what: "flush directory",
        path: path.to_path_buf(),
        error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every path below `dir` with its length, sorted.
    fn listing(dir: &Path) -> Vec<(PathBuf, u64)> {
        let mut found = Vec::new();
        let mut open = vec![dir.to_path_buf()];
        while let Some(path) = open.pop() {
            for entry in fs::read_dir(&path).expect("the directory is ours") {
                let entry = entry.expect("the directory is ours");
                let meta = entry.metadata().expect("the file is ours");
                if meta.is_dir() {
                    open.push(entry.path());
                }
                found.push((entry.path(), if meta.is_dir() { 0 } else { meta.len() }));
            }
        }
        found.sort();
        found
    }

    #[test]
    fn directory_of_real_etcd_is_refused_and_untouched() {
        for file in ["member/snap/db", "member/wal/0000000000000000-0000000000000000.wal"] {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().expect("it has one")).expect("we may write there");
            fs::write(&path, b"bolt").expect("we may write there");
            let before = listing(dir.path());
            let refusal = DataDir::open(dir.path()).expect_err("etcd's data is there");
            assert!(matches!(refusal, Refusal::RealEtcd { .. }), "{refusal}");
            assert!(refusal.to_string().contains("snapshot restore"), "{refusal}");
            assert_eq!(listing(dir.path()), before);
        }
    }

    #[test]
    fn second_process_is_refused_until_the_first_is_gone() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let first = DataDir::open(dir.path()).expect("an empty directory");
        let refusal = DataDir::open(dir.path()).expect_err("the first one holds it");
        assert!(matches!(refusal, Refusal::Locked { .. }), "{refusal}");
        drop(first);
        DataDir::open(dir.path()).expect("the lock is free again");
    }

    #[test]
    fn what_is_made_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = dir.path().join("new");
        let opened = DataDir::open(&root).expect("an empty directory");
        for path in [&root, &opened.member, &opened.wal, &opened.member.join("ckpt")] {
            let mode = fs::metadata(path).expect("it was made").permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{}", path.display());
        }
    }

    #[test]
    fn path_that_is_a_file_is_one_clear_line() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = dir.path().join("file");
        fs::write(&root, b"").expect("we may write there");
        let refusal = DataDir::open(&root).expect_err("a file is no directory");
        assert!(!refusal.to_string().contains('\n'), "{refusal}");
        assert!(refusal.to_string().contains(&root.display().to_string()), "{refusal}");
    }
}
