//! The referee: sees every member at every step, and holds them to what raft promises.
//!
//! Each check costs O(1) a message or entry. The decided log is what the first member to apply an index has
//! there; it goes into `History::log`, and every other member is compared with it (G51). Names G46 to G58
//! are those of the catalogue of guarantees.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use holdfast_core::base::{LogIndex, MemberId};
use holdfast_core::boundary::{Effect, Note};
use holdfast_core::command::{Command, CommandHeader};
use holdfast_core::conf::ConfCommand;
use holdfast_core::peer::PeerMessage;
use holdfast_core::raft::Payload;
use holdfast_core::request::Request;
use holdfast_core::wal::EntryKind;
use raft::eraftpb::{Message, MessageType};

use super::World;
use super::decrees::{change, decree};
use super::members::Configs;
use super::tap::{Held, Tap};
use crate::check::matching::goes_through_log;
use crate::history::{Digest, Leadership, LogEntry, Moment};
use crate::marks::Mark;
use crate::oracle::auth::By;
use crate::oracle::model::Decree;
use crate::plan::Lie;
use crate::plan::step::Behind;
use crate::record::{Class, What};

/// When the entries of a term were seen first: from index `first` on, without gaps.
#[derive(Debug)]
struct Births {
    first: u64,
    moments: Vec<Moment>,
}

/// What a member is at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seat {
    /// Whether it believes to lead.
    pub leads: bool,
    pub has_leader: bool,
    pub term: u64,
    pub committed: u64,
    pub applied: u64,
    /// What it had applied before its last turn, and whether it led.
    pub applied_before: u64,
    pub led: bool,
    /// What it had applied when last nothing of its log waited for the disk: what comes to disk next was proposed
    /// with at least that.
    pub applied_when_written: u64,
    /// Snapshots taken over in this life.
    pub snapshots: u64,
}

/// What is known of all members, over all their lives.
#[derive(Debug, Default)]
pub struct Referee {
    pub taps: Vec<Tap>,
    pub seats: Vec<Seat>,
    /// The life of a member's epoch: the number of its boot record.
    epochs: BTreeMap<(usize, u64), usize>,
    /// Compactions that nobody asked for, by life and counter.
    pub(super) compactions: BTreeSet<(usize, u64)>,
    births: BTreeMap<u64, Births>,
    leaders: BTreeMap<u64, usize>,
    /// Whom a member voted for in a term.
    pub votes: BTreeMap<(u64, usize), u64>,
    candidates: BTreeMap<u64, usize>,
    digests: BTreeMap<u64, Digest>,
    pub configs: Configs,
    /// What every voter had on disk when the promotion of a learner was asked for first, at least.
    pub promotions: BTreeMap<usize, u64>,
    /// The newest version that a member has State at.
    pub state_version: u32,
    /// Logs on disks that are lost.
    pub ghosts: BTreeMap<usize, Tap>,
}

impl Referee {
    pub fn new(members: usize) -> Referee {
        Referee {
            taps: (0..members).map(|_| Tap::default()).collect(),
            seats: vec![Seat::default(); members],
            configs: Configs::new(members),
            ..Referee::default()
        }
    }

    /// Whether a member has the entry on its disk, or had when its disk was lost.
    pub fn keeps(&self, m: usize, index: u64, term: u64) -> bool {
        let ghost = || self.ghosts.get(&m).is_some_and(|ghost| ghost.keeps(index, term));
        self.taps[m].keeps(index, term) || ghost()
    }

    /// A member more.
    pub fn enlist(&mut self) {
        self.taps.push(Tap::default());
        self.seats.push(Seat::default());
    }

    /// A sole voter may lose a whole term with its entries, and have another of this number: nobody else had to
    /// agree, and nothing had left.
    pub fn forget_terms_above(&mut self, m: usize, term: u64) {
        let leaders = &self.leaders;
        self.births
            .retain(|known, _| *known <= term || leaders.get(known).is_some_and(|leader| *leader != m));
    }

    /// A life begins with State at an entry.
    pub fn begin_life(&mut self, m: usize, applied: u64) {
        self.seats[m] =
            Seat { applied, applied_before: applied, applied_when_written: applied, ..Seat::default() };
    }

    pub fn end_life(&mut self, m: usize) {
        self.seats[m] = Seat::default();
    }

    /// The member that leads in the latest term, as far as one believes to.
    pub fn leader(&self) -> Option<usize> {
        let leading = (0..self.seats.len()).filter(|m| self.seats[*m].leads);
        leading.max_by_key(|m| self.seats[*m].term)
    }

    /// The member that led last before the one that leads.
    pub fn old_leader(&self) -> Option<usize> {
        let mut leaders = self.leaders.values().rev();
        let newest = leaders.next()?;
        leaders.find(|m| *m != newest).copied()
    }

    /// Whether a member believes to lead while another does in a later term.
    pub fn is_deposed(&self, m: usize) -> bool {
        self.seats[m].leads && self.leader() != Some(m)
    }

    fn birth(&mut self, index: u64, term: u64, at: Moment) -> Moment {
        let births = self.births.entry(term).or_insert(Births { first: index, moments: Vec::new() });
        let place = index.saturating_sub(births.first) as usize;
        while births.moments.len() <= place {
            births.moments.push(at);
        }
        births.moments[place]
    }
}

impl World {
    /// Takes what a turn appends into the member's tap, before anything rests on it.
    pub(super) fn tap_appends(&mut self, m: usize, effects: &[Effect]) {
        for effect in effects {
            if let Effect::Append { frames, through } = effect {
                self.tap(m, frames, through.0);
            }
        }
    }

    fn tap(&mut self, m: usize, frames: &Bytes, through: u64) {
        let at = self.moment();
        let before = self.referee.taps[m].last();
        let frames = self.garbled(Lie::GarbledAppend, frames.clone());
        let taken = match self.referee.taps[m].take(&frames, through, &self.history.log) {
            Ok(taken) => taken,
            Err(why) => return self.fail("append", format!("m{m}: {why}")),
        };
        let life = self.machines[m].life().expect("it asked for the append");
        if let Some(epoch) = taken.boot {
            let known = self.referee.epochs.entry((m, epoch)).or_insert(life);
            // On an empty disk the numbers of an earlier disk come again; what that one proposed is its own.
            if !self.machines[m].is_wiped {
                *known = life;
            }
        }
        if let Some(index) = taken.overwrote {
            self.marks.hit(Mark::TailOverwritten);
            self.tell(Some(m), Class::Node, || format!("m{m} overwrites its log from entry {index} on"));
            self.observe_overwrite(m);
        }
        let tap = &self.referee.taps[m];
        let from = if taken.overwrote.is_some() || taken.took_snapshot { tap.base().0 } else { before };
        let fresh: Vec<(u64, u64)> =
            (from + 1..=tap.last()).filter_map(|index| Some((index, tap.at(index)?.term))).collect();
        for (index, term) in fresh {
            self.referee.birth(index, term, at);
            if taken.overwrote.map_or(index > before, |overwrote| index >= overwrote) {
                self.check_raised(m, index);
            }
        }
    }

    /// G49: a leader only appends. Whoever leads since before this turn wrote nothing of an earlier time in it:
    /// its candidacy waited until all that was on disk.
    fn observe_overwrite(&mut self, m: usize) {
        let gauges = self.machines[m].process.as_ref().expect("it took a turn").node.gauges();
        let before = self.referee.seats[m];
        if before.leads && gauges.is_leader && gauges.term == before.term {
            let what = format!("m{m} leads in term {} and overwrites entries of its own", gauges.term);
            self.fail("raft", what);
        }
    }

    fn on_snapshot_installed(&mut self, m: usize) {
        self.marks.hit(Mark::SnapshotInstalled);
        let state = self.machines[m].process.as_ref().map(|process| process.node.state());
        let is_on = state.is_some_and(|state| state.auth.is_enabled());
        self.marks.hit_if(Mark::SnapshotUnderAuth, is_on);
        self.marks.hit_if(
            Mark::JoinedBySnapshot,
            self.machines[m].joins && self.referee.seats[m].applied_before == 0,
        );
        self.referee.seats[m].snapshots += 1;
        if self.slots.iter().any(|slot| slot.is_open_on(m)) {
            self.marks.hit(Mark::SnapshotUnderWatches);
        }
    }

    /// Looks at a member after a turn: how far it is, and what it has applied.
    pub(super) fn observe(&mut self, m: usize) {
        let process = self.machines[m].process.as_ref().expect("it took a turn");
        let gauges = process.node.gauges();
        let is_written = gauges.last_index <= self.referee.taps[m].last();
        let seat = Seat {
            leads: gauges.is_leader,
            has_leader: gauges.has_leader,
            term: gauges.term,
            committed: gauges.committed,
            applied: gauges.applied,
            applied_before: self.referee.seats[m].applied,
            led: self.referee.seats[m].leads,
            applied_when_written: match is_written {
                true => gauges.applied,
                false => self.referee.seats[m].applied_when_written,
            },
            snapshots: self.referee.seats[m].snapshots,
        };
        let before = std::mem::replace(&mut self.referee.seats[m], seat);
        if seat.term < before.term || seat.committed < before.committed || seat.applied < before.applied {
            return self.fail("raft", format!("m{m} goes back from {before:?} to {seat:?}"));
        }
        let (version, known) = (process.node.state().version, self.plan.member(m).state_version);
        if version > known {
            return self.fail("version", format!("m{m} knows State up to {known} and has it at {version}"));
        }
        if seat.applied > seat.committed {
            return self.fail("raft", format!("m{m} has applied beyond its commit index: {seat:?}"));
        }
        if before.leads && seat.leads && seat.term == before.term && seat.committed > before.committed {
            self.observe_commit(m, &seat);
        }
        if seat.leads && !before.leads && self.referee.seats.iter().filter(|seat| seat.leads).count() > 1 {
            self.marks.hit(Mark::TwoLeaders);
        }
        for index in before.applied + 1..=seat.applied {
            self.observe_applied(m, index);
            if self.failed.is_some() {
                return;
            }
        }
        // Behind what was applied: by then the memberships are known.
        if seat.leads && before.leads && seat.term == before.term && seat.committed > before.committed {
            self.check_quorum(m, before, seat);
        }
        let is_change = |entry: &LogEntry| matches!(entry.decree, Decree::Member(_));
        if self.history.log[before.applied as usize..seat.applied as usize].iter().any(is_change) {
            self.check_configuration(m);
        }
        if before.applied + 1 < seat.applied && self.referee.taps[m].base().0 > before.applied {
            // A snapshot took the place of entries: the State is all there is to compare.
            self.take_digest(m);
        }
    }

    /// G53: a leader that goes on counts replicas of entries of its own term only; those before are committed
    /// with them. What it has not handed to its disk yet is its own.
    fn observe_commit(&mut self, m: usize, seat: &Seat) {
        let term = self.referee.taps[m].term_of(seat.committed).unwrap_or(seat.term);
        if term != seat.term {
            let what = format!(
                "m{m} leads in term {} and commits entry {} of term {term}",
                seat.term, seat.committed
            );
            self.fail("raft", what);
        }
    }

    /// G51: what a member applies at an index is what the first one applied there, and a majority keeps it.
    fn observe_applied(&mut self, m: usize, index: u64) {
        let decided = self.history.log.len() as u64;
        let tap = &self.referee.taps[m];
        let Some(held) = tap.at(index) else {
            if index <= tap.base().0 && index <= decided {
                return;
            }
            return self.fail("raft", format!("m{m} applied entry {index}, which is not in its log"));
        };
        if let Some(known) = self.history.log.get(index as usize - 1) {
            if !held.is(known) {
                let what = format!(
                    "m{m} applied entry {index} of term {}, another member one of term {}",
                    held.term, known.term
                );
                self.fail("state_machine", what);
            }
            return;
        }
        if index != decided + 1 {
            return self.fail("raft", format!("m{m} applied entry {index}, {decided} is the last decided"));
        }
        let (held, term) = (held.clone(), held.term);
        // Members are born with the entries that bring them into the cluster.
        let is_bootstrap = index <= self.plan.members.len() as u64 && held.kind == EntryKind::Conf;
        if !is_bootstrap && !self.is_kept_by_quorum(index, term) {
            let what = format!("m{m} applied entry {index} of term {term}, which no quorum has on disk");
            return self.fail("durability", what);
        }
        self.decide(m, index, held);
    }

    fn decide(&mut self, m: usize, index: u64, held: Held) {
        let at = self.moment();
        let seen = self.referee.birth(index, held.term, at);
        let life = self.machines[m].life().expect("it applied");
        match self.read(&held, life, seen) {
            Ok(entry) => {
                let node = &self.machines[m].process.as_ref().expect("it applied").node;
                let is_old = entry.by.auth_revision < node.state().auth.revision();
                let decided_in = node.gauges().term;
                let is_login = matches!(entry.decree, Decree::Login { .. });
                self.marks.hit_if(Mark::LoginRetried, is_login && is_old);
                self.history.log.push(LogEntry { decided_in, ..entry });
                self.on_decided(index);
                self.record(|| What::Decided { member: m, index });
            }
            Err(why) => self.fail("append", format!("entry {index}: {why}")),
        }
    }

    fn read(&self, held: &Held, applier: usize, seen: Moment) -> Result<LogEntry, String> {
        let payload = match held.kind {
            EntryKind::Conf => Payload::Conf(held.data.clone()),
            EntryKind::Normal if held.data.is_empty() => Payload::Empty,
            EntryKind::Normal => Payload::Command(held.data.clone()),
        };
        let (id, by, decree) = match &payload {
            Payload::Empty => (None, By::default(), Decree::Nothing),
            Payload::Conf(bytes) => {
                let command = ConfCommand::decode(bytes.clone()).map_err(|error| error.0.to_owned())?;
                let id = (!command.is_bootstrap()).then_some(command.header.id);
                let CommandHeader { user, auth_revision, .. } = command.header;
                (id, By { user, auth_revision }, Decree::Member(change(command.change)))
            }
            Payload::Command(bytes) => {
                let command = Command::decode(bytes.clone()).map_err(|error| error.0.to_owned())?;
                let CommandHeader { id, user, auth_revision } = command.header;
                (Some(id), By { user, auth_revision }, decree(command.action))
            }
        };
        let life = match id {
            None => applier,
            Some(id) => {
                let proposer = self.number_of(id.member).ok_or(format!("{id:?} is of no member"))?;
                let life = self.referee.epochs.get(&(proposer, id.epoch));
                *life.ok_or(format!("{id:?} is of no life"))?
            }
        };
        let decree = match (decree, id) {
            (Decree::Request(Request::Compact(compact)), Some(id))
                if self.referee.compactions.contains(&(life, id.counter)) =>
            {
                Decree::AutoCompaction { revision: compact.revision }
            }
            (decree, _) => decree,
        };
        Ok(LogEntry { term: held.term, id, decree, by, payload, life, seen, decided_in: 0 })
    }

    /// Looks at what a member sends, after `lies` have been told.
    pub(super) fn observe_send(&mut self, m: usize, message: &PeerMessage) {
        if !self.referee.taps[m].is_booted() {
            return self
                .fail("durability", format!("m{m} sends {message:?} before its boot record is durable"));
        }
        let PeerMessage::Raft(mail) = message else { return };
        let kind = mail.get_msg_type();
        if mail.from != self.ids[m].0 {
            return self.fail("raft", format!("m{m} sends in the name of {:x}: {mail:?}", mail.from));
        }
        let is_pre = matches!(kind, MessageType::MsgRequestPreVote | MessageType::MsgRequestPreVoteResponse);
        let (hard, term) = (self.referee.taps[m].durable_hard(), self.referee.taps[m].term_on_disk());
        if !is_pre && mail.term > term {
            let what = format!("m{m} sends in term {}, but {hard:?} is on its disk: {mail:?}", mail.term);
            return self.fail("durability", what);
        }
        match kind {
            MessageType::MsgAppend => {
                self.observe_leader(m, mail.term);
                self.observe_entries(mail);
            }
            MessageType::MsgHeartbeat | MessageType::MsgSnapshot | MessageType::MsgTimeoutNow => {
                self.observe_leader(m, mail.term);
            }
            MessageType::MsgRequestVote => {
                let other = self.referee.candidates.insert(mail.term, m);
                if other.is_some_and(|other| other != m) {
                    self.marks.hit(Mark::SplitVote);
                }
                self.observe_vote(m, mail.term, mail.from);
            }
            MessageType::MsgRequestVoteResponse if !mail.reject => self.observe_vote(m, mail.term, mail.to),
            MessageType::MsgAppendResponse if !mail.reject => self.observe_ack(m, mail),
            _ => {}
        }
    }

    /// When a leader's entries were seen first: its mail may leave before its own append does.
    fn observe_entries(&mut self, mail: &Message) {
        let at = self.moment();
        let fresh = mail.get_entries().iter().filter(|entry| entry.term == mail.term);
        for entry in fresh {
            self.referee.birth(entry.index, entry.term, at);
        }
    }

    /// G46: at most one leader a term.
    fn observe_leader(&mut self, m: usize, term: u64) {
        let known = *self.referee.leaders.entry(term).or_insert(m);
        if known != m {
            self.fail("election", format!("m{known} and m{m} lead in term {term}"));
        }
    }

    /// G47: one vote a term, kept over crashes; G54: and on disk before it is given.
    fn observe_vote(&mut self, m: usize, term: u64, to: u64) {
        let known = *self.referee.votes.entry((term, m)).or_insert(to);
        if known != to {
            return self.fail("election", format!("m{m} votes for {known:x} and {to:x} in term {term}"));
        }
        let hard = self.referee.taps[m].durable_hard();
        let is_kept = hard.term.0 > term || (hard.term.0 == term && hard.vote == MemberId(to));
        if !is_kept {
            let what = format!("m{m} votes for {to:x} in term {term}, but {hard:?} is on its disk");
            self.fail("durability", what);
        }
    }

    /// G54: an acknowledged entry is on disk. A reply of an earlier term may have been slow to leave: what
    /// it acknowledged can be overwritten meanwhile.
    fn observe_ack(&mut self, m: usize, mail: &Message) {
        let tap = &self.referee.taps[m];
        if mail.term == tap.newest_term() && !tap.is_durable(mail.index) {
            let what = format!(
                "m{m} acknowledges entry {} in term {}, which is not on its disk",
                mail.index, mail.term
            );
            self.fail("durability", what);
        }
    }

    pub(super) fn observe_note(&mut self, m: usize, note: &Note) {
        self.record_note(m, note);
        match note {
            Note::BecameLeader { term } => {
                self.tell(Some(m), Class::Node, || format!("m{m} leads in term {term}"));
                self.observe_leader(m, *term);
                self.observe_completeness(m, *term);
                self.check_votes(m, *term);
                let (at, member) = (self.moment(), self.ids[m]);
                let life = self.machines[m].life().expect("it says so");
                self.history.leaderships.push(Leadership { at, term: *term, member, life });
                self.counts.leaders += 1;
                let waits = |op: &crate::history::Op| op.answer.is_none() && goes_through_log(&op.request);
                let mut asked = self.clients.iter().filter_map(|client| client.waits_for());
                if asked.any(|op| waits(&self.history.ops[op as usize])) {
                    self.marks.hit(Mark::LeaderChangeUnderWrite);
                }
            }
            Note::LeaseExpired { id } => {
                let is_grant = |entry: &&LogEntry| matches!(&entry.decree, Decree::Request(Request::LeaseGrant(grant)) if grant.id.0 == *id);
                let state = self.machines[m].process.as_ref().map(|process| process.node.state());
                let is_on = state.is_some_and(|state| state.auth.is_enabled());
                self.marks.hit_if(Mark::LeaseExpiredUnderAuth, is_on);
                let granted = self.history.log.iter().rev().find(is_grant);
                if granted.is_some_and(|entry| self.referee.leaders.get(&entry.term) != Some(&m)) {
                    self.marks.hit(Mark::LeaseExpiredOnSecondLeader);
                }
            }
            Note::AutoCompaction { revision, counter } => self.on_auto_compaction(m, *revision, *counter),
            Note::SnapshotInstalled { .. } => self.on_snapshot_installed(m),
            Note::PeerRefused { from, what } => {
                if !self.is_stray(m, *from) {
                    self.on_refused(m, format!("{from:x} says: {what}"));
                }
            }
            Note::SnapshotReceiving { index, .. } => {
                self.machines[m].receives = Some(*index);
                self.machines[m].has_received = true;
            }
            Note::CheckpointWritten { index } => {
                self.counts.checkpoints += 1;
                let receives = self.machines[m].receives.take_if(|received| received == index);
                let (probability, why) = (
                    self.plan.crashes.after_received,
                    "behind a received state, which its log does not name",
                );
                if receives.is_some() && self.crash_behind(m, Behind::Received, probability, why) {
                    self.marks.hit(Mark::CrashAfterReceived);
                }
            }
            note => self.observe_member_note(m, note),
        }
    }

    /// G50: what is decided is in the log of every later leader. One entry stands for all before it, since
    /// equal entries have equal logs before them.
    fn observe_completeness(&mut self, m: usize, term: u64) {
        let Some(last) = self.history.log.last().filter(|last| last.term < term) else { return };
        let (index, wanted) = (self.history.log.len() as u64, last.term);
        let tap = &self.referee.taps[m];
        if index > tap.base().0 && tap.term_of(index) != Some(wanted) {
            let what = format!(
                "m{m} leads in term {term} without entry {index} of term {wanted}, which is decided: it has {:?}",
                tap.term_of(index)
            );
            self.fail("election", what);
        }
    }

    /// G48: where two logs have an entry of the same index and term, they are equal up to there.
    pub(super) fn check_log_matching(&mut self) {
        for a in 0..self.machines.len() {
            for b in 0..a {
                if let Some(what) = self.referee.taps[a].mismatch(&self.referee.taps[b]) {
                    return self.fail("log_matching", format!("m{a} and m{b}: {what}"));
                }
            }
        }
    }

    /// Digest of a member's whole State, to be compared with others, other lives and a replay.
    pub(super) fn take_digest(&mut self, m: usize) {
        let Some(process) = self.machines[m].process.as_ref().filter(|p| !p.node.is_applying()) else {
            return;
        };
        let LogIndex(applied) = process.node.state().applied;
        let (hash, life) = (process.node.state().hash(), process.life);
        let digest = Digest { life, at: self.moment(), applied, hash };
        self.history.digests.push(digest);
        self.check_configuration(m);
        let known = *self.referee.digests.entry(applied).or_insert(digest);
        if known.hash != hash {
            let what = format!(
                "State after entry {applied} is {hash:016x} on m{m} in life {life} and {:016x} in life {}",
                known.hash, known.life
            );
            self.fail("state_hash", what);
        }
    }
}
