//! Admission: every check before a request enters the log or the read queue, in etcd's order (WR-0).
//!
//! What depends on this member's flags is decided here and never at apply.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::apply::action_of;
use crate::base::{LeaseId, MemberId};
use crate::check::{RequestLimits, check_request};
use crate::command::Action;
use crate::lease::effective_ttl;
use crate::read::Query;
use crate::request::{Alarm, Request};
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
}

/// Where a request goes.
#[derive(Debug)]
pub enum Admitted {
    /// Into the log. `physical`: the answer waits for the compaction to end.
    Propose {
        action: Action,
        physical: bool,
    },
    /// After a confirmed round.
    Linearizable(Query),
    /// At once, from what is here.
    Local(Query),
    /// Answered by the node itself.
    Status,
    Defragment,
}

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

/// Judges `request` against flags and State.
pub fn admit(
    request: Request,
    config: &AdmitConfig,
    state: &State,
    rng: &mut ChaCha8Rng,
) -> Result<Admitted, Refusal> {
    check_quota(&request, config, state)?;
    check_request(&request, &config.limits)?;
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
        Request::Status => Admitted::Status,
        Request::Defragment => Admitted::Defragment,
        Request::LeaseGrant(mut grant) => {
            grant.ttl = effective_ttl(grant.ttl, config.lease_ttl_min_s)?;
            if grant.id == LeaseId(0) {
                grant.id = draw_lease_id(state, rng);
            }
            Admitted::Propose { action: Action::LeaseGrant { id: grant.id, ttl: grant.ttl }, physical: false }
        }
        write => {
            let physical = matches!(&write, Request::Compact(compact) if compact.physical);
            let action = action_of(write).expect("reads are matched above");
            Admitted::Propose { action, physical }
        }
    })
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
