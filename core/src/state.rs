//! State: everything that is replicated, a function of the log prefix applied to it.
//!
//! Nothing here depends on a member's flags, clock or life; what does lives beside it in `node`.

use std::collections::BTreeSet;

use crate::auth::{Auth, encode_auth};
use crate::base::{LogIndex, MemberId, Term};
use crate::lease::{Granted, Leases};
use crate::members::Members;
use crate::mvcc::{HashRun, Mvcc};
use crate::request::{Alarm, Header};
use crate::seen::Seen;

/// Newest version of what apply does that this program knows. What entries do depends on the version in State, never on
/// the program: a command raises it when every member has said that it knows the next one.
///
/// 1: what a new cluster begins with. 2: the version itself is raised through the log.
pub const STATE_VERSION: u32 = 2;

/// The version before any entry.
const FIRST_STATE_VERSION: u32 = 1;

/// Why a member cannot go on with what others have decided.
pub const STATE_IS_NEWER: &str =
    "the cluster's state is of a later version than this program knows: start a later release";

/// The replicated state machine.
pub struct State {
    pub kv: Mvcc,
    pub leases: Leases,
    pub members: Members,
    pub auth: Auth,
    pub alarms: BTreeSet<(MemberId, Alarm)>,
    pub seen: Seen,
    /// Last entry applied in full.
    pub applied: LogIndex,
    /// Its term.
    pub applied_term: Term,
    pub version: u32,
}

impl State {
    /// The state before any entry.
    pub fn new() -> State {
        State {
            kv: Mvcc::new(),
            leases: Leases::new(),
            members: Members::default(),
            auth: Auth::new(),
            alarms: BTreeSet::new(),
            seen: Seen::default(),
            applied: LogIndex(0),
            applied_term: Term(0),
            version: FIRST_STATE_VERSION,
        }
    }

    /// What a reply's header says of this state (REV-9, REV-12).
    pub fn header(&self) -> Header {
        Header { revision: self.kv.revision(), raft_term: self.applied_term.0 }
    }

    /// The header of answers about the membership: they have no revision (Q70).
    pub fn membership_header(&self) -> Header {
        Header { revision: 0, ..self.header() }
    }

    /// Whether any member has raised `alarm`.
    pub fn has_alarm(&self, alarm: Alarm) -> bool {
        self.alarms.iter().any(|(_, raised)| *raised == alarm)
    }

    /// Digest of all of it: equal on members and lives that applied the same prefix. Walks everything.
    pub fn hash(&self) -> u64 {
        let mut hash = Fnv::new();
        let mut kv = HashRun::new(self.kv.revision(), self.kv.compact_revision());
        let mut work = u32::MAX;
        let kv_hash = loop {
            work = work.max(1 << 20);
            if let Some(hash) = kv.step(&self.kv, &mut work) {
                break hash;
            }
        };
        hash.fold(&format!("{kv_hash} {} {}", self.kv.revision(), self.kv.compact_revision()));
        for Granted { id, ttl_s, remaining_s, granted } in self.leases.iter(None) {
            let keys: Vec<_> = self.leases.keys(id).collect();
            hash.fold(&format!("{id} {ttl_s} {remaining_s} {keys:?}"));
            // A lease whose checkpoint file did not say so keeps the digest that it had.
            if granted > LogIndex(0) {
                hash.fold(&format!("granted {granted}"));
            }
        }
        hash.fold(&format!("{:?} {:?} {:?}", self.members, self.alarms, self.seen));
        // A state of before there was auth keeps the digest that it had.
        if !self.auth.is_fresh() {
            hash.fold_bytes(&encode_auth(&self.auth));
        }
        hash.fold(&format!("{} {} {}", self.applied, self.applied_term, self.version));
        hash.0
    }
}

impl Default for State {
    fn default() -> State {
        State::new()
    }
}

/// FNV-1a, 64 bits.
struct Fnv(u64);

impl Fnv {
    fn new() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    fn fold(&mut self, text: &str) {
        self.fold_bytes(text.as_bytes());
    }

    fn fold_bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.0 = self.0.wrapping_mul(0x0100_0000_01b3);
    }
}
