//! Snapshots as etcd's clients save them: the buckets of etcd's database in a bbolt file, and its SHA-256 behind it.
//!
//! A file is made anew for each client from what the node says of its State, beside the data directory's own files
//! and without a name; it is sent when it is whole. So the node is asked for small pieces and nothing waits for
//! a slow client; what a snapshot costs is disk space for as long as it is sent.
//!
//! Source: etcd 3.7.1 server/storage/schema, server/etcdserver/api/v3rpc/maintenance.go (Snapshot).

#[cfg(not(madsim))]
mod read;
#[cfg(not(madsim))]
mod records;
#[cfg(not(madsim))]
mod write;

// The simulated world has no files.
#[cfg(madsim)]
mod simulated;
#[cfg(not(madsim))]
mod stream;

#[cfg(not(madsim))]
#[cfg(test)]
mod tests;

#[cfg(not(madsim))]
pub use read::{Contents, ReadError, Snapshot};
#[cfg(madsim)]
pub use simulated::{SnapshotStream, Snapshots};
#[cfg(not(madsim))]
pub use stream::{SnapshotStream, Snapshots};

/// Bytes of the hash behind a snapshot.
#[cfg(not(madsim))]
pub const HASH_BYTES: usize = 32;

/// The buckets of etcd's database, in the order of their names.
#[cfg(not(madsim))]
mod bucket {
    pub const ALARM: &str = "alarm";
    pub const AUTH: &str = "auth";
    pub const AUTH_ROLES: &str = "authRoles";
    pub const AUTH_USERS: &str = "authUsers";
    pub const CLUSTER: &str = "cluster";
    pub const KEY: &str = "key";
    pub const LEASE: &str = "lease";
    pub const MEMBERS: &str = "members";
    pub const MEMBERS_REMOVED: &str = "members_removed";
    pub const META: &str = "meta";
}

/// Keys in those buckets.
#[cfg(not(madsim))]
mod name {
    pub const AUTH_ENABLED: &str = "authEnabled";
    pub const AUTH_REVISION: &str = "authRevision";
    pub const CLUSTER_VERSION: &str = "clusterVersion";
    pub const CONF_STATE: &str = "confState";
    pub const CONSISTENT_INDEX: &str = "consistent_index";
    pub const FINISHED_COMPACT_REVISION: &str = "finishedCompactRev";
    pub const SCHEDULED_COMPACT_REVISION: &str = "scheduledCompactRev";
    pub const STORAGE_VERSION: &str = "storageVersion";
    pub const TERM: &str = "term";
}
