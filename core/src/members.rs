//! Membership as replicated state, and ids as etcd derives them.
//!
//! Source: etcd 3.7.1 `server/etcdserver/api/membership/{member,cluster}.go` (CL-1, CL-3, CL-6, CL-12).

use std::collections::{BTreeMap, BTreeSet};

use sha1::{Digest, Sha1};

use crate::base::{ClusterId, MemberId};
use crate::request::Member;

/// What a new cluster starts from; read once, on an empty data directory (CL-21).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bootstrap {
    /// `--initial-cluster-token`.
    pub token: String,
    /// `--initial-cluster`: name and peer URLs of each member; the names are not replicated.
    pub members: Vec<(String, Vec<String>)>,
    /// `--name`: which of them we are.
    pub name: String,
}

impl Bootstrap {
    /// Members with their derived ids, ascending by id.
    pub fn members(&self) -> Vec<Member> {
        let mut members: Vec<Member> = self
            .members
            .iter()
            .map(|(_, urls)| {
                let mut peer_urls = urls.clone();
                peer_urls.sort();
                Member { id: derive_member_id(&peer_urls, &self.token), peer_urls, ..Member::default() }
            })
            .collect();
        members.sort_by_key(|m| m.id);
        members
    }

    /// Our own id; `None` if the local name is not among the members.
    pub fn member_id(&self) -> Option<MemberId> {
        let (_, urls) = self.members.iter().find(|(name, _)| *name == self.name)?;
        let mut sorted = urls.clone();
        sorted.sort();
        Some(derive_member_id(&sorted, &self.token))
    }

    /// Id of the cluster: of the sorted member ids.
    pub fn cluster_id(&self) -> ClusterId {
        let mut hash = Sha1::new();
        for member in self.members() {
            hash.update(member.id.0.to_be_bytes());
        }
        ClusterId(first_eight_bytes(&hash.finalize()))
    }
}

/// Id of a member at bootstrap. `sorted_peer_urls` ascending; the token follows them.
pub fn derive_member_id(sorted_peer_urls: &[String], token: &str) -> MemberId {
    let mut hash = Sha1::new();
    for url in sorted_peer_urls {
        hash.update(url.as_bytes());
    }
    hash.update(token.as_bytes());
    MemberId(first_eight_bytes(&hash.finalize()))
}

fn first_eight_bytes(digest: &[u8]) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first)
}

/// The cluster's members and what is forever remembered of removed ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    members: BTreeMap<MemberId, Member>,
    removed: BTreeSet<MemberId>,
}

impl Members {
    pub fn get(&self, id: MemberId) -> Option<&Member> {
        self.members.get(&id)
    }

    /// Ascending by id, as MemberList answers.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// Ids of removed members, ascending.
    pub fn removed(&self) -> impl Iterator<Item = MemberId> + '_ {
        self.removed.iter().copied()
    }

    /// Adds a member or replaces it (replay of a checkpoint, conf change).
    pub fn insert(&mut self, member: Member) {
        self.members.insert(member.id, member);
    }

    /// Removes a member for good.
    pub fn remove(&mut self, id: MemberId) {
        self.members.remove(&id);
        self.removed.insert(id);
    }

    /// Makes a voter of a learner; nothing if it is unknown.
    pub fn promote(&mut self, id: MemberId) {
        if let Some(member) = self.members.get_mut(&id) {
            member.is_learner = false;
        }
    }

    /// Gives a member other peer URLs; nothing if it is unknown.
    pub fn set_peer_urls(&mut self, id: MemberId, peer_urls: Vec<String>) {
        if let Some(member) = self.members.get_mut(&id) {
            member.peer_urls = peer_urls;
        }
    }

    /// Whether `id` belonged to a member once: it never comes back (CL-3).
    pub fn is_removed(&self, id: MemberId) -> bool {
        self.removed.contains(&id)
    }

    /// Records what a started member says of itself (CL-12); nothing if it is unknown.
    pub fn publish(&mut self, id: MemberId, name: String, client_urls: Vec<String>) {
        if let Some(member) = self.members.get_mut(&id) {
            member.name = name;
            member.client_urls = client_urls;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_the_default_member_are_etcds() {
        let bootstrap = Bootstrap {
            token: "etcd-cluster".into(),
            members: vec![("default".into(), vec!["http://localhost:2380".into()])],
            name: "default".into(),
        };
        assert_eq!(bootstrap.member_id(), Some(MemberId(0x8e9e05c52164694d)));
        assert_eq!(bootstrap.cluster_id(), ClusterId(0xcdf818194e3a8c32));
    }

    #[test]
    fn publish_of_an_unknown_member_changes_nothing() {
        let mut members = Members::default();
        members.publish(MemberId(1), "a".into(), vec![]);
        assert_eq!(members, Members::default());
    }
}
