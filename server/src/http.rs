//! The plain HTTP endpoints: health, version, metrics; as functions from a request line to an answer.
//!
//! Source: etcd 3.7.1 server/etcdserver/api/etcdhttp (paths, codes, texts) and MNT-6. Sockets, TLS and the
//! JSON gateway are `net`'s.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use holdfast_core::request::{RangeRequest, Request, Response, StatusResponse};
use holdfast_core::status::Status;
use holdfast_net::gate::Gate;

use crate::config::ETCD_VERSION;
use crate::metrics::Metrics;
use crate::process_stats::file_descriptors;

/// Which listener a request came in on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// `--listen-client-urls`: everything here.
    Client,
    /// `--listen-client-http-urls`: the same without gRPC.
    ClientHttp,
    /// `--listen-metrics-urls`: metrics and health only.
    Metrics,
}

/// What versions `/version` names.
#[derive(Clone, Copy, Debug)]
pub struct Versions {
    pub server: &'static str,
    pub cluster: &'static str,
    pub storage: &'static str,
}

/// Version of cluster and storage that goes with `ETCD_VERSION`.
const CLUSTER_VERSION: &str = "3.7.0";

impl Versions {
    /// Those of a cluster of this program.
    pub fn of_cluster() -> Versions {
        Versions { server: ETCD_VERSION, cluster: CLUSTER_VERSION, storage: CLUSTER_VERSION }
    }

    /// `/version`.
    pub fn answer(&self) -> Answer {
        let Versions { server, cluster, storage } = self;
        let body = format!(r#"{{"etcdserver":"{server}","etcdcluster":"{cluster}","storage":"{storage}"}}"#);
        Answer::ok(JSON, body)
    }
}

/// The answer to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub content_type: &'static str,
    /// `Allow: GET`, the companion of a 405.
    pub allow_get: bool,
    /// `X-Content-Type-Options: nosniff`, as Go's error answers have it.
    pub nosniff: bool,
    /// Further headers, names in lower case.
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
}

/// What the endpoints look at.
#[derive(Clone, Debug)]
pub struct Endpoints {
    gate: Gate,
    metrics: Metrics,
    versions: Versions,
    /// TO-1.
    request_timeout: Duration,
}

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const SCRAPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A single check of `/livez` or `/readyz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    DataCorruption,
    SerializableRead,
    LinearizableRead,
    NonLearner,
}

impl Check {
    fn name(self) -> &'static str {
        match self {
            Check::DataCorruption => "data_corruption",
            Check::SerializableRead => "serializable_read",
            Check::LinearizableRead => "linearizable_read",
            Check::NonLearner => "non_learner",
        }
    }
}

/// What each root runs, in the order it is reported.
const LIVEZ: &[Check] = &[Check::SerializableRead];
const READYZ: &[Check] =
    &[Check::DataCorruption, Check::LinearizableRead, Check::NonLearner, Check::SerializableRead];

impl Endpoints {
    pub fn new(gate: Gate, metrics: Metrics, versions: Versions, request_timeout: Duration) -> Endpoints {
        Endpoints { gate, metrics, versions, request_timeout }
    }

    /// Answers `method path?query`; a path of no endpoint is 404.
    pub async fn answer(&self, surface: Surface, method: &str, path: &str, query: &str) -> Answer {
        let get = method == "GET";
        match path {
            "/metrics" => Answer::ok(SCRAPE, self.metrics.text()),
            "/health" if get => self.health(query).await,
            "/version" if surface != Surface::Metrics && get => self.versions.answer(),
            "/debug/vars" if surface != Surface::Metrics => self.debug_vars().await,
            "/health" => Answer::method_not_allowed(),
            "/version" if surface != Surface::Metrics => Answer::method_not_allowed(),
            _ => match find_checks(path) {
                Some(_) if !get => Answer::method_not_allowed(),
                Some((root, checks)) => self.run_checks(root, &checks, query).await,
                None => Answer::error(404, "404 page not found"),
            },
        }
    }

    /// `/health`: alarms, then a leader, then a read.
    async fn health(&self, query: &str) -> Answer {
        let serializable = parameters(query, "serializable").next().is_some_and(|value| value == "true");
        let excluded: Vec<String> = parameters(query, "exclude").collect();
        let reason = self.health_reason(serializable, &excluded).await;
        let body = health_body(reason.as_deref());
        match reason {
            None => {
                self.metrics.health.success.inc();
                Answer::ok(TEXT, body)
            }
            Some(_) => {
                self.metrics.health.failures.inc();
                tracing::warn!(output = body, "status-code" = 503, "/health error");
                Answer::error(503, &body)
            }
        }
    }

    /// Why the member is not healthy.
    async fn health_reason(&self, serializable: bool, excluded: &[String]) -> Option<String> {
        let status = match self.member_status().await {
            Ok(status) => status,
            Err(status) => return Some(format!("RANGE ERROR:{status}")),
        };
        let alarm = alarms(&status).find(|alarm| !excluded.iter().any(|name| name == alarm));
        if let Some(alarm) = alarm {
            return Some(format!("ALARM {alarm}"));
        }
        if !serializable && status.leader.0 == 0 {
            return Some("RAFT NO LEADER".to_owned());
        }
        self.check_read(serializable).await.err().map(|status| format!("RANGE ERROR:{status}"))
    }

    async fn run_checks(&self, root: &'static str, checks: &[Check], query: &str) -> Answer {
        let excluded: Vec<String> = parameters(query, "exclude").collect();
        let mut report = String::new();
        let mut failed = false;
        for &check in checks {
            if excluded.iter().any(|name| name == check.name()) {
                continue;
            }
            let result = self.run_check(check).await;
            let outcome = match &result {
                Ok(()) => writeln!(report, "[+]{} ok", check.name()),
                Err(why) => writeln!(report, "[-]{} failed: {why}", check.name()),
            };
            outcome.expect("a String takes every text");
            failed |= result.is_err();
            let health = &self.metrics.health;
            health.check.with_label_values(&[root, check.name()]).set(f64::from(u8::from(result.is_ok())));
            let status = if result.is_ok() { "success" } else { "error" };
            health.checks.with_label_values(&[root, check.name(), status]).inc();
        }
        if failed {
            tracing::error!(path = root, reason = report, "status-code" = 503, "Health check error");
            return Answer::error(503, &report);
        }
        let verbose = parameters(query, "verbose").next().is_some();
        let report = if verbose { report } else { String::new() };
        Answer { nosniff: true, ..Answer::ok(TEXT, format!("{report}ok\n")) }
    }

    async fn run_check(&self, check: Check) -> Result<(), String> {
        let text = |status: Status| status.to_string();
        match check {
            Check::SerializableRead => self.check_read(true).await.map_err(text),
            Check::LinearizableRead => self.check_read(false).await.map_err(text),
            Check::DataCorruption => {
                let status = self.member_status().await.map_err(text)?;
                match alarms(&status).any(|alarm| alarm == "CORRUPT") {
                    true => Err("alarm activated: CORRUPT".to_owned()),
                    false => Ok(()),
                }
            }
            Check::NonLearner => match self.member_status().await.map_err(text)?.is_learner {
                true => Err("not supported for learner".to_owned()),
                false => Ok(()),
            },
        }
    }

    async fn check_read(&self, serializable: bool) -> Result<(), Status> {
        match self.read(serializable).await {
            // Clients get no linearizable read of a learner; that it serves what it has is its health.
            Err(Status::NotSupportedForLearner) => self.read(true).await,
            result => result,
        }
    }

    async fn read(&self, serializable: bool) -> Result<(), Status> {
        let request = RangeRequest {
            key: Bytes::from_static(b"\0"),
            keys_only: true,
            limit: 1,
            serializable,
            ..RangeRequest::default()
        };
        self.call(Request::Range(request)).await.map(|_| ())
    }

    async fn member_status(&self) -> Result<StatusResponse, Status> {
        match self.call(Request::Status).await? {
            Response::Status(status) => Ok(status),
            other => unreachable!("a status request was answered with {other:?}"),
        }
    }

    async fn call(&self, request: Request) -> Result<Response, Status> {
        let answer = tokio::time::timeout(self.request_timeout, self.gate.call_as_root(request)).await;
        answer.unwrap_or(Err(Status::Timeout))
    }

    /// The parts of Go's expvar page that mean something here.
    async fn debug_vars(&self) -> Answer {
        let arguments: Vec<String> = std::env::args().collect();
        let limit = file_descriptors().map_or(0, |(_, limit)| limit);
        let mut body =
            format!(r#"{{"cmdline":{},"file_descriptor_limit":{limit}"#, serde_json::json!(arguments));
        if let Ok(status) = self.member_status().await {
            let identity = self.gate.identity();
            write!(
                body,
                r#","raft.status":{{"id":"{:x}","term":{},"lead":"{:x}","commit":{},"applied":{}}}"#,
                identity.member_id,
                status.header.raft_term,
                status.leader,
                status.raft_index,
                status.raft_applied_index
            )
            .expect("a String takes every text");
        }
        body.push_str("}\n");
        Answer::ok("application/json; charset=utf-8", body)
    }
}

impl Answer {
    pub fn ok(content_type: &'static str, body: impl Into<Vec<u8>>) -> Answer {
        let body = Bytes::from(body.into());
        Answer { status: 200, content_type, allow_get: false, nosniff: false, headers: Vec::new(), body }
    }

    /// An error as Go's `http.Error` writes it: the text and a newline.
    pub fn error(status: u16, text: &str) -> Answer {
        let body = Bytes::from(format!("{text}\n"));
        Answer { status, content_type: TEXT, allow_get: false, nosniff: true, headers: Vec::new(), body }
    }

    pub fn method_not_allowed() -> Answer {
        Answer { allow_get: true, ..Answer::error(405, "Method Not Allowed") }
    }
}

/// The checks a path names: a root, or one check below it.
fn find_checks(path: &str) -> Option<(&'static str, Vec<Check>)> {
    for (root, checks) in [("livez", LIVEZ), ("readyz", READYZ)] {
        let Some(rest) = path.strip_prefix('/').and_then(|path| path.strip_prefix(root)) else {
            continue;
        };
        if rest.is_empty() {
            return Some((root, checks.to_vec()));
        }
        let one = checks.iter().find(|check| rest.strip_prefix('/') == Some(check.name()))?;
        return Some((root, vec![*one]));
    }
    None
}

/// Names of the alarms that are raised anywhere in the cluster.
/// Source: `StatusResponse.errors`, whose alarm lines read `memberID:N alarm:NAME`.
fn alarms(status: &StatusResponse) -> impl Iterator<Item = &str> {
    status.errors.iter().filter_map(|error| error.split_once("alarm:")).map(|(_, name)| name.trim())
}

/// The values of a query's parameter `name`, decoded, in order.
fn parameters(query: &str, name: &'static str) -> impl Iterator<Item = String> {
    form_urlencoded::parse(query.as_bytes())
        .filter(move |(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

fn health_body(reason: Option<&str>) -> String {
    let healthy = reason.is_none();
    format!(r#"{{"health":"{healthy}","reason":{}}}"#, serde_json::json!(reason.unwrap_or_default()))
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
