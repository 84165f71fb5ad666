//! A snapshot for one client: asked of the node, written to a file without a name, sent and forgotten.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, stream};
use holdfast_core::backup::{Backup, HistoryAsk};
use holdfast_core::mvcc::Record;
use holdfast_core::request::{Credentials, Request, Response};
use holdfast_core::status;
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::spawn_blocking;
use tonic::Status;

use super::write::write;
use crate::gate::Gate;
use crate::proto::etcdserverpb as pb;
use crate::service::{STORAGE_VERSION, mismatched, refusal};

/// Snapshots made and sent at the same time; each takes the disk space of all data.
const AT_ONCE_MAX: usize = 4;

/// Times that a snapshot is begun before compactions that come between are given as the reason.
const ATTEMPTS_MAX: u32 = 5;

/// Bytes of the file in one message. Source: etcd 3.7.1 maintenance.go (snapshotSendBufferSize).
const MESSAGE_BYTES: usize = 32 * 1024;

/// Messages that wait for a client, and pieces of history that wait for the disk.
const WAITING_MAX: usize = 4;

/// Makes snapshots; clones share the bound on them.
#[derive(Clone, Debug)]
pub struct Snapshots {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Where files without a name are made.
    directory: PathBuf,
    places: Arc<Semaphore>,
}

/// The pieces of a snapshot: the file, then its hash.
pub type SnapshotStream = Pin<Box<dyn Stream<Item = Result<pb::SnapshotResponse, Status>> + Send>>;

impl Snapshots {
    /// With files in `directory`, on whose disk there must be room for them.
    pub fn new(directory: PathBuf) -> Snapshots {
        let places = Arc::new(Semaphore::new(AT_ONCE_MAX));
        Snapshots { shared: Arc::new(Shared { directory, places }) }
    }

    /// Makes a snapshot; it is sent as the stream is read. Errors: the node's refusals, too many at once, a disk
    /// that cannot take it.
    pub async fn begin(&self, gate: &Gate, credentials: Credentials) -> Result<SnapshotStream, Status> {
        let place = self.shared.places.clone().try_acquire_owned();
        let place = place.map_err(|_| refusal(status::Status::TooManyRequests))?;
        let mut attempts = 1;
        let (file, bytes) = loop {
            match self.make(gate, &credentials).await {
                Err(Unmade::Refused(status::Status::Compacted)) if attempts < ATTEMPTS_MAX => attempts += 1,
                Err(Unmade::Refused(status)) => return Err(refusal(status)),
                Err(Unmade::Disk(error)) => {
                    tracing::warn!(%error, "failed to write a snapshot");
                    return Err(Status::internal(format!("cannot write the snapshot: {error}")));
                }
                Ok(made) => break made,
            }
        };
        tracing::info!(
            "total-bytes" = bytes,
            "storage-version" = STORAGE_VERSION,
            "sending database snapshot to client"
        );
        let (to_client, mut messages) = mpsc::channel(WAITING_MAX);
        spawn_blocking(move || send(file, bytes, &to_client, place));
        Ok(Box::pin(stream::poll_fn(move |cx| messages.poll_recv(cx))))
    }

    /// The whole file, ready to be read from its beginning, and its length.
    async fn make(&self, gate: &Gate, credentials: &Credentials) -> Result<(File, u64), Unmade> {
        let backup = match gate.call(credentials.clone(), Request::Backup).await? {
            Response::Backup { backup, .. } => backup,
            other => mismatched("Snapshot", &other),
        };
        let (to_disk, pieces) = mpsc::channel(WAITING_MAX);
        let (directory, mut ask) = (self.shared.directory.clone(), HistoryAsk::first(&backup));
        let writing = spawn_blocking(move || write_file(directory, &backup, pieces));
        loop {
            let piece = match gate.call(credentials.clone(), Request::BackupHistory(ask)).await? {
                Response::BackupHistory(piece) => piece,
                other => mismatched("Snapshot", &other),
            };
            // A disk that is full takes no more pieces, and says so below.
            let is_taken = to_disk.send(piece.records).await.is_ok();
            match piece.next.filter(|_| is_taken) {
                Some(next) => ask.from = next,
                None => break,
            }
        }
        drop(to_disk);
        let written = writing.await.map_err(io::Error::other)?;
        Ok(written?)
    }
}

/// Why there is no snapshot.
enum Unmade {
    Refused(status::Status),
    Disk(io::Error),
}

impl From<status::Status> for Unmade {
    fn from(status: status::Status) -> Unmade {
        Unmade::Refused(status)
    }
}

impl From<io::Error> for Unmade {
    fn from(error: io::Error) -> Unmade {
        Unmade::Disk(error)
    }
}

/// Writes a file that nobody else can open. If the asker gives up, what comes out is not looked at.
fn write_file(
    directory: PathBuf,
    backup: &Backup,
    mut pieces: mpsc::Receiver<Vec<Record>>,
) -> io::Result<(File, u64)> {
    let file = BufWriter::with_capacity(256 * 1024, tempfile::tempfile_in(directory)?);
    let history = std::iter::from_fn(|| pieces.blocking_recv());
    let (file, bytes) = write(backup, history, file)?;
    let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.rewind()?;
    Ok((file, bytes))
}

/// Sends a file to a client until it is sent, or the client is gone.
fn send(
    mut file: File,
    bytes: u64,
    client: &mpsc::Sender<Result<pb::SnapshotResponse, Status>>,
    _place: OwnedSemaphorePermit,
) {
    let message = |blob: Bytes, remaining_bytes| pb::SnapshotResponse {
        header: None,
        remaining_bytes,
        blob,
        version: STORAGE_VERSION.to_owned(),
    };
    let (mut left, mut hash) = (bytes, Sha256::new());
    while left > 0 {
        let mut blob = vec![0; left.min(MESSAGE_BYTES as u64) as usize];
        if let Err(error) = file.read_exact(&mut blob) {
            tracing::warn!(%error, "failed to read a snapshot back");
            client.blocking_send(Err(Status::internal(format!("cannot read the snapshot: {error}")))).ok();
            return;
        }
        left -= blob.len() as u64;
        hash.update(&blob);
        if client.blocking_send(Ok(message(blob.into(), left))).is_err() {
            tracing::info!("the client of a snapshot is gone");
            return;
        }
    }
    let hash = Bytes::copy_from_slice(&hash.finalize());
    if client.blocking_send(Ok(message(hash, 0))).is_ok() {
        tracing::info!("total-bytes" = bytes, "successfully sent database snapshot to client");
    }
}
