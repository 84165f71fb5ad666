//! What dashboards and alerts read: names, types and labels of metrics, beside those of a real etcd.

#![cfg(not(madsim))]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use holdfast_tests::etcd::real_etcd;
use holdfast_tests::http;
use holdfast_tests::process::{Program, Server, built};

/// Families by name: type, and the labels that their samples have.
type Families = BTreeMap<String, (String, BTreeSet<String>)>;

/// Reads the text format as far as names, types and labels go.
fn families(text: &str) -> Families {
    let mut families = Families::new();
    for line in text.lines() {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            let (name, kind) = declared.split_once(' ').expect("a name and a type");
            families.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
            continue;
        }
        let Some((name, labels)) = line.split_once('{').filter(|_| !line.starts_with('#')) else { continue };
        let parts = ["_bucket", "_sum", "_count"].into_iter().filter_map(|part| name.strip_suffix(part));
        let Some(family) = std::iter::once(name).chain(parts).find(|name| families.contains_key(*name))
        else {
            panic!("{name} was not declared");
        };
        let family = families.get_mut(family).expect("just found");
        let names = labels.split("\",").filter_map(|label| label.split_once("=\"")).map(|(name, _)| name);
        family.1.extend(names.map(|name| name.trim_start_matches(',').to_owned()));
    }
    families
}

/// A server that has served a bit of everything that is counted by label.
async fn scrape(program: Program) -> Families {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let server = Server::start(program, scratch.path(), &["--metrics=extensive"]);
    let ctl = built("holdfastctl");
    for words in ["put a b", "get a", "compaction 2", "defrag", "lease grant 100"] {
        let mut command = Command::new(&ctl);
        command.arg(format!("--endpoints={}", server.endpoint())).args(words.split(' '));
        assert!(command.output().expect("the tool was built").status.success(), "{words}");
    }
    families(&http::send(server.client_port, "GET", "/metrics", &[], "").await.text().await)
}

/// Rows of the table in `docs/metrics.md`.
fn listed_as_lacking() -> BTreeSet<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
    let text = std::fs::read_to_string(path).expect("the docs are in the repository");
    let names = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    names.map(|(name, _)| name.to_owned()).collect()
}

#[tokio::test]
async fn what_alerts_and_dashboards_ask_for_is_there() {
    let ours = scrape(Program::holdfast()).await;
    let must = [
        "etcd_disk_backend_commit_duration_seconds",
        "etcd_disk_wal_fsync_duration_seconds",
        "etcd_mvcc_db_total_size_in_bytes",
        "etcd_mvcc_db_total_size_in_use_in_bytes",
        "etcd_network_client_grpc_received_bytes_total",
        "etcd_network_client_grpc_sent_bytes_total",
        "etcd_server_has_leader",
        "etcd_server_leader_changes_seen_total",
        "etcd_server_proposals_applied_total",
        "etcd_server_proposals_committed_total",
        "etcd_server_proposals_failed_total",
        "etcd_server_proposals_pending",
        "etcd_server_quota_backend_bytes",
        "grpc_server_handled_total",
        "grpc_server_handling_seconds",
        "grpc_server_started_total",
        "process_resident_memory_bytes",
    ];
    for name in must {
        assert!(ours.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn types_and_labels_are_etcds_and_what_is_lacking_is_told() {
    let etcd = match real_etcd() {
        Ok(etcd) => scrape(etcd).await,
        Err(why) => return println!("SKIPPED types_and_labels_are_etcds_and_what_is_lacking_is_told: {why}"),
    };
    let ours = scrape(Program::holdfast()).await;
    for (name, (kind, labels)) in &ours {
        let (their_kind, their_labels) = etcd.get(name).unwrap_or_else(|| panic!("etcd has no {name}"));
        assert_eq!(kind, their_kind, "{name}");
        if !labels.is_empty() && !their_labels.is_empty() {
            assert_eq!(labels, their_labels, "{name}");
        }
    }
    let is_go = |name: &str| name.starts_with("go_") || name.starts_with("promhttp_");
    let lacking: BTreeSet<String> =
        etcd.keys().filter(|name| !ours.contains_key(*name) && !is_go(name)).cloned().collect();
    assert_eq!(lacking, listed_as_lacking(), "docs/metrics.md lists what is lacking");
}
