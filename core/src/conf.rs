//! Membership changes: what an entry of that kind says in our own bytes, and what it does when applied.
//!
//! Shape: format version, kind, header, the kind's body. The first entries of early clusters have an older
//! shape, format 1, which `decode` reads: id, peer URLs and the learner's flag. raft-rs never looks inside
//! (`Consensus::propose_conf`).
//!
//! Source: etcd 3.7.1 `server/etcdserver/api/membership/cluster.go` (ValidateConfigurationChange),
//! `server/etcdserver/server.go` (applyConfChange).

use bytes::{Bytes, BytesMut};
use raft::eraftpb::{ConfChange, ConfChangeType, ConfState};

use crate::base::MemberId;
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::command::{CommandHeader, RequestId, decode_header, encode_header};
use crate::members::Members;
use crate::request::{Header, Member, Response};
use crate::status::Status;

/// Version of the bytes. A member that meets a higher one halts.
const FORMAT: u8 = 2;

/// The older shape: an added member, without a header.
const FORMAT_WITHOUT_HEADER: u8 = 1;

/// An entry that changes the membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfCommand {
    /// Of the proposer; the default for what a new cluster's log begins with.
    pub header: CommandHeader,
    pub change: ConfChangeKind,
}

/// One step: raft never has more than one member's difference between two configurations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfChangeKind {
    /// A voter or a learner, not started yet. `learners_max`: the proposer's `--max-learners`.
    Add {
        member: Member,
        learners_max: u32,
    },
    Remove(MemberId),
    /// Name and client URLs stay (CL-9).
    UpdatePeerUrls {
        id: MemberId,
        peer_urls: Vec<String>,
    },
    /// Makes a voter of a learner.
    Promote(MemberId),
}

/// Kinds on disk; numbers are never reused.
mod kind {
    pub const ADD: u8 = 1;
    pub const REMOVE: u8 = 2;
    pub const UPDATE_PEER_URLS: u8 = 3;
    pub const PROMOTE: u8 = 4;
}

/// The configuration that raft has where these are the members.
pub fn conf_state(members: &Members) -> ConfState {
    let ids = |learners| members.iter().filter(move |m| m.is_learner == learners).map(|m| m.id.0);
    ConfState::from((ids(false).collect::<Vec<_>>(), ids(true).collect::<Vec<_>>()))
}

impl ConfCommand {
    /// An entry that a new cluster's log begins with: nobody proposed it and nobody waits for it.
    pub fn bootstrap(member: Member) -> ConfCommand {
        let change = ConfChangeKind::Add { member, learners_max: u32::MAX };
        ConfCommand { header: CommandHeader::default(), change }
    }

    /// Whether nobody proposed it: such an entry has no id that could have been seen before.
    pub fn is_bootstrap(&self) -> bool {
        self.header.id == RequestId::default()
    }

    pub fn encode(&self) -> Bytes {
        let mut buffer = BytesMut::with_capacity(128);
        let mut e = Encoder(&mut buffer);
        e.u8(FORMAT).u8(self.change.kind());
        encode_header(&mut e, &self.header);
        match &self.change {
            ConfChangeKind::Add { member, learners_max } => {
                e.u64(member.id.0).strs(&member.peer_urls).bool(member.is_learner).u32(*learners_max);
            }
            ConfChangeKind::Remove(id) | ConfChangeKind::Promote(id) => {
                e.u64(id.0);
            }
            ConfChangeKind::UpdatePeerUrls { id, peer_urls } => {
                e.u64(id.0).strs(peer_urls);
            }
        }
        buffer.freeze()
    }

    /// Reads both shapes. An unknown format or kind is an error: never skipped.
    pub fn decode(bytes: Bytes) -> Result<ConfCommand, DecodeError> {
        let mut d = Decoder(bytes);
        match d.u8()? {
            FORMAT_WITHOUT_HEADER => return decode_without_header(d),
            FORMAT => {}
            _ => return Err(DecodeError("unknown format of membership change")),
        }
        let kind = d.u8()?;
        let header = decode_header(&mut d)?;
        let id = MemberId(d.u64()?);
        let change = match kind {
            kind::ADD => {
                let (peer_urls, is_learner) = (d.strings()?, d.bool()?);
                let member = Member { id, peer_urls, is_learner, ..Member::default() };
                ConfChangeKind::Add { member, learners_max: d.u32()? }
            }
            kind::REMOVE => ConfChangeKind::Remove(id),
            kind::UPDATE_PEER_URLS => ConfChangeKind::UpdatePeerUrls { id, peer_urls: d.strings()? },
            kind::PROMOTE => ConfChangeKind::Promote(id),
            _ => return Err(DecodeError("unknown kind of membership change")),
        };
        d.finish()?;
        Ok(ConfCommand { header, change })
    }

    /// Judges the change against the membership it meets, in etcd's order. A refused one changes nothing, here
    /// or in raft. Errors: what the proposer is told (CL-3, CL-5, CL-7, CL-9, CL-10).
    pub fn check(&self, members: &Members) -> Result<(), Status> {
        let id = self.change.member_id();
        if members.is_removed(id) {
            return Err(Status::MemberNotFound);
        }
        let known = members.get(id);
        match &self.change {
            ConfChangeKind::Promote(_) => match known {
                None => Err(Status::MemberNotFound),
                Some(member) if !member.is_learner => Err(Status::MemberNotLearner),
                Some(_) => Ok(()),
            },
            ConfChangeKind::Add { .. } if known.is_some() => Err(Status::MemberExist),
            ConfChangeKind::Add { member, learners_max } => {
                check_urls_are_free(members, id, &member.peer_urls)?;
                let learners = members.iter().filter(|other| other.is_learner).count();
                match member.is_learner && learners >= *learners_max as usize {
                    true => Err(Status::TooManyLearners),
                    false => Ok(()),
                }
            }
            ConfChangeKind::Remove(_) => {
                let removed = known.ok_or(Status::MemberNotFound)?;
                let has_other_voter = members.iter().any(|other| !other.is_learner && other.id != id);
                // etcd's members die of it together where the strict check is off; here nobody can ask for that.
                match removed.is_learner || has_other_voter {
                    true => Ok(()),
                    false => Err(Status::MemberNotEnoughStarted),
                }
            }
            ConfChangeKind::UpdatePeerUrls { .. } if known.is_none() => Err(Status::MemberNotFound),
            ConfChangeKind::UpdatePeerUrls { peer_urls, .. } => check_urls_are_free(members, id, peer_urls),
        }
    }

    /// Carries out a change that `check` let pass.
    pub fn apply(&self, members: &mut Members) {
        assert_eq!(self.check(members), Ok(()), "only what was checked is applied");
        match &self.change {
            ConfChangeKind::Add { member, .. } => members.insert(member.clone()),
            ConfChangeKind::Remove(id) => members.remove(*id),
            ConfChangeKind::UpdatePeerUrls { id, peer_urls } => {
                members.set_peer_urls(*id, peer_urls.clone());
            }
            ConfChangeKind::Promote(id) => members.promote(*id),
        }
    }

    /// What the proposer is answered once the change is in `members`; apply fills the header in.
    pub fn response(&self, members: &Members) -> Response {
        let header = Header::default();
        let members = members.iter().cloned().collect();
        match &self.change {
            ConfChangeKind::Add { member, .. } => {
                Response::MemberAdd { header, member: Box::new(member.clone()), members }
            }
            ConfChangeKind::Remove(_) => Response::MemberRemove { header, members },
            ConfChangeKind::UpdatePeerUrls { .. } => Response::MemberUpdate { header, members },
            ConfChangeKind::Promote(_) => Response::MemberPromote { header, members },
        }
    }

    /// The single step for raft. New URLs are none of its business: node 0, which it skips
    /// (raft-rs 0.7.0 `confchange/changer.rs`).
    pub fn to_raft(&self) -> ConfChange {
        let (node_id, change_type) = match &self.change {
            ConfChangeKind::Add { member, .. } if member.is_learner => {
                (member.id.0, ConfChangeType::AddLearnerNode)
            }
            ConfChangeKind::Add { member, .. } => (member.id.0, ConfChangeType::AddNode),
            ConfChangeKind::Remove(id) => (id.0, ConfChangeType::RemoveNode),
            ConfChangeKind::UpdatePeerUrls { .. } => (0, ConfChangeType::AddNode),
            ConfChangeKind::Promote(id) => (id.0, ConfChangeType::AddNode),
        };
        ConfChange { node_id, change_type, ..ConfChange::default() }
    }
}

impl ConfChangeKind {
    /// Whom it is about.
    pub fn member_id(&self) -> MemberId {
        match self {
            ConfChangeKind::Add { member, .. } => member.id,
            ConfChangeKind::Remove(id)
            | ConfChangeKind::UpdatePeerUrls { id, .. }
            | ConfChangeKind::Promote(id) => *id,
        }
    }

    fn kind(&self) -> u8 {
        match self {
            ConfChangeKind::Add { .. } => kind::ADD,
            ConfChangeKind::Remove(_) => kind::REMOVE,
            ConfChangeKind::UpdatePeerUrls { .. } => kind::UPDATE_PEER_URLS,
            ConfChangeKind::Promote(_) => kind::PROMOTE,
        }
    }
}

/// Refuses a URL that another member than `id` has.
fn check_urls_are_free(members: &Members, id: MemberId, peer_urls: &[String]) -> Result<(), Status> {
    let mut taken = members.iter().filter(|other| other.id != id).flat_map(|other| &other.peer_urls);
    match taken.any(|url| peer_urls.contains(url)) {
        true => Err(Status::PeerUrlExist),
        false => Ok(()),
    }
}

fn decode_without_header(mut d: Decoder) -> Result<ConfCommand, DecodeError> {
    let id = MemberId(d.u64()?);
    let mut context = Decoder(d.bytes()?);
    d.finish()?;
    let (peer_urls, is_learner) = (context.strings()?, context.bool()?);
    context.finish()?;
    Ok(ConfCommand::bootstrap(Member { id, peer_urls, is_learner, ..Member::default() }))
}

#[cfg(test)]
#[path = "conf_tests.rs"]
mod tests;
