//! One member, put together: lanes around the node, and how it ends.

use std::io;
use std::time::Duration;

use holdfast_core::boundary::Limits;
use holdfast_core::wal::Identity;
use holdfast_net::gate::{self, Gate};
use tokio::sync::mpsc;
use tokio::time::Instant as Clock;

use crate::boot::{Opened, StartError, open};
use crate::config::ServerConfig;
use crate::core_loop::{CoreLoop, Death, Event, Parts};
use crate::disk::Disk;
use crate::disk::checkpoint_writer::CheckpointWriter;
use crate::disk::log_writer::{LogWriter, make_spares};
use crate::lane::{self, Lane};
use crate::metrics::Metrics;

/// A running node: clients reach it by the gate.
pub struct Member {
    pub gate: Gate,
    pub identity: Identity,
    pub metrics: Metrics,
    pub events: mpsc::UnboundedSender<Event>,
    pub core: Lane<Result<(), Death>>,
    /// Resolves when the member has published itself.
    pub published: tokio::sync::oneshot::Receiver<()>,
}

/// Versions that labels and endpoints name.
pub const CLUSTER_VERSION: &str = "3.7.0";

/// Opens the node on `disk` and starts its lanes.
/// Errors: the directory or the flags are refused; nothing was changed.
pub fn start<D: Disk>(
    config: &ServerConfig,
    disk: D,
    limits: Limits,
    seed: u64,
) -> Result<Member, StartError> {
    let Opened { node, identity, layout, checkpoints } = open(config, &disk, limits, seed)?;
    let (gate, inbox) = Gate::new(gate::Identity {
        cluster_id: identity.cluster_id,
        member_id: identity.member_id,
        request_bytes_max: u32::try_from(config.max_request_bytes).unwrap_or(u32::MAX),
        election_timeout_ms: u64::try_from(config.election_timeout.as_millis()).unwrap_or(u64::MAX),
    });
    let metrics = Metrics::new(crate::metrics::Identity {
        member_id: identity.member_id.0,
        extensive: false,
        server_version: crate::config::ETCD_VERSION,
        cluster_version: "3.7",
    });
    metrics.store.quota_bytes.set(config.quota_backend_bytes.unwrap_or(0) as f64);
    let (events, happened) = mpsc::unbounded_channel();
    let (log, log_work) = mpsc::unbounded_channel();
    let (steps, checkpoint_steps) = mpsc::unbounded_channel();
    let (spares, spares_asked) = mpsc::unbounded_channel();
    let (publish, published) = tokio::sync::oneshot::channel();
    let writer = LogWriter {
        disk: disk.clone(),
        layout,
        work: log_work,
        events: events.clone(),
        spares,
        metrics: metrics.disk.clone(),
        spare_at: Clock::now(),
    };
    let checkpointer = CheckpointWriter {
        disk: disk.clone(),
        checkpoints,
        steps: checkpoint_steps,
        events: events.clone(),
        metrics: metrics.disk.clone(),
    };
    let spare_log = log.downgrade();
    let parts = Parts {
        gate: gate.clone(),
        inbox,
        events: happened,
        log,
        checkpoints: steps,
        metrics: metrics.clone(),
        began: Clock::now(),
        tick: config.heartbeat_interval,
        slow_apply: config.warning_apply_duration,
        publish: Some(publish),
    };
    let lanes = |e: io::Error| StartError::Bootstrap(format!("cannot start a thread: {e}"));
    lane::start("log", move || writer.run()).map_err(lanes)?;
    lane::start("spares", move || make_spares(disk, spares_asked, spare_log)).map_err(lanes)?;
    lane::start("checkpoint", move || checkpointer.run()).map_err(lanes)?;
    let core = lane::start("core", move || CoreLoop::new(node, parts).run()).map_err(lanes)?;
    Ok(Member { gate, identity, metrics, events, core, published })
}

/// TO-1: how long health reads may take.
pub fn request_timeout(config: &ServerConfig) -> Duration {
    Duration::from_secs(5) + 2 * config.election_timeout
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
