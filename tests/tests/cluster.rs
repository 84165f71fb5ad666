//! Clusters of real processes: what they are started with, what kills them, how they grow and shrink.

#![cfg(not(madsim))]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::stream;
use holdfast_net::proto::etcdserverpb as pb;
use holdfast_tests::client::Client;
use holdfast_tests::cluster::{Cluster, Roaming, status, until};
use holdfast_tests::etcd::real_etcd;
use holdfast_tests::process::{Program, Server, http_get};
use tonic::Code;

/// Elections are fast, so that tests are.
const QUICK: &[&str] = &["--heartbeat-interval", "50", "--election-timeout", "500"];

const WRITERS: usize = 4;

/// Puts under keys of its own until told to end; gives what was acknowledged, by revision.
struct Writers {
    end: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<BTreeMap<i64, (String, String)>>>,
}

impl Writers {
    fn start(endpoints: &[String], round: usize) -> Writers {
        let end = Arc::new(AtomicBool::new(false));
        let tasks = (0..WRITERS)
            .map(|writer| {
                let (mut client, end) = (Roaming::new(endpoints, writer), Arc::clone(&end));
                tokio::spawn(async move {
                    let mut told = BTreeMap::new();
                    for i in 0.. {
                        if end.load(Ordering::Relaxed) {
                            break;
                        }
                        let key = format!("key-{writer}-{}", i % 50);
                        let value = format!("{round}-{writer}-{i}-{}", "v".repeat(i % 300));
                        if let Ok(revision) = client.put(key.clone(), value.clone()).await {
                            told.insert(revision, (key, value));
                        }
                    }
                    told
                })
            })
            .collect();
        Writers { end, tasks }
    }

    async fn end(self, told: &mut BTreeMap<i64, (String, String)>) {
        self.end.store(true, Ordering::Relaxed);
        for task in self.tasks {
            for (revision, put) in task.await.expect("writers do not panic") {
                let before = told.insert(revision, put);
                assert!(before.is_none(), "revision {revision} was given twice: {before:?}");
            }
        }
    }
}

/// Everything acknowledged is on `server`, under the revision it was acknowledged with.
async fn check_told(server: &Server, told: &BTreeMap<i64, (String, String)>) {
    let mut client = Client::new(&server.endpoint());
    for (revision, (key, value)) in told {
        let found = client.get(key.clone(), *revision).await.expect("served");
        let (found, mod_revision) =
            found.unwrap_or_else(|| panic!("{}: {key} at {revision} is lost", server.name()));
        assert_eq!((&found[..], mod_revision), (value.as_bytes(), *revision), "{}: {key}", server.name());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_serve_as_one() {
    let cluster = Cluster::start(Program::holdfast(), 3, QUICK);
    let leader = cluster.leader().await;
    for (i, member) in cluster.members.iter().enumerate() {
        let (key, value) = (format!("from-{i}"), format!("value-{i}"));
        Client::new(&member.endpoint()).put(key.clone(), value.clone()).await.expect("served");
        for other in &cluster.members {
            let found = Client::new(&other.endpoint()).get(key.clone(), 0).await.expect("served");
            assert_eq!(
                found.map(|(found, _)| found),
                Some(value.clone().into()),
                "{key} on {}",
                other.name()
            );
        }
    }
    // What only a leader knows is answered by all.
    let follower = (leader + 1) % 3;
    let mut client = Client::new(&cluster.members[follower].endpoint());
    let lease = client.grant(100).await.expect("served");
    let mut kept = client
        .lease
        .lease_keep_alive(stream::iter([pb::LeaseKeepAliveRequest { id: lease }]))
        .await
        .expect("served")
        .into_inner();
    let kept = kept.message().await.expect("served").expect("an answer");
    assert_eq!(kept.ttl, 100);
    let moved = pb::MoveLeaderRequest { target_id: 1 };
    let refused = client.maintenance.move_leader(moved).await.expect_err("a follower");
    assert_eq!((refused.code(), refused.message()), (Code::FailedPrecondition, "etcdserver: not leader"));

    let [ours, theirs] = [leader, follower]
        .map(|place| http_get(cluster.members[place].client_port, "/metrics").expect("served"));
    assert!(ours.contains("\netcd_server_is_leader 1\n") && theirs.contains("\netcd_server_is_leader 0\n"));
    assert!(theirs.contains("\netcd_server_has_leader 1\n"));
    for name in ["etcd_network_peer_sent_bytes_total", "etcd_network_active_peers"] {
        assert_eq!(theirs.lines().filter(|line| line.starts_with(&format!("{name}{{"))).count(), 2, "{name}");
    }
    for member in &cluster.members {
        let members = http_get(member.peer_port, "/members").expect("served");
        assert_eq!(members.matches("\"clientURLs\":[").count(), 3, "{members}");
        let version = http_get(member.peer_port, "/version").expect("served");
        assert!(version.contains("\"etcdserver\":\"3.7.1\""), "{version}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_leaders_are_killed() {
    let mut cluster = Cluster::start(Program::holdfast(), 3, QUICK);
    let (mut told, mut without) = (BTreeMap::new(), Vec::new());
    for round in 0..4 {
        let leader = cluster.leader().await;
        let writers = Writers::start(&cluster.endpoints(), round);
        tokio::time::sleep(Duration::from_millis(300)).await;
        cluster.members[leader].kill();
        let killed = Instant::now();
        // The other two go on, still under load.
        let mut client = Roaming::new(&cluster.endpoints(), 0);
        while client.put("first".to_owned(), "v".to_owned()).await.is_err() {}
        without.push(killed.elapsed());
        let next = cluster.leader().await;
        assert_ne!(next, leader);
        tokio::time::sleep(Duration::from_millis(200)).await;
        writers.end(&mut told).await;
        cluster.members[leader].spawn();
        cluster.members[leader].wait_ready();
    }
    cluster.leader().await;
    for member in &cluster.members {
        check_told(member, &told).await;
    }
    println!("4 leaders killed, {} puts acknowledged, all there on 3 members", told.len());
    println!("from each kill to the first put: {without:?}");
    assert!(told.len() > 100, "the load was no load");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_told_to_stop_hands_over() {
    let mut cluster = Cluster::start(Program::holdfast(), 3, QUICK);
    let leader = cluster.leader().await;
    let term = status(&cluster.members[leader].endpoint()).await.expect("served").raft_term;
    let writers = Writers::start(&cluster.endpoints(), 0);
    let ended = cluster.members[leader].terminate();
    assert!(ended.code().is_none(), "it dies of the signal, as etcd does: {ended}");
    let log = cluster.members[leader].log();
    assert!(!log.contains("leadership was not handed over"), "{log}");
    let next = cluster.leader().await;
    assert_ne!(next, leader);
    let after = status(&cluster.members[next].endpoint()).await.expect("served").raft_term;
    assert_eq!(after, term + 1, "one election, and nobody stood against it");
    let mut told = BTreeMap::new();
    writers.end(&mut told).await;
    check_told(&cluster.members[next], &told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_joins_by_what_etcdctl_prints_and_catches_up_under_load() {
    let mut cluster = Cluster::start(Program::holdfast(), 3, QUICK);
    fill(&cluster).await;
    let writers = Writers::start(&cluster.endpoints(), 0);
    let joining = cluster.make();
    let said = add(&cluster, &joining, false).await;
    let variables = said.lines().filter_map(|line| line.split_once('=')).collect::<Vec<_>>();
    let unquoted = |text: &str| text.trim_matches('"').to_owned();
    let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), unquoted(value))).collect();
    cluster.members.push(joining);
    let place = cluster.members.len() - 1;
    cluster.members[place].set_variables(variables);
    cluster.members[place].spawn();
    cluster.members[place].wait_ready();
    let mut told = BTreeMap::new();
    writers.end(&mut told).await;
    check_told(&cluster.members[place], &told).await;
    let log = cluster.members[place].log();
    assert!(log.contains("applied snapshot"), "{log}");

    // The leader goes: it says so and ends well, the others elect another one, and it cannot come back.
    let leader = cluster.leader().await;
    let id = status(&cluster.members[leader].endpoint()).await.expect("served").leader;
    cluster.ctl_text(&["member", "remove", &format!("{id:x}")]);
    let ended = cluster.members[leader].wait_end();
    assert_eq!(ended.code(), Some(0), "{}", cluster.members[leader].log_tail());
    let gone = "the member has been permanently removed from the cluster";
    assert!(cluster.members[leader].log().contains(gone));
    cluster.members[leader].spawn();
    assert_eq!(cluster.members[leader].wait_end().code(), Some(0), "{}", cluster.members[leader].log_tail());
    cluster.leader().await;
    let list = cluster.ctl_text(&["member", "list"]);
    assert_eq!(list.lines().filter(|line| line.contains(", started, ")).count(), 3, "{list}");
}

/// More log than is kept for laggards, so that the state has to travel.
async fn fill(cluster: &Cluster) {
    let mut client = Client::new(&cluster.endpoints()[0]);
    for i in 0..80 {
        client.put(format!("filling-{i}"), vec![b'f'; 1 << 20]).await.expect("served");
    }
}

/// `member add`, again while the cluster does not call itself healthy yet.
async fn add(cluster: &Cluster, joining: &Server, is_learner: bool) -> String {
    let url = joining.peer_url();
    let mut arguments = vec!["member", "add", joining.name(), "--peer-urls", &url];
    arguments.extend(is_learner.then_some("--learner"));
    let mut said = String::new();
    until("the cluster takes a member", async || {
        let output = cluster.ctl(&arguments);
        said = String::from_utf8_lossy(&output.stdout).into_owned();
        let refusal = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() || refusal.contains("unhealthy cluster"), "{refusal}");
        output.status.success()
    })
    .await;
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_serves_little_until_it_is_promoted() {
    let mut cluster = Cluster::start(Program::holdfast(), 1, QUICK);
    cluster.ctl_text(&["put", "a", "1"]);
    let learner = cluster.make();
    add(&cluster, &learner, true).await;
    cluster.members.push(learner);
    let all = cluster.initial_cluster();
    let learner = &mut cluster.members[1];
    learner.bootstrap(&["--initial-cluster", &all, "--initial-cluster-state", "existing"]);
    learner.spawn();
    let endpoint = learner.endpoint();
    until("the learner has the key", async || {
        let request = pb::RangeRequest { key: "a".into(), serializable: true, ..Default::default() };
        let found = Client::new(&endpoint).kv.range(request).await;
        found.is_ok_and(|found| found.into_inner().count == 1)
    })
    .await;
    let mut client = Client::new(&endpoint);
    let refused = "etcdserver: rpc not supported for learner";
    let put = client.put("a", "2").await.expect_err("a learner");
    assert_eq!((put.code(), put.message()), (Code::FailedPrecondition, refused));
    let watch = client.watch.watch(stream::pending()).await.expect_err("a learner");
    assert_eq!((watch.code(), watch.message()), (Code::FailedPrecondition, refused));
    let range = pb::RangeRequest { key: "a".into(), serializable: true, ..Default::default() };
    let streamed = client.kv.range_stream(range).await.expect_err("a learner");
    assert_eq!(streamed.message(), refused);
    let said = status(&endpoint).await.expect("served");
    assert!(said.is_learner, "{said:?}");
    let id = said.header.unwrap_or_default().member_id;
    cluster.ctl_text(&[
        "--endpoints",
        &cluster.members[0].endpoint(),
        "member",
        "promote",
        &format!("{id:x}"),
    ]);
    until("it serves as a voter", async || Client::new(&endpoint).put("a", "3").await.is_ok()).await;
    cluster.ctl_text(&["get", "a"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_member_is_refused_under_its_old_id() {
    let mut cluster = Cluster::start(Program::holdfast(), 3, QUICK);
    let mut client = Roaming::new(&cluster.endpoints(), 0);
    for i in 0..20 {
        client.put(format!("k{i}"), "v".to_owned()).await.expect("served");
    }
    let place = (cluster.leader().await + 1) % 3;
    cluster.members[place].kill();
    std::fs::remove_dir_all(cluster.members[place].directory()).expect("it was there");
    for state in ["new", "existing"] {
        cluster.members[place].bootstrap(&["--initial-cluster-state", state]);
        cluster.members[place].spawn();
        assert_eq!(cluster.members[place].wait_end().code(), Some(1));
        let log = cluster.members[place].log_tail();
        assert!(log.contains("has already been bootstrapped"), "{state}: {log}");
    }
    assert!(client.get("k19").await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_etcd_is_named_and_refused_as_a_peer() {
    let etcd = match real_etcd() {
        Ok(etcd) => etcd,
        Err(why) => return eprintln!("SKIPPED: {why}"),
    };
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let mut ours = Server::new(Program::holdfast(), &scratch.path().join("ours"), "ours");
    let mut theirs = Server::new(etcd, &scratch.path().join("theirs"), "theirs");
    let both = format!("ours={},theirs={}", ours.peer_url(), theirs.peer_url());
    theirs.bootstrap(&["--initial-cluster", &both]);
    theirs.spawn();
    // An etcd that meets a peer of another kind while it begins may end at once.
    let port = theirs.peer_port;
    until("etcd serves its peer port", async || http_get(port, "/version").is_some()).await;
    ours.bootstrap(&["--initial-cluster", &both]);
    ours.spawn();
    let lines =
        ["a real etcd answers at a peer URL", "a real etcd tries to connect as a peer and is refused"];
    for line in lines {
        until(line, async || ours.log().contains(line)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_members_live_with_two_dead_and_one_goes_on_alone() {
    let mut cluster = Cluster::start(Program::holdfast(), 5, QUICK);
    let leader = cluster.leader().await;
    let writers = Writers::start(&cluster.endpoints(), 0);
    tokio::time::sleep(Duration::from_millis(200)).await;
    cluster.members[leader].kill();
    cluster.members[(leader + 1) % 5].kill();
    let next = cluster.leader().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut told = BTreeMap::new();
    writers.end(&mut told).await;
    check_told(&cluster.members[next], &told).await;
    // All but one are lost for good.
    for place in 0..5 {
        cluster.members[place].kill();
    }
    let alone = &mut cluster.members[next];
    alone.set_flags(&[QUICK, &["--force-new-cluster"]].concat());
    alone.spawn();
    alone.wait_ready();
    alone.kill();
    alone.set_flags(QUICK);
    alone.spawn();
    alone.wait_ready();
    let list = cluster.ctl_text(&["member", "list"]);
    assert_eq!(list.lines().count(), 1, "{list}");
    check_told(&cluster.members[next], &told).await;
    cluster.ctl_text(&["put", "it", "goes on"]);
}
