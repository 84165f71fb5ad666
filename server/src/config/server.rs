//! What the shell needs to know to run one member.

use holdfast_core::node::AutoCompaction;

use super::auth_token::JwtOptions;
use super::security::Security;
use super::url::{Url, join};
use crate::logs::LogSettings;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

/// `--initial-cluster-state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterState {
    New,
    Existing,
}

/// Settings with defaults filled in and everything checked that does not need the data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// `--name`
    pub name: String,
    /// `--data-dir`, `NAME.etcd` when it was empty.
    pub data_dir: PathBuf,
    /// `--initial-cluster`, read by `check_bootstrap`; a member that was started before has no use for it.
    pub initial_cluster: String,
    /// `--initial-cluster-token`
    pub initial_cluster_token: String,
    /// `--initial-cluster-state`
    pub initial_cluster_state: ClusterState,
    /// `--discovery-srv`: the domain whose records name the initial members; empty: `initial_cluster` does.
    pub discovery_srv: String,
    /// `--discovery-srv-name`
    pub discovery_srv_name: String,
    /// `--initial-advertise-peer-urls`, sorted: member ids are made from them.
    pub initial_advertise_peer_urls: Vec<Url>,
    /// `--advertise-client-urls`, sorted.
    pub advertise_client_urls: Vec<Url>,
    /// `--listen-client-urls`: of all schemes.
    pub listen_client_urls: Vec<Url>,
    /// `--listen-client-http-urls`: the same; with any, gRPC alone is served on `listen_client_urls`.
    pub listen_client_http_urls: Vec<Url>,
    /// `--listen-peer-urls`: http or https.
    pub listen_peer_urls: Vec<Url>,
    /// `--listen-metrics-urls`: of all schemes; empty unless given.
    pub listen_metrics_urls: Vec<Url>,
    /// All flags of TLS.
    pub security: Security,

    /// `--heartbeat-interval`, also the length of a tick.
    pub heartbeat_interval: Duration,
    /// `--election-timeout`, 5 heartbeats to 50 s.
    pub election_timeout: Duration,
    /// `--initial-election-tick-advance`
    pub initial_election_tick_advance: bool,
    /// `--pre-vote`
    pub pre_vote: bool,
    /// `--bcrypt-cost`
    pub bcrypt_cost: u32,
    /// `--auth-token-ttl`
    pub auth_token_ttl: Duration,
    /// `--auth-token=jwt,...`; `None`: simple tokens.
    pub jwt: Option<JwtOptions>,
    /// `--strict-reconfig-check`
    pub strict_reconfig_check: bool,
    /// `--max-learners`
    pub max_learners: u32,
    /// `--force-new-cluster`
    pub force_new_cluster: bool,
    /// `--feature-gates=LeaseCheckpoint`
    pub lease_checkpoint: bool,
    /// `--feature-gates`: name, stage, whether it is open.
    pub feature_gates: Vec<(&'static str, &'static str, bool)>,
    /// `--metrics=extensive`
    pub extensive_metrics: bool,
    /// `--auto-compaction-mode` and `--auto-compaction-retention`; `None`: off.
    pub auto_compaction: Option<AutoCompaction>,

    /// `--quota-backend-bytes`: 2 GiB when it was 0, None (no quota) when it was below.
    pub quota_backend_bytes: Option<u64>,
    /// `--max-txn-ops`
    pub max_txn_ops: u64,
    /// `--max-request-bytes`
    pub max_request_bytes: u64,
    /// `--max-concurrent-streams`, of one connection.
    pub max_concurrent_streams: u32,
    /// `--grpc-keepalive-min-time`: pings of a client that come faster are answered with GOAWAY; zero allows
    /// all.
    pub grpc_keepalive_min_time: Duration,
    /// `--grpc-keepalive-interval` between pings of the server; zero sends none.
    pub grpc_keepalive_interval: Duration,
    /// `--grpc-keepalive-timeout` until an unanswered ping closes the connection; zero sends no pings.
    pub grpc_keepalive_timeout: Duration,
    /// `--watch-progress-notify-interval`, 10 minutes when it was 0.
    pub watch_progress_notify_interval: Duration,
    /// `--warning-apply-duration`
    pub warning_apply_duration: Duration,
    /// `--warning-unary-request-duration`, 300 ms when it was 0.
    pub warning_unary_request_duration: Duration,
    /// `--enable-grpc-gateway`
    pub enable_grpc_gateway: bool,
    /// `--cors`: origins that browsers may call from; `*` allows all.
    pub cors: BTreeSet<String>,
    /// `--host-whitelist`: host names under which plain HTTP may be asked for; `*` allows all.
    pub host_whitelist: BTreeSet<String>,
    /// `--unsafe-no-fsync`
    pub unsafe_no_fsync: bool,

    /// `--log-level`, `--log-format`, `--log-outputs`
    pub logs: LogSettings,

    /// To be logged once, as warnings, when logging is set up.
    pub warnings: Vec<String>,
    /// The same for what is worth an info line.
    pub notes: Vec<String>,
}

impl ServerConfig {
    /// Heartbeats in an election timeout, at least 5.
    pub fn election_ticks(&self) -> u32 {
        let ticks = self.election_timeout.as_millis() / self.heartbeat_interval.as_millis();
        u32::try_from(ticks).expect("the timeout is at most 50,000 ms")
    }

    /// Checks what only a member's first start depends on; to be called when the data directory holds no
    /// member, and not otherwise: a restart with other flags for the initial cluster is normal.
    /// Gives the peer URLs of the initial members by name.
    /// Source: etcd v3.7.1 server/config/config.go (VerifyBootstrap), server/embed/etcd.go (StartEtcd).
    pub fn check_bootstrap(&self) -> Result<BTreeMap<String, Vec<Url>>, String> {
        let cluster = self.read_initial_cluster()?;
        self.check_advertised(&cluster[&self.name])?;
        self.check_no_duplicates(&cluster)?;
        Ok(cluster)
    }

    /// The same for a member that joins a cluster, which knows its URLs already.
    /// Source: etcd v3.7.1 server/config/config.go (VerifyJoinExisting).
    pub fn check_join(&self) -> Result<BTreeMap<String, Vec<Url>>, String> {
        let cluster = self.read_initial_cluster()?;
        self.check_no_duplicates(&cluster)?;
        Ok(cluster)
    }

    /// Errors: a URL that cannot be read, and this member not being among them.
    fn read_initial_cluster(&self) -> Result<BTreeMap<String, Vec<Url>>, String> {
        let cluster = parse_initial_cluster(&self.initial_cluster)
            .map_err(|reason| format!("error setting up initial cluster: {reason}"))?;
        match cluster.contains_key(&self.name) {
            true => Ok(cluster),
            false => {
                Err(format!("couldn't find local name {:?} in the initial cluster configuration", self.name))
            }
        }
    }

    fn check_no_duplicates(&self, cluster: &BTreeMap<String, Vec<Url>>) -> Result<(), String> {
        let all: Vec<String> = cluster.values().flatten().map(Url::to_string).collect();
        match all.iter().collect::<BTreeSet<&String>>().len() == all.len() {
            true => Ok(()),
            false => Err(format!("initial cluster {} has duplicate url", self.initial_cluster)),
        }
    }

    /// The member's URLs in `--initial-cluster` must be those it advertises. Host names are compared as they
    /// are, but for localhost; etcd also resolves them.
    fn check_advertised(&self, mine: &[Url]) -> Result<(), String> {
        let initial: BTreeSet<String> = mine.iter().map(Url::comparable).collect();
        let advertised: BTreeSet<String> =
            self.initial_advertise_peer_urls.iter().map(Url::comparable).collect();
        let missing: Vec<String> = mine
            .iter()
            .filter(|url| !advertised.contains(&url.comparable()))
            .map(|url| format!("{}={url}", self.name))
            .collect();
        if !missing.is_empty() {
            return Err(format!(
                "--initial-cluster has {} but missing from --initial-advertise-peer-urls={}",
                missing.join(","),
                join(&self.initial_advertise_peer_urls)
            ));
        }
        let missing: Vec<String> = self
            .initial_advertise_peer_urls
            .iter()
            .filter(|url| !initial.contains(&url.comparable()))
            .map(Url::to_string)
            .collect();
        if !missing.is_empty() {
            let cluster: Vec<String> =
                self.initial_advertise_peer_urls.iter().map(|url| format!("{}={url}", self.name)).collect();
            return Err(format!(
                "--initial-advertise-peer-urls has {} but missing from --initial-cluster={}",
                missing.join(","),
                cluster.join(",")
            ));
        }
        Ok(())
    }
}

/// `name=url,name=url2` as name to URLs.
/// Source: etcd v3.7.1 client/pkg/types/urlsmap.go.
fn parse_initial_cluster(text: &str) -> Result<BTreeMap<String, Vec<Url>>, String> {
    let mut cluster: BTreeMap<String, Vec<Url>> = BTreeMap::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (name, url) = part.split_once('=').unwrap_or((part, ""));
        cluster.entry(name.to_owned()).or_default().push(Url::parse(url)?);
    }
    Ok(cluster)
}

/// The address this machine would send from, without sending: connecting a datagram socket only picks a
/// route. None when there is no route out.
pub fn default_host() -> Option<String> {
    // Addresses reserved for documentation, which no route but the default one covers.
    [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")].into_iter().find_map(|(from, to)| {
        let socket = UdpSocket::bind(from).ok()?;
        socket.connect(to).ok()?;
        let address: IpAddr = socket.local_addr().ok()?.ip();
        (!address.is_unspecified() && !address.is_loopback()).then(|| address.to_string())
    })
}
