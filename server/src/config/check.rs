//! From settings to a configuration: what is refused, what is warned about, what defaults become.
//! Source: etcd v3.7.1 server/embed/config.go (Validate, UpdateDefaultClusterFromName).

use holdfast_core::node::{AutoCompaction, REVISION_INTERVAL_NS};

use super::auth_token;
use super::duration::{self, GoDuration};
use super::flags::FLAGS;
use super::gates;
use super::server::{ClusterState, ServerConfig};
use super::table::Status;
use super::url::{Scheme, Url, join};
use super::value::{Settings, Value};
use crate::logs::LogSettings;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

const CONFLICTING_BOOTSTRAP: &str = "multiple discovery or bootstrap flags are set. \
                                     Choose one of \"initial-cluster\", \"discovery-endpoints\" or \"discovery-srv\"";
const ELECTION_MS_MAX: u64 = 50_000;
const QUOTA_BYTES_DEFAULT: u64 = 2 << 30;
const QUOTA_BYTES_SUGGESTED_MAX: u64 = 8 << 30;
const REQUEST_BYTES_SUGGESTED_MAX: u64 = 10 << 20;
const AUTH_TOKEN_TTL_DEFAULT: Duration = Duration::from_secs(300);
const PROGRESS_NOTIFY_DEFAULT: Duration = Duration::from_secs(600);
const WARNING_UNARY_DEFAULT: Duration = Duration::from_millis(300);

/// Checks of command line and environment alone; in a config file the default stands for what is missing.
pub fn check_given_together(settings: &Settings) -> Result<(), String> {
    if settings.text("discovery-fallback") == "proxy" {
        return Err(
            "v2 proxy is deprecated, and --discovery-fallback can't be configured as \"proxy\"".to_owned()
        );
    }
    if settings.is_given("initial-cluster") && !settings.text("discovery-srv").is_empty() {
        return Err(CONFLICTING_BOOTSTRAP.to_owned());
    }
    if settings.is_given("listen-client-urls") && !settings.is_given("advertise-client-urls") {
        return Err(
            "--advertise-client-urls is required when --listen-client-urls is set explicitly".to_owned()
        );
    }
    Ok(())
}

/// Errors: the first thing that is wrong, in etcd's words where etcd refuses it too.
pub fn resolve(
    settings: &Settings,
    default_host: &dyn Fn() -> Option<String>,
) -> Result<ServerConfig, String> {
    let mut warnings = judge_status(settings)?;
    let logs = check_logs(settings)?;
    check_urls(settings)?;
    let (heartbeat_interval, election_timeout) = check_ticks(settings)?;
    let auto_compaction = check_auto_compaction(settings)?;
    let lease_checkpoint = check_lease_gates(settings, &mut warnings)?;
    let security = super::security::read(settings, &mut warnings)?;
    let mut notes = Vec::new();
    let urls = advertised(settings, default_host, &mut notes);
    let name = settings.text("name");
    let data_dir = check_data_dir(settings, &name, &mut warnings);
    warn_of_settings(settings, &mut warnings);

    Ok(ServerConfig {
        initial_cluster: initial_cluster(settings, &name, &urls.peer),
        name,
        data_dir,
        initial_cluster_token: settings.text("initial-cluster-token"),
        initial_cluster_state: cluster_state(settings),
        discovery_srv: settings.text("discovery-srv"),
        discovery_srv_name: settings.text("discovery-srv-name"),
        initial_advertise_peer_urls: urls.peer,
        advertise_client_urls: urls.client,
        listen_client_http_urls: settings.urls("listen-client-http-urls"),
        listen_client_urls: settings.urls("listen-client-urls"),
        listen_peer_urls: settings.urls("listen-peer-urls"),
        listen_metrics_urls: settings.urls("listen-metrics-urls"),
        security,
        heartbeat_interval,
        election_timeout,
        initial_election_tick_advance: settings.bool("initial-election-tick-advance"),
        pre_vote: settings.bool("pre-vote"),
        bcrypt_cost: u32::try_from(settings.uint("bcrypt-cost")).unwrap_or(u32::MAX),
        auth_token_ttl: auth_token_ttl(settings),
        jwt: auth_token::parse(&settings.text("auth-token"), &mut warnings)?,
        strict_reconfig_check: settings.bool("strict-reconfig-check"),
        max_learners: check_max_learners(settings)?,
        force_new_cluster: settings.bool("force-new-cluster"),
        lease_checkpoint,
        feature_gates: gates::all(settings),
        extensive_metrics: settings.text("metrics") == "extensive",
        auto_compaction,
        quota_backend_bytes: quota_bytes(settings),
        max_txn_ops: settings.uint("max-txn-ops"),
        max_request_bytes: settings.uint("max-request-bytes"),
        max_concurrent_streams: u32::try_from(settings.uint("max-concurrent-streams"))
            .expect("the flag's kind holds it below 2^32"),
        grpc_keepalive_min_time: duration(settings, "grpc-keepalive-min-time")?,
        grpc_keepalive_interval: duration(settings, "grpc-keepalive-interval")?,
        grpc_keepalive_timeout: duration(settings, "grpc-keepalive-timeout")?,
        watch_progress_notify_interval: progress_notify_interval(settings)?,
        warning_apply_duration: duration(settings, "warning-apply-duration")?,
        warning_unary_request_duration: nonzero(
            settings,
            "warning-unary-request-duration",
            WARNING_UNARY_DEFAULT,
        )?,
        enable_grpc_gateway: settings.bool("enable-grpc-gateway"),
        cors: settings.list("cors").into_iter().collect(),
        host_whitelist: settings.list("host-whitelist").into_iter().collect(),
        unsafe_no_fsync: settings.bool("unsafe-no-fsync"),
        logs,
        warnings,
        notes,
    })
}

fn progress_notify_interval(settings: &Settings) -> Result<Duration, String> {
    nonzero(settings, "watch-progress-notify-interval", PROGRESS_NOTIFY_DEFAULT)
}

fn cluster_state(settings: &Settings) -> ClusterState {
    match settings.text("initial-cluster-state").as_str() {
        "existing" => ClusterState::Existing,
        _ => ClusterState::New,
    }
}

/// How long a simple token lives; 0 means the default, as in etcd.
fn auth_token_ttl(settings: &Settings) -> Duration {
    match settings.uint("auth-token-ttl") {
        0 => AUTH_TOKEN_TTL_DEFAULT,
        seconds => Duration::from_secs(seconds),
    }
}

/// Refuses what is not built and warns of what has no meaning, by the table alone.
fn judge_status(settings: &Settings) -> Result<Vec<String>, String> {
    let mut warnings = Vec::new();
    for flag in FLAGS {
        let Some(value) = settings.given(flag.name) else { continue };
        let changes = !flag.means_default(value);
        match flag.status {
            Status::NotYet if changes => return Err(format!("--{} is not supported yet", flag.name)),
            Status::NoMeaning(reason) if changes => {
                warnings.push(format!("--{} has no effect: {reason}", flag.name));
            }
            Status::Deprecated(text) => warnings.push(text.to_owned()),
            Status::Built | Status::NotYet | Status::NoMeaning(_) => {}
        }
        if let Value::Gates(gates) = value
            && let Some((gate, enabled)) = gates.iter().find(|(gate, _)| gates::is_missing(gate))
        {
            return Err(format!("--{}={gate}={enabled} is not supported yet", flag.name));
        }
    }
    Ok(warnings)
}

/// Source: etcd v3.7.1 server/embed/config_logging.go (setupLogging).
fn check_logs(settings: &Settings) -> Result<LogSettings, String> {
    match settings.text("logger").as_str() {
        "zap" => {}
        "capnslog" => return Err("--logger=capnslog is removed in v3.5".to_owned()),
        logger => return Err(format!("unknown logger option {logger:?}")),
    }
    LogSettings::parse(
        &settings.text("log-level"),
        &settings.text("log-format"),
        &settings.list("log-outputs"),
    )
}

fn check_urls(settings: &Settings) -> Result<(), String> {
    for name in ["listen-peer-urls", "listen-client-urls", "listen-client-http-urls", "listen-metrics-urls"] {
        for url in settings.urls(name) {
            check_transport(name, &url)?;
            if !url.scheme.is_socket_file() && url.host != "localhost" && url.host.parse::<IpAddr>().is_err()
            {
                return Err(format!("expected IP in URL for binding ({url})"));
            }
        }
    }
    let grpc = settings.urls("listen-client-urls");
    let is_grpc = |url: &&Url| grpc.iter().any(|grpc| (&grpc.host, grpc.port) == (&url.host, url.port));
    if let Some(url) = settings.urls("listen-client-http-urls").iter().find(is_grpc) {
        return Err(format!(
            "cannot bind both --listen-client-urls and --listen-client-http-urls on the same url {url}"
        ));
    }
    for (name, form) in [
        ("initial-advertise-peer-urls", "must be \"host:port\""),
        (
            "advertise-client-urls",
            "must be in the format \"host:port\", \"unix:/path/to/socket\" or \"unixs:/path/to/socket\"",
        ),
    ] {
        let urls = settings.urls(name);
        if let Some(url) = urls.iter().find(|url| url.host.is_empty() && !url.scheme.is_socket_file()) {
            return Err(format!("--{name} {:?} {form} (unexpected empty host ({url}))", join(&urls)));
        }
        urls.iter().try_for_each(|url| check_transport(name, url))?;
    }
    Ok(())
}

fn check_transport(name: &str, url: &Url) -> Result<(), String> {
    match url.scheme {
        Scheme::Http | Scheme::Https => Ok(()),
        Scheme::Unix | Scheme::Unixs if name.contains("peer") => {
            Err(format!("--{name} {url}: members do not talk over unix sockets"))
        }
        Scheme::Unix | Scheme::Unixs => Ok(()),
    }
}

/// Heartbeat interval and election timeout.
fn check_ticks(settings: &Settings) -> Result<(Duration, Duration), String> {
    let heartbeat_ms = settings.uint("heartbeat-interval");
    let election_ms = settings.uint("election-timeout");
    if heartbeat_ms == 0 {
        return Err("--heartbeat-interval must be >0 (set to 0ms)".to_owned());
    }
    if election_ms == 0 {
        return Err("--election-timeout must be >0 (set to 0ms)".to_owned());
    }
    if heartbeat_ms.saturating_mul(5) > election_ms {
        return Err(format!(
            "--election-timeout[{election_ms}ms] should be at least as 5 times as --heartbeat-interval[{heartbeat_ms}ms]"
        ));
    }
    if election_ms > ELECTION_MS_MAX {
        return Err(format!(
            "--election-timeout[{election_ms}ms] is too long, and should be set less than {ELECTION_MS_MAX}ms"
        ));
    }
    Ok((Duration::from_millis(heartbeat_ms), Duration::from_millis(election_ms)))
}

/// A negative one is none.
fn quota_bytes(settings: &Settings) -> Option<u64> {
    match settings.int("quota-backend-bytes") {
        0 => Some(QUOTA_BYTES_DEFAULT),
        bytes => u64::try_from(bytes).ok(),
    }
}

/// etcd starts with a negative number and refuses every learner.
fn check_max_learners(settings: &Settings) -> Result<u32, String> {
    let most = settings.int("max-learners");
    u32::try_from(most).map_err(|_| format!("--max-learners must not be negative (set to {most})"))
}

/// Whether leases are checkpointed. What is checkpointed is in the log, so it always persists: the second gate
/// changes nothing, and is judged as etcd does so that a configuration which etcd refuses does not start here.
fn check_lease_gates(settings: &Settings, warnings: &mut Vec<String>) -> Result<bool, String> {
    let gates = ["LeaseCheckpoint", "LeaseCheckpointPersist"].map(|gate| settings.is_gate_open(gate));
    match gates {
        [true, false] => warnings.push(
            "Detected that checkpointing is enabled without persistence. \
             Consider enabling feature gate LeaseCheckpointPersist"
                .to_owned(),
        ),
        [false, true] => {
            return Err("enabling feature gate LeaseCheckpointPersist requires enabling feature gate \
                        LeaseCheckpoint"
                .to_owned());
        }
        _ => {}
    }
    Ok(gates[0])
}

/// What is kept. A number means hours, or revisions; a time where revisions are meant is one in nanoseconds, as in
/// etcd. A negative one, with which etcd would compact at random, is refused.
/// Source: etcd 3.7.1 server/embed/etcd.go (parseCompactionRetention).
fn check_auto_compaction(settings: &Settings) -> Result<Option<AutoCompaction>, String> {
    let is_periodic = match settings.text("auto-compaction-mode").as_str() {
        "periodic" => true,
        "revision" => false,
        "" => return Err("undefined auto-compaction-mode".to_owned()),
        mode => return Err(format!("unknown auto-compaction-mode {mode:?}")),
    };
    let text = settings.text("auto-compaction-retention");
    let number = if text.is_empty() { Some(0) } else { text.parse::<u64>().ok() };
    let retention = match number {
        Some(hours) if is_periodic => hours.checked_mul(3_600_000_000_000),
        Some(revisions) => Some(revisions),
        None => duration::parse(&text).and_then(|ns| u64::try_from(ns).ok()),
    };
    let invalid = || format!("error parsing CompactionRetention: time: invalid duration {text:?}");
    let retention = retention.and_then(|retention| i64::try_from(retention).ok()).ok_or_else(invalid)?;
    Ok(match (retention, is_periodic) {
        (0, _) => None,
        (ns, true) => Some(AutoCompaction::Periodic { retention_ns: ns.cast_unsigned() }),
        (retention, false) => Some(AutoCompaction::Revision { retention, every_ns: REVISION_INTERVAL_NS }),
    })
}

/// URLs to advertise.
struct Advertised {
    peer: Vec<Url>,
    client: Vec<Url>,
}

/// A member that listens everywhere and advertises the default would send others to their own localhost, so
/// the machine's address takes its place.
fn advertised(
    settings: &Settings,
    default_host: &dyn Fn() -> Option<String>,
    notes: &mut Vec<String>,
) -> Advertised {
    let mut replace = |listen: &str, advertise: &str| {
        let urls = settings.urls(advertise);
        let listen = settings.urls(listen);
        let default = super::table::find(advertise).expect("a flag of the table").default;
        let everywhere = listen.first().filter(|url| url.host == "0.0.0.0");
        let Some(everywhere) = everywhere.filter(|_| join(&urls) == default) else { return urls };
        match default_host() {
            Some(host) => {
                notes.push(format!("detected default host for advertise: {host}"));
                vec![urls[0].with_host(&host, everywhere.port)]
            }
            None => {
                notes.push("failed to detect default host".to_owned());
                urls
            }
        }
    };
    Advertised {
        peer: replace("listen-peer-urls", "initial-advertise-peer-urls"),
        client: replace("listen-client-urls", "advertise-client-urls"),
    }
}

/// `NAME=URL` for each advertised URL when only the name was given, else the flag's value.
fn initial_cluster(settings: &Settings, name: &str, peer_urls: &[Url]) -> String {
    let cluster = settings.text("initial-cluster");
    let flag = super::table::find("initial-cluster").expect("a flag of the table");
    if name == "default" || cluster != flag.default {
        return cluster;
    }
    let name = if name.is_empty() { "default" } else { name };
    peer_urls.iter().map(|url| format!("{name}={url}")).collect::<Vec<String>>().join(",")
}

fn check_data_dir(settings: &Settings, name: &str, warnings: &mut Vec<String>) -> PathBuf {
    let given = settings.text("data-dir");
    if !given.is_empty() {
        return PathBuf::from(given);
    }
    let default = format!("{name}.etcd");
    warnings.push(format!("'data-dir' was empty; using default: {default}"));
    PathBuf::from(default)
}

fn warn_of_settings(settings: &Settings, warnings: &mut Vec<String>) {
    if settings.text("name") == "default" {
        warnings.push(
            "it isn't recommended to use default name, please set a value for --name. \
             Note that etcd might run into issue when multiple members have the same default name"
                .to_owned(),
        );
    }
    if settings.int("quota-backend-bytes") > QUOTA_BYTES_SUGGESTED_MAX as i64 {
        warnings.push(format!("quota exceeds the maximum value: {QUOTA_BYTES_SUGGESTED_MAX} bytes"));
    }
    if settings.uint("max-request-bytes") > REQUEST_BYTES_SUGGESTED_MAX {
        warnings.push(format!("exceeded recommended request limit: {REQUEST_BYTES_SUGGESTED_MAX} bytes"));
    }
    if settings.bool("unsafe-no-fsync") {
        warnings.push("--unsafe-no-fsync: a crash loses writes that were acknowledged".to_owned());
    }
}

fn duration(settings: &Settings, name: &str) -> Result<Duration, String> {
    let nanoseconds = settings.duration_ns(name);
    match u64::try_from(nanoseconds) {
        Ok(nanoseconds) => Ok(Duration::from_nanos(nanoseconds)),
        Err(_) => Err(format!("--{name} must not be negative (set to {})", GoDuration(nanoseconds))),
    }
}

/// A duration whose 0 stands for etcd's default.
fn nonzero(settings: &Settings, name: &str, default: Duration) -> Result<Duration, String> {
    Ok(Some(duration(settings, name)?).filter(|given| !given.is_zero()).unwrap_or(default))
}
