//! Whether a reader may see what it asks for, and what it may ask about users and roles.

use super::{Here, Query};
use crate::auth::{Asker, Right};
use crate::permit;
use crate::request::{AuthAnswer, Header, Identity, Response};
use crate::state::State;
use crate::status::Status;

/// What can be asked about auth; answered from State, not from the log as etcd does it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthQuery {
    /// Anybody may ask.
    Status,
    User {
        name: String,
    },
    Users,
    Role {
        role: String,
    },
    Roles,
}

impl Query {
    /// Whether it is answered from the keys that hang on leases, which are part-way while an entry is applied.
    pub(super) fn reads_lease_keys(&self) -> bool {
        matches!(self, Query::KeepAlive(_) | Query::TimeToLive { keys: true, .. } | Query::Leases)
    }

    /// Whether an answer that took turns is void if users or roles have changed meanwhile (AUTH-21; etcd's
    /// doSerialize).
    pub(super) fn is_judged_again(&self) -> bool {
        matches!(self, Query::Range(_) | Query::Txn(_) | Query::TimeToLive { keys: true, .. })
    }
}

/// Judges a query at the state that it is answered from (the table below AUTH-20).
pub(super) fn check(query: &Query, identity: Option<&Identity>, here: &Here<'_>) -> Result<(), Status> {
    let State { auth, leases, .. } = here.state;
    let asker = auth.asker(identity);
    match query {
        Query::ReadIndex | Query::Barrier | Query::Auth(_) => Ok(()),
        Query::Range(range) => permit::check_range(auth, asker, range),
        Query::Txn(txn) => permit::check_txn(auth, leases, asker, txn),
        Query::KeepAlive(id) => {
            auth.check_known(asker)?;
            permit::check_lease_keys(auth, leases, asker, *id, Right::Write)
        }
        Query::TimeToLive { id, keys } => {
            auth.check_known(asker)?;
            match keys {
                true => permit::check_lease_keys(auth, leases, asker, *id, Right::Read),
                false => Ok(()),
            }
        }
        Query::Leases => {
            auth.check_known(asker)?;
            let mut ids = leases.ids();
            ids.try_for_each(|id| permit::check_lease_keys(auth, leases, asker, id, Right::Read))
        }
        Query::Members | Query::Alarms(_) => auth.check_known(asker),
        Query::HashKv { .. } | Query::Hash | Query::Backup | Query::BackupHistory(_) => {
            auth.check_admin(asker.user)
        }
    }
}

/// The answer to a question about auth.
pub(super) fn answer(
    query: &AuthQuery,
    asker: Asker<'_>,
    state: &State,
    header: Header,
) -> Result<Response, Status> {
    let auth = &state.auth;
    let answer = match query {
        AuthQuery::Status => {
            AuthAnswer::Status { is_enabled: auth.is_enabled(), auth_revision: auth.revision() }
        }
        AuthQuery::User { name } => AuthAnswer::User { roles: auth.user(asker, name)? },
        AuthQuery::Users => AuthAnswer::Users(auth.users(asker)?),
        AuthQuery::Role { role } => AuthAnswer::Role { permissions: auth.role(asker, role)? },
        AuthQuery::Roles => AuthAnswer::Roles(auth.roles(asker)?),
    };
    Ok(Response::Auth { header, answer })
}
