//! Admission: every check before a request enters the log or the read queue, in etcd's order (WR-0).
//!
//! What depends on this member's flags is decided here and never at apply.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::apply::action_of;
use crate::base::{LeaseId, MemberId};
use crate::check::{RequestLimits, check_request};
use crate::command::{Action, AuthChange};
use crate::conf::ConfChangeKind;
use crate::lease::effective_ttl;
use crate::members::{derive_added_member_id, read_peer_urls};
use crate::read::{AuthQuery, Query};
use crate::request::{Alarm, AuthRequest, Identity, Member, Request, Secret};
use crate::state::State;
use crate::status::Status;
use crate::txn::{is_read_only, is_serializable, quota_cost_bytes};

/// What a member's flags say about requests.
#[derive(Clone, Debug)]
pub struct AdmitConfig {
    pub limits: RequestLimits,
    /// `--max-request-bytes`: of the encoded command.
    pub request_bytes_max: usize,
    /// `--quota-backend-bytes`; `None` = no quota.
    pub quota_bytes: Option<u64>,
    /// The least TTL a lease is granted, in seconds.
    pub lease_ttl_min_s: i64,
    /// `--max-learners`; travels in the entry that adds a member.
    pub learners_max: u32,
    /// `--strict-reconfig-check`: whether `members::strict` judges a change before it is proposed.
    pub strict_reconfig: bool,
}

/// Where a request goes.
#[derive(Debug)]
pub enum Admitted {
    /// Into the log. `physical`: the answer waits for the compaction to end.
    Propose {
        action: Action,
        physical: bool,
    },
    /// Into the log as a membership change, once the proposer's own checks let it pass. A promotion is
    /// proposed by the leader alone: others ask it.
    Conf(ConfChangeKind),
    /// Leadership goes to this member; who does not lead refuses.
    HandOver,
    MoveLeader {
        target: MemberId,
    },
    /// After a confirmed round.
    Linearizable(Query),
    /// At once, from what is here.
    Local(Query),
    /// Answered by the node itself.
    Status,
    Defragment,
    /// A password is to be checked against the state that a linearizable read would see, then a token is
    /// proposed.
    Login {
        name: String,
        password: Secret,
    },
    /// Into the log with the hash of this password in the change's place for it.
    HashPassword {
        password: Secret,
        change: AuthChange,
    },
}

/// Longest password that bcrypt takes (AUTH-9).
const PASSWORD_BYTES_MAX: usize = 72;

/// Why a request goes nowhere.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: Status,
    /// The quota is exceeded: this member's alarm is to be raised (QUO-2).
    pub raise: Option<Alarm>,
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Refusal {
        Refusal { status, raise: None }
    }
}

/// Judges `request` against flags and State. `identity`: who asks, or why the token is refused.
pub fn admit(
    request: Request,
    identity: Result<Option<&Identity>, Status>,
    config: &AdmitConfig,
    state: &State,
    rng: &mut ChaCha8Rng,
) -> Result<Admitted, Refusal> {
    check_quota(&request, config, state)?;
    check_request(&request, &config.limits)?;
    check_password(&request)?;
    if let Request::Auth(AuthRequest::Authenticate { name, password }) = request {
        // Whoever logs in is nobody yet: a token that came along does not count (AUTH-11).
        return Ok(Admitted::Login { name, password });
    }
    check_identity(&request, identity?, state)?;
    Ok(match request {
        Request::Range(range) if range.serializable => Admitted::Local(Query::Range(range)),
        Request::Range(range) => Admitted::Linearizable(Query::Range(range)),
        Request::Txn(txn) if is_read_only(&txn) => match is_serializable(&txn) {
            true => Admitted::Local(Query::Txn(txn)),
            false => Admitted::Linearizable(Query::Txn(txn)),
        },
        Request::LeaseKeepAlive { id } => Admitted::Linearizable(Query::KeepAlive(id)),
        Request::LeaseTimeToLive { id, keys } => Admitted::Linearizable(Query::TimeToLive { id, keys }),
        Request::LeaseLeases => Admitted::Local(Query::Leases),
        Request::MemberList { linearizable: true } => Admitted::Linearizable(Query::Members),
        Request::MemberList { linearizable: false } => Admitted::Local(Query::Members),
        Request::AlarmList { alarm } => Admitted::Linearizable(Query::Alarms(alarm)),
        Request::HashKv { revision } => Admitted::Local(Query::HashKv { revision }),
        Request::Hash => Admitted::Local(Query::Hash),
        Request::Backup => Admitted::Local(Query::Backup),
        Request::BackupHistory(ask) => Admitted::Local(Query::BackupHistory(ask)),
        Request::Status => Admitted::Status,
        Request::Defragment => Admitted::Defragment,
        Request::MemberAdd { peer_urls, is_learner, unix_s } => {
            Admitted::Conf(add_member(&peer_urls, is_learner, unix_s, config)?)
        }
        Request::MemberRemove { id } => Admitted::Conf(ConfChangeKind::Remove(id)),
        Request::MemberUpdate { id, peer_urls } => {
            let peer_urls = read_peer_urls(&peer_urls)?;
            Admitted::Conf(ConfChangeKind::UpdatePeerUrls { id, peer_urls })
        }
        Request::MemberPromote { id } => Admitted::Conf(ConfChangeKind::Promote(id)),
        Request::MoveLeader { target } => Admitted::MoveLeader { target },
        Request::HandOver => Admitted::HandOver,
        Request::LeaseGrant(mut grant) => {
            grant.ttl = effective_ttl(grant.ttl, config.lease_ttl_min_s)?;
            if grant.id == LeaseId(0) {
                grant.id = draw_lease_id(state, rng);
            }
            Admitted::Propose { action: Action::LeaseGrant { id: grant.id, ttl: grant.ttl }, physical: false }
        }
        Request::Auth(request) => admit_auth(request),
        write => {
            let physical = matches!(&write, Request::Compact(compact) if compact.physical);
            let action = action_of(write).expect("reads are matched above");
            Admitted::Propose { action, physical }
        }
    })
}

/// Before anybody asks whose request it is: etcd hashes first (AUTH-9).
fn check_password(request: &Request) -> Result<(), Status> {
    let password = match request {
        Request::Auth(AuthRequest::UserAdd { password, no_password: false, .. }) => password,
        Request::Auth(AuthRequest::UserChangePassword { password, .. }) => password,
        _ => return Ok(()),
    };
    if password.0.len() > PASSWORD_BYTES_MAX { Err(Status::PasswordTooLong) } else { Ok(()) }
}

/// What etcd's services ask of a caller before anything is proposed or done; reads and changes of keys are
/// judged where they take place.
fn check_identity(request: &Request, identity: Option<&Identity>, state: &State) -> Result<(), Status> {
    let asker = state.auth.asker(identity);
    match request {
        Request::Compact(_)
        | Request::AlarmSet { .. }
        | Request::Defragment
        | Request::MemberAdd { .. }
        | Request::MemberRemove { .. }
        | Request::MemberUpdate { .. }
        | Request::MemberPromote { .. }
        | Request::MoveLeader { .. } => state.auth.check_admin(asker.user),
        Request::LeaseGrant(_) | Request::LeaseRevoke { .. } | Request::Status => {
            state.auth.check_known(asker)
        }
        _ => Ok(()),
    }
}

fn admit_auth(request: AuthRequest) -> Admitted {
    let ask = |query| Admitted::Linearizable(Query::Auth(query));
    let hash = |password: Secret, change| Admitted::HashPassword { password, change };
    let password_hash = Secret::default();
    let change = match request {
        AuthRequest::Status => return ask(AuthQuery::Status),
        AuthRequest::UserGet { name } => return ask(AuthQuery::User { name }),
        AuthRequest::UserList => return ask(AuthQuery::Users),
        AuthRequest::RoleGet { role } => return ask(AuthQuery::Role { role }),
        AuthRequest::RoleList => return ask(AuthQuery::Roles),
        AuthRequest::Authenticate { name, password } => return Admitted::Login { name, password },
        AuthRequest::UserAdd { name, password, no_password: false } => {
            return hash(password, AuthChange::UserAdd { name, password_hash, no_password: false });
        }
        AuthRequest::UserChangePassword { name, password } if !password.0.is_empty() => {
            return hash(password, AuthChange::UserChangePassword { name, password_hash });
        }
        AuthRequest::UserAdd { name, no_password: true, .. } => {
            AuthChange::UserAdd { name, password_hash, no_password: true }
        }
        AuthRequest::UserChangePassword { name, .. } => {
            AuthChange::UserChangePassword { name, password_hash }
        }
        AuthRequest::Enable => AuthChange::Enable,
        AuthRequest::Disable => AuthChange::Disable,
        AuthRequest::UserDelete { name } => AuthChange::UserDelete { name },
        AuthRequest::UserGrantRole { name, role } => AuthChange::UserGrantRole { name, role },
        AuthRequest::UserRevokeRole { name, role } => AuthChange::UserRevokeRole { name, role },
        AuthRequest::RoleAdd { role } => AuthChange::RoleAdd { role },
        AuthRequest::RoleDelete { role } => AuthChange::RoleDelete { role },
        AuthRequest::RoleGrantPermission { role, permission } => {
            AuthChange::RoleGrantPermission { role, permission }
        }
        AuthRequest::RoleRevokePermission { role, key, range_end } => {
            AuthChange::RoleRevokePermission { role, key, range_end }
        }
    };
    Admitted::Propose { action: Action::Auth(change), physical: false }
}

/// QUO-1, QUO-2: before field validation.
fn check_quota(request: &Request, config: &AdmitConfig, state: &State) -> Result<(), Refusal> {
    let Some(quota) = config.quota_bytes else { return Ok(()) };
    let cost = quota_cost_bytes(request);
    if cost == 0 || state.kv.bytes() + cost < quota {
        return Ok(());
    }
    Err(Refusal { status: Status::NoSpace, raise: Some(Alarm::NoSpace) })
}

/// The change that adds a member, with the id that URLs and time make.
fn add_member(
    peer_urls: &[String],
    is_learner: bool,
    unix_s: u64,
    config: &AdmitConfig,
) -> Result<ConfChangeKind, Status> {
    let mut peer_urls = read_peer_urls(peer_urls)?;
    peer_urls.sort();
    let id = derive_added_member_id(&peer_urls, unix_s);
    let member = Member { id, peer_urls, is_learner, ..Member::default() };
    Ok(ConfChangeKind::Add { member, learners_max: config.learners_max })
}

/// A positive id that no lease has (LEASE-1).
fn draw_lease_id(state: &State, rng: &mut ChaCha8Rng) -> LeaseId {
    loop {
        let id = LeaseId(rng.random::<i64>() & i64::MAX);
        if id != LeaseId(0) && !state.leases.exists(id) {
            return id;
        }
    }
}

/// The alarm command of this member.
pub fn raise_alarm(member: MemberId, alarm: Alarm) -> Action {
    Action::Alarm { activate: true, member, alarm }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn admitted(request: Request) -> Result<ConfChangeKind, Status> {
        let config = AdmitConfig {
            limits: RequestLimits::default(),
            request_bytes_max: 1_572_864,
            quota_bytes: Some(0),
            lease_ttl_min_s: 2,
            learners_max: 3,
            strict_reconfig: true,
        };
        match admit(request, Ok(None), &config, &State::new(), &mut ChaCha8Rng::seed_from_u64(1)) {
            Ok(Admitted::Conf(change)) => Ok(change),
            Ok(other) => panic!("{other:?}"),
            Err(refusal) => Err(refusal.status),
        }
    }

    fn urls(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    /// Without space for a byte, too: membership costs no quota.
    #[test]
    fn a_new_member_has_sorted_urls_an_id_and_the_limit_of_learners() {
        let peer_urls = urls(&["http://10.0.0.3:2380", " http://10.0.0.2:2380"]);
        let request = Request::MemberAdd { peer_urls, is_learner: true, unix_s: 1_700_000_000 };
        let peer_urls = urls(&["http://10.0.0.2:2380", "http://10.0.0.3:2380"]);
        let id = derive_added_member_id(&peer_urls, 1_700_000_000);
        let member = Member { id, peer_urls, is_learner: true, ..Member::default() };
        assert_eq!(admitted(request), Ok(ConfChangeKind::Add { member, learners_max: 3 }));
    }

    #[test]
    fn an_update_keeps_the_order_of_its_urls() {
        let id = MemberId(7);
        let request = Request::MemberUpdate { id, peer_urls: urls(&["http://b:1 ", "HTTP://a:1"]) };
        let peer_urls = urls(&["http://b:1", "http://a:1"]);
        assert_eq!(admitted(request), Ok(ConfChangeKind::UpdatePeerUrls { id, peer_urls }));
    }

    #[test]
    fn urls_that_nobody_can_use_are_refused() {
        for peer_urls in [urls(&[]), urls(&["http://a"]), urls(&["http://a:1", "a:1"])] {
            let update = Request::MemberUpdate { id: MemberId(7), peer_urls: peer_urls.clone() };
            let add = Request::MemberAdd { peer_urls, is_learner: false, unix_s: 1 };
            assert_eq!(admitted(update), Err(Status::MemberBadUrls));
            assert_eq!(admitted(add), Err(Status::MemberBadUrls));
        }
    }

    #[test]
    fn removal_and_promotion_are_changes_of_one_member() {
        let id = MemberId(7);
        assert_eq!(admitted(Request::MemberRemove { id }), Ok(ConfChangeKind::Remove(id)));
        assert_eq!(admitted(Request::MemberPromote { id }), Ok(ConfChangeKind::Promote(id)));
    }

    #[test]
    fn a_learner_serves_status_backups_and_serializable_ranges_only() {
        use crate::request::{PutRequest, RangeRequest, TxnRequest};
        let range = |serializable| Request::Range(RangeRequest { serializable, ..RangeRequest::default() });
        assert!(Request::Status.is_served_by_learner());
        assert!(Request::Backup.is_served_by_learner());
        assert!(range(true).is_served_by_learner());
        for refused in [
            range(false),
            Request::Put(PutRequest::default()),
            Request::Txn(TxnRequest::default()),
            Request::LeaseLeases,
            Request::MemberList { linearizable: false },
            Request::HashKv { revision: 0 },
            Request::MoveLeader { target: MemberId(1) },
        ] {
            assert!(!refused.is_served_by_learner(), "{refused:?}");
        }
    }
}
