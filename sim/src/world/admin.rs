//! Requests about the membership, as an operator makes them: in good times and in bad, and not always wisely.

use std::collections::BTreeMap;

use holdfast_core::base::MemberId;
use holdfast_core::members::derive_added_member_id;
use holdfast_core::request::{Request, Response};
use holdfast_core::status::Status;

use super::World;
use crate::marks::Mark;
use crate::plan::{MS, SECOND};
use crate::rng::Rng;

/// What the wall clock of operators shows when the run begins.
const UNIX_S: u64 = 1_700_000_000;

/// What operators know.
#[derive(Debug)]
pub struct Admin {
    rng: Rng,
    /// Requests for new members, to be repeated as they were.
    asked: Vec<Request>,
    /// The machine that took over the address of another one.
    heirs: BTreeMap<usize, usize>,
    /// Counts URLs that a member moved to.
    moves: u64,
}

impl Admin {
    pub fn new(seed: u64) -> Admin {
        Admin { rng: Rng::named(seed, "admin"), asked: Vec::new(), heirs: BTreeMap::new(), moves: 0 }
    }

    /// A machine takes over the address of another one.
    pub fn inherit(&mut self, former: usize, heir: usize) {
        self.heirs.insert(former, heir);
    }

    /// The machine whose address another one took over.
    pub fn heir_of(&self, m: usize) -> Option<usize> {
        self.heirs.iter().find(|(_, heir)| **heir == m).map(|(former, _)| *former)
    }

    /// Who is reached at the address of a machine that is no more.
    pub fn heir(&self, m: usize) -> Option<usize> {
        self.heirs.get(&m).copied()
    }
}

/// The members as an operator sees them.
struct Seen {
    voters: Vec<MemberId>,
    learners: Vec<MemberId>,
}

impl Seen {
    fn any(&self, rng: &mut Rng) -> MemberId {
        let place = rng.below((self.voters.len() + self.learners.len()) as u64) as usize;
        *self.voters.get(place).unwrap_or_else(|| &self.learners[place - self.voters.len()])
    }
}

impl World {
    /// A request about the membership, now and then, and the member that it goes to.
    pub(super) fn next_admin(&mut self, client: u32) -> Option<(usize, Request)> {
        if self.plan.wipes.repair > 0.0 {
            return self.next_repair(client);
        }
        if self.plan.membership.share == 0.0 || !self.admin.rng.chance(self.plan.membership.share) {
            return None;
        }
        let members = self.referee.configs.roster().list();
        let (learners, voters): (Vec<_>, Vec<_>) = members.into_iter().partition(|member| member.is_learner);
        let ids = |of: Vec<holdfast_core::request::Member>| of.into_iter().map(|member| member.id).collect();
        let seen = Seen { voters: ids(voters), learners: ids(learners) };
        if seen.voters.is_empty() {
            return None;
        }
        let request = self.draw_change(&seen)?;
        let leader = self.referee.leader().filter(|_| self.admin.rng.chance(0.5));
        let is_handover = matches!(request, Request::MoveLeader { .. });
        let member = match (leader.or_else(|| self.referee.leader().filter(|_| is_handover)), is_handover) {
            (Some(leader), true) => leader,
            _ => self.choose_member(client),
        };
        Some((member, request))
    }

    /// What brings a cluster that lost disks back to its size: nobody else may go meanwhile.
    fn next_repair(&mut self, client: u32) -> Option<(usize, Request)> {
        if !self.admin.rng.chance(self.plan.wipes.repair) {
            return None;
        }
        let members = self.referee.configs.roster().list();
        let is_lost = |id: MemberId| self.number_of(id).is_some_and(|m| self.machines[m].is_wiped);
        let lost = members.iter().find(|member| is_lost(member.id));
        let learner = members.iter().find(|member| member.is_learner);
        let request = match (lost, learner) {
            (Some(lost), _) => Request::MemberRemove { id: lost.id },
            (None, Some(learner)) => Request::MemberPromote { id: learner.id },
            (None, None) if members.len() < self.plan.members.len() => {
                if self.machines.len() >= self.plan.members_max() {
                    return None;
                }
                let is_learner = self.admin.rng.chance(0.5);
                self.add(is_learner)
            }
            (None, None) => return None,
        };
        Some((self.choose_member(client), request))
    }

    fn draw_change(&mut self, seen: &Seen) -> Option<Request> {
        let has_room = self.machines.len() < self.plan.members_max();
        let wants_voters = has_room && seen.voters.len() < self.plan.membership.voters_max;
        let is_large = seen.voters.len() > 2;
        let weights = [
            if wants_voters { 3 } else { 0 },
            if has_room { 3 } else { 0 },
            if seen.learners.is_empty() { 1 } else { 5 },
            if is_large { 4 } else { 1 },
            1,
            3,
            1,
            u32::from(!self.admin.asked.is_empty()),
        ];
        Some(match self.admin.rng.weighted(&weights) {
            0 => self.add(false),
            1 => self.add(true),
            2 => self.promote(seen),
            3 => self.remove(seen),
            4 => self.update(seen),
            5 => self.move_leader(seen),
            6 => Request::MemberList { linearizable: self.admin.rng.chance(0.7) },
            _ => self.admin.rng.pick(&self.admin.asked.clone()).clone(),
        })
    }

    fn add(&mut self, is_learner: bool) -> Request {
        // Operators' wall clocks agree with nobody's.
        let unix_s = UNIX_S + self.now_ns / SECOND + self.admin.rng.below(3) * 3600;
        let is_repair = self.plan.wipes.repair > 0.0;
        if !is_repair && self.admin.rng.chance(0.05) {
            return Request::MemberAdd { peer_urls: self.bad_urls(), is_learner, unix_s };
        }
        let m = self.machines.len();
        let (peer_url, former) = self.draw_address(m);
        let peer_urls = vec![peer_url];
        let id = derive_added_member_id(&peer_urls, unix_s);
        let request = Request::MemberAdd { peer_urls, is_learner, unix_s };
        // Asked in the same second before: it is the same member.
        if self.number_of(id).is_none() && self.enlist(id).is_some() {
            if let Some(former) = former {
                self.admin.inherit(former, m);
            }
            if self.admin.rng.chance(self.plan.membership.early) {
                let pause = self.draw_pause((MS, SECOND));
                self.begin_soon(m, pause);
            }
        }
        self.admin.asked.push(request.clone());
        request
    }

    /// An address of its own, or that of a member that was removed and whose machine is off.
    fn draw_address(&mut self, m: usize) -> (String, Option<usize>) {
        let configs = &self.referee.configs;
        let is_free = |former: &usize| {
            self.machines[*former].is_off
                && configs.is_removed(self.ids[*former])
                && !self.admin.heirs.contains_key(former)
        };
        let free: Vec<usize> = (0..self.machines.len()).filter(is_free).collect();
        if free.is_empty() || !self.admin.rng.chance(self.plan.membership.takes_address) {
            return (format!("http://m{m}:2380"), None);
        }
        let former = *self.admin.rng.pick(&free);
        (format!("http://m{former}:2380"), Some(former))
    }

    fn promote(&mut self, seen: &Seen) -> Request {
        let rng = &mut self.admin.rng;
        let id = match rng.weighted(&[8, 1, 1]) {
            0 if !seen.learners.is_empty() => *rng.pick(&seen.learners),
            2 => MemberId(77),
            _ => seen.any(rng),
        };
        Request::MemberPromote { id }
    }

    fn remove(&mut self, seen: &Seen) -> Request {
        let leader = self.referee.leader().map(|m| self.ids[m]);
        let rng = &mut self.admin.rng;
        let id = match (rng.weighted(&[12, 7, 1, 1]), leader) {
            (1, Some(leader)) => leader,
            (2, _) => MemberId(77),
            // One that is gone, perhaps.
            (3, _) => *rng.pick(&self.ids),
            _ => seen.any(rng),
        };
        Request::MemberRemove { id }
    }

    fn update(&mut self, seen: &Seen) -> Request {
        self.admin.moves += 1;
        let moves = self.admin.moves;
        let rng = &mut self.admin.rng;
        let id = if rng.chance(0.1) { MemberId(77) } else { seen.any(rng) };
        let peer_urls = match rng.weighted(&[6, 2, 1]) {
            0 => vec![format!("http://moved{moves}:2380"), format!("http://also{moves}:2380")],
            1 => vec![format!("http://m{}:2380", rng.below(self.ids.len() as u64))],
            _ => self.bad_urls(),
        };
        Request::MemberUpdate { id, peer_urls }
    }

    fn bad_urls(&mut self) -> Vec<String> {
        let urls: &[&[&str]] =
            &[&[], &["m1:2380"], &["http://m1"], &["http://good:1", "http://m1:2380/path"]];
        self.admin.rng.pick(urls).iter().map(|url| (*url).to_owned()).collect()
    }

    fn move_leader(&mut self, seen: &Seen) -> Request {
        let rng = &mut self.admin.rng;
        let target = match rng.weighted(&[8, 1, 1]) {
            0 => *rng.pick(&seen.voters),
            1 => MemberId(77),
            _ => seen.any(rng),
        };
        Request::MoveLeader { target }
    }

    /// An operator reads an answer: a machine is started for a member that was added.
    pub(super) fn on_admin_answer(&mut self, result: &Result<Response, Status>) {
        match result {
            Ok(Response::MemberAdd { member, .. }) => {
                if let Some(m) = self.number_of(member.id)
                    && !self.admin.rng.chance(self.plan.membership.never)
                {
                    let pause = self.draw_pause(self.plan.membership.join_ns);
                    self.begin_soon(m, pause);
                }
            }
            Ok(Response::MoveLeader) => self.marks.hit(Mark::LeaderHandedOver),
            Err(Status::TimeoutLeaderTransfer) => self.marks.hit(Mark::HandoverAborted),
            Err(Status::LearnerNotReady) => self.marks.hit(Mark::LearnerNotReady),
            Err(Status::MemberNotEnoughStarted) => self.marks.hit(Mark::ChangeNeedsStarted),
            Err(Status::Unhealthy) => self.marks.hit(Mark::ChangeNeedsHealthy),
            _ => {}
        }
    }
}
