//! Whom a step means, and what it waits for.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::asking::Outcome;
use super::super::cluster::Cluster;
use super::super::site::Site;
use super::{Named, Stage};
use crate::plan::step::{Condition, Group, Who};

impl Stage {
    pub(super) fn holds(&self, cluster: &Cluster, condition: &Condition) -> bool {
        let leader = cluster.leader();
        match condition {
            Condition::Leader => leader.is_some(),
            Condition::NoLeader => leader.is_none(),
            Condition::Leads(who) => leader.is_some() && self.member(cluster, who).ok() == leader,
            Condition::LeaderOtherThan(group) => {
                let others = self.members(cluster, group, &[]).unwrap_or_default();
                leader.is_some_and(|leader| !others.contains(&leader))
            }
            Condition::CaughtUp(group) => {
                let figures = |place: &usize| {
                    let raft = cluster.sites[*place].seat()?.metrics.raft;
                    Some((raft.committed.get(), raft.applied.get()))
                };
                let decided = (0..cluster.sites.len()).filter_map(|place| figures(&place)).map(|f| f.0).max();
                let members = self.members(cluster, group, &[]).unwrap_or_default();
                members.iter().filter_map(figures).all(|(_, applied)| Some(applied) == decided)
            }
            Condition::Answered(name) => match self.names.get(name) {
                Some(Named::Question(outcome)) => outcome
                    .lock()
                    .expect("nobody panics while holding it")
                    .as_ref()
                    .is_some_and(Outcome::is_answer),
                _ => false,
            },
            Condition::SnapshotAt(_) | Condition::Mail { .. } => unreachable!("not admitted"),
        }
    }

    /// The member that is meant at this moment.
    pub(super) fn member(&self, cluster: &Cluster, who: &Who) -> Result<usize, String> {
        match who {
            Who::Number(place) => Ok(*place),
            Who::Leader => cluster.leader().ok_or_else(|| "nobody leads".to_owned()),
            Who::OldLeader => cluster.look().old_leader().ok_or_else(|| "nobody led before".to_owned()),
            Who::Follower => {
                let follows = |site: &&Arc<Site>| site.serves() && !site.leads();
                let site = cluster.sites.iter().find(follows);
                site.map(|site| site.place).ok_or_else(|| "nobody follows".to_owned())
            }
            Who::Named(name) => match self.names.get(name) {
                Some(Named::Member(place)) => Ok(*place),
                _ => Err(format!("`{name}` is no member")),
            },
        }
    }

    pub(super) fn members(
        &self,
        cluster: &Cluster,
        group: &Group,
        others: &[usize],
    ) -> Result<Vec<usize>, String> {
        let all = 0..cluster.sites.len();
        match group {
            Group::All => Ok(all.collect()),
            Group::Rest => Ok(all.filter(|place| !others.contains(place)).collect()),
            Group::Of(members) => {
                let places = members.iter().map(|who| self.member(cluster, who));
                Ok(places.collect::<Result<BTreeSet<_>, _>>()?.into_iter().collect())
            }
        }
    }

    pub(super) fn links(
        &self,
        cluster: &Cluster,
        from: &Group,
        to: &Group,
        both: bool,
    ) -> Result<Vec<(usize, usize)>, String> {
        let (from, to) = match from {
            Group::Rest => {
                let to = self.members(cluster, to, &[])?;
                (self.members(cluster, from, &to)?, to)
            }
            _ => {
                let from = self.members(cluster, from, &[])?;
                let to = self.members(cluster, to, &from)?;
                (from, to)
            }
        };
        let pairs = from.iter().flat_map(|a| to.iter().map(move |b| (*a, *b))).filter(|(a, b)| a != b);
        let links = pairs.flat_map(|(a, b)| if both { vec![(a, b), (b, a)] } else { vec![(a, b)] });
        Ok(links.collect())
    }
}
