use holdfast_core::base::{ClusterId, MemberId};
use holdfast_net::gate::{Identity, Inbound};

use super::*;
use crate::metrics;

/// How the node behind the endpoints answers.
#[derive(Clone, Default)]
struct Node {
    status: StatusResponse,
    /// Refusal of linearizable and of serializable reads.
    linearizable: Option<Status>,
    serializable: Option<Status>,
}

/// Endpoints over a node that answers at once.
fn endpoints(node: Node) -> Endpoints {
    let identity = Identity {
        cluster_id: ClusterId(1),
        member_id: MemberId(2),
        request_bytes_max: 1 << 20,
        election_timeout_ms: 1000,
        wall: holdfast_net::clock::WallClock::TRUE,
    };
    let (gate, mut inbox) = Gate::new(identity);
    tokio::spawn(async move {
        while let Some(inbound) = inbox.recv().await {
            let Inbound::Call { request, reply, .. } = inbound else {
                continue;
            };
            let refusal = match &request {
                Request::Range(range) if range.serializable => node.serializable,
                Request::Range(_) => node.linearizable,
                _ => None,
            };
            let answer = match (refusal, request) {
                (Some(status), _) => Err(status),
                (None, Request::Status) => Ok(Response::Status(node.status.clone())),
                (None, _) => Ok(Response::Range(Default::default())),
            };
            reply.send(answer).expect("the endpoints wait");
        }
    });
    let identity = metrics::Identity {
        member_id: 2,
        extensive: false,
        server_version: "3.7.1",
        cluster_version: "3.7",
        features: &[],
    };
    let versions = Versions { server: "3.7.1", cluster: "3.7.0", storage: "3.7.0" };
    Endpoints::new(gate, Metrics::new(identity), versions, Duration::from_secs(7))
}

fn healthy() -> Node {
    let status = StatusResponse { leader: MemberId(2), ..StatusResponse::default() };
    Node { status, ..Node::default() }
}

fn alarmed(name: &str) -> Node {
    let mut node = healthy();
    node.status.errors = vec![format!("memberID:2 alarm:{name} ")];
    node
}

async fn get(node: Node, target: &str) -> (u16, String) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let answer = endpoints(node).answer(Surface::Client, "GET", path, query).await;
    (answer.status, String::from_utf8(answer.body.to_vec()).expect("bodies are text"))
}

#[tokio::test]
async fn health_names_what_is_wrong() {
    let no_leader = Node::default();
    let slow = Node { linearizable: Some(Status::Timeout), ..healthy() };
    for (node, target, status, body) in [
        (healthy(), "/health", 200, r#"{"health":"true","reason":""}"#),
        (alarmed("NOSPACE"), "/health", 503, "{\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}\n"),
        (alarmed("NOSPACE"), "/health?exclude=NOSPACE", 200, r#"{"health":"true","reason":""}"#),
        (
            alarmed("CORRUPT"),
            "/health?exclude=NOSPACE",
            503,
            "{\"health\":\"false\",\"reason\":\"ALARM CORRUPT\"}\n",
        ),
        (no_leader.clone(), "/health", 503, "{\"health\":\"false\",\"reason\":\"RAFT NO LEADER\"}\n"),
        (no_leader, "/health?serializable=true", 200, r#"{"health":"true","reason":""}"#),
        (
            slow,
            "/health",
            503,
            "{\"health\":\"false\",\"reason\":\"RANGE ERROR:etcdserver: request timed out\"}\n",
        ),
    ] {
        assert_eq!(get(node, target).await, (status, body.to_owned()), "{target}");
    }
}

#[tokio::test]
async fn livez_needs_no_leader_but_readyz_does() {
    let cut_off = || Node { linearizable: Some(Status::Timeout), ..Node::default() };
    assert_eq!(get(cut_off(), "/livez").await, (200, "ok\n".to_owned()));
    assert_eq!(get(cut_off(), "/livez?verbose").await, (200, "[+]serializable_read ok\nok\n".to_owned()));
    let (status, body) = get(cut_off(), "/readyz").await;
    assert_eq!(status, 503);
    assert!(body.contains("[-]linearizable_read failed: etcdserver: request timed out\n"), "{body}");
    assert!(body.contains("[+]serializable_read ok\n"), "{body}");
    assert_eq!(get(cut_off(), "/readyz?exclude=linearizable_read").await, (200, "ok\n".to_owned()));
}

#[tokio::test]
async fn single_check_stands_below_its_root() {
    assert_eq!(get(healthy(), "/livez/serializable_read").await, (200, "ok\n".to_owned()));
    assert_eq!(get(healthy(), "/readyz/linearizable_read?verbose").await.1, "[+]linearizable_read ok\nok\n");
    assert_eq!(get(healthy(), "/livez/linearizable_read").await.0, 404);
    assert_eq!(get(healthy(), "/livezx").await.0, 404);
    let mut learner = healthy();
    learner.status.is_learner = true;
    assert_eq!(get(learner, "/readyz/non_learner").await.0, 503);
}

#[tokio::test]
async fn full_store_is_ready_but_corrupt_one_is_not() {
    assert_eq!(get(alarmed("NOSPACE"), "/readyz").await.0, 200);
    let (status, body) = get(alarmed("CORRUPT"), "/readyz").await;
    assert_eq!(status, 503);
    assert!(body.contains("[-]data_corruption failed: alarm activated: CORRUPT\n"), "{body}");
}

#[tokio::test]
async fn only_get_is_allowed() {
    let endpoints = endpoints(healthy());
    for path in ["/health", "/livez", "/readyz", "/readyz/non_learner", "/version"] {
        for method in ["POST", "HEAD", "PUT", "DELETE"] {
            let answer = endpoints.answer(Surface::Client, method, path, "").await;
            assert_eq!((answer.status, answer.allow_get), (405, true), "{method} {path}");
            assert_eq!(&answer.body[..], b"Method Not Allowed\n");
        }
    }
}

#[tokio::test]
async fn version_is_etcds_json() {
    let body = r#"{"etcdserver":"3.7.1","etcdcluster":"3.7.0","storage":"3.7.0"}"#;
    assert_eq!(get(healthy(), "/version").await, (200, body.to_owned()));
}

#[tokio::test]
async fn metrics_listener_has_no_version() {
    let endpoints = endpoints(healthy());
    assert_eq!(endpoints.answer(Surface::Metrics, "GET", "/version", "").await.status, 404);
    assert_eq!(endpoints.answer(Surface::Metrics, "GET", "/health", "").await.status, 200);
    let scrape = endpoints.answer(Surface::Metrics, "GET", "/metrics", "").await;
    assert_eq!(scrape.content_type, "text/plain; version=0.0.4; charset=utf-8");
    let text = String::from_utf8(scrape.body.to_vec()).expect("the text is ASCII");
    assert!(text.contains("etcd_server_health_success 1\n"), "{text}");
}

#[tokio::test]
async fn stopped_node_fails_every_check() {
    let endpoints = endpoints(Node { serializable: Some(Status::Stopped), ..healthy() });
    let answer = endpoints.answer(Surface::Client, "GET", "/livez", "").await;
    assert_eq!(answer.status, 503);
    assert_eq!(&answer.body[..], b"[-]serializable_read failed: etcdserver: server stopped\n\n");
}
