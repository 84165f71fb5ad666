//! The ledger: what was handed to the disk, what came back, and the mail that waits for it.
//!
//! raft-rs takes everything in `Tail` for persisted. Here stands what is: each `Ready` that must be synced
//! is one frame, and mail leaves when the frames it rests on are durable. Most mail rests on the *barrier*,
//! the last frame so far that had to be synced: an acknowledgement may speak of entries of an earlier
//! `Ready`, whatever its own `must_sync` says. A leader's appends and heartbeats rest only on the last frame
//! that changed term or vote, or said that a membership change is committed, so that followers write while the
//! leader does.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use raft::eraftpb::{Message, MessageType};

use crate::base::{LogIndex, Lsn, MemberId, Term};
use crate::wal::{EntryFrame, Frame, FrameKind, FrameWriter};

/// What was handed to the disk and what came back.
pub struct Ledger {
    writer: FrameWriter,
    /// Frames of the next append.
    buffer: BytesMut,
    /// Last frame handed out. One append at a time: while it is on its way, frames gather behind it,
    /// and each frame names the append it goes with.
    handed_out: Lsn,
    /// Last frame made.
    end: Lsn,
    /// Last frame known to be on disk.
    durable: Lsn,
    /// Last frame that had to be synced: what later effects rest on.
    barrier: Lsn,
    /// Last frame that changed term or vote, or that a leader's mail was made to wait for.
    vote_barrier: Lsn,
    /// Term and vote as of that frame.
    vote: (Term, MemberId),
    /// The boot record of this life.
    boot: Lsn,
    /// Readies whose frames are not yet durable: raft-rs number, barrier at that time.
    readies: VecDeque<(u64, Lsn)>,
    /// Mail that rests on the barrier, and a leader's, each with the frame it waits for; tags rise.
    held: VecDeque<(Lsn, Message)>,
    held_by_vote: VecDeque<(Lsn, Message)>,
    /// The hard state moved without a frame of its own (commit only).
    hard_pending: bool,
    /// Last durable frame that carries a hard state: the log is kept back to it.
    hard_at: Lsn,
    /// Frames with a hard state that are on their way.
    hard_on_its_way: VecDeque<Lsn>,
    /// Frames with entries, oldest first.
    frames: VecDeque<EntryFrame>,
}

impl Ledger {
    /// Behind what replay found; the boot record of life `life` is the first frame.
    pub fn new(writer: FrameWriter, frames: VecDeque<EntryFrame>, hard_at: Lsn, life: u64) -> Ledger {
        let end = writer.last();
        let mut ledger = Ledger {
            writer,
            buffer: BytesMut::new(),
            handed_out: end,
            end,
            durable: end,
            barrier: end,
            vote_barrier: Lsn(end.0 + 1),
            vote: (Term(0), MemberId(0)),
            boot: Lsn(end.0 + 1),
            readies: VecDeque::new(),
            held: VecDeque::new(),
            held_by_vote: VecDeque::new(),
            hard_pending: true,
            hard_at,
            hard_on_its_way: VecDeque::new(),
            frames,
        };
        ledger.push(Frame {
            kind: FrameKind::Boot { life },
            hard: None,
            snapshot: None,
            entries: Vec::new(),
        });
        ledger
    }

    /// Makes a frame.
    pub fn push(&mut self, frame: Frame) {
        let before = self.buffer.len();
        let batch = Lsn(self.handed_out.0 + 1);
        let lsn = self.writer.push(&frame, batch, &mut self.buffer);
        assert_eq!(lsn.0, self.end.0 + 1, "frames are numbered without gaps");
        self.end = lsn;
        self.barrier = lsn;
        if let Some(hard) = frame.hard {
            self.hard_pending = false;
            self.hard_on_its_way.push_back(lsn);
            if (hard.term, hard.vote) != self.vote {
                self.vote = (hard.term, hard.vote);
                self.vote_barrier = lsn;
            }
        }
        if let Some(last) = frame.entries.last() {
            let bytes = (self.buffer.len() - before) as u64;
            self.frames.push_back(EntryFrame { lsn, last: last.index, bytes });
        }
    }

    /// Everything that is sent from here on, a leader's mail too, waits for the last frame so far.
    pub fn hold_all_mail(&mut self) {
        self.vote_barrier = self.end;
    }

    /// Frames for an `Append`, if there are any and the last append is durable.
    pub fn take_frames(&mut self) -> Option<(Bytes, Lsn)> {
        if self.buffer.is_empty() || self.durable < self.handed_out {
            return None;
        }
        self.handed_out = self.end;
        Some((self.buffer.split().freeze(), self.end))
    }

    /// Frames up to `through` are on disk.
    pub fn on_persisted(&mut self, through: Lsn) {
        assert!(through <= self.handed_out, "the shell reports only what it was given");
        self.durable = self.durable.max(through);
        while let Some(lsn) = self.hard_on_its_way.pop_front_if(|lsn| *lsn <= self.durable) {
            self.hard_at = lsn;
        }
    }

    /// A `Ready` is taken: raft-rs hears of its persistence when everything it rests on is durable.
    pub fn record_ready(&mut self, number: u64) {
        self.readies.push_back((number, self.barrier));
    }

    /// The last `Ready` of which everything is durable, once.
    pub fn take_persisted_ready(&mut self) -> Option<u64> {
        let mut last = None;
        while let Some((number, _)) = self.readies.pop_front_if(|(_, barrier)| *barrier <= self.durable) {
            last = Some(number);
        }
        last
    }

    /// Holds a message back until what it rests on is durable. `by_leader`: raft-rs allows it to leave
    /// before the sender's own entries are on disk.
    pub fn hold(&mut self, message: Message, by_leader: bool) {
        match by_leader && !is_promise(message.get_msg_type()) {
            true => self.held_by_vote.push_back((self.vote_barrier, message)),
            false => self.held.push_back((self.barrier, message)),
        }
    }

    /// Mail that may leave.
    pub fn take_mail(&mut self, mail: &mut Vec<Message>) {
        for held in [&mut self.held_by_vote, &mut self.held] {
            while let Some((_, message)) = held.pop_front_if(|(lsn, _)| *lsn <= self.durable) {
                mail.push(message);
            }
        }
    }

    /// Messages that may not leave yet.
    pub fn mail_held(&self) -> usize {
        self.held.len() + self.held_by_vote.len()
    }

    /// Whether this life's boot record, and with it everything that replay found, is durable.
    pub fn is_booted(&self) -> bool {
        self.durable >= self.boot
    }

    /// Whether everything that had to be synced is durable.
    pub fn is_settled(&self) -> bool {
        self.durable >= self.barrier
    }

    /// Whether term and vote are durable: what a leader says of its own accord rests on them.
    pub fn is_vote_durable(&self) -> bool {
        self.durable >= self.vote_barrier
    }

    pub fn is_hard_pending(&self) -> bool {
        self.hard_pending
    }

    /// The next frame carries the hard state.
    pub fn want_hard(&mut self) {
        self.hard_pending = true;
    }

    /// Gives up the frames that a checkpoint at `index` makes dispensable; the last one of them.
    pub fn reclaim(&mut self, index: LogIndex) -> Lsn {
        let mut needed = self.hard_at;
        if let Some(frame) = self.frames.iter().find(|frame| frame.last > index) {
            needed = needed.min(frame.lsn);
        }
        while self.frames.front().is_some_and(|frame| frame.lsn < needed) {
            self.frames.pop_front();
        }
        Lsn(needed.0.saturating_sub(1))
    }

    /// Bytes of frames with entries behind `index`: what a replay from there would read.
    pub fn bytes_behind(&self, index: LogIndex) -> u64 {
        let behind = self.frames.iter().rev().take_while(|frame| frame.last > index);
        behind.map(|frame| frame.bytes).sum()
    }
}

/// Whether a message promises something that its sender must not forget: those wait for the barrier
/// whoever sends them, also when raft-rs hands them out as a leader's (it may have become one in this turn).
fn is_promise(message_type: MessageType) -> bool {
    !matches!(message_type, MessageType::MsgAppend | MessageType::MsgHeartbeat | MessageType::MsgTimeoutNow)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::HardState;

    fn ledger() -> Ledger {
        let mut ledger = Ledger::new(FrameWriter::new(Lsn(0), 0), VecDeque::new(), Lsn(0), 7);
        let (_, through) = ledger.take_frames().expect("the boot record");
        ledger.on_persisted(through);
        ledger
    }

    fn frame(term: u64) -> Frame {
        let hard = HardState { term: Term(term), vote: MemberId(1), commit: LogIndex(0) };
        Frame { kind: FrameKind::Ready, hard: Some(hard), snapshot: None, entries: Vec::new() }
    }

    fn message(message_type: MessageType) -> Message {
        let mut message = Message::default();
        message.set_msg_type(message_type);
        message
    }

    fn mail(ledger: &mut Ledger) -> Vec<MessageType> {
        let mut mail = Vec::new();
        ledger.take_mail(&mut mail);
        mail.iter().map(Message::get_msg_type).collect()
    }

    #[test]
    fn an_acknowledgement_waits_for_every_frame_before_it() {
        let mut ledger = ledger();
        ledger.push(frame(1));
        ledger.hold(message(MessageType::MsgAppendResponse), false);
        assert!(mail(&mut ledger).is_empty());
        let (_, through) = ledger.take_frames().expect("a frame");
        ledger.on_persisted(through);
        assert_eq!(mail(&mut ledger), [MessageType::MsgAppendResponse]);
    }

    #[test]
    fn a_leaders_append_waits_for_its_term_alone() {
        let mut ledger = ledger();
        ledger.push(frame(1));
        ledger.hold(message(MessageType::MsgAppend), true);
        assert!(mail(&mut ledger).is_empty(), "the term is not on disk");
        let (_, through) = ledger.take_frames().expect("a frame");
        ledger.on_persisted(through);
        ledger.push(frame(1));
        ledger.hold(message(MessageType::MsgAppend), true);
        ledger.hold(message(MessageType::MsgAppendResponse), true);
        let released = mail(&mut ledger);
        assert_eq!(released, [MessageType::MsgAppend, MessageType::MsgAppend]);
    }
}
