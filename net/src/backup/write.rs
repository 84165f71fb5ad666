//! A backup as the buckets of etcd's database.

use std::io::{self, Seek, Write};

use holdfast_core::auth::AuthBackup;
use holdfast_core::backup::Backup;
use holdfast_core::mvcc::Record;

use super::{bucket, name, records};
use crate::bolt::Writer;
use crate::service::STORAGE_VERSION;

/// Writes `backup` with its history, which comes in pieces. What it was written to, and its length in bytes.
pub fn write<W: Write + Seek>(
    backup: &Backup,
    history: impl Iterator<Item = Vec<Record>>,
    out: W,
) -> io::Result<(W, u64)> {
    let mut to = Writer::new(out)?;
    write_pairs(
        &mut to,
        bucket::ALARM,
        backup.alarms.iter().map(|(member, alarm)| (records::alarm(*member, *alarm), Vec::new())),
    )?;
    write_auth(&mut to, backup.auth.as_ref())?;
    to.bucket(bucket::CLUSTER.as_bytes())?;
    to.put(name::CLUSTER_VERSION.as_bytes(), STORAGE_VERSION.as_bytes())?;
    to.bucket(bucket::KEY.as_bytes())?;
    for piece in history {
        for record in &piece {
            let (key, value) = records::history(record);
            to.put(&key, &value)?;
        }
    }
    write_pairs(&mut to, bucket::LEASE, backup.leases.iter().map(records::lease))?;
    let members =
        backup.members.iter().map(|member| (records::member_key(member.id), records::member(member)));
    write_pairs(&mut to, bucket::MEMBERS, members)?;
    let removed = backup.removed.iter().map(|id| (records::member_key(*id), b"removed".to_vec()));
    write_pairs(&mut to, bucket::MEMBERS_REMOVED, removed)?;
    write_meta(&mut to, backup)?;
    to.finish()
}

/// Writes a bucket; pairs come in any order.
fn write_pairs<W: Write + Seek>(
    to: &mut Writer<W>,
    bucket: &str,
    pairs: impl Iterator<Item = (Vec<u8>, Vec<u8>)>,
) -> io::Result<()> {
    to.bucket(bucket.as_bytes())?;
    let mut pairs: Vec<_> = pairs.collect();
    pairs.sort();
    pairs.iter().try_for_each(|(key, value)| to.put(key, value))
}

/// The buckets are there even if nothing is in them.
fn write_auth<W: Write + Seek>(to: &mut Writer<W>, auth: Option<&AuthBackup>) -> io::Result<()> {
    to.bucket(bucket::AUTH.as_bytes())?;
    if let Some(auth) = auth {
        to.put(name::AUTH_ENABLED.as_bytes(), &[u8::from(auth.is_enabled)])?;
        to.put(name::AUTH_REVISION.as_bytes(), &auth.revision.to_be_bytes())?;
    }
    let roles = auth.into_iter().flat_map(|auth| &auth.roles);
    let roles = roles.map(|(role, granted)| (role.clone().into_bytes(), records::role(role, granted)));
    write_pairs(to, bucket::AUTH_ROLES, roles)?;
    let users = auth.into_iter().flat_map(|auth| &auth.users);
    let users = users.map(|user| (user.name.clone().into_bytes(), records::user(user)));
    write_pairs(to, bucket::AUTH_USERS, users)
}

fn write_meta<W: Write + Seek>(to: &mut Writer<W>, backup: &Backup) -> io::Result<()> {
    to.bucket(bucket::META.as_bytes())?;
    to.put(name::CONF_STATE.as_bytes(), &records::conf_state(backup.members.iter()))?;
    to.put(name::CONSISTENT_INDEX.as_bytes(), &backup.index.0.to_be_bytes())?;
    if backup.compact_revision > 0 {
        let compacted = records::revision(backup.compact_revision, 0);
        to.put(name::FINISHED_COMPACT_REVISION.as_bytes(), &compacted)?;
        to.put(name::SCHEDULED_COMPACT_REVISION.as_bytes(), &compacted)?;
    }
    to.put(name::STORAGE_VERSION.as_bytes(), STORAGE_VERSION.as_bytes())?;
    to.put(name::TERM.as_bytes(), &backup.term.0.to_be_bytes())
}
