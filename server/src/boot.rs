//! From a member directory and flags to an open node.
//!
//! A directory that holds a log says who the member is and the flags of the initial cluster are not looked at
//! (CL-21). Otherwise the member is one of a new cluster's, or asks an existing one who it is (`join`).

use std::io;

use holdfast_core::base::Instant;
use holdfast_core::boundary::Limits;
use holdfast_core::check::RequestLimits;
use holdfast_core::checkpoint::Checkpoints;
use holdfast_core::lease::{self, ttl_min_s};
use holdfast_core::members::Bootstrap;
use holdfast_core::node::{Boot, BootError, Config, Node, Start};
use holdfast_core::recover::{self, Found, RecoverError, Recovered};
use holdfast_core::request::Member;
use holdfast_core::state::STATE_VERSION;
use holdfast_core::wal::{Identity, Layout};
use holdfast_net::peer::Way;
use thiserror::Error;
use tracing::{info, warn};

use crate::config::url::join;
use crate::config::{ClusterState, ServerConfig, Url};
use crate::disk::Disk;
use crate::join::{self, Joined};
use crate::run::Host;

/// Why a member does not start; nothing in its directory was changed.
#[derive(Debug, Error)]
pub enum StartError {
    #[error("cannot list the data directory: {0}")]
    List(io::Error),
    #[error("the data directory is refused and left untouched: {0}")]
    Recover(RecoverError<io::Error>),
    #[error("{0}")]
    Bootstrap(String),
    #[error(transparent)]
    Boot(#[from] BootError),
}

/// A member that can take its first turn.
pub struct Opened {
    pub node: Node,
    pub identity: Identity,
    pub layout: Layout,
    pub checkpoints: Checkpoints,
    /// Members of the cluster that is joined.
    pub known: Vec<Member>,
}

/// Reads the host's directory and opens the node on it. Other members are asked by `way`.
pub async fn open<D: Disk>(
    config: &ServerConfig,
    host: &Host<D>,
    limits: Limits,
    way: &Way,
) -> Result<Opened, StartError> {
    let disk = &host.disk;
    let listing = disk.list().map_err(StartError::List)?;
    let recovered =
        Recovered::read(&listing, STATE_VERSION, |path, offset, len| disk.read(path, offset, len));
    let Recovered { found, checkpoints } = recovered.map_err(StartError::Recover)?;
    let layout_of = |identity, found| recover::layout(identity, host.layout, found);
    let (identity, layout, boot, known) = match found {
        Some(found) => {
            tell(&found);
            let (identity, layout) = (found.identity, layout_of(found.identity, Some(&found)));
            // The flags of the initial cluster count only while nothing of it is in the log.
            // A member that has lived before begins as what it was.
            let mut first = First { identity, start: Start::Join, known: Vec::new() };
            if found.is_bare() {
                first = first_start(config, way).await?;
                if first.identity != identity {
                    return Err(BootError::BootstrapChanged { member_id: identity.member_id }.into());
                }
            }
            let First { start, known, .. } = first;
            let boot = match config.force_new_cluster {
                true => Boot::ForceNewCluster(Box::new(found)),
                false => Boot::Existing(Box::new(found), start),
            };
            (identity, layout, boot, known)
        }
        None => {
            let First { identity, start, known } = first_start(config, way).await?;
            info!(
                "cluster-id" = format!("{:x}", identity.cluster_id),
                "local-member-id" = format!("{:x}", identity.member_id),
                "starting local member"
            );
            (identity, layout_of(identity, None), Boot::Fresh(start), known)
        }
    };
    let node = Node::open(node_config(config, limits, identity), boot, host.seed, Instant(0))?;
    Ok(Opened { node, identity, layout, checkpoints, known })
}

/// How a member's first life begins.
struct First {
    identity: Identity,
    start: Start,
    known: Vec<Member>,
}

/// Errors: flags that do not fit together or to the cluster, and a cluster that does not answer.
async fn first_start(config: &ServerConfig, way: &Way) -> Result<First, StartError> {
    let refused = StartError::Bootstrap;
    if config.initial_cluster_state == ClusterState::Existing {
        let Joined { identity, members } = join::join(config, way).await.map_err(refused)?;
        return Ok(First { identity, start: Start::Join, known: members });
    }
    let cluster = config.check_bootstrap().map_err(refused)?;
    let texts = |urls: &Vec<Url>| urls.iter().map(ToString::to_string).collect();
    let members = cluster.iter().map(|(name, urls)| (name.clone(), texts(urls))).collect();
    let token = config.initial_cluster_token.clone();
    let bootstrap = Bootstrap { token, members, name: config.name.clone() };
    let name = config.name.clone();
    let member_id = bootstrap.member_id().ok_or(BootError::NameNotInCluster { name })?;
    join::check_not_bootstrapped(config, &cluster, member_id, way).await.map_err(refused)?;
    let identity = Identity { cluster_id: bootstrap.cluster_id(), member_id };
    Ok(First { identity, start: Start::New(bootstrap), known: Vec::new() })
}

/// What was found, for the operator.
fn tell(found: &Found) {
    for (path, fault) in &found.skipped {
        warn!(path, %fault, "a snapshot does not verify; an older one or the log stands in for it");
    }
    if let Some(dropped) = found.dropped() {
        warn!(
            path = dropped.file,
            offset = dropped.offset,
            frame = dropped.lsn.0,
            "dropped the torn tail of the log; nothing in it was acknowledged"
        );
    }
    let snapshot_index = found.checkpoint.as_ref().map_or(0, |(_, index, _)| index.0);
    let last_index = found.log.entries.last().map_or(snapshot_index, |entry| entry.index.0);
    info!(
        "cluster-id" = format!("{:x}", found.identity.cluster_id),
        "local-member-id" = format!("{:x}", found.identity.member_id),
        "snapshot-index" = snapshot_index,
        "last-index" = last_index,
        "restarting local member"
    );
}

fn node_config(config: &ServerConfig, limits: Limits, identity: Identity) -> Config {
    let heartbeat_ns = nanos(config.heartbeat_interval);
    let election_ticks = config.election_ticks();
    Config {
        name: config.name.clone(),
        client_urls: config.advertise_client_urls.iter().map(ToString::to_string).collect(),
        heartbeat_ns,
        election_ticks,
        pre_vote: config.pre_vote,
        watch_progress_ns: nanos(config.watch_progress_notify_interval),
        auto_compaction: config.auto_compaction,
        lease_checkpoint_ns: config.lease_checkpoint.then_some(lease::CHECKPOINT_INTERVAL_NS),
        auth_token_ttl_ns: nanos(config.auth_token_ttl),
        state_version_max: STATE_VERSION,
        admit: holdfast_core::admit::AdmitConfig {
            limits: RequestLimits { txn_ops_max: u32::try_from(config.max_txn_ops).unwrap_or(u32::MAX) },
            request_bytes_max: usize::try_from(config.max_request_bytes).unwrap_or(usize::MAX),
            quota_bytes: config.quota_backend_bytes,
            lease_ttl_min_s: ttl_min_s(u64::from(election_ticks), heartbeat_ns),
            learners_max: config.max_learners,
            strict_reconfig: config.strict_reconfig_check,
        },
        limits,
        identity,
    }
}

fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The client URLs as etcd logs them.
pub fn advertised(config: &ServerConfig) -> String {
    join(&config.advertise_client_urls)
}
