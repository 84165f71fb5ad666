//! The network between members: each directed link delays, loses, repeats and reorders on its own.
//!
//! A cut stops what is sent while it lasts; what is on its way arrives. Mail is addressed to a machine, not
//! to a life of it: it is lost on one that is down, and a late copy may reach the next life.

use std::collections::BTreeMap;

use holdfast_core::boundary::Input;
use holdfast_core::peer::PeerMessage;

use super::World;
use super::event::Event;
use super::seizure::{Caught, Seized};
use crate::marks::Mark;
use crate::plan::step::Seizure;
use crate::plan::{Lie, NetworkPlan};
use crate::record::Fate;
use crate::rng::{Rng, derive};

/// One direction between two members.
#[derive(Clone, Debug)]
struct Link {
    base_ns: u64,
    /// Draws of its delays, and of what it loses and repeats.
    pace: Rng,
    fate: Rng,
    /// When the last message arrives; large transfers have a stream of their own.
    last_ns: u64,
    last_bulk_ns: u64,
    clogged_until_ns: u64,
    /// Cuts that stop it.
    cuts: u32,
}

/// A message on its way.
#[derive(Debug)]
struct Letter {
    from: usize,
    to: usize,
    message: PeerMessage,
    /// Lives of sender and receiver when it was sent.
    from_life: usize,
    to_life: Option<usize>,
    sent_ns: u64,
    is_late: bool,
    /// Its number in the record, if there is one.
    recorded: Option<usize>,
}

/// All links, and all that is on them.
#[derive(Debug)]
pub struct Network {
    pub plan: NetworkPlan,
    size: usize,
    /// By sender, then receiver.
    links: Vec<Link>,
    letters: Vec<Option<Letter>>,
    free: Vec<u32>,
    /// Cuts that keep a member from its clients.
    clients_cut: Vec<u32>,
    /// Newest sending time of what has arrived, by link.
    arrived_sent_ns: Vec<u64>,
    /// Snapshot transfers seen, by link.
    transfers: BTreeMap<(usize, usize), u64>,
    /// What a script does with mail.
    pub(super) seizures: Vec<Seized>,
}

impl Network {
    pub fn new(seed: u64, plan: &NetworkPlan, size: usize) -> Network {
        let (low, high) = plan.base_ns;
        // A direction is drawn by its ends, so that a smaller cluster has the links of a larger one.
        let link = |from: usize, to: usize| {
            let seed = derive(derive(seed, from as u64), to as u64);
            let mut pace = Rng::named(seed, "link");
            Link {
                base_ns: pace.log_between(low, high),
                pace,
                fate: Rng::named(seed, "link fate"),
                last_ns: 0,
                last_bulk_ns: 0,
                clogged_until_ns: 0,
                cuts: 0,
            }
        };
        let links = (0..size * size).map(|number| link(number / size, number % size)).collect();
        Network {
            plan: plan.clone(),
            size,
            links,
            letters: Vec::new(),
            free: Vec::new(),
            clients_cut: vec![0; size],
            arrived_sent_ns: vec![0; size * size],
            transfers: BTreeMap::new(),
            seizures: Vec::new(),
        }
    }

    /// Begins or ends a cut of one direction.
    pub fn cut(&mut self, from: usize, to: usize, on: bool) {
        let cuts = &mut self.links[from * self.size + to].cuts;
        *cuts = if on { *cuts + 1 } else { *cuts - 1 };
    }

    /// Begins or ends a cut between a member and its clients.
    pub fn cut_clients(&mut self, member: usize, on: bool) {
        let cuts = &mut self.clients_cut[member];
        *cuts = if on { *cuts + 1 } else { *cuts - 1 };
    }

    pub fn reaches_clients(&self, member: usize) -> bool {
        self.clients_cut[member] == 0
    }

    pub fn reaches(&self, from: usize, to: usize) -> bool {
        self.links[from * self.size + to].cuts == 0
    }

    /// What is sent on a link waits until a moment.
    pub fn clog(&mut self, from: usize, to: usize, until_ns: u64) {
        self.links[from * self.size + to].clogged_until_ns = until_ns;
    }

    /// Everything heals; what is under way stays under way.
    pub fn heal(&mut self) {
        let plan = &mut self.plan;
        (plan.loss, plan.duplicate, plan.late, plan.late_pieces) = (0.0, 0.0, 0.0, 0.0);
        plan.keeps_order = true;
        for link in &mut self.links {
            link.base_ns = link.base_ns.min(1_000_000);
            link.clogged_until_ns = 0;
        }
    }

    /// When a message that is sent now arrives.
    fn arrival(&mut self, from: usize, to: usize, now_ns: u64, is_bulk: bool) -> u64 {
        let link = &mut self.links[from * self.size + to];
        let tail_ns = -(1.0 - link.pace.unit()).ln() * self.plan.tail * link.base_ns as f64;
        let mut at_ns = now_ns.max(link.clogged_until_ns) + link.base_ns + tail_ns as u64;
        let last_ns = if is_bulk { &mut link.last_bulk_ns } else { &mut link.last_ns };
        if self.plan.keeps_order {
            at_ns = at_ns.max(*last_ns);
            *last_ns = at_ns;
        }
        at_ns
    }

    fn put(&mut self, letter: Letter) -> u32 {
        match self.free.pop() {
            Some(place) => {
                self.letters[place as usize] = Some(letter);
                place
            }
            None => {
                self.letters.push(Some(letter));
                self.letters.len() as u32 - 1
            }
        }
    }

    fn take(&mut self, place: u32) -> Letter {
        self.free.push(place);
        self.letters[place as usize].take().expect("a letter arrives once")
    }
}

impl World {
    /// Takes a message from a member.
    pub(super) fn send(&mut self, from: usize, to: usize, message: PeerMessage) {
        self.counts.mails += 1;
        if let PeerMessage::SnapshotPiece(piece) = &message
            && let Some(before) = self.network.transfers.insert((from, to), piece.transfer)
            && before != piece.transfer
        {
            self.marks.hit(Mark::SnapshotRepeated);
        }
        let Network { plan, links, size, .. } = &mut self.network;
        let late = if message.is_bulk() { plan.late.max(plan.late_pieces) } else { plan.late };
        let link = &mut links[from * *size + to];
        let is_cut = link.cuts > 0;
        if is_cut || link.fate.chance(plan.loss) {
            self.record_unsent((from, to), &message, if is_cut { Fate::Cut } else { Fate::Lost });
            return self.lose(from, to, &message);
        }
        let repeats = link.fate.chance(plan.duplicate);
        let is_late = link.fate.chance(late);
        let late_ns = if is_late { link.fate.log_between(plan.late_ns.0, plan.late_ns.1) } else { 0 };
        let from_life = self.machines[from].life().expect("it sends");
        let letter = Caught { from, to, from_life, message };
        if self.network.has_seizures() {
            match self.network.catch(&letter) {
                Some(Seizure::Hold) => return self.record_unsent((from, to), &letter.message, Fate::Held),
                Some(Seizure::Drop) => {
                    self.record_unsent((from, to), &letter.message, Fate::Lost);
                    return self.lose(from, to, &letter.message);
                }
                Some(Seizure::Copy) | None => {}
            }
        }
        if repeats {
            self.counts.mails_repeated += 1;
            self.dispatch(letter.clone(), 0);
            self.record_copy();
        }
        if is_late {
            self.counts.mails_repeated += 1;
            self.dispatch(letter.clone(), late_ns);
        }
        self.dispatch(letter, 0);
    }

    pub(super) fn dispatch(&mut self, letter: Caught, late_ns: u64) {
        let now_ns = self.now_ns;
        let Caught { from, to, from_life, message } = letter;
        let to_life = self.machines[to].life();
        let at_ns = match late_ns {
            0 => self.network.arrival(from, to, now_ns, message.is_bulk()),
            late_ns => now_ns + late_ns,
        };
        let recorded = self.record_sent((from, to), &message, late_ns > 0);
        let letter = self.network.put(Letter {
            from,
            to,
            message,
            from_life,
            to_life,
            sent_ns: now_ns,
            is_late: late_ns > 0,
            recorded,
        });
        self.at(at_ns, Event::Mail { letter });
    }

    /// A message is lost; its sender may be told.
    fn lose(&mut self, from: usize, to: usize, message: &PeerMessage) {
        self.counts.mails_lost += 1;
        if matches!(message, PeerMessage::Forward { .. }) {
            self.marks.hit(Mark::ForwardLost);
        }
        self.trace.line(self.now_ns, || format!("m{from} => m{to} is lost: {}", brief(message)));
        let reports = self.network.plan.reports_loss;
        let link = &mut self.network.links[from * self.network.size + to];
        if let Some(life) = self.machines[from].life()
            && link.fate.chance(reports)
        {
            let pause = link.fate.between(100_000, 10_000_000);
            self.after(pause, Event::Lost { life: life as u32, to: to as u32 });
        }
    }

    pub(super) fn on_lost(&mut self, m: usize, to: usize) {
        let member = self.ids[to];
        self.give(m, Input::Unreachable { member });
    }

    pub(super) fn on_mail(&mut self, letter: u32) {
        let letter = self.network.take(letter);
        let (from, to) = (letter.from, letter.to);
        let Some(process) = &self.machines[to].process else {
            if let Some(heir) = self.admin.heir(to) {
                return self.misdeliver(letter, heir);
            }
            self.record_end(letter.recorded, Fate::NobodyThere);
            return self.lose(from, to, &letter.message);
        };
        // Nothing of what was sent behind the end of a connection is taken; what was on its way may be.
        if process.disconnected.iter().any(|(id, since)| *id == self.ids[from] && *since <= letter.sent_ns) {
            self.record_end(letter.recorded, Fate::Disconnected);
            return self.lose(from, to, &letter.message);
        }
        self.marks.hit_if(Mark::MailOfRemovedMember, self.referee.configs.is_removed(self.ids[from]));
        let life = process.life;
        if self.machines[to].is_wiped && !self.may_reach_wiped(to, &letter.message) {
            self.record_end(letter.recorded, Fate::NobodyThere);
            return self.lose(from, to, &letter.message);
        }
        self.mark_arrival(&letter, life);
        self.record_end(letter.recorded, Fate::Arrived);
        let Letter { message, sent_ns, .. } = letter;
        self.trace.fold(sent_ns);
        self.trace.line(self.now_ns, || format!("m{from} => m{to} {}", brief(&message)));
        let Some(message) = self.pass(message) else { return };
        self.forge(from, to, &message);
        self.give(to, Input::Peer { from: self.ids[from], message });
    }

    /// Mail for a member that is no more reaches another one at its address. Connections prove their senders;
    /// only raft's mail names its receiver, the rest belongs to a connection that ended.
    fn misdeliver(&mut self, letter: Letter, heir: usize) {
        let Letter { from, to, message, .. } = letter;
        let id = self.ids[from];
        let Some(process) = self.machines[heir].process.as_mut() else {
            return self.lose(from, to, &message);
        };
        let is_known = !process.disconnected.iter().any(|(known, _)| *known == id);
        if from == heir || !is_known || !matches!(message, PeerMessage::Raft(_)) {
            return self.lose(from, to, &message);
        }
        process.strays.push(id);
        self.marks.hit(Mark::MailForFormerMember);
        self.trace.line(self.now_ns, || format!("m{from} => m{heir}, meant for m{to}: {}", brief(&message)));
        self.give(heir, Input::Peer { from: id, message });
    }

    /// From hand to hand, or through bytes.
    fn pass(&mut self, message: PeerMessage) -> Option<PeerMessage> {
        if !self.network.plan.passes_bytes {
            return Some(message);
        }
        let bytes = self.garbled(Lie::GarbledMail, message.encode());
        match PeerMessage::decode(bytes) {
            Ok(read) if read == message => Some(read),
            other => {
                self.fail("codec", format!("{message:?} is read as {other:?}"));
                None
            }
        }
    }

    fn mark_arrival(&mut self, letter: &Letter, to_life: usize) {
        if letter.is_late {
            self.marks.hit(Mark::LateMail);
        }
        if letter.to_life.is_some_and(|life| life != to_life) {
            self.marks.hit(Mark::MailToNextLife);
        }
        if self.machines[letter.from].life() != Some(letter.from_life) {
            self.marks.hit(Mark::MailOfEarlierLife);
        }
        let newest = &mut self.network.arrived_sent_ns[letter.from * self.network.size + letter.to];
        if letter.sent_ns < *newest && !letter.is_late {
            self.marks.hit(Mark::MailOvertaken);
        }
        *newest = letter.sent_ns.max(*newest);
    }
}

/// A message in a few words.
pub fn brief(message: &PeerMessage) -> String {
    match message {
        PeerMessage::Raft(mail) => {
            let entries = mail.get_entries().len();
            let refused = if mail.reject { " refused" } else { "" };
            format!(
                "{:?} term {} index {} log term {} commit {} entries {entries}{refused}",
                mail.get_msg_type(),
                mail.term,
                mail.index,
                mail.log_term,
                mail.commit
            )
        }
        PeerMessage::Forward { commands } => format!("Forward of {} commands", commands.len()),
        PeerMessage::SnapshotPiece(piece) => {
            let bytes = piece.bytes.len();
            let last = if piece.last.is_some() { ", the last" } else { "" };
            format!(
                "SnapshotPiece {} of transfer {:x} at entry {}, {bytes} bytes{last}",
                piece.number, piece.transfer, piece.index
            )
        }
        other => format!("{other:?}"),
    }
}
