//! The model of the membership: a list of rows from which nothing is ever taken, and etcd's rules for a change.

use holdfast_core::base::MemberId;
use holdfast_core::request::{Header, Member, Request, Response};
use holdfast_core::status::Status;

/// What an entry about the membership asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// `learners_max`: what the proposer allows.
    Add {
        id: MemberId,
        peer_urls: Vec<String>,
        is_learner: bool,
        learners_max: u32,
    },
    Remove(MemberId),
    Update {
        id: MemberId,
        peer_urls: Vec<String>,
    },
    Promote(MemberId),
}

impl Change {
    /// Whom it is about.
    pub fn id(&self) -> MemberId {
        match self {
            Change::Add { id, .. } | Change::Remove(id) | Change::Update { id, .. } | Change::Promote(id) => {
                *id
            }
        }
    }
}

/// A member that is there or was there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    member: Member,
    is_gone: bool,
}

/// All members that ever were, in the order of their coming.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    rows: Vec<Row>,
}

impl Roster {
    /// Those that are there, ascending by id, as MemberList shows them (CL-11).
    pub fn list(&self) -> Vec<Member> {
        let mut members: Vec<Member> = self.present().cloned().collect();
        members.sort_by_key(|member| member.id);
        members
    }

    fn present(&self) -> impl Iterator<Item = &Member> {
        self.rows.iter().filter(|row| !row.is_gone).map(|row| &row.member)
    }

    /// The member of this id, if it is there.
    pub fn get(&self, id: MemberId) -> Option<&Member> {
        self.present().find(|member| member.id == id)
    }

    /// Whether there was a member of this id that was removed.
    pub fn is_removed(&self, id: MemberId) -> bool {
        self.rows.iter().any(|row| row.is_gone && row.member.id == id)
    }

    /// Those that vote.
    pub fn voters(&self) -> impl Iterator<Item = MemberId> + '_ {
        self.present().filter(|member| !member.is_learner).map(|member| member.id)
    }

    /// How many vote, and how many of those have ever served.
    fn counts(&self) -> (usize, usize) {
        let voters = || self.present().filter(|member| !member.is_learner);
        (voters().count(), voters().filter(|voter| !voter.name.is_empty()).count())
    }

    /// Judges a change and carries it out. Errors: why it changes nothing (CL-3, CL-5, CL-7, CL-9, CL-10).
    pub fn change(&mut self, change: &Change) -> Result<(), Status> {
        let id = change.id();
        if self.is_removed(id) {
            return Err(Status::MemberNotFound);
        }
        let place = self.rows.iter().position(|row| row.member.id == id);
        let is_taken = |urls: &[String]| {
            let mut others = self.present().filter(|other| other.id != id);
            others.any(|other| other.peer_urls.iter().any(|url| urls.contains(url)))
        };
        match (change, place) {
            (Change::Add { .. }, Some(_)) => Err(Status::MemberExist),
            (Change::Add { peer_urls, is_learner, learners_max, .. }, None) => {
                let learners = self.present().filter(|member| member.is_learner).count() as u64;
                if is_taken(peer_urls) {
                    return Err(Status::PeerUrlExist);
                }
                if *is_learner && learners >= u64::from(*learners_max) {
                    return Err(Status::TooManyLearners);
                }
                let (peer_urls, is_learner) = (peer_urls.clone(), *is_learner);
                let member = Member { id, peer_urls, is_learner, ..Member::default() };
                self.rows.push(Row { member, is_gone: false });
                Ok(())
            }
            (_, None) => Err(Status::MemberNotFound),
            (Change::Remove(_), Some(place)) => {
                // The last voter: etcd lets it go where nobody checks, this core never.
                if self.voters().eq([id]) {
                    return Err(Status::MemberNotEnoughStarted);
                }
                self.rows[place].is_gone = true;
                Ok(())
            }
            (Change::Update { peer_urls, .. }, Some(place)) => {
                if is_taken(peer_urls) {
                    return Err(Status::PeerUrlExist);
                }
                self.rows[place].member.peer_urls = peer_urls.clone();
                Ok(())
            }
            (Change::Promote(_), Some(place)) if self.rows[place].member.is_learner => {
                self.rows[place].member.is_learner = false;
                Ok(())
            }
            (Change::Promote(_), Some(_)) => Err(Status::MemberNotLearner),
        }
    }

    /// A member says its name and where its clients reach it (CL-12); void if it is not there.
    pub fn publish(&mut self, id: MemberId, name: &str, client_urls: &[String]) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.member.id == id && !row.is_gone) {
            row.member.name = name.to_owned();
            row.member.client_urls = client_urls.to_vec();
        }
    }

    /// What the proposer of a change is told once it is carried out; the revision of the store is no part of it.
    pub fn answer(&self, change: &Change, raft_term: u64) -> Response {
        let header = Header { revision: 0, raft_term };
        let members = self.list();
        match change {
            Change::Add { id, .. } => {
                let member = self.get(*id).cloned().expect("just added");
                Response::MemberAdd { header, member: Box::new(member), members }
            }
            Change::Remove(_) => Response::MemberRemove { header, members },
            Change::Update { .. } => Response::MemberUpdate { header, members },
            Change::Promote(_) => Response::MemberPromote { header, members },
        }
    }

    /// Whether the strict check must refuse this for want of started voters, whoever is within reach
    /// (CL-4, CL-7, CL-10).
    pub fn lacks_started(&self, change: &Change) -> bool {
        let (voters, started) = self.counts();
        match change {
            Change::Add { is_learner: true, .. } | Change::Update { .. } => false,
            Change::Add { .. } if voters == 1 && started == 1 => false,
            Change::Add { .. } => started < quorum(voters + 1),
            Change::Promote(_) => started + 1 < quorum(voters + 1),
            Change::Remove(id) => match self.get(*id) {
                Some(member) if member.is_learner => false,
                Some(member) => {
                    let (voters, started) = (voters - 1, started - usize::from(!member.name.is_empty()));
                    started < quorum(voters)
                }
                None => started < quorum(voters),
            },
        }
    }

    /// Whether the strict check may refuse this for want of voters within reach.
    pub fn may_be_unhealthy(&self, change: &Change) -> bool {
        match change {
            Change::Add { .. } => self.counts().0 != 1,
            Change::Remove(id) => self.get(*id).is_none_or(|member| !member.is_learner),
            Change::Update { .. } | Change::Promote(_) => false,
        }
    }
}

/// Votes that decide among so many.
fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

/// What a request about the membership becomes in the log; the limit of learners is its proposer's.
/// `None`: it is no such request.
pub fn change_of(request: &Request, learners_max: u32) -> Option<Change> {
    Some(match request {
        Request::MemberAdd { peer_urls, is_learner, unix_s } => {
            let mut peer_urls = peer_urls.clone();
            peer_urls.sort();
            let id = holdfast_core::members::derive_added_member_id(&peer_urls, *unix_s);
            Change::Add { id, peer_urls, is_learner: *is_learner, learners_max }
        }
        Request::MemberRemove { id } => Change::Remove(*id),
        Request::MemberUpdate { id, peer_urls } => Change::Update { id: *id, peer_urls: peer_urls.clone() },
        Request::MemberPromote { id } => Change::Promote(*id),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(id: u64, url: &str, is_learner: bool) -> Change {
        Change::Add { id: MemberId(id), peer_urls: vec![url.to_owned()], is_learner, learners_max: 1 }
    }

    fn roster(changes: &[Change]) -> Roster {
        let mut roster = Roster::default();
        changes.iter().for_each(|change| roster.change(change).expect("a legal change"));
        roster
    }

    #[test]
    fn a_removed_id_never_comes_back() {
        let mut roster = roster(&[add(1, "a", false), add(2, "b", false), Change::Remove(MemberId(1))]);
        assert_eq!(roster.change(&add(1, "c", false)), Err(Status::MemberNotFound));
        assert_eq!(roster.change(&add(3, "a", false)), Ok(()), "its URL is free");
        assert_eq!(roster.list().iter().map(|member| member.id.0).collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn the_last_voter_stays() {
        let mut roster = roster(&[add(1, "a", false), add(2, "b", true)]);
        assert_eq!(roster.change(&Change::Remove(MemberId(1))), Err(Status::MemberNotEnoughStarted));
        assert_eq!(roster.change(&add(3, "c", true)), Err(Status::TooManyLearners));
        assert_eq!(roster.change(&Change::Promote(MemberId(2))), Ok(()));
        assert_eq!(roster.change(&Change::Promote(MemberId(2))), Err(Status::MemberNotLearner));
    }

    #[test]
    fn a_voter_is_added_only_where_enough_have_started() {
        let mut roster = roster(&[add(1, "a", false), add(2, "b", false)]);
        assert!(roster.lacks_started(&add(3, "c", false)));
        roster.publish(MemberId(1), "one", &[]);
        assert!(roster.lacks_started(&add(3, "c", false)));
        assert!(roster.lacks_started(&Change::Remove(MemberId(1))));
        assert!(!roster.lacks_started(&Change::Remove(MemberId(2))));
        roster.publish(MemberId(2), "two", &[]);
        assert!(!roster.lacks_started(&add(3, "c", false)));
    }
}
