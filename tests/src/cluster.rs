//! A cluster of real processes on loopback.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use holdfast_net::proto::etcdserverpb as pb;
use tempfile::TempDir;
use tonic::Status;

use crate::client::Client;
use crate::process::{Program, Server, built};

/// How long anything may take that is to happen; test machines are slow and shared.
const WITHIN: Duration = Duration::from_secs(60);
/// How long one call may take before it is made elsewhere.
const CALL_WITHIN: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// Some members; they end with this.
pub struct Cluster {
    scratch: TempDir,
    program: Program,
    flags: Vec<String>,
    /// Started or not, in the order of their making.
    pub members: Vec<Server>,
    /// Members that were taken out are numbered on.
    made: usize,
}

impl Cluster {
    /// Starts a new cluster and waits until all of it serves.
    pub fn start(program: Program, size: usize, flags: &[&str]) -> Cluster {
        Cluster::start_below(&std::env::temp_dir(), program, size, flags)
    }

    /// The same with data directories below `parent`.
    pub fn start_below(parent: &Path, program: Program, size: usize, flags: &[&str]) -> Cluster {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let scratch = tempfile::tempdir_in(parent).expect("a scratch directory");
        let mut cluster = Cluster { scratch, program, flags, members: Vec::new(), made: 0 };
        for _ in 0..size {
            let member = cluster.make();
            cluster.members.push(member);
        }
        let all = cluster.initial_cluster();
        for member in &mut cluster.members {
            member.bootstrap(&["--initial-cluster", &all]);
            member.spawn();
        }
        cluster.members.iter_mut().for_each(Server::wait_ready);
        cluster
    }

    /// A further member that is not started.
    pub fn make(&mut self) -> Server {
        self.made += 1;
        let name = format!("m{}", self.made);
        let mut member = Server::new(self.program.clone(), &self.scratch.path().join(&name), &name);
        member.set_flags(&self.flags.iter().map(String::as_str).collect::<Vec<_>>());
        member
    }

    /// `--initial-cluster` of the members that there are.
    pub fn initial_cluster(&self) -> String {
        let each = self.members.iter().map(|member| format!("{}={}", member.name(), member.peer_url()));
        each.collect::<Vec<_>>().join(",")
    }

    /// Of the members that run.
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().filter(|member| member.is_running()).map(Server::endpoint).collect()
    }

    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// Place of the member that all running ones follow, once they agree.
    pub async fn leader(&self) -> usize {
        let started = Instant::now();
        loop {
            let mut ids = BTreeMap::new();
            let mut leaders = Vec::new();
            for (place, member) in self.members.iter().enumerate().filter(|(_, member)| member.is_running()) {
                if let Ok(status) = status(&member.endpoint()).await {
                    ids.insert(status.header.unwrap_or_default().member_id, place);
                    leaders.push(status.leader);
                }
            }
            let running = self.members.iter().filter(|member| member.is_running()).count();
            let agreed = leaders.len() == running && leaders.iter().all(|leader| *leader == leaders[0]);
            if agreed && let Some(place) = leaders.first().and_then(|leader| ids.get(leader)) {
                return *place;
            }
            assert!(started.elapsed() < WITHIN, "no leader:\n{}", self.logs());
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Runs `holdfastctl` against the members that run.
    pub fn ctl(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(built_ctl());
        command.args(["--endpoints", &self.endpoints().join(",")]).args(arguments);
        command.env_remove("ETCDCTL_ENDPOINTS").output().expect("holdfastctl can be started")
    }

    /// The same, which has to succeed; gives what it printed.
    pub fn ctl_text(&self, arguments: &[&str]) -> String {
        let output = self.ctl(arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{arguments:?}: {}\n{}", text(&output.stderr), self.logs());
        text(&output.stdout)
    }

    /// The last lines of all logs.
    pub fn logs(&self) -> String {
        let each = self.members.iter().filter(|member| member.directory().with_extension("log").exists());
        each.map(|member| format!("--- {}\n{}\n", member.name(), member.log_tail())).collect()
    }
}

fn built_ctl() -> &'static Path {
    static BUILT: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    BUILT.get_or_init(|| built("holdfastctl"))
}

/// What a member says of itself.
pub async fn status(endpoint: &str) -> Result<pb::StatusResponse, Status> {
    let mut client = Client::new(endpoint);
    let asked = tokio::time::timeout(CALL_WITHIN, client.maintenance.status(pb::StatusRequest {})).await;
    Ok(asked.map_err(|_| Status::deadline_exceeded("status"))??.into_inner())
}

/// Waits until `holds`; `what` names it when it never does.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < WITHIN, "never happened: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// A client that knows several endpoints and goes to the next one when a call fails.
#[derive(Clone)]
pub struct Roaming {
    clients: Vec<Client>,
    at: usize,
}

impl Roaming {
    /// Begins with the endpoint of number `at`.
    pub fn new(endpoints: &[String], at: usize) -> Roaming {
        Roaming { clients: endpoints.iter().map(|endpoint| Client::new(endpoint)).collect(), at }
    }

    /// One put, once: a failure leaves open whether it happened.
    pub async fn put(&mut self, key: String, value: String) -> Result<i64, Status> {
        let place = self.at % self.clients.len();
        let put = tokio::time::timeout(CALL_WITHIN, self.clients[place].put(key, value)).await;
        let put = put.unwrap_or_else(|_| Err(Status::deadline_exceeded("put")));
        if put.is_err() {
            self.at += 1;
            tokio::time::sleep(PAUSE).await;
        }
        put
    }

    /// A linearizable get, until somebody answers.
    pub async fn get(&mut self, key: &str) -> Option<(bytes::Bytes, i64)> {
        let started = Instant::now();
        loop {
            let place = self.at % self.clients.len();
            let get = self.clients[place].get(key.to_owned(), 0);
            if let Ok(Ok(found)) = tokio::time::timeout(CALL_WITHIN, get).await {
                return found;
            }
            assert!(started.elapsed() < WITHIN, "nobody answers a get of {key}");
            self.at += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }
}
