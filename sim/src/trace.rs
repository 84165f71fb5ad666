//! The trace: a digest of everything that happened, and its lines when somebody wants to read them.

use std::fmt;

use holdfast_core::base::KeyValue;
use holdfast_core::boundary::{CheckpointStep, Effect, Note, WatchResponse};
use holdfast_core::peer::PeerMessage;
use holdfast_core::request::{RangeResponse, Response, ResponseOp, TxnResponse};
use holdfast_core::status::Status;
use raft::eraftpb::Message;

/// Folds effects and events of one run.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    /// Kept only in a replay.
    lines: Option<Vec<String>>,
}

impl Trace {
    pub fn new(keeps_lines: bool) -> Trace {
        Trace { hash: 0x6a09_e667_f3bc_c908, lines: keeps_lines.then(Vec::new) }
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    pub fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }

    /// A line for readers; made only if somebody reads.
    pub fn line(&mut self, at_ns: u64, text: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>13.6} {}", at_ns as f64 / 1e9, text()));
        }
    }

    pub fn fold(&mut self, number: u64) {
        self.hash = (self.hash.rotate_left(5) ^ number).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    pub fn fold_bytes(&mut self, bytes: &[u8]) {
        self.fold(bytes.len() as u64);
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            self.fold(u64::from_le_bytes(chunk.try_into().expect("a chunk has 8 bytes")));
        }
        for byte in chunks.remainder() {
            self.fold(u64::from(*byte));
        }
    }

    /// Folds what has no fields worth naming through its `Debug` form.
    fn fold_debug(&mut self, what: &dyn fmt::Debug) {
        struct Sink<'a>(&'a mut Trace);
        impl fmt::Write for Sink<'_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                self.0.fold_bytes(text.as_bytes());
                Ok(())
            }
        }
        fmt::Write::write_fmt(&mut Sink(self), format_args!("{what:?}")).expect("the sink takes everything");
    }

    /// Folds an effect, every byte of it.
    pub fn effect(&mut self, effect: &Effect) {
        match effect {
            Effect::Append { frames, through } => {
                self.fold(1);
                self.fold(through.0);
                self.fold_bytes(frames);
            }
            Effect::Reply { waiter, result } => {
                self.fold(2);
                self.fold(waiter.0);
                self.result(result);
            }
            Effect::Deliver { stream, response } => {
                self.fold(3);
                self.fold(stream.0);
                self.watch(response);
            }
            Effect::Checkpoint(step) => self.checkpoint(step),
            Effect::Reclaim { through } => {
                self.fold(5);
                self.fold(through.0);
            }
            Effect::Send { to, message } => {
                self.fold(8);
                self.fold(to.0);
                self.message(message);
            }
            Effect::HashPassword { job, password } => {
                self.fold(9);
                self.fold(*job);
                self.fold_bytes(&password.0);
            }
            Effect::CheckPassword { job, password, hash } => {
                self.fold(10);
                self.fold(*job);
                self.fold_bytes(&password.0);
                self.fold_bytes(&hash.0);
            }
            Effect::Connect { .. } | Effect::Disconnect { .. } => self.fold_debug(effect),
            Effect::Note(note) => self.note(note),
            Effect::Halt { why } => {
                self.fold(7);
                self.fold_bytes(why.as_bytes());
            }
        }
    }

    fn message(&mut self, message: &PeerMessage) {
        match message {
            PeerMessage::Raft(mail) => self.mail(mail),
            other => self.fold_bytes(&other.encode()),
        }
    }

    /// Raft's mail is most of what is sent: its fields are folded as they are, without bytes made of them.
    fn mail(&mut self, mail: &Message) {
        self.fold(mail.get_msg_type() as u64);
        for field in [mail.to, mail.from, mail.term, mail.log_term, mail.index, mail.commit] {
            self.fold(field);
        }
        for field in [mail.commit_term, mail.request_snapshot, mail.reject_hint, u64::from(mail.reject)] {
            self.fold(field);
        }
        self.fold_bytes(&mail.context);
        for entry in mail.get_entries() {
            self.fold(entry.index);
            self.fold(entry.term);
            self.fold_bytes(&entry.data);
        }
        let snapshot = mail.get_snapshot().get_metadata();
        self.fold(snapshot.index);
        self.fold(snapshot.term);
    }

    fn checkpoint(&mut self, step: &CheckpointStep) {
        self.fold(4);
        match step {
            CheckpointStep::Begin { index, bytes } => {
                self.fold(index.0);
                self.fold_bytes(bytes);
            }
            CheckpointStep::Piece { bytes } | CheckpointStep::End { bytes } => self.fold_bytes(bytes),
            CheckpointStep::Abort => self.fold(0),
        }
    }

    fn note(&mut self, note: &Note) {
        self.fold(6);
        self.fold_debug(note);
    }

    fn watch(&mut self, response: &WatchResponse) {
        self.fold(response.revision as u64);
        self.fold(response.watch_id.0 as u64);
        self.fold(u64::from(response.created) | u64::from(response.canceled) << 1);
        self.fold(response.compact_revision as u64);
        for event in response.events.iter() {
            self.kv(&event.kv);
            if let Some(kv) = &event.prev_kv {
                self.kv(kv);
            }
        }
    }

    fn result(&mut self, result: &Result<Response, Status>) {
        match result {
            Ok(Response::Range(range)) => self.range(range),
            Ok(Response::Put(put)) => {
                self.fold(put.header.revision as u64);
                put.prev_kv.iter().for_each(|kv| self.kv(kv));
            }
            Ok(Response::DeleteRange(delete)) => {
                self.fold(delete.header.revision as u64);
                self.fold(delete.deleted as u64);
                delete.prev_kvs.iter().for_each(|kv| self.kv(kv));
            }
            Ok(Response::Txn(txn)) => self.txn(txn),
            other => self.fold_debug(other),
        }
    }

    fn txn(&mut self, txn: &TxnResponse) {
        self.fold(txn.header.revision as u64);
        self.fold(u64::from(txn.succeeded));
        for response in &txn.responses {
            match response {
                ResponseOp::Range(range) => self.range(range),
                ResponseOp::Put(put) => put.prev_kv.iter().for_each(|kv| self.kv(kv)),
                ResponseOp::DeleteRange(delete) => {
                    self.fold(delete.deleted as u64);
                    delete.prev_kvs.iter().for_each(|kv| self.kv(kv));
                }
                ResponseOp::Txn(_) => self.fold_debug(response),
            }
        }
    }

    fn range(&mut self, range: &RangeResponse) {
        self.fold(range.header.revision as u64);
        self.fold(range.count as u64);
        self.fold(u64::from(range.more));
        range.kvs.iter().for_each(|kv| self.kv(kv));
    }

    fn kv(&mut self, kv: &KeyValue) {
        self.fold_bytes(&kv.key);
        self.fold_bytes(&kv.value);
        self.fold(kv.mod_revision as u64);
        self.fold(kv.create_revision as u64);
        self.fold(kv.version as u64);
        self.fold(kv.lease.0 as u64);
    }
}
