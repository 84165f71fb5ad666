//! Disks that are lost: the member is gone with all it had acknowledged, and the others must lose nothing (G34).
//!
//! Started again under its old id, on an empty disk, such a member must give up when the leader that counts on it
//! says so (B90). What it would do until then is outside of raft's promises: with its vote, a member that lacks what
//! the lost disk held can be elected, here as in etcd. So a vote that is asked of it is the end of that run of it.

use holdfast_core::peer::PeerMessage;
use raft::eraftpb::MessageType;

use super::event::Event;
use super::members::is_quorum;
use super::{Phase, World};
use crate::disk::SimDisk;
use crate::marks::Mark;
use crate::plan::step::{Action, Who};
use crate::record::Class;
use crate::rng::derive;

impl World {
    pub(super) fn on_wipe_due(&mut self) {
        if self.phase != Phase::Storm {
            return;
        }
        let victims: Vec<usize> = (0..self.machines.len()).filter(|m| self.may_be_wiped(*m)).collect();
        if !victims.is_empty() {
            let leader = self.referee.leader().filter(|leader| victims.contains(leader));
            let m = match leader {
                Some(leader) if self.fate.chance(0.3) => leader,
                _ => *self.fate.pick(&victims),
            };
            let returns = self.fate.chance(self.plan.wipes.returns);
            let returns_ns = returns.then(|| self.draw_pause(self.plan.wipes.return_ns));
            self.wipe(m, returns_ns);
        }
        self.schedule_fault(self.plan.wipes.every_ns, Event::Wipe);
    }

    /// Whether the cluster outlives the loss of this disk: the other voters with theirs are a quorum, also by the
    /// older memberships that one of them still has if it forgets what was not on its disk, and by the one to come
    /// if a promotion is on its way.
    pub(super) fn may_be_wiped(&self, m: usize) -> bool {
        let has_disk = |other: usize| {
            let machine = &self.machines[other];
            other != m && !machine.is_off && !machine.is_wiped
        };
        let known = |other: usize| self.referee.taps[other].durable_hard().commit.0;
        let others = (0..self.machines.len()).filter(|other| has_disk(*other));
        let members = others.filter(|other| self.referee.configs.roster().get(self.ids[*other]).is_some());
        let (floor, newest) = (members.map(known).min().unwrap_or(0), self.history.log.len() as u64);
        let mut configs = self.referee.configs.voters_within(floor.min(newest), newest);
        let has_disk_to_lose = self.machines[m].lives > 0 && self.healthy().any(|healthy| healthy == m);
        let roster = self.referee.configs.roster();
        let promoted: Vec<usize> =
            roster.list().iter().filter_map(|member| self.number_of(member.id)).collect();
        has_disk_to_lose
            && configs.all(|voters| is_quorum(voters, has_disk))
            && is_quorum(&promoted, has_disk)
    }

    /// A script takes a disk. Errors: the cluster would not outlive it.
    pub(super) fn wipe_for(&mut self, m: usize, returns_ns: Option<u64>) -> Result<(), String> {
        match self.may_be_wiped(m) {
            true => self.wipe(m, returns_ns),
            false => return Err(format!("without the disk of m{m} there is no quorum of disks")),
        }
        Ok(())
    }

    /// A disk is lost; the machine is started again so long after, or never.
    pub(super) fn wipe(&mut self, m: usize, returns_ns: Option<u64>) {
        self.counts.wipes += 1;
        self.note_deed(None, Action::Wipe { member: Who::Number(m), returns_ns });
        self.marks.hit(Mark::DiskLost);
        self.marks.hit_if(Mark::DiskOfLeaderLost, self.referee.seats[m].leads);
        self.tell(Some(m), Class::Disk, || format!("m{m} loses its disk"));
        self.trace.fold(m as u64);
        if let Some(process) = self.machines[m].process.take() {
            self.bury(m, process.life);
        }
        let faults = self.machines[m].disk.faults.clone();
        let seed = derive(derive(self.plan.seed, m as u64), self.now_ns);
        let machine = &mut self.machines[m];
        machine.disk = SimDisk::new(seed, faults);
        machine.last_append = (String::new(), 0);
        // What it acknowledged counted; what is committed by it is on others' disks too.
        self.referee.ghosts.insert(m, std::mem::take(&mut self.referee.taps[m]));
        (machine.is_wiped, machine.joins, machine.is_known) = (true, true, false);
        match returns_ns {
            Some(pause) => self.after(pause, Event::Start { member: m as u32 }),
            None => machine.is_off = true,
        }
    }

    /// Whether mail may reach a member that lost its disk. False: it ends here.
    pub(super) fn may_reach_wiped(&mut self, m: usize, message: &PeerMessage) -> bool {
        let PeerMessage::Raft(mail) = message else { return true };
        match mail.get_msg_type() {
            MessageType::MsgRequestVote => {
                self.switch_off(m, "before it votes on an empty disk");
                return false;
            }
            MessageType::MsgHeartbeat if mail.to == self.ids[m].0 && mail.commit > 0 => {
                let process = self.machines[m].process.as_mut().expect("mail reaches it");
                if mail.term >= self.referee.seats[m].term {
                    process.counted_on = process.counted_on.max(mail.commit);
                }
            }
            _ => {}
        }
        true
    }

    /// A member that was told of entries it lost must have given up.
    pub(super) fn check_doomed(&mut self, m: usize) {
        let Some(process) = &self.machines[m].process else { return };
        if process.inbox.is_empty() && process.counted_on > process.node.gauges().last_index {
            self.fail("wiped", format!("m{m} lost its disk, was told of what it acknowledged, and goes on"));
        }
    }

    /// A member gives up since it lost what others count on.
    pub(super) fn on_loss_noticed(&mut self, m: usize) {
        self.marks.hit(Mark::WipedMemberRefused);
        self.switch_off(m, "since its disk was lost");
    }
}

/// Whether a member gives up since it lost what others count on.
pub(super) fn is_of_loss(why: &str) -> bool {
    why.contains("counts on this member")
}
