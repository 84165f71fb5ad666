//! Programs of two releases in one cluster: the later one knows a later version of State.
//!
//! Operators change programs member by member, and back. A member of the release before must not go on with what later
//! ones have decided, and nobody decides it while a member never ran a program that knows it.

use holdfast_core::command::Command;
use holdfast_core::peer::PeerMessage;
use holdfast_core::state::STATE_VERSION;

use super::event::Event;
use super::{Phase, World};
use crate::marks::Mark;
use crate::plan::step::{Action, Who};
use crate::plan::{EARLIER, Lie};
use crate::record::Class;

impl World {
    pub(super) fn on_release_due(&mut self) {
        if self.phase != Phase::Storm {
            return;
        }
        let in_use = self.in_use();
        let m = *self.fate.pick(&in_use);
        let version = if self.fate.chance(self.plan.releases.back) { EARLIER } else { STATE_VERSION };
        if version != self.plan.member(m).state_version && !self.is_leaving(m) {
            self.change_release(m, version);
        }
        self.schedule_fault(self.plan.releases.every_ns, Event::Release);
    }

    /// The member's process ends, and begins again with a program that knows State up to this version.
    pub(super) fn change_release(&mut self, m: usize, state_version: u32) {
        let who = Who::Number(m);
        self.note_deed(None, Action::ChangeRelease { member: who, state_version });
        self.tell(Some(m), Class::Crash, || {
            format!("m{m} is given a program that knows State {state_version}")
        });
        self.plan.member_mut(m).state_version = state_version;
        self.end_life(m, false, "for another release");
    }

    /// Everybody gets the newest release.
    pub(super) fn settle_releases(&mut self) {
        for m in 0..self.machines.len() {
            if self.plan.member(m).state_version < STATE_VERSION && !self.is_leaving(m) {
                self.change_release(m, STATE_VERSION);
            }
        }
    }

    /// A member says that others have decided what its program does not know; its operator changes the program.
    pub(super) fn on_newer_state(&mut self, m: usize, why: &str) {
        let known = self.plan.member(m).state_version;
        let applied = self.referee.seats[m].applied;
        let next = self.referee.taps[m].at(applied + 1);
        let is_next = next.is_some_and(|held| Command::state_version_of(&held.data) > Some(known));
        if self.referee.state_version <= known && !is_next {
            return self
                .fail("version", format!("m{m} knows State {known}, nothing later is decided: {why}"));
        }
        self.marks.hit(Mark::EarlierReleaseRefused);
        self.tell(Some(m), Class::Start, || format!("m{m} does not go on with a State later than {known}"));
        self.plan.member_mut(m).state_version = STATE_VERSION;
        if self.machines[m].process.is_some() {
            return self.end_life(m, false, "since it knows no later State");
        }
        let pause = if self.phase == Phase::Storm { self.draw_restart(m) } else { 1 };
        self.after(pause, Event::Start { member: m as u32 });
    }

    /// An entry that raises the version of State is in a log: every member has run a program that knows it.
    pub(super) fn check_raised(&mut self, m: usize, index: u64) {
        let Some(held) = self.referee.taps[m].at(index) else { return };
        let Some(version) = Command::state_version_of(&held.data) else { return };
        let seat = self.referee.seats[m];
        // What another leader proposed is old here, or was judged there.
        if !seat.leads || held.term != seat.term {
            return;
        }
        // Whom the leader did not know of yet when it proposed it could not wait for; it may have waited for the disk.
        let mut members = self.referee.configs.members_at(seat.applied_when_written).into_iter();
        let ignorant =
            members.find(|id| self.number_of(*id).is_some_and(|m| self.machines[m].knew < version));
        if let Some(ignorant) = ignorant.and_then(|id| self.number_of(id)) {
            let what =
                format!("m{m} raises State to {version}, m{ignorant} never had a program that knows it");
            self.fail("version", what);
        }
    }

    /// State of a member is of another version.
    pub(super) fn observe_version(&mut self, _m: usize, version: u32) {
        self.referee.state_version = self.referee.state_version.max(version);
        let is_mixed = self.given.all_members().any(|member| member.state_version < STATE_VERSION);
        self.marks.hit_if(Mark::StateVersionRaised, is_mixed);
    }

    /// Where everybody runs the newest release, State is of its version in the end.
    pub(super) fn check_version(&mut self) {
        let everybody = self.referee.configs.roster().list().len() == self.healthy().count();
        let behind = self.healthy().find(|m| {
            let process = self.machines[*m].process.as_ref();
            process.is_some_and(|process| process.node.state().version < STATE_VERSION)
        });
        if let Some(m) = behind.filter(|_| everybody) {
            self.fail(
                "no_progress",
                format!("all know State {STATE_VERSION}, and m{m} has it at an earlier one"),
            );
        }
    }

    /// The lie: an old program says that it knows more.
    pub(super) fn boast(&mut self, m: usize) {
        if self.plan.lie != Some(Lie::Boast) || self.plan.member(m).state_version == STATE_VERSION {
            return;
        }
        if let Some(leader) = self.referee.leader().filter(|leader| *leader != m) {
            self.send(m, leader, PeerMessage::Knows { state_version: STATE_VERSION });
        }
    }
}
