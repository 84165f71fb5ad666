//! Each record of etcd's database, as bytes and read again.

use holdfast_core::auth::UserBackup;
use holdfast_core::base::{KeyValue, LeaseId, LogIndex, MemberId};
use holdfast_core::lease::Granted;
use holdfast_core::mvcc::Record;
use holdfast_core::request::{Alarm, Member, Permission, Secret};
use prost::Message;
use serde_json::{Value, json};

use crate::convert;
use crate::proto::{authpb, etcdserverpb as pb};
use crate::wire;

/// Bytes of a revision: main, `_`, sub; big endian.
const REVISION_BYTES: usize = 17;
/// Stands behind the revision of a tombstone.
const TOMBSTONE: u8 = b't';

/// `leasepb.Lease`, which no RPC has.
#[derive(Clone, PartialEq, Message)]
struct Lease {
    #[prost(int64, tag = "1")]
    id: i64,
    #[prost(int64, tag = "2")]
    ttl: i64,
    #[prost(int64, tag = "3")]
    remaining_ttl: i64,
}

/// A key of the key bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevisionKey {
    pub main: i64,
    pub sub: u32,
    pub is_tombstone: bool,
}

impl RevisionKey {
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = revision(self.main, self.sub);
        bytes.extend(self.is_tombstone.then_some(TOMBSTONE));
        bytes
    }

    /// `None`: none that etcd writes, or more changes in one revision than there can be.
    pub fn read(bytes: &[u8]) -> Option<RevisionKey> {
        let is_tombstone = match bytes.get(REVISION_BYTES..)? {
            [] => false,
            [TOMBSTONE] => true,
            _ => return None,
        };
        let (main, sub) = read_revision(&bytes[..REVISION_BYTES])?;
        Some(RevisionKey { main, sub, is_tombstone })
    }
}

/// A revision as the compacted ones are kept.
pub fn revision(main: i64, sub: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(REVISION_BYTES + 1);
    bytes.extend_from_slice(&main.to_be_bytes());
    bytes.push(b'_');
    bytes.extend_from_slice(&u64::from(sub).to_be_bytes());
    bytes
}

/// Main and sub revision.
pub fn read_revision(bytes: &[u8]) -> Option<(i64, u32)> {
    let (main, rest) = bytes.split_first_chunk::<8>()?;
    let sub = rest.strip_prefix(b"_")?.try_into().ok()?;
    Some((i64::from_be_bytes(*main), u32::try_from(u64::from_be_bytes(sub)).ok()?))
}

/// Key and value of a record of history.
pub fn history(record: &Record) -> (Vec<u8>, Vec<u8>) {
    let is_tombstone = record.is_tombstone();
    let key = RevisionKey { main: record.main, sub: record.sub, is_tombstone }.to_bytes();
    let kv = match is_tombstone {
        false => record.to_kv(),
        true => KeyValue { mod_revision: 0, ..record.to_kv() },
    };
    (key, wire::KeyValue(kv).encode_to_vec())
}

/// The record of a key and a value. Its key is empty where a restore of etcd has raised the revision.
pub fn read_history(key: RevisionKey, value: &[u8]) -> Option<Record> {
    let RevisionKey { main, sub, is_tombstone } = key;
    let kv = wire::KeyValue::decode(value).ok()?.0;
    let record = Record {
        main,
        sub,
        key: kv.key,
        value: kv.value,
        create: kv.create_revision,
        version: kv.version,
        lease: kv.lease,
    };
    Some(match is_tombstone {
        false => record,
        true => Record { value: bytes::Bytes::new(), create: 0, version: 0, lease: LeaseId(0), ..record },
    })
}

pub fn lease(lease: &Granted) -> (Vec<u8>, Vec<u8>) {
    let Granted { id, ttl_s: ttl, remaining_s: remaining_ttl, .. } = *lease;
    (id.0.to_be_bytes().to_vec(), Lease { id: id.0, ttl, remaining_ttl }.encode_to_vec())
}

pub fn read_lease(value: &[u8]) -> Option<Granted> {
    let Lease { id, ttl: ttl_s, remaining_ttl: remaining_s } = Lease::decode(value).ok()?;
    Some(Granted { id: LeaseId(id), ttl_s, remaining_s, granted: LogIndex(0) })
}

/// An alarm is all in its key.
pub fn alarm(member: MemberId, alarm: Alarm) -> Vec<u8> {
    let alarm = convert::alarm_number(alarm);
    pb::AlarmMember { member_id: member.0, alarm }.encode_to_vec()
}

pub fn read_alarm(key: &[u8]) -> Option<(MemberId, Alarm)> {
    let alarm = pb::AlarmMember::decode(key).ok()?;
    Some((MemberId(alarm.member_id), convert::alarm(alarm.alarm)?))
}

pub fn user(user: &UserBackup) -> Vec<u8> {
    let message = authpb::User {
        name: user.name.clone().into(),
        password: user.password_hash.0.clone(),
        roles: user.roles.iter().cloned().collect(),
        options: Some(authpb::UserAddOptions { no_password: user.no_password }),
    };
    message.encode_to_vec()
}

pub fn read_user(value: &[u8]) -> Option<UserBackup> {
    let user = authpb::User::decode(value).ok()?;
    Some(UserBackup {
        name: String::from_utf8(user.name.to_vec()).ok()?,
        password_hash: Secret(user.password),
        no_password: user.options.is_some_and(|options| options.no_password),
        roles: user.roles.into_iter().collect(),
    })
}

pub fn role(name: &str, permissions: &[Permission]) -> Vec<u8> {
    let key_permission = permissions.iter().cloned().map(convert::permission_message).collect();
    authpb::Role { name: name.to_owned().into(), key_permission }.encode_to_vec()
}

pub fn read_role(value: &[u8]) -> Option<(String, Vec<Permission>)> {
    let role = authpb::Role::decode(value).ok()?;
    let permissions = role.key_permission.into_iter().map(convert::permission).collect();
    Some((String::from_utf8(role.name.to_vec()).ok()?, permissions))
}

/// A member's id as a key.
pub fn member_key(id: MemberId) -> Vec<u8> {
    format!("{:x}", id.0).into_bytes()
}

/// Fields that are empty are left out, as Go does it.
pub fn member(member: &Member) -> Vec<u8> {
    let mut fields = json!({ "id": member.id.0, "peerURLs": member.peer_urls });
    if member.is_learner {
        fields["isLearner"] = json!(true);
    }
    if !member.name.is_empty() {
        fields["name"] = json!(member.name);
    }
    if !member.client_urls.is_empty() {
        fields["clientURLs"] = json!(member.client_urls);
    }
    fields.to_string().into_bytes()
}

pub fn read_member(value: &[u8]) -> Option<Member> {
    let fields: Value = serde_json::from_slice(value).ok()?;
    let urls = |name: &str| match &fields[name] {
        Value::Null => Some(Vec::new()),
        urls => urls.as_array()?.iter().map(|url| Some(url.as_str()?.to_owned())).collect(),
    };
    Some(Member {
        id: MemberId(fields["id"].as_u64()?),
        name: fields["name"].as_str().unwrap_or_default().to_owned(),
        peer_urls: urls("peerURLs")?,
        client_urls: urls("clientURLs")?,
        is_learner: fields["isLearner"].as_bool().unwrap_or_default(),
    })
}

/// Who votes and who learns, as raft's configuration.
pub fn conf_state<'a>(members: impl Iterator<Item = &'a Member>) -> Vec<u8> {
    let (learners, voters): (Vec<_>, Vec<_>) = members.partition(|member| member.is_learner);
    let ids = |members: Vec<&Member>| members.iter().map(|member| member.id.0).collect::<Vec<_>>();
    let mut fields = json!({ "voters": ids(voters), "auto_leave": false });
    if !learners.is_empty() {
        fields["learners"] = json!(ids(learners));
    }
    fields.to_string().into_bytes()
}
