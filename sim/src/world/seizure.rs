//! Mail that a script holds back, copies or drops.

use holdfast_core::peer::PeerMessage;
use raft::eraftpb::MessageType;

use super::World;
use super::network::Network;
use crate::plan::step::Seizure;

/// Kinds of messages between members, as scenarios name them.
pub const KINDS: [&str; 18] = [
    "append",
    "append_response",
    "vote",
    "vote_response",
    "pre_vote",
    "pre_vote_response",
    "heartbeat",
    "heartbeat_response",
    "snapshot",
    "timeout_now",
    "raft",
    "forward",
    "ask",
    "answer",
    "piece",
    "piece_ack",
    "ping",
    "knows",
];

/// The kind of a message.
pub fn kind(message: &PeerMessage) -> &'static str {
    match message {
        PeerMessage::Raft(mail) => match mail.get_msg_type() {
            MessageType::MsgAppend => "append",
            MessageType::MsgAppendResponse => "append_response",
            MessageType::MsgRequestVote => "vote",
            MessageType::MsgRequestVoteResponse => "vote_response",
            MessageType::MsgRequestPreVote => "pre_vote",
            MessageType::MsgRequestPreVoteResponse => "pre_vote_response",
            MessageType::MsgHeartbeat => "heartbeat",
            MessageType::MsgHeartbeatResponse => "heartbeat_response",
            MessageType::MsgSnapshot => "snapshot",
            MessageType::MsgTimeoutNow => "timeout_now",
            _ => "raft",
        },
        PeerMessage::Forward { .. } => "forward",
        PeerMessage::Ask { .. } => "ask",
        PeerMessage::Answer { .. } => "answer",
        PeerMessage::SnapshotPiece(_) => "piece",
        PeerMessage::SnapshotAck { .. } => "piece_ack",
        PeerMessage::Ping => "ping",
        PeerMessage::Knows { .. } => "knows",
    }
}

/// Members on one side of a link; `None`: any.
pub type Side = Option<Vec<usize>>;

/// A rule about mail, and what it has caught.
#[derive(Debug)]
pub struct Seized {
    seizure: Seizure,
    kind: Option<&'static str>,
    /// Senders and receivers.
    link: (Side, Side),
    left: u64,
    caught: Vec<Caught>,
}

#[derive(Clone, Debug)]
pub struct Caught {
    pub from: usize,
    pub to: usize,
    pub from_life: usize,
    pub message: PeerMessage,
}

impl Network {
    /// Begins a rule; its number.
    pub fn seize(
        &mut self,
        seizure: Seizure,
        kind: Option<&'static str>,
        link: (Side, Side),
        count: u64,
    ) -> usize {
        self.seizures.push(Seized { seizure, kind, link, left: count, caught: Vec::new() });
        self.seizures.len() - 1
    }

    /// How many messages wait under a rule.
    pub fn seized(&self, number: usize) -> usize {
        self.seizures[number].caught.len()
    }

    /// A rule applies to nothing more. What it has caught can still be released.
    pub fn end_seizure(&mut self, number: usize) {
        self.seizures[number].left = 0;
    }

    pub fn end_seizures(&mut self) {
        self.seizures.iter_mut().for_each(|seized| seized.left = 0);
    }

    /// What the rules say of a message. `None`: it goes its way.
    pub fn catch(&mut self, caught: &Caught) -> Option<Seizure> {
        let mut verdict = None;
        for seized in &mut self.seizures {
            let is_meant = seized.left > 0
                && seized.link.0.as_ref().is_none_or(|from| from.contains(&caught.from))
                && seized.link.1.as_ref().is_none_or(|to| to.contains(&caught.to))
                && seized.kind.is_none_or(|wanted| wanted == kind(&caught.message));
            if !is_meant {
                continue;
            }
            seized.left -= 1;
            if seized.seizure != Seizure::Drop {
                seized.caught.push(caught.clone());
            }
            if seized.seizure != Seizure::Copy {
                return Some(seized.seizure);
            }
            verdict = Some(Seizure::Copy);
        }
        verdict
    }

    pub fn has_seizures(&self) -> bool {
        !self.seizures.is_empty()
    }
}

impl World {
    /// Sends on the first of what a rule has caught, in the order in which it was sent.
    pub(super) fn release_mail(&mut self, number: usize, count: u64, times: u64) {
        let caught = &mut self.network.seizures[number].caught;
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(caught.len());
        let caught: Vec<Caught> = caught.drain(..count).collect();
        for _ in 0..times {
            for letter in &caught {
                self.dispatch(letter.clone(), 0);
            }
        }
    }
}
