//! What a member counts, under etcd's names, as Prometheus text.
//!
//! The crate is `prometheus` without its protobuf feature: it writes the classic 0.0.4 text that etcd
//! serves (`prometheus-client` writes OpenMetrics, renames counters and ends with `# EOF`), and its handles
//! are plain atomics.
//! One registry a member: several members live in one process under simulation.
//! Source: etcd 3.7.1, the metrics that are true of this server; names never change.

use holdfast_net::peer::Meters;
use prometheus::core::Collector;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

#[cfg(not(madsim))]
use crate::process_stats::ProcessStats;

/// Handles of every metric a member has; cloning shares them.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    pub raft: RaftMetrics,
    pub peers: Meters,
    /// `Local`, `Remote`.
    pub known_peers: IntGaugeVec,
    pub store: StoreMetrics,
    pub disk: DiskMetrics,
    pub grpc: GrpcMetrics,
    pub health: HealthMetrics,
}

/// Leadership and proposals.
#[derive(Clone, Debug)]
pub struct RaftMetrics {
    pub has_leader: IntGauge,
    pub is_leader: IntGauge,
    pub is_learner: IntGauge,
    pub leader_changes: IntCounter,
    pub committed: IntGauge,
    pub applied: IntGauge,
    pub pending: IntGauge,
    pub failed: IntCounter,
    pub slow_apply: IntCounter,
    pub read_indexes_failed: IntCounter,
    pub promotions: IntCounter,
    /// `Reason`.
    pub promotions_failed: IntCounterVec,
    /// Whether a state that a leader sent is on its way in.
    pub installing: IntGauge,
}

/// Keys, leases and watches.
#[derive(Clone, Debug)]
pub struct StoreMetrics {
    pub quota_bytes: Gauge,
    pub total_bytes: Gauge,
    pub in_use_bytes: Gauge,
    pub keys: IntGauge,
    pub current_revision: IntGauge,
    pub compact_revision: IntGauge,
    pub ranges: IntCounter,
    pub puts: IntCounter,
    pub deletes: IntCounter,
    pub txns: IntCounter,
    pub lease_expired: IntCounter,
    pub lease_granted: IntCounter,
    pub lease_renewed: IntCounter,
    pub lease_revoked: IntCounter,
    pub lease_ttl: Histogram,
    pub streams: IntGauge,
    pub watchers: IntGauge,
    pub slow_watchers: IntGauge,
    pub events: IntCounter,
    pub auth_revision: IntGauge,
    /// Seconds since 1970.
    pub compacted_at: IntGauge,
}

/// The log and checkpoints on disk.
#[derive(Clone, Debug)]
pub struct DiskMetrics {
    pub wal_fsync_seconds: Histogram,
    pub wal_write_seconds: Histogram,
    pub wal_write_bytes: IntGauge,
    pub commit_seconds: Histogram,
    pub snapshot_seconds: Histogram,
    pub defrag_seconds: Histogram,
    pub defrags: IntGauge,
}

/// Calls of the gRPC services.
#[derive(Clone, Debug)]
pub struct GrpcMetrics {
    pub started: IntCounterVec,
    pub handled: IntCounterVec,
    pub messages_received: IntCounterVec,
    pub messages_sent: IntCounterVec,
    /// Only with `--metrics=extensive`.
    pub handling_seconds: Option<HistogramVec>,
    pub bytes_received: IntCounter,
    pub bytes_sent: IntCounter,
    pub client_requests: IntCounterVec,
}

/// Answers of the health endpoints.
#[derive(Clone, Debug)]
pub struct HealthMetrics {
    pub success: IntCounter,
    pub failures: IntCounter,
    pub check: GaugeVec,
    pub checks: IntCounterVec,
}

/// What never changes while a member runs.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    pub member_id: u64,
    /// `--metrics=extensive`.
    pub extensive: bool,
    pub server_version: &'a str,
    /// Major and minor only, as etcd labels it.
    pub cluster_version: &'a str,
    /// Feature gates: name, stage, whether it is open.
    pub features: &'a [(&'static str, &'static str, bool)],
}

/// Makes metrics and puts them into one registry.
/// Invariant: names are ours, valid and unique, so that registration cannot fail.
struct Maker<'a>(&'a Registry);

impl Maker<'_> {
    fn register<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let metric = made.expect("the name is valid");
        self.0.register(Box::new(metric.clone())).expect("the name is used once");
        metric
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::new(name, help))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::new(name, help))
    }

    fn float(&self, name: &str, help: &str) -> Gauge {
        self.register(Gauge::new(name, help))
    }

    /// A histogram with `count` buckets from `start`, each twice the one before.
    fn histogram(&self, name: &str, help: &str, start: f64, count: usize) -> Histogram {
        let buckets = prometheus::exponential_buckets(start, 2.0, count).expect("the buckets rise");
        self.register(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets)))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    /// As `histogram`, one for each set of labels.
    fn histograms(&self, name: &str, help: &str, buckets: (f64, usize), labels: &[&str]) -> HistogramVec {
        let buckets = prometheus::exponential_buckets(buckets.0, 2.0, buckets.1).expect("the buckets rise");
        self.register(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), labels))
    }

    /// A gauge that is 1 under one label: how etcd tells versions and ids.
    fn fact(&self, name: &str, help: &str, label: &str, value: &str) {
        let gauge = self.register(IntGaugeVec::new(Opts::new(name, help), &[label]));
        gauge.with_label_values(&[value]).set(1);
    }
}

impl Metrics {
    /// Every metric at zero, and the process's own.
    pub fn new(identity: Identity<'_>) -> Metrics {
        let registry = Registry::new();
        let make = Maker(&registry);
        make.fact(
            "etcd_server_id",
            "Server or member ID in hexadecimal format. 1 for label 'server_id' with current ID.",
            "server_id",
            &format!("{:x}", identity.member_id),
        );
        make.fact(
            "etcd_server_version",
            "Which version is running. 1 for 'server_version' label with current version.",
            "server_version",
            identity.server_version,
        );
        make.fact(
            "etcd_cluster_version",
            "Which version is running. 1 for 'cluster_version' label with current cluster version.",
            "cluster_version",
            identity.cluster_version,
        );
        let features = make.gauges(
            "etcd_server_feature_enabled",
            "Whether or not a feature is enabled. 1 is enabled, 0 is not.",
            &["name", "stage"],
        );
        for (name, stage, is_open) in identity.features {
            features.with_label_values(&[name, stage]).set(i64::from(*is_open));
        }
        let raft = RaftMetrics::new(&make);
        let peers = new_meters(&make);
        let known_peers = make.gauges(
            "etcd_network_known_peers",
            "The current number of known peers.",
            &["Local", "Remote"],
        );
        let store = StoreMetrics::new(&make);
        let disk = DiskMetrics::new(&make);
        let grpc = GrpcMetrics::new(&make, identity.extensive);
        let health = HealthMetrics::new(&make);
        #[cfg(not(madsim))]
        make.register(ProcessStats::new());
        Metrics { registry, raft, peers, known_peers, store, disk, grpc, health }
    }

    /// The text of one scrape.
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(64 << 10);
        TextEncoder::new().encode(&self.registry.gather(), &mut text).expect("memory takes every byte");
        text
    }
}

impl RaftMetrics {
    fn new(make: &Maker<'_>) -> RaftMetrics {
        RaftMetrics {
            has_leader: make
                .gauge("etcd_server_has_leader", "Whether or not a leader exists. 1 is existence, 0 is not."),
            is_leader: make.gauge(
                "etcd_server_is_leader",
                "Whether or not this member is a leader. 1 if is, 0 otherwise.",
            ),
            is_learner: make.gauge(
                "etcd_server_is_learner",
                "Whether or not this member is a learner. 1 if is, 0 otherwise.",
            ),
            leader_changes: make
                .counter("etcd_server_leader_changes_seen_total", "The number of leader changes seen."),
            committed: make.gauge(
                "etcd_server_proposals_committed_total",
                "The total number of consensus proposals committed.",
            ),
            applied: make.gauge(
                "etcd_server_proposals_applied_total",
                "The total number of consensus proposals applied.",
            ),
            pending: make
                .gauge("etcd_server_proposals_pending", "The current number of pending proposals to commit."),
            failed: make
                .counter("etcd_server_proposals_failed_total", "The total number of failed proposals seen."),
            slow_apply: make.counter(
                "etcd_server_slow_apply_total",
                "The total number of slow apply requests (likely overloaded from slow disk).",
            ),
            read_indexes_failed: make.counter(
                "etcd_server_read_indexes_failed_total",
                "The total number of failed read indexes seen.",
            ),
            promotions: make.counter(
                "etcd_server_learner_promote_successes",
                "The total number of successful learner promotions while this member is leader.",
            ),
            promotions_failed: make.counters(
                "etcd_server_learner_promote_failures",
                "The total number of failed learner promotions (likely learner not ready) while this member is leader.",
                &["Reason"],
            ),
            installing: make.gauge(
                "etcd_server_snapshot_apply_in_progress_total",
                "1 if the server is applying the incoming snapshot. 0 if none.",
            ),
        }
    }
}

/// Connections to other members.
fn new_meters(make: &Maker<'_>) -> Meters {
    const PAIR: &[&str] = &["Local", "Remote"];
    Meters {
        active: make.gauges(
            "etcd_network_active_peers",
            "The current number of active peer connections.",
            PAIR,
        ),
        disconnected: make.counters(
            "etcd_network_disconnected_peers_total",
            "The total number of disconnected peers.",
            PAIR,
        ),
        sent_bytes: make.counters(
            "etcd_network_peer_sent_bytes_total",
            "The total number of bytes sent to peers.",
            &["To"],
        ),
        sent_failures: make.counters(
            "etcd_network_peer_sent_failures_total",
            "The total number of send failures from peers.",
            &["To"],
        ),
        received_bytes: make.counters(
            "etcd_network_peer_received_bytes_total",
            "The total number of bytes received from peers.",
            &["From"],
        ),
        received_failures: make.counters(
            "etcd_network_peer_received_failures_total",
            "The total number of receive failures from peers.",
            &["From"],
        ),
        round_trip: make.histograms(
            "etcd_network_peer_round_trip_time_seconds",
            "Round-Trip-Time histogram between peers",
            (0.0001, 16),
            &["To"],
        ),
    }
}

impl StoreMetrics {
    fn new(make: &Maker<'_>) -> StoreMetrics {
        StoreMetrics {
            quota_bytes: make
                .float("etcd_server_quota_backend_bytes", "Current backend storage quota size in bytes."),
            total_bytes: make.float(
                "etcd_mvcc_db_total_size_in_bytes",
                "Total size of the underlying database physically allocated in bytes.",
            ),
            in_use_bytes: make.float(
                "etcd_mvcc_db_total_size_in_use_in_bytes",
                "Total size of the underlying database logically in use in bytes.",
            ),
            keys: make.gauge("etcd_debugging_mvcc_keys_total", "Total number of keys."),
            current_revision: make
                .gauge("etcd_debugging_mvcc_current_revision", "The current revision of store."),
            compact_revision: make.gauge(
                "etcd_debugging_mvcc_compact_revision",
                "The revision of the last compaction in store.",
            ),
            lease_expired: make
                .counter("etcd_debugging_server_lease_expired_total", "The total number of expired leases."),
            ranges: make.counter("etcd_mvcc_range_total", "Total number of ranges seen by this member."),
            puts: make.counter("etcd_mvcc_put_total", "Total number of puts seen by this member."),
            deletes: make.counter("etcd_mvcc_delete_total", "Total number of deletes seen by this member."),
            txns: make.counter("etcd_mvcc_txn_total", "Total number of txns seen by this member."),
            lease_granted: make
                .counter("etcd_debugging_lease_granted_total", "The total number of granted leases."),
            lease_renewed: make.counter(
                "etcd_debugging_lease_renewed_total",
                "The number of renewed leases seen by the leader.",
            ),
            lease_revoked: make
                .counter("etcd_debugging_lease_revoked_total", "The total number of revoked leases."),
            lease_ttl: make.histogram(
                "etcd_debugging_lease_ttl_total",
                "Bucketed histogram of lease TTLs.",
                1.0,
                24,
            ),
            watchers: make.gauge("etcd_debugging_mvcc_watcher_total", "Total number of watchers."),
            slow_watchers: make
                .gauge("etcd_debugging_mvcc_slow_watcher_total", "Total number of unsynced slow watchers."),
            events: make
                .counter("etcd_debugging_mvcc_events_total", "Total number of events sent by this member."),
            streams: make.gauge("etcd_debugging_mvcc_watch_stream_total", "Total number of watch streams."),
            auth_revision: make.gauge("etcd_debugging_auth_revision", "The current revision of auth store."),
            compacted_at: make.gauge(
                "etcd_debugging_mvcc_db_compaction_last",
                "The unix time of the last db compaction. Resets to 0 on start.",
            ),
        }
    }
}

impl DiskMetrics {
    fn new(make: &Maker<'_>) -> DiskMetrics {
        DiskMetrics {
            wal_fsync_seconds: make.histogram(
                "etcd_disk_wal_fsync_duration_seconds",
                "The latency distributions of fsync called by WAL.",
                0.001,
                14,
            ),
            wal_write_seconds: make.histogram(
                "etcd_disk_wal_write_duration_seconds",
                "The latency distributions of write called by WAL.",
                0.001,
                14,
            ),
            wal_write_bytes: make
                .gauge("etcd_disk_wal_write_bytes_total", "Total number of bytes written in WAL."),
            commit_seconds: make.histogram(
                "etcd_disk_backend_commit_duration_seconds",
                "The latency distributions of commit called by backend.",
                0.001,
                14,
            ),
            snapshot_seconds: make.histogram(
                "etcd_disk_backend_snapshot_duration_seconds",
                "The latency distribution of backend snapshots.",
                0.01,
                17,
            ),
            defrag_seconds: make.histogram(
                "etcd_disk_backend_defrag_duration_seconds",
                "The latency distribution of backend defragmentation.",
                0.1,
                13,
            ),
            defrags: make.gauge(
                "etcd_disk_defrag_inflight",
                "Whether or not defrag is active on the member. 1 means active, 0 means not.",
            ),
        }
    }
}

impl GrpcMetrics {
    fn new(make: &Maker<'_>, extensive: bool) -> GrpcMetrics {
        const CALL: &[&str] = &["grpc_type", "grpc_service", "grpc_method"];
        const ANSWER: &[&str] = &["grpc_type", "grpc_service", "grpc_method", "grpc_code"];
        let seconds = HistogramOpts::new(
            "grpc_server_handling_seconds",
            "Histogram of response latency (seconds) of gRPC that had been application-level handled by the server.",
        );
        GrpcMetrics {
            started: make.counters(
                "grpc_server_started_total",
                "Total number of RPCs started on the server.",
                CALL,
            ),
            handled: make.counters(
                "grpc_server_handled_total",
                "Total number of RPCs completed on the server, regardless of success or failure.",
                ANSWER,
            ),
            messages_received: make.counters(
                "grpc_server_msg_received_total",
                "Total number of RPC stream messages received on the server.",
                CALL,
            ),
            messages_sent: make.counters(
                "grpc_server_msg_sent_total",
                "Total number of gRPC stream messages sent by the server.",
                CALL,
            ),
            handling_seconds: extensive.then(|| make.register(HistogramVec::new(seconds, CALL))),
            bytes_received: make.counter(
                "etcd_network_client_grpc_received_bytes_total",
                "The total number of bytes received from grpc clients.",
            ),
            bytes_sent: make.counter(
                "etcd_network_client_grpc_sent_bytes_total",
                "The total number of bytes sent to grpc clients.",
            ),
            client_requests: make.counters(
                "etcd_server_client_requests_total",
                "The total number of client requests per client version.",
                &["type", "client_api_version"],
            ),
        }
    }
}

impl HealthMetrics {
    fn new(make: &Maker<'_>) -> HealthMetrics {
        HealthMetrics {
            success: make
                .counter("etcd_server_health_success", "The total number of successful health checks"),
            failures: make.counter("etcd_server_health_failures", "The total number of failed health checks"),
            check: make.register(GaugeVec::new(
                Opts::new("etcd_server_healthcheck", "The result of each kind of healthcheck."),
                &["type", "name"],
            )),
            checks: make.counters(
                "etcd_server_healthchecks_total",
                "The total number of each kind of healthcheck.",
                &["type", "name", "status"],
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics() -> Metrics {
        Metrics::new(Identity {
            member_id: 0x8e9e_05c5_2164_694d,
            extensive: false,
            server_version: "3.7.1",
            cluster_version: "3.7",
            features: &[],
        })
    }

    #[test]
    fn scrape_has_the_names_that_alerts_use() {
        let metrics = metrics();
        metrics.raft.has_leader.set(1);
        metrics.disk.wal_fsync_seconds.observe(0.0015);
        let text = String::from_utf8(metrics.text()).expect("the text is ASCII");
        for line in [
            "etcd_server_has_leader 1",
            "etcd_server_id{server_id=\"8e9e05c52164694d\"} 1",
            "etcd_server_version{server_version=\"3.7.1\"} 1",
            "# TYPE etcd_server_proposals_committed_total gauge",
            "# TYPE etcd_server_leader_changes_seen_total counter",
            "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.001\"} 0",
            "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.002\"} 1",
            "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"8.192\"} 1",
            "# TYPE etcd_mvcc_db_total_size_in_bytes gauge",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn scrape_tells_of_the_process() {
        let text = String::from_utf8(metrics().text()).expect("the text is ASCII");
        assert!(text.contains("process_resident_memory_bytes"), "{text}");
        let used = text.lines().find_map(|line| line.strip_prefix("os_fd_used ")).expect("it is there");
        assert!(used.parse::<u64>().expect("a number") > 0, "{used}");
    }

    #[test]
    fn two_members_in_a_process_count_apart() {
        let (one, two) = (metrics(), metrics());
        one.raft.leader_changes.inc();
        assert_eq!(two.raft.leader_changes.get(), 0);
    }
}
