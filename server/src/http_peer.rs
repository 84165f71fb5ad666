//! The plain HTTP endpoints of the peer port.
//!
//! Source: etcd 3.7.1 server/etcdserver/api/etcdhttp/peer.go (paths, codes, headers). What etcd's members ask of
//! each other there (`/raft`, `/leases`, `/members/promote`) members of ours say over gRPC.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_core::base::ClusterId;
use holdfast_core::request::Member;
use holdfast_net::peer::{PROTOCOL, Roster};
use serde_json::{Value, json};
use tokio::sync::watch;
use tracing::warn;

use crate::http::{Answer, Versions};

/// What the endpoints look at.
#[derive(Clone, Debug)]
pub struct PeerEndpoints {
    pub roster: watch::Receiver<Roster>,
    pub cluster_id: ClusterId,
    pub versions: Versions,
    /// Requests of a real etcd's raft so far.
    pub knocks: Arc<AtomicU64>,
}

/// Of so many requests of a real etcd's raft one is logged: about one a minute.
const KNOCKS_A_LINE: u64 = 1200;

/// Who asks, as etcd's members say it in their headers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asker<'a> {
    /// `X-Server-From`.
    pub member: &'a str,
    /// `X-Server-Version`.
    pub version: &'a str,
}

impl PeerEndpoints {
    /// Answers `method path`; a path of no endpoint is 404.
    pub fn answer(&self, method: &str, path: &str, asker: Asker<'_>) -> Answer {
        let mut answer = match path {
            "/members" | "/version" if method != "GET" => Answer::method_not_allowed(),
            "/members" => self.members(),
            "/version" => self.versions.answer(),
            _ if path == "/raft" || path.starts_with("/raft/") => self.refuse_etcd(path, asker),
            _ => Answer::error(404, "404 page not found"),
        };
        answer.headers.push(("x-holdfast-peer-protocol", PROTOCOL.to_string()));
        if path == "/members" || path.starts_with("/raft") {
            answer.headers.push(("x-etcd-cluster-id", format!("{:x}", self.cluster_id)));
        }
        answer
    }

    fn members(&self) -> Answer {
        let members: Vec<String> = self.roster.borrow().members.iter().map(member_json).collect();
        Answer::ok("application/json", format!("[{}]\n", members.join(",")))
    }

    /// etcd's raft transport knocks, twenty times a second: the two cannot share a cluster. It logs the text
    /// that it is told.
    /// Source: etcd 3.7.1 server/etcdserver/api/rafthttp/stream.go (dial).
    fn refuse_etcd(&self, path: &str, asker: Asker<'_>) -> Answer {
        if !self.knocks.fetch_add(1, Ordering::Relaxed).is_multiple_of(KNOCKS_A_LINE) {
            return Answer::error(412, "incompatible version");
        }
        warn!(
            "remote-peer-id" = asker.member,
            "remote-server-version" = asker.version,
            path,
            "a real etcd tries to connect as a peer and is refused: etcd and holdfast cannot be members of one cluster"
        );
        Answer::error(412, "incompatible version")
    }
}

/// As etcd marshals `membership.Member`: what is empty is left out, but for the id and the peer URLs.
fn member_json(member: &Member) -> String {
    let mut object = format!(r#"{{"id":{},"peerURLs":{}"#, member.id, json!(member.peer_urls));
    let mut add = |name: &str, value: Value| {
        write!(object, r#","{name}":{value}"#).expect("a String takes every text");
    };
    if member.is_learner {
        add("isLearner", json!(true));
    }
    if !member.name.is_empty() {
        add("name", json!(member.name));
    }
    if !member.client_urls.is_empty() {
        add("clientURLs", json!(member.client_urls));
    }
    object.push('}');
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_core::base::MemberId;

    fn endpoints() -> PeerEndpoints {
        let started = Member {
            id: MemberId(10_276_657_743_932_975_437),
            name: "default".to_owned(),
            peer_urls: vec!["http://localhost:2380".to_owned()],
            client_urls: vec!["http://localhost:2379".to_owned()],
            is_learner: false,
        };
        let added = Member {
            id: MemberId(7),
            peer_urls: vec!["http://b:2380".to_owned()],
            is_learner: true,
            ..Member::default()
        };
        let roster = Roster { members: vec![started, added], ..Roster::default() };
        let versions = Versions { server: "3.7.1", cluster: "3.7.0", storage: "3.7.0" };
        PeerEndpoints {
            roster: watch::channel(roster).1,
            cluster_id: ClusterId(0xcdf8_1819_4e3a_8c32),
            versions,
            knocks: Arc::default(),
        }
    }

    #[test]
    fn members_are_listed_as_etcd_lists_them() {
        let answer = endpoints().answer("GET", "/members", Asker::default());
        assert_eq!((answer.status, answer.content_type), (200, "application/json"));
        let expected = "[{\"id\":10276657743932975437,\"peerURLs\":[\"http://localhost:2380\"],\"name\":\"default\",\
                        \"clientURLs\":[\"http://localhost:2379\"]},\
                        {\"id\":7,\"peerURLs\":[\"http://b:2380\"],\"isLearner\":true}]\n";
        assert_eq!(String::from_utf8_lossy(&answer.body), expected);
        assert!(answer.headers.contains(&("x-etcd-cluster-id", "cdf818194e3a8c32".to_owned())));
    }

    #[test]
    fn only_gets_are_answered_and_only_these_paths() {
        let endpoints = endpoints();
        let status = |method: &str, path: &str| endpoints.answer(method, path, Asker::default()).status;
        assert_eq!(status("GET", "/version"), 200);
        assert_eq!(status("POST", "/version"), 405);
        assert_eq!(status("DELETE", "/members"), 405);
        assert_eq!(status("GET", "/members/"), 404);
        assert_eq!(status("GET", "/health"), 404);
        assert_eq!(status("GET", "/raft/stream/message/1"), 412);
        assert_eq!(status("POST", "/raft"), 412);
    }
}
