//! Who belongs to the cluster, by what is decided: machines come and go with it, and quorums are counted by it.

use holdfast_core::base::MemberId;
use holdfast_core::boundary::Note;
use holdfast_core::state::STATE_IS_NEWER;

use super::event::Event;
use super::machine::Machine;
use super::wipes::is_of_loss;
use super::{Phase, World};
use crate::check::Seen;
use crate::marks::Mark;
use crate::oracle::members::{Change, Roster};
use crate::oracle::model::Decree;
use crate::plan::Enlisted;
use crate::record::Class;
use crate::rng::derive;

/// The membership from an entry on.
#[derive(Clone, Debug)]
pub struct Config {
    /// The entry that made it so.
    from: u64,
    roster: Roster,
    /// Numbers of those that vote.
    voters: Vec<usize>,
}

/// All memberships that were decided.
#[derive(Clone, Debug, Default)]
pub struct Configs {
    /// Oldest first. The first one is what the members are born with, whatever entry of it is applied.
    list: Vec<Config>,
    /// The newest one, with the names that members have published.
    roster: Roster,
    seen: Seen,
}

impl Configs {
    pub fn new(voters: usize) -> Configs {
        let first = Config { from: 0, roster: Roster::default(), voters: (0..voters).collect() };
        Configs { list: vec![first], ..Configs::default() }
    }

    /// The newest membership.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Numbers of those that vote by the newest membership.
    pub fn voters(&self) -> &[usize] {
        &self.newest().voters
    }

    /// Ids of all members once entry `index` is applied; those of the beginning are in the log too.
    pub fn members_at(&self, index: u64) -> Vec<MemberId> {
        self.at(index).roster.list().iter().map(|member| member.id).collect()
    }

    fn newest(&self) -> &Config {
        self.list.last().expect("there is always one")
    }

    /// The membership once entry `index` is applied.
    fn at(&self, index: u64) -> &Config {
        &self.list[self.list.partition_point(|config| config.from <= index) - 1]
    }

    /// Voters of each membership that a member has while it goes from entry `from` to `to`.
    pub fn voters_within(&self, from: u64, to: u64) -> impl Iterator<Item = &[usize]> {
        let first = self.list.partition_point(|config| config.from <= from) - 1;
        let end = self.list.partition_point(|config| config.from <= to);
        self.list[first..end].iter().map(|config| &config.voters[..])
    }

    /// Voters of the memberships by which entry `index` can have been committed: who leads may have applied
    /// all before it, or all before the change before it.
    pub fn voters_for(&self, index: u64) -> impl Iterator<Item = &[usize]> {
        let end = self.list.partition_point(|config| config.from < index).max(1);
        self.list[end.saturating_sub(2)..end].iter().map(|config| &config.voters[..])
    }

    pub fn is_voter_at(&self, id: MemberId, index: u64) -> bool {
        self.at(index).roster.voters().any(|voter| voter == id)
    }

    pub fn is_learner_at(&self, id: MemberId, index: u64) -> bool {
        self.at(index).roster.get(id).is_some_and(|member| member.is_learner)
    }

    pub fn is_removed(&self, id: MemberId) -> bool {
        self.roster.is_removed(id)
    }
}

/// Whether more than half of some are among those that `votes` picks.
pub fn is_quorum(voters: &[usize], votes: impl Fn(usize) -> bool) -> bool {
    2 * voters.iter().filter(|m| votes(**m)).count() > voters.len()
}

impl World {
    /// Members that can run: all that belong to the cluster but those whose directory is damaged.
    pub(super) fn healthy(&self) -> impl Iterator<Item = usize> + '_ {
        let roster = self.referee.configs.roster();
        let can_run = |m: &usize| {
            let machine = &self.machines[*m];
            !machine.is_refused && !machine.is_off && !machine.is_wiped && roster.get(self.ids[*m]).is_some()
        };
        (0..self.machines.len()).filter(can_run)
    }

    /// Machines that are in use: members, those to be, and those that do not know that they are removed.
    pub(super) fn in_use(&self) -> Vec<usize> {
        let is_in_use = |m: &usize| self.machines[*m].has_begun && !self.machines[*m].is_off;
        let in_use: Vec<usize> = (0..self.machines.len()).filter(is_in_use).collect();
        // There is always somebody to turn to, though nobody may be there.
        if in_use.is_empty() { (0..self.machines.len()).collect() } else { in_use }
    }

    /// Machines that clients turn to. A new member is not known before it has said its name (CL-12).
    pub(super) fn serving(&self) -> Vec<usize> {
        let serving = self.in_use();
        let known: Vec<usize> = serving.iter().copied().filter(|m| self.machines[*m].is_known).collect();
        if known.is_empty() { serving } else { known }
    }

    /// A machine for a member to come. `None`: there are no more.
    pub(super) fn enlist(&mut self, id: MemberId) -> Option<usize> {
        let m = self.machines.len();
        if m >= self.plan.members_max() {
            return None;
        }
        let faults = self.plan.member(m).disk.clone();
        let mut machine = Machine::new(derive(self.plan.seed, m as u64), faults);
        (machine.joins, machine.has_begun, machine.is_known) = (true, false, false);
        self.machines.push(machine);
        self.ids.push(id);
        self.referee.enlist();
        Some(m)
    }

    /// Machines whose members are known from the beginning.
    pub(super) fn enlist_known(&mut self) {
        for Enlisted { id, heir_of } in std::mem::take(&mut self.plan.membership.enlisted) {
            let m = self.enlist(id).expect("a plan describes whom it enlists");
            if let Some(former) = heir_of {
                self.admin.inherit(former, m);
            }
        }
    }

    /// Whose machines those of newcomers are.
    pub(super) fn enlisted(&self) -> Vec<Enlisted> {
        let newcomers = self.plan.members.len()..self.machines.len();
        newcomers.map(|m| Enlisted { id: self.ids[m], heir_of: self.admin.heir_of(m) }).collect()
    }

    /// A machine's first life begins in a while, if it is not under way already.
    pub(super) fn begin_soon(&mut self, m: usize, pause_ns: u64) {
        if !self.machines[m].has_begun && !self.machines[m].is_off {
            self.machines[m].has_begun = true;
            self.after(pause_ns, Event::Start { member: m as u32 });
        }
    }

    /// An entry is decided: if it changes the membership, quorums are others from here on.
    pub(super) fn on_decided(&mut self, index: u64) {
        let entry = &self.history.log[index as usize - 1];
        let configs = &mut self.referee.configs;
        let is_repeat = entry.id.is_some_and(|id| configs.seen.is_repeat(id));
        match &entry.decree {
            _ if is_repeat => {}
            Decree::Publish { member, name, client_urls } => {
                configs.roster.publish(*member, name, client_urls);
            }
            Decree::Member(change) => {
                let (change, is_birth) = (change.clone(), entry.id.is_none());
                if configs.roster.change(&change).is_ok() {
                    self.on_members_changed(index, &change, is_birth);
                }
            }
            _ => {}
        }
    }

    fn on_members_changed(&mut self, index: u64, change: &Change, is_birth: bool) {
        let roster = self.referee.configs.roster.clone();
        let numbers: Option<Vec<usize>> = roster.voters().map(|id| self.number_of(id)).collect();
        let Some(mut voters) = numbers else {
            return self.fail("members", format!("entry {index} makes a member of nobody: {change:?}"));
        };
        if is_birth {
            return self.referee.configs.list[0].roster = roster;
        }
        voters.sort_unstable();
        self.tell(None, Class::Node, || format!("entry {index} is {change:?}: voters are {voters:?}"));
        let is_cut = self.faults.is_cut();
        let from = index;
        self.referee.configs.list.push(Config { from, roster, voters });
        self.counts.member_changes += 1;
        self.marks.hit_if(Mark::MembersChangedWhileCut, is_cut);
        match change {
            Change::Add { id, is_learner, .. } => {
                self.marks.hit(if *is_learner { Mark::LearnerAdded } else { Mark::VoterAdded });
                if self.phase != Phase::Storm
                    && let Some(m) = self.number_of(*id)
                {
                    let is_off = std::mem::take(&mut self.machines[m].is_off);
                    self.machines[m].has_begun &= !is_off;
                    self.begin_soon(m, 1);
                }
            }
            Change::Promote(id) => {
                self.check_caught_up(*id);
                self.marks.hit(Mark::LearnerPromoted);
                self.marks.hit_if(Mark::LearnerPromotedWhileCut, is_cut);
            }
            Change::Remove(id) => {
                self.marks.hit(Mark::MemberRemoved);
                let is_wiped = self.number_of(*id).is_some_and(|m| self.machines[m].is_wiped);
                self.marks.hit_if(Mark::WipedMemberRemoved, is_wiped);
            }
            Change::Update { .. } => {}
        }
    }

    /// A promoted learner had nine tenths of what every voter had on disk when it was asked for (CL-10): whoever
    /// judged it leads with that much, and the learner's log has only grown since.
    fn check_caught_up(&mut self, id: MemberId) {
        let Some(m) = self.number_of(id) else { return };
        let floor = self.referee.promotions.get(&m).copied().unwrap_or(0);
        let last = self.referee.taps[m].last();
        if !self.machines[m].is_wiped && last * 10 < floor * 9 {
            self.fail("members", format!("m{m} is promoted with {last} entries, all voters had {floor}"));
        }
    }

    /// A promotion is asked for: what every voter has on disk of what is decided.
    pub(super) fn note_promotion(&mut self, id: MemberId) {
        let Some(m) = self.number_of(id) else { return };
        let decided = self.history.log.len() as u64;
        let others = self.healthy().filter(|other| *other != m);
        let least = others.map(|other| self.referee.taps[other].last_durable()).min().unwrap_or(0);
        let floor = self.referee.promotions.entry(m).or_insert(u64::MAX);
        *floor = (*floor).min(least.min(decided));
    }

    /// The storm is over: whoever belongs to the cluster runs, and nobody else.
    pub(super) fn settle_members(&mut self) {
        for m in 0..self.machines.len() {
            if self.machines[m].is_wiped {
                self.switch_off(m, "since its disk was lost");
            } else if self.referee.configs.roster().get(self.ids[m]).is_some() {
                self.begin_soon(m, 1);
            } else if self.machines[m].has_begun && !self.referee.configs.is_removed(self.ids[m]) {
                // Removed ones may have to tell the others so.
                self.switch_off(m, "since it is no member");
            }
        }
    }

    /// A machine is switched off for good.
    pub(super) fn switch_off(&mut self, m: usize, why: &str) {
        self.machines[m].is_off = true;
        if let Some(process) = self.machines[m].process.take() {
            self.tell(Some(m), Class::Crash, || format!("m{m} is switched off {why}"));
            self.bury(m, process.life);
        }
    }

    /// A member gives up: right if it was removed.
    pub(super) fn on_halt(&mut self, m: usize, why: &str) {
        if self.machines[m].is_wiped && is_of_loss(why) {
            return self.on_loss_noticed(m);
        }
        if why.contains(STATE_IS_NEWER) {
            return self.on_newer_state(m, why);
        }
        if !self.referee.configs.is_removed(self.ids[m]) || !why.contains("permanently removed") {
            return self.fail("halt", format!("m{m} gave up: {why}"));
        }
        let Some(process) = self.machines[m].process.take() else { return };
        self.tell(Some(m), Class::Crash, || format!("m{m} ends: {why}"));
        self.bury(m, process.life);
        // Somebody may start it again, and be told why it does not run.
        let mut draws = self.draws_of("halt", m as u64, self.machines[m].lives);
        if self.phase == Phase::Storm && draws.chance(0.3) {
            let (low, high) = self.plan.crashes.restart_ns;
            self.after(draws.between(low, high), Event::Start { member: m as u32 });
        } else {
            self.machines[m].is_off = true;
        }
    }

    /// Whether a member complains of mail that was meant for another one.
    pub(super) fn is_stray(&mut self, m: usize, from: MemberId) -> bool {
        let Some(process) = &mut self.machines[m].process else { return false };
        let place = process.strays.iter().position(|stray| *stray == from);
        place.map(|place| process.strays.remove(place)).is_some()
    }

    /// Whether a member was removed while it led, and tells the others. Of two members the other one would be lost
    /// if it died now, as in etcd; its process is given the time.
    pub(super) fn is_leaving(&self, m: usize) -> bool {
        self.machines[m].process.as_ref().is_some_and(|process| process.is_leaving)
    }

    /// What a member says of its place in the cluster.
    pub(super) fn observe_member_note(&mut self, m: usize, note: &Note) {
        match note {
            Note::Published { .. } => self.machines[m].is_known = !self.machines[m].is_wiped,
            Note::Removed if self.referee.configs.is_removed(self.ids[m]) => {
                let led = self.referee.seats[m].led;
                self.marks.hit_if(Mark::LeaderRemovedItself, led);
                if let Some(process) = &mut self.machines[m].process {
                    process.is_leaving = led;
                }
            }
            Note::StateVersion { version } => self.observe_version(m, *version),
            Note::Removed => self.fail("members", format!("m{m} says that it was removed")),
            _ => {}
        }
    }

    /// G41: raft's configuration and the list of members are what the entries up to here make of them.
    pub(super) fn check_configuration(&mut self, m: usize) {
        let Some(process) = &self.machines[m].process else { return };
        let (applied, id) = (process.node.state().applied.0, self.ids[m]);
        let config = self.referee.configs.at(applied);
        // While members are born their list grows entry by entry.
        if applied < self.plan.members.len() as u64 || config.roster.is_removed(id) {
            return;
        }
        let listed: Vec<_> = process.node.state().members.iter().collect();
        let expected = config.roster.list();
        let is_same =
            |(known, wanted): (&&holdfast_core::request::Member, &holdfast_core::request::Member)| {
                (known.id, &known.peer_urls, known.is_learner)
                    == (wanted.id, &wanted.peer_urls, wanted.is_learner)
            };
        let agrees = listed.len() == expected.len() && listed.iter().zip(&expected).all(is_same);
        let voters: Vec<MemberId> = expected.iter().filter(|m| !m.is_learner).map(|m| m.id).collect();
        let learners: Vec<MemberId> = expected.iter().filter(|m| m.is_learner).map(|m| m.id).collect();
        let raft = process.node.configuration();
        if agrees && raft.as_ref().is_none_or(|raft| *raft == (voters, learners)) {
            return;
        }
        let what = format!(
            "m{m} has members {listed:?} and raft's are {raft:?} after entry {applied}, decided are {expected:?}"
        );
        self.fail("members", what);
    }
}
