//! Forged mail: now and then what arrives is followed by a copy that no correct member sends.
//!
//! It differs from a true message in one field, in a way that the receiver must refuse and note, once for each.
//! Lies that raft believes (a later term, entries of a leader that is none) could break any promise, and are no
//! part of what members have to bear.

use bytes::Bytes;
use holdfast_core::boundary::Input;
use holdfast_core::peer::PeerMessage;
use raft::eraftpb::{Message, MessageType};

use super::World;
use crate::marks::Mark;
use crate::plan::Lie;
use crate::rng::{Rng, derive, mix};

/// By this, in a field that raft-rs is never told anything in, the world knows its own forgeries again.
const FORGED: i64 = i64::MIN;

/// Forgeries that members were given in the turn at hand, and refusals that came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Forged {
    given: u64,
    refused: u64,
}

impl World {
    /// Sends a forged copy behind a message that arrives, if chance wants it.
    pub(super) fn forge(&mut self, from: usize, to: usize, message: &PeerMessage) {
        let probability = self.network.plan.hostile;
        if probability == 0.0 {
            return;
        }
        // By link and moment: what is forged on one link leaves the others as they are.
        let link = (from * self.plan.members_max() + to) as u64;
        let mut rng = Rng::new(derive(mix(self.plan.seed ^ link, b"forged"), self.now_ns));
        if !rng.chance(probability) {
            return;
        }
        match message {
            PeerMessage::Raft(mail) if rng.chance(0.7) => {
                let mail = forge_mail(&mut rng, mail);
                self.trace.line(self.now_ns, || format!("m{from} => m{to}, forged: {mail:?}"));
                let message = PeerMessage::Raft(Box::new(mail));
                self.give(to, Input::Peer { from: self.ids[from], message });
            }
            _ => self.flip_bits_in(&mut rng, message),
        }
    }

    /// What is damaged on its way is never taken for a message: transports see to that. Reading it must do no
    /// harm all the same.
    fn flip_bits_in(&mut self, rng: &mut Rng, message: &PeerMessage) {
        let mut bytes = message.encode().to_vec();
        for _ in 0..rng.between(1, 4) {
            let place = rng.below(bytes.len() as u64) as usize;
            bytes[place] ^= 1 << rng.below(8);
        }
        let is_read = PeerMessage::decode(Bytes::from(bytes)).is_ok();
        self.trace.fold(u64::from(is_read));
    }

    /// A member is given inputs: forgeries from members in the name of whom they come must be refused.
    pub(super) fn count_forged(&mut self, m: usize, inputs: &[Input]) {
        self.forged = Forged::default();
        if self.network.plan.hostile == 0.0 || self.plan.lie == Some(Lie::UnseenForgery) {
            return;
        }
        let process = self.machines[m].process.as_ref().expect("it takes a turn");
        let members = &process.node.state().members;
        let is_refused = |input: &&Input| match input {
            Input::Peer { from, message: PeerMessage::Raft(mail) } => {
                mail.priority == FORGED && !members.is_removed(*from) && !members.is_removed(self.ids[m])
            }
            _ => false,
        };
        self.forged.given = inputs.iter().filter(is_refused).count() as u64;
    }

    pub(super) fn on_refused(&mut self, m: usize, what: String) {
        self.forged.refused += 1;
        self.marks.hit(Mark::LieRefused);
        if self.forged.refused > self.forged.given {
            self.fail("peer", format!("m{m} refuses what {what}"));
        }
    }

    /// All effects of the turn are performed.
    pub(super) fn check_forged(&mut self, m: usize) {
        let Forged { given, refused } = self.forged;
        if refused < given {
            self.fail("peer", format!("m{m} was told {given} lies and refused {refused}"));
        }
    }
}

/// A copy with one field that no correct member sets so.
fn forge_mail(rng: &mut Rng, mail: &Message) -> Message {
    let mut m = mail.clone();
    m.priority = FORGED;
    match rng.below(7) {
        0 => m.term = 0,
        1 => m.from = rng.next() | 1 << 63,
        2 => m.to = rng.next() | 1 << 63,
        3 => m.index = u64::MAX - rng.below(1 << 20),
        4 => m.request_snapshot = 1 + rng.below(100),
        5 => m.context = Bytes::from(vec![7; 17 + rng.below(1000) as usize]),
        _ => m.set_msg_type(MessageType::MsgPropose),
    }
    m
}
