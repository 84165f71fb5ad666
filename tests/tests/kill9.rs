//! SIGKILL under load, again and again: nothing acknowledged is lost, no revision is used twice, and a watch
//! that resumes behind the last event it saw misses none.

#![cfg(not(madsim))]

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use holdfast_net::proto::etcdserverpb as pb;
use holdfast_tests::client::Client;
use holdfast_tests::process::{Program, Server};
use pb::watch_request::RequestUnion;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const ROUNDS: u32 = 30;
const WRITERS: u32 = 8;

/// What clients were told, over all rounds.
#[derive(Default)]
struct Told {
    /// Key and value by revision.
    puts: BTreeMap<i64, (String, String)>,
    leases: Vec<i64>,
}

/// Puts under keys of its own until the server is gone; gives what was acknowledged.
async fn write(endpoint: String, writer: u32, round: u32) -> Vec<(i64, String, String)> {
    let mut client = Client::new(&endpoint);
    let mut told = Vec::new();
    for i in 0.. {
        let (key, value) =
            (format!("key-{writer}-{}", i % 20), format!("{round}-{i}-{}", "v".repeat(i % 700)));
        match client.put(key.clone(), value.clone()).await {
            Ok(revision) => told.push((revision, key, value)),
            Err(_) => return told,
        }
    }
    told
}

/// Grants leases until the server is gone.
async fn grant(endpoint: String) -> Vec<i64> {
    let mut client = Client::new(&endpoint);
    let mut told = Vec::new();
    while let Ok(id) = client.grant(100_000).await {
        told.push(id);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    told
}

/// Every put that a watch of all keys saw, over all lives. The first is at revision 2.
#[derive(Default)]
struct Seen {
    puts: Vec<(String, String)>,
}

impl Seen {
    fn next_revision(&self) -> i64 {
        2 + self.puts.len() as i64
    }

    /// Watches on from where it is until the server is gone, or until `through` was seen. Grants take no
    /// revision and each put one: anything but the next one is a gap or a repetition.
    async fn watch(&mut self, endpoint: &str, through: i64) {
        let all = bytes::Bytes::from_static(b"\0");
        let create = pb::WatchCreateRequest {
            key: all.clone(),
            range_end: all,
            start_revision: self.next_revision(),
            ..Default::default()
        };
        let create = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        let requests = stream::iter([create]).chain(stream::pending());
        let Ok(responses) = Client::new(endpoint).watch.watch(requests).await else { return };
        let mut responses = responses.into_inner();
        while self.next_revision() <= through {
            let Ok(Some(response)) = responses.message().await else { return };
            assert!(!response.canceled, "canceled: {}", response.cancel_reason);
            for event in response.events.iter() {
                assert_eq!(
                    event.kv.mod_revision,
                    self.next_revision(),
                    "a watch does not go on where it was"
                );
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                self.puts.push((text(&event.kv.key), text(&event.kv.value)));
            }
        }
    }

    /// What was acknowledged is what was seen.
    fn check(&self, told: &Told) {
        for (revision, put) in &told.puts {
            assert_eq!(self.puts.get(*revision as usize - 2), Some(put), "the event of revision {revision}");
        }
    }
}

/// Everything told is there.
async fn check(server: &Server, told: &Told, round: u32) {
    let mut client = Client::new(&server.endpoint());
    let mut last_of_key = BTreeMap::new();
    for (revision, (key, value)) in &told.puts {
        last_of_key.insert(key, (*revision, value));
        if revision % 7 == i64::from(round % 7) {
            let found = client.get(key.clone(), *revision).await.expect("served");
            let (found, mod_revision) = found.unwrap_or_else(|| panic!("{key} at {revision} is lost"));
            assert_eq!((found, mod_revision), (value.clone().into(), *revision), "{key}");
        }
    }
    for (key, (revision, value)) in last_of_key {
        let (found, mod_revision) = client.get(key.clone(), 0).await.expect("served").expect("never deleted");
        assert!(mod_revision >= revision, "{key} went back from {revision} to {mod_revision}");
        assert!(mod_revision > revision || found == *value, "{key} at {revision} changed");
    }
    let leases = client.lease.lease_leases(pb::LeaseLeasesRequest {}).await;
    let found: Vec<i64> = leases.expect("served").into_inner().leases.iter().map(|lease| lease.id).collect();
    for id in &told.leases {
        assert!(found.contains(id), "lease {id:x} is lost");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_over_thirty_kills() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let mut server = Server::start(Program::holdfast(), scratch.path(), &[]);
    let (mut told, mut seen) = (Told::default(), Seen::default());
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    for round in 0..ROUNDS {
        let writers: Vec<_> =
            (0..WRITERS).map(|writer| tokio::spawn(write(server.endpoint(), writer, round))).collect();
        let granter = tokio::spawn(grant(server.endpoint()));
        let endpoint = server.endpoint();
        let watcher = tokio::spawn(async move {
            seen.watch(&endpoint, i64::MAX).await;
            seen
        });
        tokio::time::sleep(Duration::from_millis(rng.random_range(20..300))).await;
        server.kill();
        for writer in writers {
            for (revision, key, value) in writer.await.expect("writers do not panic") {
                let before = told.puts.insert(revision, (key.clone(), value));
                assert!(before.is_none(), "revision {revision} was given twice: {key} and {before:?}");
            }
        }
        told.leases.extend(granter.await.expect("the granter does not panic"));
        seen = watcher.await.expect("the watch has no gap");
        server.spawn();
        server.wait_ready();
        check(&server, &told, round).await;
    }
    let last = told.puts.keys().next_back().copied().unwrap_or_default();
    let live = seen.puts.len();
    seen.watch(&server.endpoint(), last).await;
    seen.check(&told);
    assert!(live > 0, "the watch only saw history");
    println!(
        "{ROUNDS} kills, {} puts and {} leases acknowledged, all there",
        told.puts.len(),
        told.leases.len()
    );
    assert!(told.puts.len() > 1000, "the load was no load");
}
