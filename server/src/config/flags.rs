//! The flags of etcd 3.7.1, each once.
//! Shape of a row: name, kind, default, status, then its key in the config file where that is not the name
//! (`at ""`: the file has none), then one line of help.

use super::table::Kind::{
    Bool, Duration, Gates, Int, List, OneOf, Origins, Set, SomeOf, Text, Uint, Uint32, Urls,
};
use super::table::Status::{Built, Deprecated, NoMeaning, NotYet};
use super::table::{Flag, Group};

macro_rules! file_key {
    ($name:literal) => {
        $name
    };
    ($name:literal, $key:literal) => {
        $key
    };
}

macro_rules! flags {
    ($($group:ident: { $($name:literal $kind:expr, $default:literal, $status:expr $(, at $key:literal)?; $help:literal)* })*) => {
        &[$($(Flag {
            name: $name,
            kind: $kind,
            default: $default,
            group: Group::$group,
            status: $status,
            file_key: file_key!($name $(, $key)?),
            help: $help,
        },)*)*]
    };
}

const BY_BYTES: &str = "checkpoints are taken by bytes of log, not by entries";
const NO_BBOLT: &str = "there is no bbolt file behind this server";
const NO_DEFRAG: &str = "nothing here needs defragmentation";
const SLICED: &str = "compaction runs in bounded slices between requests";

/// What only the config file can say; rows as of flags, under names that no flag has.
pub const FILE_ONLY: &[Flag] = flags! {
    Security: {
        "client-cert-allowed-cn" List, "", Built, at "client-transport-security/allowed-cn";
            "Common names of which a client's certificate must carry one."
        "client-skip-client-san-verification" Bool, "false", Built, at "client-transport-security/skip-client-san-verification";
            "Whether addresses in certificates of clients go unchecked on ports of metrics."
    }
};

pub const FLAGS: &[Flag] = flags! {
    Member: {
        "name" Text, "default", Built;
            "Name of this member, for people and for --initial-cluster."
        "data-dir" Text, "", Built;
            "Directory of all files of this member; empty means ${name}.etcd."
        "wal-dir" Text, "", NotYet;
            "Directory of the write-ahead log, if it is not to lie in the data directory."
        "snapshot-count" Uint, "10000", NoMeaning(BY_BYTES);
            "Applied entries after which etcd takes a raft snapshot."
        "snapshot-catchup-entries" Uint, "5000", NoMeaning("the log kept for slow followers is bounded by bytes");
            "Entries that etcd keeps in memory for slow followers."
        "heartbeat-interval" Uint, "100", Built;
            "Milliseconds between heartbeats of a leader."
        "election-timeout" Uint, "1000", Built;
            "Milliseconds without a leader before an election; at least 5 heartbeats, at most 50000."
        "initial-election-tick-advance" Bool, "true", Built;
            "Whether a starting member skips most of its first election timeout."
        "listen-peer-urls" Urls, "http://localhost:2380", Built;
            "URLs to listen on for other members."
        "listen-client-urls" Urls, "http://localhost:2379", Built;
            "URLs to listen on for clients: gRPC, and HTTP unless --listen-client-http-urls is given."
        "listen-client-http-urls" Urls, "", Built;
            "URLs to listen on for plain HTTP clients, which then leave the client URLs to gRPC alone."
        "max-snapshots" Uint, "5", Deprecated("--max-snapshots is deprecated in 3.6 and will be decommissioned in 3.8.");
            "Snapshot files that etcd keeps."
        "max-wals" Uint, "5", NoMeaning("log segments are reclaimed behind verified checkpoints");
            "Log files that etcd keeps."
        "memory-mlock" Bool, "false", NotYet;
            "Whether to lock the server's memory into RAM."
        "quota-backend-bytes" Int, "0", Built;
            "Size at which writes are refused and the NOSPACE alarm is raised; 0 means 2 GiB, below 0 no quota."
        "backend-bbolt-freelist-type" Text, "map", NoMeaning(NO_BBOLT);
            "Free list of etcd's bbolt file: map or array."
        "backend-batch-interval" Duration, "0s", NoMeaning(NO_BBOLT);
            "Longest time before etcd commits a batch to its bbolt file."
        "backend-batch-limit" Int, "0", NoMeaning(NO_BBOLT);
            "Most operations that etcd commits in one batch to its bbolt file."
        "max-txn-ops" Uint, "128", Built;
            "Most operations allowed in one transaction."
        "max-request-bytes" Uint, "1572864", Built;
            "Largest request taken from a client, in bytes."
        "max-concurrent-streams" Uint32, "4294967295", Built;
            "Most streams that one client connection may have open."
        "grpc-keepalive-min-time" Duration, "5s", Built;
            "Shortest time between two pings of a client before it is sent away."
        "grpc-keepalive-interval" Duration, "2h", Built;
            "Time between pings of the server to a client; 0 sends none."
        "grpc-keepalive-timeout" Duration, "20s", Built;
            "Time to wait for the answer to a ping before the connection is closed; 0 sends no pings."
        "socket-reuse-port" Bool, "false", NotYet, at "socket-options/reuse-port";
            "Whether listeners set SO_REUSEPORT."
        "socket-reuse-address" Bool, "false", NoMeaning("listeners always set SO_REUSEADDR"), at "socket-options/reuse-address";
            "Whether listeners set SO_REUSEADDR."
        "enable-grpc-gateway" Bool, "true", Built;
            "Whether the JSON gateway is served."
        "raft-read-timeout" Duration, "5s", NotYet, at "";
            "Read timeout of connections between members."
        "raft-write-timeout" Duration, "5s", NotYet, at "";
            "Write timeout of connections between members."
        "feature-gates" Gates, "", Built;
            "Features that are not yet general, as Name=true|false separated by commas."
    }
    Clustering: {
        "initial-advertise-peer-urls" Urls, "http://localhost:2380", Built;
            "Peer URLs under which other members reach this one."
        "initial-cluster" Text, "default=http://localhost:2380", Built;
            "Members of a new cluster, as name=url separated by commas."
        "initial-cluster-state" OneOf(&["new", "existing"]), "new", Built;
            "Whether the first start makes a new cluster or joins an existing one; later starts ignore it."
        "initial-cluster-token" Text, "etcd-cluster", Built;
            "Keeps clusters apart that are made with the same URLs."
        "advertise-client-urls" Urls, "http://localhost:2379", Built;
            "Client URLs under which clients reach this member; needed when --listen-client-urls is given."
        "discovery-endpoints" Set, "", NotYet, at "discovery-config/client/endpoints";
            "gRPC endpoints of a discovery service."
        "discovery-token" Text, "", NotYet, at "discovery-config/token";
            "Token of this cluster at the discovery service."
        "discovery-dial-timeout" Duration, "2s", NotYet, at "discovery-config/client/dial-timeout";
            "Time to connect to the discovery service."
        "discovery-request-timeout" Duration, "5s", NotYet, at "discovery-config/client/request-timeout";
            "Time for one request to the discovery service."
        "discovery-keepalive-time" Duration, "2s", NotYet, at "discovery-config/client/keepalive-time";
            "Time between pings to the discovery service."
        "discovery-keepalive-timeout" Duration, "6s", NotYet, at "discovery-config/client/keepalive-timeout";
            "Time to wait for the discovery service to answer a ping."
        "discovery-insecure-transport" Bool, "true", NotYet, at "discovery-config/client/secure/insecure-transport";
            "Whether the discovery service is reached without TLS."
        "discovery-insecure-skip-tls-verify" Bool, "false", NotYet, at "discovery-config/client/secure/insecure-skip-tls-verify";
            "Whether the discovery service's certificate goes unchecked; for tests only."
        "discovery-cert" Text, "", NotYet, at "discovery-config/client/secure/cert";
            "Certificate shown to the discovery service."
        "discovery-key" Text, "", NotYet, at "discovery-config/client/secure/key";
            "Key of that certificate."
        "discovery-cacert" Text, "", NotYet, at "discovery-config/client/secure/cacert";
            "CA bundle that the discovery service is verified with."
        "discovery-user" Text, "", NotYet, at "discovery-config/client/auth/username";
            "User at the discovery service, as name or name:password."
        "discovery-password" Text, "", NotYet, at "discovery-config/client/auth/password";
            "Password at the discovery service."
        "discovery-fallback" OneOf(&["exit", "proxy"]), "exit", Built, at "";
            "What to do when discovery fails; only exit is left of it."
        "discovery-srv" Text, "", Built;
            "DNS domain whose SRV records name the members of a new cluster."
        "discovery-srv-name" Text, "", Built;
            "Suffix of the SRV service name to ask for."
        "strict-reconfig-check" Bool, "true", Built;
            "Whether membership changes that would lose the quorum are refused."
        "pre-vote" Bool, "true", Built;
            "Whether a member asks around before it starts an election."
        "auto-compaction-retention" Text, "0", Built;
            "History kept by automatic compaction: a time such as 5m (a bare number is hours), or revisions; 0 is off."
        "auto-compaction-mode" Text, "periodic", Built;
            "How --auto-compaction-retention is read: periodic or revision."
        "v2-deprecation" SomeOf(&["write-only", "write-only-skip-check", "write-only-drop-data", "gone"]), "write-only", Deprecated("--v2-deprecation is deprecated and scheduled for removal in v3.8. The default value is enforced, ignoring user input.");
            "Stage of etcd's farewell to its v2 store."
    }
    Security: {
        "cert-file" Text, "", Built, at "client-transport-security/cert-file";
            "TLS certificate shown to clients."
        "key-file" Text, "", Built, at "client-transport-security/key-file";
            "Key of that certificate."
        "client-cert-file" Text, "", Built, at "client-transport-security/client-cert-file";
            "Certificate for this server's own calls to client URLs, if not --cert-file."
        "client-key-file" Text, "", Built, at "client-transport-security/client-key-file";
            "Key of that certificate."
        "client-cert-auth" Bool, "false", Built, at "client-transport-security/client-cert-auth";
            "Whether clients must show a certificate."
        "client-crl-file" Text, "", Built, at "";
            "Revocation list for certificates of clients."
        "client-cert-allowed-hostname" List, "", Built, at "client-transport-security/allowed-hostname";
            "Host names of which a client's certificate must carry one."
        "trusted-ca-file" Text, "", Built, at "client-transport-security/trusted-ca-file";
            "CA bundle that certificates of clients are verified with."
        "auto-tls" Bool, "false", Built, at "client-transport-security/auto-tls";
            "Whether to make a self-signed certificate for clients."
        "peer-cert-file" Text, "", Built, at "peer-transport-security/cert-file";
            "TLS certificate shown to other members."
        "peer-key-file" Text, "", Built, at "peer-transport-security/key-file";
            "Key of that certificate."
        "peer-client-cert-file" Text, "", Built, at "peer-transport-security/client-cert-file";
            "Certificate for this member's own calls to others, if not --peer-cert-file."
        "peer-client-key-file" Text, "", Built, at "peer-transport-security/client-key-file";
            "Key of that certificate."
        "peer-client-cert-auth" Bool, "false", Built, at "peer-transport-security/client-cert-auth";
            "Whether other members must show a certificate."
        "peer-trusted-ca-file" Text, "", Built, at "peer-transport-security/trusted-ca-file";
            "CA bundle that certificates of members are verified with."
        "peer-cert-allowed-cn" List, "", Built, at "peer-transport-security/allowed-cn";
            "Common names of which a member's certificate must carry one."
        "peer-cert-allowed-hostname" List, "", Built, at "peer-transport-security/allowed-hostname";
            "Host names of which a member's certificate must carry one."
        "peer-auto-tls" Bool, "false", Built, at "peer-transport-security/auto-tls";
            "Whether to make a self-signed certificate for members."
        "peer-crl-file" Text, "", Built, at "";
            "Revocation list for certificates of members."
        "peer-skip-client-san-verification" Bool, "false", Built, at "peer-transport-security/skip-client-san-verification";
            "Whether host names in certificates of members go unchecked."
        "self-signed-cert-validity" Uint, "1", Built;
            "Years that self-signed certificates are valid."
        "cipher-suites" List, "", Built;
            "TLS cipher suites to allow."
        "tls-min-version" Text, "TLS1.2", Built;
            "Oldest TLS version to speak: TLS1.2 or TLS1.3."
        "tls-max-version" Text, "", Built;
            "Newest TLS version to speak: TLS1.2 or TLS1.3."
        "cors" Origins, "*", Built;
            "Origins that browsers may call from."
        "host-whitelist" Set, "*", Built;
            "Host names under which plain HTTP may be asked for."
    }
    Auth: {
        "auth-token" Text, "simple", Built;
            "Kind of authentication token, simple or jwt, with its options."
        "bcrypt-cost" Uint, "10", Built;
            "Cost of the bcrypt hash of passwords, 4 to 31."
        "auth-token-ttl" Uint, "300", Built;
            "Seconds that a simple token lives."
    }
    Monitoring: {
        "enable-pprof" Bool, "false", NoMeaning("it serves profiles of the Go runtime, which this server does not have");
            "Whether etcd serves profiles under /debug/pprof."
        "metrics" Text, "basic", Built;
            "Detail of metrics: basic; extensive is not supported yet."
        "listen-metrics-urls" Urls, "", Built;
            "Further URLs to listen on for metrics and health alone."
    }
    Logging: {
        "logger" Text, "zap", Built;
            "Shape of log lines; zap is the only one."
        "log-outputs" Set, "default", Built;
            "Where log lines go: default (stderr), stderr, stdout, or paths of files, separated by commas."
        "log-level" Text, "info", Built;
            "Least level logged: debug, info, warn, error, panic or fatal."
        "log-format" Text, "json", Built;
            "Format of log lines: json or console."
        "enable-log-rotation" Bool, "false", NotYet;
            "Whether the log file is rotated."
        "log-rotation-config-json" Text, "{\"maxsize\": 100, \"maxage\": 0, \"maxbackups\": 0, \"localtime\": false, \"compress\": false}", NotYet;
            "How the log file is rotated."
        "warning-unary-request-duration" Duration, "300ms", Built;
            "Time after which a request is logged as slow."
    }
    Tracing: {
        "enable-distributed-tracing" Bool, "false", NotYet;
            "Whether OpenTelemetry spans are sent."
        "distributed-tracing-address" Text, "localhost:4317", NotYet;
            "Collector of spans."
        "distributed-tracing-service-name" Text, "etcd", NotYet;
            "Service name on spans, the same on all members."
        "distributed-tracing-instance-id" Text, "", NotYet;
            "Instance on spans, unlike on all members."
        "distributed-tracing-sampling-rate" Int, "0", NotYet;
            "Spans sent out of a million."
    }
    Features: {
        "corrupt-check-time" Duration, "0s", NotYet;
            "Time between comparisons of the members' data."
        "compact-hash-check-time" Duration, "1m", NotYet;
            "Time between comparisons of the members' hashes at compaction."
        "compaction-batch-limit" Int, "0", NoMeaning(SLICED);
            "Most revisions that etcd removes in one batch of a compaction."
        "compaction-sleep-interval" Duration, "0s", NoMeaning(SLICED);
            "Pause of etcd between batches of a compaction."
        "watch-progress-notify-interval" Duration, "0s", Built;
            "Time between progress notifications to watchers; 0 means 10m."
        "warning-apply-duration" Duration, "100ms", Built;
            "Time after which applying a request is logged as slow."
        "bootstrap-defrag-threshold-megabytes" Uint, "0", NoMeaning(NO_DEFRAG);
            "Megabytes to be freed for which etcd defragments at start."
        "max-learners" Int, "1", Built;
            "Most learners in a cluster."
        "downgrade-check-time" Duration, "5s", NotYet;
            "Time between looks at a downgrade under way."
    }
    Unsafe: {
        "force-new-cluster" Bool, "false", Built;
            "Whether to start as the only member of a new cluster on the data of an old one."
        "unsafe-no-fsync" Bool, "false", Built;
            "Whether to answer before data is on disk; a crash then loses acknowledged writes."
    }
    Program: {
        "config-file" Text, "", Built, at "";
            "YAML or JSON file with the settings; all other flags and variables are then ignored."
        "version" Bool, "false", Built, at "";
            "Print the version and exit."
    }
};
