//! The lane that writes the log: appends in order, each durable before it is reported; reclaim; and the
//! lane beside it that makes segments ahead of need.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use holdfast_core::base::Lsn;
use holdfast_core::disk::DiskOp;
use holdfast_core::wal::Layout;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Disk;
use crate::core_loop::Event;
use crate::metrics::DiskMetrics;
use crate::notes;

/// A flush that takes longer is worth a warning. Source: etcd server/storage/wal/wal.go.
const SLOW_FLUSH: Duration = Duration::from_secs(1);

/// Pause before a full disk is tried again.
const FULL_DISK_PAUSE: Duration = Duration::from_secs(1);

/// Pause after a spare segment could not be made.
const SPARE_PAUSE: Duration = Duration::from_secs(10);

/// What the core loop wants of the log.
#[derive(Debug)]
pub enum LogWork {
    Append {
        frames: Bytes,
        through: Lsn,
    },
    Reclaim {
        through: Lsn,
    },
    /// A spare segment was made, or could not be.
    Prepared {
        ok: bool,
    },
}

/// What a disk without room for a segment does to the one who needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FullDisk {
    Fails,
    Waits,
}

/// The log writer's parts.
pub struct LogWriter<D> {
    pub disk: D,
    pub layout: Layout,
    pub work: mpsc::UnboundedReceiver<LogWork>,
    pub events: mpsc::UnboundedSender<Event>,
    /// Operations that make a spare segment, for the lane beside.
    pub spares: mpsc::UnboundedSender<Vec<DiskOp>>,
    pub metrics: DiskMetrics,
    /// No spare segment is asked for before.
    pub spare_at: Instant,
}

impl<D: Disk> LogWriter<D> {
    /// Writes until the core loop is gone or the disk fails.
    pub async fn run(mut self) {
        if let Err(why) = self.write_all().await {
            // The loop may be gone already; then nobody waits for this line.
            self.events.send(Event::DiskFailed(why)).ok();
        }
    }

    async fn write_all(&mut self) -> Result<(), String> {
        let leftovers = self.layout.clean_up();
        self.perform(leftovers).await?;
        // A member that could not write its boot record serves nobody: a full disk is its end.
        let mut full = FullDisk::Fails;
        while let Some(work) = self.work.recv().await {
            match work {
                LogWork::Append { frames, through } => {
                    self.append(&frames, through, full).await?;
                    full = FullDisk::Waits;
                    self.events.send(Event::Persisted(through)).map_err(|_| "the core loop is gone")?;
                    if Instant::now() >= self.spare_at
                        && let Some(ops) = self.layout.prepare()
                    {
                        self.spares.send(ops).map_err(|_| "the lane of spare segments is gone")?;
                    }
                }
                LogWork::Reclaim { through } => {
                    let ops = self.layout.reclaim(through);
                    self.perform(ops).await?;
                }
                LogWork::Prepared { ok } => {
                    self.layout.prepared(ok);
                    if !ok {
                        self.spare_at = Instant::now() + SPARE_PAUSE;
                    }
                }
            }
        }
        Ok(())
    }

    async fn append(&mut self, frames: &Bytes, through: Lsn, full: FullDisk) -> Result<(), String> {
        let mut began = Instant::now();
        for op in self.layout.append(frames, through) {
            match &op {
                DiskOp::Create { .. } => {
                    self.create(&op, full).await?;
                    // The wait for a new segment is not a flush's.
                    began = Instant::now();
                }
                DiskOp::Write { bytes, .. } => {
                    self.perform_one(&op).await?;
                    self.metrics.wal_write_bytes.add(i64::try_from(bytes.len()).unwrap_or(i64::MAX));
                    self.metrics.wal_write_seconds.observe(began.elapsed().as_secs_f64());
                }
                op => self.perform_one(op).await?,
            }
        }
        let took = began.elapsed();
        self.metrics.wal_fsync_seconds.observe(took.as_secs_f64());
        if took > SLOW_FLUSH {
            notes::slow_flush(took, SLOW_FLUSH);
        }
        Ok(())
    }

    /// Makes a segment. On a disk that fills up it waits for room: nothing is acknowledged meanwhile, reads go
    /// on, and an operator who makes room need not restart anything.
    async fn create(&mut self, op: &DiskOp, full: FullDisk) -> Result<(), String> {
        loop {
            match self.disk.perform(op).await {
                Err(error) if is_disk_full(&error) && full == FullDisk::Waits => {
                    notes::disk_full(&describe(op), &error);
                    tokio::time::sleep(FULL_DISK_PAUSE).await;
                }
                Err(error) => return Err(cannot_write(op, &error)),
                Ok(()) => return Ok(()),
            }
        }
    }

    async fn perform(&mut self, ops: Vec<DiskOp>) -> Result<(), String> {
        for op in ops {
            self.perform_one(&op).await?;
        }
        Ok(())
    }

    async fn perform_one(&mut self, op: &DiskOp) -> Result<(), String> {
        self.disk.perform(op).await.map_err(|error| cannot_write(op, &error))
    }
}

fn cannot_write(op: &DiskOp, error: &io::Error) -> String {
    format!("cannot write the log: {}: {error}", describe(op))
}

fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Makes spare segments as asked, and says how it went. A failure is no harm: the next segment is made when
/// it is needed.
pub async fn make_spares<D: Disk>(
    mut disk: D,
    mut asked: mpsc::UnboundedReceiver<Vec<DiskOp>>,
    log: mpsc::WeakUnboundedSender<LogWork>,
) {
    while let Some(ops) = asked.recv().await {
        let mut ok = true;
        for op in &ops {
            if let Err(error) = disk.perform(op).await {
                tracing::warn!(%error, "cannot make a spare log segment: {}", describe(op));
                ok = false;
                break;
            }
        }
        if !ok && let Some(DiskOp::Create { file, .. }) = ops.first() {
            // Gives back its room; what stays is removed by the next life.
            disk.perform(&DiskOp::Remove { file: file.clone() }).await.ok();
        }
        // Not kept from ending by this lane, the log writer may be gone.
        let Some(log) = log.upgrade() else { return };
        log.send(LogWork::Prepared { ok }).ok();
    }
}

/// An operation in a few words, for the operator.
pub(super) fn describe(op: &DiskOp) -> String {
    match op {
        DiskOp::Create { file, len, .. } => format!("create {file} of {len} bytes"),
        DiskOp::Write { file, offset, bytes } => format!("write {} bytes to {file} at {offset}", bytes.len()),
        DiskOp::Sync { file } => format!("flush {file}"),
        DiskOp::Rename { from, to } => format!("rename {from} to {to}"),
        DiskOp::SyncDir { dir } => format!("flush directory {dir}"),
        DiskOp::Remove { file } => format!("remove {file}"),
    }
}
