//! Strict reconfiguration: what the proposing member checks so that a change does not cost the quorum.
//!
//! Judged by what this member knows of itself, so before proposing and never at apply
//! (`--strict-reconfig-check`, on by default).
//!
//! Source: etcd 3.7.1 `server/etcdserver/server.go` (mayAddMember, mayRemoveMember, mayPromoteMember,
//! isLearnerReady), `server/etcdserver/cluster_util.go`, `api/membership/cluster.go` (IsReadyTo...).

use std::collections::BTreeMap;

use super::Members;
use crate::base::{Instant, LogIndex, MemberId};
use crate::conf::ConfChangeKind;
use crate::request::Member;
use crate::status::Status;

/// A connection counts when it has held for longer than this.
const HEALTHY_AFTER_NS: u64 = 5_000_000_000;

/// With whom a member is connected, in its own eyes.
#[derive(Clone, Copy, Debug)]
pub struct Activity<'a> {
    /// The member itself: always connected.
    pub me: MemberId,
    pub now: Instant,
    /// Since when the others have been, without a break; who is missing is not connected.
    pub since: &'a BTreeMap<MemberId, Instant>,
}

impl Activity<'_> {
    /// `None`: not connected, or the member itself.
    pub fn connected_since(&self, member: MemberId) -> Option<Instant> {
        self.since.get(&member).copied()
    }

    fn is_healthy(&self, member: MemberId) -> bool {
        let connected = self.connected_since(member);
        member == self.me || connected.is_some_and(|since| self.now.since_ns(since) > HEALTHY_AFTER_NS)
    }

    fn healthy_voters(&self, members: &Members) -> usize {
        members.voters().filter(|voter| self.is_healthy(voter.id)).count()
    }
}

/// Votes that decide among `voters`.
fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

/// Whether the proposing member may propose `change` now. New peer URLs are not judged.
/// Errors: `MemberNotEnoughStarted`, `Unhealthy`.
pub fn check(change: &ConfChangeKind, members: &Members, activity: &Activity<'_>) -> Result<(), Status> {
    match change {
        ConfChangeKind::Add { member, .. } => check_add(members, member.is_learner, activity),
        ConfChangeKind::Remove(id) => check_remove(members, *id, activity),
        ConfChangeKind::UpdatePeerUrls { .. } => Ok(()),
        ConfChangeKind::Promote(_) => check_promote(members),
    }
}

/// Whether a member may be added now. A learner need not find enough started voters, but both need a quorum
/// within reach that does without the new one (CL-4).
/// Errors: `MemberNotEnoughStarted`, `Unhealthy`.
fn check_add(members: &Members, is_learner: bool, activity: &Activity<'_>) -> Result<(), Status> {
    let (voters, started) = count_voters(members.voters());
    // The way back from a lost cluster: one member with the data grows again.
    let is_regrowth = (voters, started) == (1, 1);
    if !is_learner && !is_regrowth && started < quorum(voters + 1) {
        return Err(Status::MemberNotEnoughStarted);
    }
    if voters != 1 && activity.healthy_voters(members) < quorum(voters + 1) {
        return Err(Status::Unhealthy);
    }
    Ok(())
}

/// Whether `id` may be removed now; whether there is such a member is for apply to say (CL-7).
/// Errors: `MemberNotEnoughStarted`, `Unhealthy`.
fn check_remove(members: &Members, id: MemberId, activity: &Activity<'_>) -> Result<(), Status> {
    if members.get(id).is_some_and(|member| member.is_learner) {
        return Ok(());
    }
    let (left, started) = count_voters(members.voters().filter(|voter| voter.id != id));
    if started < quorum(left) {
        return Err(Status::MemberNotEnoughStarted);
    }
    // One that is down takes nothing from the quorum that is there.
    if id != activity.me && activity.connected_since(id).is_none() {
        return Ok(());
    }
    let voters = members.voters().count();
    if activity.healthy_voters(members).saturating_sub(1) < quorum(voters.saturating_sub(1)) {
        return Err(Status::Unhealthy);
    }
    Ok(())
}

/// Whether enough voters have started for one more, which counts as started itself (CL-10).
/// Errors: `MemberNotEnoughStarted`.
fn check_promote(members: &Members) -> Result<(), Status> {
    let (voters, started) = count_voters(members.voters());
    match started + 1 < quorum(voters + 1) {
        true => Err(Status::MemberNotEnoughStarted),
        false => Ok(()),
    }
}

/// Whether a learner has caught up: it matches nine tenths of the leader's log (CL-10).
/// Judged by the leader, whatever the strict check is.
pub fn is_caught_up(learner_match: LogIndex, leader_match: LogIndex) -> bool {
    u128::from(learner_match.0) * 10 >= u128::from(leader_match.0) * 9
}

/// How many they are, and how many of them have started.
fn count_voters<'a>(voters: impl Iterator<Item = &'a Member>) -> (usize, usize) {
    voters.fold((0, 0), |(all, started), voter| (all + 1, started + usize::from(voter.is_started())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const NOW: Instant = Instant(100 * SECOND);

    /// Members 1, 2, ...: `V` a started voter, `v` one that has not, `L` and `l` learners.
    fn members(kinds: &str) -> Members {
        let mut members = Members::default();
        for (id, kind) in (1..).zip(kinds.chars()) {
            let name = if kind.is_uppercase() { format!("m{id}") } else { String::new() };
            let is_learner = kind.eq_ignore_ascii_case(&'l');
            members.insert(Member { id: MemberId(id), name, is_learner, ..Member::default() });
        }
        members
    }

    /// Member 1 with `others` connected for so many nanoseconds.
    fn with<T>(others: &[(u64, u64)], judge: impl FnOnce(&Activity<'_>) -> T) -> T {
        let since = others.iter().map(|&(id, ns)| (MemberId(id), Instant(NOW.0 - ns))).collect();
        judge(&Activity { me: MemberId(1), now: NOW, since: &since })
    }

    const LONG: u64 = 6 * SECOND;

    #[test]
    fn a_single_started_member_may_always_grow() {
        for (kinds, is_learner, expected) in [
            ("V", false, Ok(())),
            ("V", true, Ok(())),
            ("v", true, Ok(())),
            ("v", false, Err(Status::MemberNotEnoughStarted)),
        ] {
            let got = with(&[], |activity| check_add(&members(kinds), is_learner, activity));
            assert_eq!(got, expected, "{kinds} {is_learner}");
        }
    }

    #[test]
    fn a_voter_needs_a_started_quorum_of_those_with_it() {
        let others = [(2, LONG), (3, LONG), (4, LONG)];
        for (kinds, expected) in [
            ("VV", Ok(())),
            ("Vv", Err(Status::MemberNotEnoughStarted)),
            ("VVv", Err(Status::MemberNotEnoughStarted)),
            ("VVV", Ok(())),
            ("VVVv", Ok(())),
            ("VVVl", Ok(())),
        ] {
            let got = with(&others, |activity| check_add(&members(kinds), false, activity));
            assert_eq!(got, expected, "{kinds}");
        }
    }

    #[test]
    fn adding_needs_a_quorum_in_reach_without_the_new_one() {
        let five = "VVVVV";
        for (kinds, others, expected) in [
            ("VVV", &[(2, LONG), (3, LONG)][..], Ok(())),
            ("VVV", &[(2, LONG)], Err(Status::Unhealthy)),
            ("VVV", &[(2, LONG), (3, 5 * SECOND)], Err(Status::Unhealthy)),
            ("VVV", &[(2, LONG), (3, 5 * SECOND + 1)], Ok(())),
            ("VV", &[], Err(Status::Unhealthy)),
            (five, &[(2, LONG), (3, LONG)], Err(Status::Unhealthy)),
            (five, &[(2, LONG), (3, LONG), (4, LONG)], Ok(())),
            ("VVL", &[(3, LONG)], Err(Status::Unhealthy)),
        ] {
            for is_learner in [false, true] {
                let got = with(others, |activity| check_add(&members(kinds), is_learner, activity));
                assert_eq!(got, expected, "{kinds} {others:?} {is_learner}");
            }
        }
    }

    #[test]
    fn a_learner_may_be_added_beside_a_voter_that_has_not_started() {
        let got = with(&[(2, LONG)], |activity| check_add(&members("Vv"), true, activity));
        assert_eq!(got, Ok(()));
    }

    #[test]
    fn removal_keeps_a_started_and_connected_quorum() {
        for (kinds, others, id, expected) in [
            // The last voter.
            ("V", &[][..], 1, Err(Status::MemberNotEnoughStarted)),
            ("V", &[], 7, Ok(())),
            ("VL", &[(2, LONG)], 1, Err(Status::MemberNotEnoughStarted)),
            ("VL", &[], 2, Ok(())),
            // Of two, each may go as long as the other one is there.
            ("VV", &[(2, LONG)], 2, Ok(())),
            ("VV", &[(2, LONG)], 1, Ok(())),
            ("VV", &[], 2, Ok(())),
            ("VV", &[], 1, Err(Status::Unhealthy)),
            ("Vv", &[], 1, Err(Status::MemberNotEnoughStarted)),
            // Of three with one down: the one that is down.
            ("VVV", &[(2, LONG)], 3, Ok(())),
            ("VVV", &[(2, LONG)], 2, Err(Status::Unhealthy)),
            ("VVV", &[(2, LONG)], 1, Err(Status::Unhealthy)),
            ("VVV", &[(2, LONG), (3, SECOND)], 3, Err(Status::Unhealthy)),
            ("VVV", &[(2, LONG), (3, LONG)], 1, Ok(())),
            ("VVv", &[(2, LONG)], 2, Err(Status::MemberNotEnoughStarted)),
            ("VVv", &[(2, LONG)], 3, Ok(())),
        ] {
            let got = with(others, |activity| check_remove(&members(kinds), MemberId(id), activity));
            assert_eq!(got, expected, "{kinds} {others:?} {id}");
        }
    }

    #[test]
    fn promotion_counts_the_learner_as_started() {
        for (kinds, expected) in [
            ("VL", Ok(())),
            ("vL", Err(Status::MemberNotEnoughStarted)),
            ("VvL", Ok(())),
            ("VvvL", Err(Status::MemberNotEnoughStarted)),
            ("VVvL", Ok(())),
        ] {
            assert_eq!(check_promote(&members(kinds)), expected, "{kinds}");
        }
    }

    #[test]
    fn nine_tenths_of_the_log_are_caught_up() {
        for (learner, leader, expected) in [
            (90, 100, true),
            (89, 100, false),
            (0, 1, false),
            (0, 0, true),
            (9, 10, true),
            (u64::MAX / 10 * 9 + 5, u64::MAX, true),
            (u64::MAX / 10 * 8, u64::MAX, false),
        ] {
            assert_eq!(is_caught_up(LogIndex(learner), LogIndex(leader)), expected, "{learner}/{leader}");
        }
    }
}
