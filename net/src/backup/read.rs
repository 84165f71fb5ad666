//! A snapshot file, ours or etcd's, as what it holds.

use std::collections::BTreeSet;

use holdfast_core::auth::AuthBackup;
use holdfast_core::backup::Backup;
use holdfast_core::base::{LogIndex, Term};
use holdfast_core::mvcc::Record;

use super::records::{self, RevisionKey};
use super::{bucket, name};
use crate::bolt::{Db, Fault, Item, Source};

/// What `snapshot status` shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// CRC-32C over the names of buckets, keys and values, in their order.
    pub hash: u32,
    /// Of the last record.
    pub revision: i64,
    /// Keys that are alive.
    pub keys: u64,
    /// Of the database, without a hash behind it.
    pub bytes: u64,
    /// Storage version; empty before etcd 3.6.
    pub version: String,
}

/// Why a snapshot cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is no database, or a damaged one.
    #[error(transparent)]
    Database(#[from] Fault),
    /// A record is not what etcd writes in its place.
    #[error("bucket {bucket:?}, key {key}: not what etcd writes there")]
    Record { bucket: String, key: String },
}

/// A snapshot that was read once from end to end.
#[derive(Debug)]
pub struct Snapshot<'a, S: ?Sized> {
    db: Db<'a, S>,
    contents: Contents,
    backup: Backup,
}

impl<'a, S: Source + ?Sized> Snapshot<'a, S> {
    /// Reads everything, and keeps all but history.
    pub fn read(source: &'a S) -> Result<Snapshot<'a, S>, ReadError> {
        let db = Db::open(source)?;
        let mut reading = Reading::default();
        let mut bucket = String::new();
        db.for_each::<ReadError>(&mut |item| match item {
            Item::Bucket(name) => {
                reading.hash(name);
                bucket = String::from_utf8_lossy(name).into_owned();
                Ok(())
            }
            Item::Pair(key, value) => {
                reading.hash(key);
                reading.hash(value);
                reading.take(&bucket, key, value).ok_or_else(|| record_error(&bucket, key))
            }
        })?;
        let (mut contents, backup) = reading.finish();
        contents.bytes = db.bytes();
        Ok(Snapshot { db, contents, backup })
    }

    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// All but history; its members are those of the cluster that it was taken from.
    pub fn backup(&self) -> &Backup {
        &self.backup
    }

    /// Visits history in order, without what marks a raised revision.
    pub fn for_each_record<E: From<ReadError>>(
        &self,
        visit: &mut dyn FnMut(Record) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut is_history = false;
        self.db
            .for_each::<Wrapped<E>>(&mut |item| {
                match item {
                    Item::Bucket(name) => is_history = name == bucket::KEY.as_bytes(),
                    Item::Pair(key, value) if is_history => {
                        let record = RevisionKey::read(key).and_then(|key| records::read_history(key, value));
                        let record = record.ok_or_else(|| Wrapped(record_error(bucket::KEY, key).into()))?;
                        if !record.key.is_empty() {
                            visit(record).map_err(Wrapped)?;
                        }
                    }
                    Item::Pair(..) => {}
                }
                Ok(())
            })
            .map_err(|Wrapped(error)| error)
    }
}

/// An error of the visitor's, on its way through the database.
struct Wrapped<E>(E);

impl<E: From<ReadError>> From<Fault> for Wrapped<E> {
    fn from(fault: Fault) -> Wrapped<E> {
        Wrapped(ReadError::Database(fault).into())
    }
}

fn record_error(bucket: &str, key: &[u8]) -> ReadError {
    ReadError::Record { bucket: bucket.to_owned(), key: format!("{:?}", bytes::Bytes::copy_from_slice(key)) }
}

/// What was read so far.
#[derive(Default)]
struct Reading {
    contents: Contents,
    backup: Backup,
    auth: AuthBackup,
    alive: BTreeSet<Box<[u8]>>,
    /// What a compaction was begun at; it may not have ended.
    compact_revision: i64,
}

impl Reading {
    fn hash(&mut self, bytes: &[u8]) {
        self.contents.hash = crc32c::crc32c_append(self.contents.hash, bytes);
    }

    /// `None`: the record is not what etcd writes. What is in other buckets is passed over.
    fn take(&mut self, in_bucket: &str, key: &[u8], value: &[u8]) -> Option<()> {
        let backup = &mut self.backup;
        match in_bucket {
            bucket::ALARM => backup.alarms.push(records::read_alarm(key)?),
            bucket::AUTH => match std::str::from_utf8(key) {
                Ok(name::AUTH_ENABLED) => self.auth.is_enabled = value == [1],
                Ok(name::AUTH_REVISION) => self.auth.revision = number(value)?,
                _ => {}
            },
            bucket::AUTH_ROLES => self.auth.roles.push(records::read_role(value)?),
            bucket::AUTH_USERS => self.auth.users.push(records::read_user(value)?),
            bucket::KEY => self.take_history(key, value)?,
            bucket::LEASE => backup.leases.push(records::read_lease(value)?),
            bucket::MEMBERS => backup.members.push(records::read_member(value)?),
            bucket::META => match std::str::from_utf8(key) {
                Ok(name::CONSISTENT_INDEX) => backup.index = LogIndex(number(value)?),
                Ok(name::TERM) => backup.term = Term(number(value)?),
                Ok(name::FINISHED_COMPACT_REVISION | name::SCHEDULED_COMPACT_REVISION) => {
                    self.compact_revision = self.compact_revision.max(records::read_revision(value)?.0);
                }
                Ok(name::STORAGE_VERSION) => {
                    self.contents.version = String::from_utf8(value.to_vec()).ok()?;
                }
                _ => {}
            },
            _ => {}
        }
        Some(())
    }

    fn take_history(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let key = RevisionKey::read(key)?;
        let record = records::read_history(key, value)?;
        self.contents.revision = key.main;
        match key.is_tombstone {
            true => self.alive.remove(&record.key[..]),
            false => self.alive.insert((&record.key[..]).into()),
        };
        Some(())
    }

    fn finish(self) -> (Contents, Backup) {
        let Reading { mut contents, mut backup, auth, alive, compact_revision } = self;
        contents.keys = alive.len() as u64;
        backup.revision = contents.revision.max(compact_revision).max(1);
        backup.compact_revision = if compact_revision > 0 { compact_revision } else { -1 };
        let is_fresh =
            !auth.is_enabled && auth.users.is_empty() && auth.roles.is_empty() && auth.revision <= 1;
        backup.auth = (!is_fresh).then_some(auth);
        (contents, backup)
    }
}

fn number(value: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(value.try_into().ok()?))
}
