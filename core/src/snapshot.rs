//! State as the records of a checkpoint, written in slices at a pinned revision, and read back.
//!
//! What is not MVCC (leases, members, users, alarms, what proposals were seen) is copied when the run begins;
//! history follows in revision order, a piece at a time, up to the pinned revision. The node keeps
//! physical compaction back meanwhile, so that every record the pinned compact revision promises is there.
//! Attachments of leases are read back from the live keys (LEASE-17).

use bytes::{Bytes, BytesMut};
use std::ops::ControlFlow;

use crate::auth::{decode_auth, encode_auth};
use crate::base::{Key, KeyRange, LeaseId, LogIndex, MemberId};
use crate::boundary::CheckpointStep;
use crate::checkpoint::{Header, Writer};
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::command::{decode_alarm, encode_alarm};
use crate::lease::Granted;
use crate::mvcc::{Mvcc, Record, Resume};
use crate::peer::{decode_member, encode_member};
use crate::seen::Seen;
use crate::state::{STATE_IS_NEWER, State};
use crate::wal::Identity;

/// Kinds of records in a checkpoint.
mod kind {
    /// Everything that is not a list: revisions, version, what was seen.
    pub const META: u8 = 1;
    pub const MEMBERS: u8 = 2;
    /// Leases without the entries that granted them; read, not written.
    pub const LEASES_WITHOUT_GRANT: u8 = 3;
    /// A batch of history in (main, sub) order.
    pub const HISTORY: u8 = 4;
    pub const LEASES: u8 = 5;
    /// Users and roles; missing if nothing was ever changed about them.
    pub const AUTH: u8 = 6;
}

/// Leases in one record.
const LEASES_IN_A_RECORD: usize = 4096;

/// Bytes of history after which a record is closed.
const HISTORY_RECORD_BYTES: usize = 64 << 10;

/// A checkpoint being written.
pub struct SnapshotRun {
    writer: Writer,
    index: LogIndex,
    revision: i64,
    /// Header, meta, members, auth and leases, copied at the start.
    head: Option<Bytes>,
    /// First record not yet written.
    next: (i64, u32),
    finished: bool,
}

impl SnapshotRun {
    /// Pins `state`; its applied index must be durable in full.
    pub fn begin(state: &State, identity: Identity) -> SnapshotRun {
        let header = Header { identity, index: state.applied, term: state.applied_term };
        let mut head = BytesMut::new();
        let mut writer = Writer::begin(&header, &mut head);
        writer.record(kind::META, &encode_meta(state), &mut head);
        writer.record(kind::MEMBERS, &encode_members(state), &mut head);
        if !state.auth.is_fresh() {
            writer.record(kind::AUTH, &encode_auth(&state.auth), &mut head);
        }
        let leases: Vec<_> = state.leases.iter(None).collect();
        for batch in leases.chunks(LEASES_IN_A_RECORD) {
            writer.record(kind::LEASES, &encode_leases(batch), &mut head);
        }
        SnapshotRun {
            writer,
            index: state.applied,
            revision: state.kv.revision(),
            head: Some(head.freeze()),
            next: (0, 0),
            finished: false,
        }
    }

    /// The next step to perform: about `bytes_max` of history, or the end.
    pub fn next_step(&mut self, kv: &Mvcc, bytes_max: usize) -> CheckpointStep {
        assert!(!self.finished, "the end was the last step");
        if let Some(bytes) = self.head.take() {
            return CheckpointStep::Begin { index: self.index, bytes };
        }
        let mut piece = BytesMut::with_capacity(bytes_max + HISTORY_RECORD_BYTES);
        while piece.len() < bytes_max {
            let batch = self.take_history(kv);
            if batch.is_empty() {
                self.finished = true;
                self.writer.finish(&mut piece);
                return CheckpointStep::End { bytes: piece.freeze() };
            }
            self.writer.record(kind::HISTORY, &batch, &mut piece);
        }
        CheckpointStep::Piece { bytes: piece.freeze() }
    }

    /// One record's worth of history; empty at the end.
    fn take_history(&mut self, kv: &Mvcc) -> BytesMut {
        let mut batch = BytesMut::new();
        for record in kv.history(self.next.0, self.next.1) {
            if record.main > self.revision || batch.len() >= HISTORY_RECORD_BYTES {
                break;
            }
            encode_record(record, &mut batch);
            self.next = (record.main, record.sub + 1);
        }
        batch
    }

    pub fn index(&self) -> LogIndex {
        self.index
    }

    pub fn is_finished(&self) -> bool {
        self.finished
    }
}

fn encode_meta(state: &State) -> BytesMut {
    let mut buffer = BytesMut::new();
    let mut e = Encoder(&mut buffer);
    e.u32(state.version).i64(state.kv.revision()).i64(state.kv.compact_revision());
    e.list_len(state.alarms.len());
    for (member, alarm) in &state.alarms {
        e.u64(member.0).u8(encode_alarm(*alarm));
    }
    state.seen.encode(&mut e);
    buffer
}

fn encode_members(state: &State) -> BytesMut {
    let mut buffer = BytesMut::new();
    let mut e = Encoder(&mut buffer);
    e.list_len(state.members.iter().count());
    for member in state.members.iter() {
        encode_member(&mut e, member);
    }
    e.list_len(state.members.removed().count());
    for id in state.members.removed() {
        e.u64(id.0);
    }
    buffer
}

fn encode_leases(batch: &[Granted]) -> BytesMut {
    let mut buffer = BytesMut::new();
    let mut e = Encoder(&mut buffer);
    e.list_len(batch.len());
    for Granted { id, ttl_s, remaining_s, granted } in batch {
        e.i64(id.0).i64(*ttl_s).i64(*remaining_s).u64(granted.0);
    }
    buffer
}

fn encode_record(record: &Record, buffer: &mut BytesMut) {
    let mut e = Encoder(buffer);
    e.i64(record.main).u32(record.sub).i64(record.create).i64(record.version).i64(record.lease.0);
    e.bytes(&record.key).bytes(&record.value);
}

/// Builds State from the records of a checkpoint, in their order.
pub struct Restorer {
    /// Newest version of State that this program knows.
    version_max: u32,
    state: Option<State>,
    /// The key of the record before: revisions of one key often follow each other.
    last: Option<(i64, u32)>,
}

impl Restorer {
    /// Of a program that knows State up to this version.
    pub fn new(version_max: u32) -> Restorer {
        Restorer { version_max, state: None, last: None }
    }

    /// Takes one record. Errors: bytes that no writer of ours made; they passed a checksum, so the
    /// format is newer or the writer was wrong.
    pub fn record(&mut self, kind: u8, bytes: Bytes) -> Result<(), DecodeError> {
        let mut d = Decoder(bytes);
        match (kind, &mut self.state) {
            (kind::META, state @ None) => *state = Some(decode_meta(&mut d, self.version_max)?),
            (kind::MEMBERS, Some(state)) => decode_members(&mut d, state)?,
            (kind::AUTH, Some(state)) => state.auth = decode_auth(&mut d)?,
            (kind::LEASES | kind::LEASES_WITHOUT_GRANT, Some(state)) => {
                for _ in 0..d.list_len()? {
                    let (id, ttl_s, remaining_s) = (LeaseId(d.i64()?), d.i64()?, d.i64()?);
                    let granted = LogIndex(if kind == kind::LEASES { d.u64()? } else { 0 });
                    state.leases.restore(Granted { id, ttl_s, remaining_s, granted });
                }
            }
            (kind::HISTORY, Some(state)) => {
                while !d.0.is_empty() {
                    let record = decode_record(&mut d)?;
                    let at = (record.main, record.sub);
                    if self.last.is_some_and(|last| last >= at) || record.main > state.kv.revision() {
                        return Err(DecodeError("history is out of order"));
                    }
                    self.last = Some(at);
                    state.kv.restore_record(record);
                }
            }
            (kind::META, Some(_)) => return Err(DecodeError("a second meta record")),
            (_, None) => return Err(DecodeError("a record before the meta record")),
            _ => return Err(DecodeError("unknown kind of record")),
        }
        d.finish()
    }

    /// The state of the footer, all of it at once: for recovery, where nobody waits.
    pub fn finish(self, footer: &Header) -> Result<State, DecodeError> {
        Ok(self.attach(footer)?.finish())
    }

    /// Every record is read: what is left is to read attachments back, in slices.
    pub fn attach(self, footer: &Header) -> Result<Attaching, DecodeError> {
        let mut state = self.state.ok_or(DecodeError("no meta record"))?;
        state.applied = footer.index;
        state.applied_term = footer.term;
        Ok(Attaching::new(state))
    }
}

/// A restored state whose leases learn which keys hang on them (LEASE-17).
pub struct Attaching {
    state: State,
    resume: Option<Resume>,
    is_done: bool,
}

impl Attaching {
    /// Of a state of which no key is attached yet.
    pub fn new(state: State) -> Attaching {
        Attaching { state, resume: None, is_done: false }
    }

    /// All of it at once.
    pub fn finish(mut self) -> State {
        while !self.step(&mut u32::MAX.clone()) {}
        self.into_state()
    }

    /// Goes on within `work`, about a unit a key; true when the state is whole.
    pub fn step(&mut self, work: &mut u32) -> bool {
        if self.is_done {
            return true;
        }
        let State { kv, leases, .. } = &mut self.state;
        let mut attach = |record: &Record| {
            if record.lease != LeaseId(0) {
                leases.attach(record.lease, &record.key);
            }
            ControlFlow::Continue(())
        };
        let revision = kv.revision();
        self.resume = kv.scan(&KeyRange::all(), revision, self.resume.as_ref(), work, &mut attach);
        self.is_done = self.resume.is_none();
        self.is_done
    }

    /// The whole state.
    pub fn into_state(self) -> State {
        assert!(self.is_done, "attachments are read to the end first");
        self.state
    }
}

fn decode_meta(d: &mut Decoder, version_max: u32) -> Result<State, DecodeError> {
    let version = d.u32()?;
    if version > version_max {
        return Err(DecodeError(STATE_IS_NEWER));
    }
    let mut state = State::new();
    state.version = version;
    state.kv = Mvcc::restore(d.i64()?, d.i64()?);
    for _ in 0..d.list_len()? {
        state.alarms.insert((MemberId(d.u64()?), decode_alarm(d.u8()?)?));
    }
    state.seen = Seen::decode(d)?;
    Ok(state)
}

fn decode_members(d: &mut Decoder, state: &mut State) -> Result<(), DecodeError> {
    for _ in 0..d.list_len()? {
        state.members.insert(decode_member(d)?);
    }
    for _ in 0..d.list_len()? {
        state.members.remove(MemberId(d.u64()?));
    }
    Ok(())
}

/// The value gets an allocation of its own: a slice would pin the whole piece that was read.
fn decode_record(d: &mut Decoder) -> Result<Record, DecodeError> {
    let (main, sub) = (d.i64()?, d.u32()?);
    let (create, version, lease) = (d.i64()?, d.i64()?, LeaseId(d.i64()?));
    let key: Key = Key::from(&d.bytes()?[..]);
    let value = Bytes::copy_from_slice(&d.bytes()?);
    if key.is_empty() || main < 1 || version < 0 {
        return Err(DecodeError("a record of history that no store makes"));
    }
    Ok(Record { main, sub, key, value, create, version, lease })
}
