//! One member, put together: lanes around the node, and how it ends.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use holdfast_core::boundary::Limits;
use holdfast_core::request;
use holdfast_core::wal::Identity;
use holdfast_core::wal::LayoutConfig;
use holdfast_net::gate::{self, Gate};
use holdfast_net::peer::{Dial, PeerEvent, PeerIdentity, PeerService, Roster, Shared, Way};
use holdfast_net::tokens::SignedTokens;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant as Clock;

use crate::boot::{Opened, StartError, open};
use crate::clock::HostClock;
use crate::config::ServerConfig;
use crate::core_loop::{CoreLoop, Death, Event, Parts};
use crate::disk::Disk;
use crate::disk::checkpoint_writer::CheckpointWriter;
use crate::disk::log_writer::{LogWriter, make_spares};
use crate::door::PeerDoor;
use crate::http::Versions;
use crate::http_peer::PeerEndpoints;
use crate::lane::{self, Lane};
use crate::metrics::Metrics;
use crate::passwords::Passwords;
use crate::peers::{Peers, dial_all};

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

/// What a member stands on.
pub struct Host<D> {
    pub disk: D,
    pub clock: HostClock,
    /// Where other members come in.
    pub door: PeerDoor,
    /// Sizes of the log's segments.
    pub layout: LayoutConfig,
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// Who signs tokens; `None`: the node makes simple ones.
    pub tokens: Option<Arc<dyn SignedTokens>>,
}

/// Opens the node on the host's disk, starts its lanes and lets other members in.
/// Errors: the directory or the flags are refused; nothing was changed.
pub async fn start<D: Disk>(
    config: &ServerConfig,
    limits: Limits,
    host: Host<D>,
) -> Result<Member, StartError> {
    let Opened { node, identity, layout, checkpoints, known } =
        open(config, &host, limits, &host.door.way()).await?;
    let Host { disk, clock, door, tokens, .. } = host;
    let gate_identity = gate::Identity {
        cluster_id: identity.cluster_id,
        member_id: identity.member_id,
        request_bytes_max: u32::try_from(config.max_request_bytes).unwrap_or(u32::MAX),
        election_timeout_ms: u64::try_from(config.election_timeout.as_millis()).unwrap_or(u64::MAX),
        wall: clock.wall(),
    };
    let (gate, inbox) = Gate::with_tokens(gate_identity, tokens);
    let metrics = meters(config, identity);
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
    let (peers, outside) = introduce(config, identity, known, &metrics, door.way());
    let parts = Parts {
        gate: gate.clone(),
        inbox,
        events: happened,
        peers,
        peer_events: outside.events,
        log,
        checkpoints: steps,
        passwords: Passwords::start(config.bcrypt_cost, &events).map_err(no_thread)?,
        metrics: metrics.clone(),
        clock: clock.begin(),
        tick_ns: u64::try_from(config.heartbeat_interval.as_nanos()).unwrap_or(u64::MAX),
        slow_apply: config.warning_apply_duration,
        publish: Some(publish),
    };
    lane::start("log", move || writer.run()).map_err(no_thread)?;
    lane::start("spares", move || make_spares(disk, spares_asked, spare_log)).map_err(no_thread)?;
    lane::start("checkpoint", move || checkpointer.run()).map_err(no_thread)?;
    let (service, endpoints, peer_gate) = (outside.service, outside.endpoints, gate.clone());
    lane::start_with_sockets("peers", move || async move {
        tokio::join!(dial_all(outside.dials), door.open(service, endpoints, peer_gate));
    })
    .map_err(no_thread)?;
    let core = lane::start("core", move || CoreLoop::new(node, parts).run()).map_err(no_thread)?;
    Ok(Member { gate, identity, metrics, events, core, published })
}

fn meters(config: &ServerConfig, identity: Identity) -> Metrics {
    let metrics = Metrics::new(crate::metrics::Identity {
        member_id: identity.member_id.0,
        extensive: config.extensive_metrics,
        server_version: crate::config::ETCD_VERSION,
        cluster_version: "3.7",
        features: &config.feature_gates,
    });
    metrics.store.quota_bytes.set(config.quota_backend_bytes.unwrap_or(0) as f64);
    metrics
}

fn no_thread(error: io::Error) -> StartError {
    StartError::Bootstrap(format!("cannot start a thread: {error}"))
}

/// The other members' side of `Peers`.
struct Outside {
    service: PeerService,
    endpoints: PeerEndpoints,
    dials: mpsc::UnboundedReceiver<Dial>,
    events: mpsc::UnboundedReceiver<PeerEvent>,
}

/// The core loop's way to the other members, and what is to be done about it elsewhere.
fn introduce(
    config: &ServerConfig,
    identity: Identity,
    known: Vec<request::Member>,
    metrics: &Metrics,
    way: Way,
) -> (Peers, Outside) {
    let Identity { cluster_id, member_id } = identity;
    let peer_urls = config.initial_advertise_peer_urls.iter().map(ToString::to_string).collect();
    let (tell, events) = mpsc::unbounded_channel();
    let (dial, dials) = mpsc::unbounded_channel();
    let (publish, roster) = watch::channel(Roster { members: known.clone(), ..Roster::default() });
    let whoami = PeerIdentity { cluster_id, member_id, peer_urls };
    let shared = Shared::new(whoami, roster.clone(), tell, metrics.peers.clone(), way);
    let versions = Versions::of_cluster();
    let outside = Outside {
        service: PeerService::new(shared.clone()),
        endpoints: PeerEndpoints { roster, cluster_id, versions, knocks: Arc::default() },
        dials,
        events,
    };
    (Peers::new(shared, publish, dial, &known, metrics.clone()), outside)
}

/// TO-1: how long health reads may take.
pub fn request_timeout(config: &ServerConfig) -> Duration {
    Duration::from_secs(5) + 2 * config.election_timeout
}

#[cfg(all(test, not(madsim)))]
#[path = "run_tests.rs"]
mod tests;
