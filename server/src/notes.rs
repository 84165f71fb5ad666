//! What an operator reads: the node's notes and the shell's warnings, in etcd's words.
//!
//! Source: features.md section 3.6; scripts and tests wait for these texts.

use std::time::Duration;

use holdfast_core::boundary::Note;
use holdfast_net::gate::Identity;
use holdfast_net::peer::PeerNote;
use tracing::{debug, error, info, warn};

/// Writes a note as a log line.
pub fn write(note: &Note, identity: &Identity) {
    let id = identity.member_id;
    match note {
        Note::BecameLeader { term } => {
            info!("{id:x} became leader at term {term}");
        }
        Note::LostLeader { term } => {
            info!("{id:x} became follower at term {term}");
        }
        Note::LeaderChanged { before, leader, term } => match (before, leader) {
            (None, Some(leader)) => info!("raft.node: {id:x} elected leader {leader:x} at term {term}"),
            (Some(before), Some(leader)) => {
                info!("raft.node: {id:x} changed leader from {before:x} to {leader:x} at term {term}");
            }
            (Some(before), None) => info!("raft.node: {id:x} lost leader {before:x} at term {term}"),
            (None, None) => {}
        },
        Note::PeerRefused { from, what } => {
            warn!("remote-peer-id" = format!("{from:x}"), "dropped a message from a peer: {what}");
        }
        Note::SnapshotSending { to, index } => {
            info!("snapshot-index" = index.0, "to" = format!("{to:x}"), "sending database snapshot")
        }
        Note::SnapshotReceiving { from, index } => info!(
            "incoming-snapshot-index" = index.0,
            "remote-snapshot-sender-id" = format!("{from:x}"),
            "receiving database snapshot"
        ),
        Note::SnapshotInstalled { index } => info!("snapshot-index" = index.0, "applied snapshot"),
        Note::Removed => {
            warn!(
                "local-member-id" = format!("{id:x}"),
                "removed from the cluster; this member is about to stop, its data-dir must be removed"
            );
        }
        Note::Published { name } => info!(
            "local-member-id" = format!("{id:x}"),
            "local-member-attributes" = format!("{{Name:{name}}}"),
            "cluster-id" = format!("{:x}", identity.cluster_id),
            "published local member to cluster through raft"
        ),
        Note::StateVersion { version } => info!(
            "local-member-id" = format!("{id:x}"),
            "cluster-id" = format!("{:x}", identity.cluster_id),
            "state-version" = version,
            "updated the version of the cluster's state"
        ),
        Note::Compacted { revision } => info!("compact-revision" = revision, "finished scheduled compaction"),
        Note::AutoCompaction { revision, .. } => info!(revision, "starting auto compaction"),
        Note::CheckpointWritten { index } => info!("snapshot-index" = index.0, "saved snapshot"),
        Note::CheckpointFailed { index } => {
            warn!("snapshot-index" = index.0, "failed to save snapshot; it is tried again later");
        }
        Note::LeaseExpired { id } => {
            debug!("lease-id" = format!("{id:016x}"), "lease expired");
        }
    }
}

/// Writes what happened to a connection with another member.
/// Source: etcd 3.7.1 server/etcdserver/api/rafthttp/{peer_status,stream,transport}.go.
pub fn write_peer(note: &PeerNote, identity: &Identity) {
    let local = format!("{:x}", identity.member_id);
    match note {
        PeerNote::Connected { member, url, lane } => info!(
            "local-member-id" = local,
            "remote-peer-id" = format!("{member:x}"),
            url,
            stream = lane.name(),
            "peer became active"
        ),
        PeerNote::Lost { member, url, lane, why } => warn!(
            "local-member-id" = local,
            "remote-peer-id" = format!("{member:x}"),
            url,
            stream = lane.name(),
            error = why,
            "peer became inactive (message send to peer failed)"
        ),
        PeerNote::Refused { from, why } => warn!(
            "local-member-id" = local,
            "remote-peer-id" = format!("{from:x}"),
            error = why,
            "refused a connection of a peer"
        ),
        PeerNote::RefusedBy { member, url, why } => warn!(
            "local-member-id" = local,
            "remote-peer-id" = format!("{member:x}"),
            url,
            error = why,
            "a peer refused our connection"
        ),
        PeerNote::RealEtcd { member, url } => error!(
            "local-member-id" = local,
            "remote-peer-id" = format!("{member:x}"),
            url,
            "a real etcd answers at a peer URL: etcd and holdfast cannot be members of one cluster"
        ),
    }
}

/// A turn in which the node's work took longer than an operator wants to hear about.
pub fn slow_apply(took: Duration, expected: Duration) {
    warn!(
        took = format!("{took:?}"),
        "expected-duration" = format!("{expected:?}"),
        "apply request took too long"
    );
}

/// A flush of the log that took longer than a second.
pub fn slow_flush(took: Duration, expected: Duration) {
    warn!(took = format!("{took:?}"), "expected-duration" = format!("{expected:?}"), "slow fdatasync");
}

/// There is no room for a log segment; tried again in a second.
pub fn disk_full(what: &str, error: &std::io::Error) {
    warn!(%error, "no room for the log ({what}); writes wait until there is");
}
