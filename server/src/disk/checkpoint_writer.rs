//! The lane that writes checkpoints, a step at a time.

use holdfast_core::boundary::CheckpointStep;
use holdfast_core::checkpoint::Checkpoints;
use holdfast_core::disk::DiskOp;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Disk;
use super::log_writer::describe;
use crate::core_loop::Event;
use crate::metrics::DiskMetrics;

/// The checkpoint writer's parts.
pub struct CheckpointWriter<D> {
    pub disk: D,
    pub checkpoints: Checkpoints,
    pub steps: mpsc::UnboundedReceiver<CheckpointStep>,
    pub events: mpsc::UnboundedSender<Event>,
    pub metrics: DiskMetrics,
}

impl<D: Disk> CheckpointWriter<D> {
    /// Writes until the core loop is gone. A failure (disk full) is reported and cleaned up after; the log
    /// stands in for the checkpoint meanwhile.
    pub async fn run(mut self) {
        for op in self.checkpoints.clean_up() {
            // What cannot be removed now is tried again by the next life.
            self.disk.perform(&op).await.ok();
        }
        let mut began = Instant::now();
        while let Some(step) = self.steps.recv().await {
            if matches!(step, CheckpointStep::Begin { .. }) {
                began = Instant::now();
            }
            let is_end = matches!(step, CheckpointStep::End { .. });
            let step_began = Instant::now();
            let ok = self.write(step).await;
            if ok && is_end {
                self.metrics.commit_seconds.observe(step_began.elapsed().as_secs_f64());
                self.metrics.snapshot_seconds.observe(began.elapsed().as_secs_f64());
            }
            if self.events.send(Event::Checkpointed { ok }).is_err() {
                return;
            }
        }
    }

    async fn write(&mut self, step: CheckpointStep) -> bool {
        let ops = self.checkpoints.plan(step);
        for op in &ops {
            if let Err(error) = self.disk.perform(op).await {
                tracing::warn!(%error, "cannot write a snapshot: {}", describe(op));
                self.give_up(&ops).await;
                return false;
            }
        }
        true
    }

    /// Removes the file that a failed step wrote to.
    async fn give_up(&mut self, failed: &[DiskOp]) {
        let mut ops = self.checkpoints.plan(CheckpointStep::Abort);
        if let Some(DiskOp::Create { file, .. } | DiskOp::Write { file, .. }) = failed.first() {
            ops.push(DiskOp::Remove { file: file.clone() });
        }
        for op in ops {
            // A leftover is removed by the next life.
            self.disk.perform(&op).await.ok();
        }
    }
}
