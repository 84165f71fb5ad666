//! `snapshot`: one member's storage, as a file.
//!
//! Source: etcd 3.7.1 client/v3/snapshot/v3_snapshot.go.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use holdfast_net::proto::etcdserverpb as pb;
use tokio::time::Instant;

use crate::cli::given::Given;
use crate::cli::globals;
use crate::cli::spec::{Group, Spec};
use crate::client::{CallError, Client, Config};
use crate::exit::{Code, Exit, Outcome};
use crate::go::system::error_text;
use crate::go::{duration, humanize};
use crate::log;
use crate::output::print_line;

/// The last bytes of a snapshot are the SHA-256 of all before them; these come in whole blocks.
const SHA256_BYTES: u64 = 32;
const BLOCK_BYTES: u64 = 512;

const EXAMPLES: &str = "  # Save a snapshot to a file
  etcdctl snapshot save /backup/etcd-snapshot.db

  # Of another endpoint, with a certificate
  etcdctl --endpoints=https://10.0.0.1:2379 --cacert=ca.crt --cert=client.crt --key=client.key \\
    snapshot save /backup/etcd-snapshot.db";

pub static SPEC: Spec = Spec::holder("snapshot <subcommand>", "A member's storage as a file", &[&SAVE])
    .example(EXAMPLES)
    .group(Group::ClusterMaintenance);

static SAVE: Spec =
    Spec::leaf("save <filename>", "Saves a member's storage to a file", |given| Box::pin(save(given)))
        .example(EXAMPLES);

async fn save(given: &Given) -> Outcome {
    let words = given.os_words();
    let [path] = words.as_slice() else {
        return Err(Exit::arguments("snapshot save expects one argument <filename>"));
    };
    let path = PathBuf::from(path);
    let config = globals::config(given).await?;
    given.printer()?;
    if config.endpoints.len() != 1 {
        let all = config.endpoints.join(" ");
        return Err(interrupted(format!(
            "snapshot must be requested to one selected node, not multiple [{all}]"
        )));
    }
    // Snapshots may be large: they end in time only if the user says so.
    let deadline = given.is_set("command-timeout").then(|| given.deadline());
    let version = fetch(config, deadline, &path).await?;
    print_line(&format!("Snapshot saved at {}", path.display()))?;
    if version.is_empty() { Ok(()) } else { print_line(&format!("Server version {version}")) }
}

fn interrupted(text: impl std::fmt::Display) -> Exit {
    Exit::new(Code::Interrupted, text)
}

/// A file that is gone with this unless it is complete.
struct Part {
    path: PathBuf,
    file: File,
}

impl Part {
    fn create(path: PathBuf) -> Result<Part, Exit> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let file = file.map_err(|error| {
            let shown = path.display();
            interrupted(format!("could not open {shown} (open {shown}: {})", error_text(&error)))
        })?;
        Ok(Part { path, file })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // It has been renamed if all went well.
        fs::remove_file(&self.path).ok();
    }
}

/// Gives the version of the server whose storage it is.
async fn fetch(config: Config, deadline: Option<Instant>, path: &Path) -> Result<String, Exit> {
    let endpoint = config.endpoints[0].clone();
    let client = Client::new(config).await.map_err(|exit| Exit { code: Code::Interrupted as u8, ..exit })?;
    let client = match deadline {
        Some(deadline) => client.until(deadline),
        None => client,
    };
    let part = Part::create(part_path(path))?;
    let began = Instant::now();
    let mut stream = client.snapshot().await.map_err(interrupted)?;
    let pieces = stream::poll_fn(|context| stream.poll_next_unpin(context)).map_err(CallError::from);
    let received = client.bounded(receive(&part, pieces)).await;
    let Received { version, size } =
        received.map_err(|error| interrupted(format!("could not write snapshot: {error}")))??;
    keep(&part, path)?;
    let took = duration::format(began.elapsed());
    log::info(
        "fetched snapshot",
        &[("endpoint", &endpoint), ("size", &humanize::bytes(size)), ("took", &took)],
    );
    Ok(version)
}

fn part_path(path: &Path) -> PathBuf {
    let mut part_path = path.as_os_str().to_owned();
    part_path.push(".part");
    part_path.into()
}

#[derive(Debug, PartialEq, Eq)]
struct Received {
    /// Of the server whose storage it is; empty from servers before 3.6.
    version: String,
    size: u64,
}

/// Errors: the stream breaks, the disk is full, what came is no whole snapshot.
async fn receive(
    part: &Part,
    pieces: impl Stream<Item = Result<pb::SnapshotResponse, CallError>>,
) -> Result<Received, Exit> {
    let failed = |why: &str| interrupted(format!("could not write snapshot: {why}"));
    let (mut version, mut size) = (String::new(), 0);
    let show = crate::terminal::shows_progress();
    let mut pieces = std::pin::pin!(pieces);
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| failed(&error.to_string()))?;
        if size == 0 {
            version = piece.version;
        }
        (&part.file).write_all(&piece.blob).map_err(|error| failed(&error_text(&error)))?;
        size += piece.blob.len() as u64;
        if show {
            crate::terminal::progress(size, size + piece.remaining_bytes);
        }
    }
    if size % BLOCK_BYTES != SHA256_BYTES {
        return Err(interrupted(format!("sha256 checksum not found [bytes: {size}]")));
    }
    Ok(Received { version, size })
}

/// On the disk under its own name, whatever happens next.
fn keep(part: &Part, path: &Path) -> Outcome {
    part.file
        .sync_all()
        .map_err(|error| interrupted(format!("could not fsync snapshot: {}", error_text(&error))))?;
    fs::rename(&part.path, path).map_err(|error| {
        let (from, to, why) = (part.path.display(), path.display(), error_text(&error));
        interrupted(format!("could not rename {from} to {to} (rename {from} {to}: {why})"))
    })?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(|error| {
        interrupted(format!("could not fsync {}: {}", directory.display(), error_text(&error)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(bytes: usize) -> Result<pb::SnapshotResponse, CallError> {
        let (blob, version) = (vec![7; bytes].into(), "3.7.0".to_owned());
        Ok(pb::SnapshotResponse { blob, version, ..pb::SnapshotResponse::default() })
    }

    #[tokio::test]
    async fn what_is_no_whole_snapshot_leaves_no_file() {
        let lost = || Err(CallError::Own("lost".to_owned()));
        for (pieces, text) in [
            (vec![piece(512), piece(31)], "sha256 checksum not found [bytes: 543]"),
            (vec![], "sha256 checksum not found [bytes: 0]"),
            (vec![piece(512), lost()], "could not write snapshot: lost"),
        ] {
            let scratch = tempfile::tempdir().expect("a scratch directory");
            let path = scratch.path().join("s.db");
            let part = Part::create(part_path(&path)).expect("a new file");
            let refused = receive(&part, stream::iter(pieces)).await.expect_err("refused");
            assert_eq!((refused.code, refused.text.as_deref()), (5, Some(text)));
            drop(part);
            assert_eq!(fs::read_dir(scratch.path()).expect("readable").count(), 0);
        }
    }

    #[tokio::test]
    async fn a_whole_snapshot_gets_its_name_and_only_that() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let path = scratch.path().join("s.db");
        let part = Part::create(part_path(&path)).expect("a new file");
        let pieces = stream::iter([piece(1024), piece(32)]);
        let received = receive(&part, pieces).await.expect("whole");
        assert_eq!(received, Received { version: "3.7.0".to_owned(), size: 1056 });
        keep(&part, &path).expect("renamed");
        drop(part);
        assert_eq!(fs::read(&path).expect("there"), vec![7; 1056]);
        assert_eq!(fs::read_dir(scratch.path()).expect("readable").count(), 1);
    }
}
