//! `parse` as a whole: spellings, precedence, texts and exit codes.

use holdfast_core::node::AutoCompaction;

use super::flags::FLAGS;
use super::table::{Flag, IGNORED, Kind, Status};
use super::value::Value;
use super::*;
use std::collections::BTreeSet;
use std::time::Duration;

/// What `parse` says to arguments, variables and one config file, on a machine at 10.0.0.7.
fn run_with(arguments: &[&str], variables: &[(&str, &str)], file: Option<&str>) -> Result<Outcome, Exit> {
    let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
    let environment: Vec<(String, String)> =
        variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    let read_file = |path: &str| match file {
        Some(text) if path == "/etc/holdfast.yml" => Ok(text.to_owned()),
        _ => Err(format!("open {path}: no such file")),
    };
    let default_host = || Some("10.0.0.7".to_owned());
    parse(
        &arguments,
        &Surroundings { environment: &environment, read_file: &read_file, default_host: &default_host },
    )
}

pub(super) fn config_of(outcome: Result<Outcome, Exit>) -> ServerConfig {
    match outcome.expect("the settings are good") {
        Outcome::Run(config) => *config,
        Outcome::Print(text) => panic!("printed {text}"),
    }
}

pub(super) fn config(arguments: &[&str]) -> ServerConfig {
    config_of(run_with(arguments, &[], None))
}

pub(super) fn from_file(text: &str) -> Result<Outcome, Exit> {
    run_with(&["--config-file=/etc/holdfast.yml"], &[], Some(text))
}

fn exit(arguments: &[&str]) -> Exit {
    run_with(arguments, &[], None).expect_err("the settings are bad")
}

/// Code and first line.
pub(super) fn exit_line(arguments: &[&str]) -> (u8, String) {
    let exit = exit(arguments);
    (exit.code, exit.text.lines().next().unwrap_or("").to_owned())
}

/// A value that the kind takes and that is not the flag's default.
fn other_value(flag: &Flag) -> &'static str {
    match flag.kind {
        Kind::Bool => {
            if flag.default == "true" {
                "false"
            } else {
                "true"
            }
        }
        Kind::Int | Kind::Uint | Kind::Uint32 => "0x7b",
        Kind::Duration => "1h1m1.5s",
        Kind::Text | Kind::Set | Kind::List => "-other,value",
        Kind::Urls | Kind::Origins => "http://b:2,http://a:1",
        Kind::OneOf(words) | Kind::SomeOf(words) => words[1],
        Kind::Gates => "AllAlpha=true",
    }
}

#[test]
fn the_table_is_whole() {
    // 111 flags of the server, then config-file and version.
    assert_eq!(FLAGS.len(), 113);
    let names: BTreeSet<&str> = FLAGS.iter().map(|flag| flag.name).chain(IGNORED).collect();
    assert_eq!(names.len(), FLAGS.len() + IGNORED.len());
    let keys: Vec<&str> = FLAGS.iter().map(|flag| flag.file_key).filter(|key| !key.is_empty()).collect();
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
    for flag in FLAGS {
        assert!(flag.means_default(&flag.default_value()), "{}", flag.name);
        assert!(flag.help.ends_with('.'), "{}", flag.name);
        assert_eq!(table::find(flag.name).map(|found| found.name), Some(flag.name));
    }
}

#[test]
fn every_flag_parses_in_four_spellings() {
    for flag in FLAGS {
        let value = other_value(flag);
        let expected = Value::parse(flag.kind, value).expect("a value of its kind");
        assert!(!flag.means_default(&expected), "{}", flag.name);
        for dashes in ["-", "--"] {
            let name = format!("{dashes}{}", flag.name);
            let mut spellings = vec![vec![format!("{name}={value}")]];
            // A bool takes no argument of its own, so that `--flag` alone is the other spelling.
            match (flag.kind, value) {
                (Kind::Bool, "true") => spellings.push(vec![name]),
                (Kind::Bool, _) => spellings.push(vec![name.clone(), format!("{name}=F")]),
                _ => spellings.push(vec![name, value.to_owned()]),
            }
            for arguments in spellings {
                let line = command_line::parse(&arguments).expect("a good flag");
                assert_eq!(line.settings.given(flag.name), Some(&expected), "{arguments:?}");
                assert_eq!(line.stray, None, "{arguments:?}");
            }
        }
    }
}

#[test]
fn every_variable_sets_its_flag() {
    for flag in FLAGS.iter().filter(|flag| flag.name != "version") {
        let mut settings = Settings::default();
        let variables = [(flag.variable(), other_value(flag).to_owned())];
        let said = command_line::read_environment(&variables, &mut settings).expect("a good value");
        assert_eq!(
            settings.given(flag.name),
            Some(&Value::parse(flag.kind, other_value(flag)).expect("checked above"))
        );
        assert_eq!((said.notes.len(), said.warnings.len()), (1, 0), "{}", flag.name);
    }
}

#[test]
fn every_key_of_the_file_sets_its_flag() {
    for flag in FLAGS.iter().filter(|flag| !flag.file_key.is_empty()) {
        let value = other_value(flag);
        let keys: Vec<&str> = flag.file_key.split('/').collect();
        let text = format!("{{{}: '{value}'{}", keys.join(": {"), "}".repeat(keys.len()));
        let settings = file::parse(&text).expect("a good file");
        assert_eq!(
            settings.given(flag.name),
            Some(&Value::parse(flag.kind, value).expect("checked above")),
            "{text}"
        );
    }
}

#[test]
fn status_decides_what_another_value_does() {
    for flag in FLAGS.iter().filter(|flag| flag.status != Status::Built) {
        let text = if flag.name.starts_with("tls-") { "TLS1.3" } else { other_value(flag) };
        let outcome = run_with(&[&format!("--{}={text}", flag.name)], &[], None);
        let default = format!("--{}={}", flag.name, flag.default);
        match flag.status {
            Status::NotYet => {
                let refused = outcome.expect_err("it would be ignored");
                assert_eq!(refused, Exit { code: 1, text: format!("--{} is not supported yet", flag.name) });
                let plain = config(&[]).warnings;
                assert_eq!(config(&[&default]).warnings, plain, "{}", flag.name);
            }
            Status::NoMeaning(reason) => {
                let warning = format!("--{} has no effect: {reason}", flag.name);
                assert_eq!(config_of(outcome).warnings.iter().filter(|text| **text == warning).count(), 1);
                assert!(!config(&[&default]).warnings.contains(&warning), "{}", flag.name);
            }
            Status::Deprecated(warning) => {
                assert!(config_of(outcome).warnings.iter().any(|text| text == warning))
            }
            Status::Built => {}
        }
    }
}

#[test]
fn defaults_are_etcd_s() {
    let config = config(&[]);
    let second = Duration::from_secs(1);
    assert_eq!((config.name.as_str(), config.data_dir.to_str()), ("default", Some("default.etcd")));
    assert_eq!(config.initial_cluster, "default=http://localhost:2380");
    assert_eq!(config.initial_cluster_token, "etcd-cluster");
    assert_eq!((config.heartbeat_interval, config.election_timeout), (second / 10, second));
    assert_eq!(config.election_ticks(), 10);
    assert_eq!(url::join(&config.listen_client_urls), "http://localhost:2379");
    assert_eq!(url::join(&config.listen_peer_urls), "http://localhost:2380");
    assert_eq!(config.listen_metrics_urls, []);
    assert_eq!(config.quota_backend_bytes, Some(2 << 30));
    assert_eq!((config.max_txn_ops, config.max_request_bytes), (128, 1_572_864));
    assert_eq!(config.max_concurrent_streams, u32::MAX);
    assert_eq!(config.grpc_keepalive_min_time, 5 * second);
    assert_eq!(config.grpc_keepalive_interval, 7200 * second);
    assert_eq!(config.watch_progress_notify_interval, 600 * second);
    assert_eq!(config.warning_unary_request_duration, second * 3 / 10);
    assert!(config.pre_vote && config.strict_reconfig_check && config.initial_election_tick_advance);
    assert!(!config.unsafe_no_fsync);
    assert_eq!(config.logs, crate::logs::LogSettings::default());
    assert_eq!(config.check_bootstrap().err(), None);
    assert_eq!(config.warnings.len(), 2, "{:?}", config.warnings);
}

#[test]
fn unreadable_flags_exit_with_2_and_usage() {
    for (arguments, text) in [
        (vec!["--no-such"], "flag provided but not defined: -no-such"),
        (
            vec!["-experimental-initial-corrupt-check=true"],
            "flag provided but not defined: -experimental-initial-corrupt-check",
        ),
        (vec!["--name"], "flag needs an argument: -name"),
        (vec!["---name=x"], "bad flag syntax: ---name=x"),
        (vec!["--=x"], "bad flag syntax: --=x"),
        (vec!["--pre-vote=maybe"], "invalid boolean value \"maybe\" for -pre-vote: parse error"),
        (vec!["--heartbeat-interval", "x"], "invalid value \"x\" for flag -heartbeat-interval: parse error"),
        (
            vec!["--heartbeat-interval", "99999999999999999999"],
            "invalid value \"99999999999999999999\" for flag -heartbeat-interval: value out of range",
        ),
        (
            vec!["--grpc-keepalive-timeout=5"],
            "invalid value \"5\" for flag -grpc-keepalive-timeout: parse error",
        ),
        (
            vec!["--max-concurrent-streams=-1"],
            "invalid value \"-1\" for flag -max-concurrent-streams: strconv.ParseUint: parsing \"-1\": invalid syntax",
        ),
        (
            vec!["--listen-client-urls=localhost:2379"],
            "invalid value \"localhost:2379\" for flag -listen-client-urls: URL scheme must be http, https, unix, or \
             unixs: localhost:2379",
        ),
        (
            vec!["--initial-cluster-state=old"],
            "invalid value \"old\" for flag -initial-cluster-state: invalid value",
        ),
        (
            vec!["--v2-deprecation=not-yet"],
            "invalid value \"not-yet\" for flag -v2-deprecation: invalid value \"not-yet\"",
        ),
        (
            vec!["--feature-gates=Foo=true"],
            "invalid value \"Foo=true\" for flag -feature-gates: unrecognized feature gate: Foo",
        ),
    ] {
        let exit = exit(&arguments);
        assert_eq!(exit.code, 2, "{arguments:?}");
        assert_eq!(exit.text, format!("{text}\n{}", help::usage()));
    }
}

#[test]
fn refusals_exit_with_1() {
    for (arguments, text) in [
        (vec!["grpc-proxy"], "grpc-proxy is not supported yet"),
        (vec!["serve"], "\"serve\" is not a valid flag"),
        (vec!["--pre-vote", "false"], "\"false\" is not a valid flag"),
        (vec!["--", "x"], "\"x\" is not a valid flag"),
        (vec!["--config-file=/none"], "open /none: no such file"),
        (
            vec!["--feature-gates=LeaseCheckpoint=true,CompactHashCheck=true"],
            "--feature-gates=CompactHashCheck=true is not supported yet",
        ),
        (
            vec!["--feature-gates=LeaseCheckpointPersist=true"],
            "enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint",
        ),
    ] {
        assert_eq!(exit_line(&arguments), (1, text.to_owned()), "{arguments:?}");
    }
}

#[test]
fn leases_are_checkpointed_if_asked_for() {
    assert!(!config(&[]).lease_checkpoint);
    let both = config(&["--feature-gates=LeaseCheckpoint=true,LeaseCheckpointPersist=true"]);
    assert!(both.lease_checkpoint);
    let one = config(&["--feature-gates=LeaseCheckpoint=true"]);
    assert!(one.lease_checkpoint);
    assert_eq!(one.warnings.len(), both.warnings.len() + 1);
    let warning = "Detected that checkpointing is enabled without persistence. Consider enabling feature gate \
                   LeaseCheckpointPersist";
    assert!(one.warnings.iter().any(|text| text == warning), "{:?}", one.warnings);
}

#[test]
fn settings_that_cannot_work_exit_with_1() {
    for (arguments, text) in [
        (vec!["--logger=capnslog"], "--logger=capnslog is removed in v3.5"),
        (vec!["--logger=x"], "unknown logger option \"x\""),
        (vec!["--log-outputs=default,stdout"], "multi logoutput for \"default\" is not supported yet"),
        (
            vec!["--listen-peer-urls=http://a.example:1"],
            "expected IP in URL for binding (http://a.example:1)",
        ),
        (vec!["--listen-client-urls=http://:2379"], "expected IP in URL for binding (http://:2379)"),
        (
            vec!["--listen-client-urls=http://127.0.0.1:2379"],
            "--advertise-client-urls is required when --listen-client-urls is set explicitly",
        ),
        (
            vec!["--listen-peer-urls=https://127.0.0.1:1"],
            "cannot listen on TLS for 127.0.0.1:1: KeyFile and CertFile are not presented",
        ),
        (
            vec!["--listen-peer-urls=unix:///tmp/x"],
            "--listen-peer-urls unix:///tmp/x: members do not talk over unix sockets",
        ),
        (
            vec!["--listen-client-http-urls=http://localhost:2379"],
            "cannot bind both --listen-client-urls and --listen-client-http-urls on the same url http://localhost:2379",
        ),
        (
            vec!["--initial-advertise-peer-urls=http://:1"],
            "--initial-advertise-peer-urls \"http://:1\" must be \"host:port\" (unexpected empty host (http://:1))",
        ),
        (vec!["--heartbeat-interval=0"], "--heartbeat-interval must be >0 (set to 0ms)"),
        (vec!["--election-timeout=0"], "--election-timeout must be >0 (set to 0ms)"),
        (
            vec!["--election-timeout=499"],
            "--election-timeout[499ms] should be at least as 5 times as --heartbeat-interval[100ms]",
        ),
        (
            vec!["--election-timeout=50001"],
            "--election-timeout[50001ms] is too long, and should be set less than 50000ms",
        ),
        (vec!["--auto-compaction-mode="], "undefined auto-compaction-mode"),
        (vec!["--auto-compaction-mode=x"], "unknown auto-compaction-mode \"x\""),
        (
            vec!["--tls-max-version=TLS1.1"],
            "unexpected TLS version \"TLS1.1\" (must be one of: TLS1.2, TLS1.3)",
        ),
        (
            vec!["--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"],
            "min version (TLS1.3) is greater than max version (TLS1.2)",
        ),
        (
            vec!["--tls-min-version=TLS1.3", "--cipher-suites=X"],
            "cipher suites cannot be configured when only TLS1.3 is enabled",
        ),
        (
            vec!["--initial-cluster=a=http://b:1", "--discovery-srv=c"],
            "multiple discovery or bootstrap flags are set. \
             Choose one of \"initial-cluster\", \"discovery-endpoints\" or \"discovery-srv\"",
        ),
        (
            vec!["--discovery-fallback=proxy"],
            "v2 proxy is deprecated, and --discovery-fallback can't be configured as \"proxy\"",
        ),
        (vec!["--warning-apply-duration=-1s"], "--warning-apply-duration must not be negative (set to -1s)"),
    ] {
        assert_eq!(exit_line(&arguments), (1, text.to_owned()), "{arguments:?}");
    }
}

#[test]
fn help_and_version_print() {
    for spelling in ["-h", "--h", "-help", "--help"] {
        let Ok(Outcome::Print(text)) = run_with(&["--name=x", spelling, "--no-such"], &[], None) else {
            panic!("{spelling} prints");
        };
        for flag in FLAGS {
            assert!(text.contains(&format!("\n  --{} '", flag.name)), "{}", flag.name);
        }
        assert!(text.contains("\nMember:\n") && text.contains("\nUnsafe feature:\n"));
        assert!(text.contains("\n    FastLeaseKeepAlive=true|false (BETA - default=true)\n"));
    }
    let Ok(Outcome::Print(text)) = run_with(&["--version"], &[], None) else { panic!("--version prints") };
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines, ["etcd Version: 3.7.1", concat!("Holdfast Version: ", env!("CARGO_PKG_VERSION"))]);
    assert_eq!(config(&["--version=false"]).name, "default");
}

#[test]
fn the_last_word_on_a_flag_counts() {
    assert_eq!(config(&["--name=a", "-name", "b"]).name, "b");
    assert_eq!(config(&["--cert-file=x", "--cert-file="]).name, "default");
}

#[test]
fn names_of_old_flags_are_ignored() {
    let config = config(&["--snapshot=5", "-vv", "--name=a"]);
    assert_eq!(config.name, "a");
    assert!(config.warnings.contains(&"--snapshot is no longer supported and is ignored".to_owned()));
}

#[test]
fn variables_fill_in_for_absent_flags() {
    let variables = [
        ("ETCD_NAME", "env"),
        ("ETCD_MAX_TXN_OPS", "5"),
        ("ETCD_DATA_DIR", ""),
        ("PATH", "/bin"),
        ("ETCD_VERIFY", "all"),
    ];
    let config = config_of(run_with(&["--max-request-bytes=7"], &variables, None));
    assert_eq!((config.name.as_str(), config.max_txn_ops, config.max_request_bytes), ("env", 5, 7));
    assert_eq!(config.data_dir.to_str(), Some("env.etcd"));
    assert!(config.notes.contains(&"recognized and used environment variable: ETCD_NAME=env".to_owned()));
    assert!(config.warnings.contains(&"unrecognized environment variable: ETCD_VERIFY=all".to_owned()));
    let config = config_of(run_with(&[], &[("ETCD_VERSION", "3"), ("ETCD_SNAPSHOT", "x")], None));
    assert!(config.warnings.contains(&"cannot set special environment variable: ETCD_VERSION=3".to_owned()));
    assert!(!config.warnings.iter().any(|text| text.contains("SNAPSHOT")));
}

#[test]
fn a_flag_and_its_variable_together_are_refused() {
    for text in ["a", "b", ""] {
        let exit = run_with(&["--name=a"], &[("ETCD_NAME", text)], None).expect_err("they conflict");
        assert_eq!(exit.code, 1);
        assert_eq!(
            exit.text,
            "conflicting environment variable is shadowed by corresponding command-line flag \
             (either unset environment variable or disable flag)): ETCD_NAME"
        );
    }
    let exit = run_with(&[], &[("ETCD_MAX_TXN_OPS", "x")], None).expect_err("not a number");
    assert_eq!((exit.code, exit.text.as_str()), (1, "invalid value \"x\" for ETCD_MAX_TXN_OPS: parse error"));
}

#[test]
fn a_config_file_is_the_only_source() {
    let flags = ["--name=flag", "--config-file", "/etc/holdfast.yml", "--cert-file=x"];
    let variables = [("ETCD_NAME", "env"), ("ETCD_MAX_TXN_OPS", "5"), ("ETCD_FOO", "x")];
    let config = config_of(run_with(&flags, &variables, Some("max-request-bytes: 7\n")));
    assert_eq!((config.name.as_str(), config.max_txn_ops, config.max_request_bytes), ("default", 128, 7));
    assert!(config.notes[0].ends_with("will be ignored if provided: /etc/holdfast.yml"));
    let by_variable = [("ETCD_CONFIG_FILE", "/etc/holdfast.yml"), ("ETCD_NAME", "env")];
    assert_eq!(config_of(run_with(&[], &by_variable, Some("name: 007\n"))).name, "007");
    // A flag that cannot be read ends the program before the file is looked at.
    let flags = ["--config-file=/etc/holdfast.yml", "--no-such"];
    assert_eq!(run_with(&flags, &[], Some("")).expect_err("no such flag").code, 2);
}

#[test]
fn a_whole_config_file() {
    let config = config_of(from_file(
        "# a member
name: infra0
data-dir: /var/lib/etcd
snapshot-count: 10000
heartbeat-interval: 200
election-timeout: 2000
listen-client-urls: http://127.0.0.1:2379,http://10.0.0.1:2379
initial-advertise-peer-urls: http://10.0.0.1:2380
initial-cluster:
initial-cluster-state: ''
strict-reconfig-check: no
watch-progress-notify-interval: 5000000000
grpc-keepalive-min-time: 10s
auto-compaction-retention: \"0\"
client-transport-security:
  cert-file:
  client-cert-auth: false
peer-transport-security: {}
socket-options: {reuse-address: true}
log-outputs: [stderr, stdout]
log-level: debug
proxy: 'off'
unknown: {a: [b]}
",
    ));
    assert_eq!((config.name.as_str(), config.data_dir.to_str()), ("infra0", Some("/var/lib/etcd")));
    assert_eq!((config.heartbeat_interval.as_millis(), config.election_ticks()), (200, 10));
    assert_eq!(url::join(&config.listen_client_urls), "http://10.0.0.1:2379,http://127.0.0.1:2379");
    assert_eq!(url::join(&config.advertise_client_urls), "http://localhost:2379");
    assert_eq!(config.initial_cluster, "infra0=http://10.0.0.1:2380");
    assert_eq!(config.initial_cluster_state, ClusterState::New);
    assert!(!config.strict_reconfig_check);
    assert_eq!(config.watch_progress_notify_interval, Duration::from_secs(5));
    assert_eq!(config.grpc_keepalive_min_time, Duration::from_secs(10));
    assert_eq!(config.logs.outputs.len(), 2);
    assert_eq!(config.warnings, ["--socket-reuse-address has no effect: listeners always set SO_REUSEADDR"]);
    assert_eq!(config.check_bootstrap().err(), None);
    let json = "{\"name\": \"j\", \"pre-vote\": false, \"log-outputs\": [\"stdout\"]}";
    let config = config_of(from_file(json));
    assert_eq!((config.name.as_str(), config.pre_vote), ("j", false));
}

#[test]
fn a_bad_config_file_exits_with_1() {
    for (text, reason) in [
        ("name: [a]", "/etc/holdfast.yml: name: a list is not expected here"),
        ("max-txn-ops: x", "/etc/holdfast.yml: max-txn-ops: invalid value \"x\": parse error"),
        ("pre-vote: 2", "/etc/holdfast.yml: pre-vote: invalid value \"2\": expected true or false"),
        ("initial-cluster-state: old", "/etc/holdfast.yml: unexpected clusterState \"old\""),
        ("- a", "/etc/holdfast.yml: the config file is not a map"),
        ("peer-transport-security: x", "/etc/holdfast.yml: invalid peer-transport-security"),
        (
            "{listen-client-urls: 'https://127.0.0.1:1', client-transport-security: {trusted-ca-file: /ca}}",
            "TLS key/cert (--cert-file, --key-file) must be provided for client url https://127.0.0.1:1 with HTTPS \
             scheme",
        ),
        ("discovery-config: {client: {endpoints: [a]}}", "--discovery-endpoints is not supported yet"),
        (
            "peer-transport-security: {cert-file: c, key-file: k, allowed-cn: [a], allowed-hostname: [b]}",
            "AllowedCNs and AllowedHostnames are mutually exclusive (cns=[\"a\"], hostnames=[\"b\"])",
        ),
        (
            "feature-gates: Foo=true",
            "/etc/holdfast.yml: feature-gates: invalid value \"Foo=true\": unrecognized feature gate: Foo",
        ),
        (
            "election-timeout: 499",
            "--election-timeout[499ms] should be at least as 5 times as --heartbeat-interval[100ms]",
        ),
    ] {
        let exit = from_file(text).expect_err("a bad file");
        assert_eq!((exit.code, exit.text.as_str()), (1, reason));
    }
    let exit = from_file("name: 'x").expect_err("an open quote");
    assert!(exit.code == 1 && exit.text.starts_with("/etc/holdfast.yml: yaml: "), "{}", exit.text);
    // Listening elsewhere than advertised is fine in a file, as in etcd.
    assert!(from_file("listen-client-urls: http://127.0.0.1:1").is_ok());
    assert!(from_file("").is_ok());
}

#[test]
fn listening_everywhere_advertises_the_machine() {
    let config = config(&[
        "--name=m1",
        "--listen-peer-urls=http://0.0.0.0:12380",
        "--listen-client-urls=http://0.0.0.0:12379",
        "--advertise-client-urls=http://localhost:2379",
    ]);
    assert_eq!(url::join(&config.initial_advertise_peer_urls), "http://10.0.0.7:12380");
    assert_eq!(url::join(&config.advertise_client_urls), "http://10.0.0.7:12379");
    assert_eq!(config.initial_cluster, "m1=http://10.0.0.7:12380");
    assert_eq!(config.check_bootstrap().err(), None);
}

#[test]
fn the_first_start_needs_its_own_cluster() {
    for (arguments, text) in [
        (
            vec!["--initial-cluster=a=http://localhost:2380"],
            "couldn't find local name \"default\" in the initial cluster configuration",
        ),
        (
            vec!["--initial-cluster="],
            "couldn't find local name \"default\" in the initial cluster configuration",
        ),
        (
            vec!["--initial-cluster=default"],
            "error setting up initial cluster: URL scheme must be http, https, unix, or unixs: ",
        ),
        (
            vec!["--initial-advertise-peer-urls=http://10.0.0.1:1"],
            "--initial-cluster has default=http://localhost:2380 but missing from \
             --initial-advertise-peer-urls=http://10.0.0.1:1",
        ),
        (
            vec!["--initial-advertise-peer-urls=http://localhost:2380,http://b:1"],
            "--initial-advertise-peer-urls has http://b:1 but missing from \
             --initial-cluster=default=http://b:1,default=http://localhost:2380",
        ),
        (
            vec!["--initial-cluster=default=http://localhost:2380,default=http://localhost:2380"],
            "initial cluster default=http://localhost:2380,default=http://localhost:2380 has duplicate url",
        ),
    ] {
        assert_eq!(config(&arguments).check_bootstrap(), Err(text.to_owned()), "{arguments:?}");
    }
    let loopback = ["--initial-advertise-peer-urls=http://127.0.0.1:2380"];
    assert_eq!(config(&loopback).check_bootstrap().err(), None);
    let two = config(&["--initial-cluster=default=http://localhost:2380,b=http://b:1"]).check_bootstrap();
    assert_eq!(two.expect("two members").keys().collect::<Vec<_>>(), ["b", "default"]);
    // Who joins has told the cluster its URLs before.
    let joining = config(&["--initial-cluster=default=http://c:1,b=http://b:1"]);
    assert!(joining.check_bootstrap().is_err());
    assert_eq!(joining.check_join().err(), None);
}

#[test]
fn numbers_at_their_edges() {
    assert_eq!(config(&["--quota-backend-bytes=-1"]).quota_backend_bytes, None);
    assert_eq!(config(&["--quota-backend-bytes=5"]).quota_backend_bytes, Some(5));
    let large = config(&["--quota-backend-bytes=8589934593", "--max-request-bytes=10485761"]).warnings;
    assert!(large.iter().any(|text| text.starts_with("quota exceeds the maximum value")));
    assert!(large.iter().any(|text| text.starts_with("exceeded recommended request limit")));
    assert_eq!(
        config(&["--warning-unary-request-duration=0"]).warning_unary_request_duration.as_millis(),
        300
    );
    assert_eq!(config(&["--election-timeout=50000", "--heartbeat-interval=10000"]).election_ticks(), 5);
    assert_eq!(url::join(&config(&["--listen-peer-urls="]).listen_peer_urls), "http://localhost:2380");
}

#[test]
fn retentions_are_read_as_etcd_reads_them() {
    for off in ["", "0", "0h", "0m0s"] {
        assert_eq!(config(&[&format!("--auto-compaction-retention={off}")]).auto_compaction, None, "{off}");
    }
    let compaction = |mode: &str, retention: &str| {
        let flags =
            [format!("--auto-compaction-mode={mode}"), format!("--auto-compaction-retention={retention}")];
        config(&flags.each_ref().map(String::as_str)).auto_compaction
    };
    let periodic = |seconds: u64| Some(AutoCompaction::Periodic { retention_ns: seconds * 1_000_000_000 });
    assert_eq!(compaction("periodic", "2"), periodic(7_200), "hours");
    assert_eq!(compaction("periodic", "5m"), periodic(300));
    let revision = AutoCompaction::Revision { retention: 1_000, every_ns: 300_000_000_000 };
    assert_eq!(compaction("revision", "1000"), Some(revision));
    for bad in ["1y", "-1h", "-5", "9999999999999"] {
        let exit = run_with(&[&format!("--auto-compaction-retention={bad}")], &[], None).expect_err(bad);
        let text = format!("error parsing CompactionRetention: time: invalid duration {bad:?}");
        assert_eq!(exit, Exit { code: 1, text });
    }
}
