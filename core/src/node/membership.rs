//! Membership changes: what their proposer checks, and promotions, which are the leader's to judge.

use std::collections::BTreeMap;

use super::Node;
use crate::base::{Instant, MemberId};
use crate::boundary::Effect;
use crate::conf::{ConfChangeKind, ConfCommand};
use crate::members::strict::{self, Activity};
use crate::peer::{Caller, PeerMessage, Proposal, Question};
use crate::request::{Identity, Member, Response};
use crate::status::Status;

/// Promotions that callers of this member asked for while somebody else leads.
#[derive(Default)]
pub(super) struct Promotions {
    /// In the order of asking.
    asked: Vec<Promotion>,
}

struct Promotion {
    caller: Caller,
    identity: Option<Identity>,
    id: MemberId,
    deadline: Instant,
    /// The question that is under way; `None`: whoever leads is asked next.
    number: Option<u64>,
    /// Who was asked last does not lead: the next tick asks again.
    is_refused: bool,
}

impl Promotion {
    fn wants_asking(&self) -> bool {
        self.number.is_none() && !self.is_refused
    }
}

impl Promotions {
    /// Whether a promotion is to be asked for.
    pub fn wants_asking(&self) -> bool {
        self.asked.iter().any(Promotion::wants_asking)
    }

    fn position(&self, number: u64) -> Option<usize> {
        self.asked.iter().position(|promotion| promotion.number == Some(number))
    }
}

impl Node {
    /// CL-4, CL-7, CL-9, CL-10: the proposer's checks, then into the log.
    pub(super) fn change_membership(
        &mut self,
        now: Instant,
        caller: Caller,
        identity: Option<Identity>,
        change: ConfChangeKind,
        effects: &mut Vec<Effect>,
    ) {
        if let ConfChangeKind::Promote(id) = change {
            if !self.consensus.is_leader() {
                let deadline = now.plus_ns(self.config.request_timeout_ns());
                self.promotions.asked.push(Promotion {
                    caller,
                    identity,
                    id,
                    deadline,
                    number: None,
                    is_refused: false,
                });
                return self.ask_promotions(now, effects);
            }
            if let Err(status) = self.check_caught_up(id) {
                return self.tell(caller, Err(status), effects);
            }
        }
        if self.config.admit.strict_reconfig
            && let Err(status) = self.check_strict(now, &change)
        {
            return self.tell(caller, Err(status), effects);
        }
        if self.is_overloaded() {
            return self.tell(caller, Err(Status::TooManyRequests), effects);
        }
        let id = self.next_request_id();
        let header = self.header_of(id, identity.as_ref());
        let bytes = ConfCommand { header, change }.encode();
        let waiting = self.waiting(now, Some(caller), false);
        self.queue(id, Proposal::Conf(bytes), waiting, None);
    }

    fn check_strict(&self, now: Instant, change: &ConfChangeKind) -> Result<(), Status> {
        let silence_ns = self.silence_ns();
        let others = self.state.members.iter().map(|member| member.id);
        let since: BTreeMap<MemberId, Instant> =
            others.filter_map(|id| Some((id, self.cluster.connected_since(id, now, silence_ns)?))).collect();
        strict::check(change, &self.state.members, &Activity { me: self.id, now, since: &since })
    }

    /// Judged on the leader.
    fn check_caught_up(&self, id: MemberId) -> Result<(), Status> {
        let learner = self.consensus.matched(id).ok_or(Status::MemberNotFound)?;
        let leader = self.consensus.matched(self.id).unwrap_or_default();
        match strict::is_caught_up(learner, leader) {
            true => Ok(()),
            false => Err(Status::LearnerNotReady),
        }
    }

    /// Asks the leader for promotions that nobody was asked for yet; if we lead by now, we judge them.
    pub(super) fn ask_promotions(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if !self.promotions.wants_asking() {
            return;
        }
        if self.consensus.is_leader() {
            let ours = self.promotions.asked.extract_if(.., |promotion| promotion.wants_asking());
            for promotion in ours.collect::<Vec<_>>() {
                let change = ConfChangeKind::Promote(promotion.id);
                self.change_membership(now, promotion.caller, promotion.identity, change, effects);
            }
        } else if let Some(leader) = self.consensus.leader() {
            let epoch = self.proposals.epoch;
            for promotion in self.promotions.asked.iter_mut().filter(|asked| asked.wants_asking()) {
                self.question += 1;
                promotion.number = Some(self.question);
                let identity = promotion.identity.clone();
                let question = Question::Promote { id: promotion.id, identity };
                let message = PeerMessage::Ask { epoch, number: self.question, question };
                effects.push(Effect::Send { to: leader, message });
            }
        }
    }

    /// The one asked does not lead. False: the question was no promotion.
    pub(super) fn on_promotion_not_leader(&mut self, number: u64) -> bool {
        let Some(place) = self.promotions.position(number) else { return false };
        let promotion = &mut self.promotions.asked[place];
        (promotion.number, promotion.is_refused) = (None, true);
        true
    }

    /// The leader's answer. False: the question was no promotion.
    pub(super) fn on_promotion_answer(
        &mut self,
        number: u64,
        result: Result<Vec<Member>, Status>,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let Some(place) = self.promotions.position(number) else { return false };
        let promotion = self.promotions.asked.remove(place);
        let header = self.state.membership_header();
        let result = result.map(|members| Response::MemberPromote { header, members });
        self.tell(promotion.caller, result, effects);
        true
    }

    /// A tick: refused questions are asked again, and those that nobody answered end.
    pub(super) fn expire_promotions(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.promotions.asked.iter_mut().for_each(|promotion| promotion.is_refused = false);
        let late = self.promotions.asked.extract_if(.., |promotion| promotion.deadline <= now);
        for promotion in late.collect::<Vec<_>>() {
            self.tell(promotion.caller, Err(Status::Timeout), effects);
        }
    }
}
