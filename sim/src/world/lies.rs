//! Planted faults: what the world does wrong on purpose when a plan says so. Tests only.

use bytes::Bytes;
use holdfast_core::base::{LogIndex, Lsn, MemberId};
use holdfast_core::boundary::{Effect, Note};
use holdfast_core::node::AutoCompaction;
use holdfast_core::peer::{Answer, PeerMessage};
use holdfast_core::request::{Request, Response};
use holdfast_core::status::Status;
use holdfast_core::wal::{LayoutConfig, RawFrame};
use raft::eraftpb::{Message, MessageType};

use super::World;
use super::event::Completion;
use super::wipes::is_of_loss;
use crate::plan::{Lie, Plan, SECOND};

/// How often a lie about effects is told: each so many of its kind.
const EACH: u64 = 40;

/// What the liar remembers.
#[derive(Debug, Default)]
pub struct Liar {
    told: u64,
    /// An answer to a range of everything at the newest revision.
    old_answer: Option<Response>,
    /// The index that the last read was given, and how many had led until then.
    old_index: Option<(LogIndex, u64)>,
}

/// Puts a lie that is a property of disk, clock or layout into the plan.
pub fn prepare(plan: &mut Plan) {
    let lie = plan.lie;
    if lie == Some(Lie::YoungCompaction) {
        plan.auto_compaction = Some(AutoCompaction::Revision { retention: 1, every_ns: SECOND });
    }
    for member in plan.all_members_mut() {
        match lie {
            Some(Lie::FlushIsNoFlush) => member.disk.ignores_flush = true,
            Some(Lie::NamesAreNotFlushed) => {
                member.disk.ignores_directory_flush = true;
                member.layout =
                    LayoutConfig { first_segment_bytes: 16 << 10, segment_bytes: 16 << 10, spares_max: 1 };
            }
            Some(Lie::FastClock) => member.clock_rate *= 2.0,
            _ => {}
        }
    }
}

impl World {
    /// The effects as they are performed: one of them is left out, repeated or changed now and then.
    pub(super) fn lie_about(&mut self, lie: Lie, effect: Effect) -> Vec<Effect> {
        match (lie, effect) {
            (Lie::LostDelivery, Effect::Deliver { response, .. })
                if !response.events.is_empty() && self.is_time() =>
            {
                Vec::new()
            }
            (Lie::RepeatedDelivery, effect @ Effect::Deliver { .. }) if self.is_time() => {
                vec![effect.clone(), effect]
            }
            (Lie::RepeatedAnswer, effect @ Effect::Reply { .. }) if self.is_time() => {
                vec![effect.clone(), effect]
            }
            (Lie::StaleRange, Effect::Reply { waiter, result: Ok(Response::Range(range)) }) => {
                let asked = self.history.ops.get(waiter.0 as usize).map(|op| &op.request);
                let is_plain = matches!(asked, Some(Request::Range(range)) if range.revision == 0
                    && !range.serializable && !range.count_only && range.limit == 0);
                let fresh = Response::Range(range);
                let old = self.liar.old_answer.take().filter(|_| is_plain);
                if is_plain {
                    self.liar.old_answer = Some(fresh.clone());
                }
                let told = if self.is_time() { old } else { None };
                vec![Effect::Reply { waiter, result: Ok(told.unwrap_or(fresh)) }]
            }
            (Lie::GivesUp, effect @ Effect::Reply { .. }) if self.is_time() => {
                vec![effect, Effect::Halt { why: "of a planted fault".to_owned() }]
            }
            (Lie::LearnersRefusal, Effect::Reply { waiter, result: Ok(_) }) if self.is_time() => {
                vec![Effect::Reply { waiter, result: Err(Status::NotSupportedForLearner) }]
            }
            (Lie::YoungCompaction, Effect::Note(Note::AutoCompaction { revision, counter })) => {
                vec![Effect::Note(Note::AutoCompaction { revision: revision + 1, counter })]
            }
            (Lie::DeafToLoss, Effect::Halt { why }) if is_of_loss(&why) => Vec::new(),
            (Lie::WrongReceiver, Effect::Send { message, .. }) if self.is_time() => {
                vec![Effect::Send { to: MemberId(1), message }]
            }
            (lie, Effect::Send { to, mut message }) => {
                self.lie_in_mail(lie, &mut message);
                vec![Effect::Send { to, message }]
            }
            (_, effect) => vec![effect],
        }
    }

    fn lie_in_mail(&mut self, lie: Lie, message: &mut PeerMessage) {
        match (lie, message) {
            (Lie::GrantedVote, PeerMessage::Raft(mail))
                if mail.get_msg_type() == MessageType::MsgRequestVoteResponse =>
            {
                mail.reject = false;
            }
            (Lie::TwoTruths, PeerMessage::Raft(mail)) if self.changes_entry(mail) && self.is_time() => {
                let mut entries = mail.take_entries().into_vec();
                let last = entries.len() - 1;
                let bytes = entries[last].data.to_vec();
                // The last byte of a command is in its value or flags: it may be read, and says something else.
                let (head, tail) = bytes.split_at(bytes.len() - 1);
                entries[last].data = Bytes::from([head, &[tail[0] ^ 1]].concat());
                mail.set_entries(entries.into());
            }
            (Lie::WrongSender, PeerMessage::Raft(mail)) if self.is_time() => mail.from ^= 1,
            (Lie::StaleReadIndex, PeerMessage::Answer { answer: Answer::ReadIndex(index), .. }) => {
                let leaders = self.counts.leaders;
                match self.liar.old_index.replace((*index, leaders)) {
                    Some((old, before)) if before < leaders => *index = old.min(*index),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// Whether a message carries an entry that can be told otherwise.
    fn changes_entry(&self, mail: &Message) -> bool {
        mail.get_msg_type() == MessageType::MsgAppend
            && mail.get_entries().last().is_some_and(|entry| !entry.data.is_empty())
    }

    /// Reports an append as done when it has not begun.
    pub(super) fn complete_too_early(&mut self, m: usize, frames: &Bytes, through: Lsn) {
        let Some(lie) = self.plan.lie else { return };
        let is_told = match lie {
            Lie::PersistedTooEarly => true,
            Lie::EarlyPromise => !has_entries(frames),
            Lie::EarlyAck => has_entries(frames),
            _ => false,
        };
        if is_told {
            self.complete(m, Completion::Persisted(through.0));
        }
    }

    /// Bytes as they are handed on: without the last one, if it is time for that.
    pub(super) fn garbled(&mut self, lie: Lie, bytes: Bytes) -> Bytes {
        match self.plan.lie == Some(lie) && self.is_time() {
            true => bytes.slice(..bytes.len() - 1),
            false => bytes,
        }
    }

    /// Whether this append is one that is forgotten.
    pub(super) fn forgets_append(&mut self) -> bool {
        let is_later = self.history.lives.len() > self.machines.len();
        self.plan.lie == Some(Lie::ForgottenAppend) && is_later && self.is_time()
    }

    fn is_time(&mut self) -> bool {
        self.liar.told += 1;
        self.liar.told.is_multiple_of(EACH)
    }
}

fn has_entries(frames: &Bytes) -> bool {
    let mut offset = 0;
    while let Some(raw) = RawFrame::read(&frames.slice(offset..)) {
        if raw.decode().is_ok_and(|frame| !frame.entries.is_empty()) {
            return true;
        }
        offset += raw.encoded_len();
    }
    false
}
