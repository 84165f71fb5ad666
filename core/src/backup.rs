//! State as a backup has it: what clients can see, and nothing of the cluster's log.
//!
//! Everything but history is one answer, copied at one moment; history follows in pieces that are asked for one by
//! one, at the revision of that answer. A compaction that comes between ends it, and the asker begins again: kept
//! pinned for as long as a slow client takes, history would grow without bound.
//! A restored State begins a new cluster. It is as if its members had taken over a snapshot at the backup's index
//! in the term behind the backup's own, so that no log of a member that is forgotten can fit it.
//!
//! Source: etcd 3.7.1 `server/etcdserver/api/v3rpc/maintenance.go` (Snapshot), `etcdutl/snapshot/v3_snapshot.go`.

use crate::auth::{Auth, AuthBackup};
use crate::base::{LogIndex, MemberId, Term};
use crate::lease::Granted;
use crate::mvcc::{Mvcc, Record};
use crate::request::{Alarm, Member};
use crate::snapshot::Attaching;
use crate::state::State;
use crate::status::Status;

/// Records looked at for one piece of history.
const PIECE_RECORDS_MAX: usize = 2_000;

/// Bytes of keys and values after which a piece ends.
const PIECE_BYTES_MAX: usize = 4 << 20;

/// All of State but history, and what was seen of proposals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backup {
    pub index: LogIndex,
    pub term: Term,
    pub revision: i64,
    /// -1: never compacted.
    pub compact_revision: i64,
    /// Ascending by id.
    pub members: Vec<Member>,
    /// Ids of removed members, ascending.
    pub removed: Vec<MemberId>,
    /// Ascending by id.
    pub leases: Vec<Granted>,
    pub alarms: Vec<(MemberId, Alarm)>,
    /// `None`: nothing was ever changed about it.
    pub auth: Option<AuthBackup>,
}

impl Backup {
    /// Copies `state`. An entry that is half applied shows in none of it: its revision is still open, and a lease goes
    /// behind its keys.
    pub fn of(state: &State) -> Backup {
        Backup {
            index: state.applied,
            term: state.applied_term,
            revision: state.kv.revision(),
            compact_revision: state.kv.compact_revision(),
            members: state.members.iter().cloned().collect(),
            removed: state.members.removed().collect(),
            leases: state.leases.iter(None).collect(),
            alarms: state.alarms.iter().copied().collect(),
            auth: (!state.auth.is_fresh()).then(|| state.auth.backup()),
        }
    }
}

/// Asks for a piece of the history that belongs to a backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistoryAsk {
    /// Of the backup.
    pub revision: i64,
    /// Of the backup.
    pub compact_revision: i64,
    /// Where the piece begins: main revision and change inside it; (0, 0) for the first.
    pub from: (i64, u32),
}

impl HistoryAsk {
    /// The first piece of what belongs to `backup`.
    pub fn first(backup: &Backup) -> HistoryAsk {
        HistoryAsk { revision: backup.revision, compact_revision: backup.compact_revision, from: (0, 0) }
    }
}

/// A piece of history, in order of (main, sub).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryPiece {
    /// Without what a compaction at the backup's compact revision removes, however far that is.
    pub records: Vec<Record>,
    /// Where the next piece begins; `None`: this was the last.
    pub next: Option<(i64, u32)>,
}

/// The next piece. Errors: `Compacted` if a compaction came after the backup, `FutureRev` for a revision that is
/// not there (a member that lags behind the one that made the backup).
pub fn history_piece(kv: &Mvcc, ask: &HistoryAsk) -> Result<HistoryPiece, Status> {
    if kv.compact_revision() != ask.compact_revision {
        return Err(Status::Compacted);
    }
    if kv.revision() < ask.revision {
        return Err(Status::FutureRev);
    }
    let mut piece = HistoryPiece::default();
    let mut bytes = 0;
    let is_clean = kv.is_compacted_at(ask.compact_revision);
    let history = kv.history(ask.from.0, ask.from.1).take_while(|record| record.main <= ask.revision);
    for (seen, record) in history.enumerate() {
        if seen == PIECE_RECORDS_MAX || bytes >= PIECE_BYTES_MAX {
            piece.next = Some((record.main, record.sub));
            break;
        }
        if kv.is_kept(record, ask.compact_revision, is_clean) {
            bytes += record.key.len() + record.value.len();
            piece.records.push(record.clone());
        }
    }
    Ok(piece)
}

/// A State made from a backup.
pub struct Restore {
    state: State,
    last: Option<(i64, u32)>,
}

/// Why a backup cannot be restored; what it came from is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoreError(pub &'static str);

impl Restore {
    /// Of a backup without its members: `members` are those of the new cluster.
    pub fn begin(backup: Backup, members: Vec<Member>) -> Result<Restore, RestoreError> {
        if backup.revision < 1 || backup.compact_revision > backup.revision {
            return Err(RestoreError("its revisions are none that a store has"));
        }
        let mut state = State::new();
        state.applied = LogIndex(backup.index.0.max(1));
        state.applied_term = Term(backup.term.0 + 1);
        state.kv = Mvcc::restore(backup.revision, backup.compact_revision);
        state.alarms.extend(backup.alarms);
        for member in members {
            state.members.insert(member);
        }
        for lease in backup.leases {
            if state.leases.exists(lease.id) {
                return Err(RestoreError("it has a lease twice"));
            }
            state.leases.restore(Granted { granted: LogIndex(0), ..lease });
        }
        if let Some(auth) = backup.auth {
            state.auth = Auth::restore(auth);
        }
        Ok(Restore { state, last: None })
    }

    /// Takes the next record of history.
    pub fn record(&mut self, record: Record) -> Result<(), RestoreError> {
        let at = (record.main, record.sub);
        if self.last.is_some_and(|last| last >= at) || record.main > self.state.kv.revision() {
            return Err(RestoreError("its history is out of order"));
        }
        if record.key.is_empty() || record.main < 1 || record.version < 0 {
            return Err(RestoreError("it has a record of history that no store makes"));
        }
        self.last = Some(at);
        self.state.kv.restore_record(record);
        Ok(())
    }

    /// The whole State, once every record was taken.
    pub fn finish(self) -> State {
        Attaching::new(self.state).finish()
    }
}

#[cfg(test)]
#[path = "backup_tests.rs"]
mod tests;
