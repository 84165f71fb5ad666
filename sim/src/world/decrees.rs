//! What entries of the log say, in the words of the oracle.

use holdfast_core::command::{Action, AuthChange};
use holdfast_core::conf::ConfChangeKind;
use holdfast_core::request::{Alarm, AuthRequest, CompactRequest, LeaseGrantRequest, Member, Request};

use super::passwords::word_of;
use crate::oracle::members::Change;
use crate::oracle::model::Decree;

/// A command in the model's words.
pub fn decree(action: Action) -> Decree {
    Decree::Request(match action {
        Action::Put(put) => Request::Put(put),
        Action::DeleteRange(delete) => Request::DeleteRange(delete),
        Action::Txn(txn) => Request::Txn(txn),
        Action::Compact { revision } => Request::Compact(CompactRequest { revision, physical: false }),
        Action::LeaseGrant { id, ttl } => Request::LeaseGrant(LeaseGrantRequest { id, ttl }),
        Action::LeaseRevoke { id } => Request::LeaseRevoke { id },
        Action::LeaseCheckpoint { term, items } => return Decree::Checkpoint { term: term.0, items },
        Action::LeaseExpire { id, granted, term } => {
            return Decree::Expire { id, granted: granted.0, term: term.0 };
        }
        Action::Alarm { activate: true, alarm: Alarm::NoSpace, member } => return Decree::NoSpace(member),
        // Clients only take alarms away.
        Action::Alarm { activate, member, alarm } => Request::AlarmSet { activate, member, alarm },
        Action::Publish { member, name, client_urls } => {
            return Decree::Publish { member, name, client_urls };
        }
        Action::StateVersionSet { .. } => return Decree::Nothing,
        Action::Auth(change) => Request::Auth(asked_for(change)),
        Action::Authenticate { user, token_prefix } => return Decree::Login { user, token_prefix },
    })
}

/// A change of the membership in the model's words.
pub fn change(kind: ConfChangeKind) -> Change {
    match kind {
        ConfChangeKind::Add { member, learners_max } => {
            let Member { id, peer_urls, is_learner, .. } = member;
            Change::Add { id, peer_urls, is_learner, learners_max }
        }
        ConfChangeKind::Remove(id) => Change::Remove(id),
        ConfChangeKind::UpdatePeerUrls { id, peer_urls } => Change::Update { id, peer_urls },
        ConfChangeKind::Promote(id) => Change::Promote(id),
    }
}

/// What a client asked for to get this change into the log.
fn asked_for(change: AuthChange) -> AuthRequest {
    match change {
        AuthChange::Enable => AuthRequest::Enable,
        AuthChange::Disable => AuthRequest::Disable,
        AuthChange::UserAdd { name, password_hash, no_password } => {
            AuthRequest::UserAdd { name, password: word_of(&password_hash), no_password }
        }
        AuthChange::UserDelete { name } => AuthRequest::UserDelete { name },
        AuthChange::UserChangePassword { name, password_hash } => {
            AuthRequest::UserChangePassword { name, password: word_of(&password_hash) }
        }
        AuthChange::UserGrantRole { name, role } => AuthRequest::UserGrantRole { name, role },
        AuthChange::UserRevokeRole { name, role } => AuthRequest::UserRevokeRole { name, role },
        AuthChange::RoleAdd { role } => AuthRequest::RoleAdd { role },
        AuthChange::RoleDelete { role } => AuthRequest::RoleDelete { role },
        AuthChange::RoleGrantPermission { role, permission } => {
            AuthRequest::RoleGrantPermission { role, permission }
        }
        AuthChange::RoleRevokePermission { role, key, range_end } => {
            AuthRequest::RoleRevokePermission { role, key, range_end }
        }
    }
}
