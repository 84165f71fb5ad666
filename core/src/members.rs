//! Membership as replicated state, and ids as etcd derives them.
//!
//! Source: etcd 3.7.1 `server/etcdserver/api/membership/{member,cluster}.go` (CL-1, CL-3, CL-6, CL-12).

use std::collections::{BTreeMap, BTreeSet};

use sha1::{Digest, Sha1};

use crate::base::{ClusterId, MemberId};
use crate::request::Member;
use crate::status::Status;
use crate::url::Url;

pub mod strict;

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

/// Id of a member that is added later: no token, the proposer's wall clock in seconds in its place (CL-1).
pub fn derive_added_member_id(sorted_peer_urls: &[String], unix_s: u64) -> MemberId {
    derive_member_id(sorted_peer_urls, &unix_s.to_string())
}

/// Peer URLs as members keep them: without spaces around, the scheme in lower case; in the given order.
/// Errors: `MemberBadUrls` for an empty list, a scheme other than http, https, unix or unixs, http without
/// host and port or with more than those (CL-4).
/// Source: etcd 3.7.1 client/pkg/types/urls.go (NewURLs).
pub fn read_peer_urls(texts: &[String]) -> Result<Vec<String>, Status> {
    if texts.is_empty() {
        return Err(Status::MemberBadUrls);
    }
    let read = |text: &String| Url::parse(text).map(|url| url.to_string());
    texts.iter().map(read).collect::<Result<_, _>>().map_err(|_| Status::MemberBadUrls)
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

    /// Those that vote, ascending by id.
    pub fn voters(&self) -> impl Iterator<Item = &Member> {
        self.iter().filter(|member| !member.is_learner)
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

    /// Whether leadership may go to `id` (CL-14). Errors: `BadLeaderTransferee`, unknown or a learner.
    pub fn check_transferee(&self, id: MemberId) -> Result<(), Status> {
        match self.voters().any(|voter| voter.id == id) {
            true => Ok(()),
            false => Err(Status::BadLeaderTransferee),
        }
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
    fn id_of_an_added_member_rests_on_urls_and_time() {
        let urls = ["http://10.0.0.2:2380".to_owned(), "http://10.0.0.3:2380".to_owned()];
        // printf 'http://10.0.0.2:2380http://10.0.0.3:23801700000000' | sha1sum
        assert_eq!(derive_added_member_id(&urls, 1_700_000_000), MemberId(0xec5f37acd9ea8211));
    }

    #[test]
    fn peer_urls_are_read_as_etcd_reads_them() {
        let read = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            read_peer_urls(&texts)
        };
        let kept = ["http://b:1", "https://[::1]:2", "unix:///run/a.sock", "unixs://b"];
        assert_eq!(read(&kept), Ok(kept.map(str::to_owned).to_vec()));
        assert_eq!(read(&[" HTTP://b:1 "]), Ok(vec!["http://b:1".to_owned()]));
        for bad in ["", "b:1", "http://b", "http://b:1/", "http://b:1/path", "ftp://b:1", "http://b:1:2"] {
            assert_eq!(read(&["http://a:1", bad]), Err(Status::MemberBadUrls), "{bad:?}");
        }
        assert_eq!(read(&[]), Err(Status::MemberBadUrls));
    }

    #[test]
    fn leadership_goes_to_voters_only() {
        let mut members = Members::default();
        members.insert(Member { id: MemberId(1), ..Member::default() });
        members.insert(Member { id: MemberId(2), is_learner: true, ..Member::default() });
        assert_eq!(members.check_transferee(MemberId(1)), Ok(()));
        assert_eq!(members.check_transferee(MemberId(2)), Err(Status::BadLeaderTransferee));
        assert_eq!(members.check_transferee(MemberId(3)), Err(Status::BadLeaderTransferee));
    }

    #[test]
    fn publish_of_an_unknown_member_changes_nothing() {
        let mut members = Members::default();
        members.publish(MemberId(1), "a".into(), vec![]);
        assert_eq!(members, Members::default());
    }
}
