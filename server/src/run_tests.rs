//! A whole member over a disk in memory: the loop, its lanes, its ends.

use std::io::ErrorKind;

use bytes::Bytes;
use holdfast_core::boundary::{StreamOp, WatchCreate};
use holdfast_core::request::{Credentials, PutRequest, RangeRequest, Request, Response};
use holdfast_core::status::Status;

use super::*;
use crate::config::{Outcome, Surroundings, parse};
use crate::disk::test_disk::TestDisk;

fn config() -> ServerConfig {
    let no_file = |_: &str| Err("there are no files".to_owned());
    let around = Surroundings { environment: &[], read_file: &no_file, default_host: &|| None };
    // Ticks are fast, so that the first election is.
    let arguments = ["--name=m", "--heartbeat-interval=5", "--election-timeout=25"].map(str::to_owned);
    match parse(&arguments, &around) {
        Ok(Outcome::Run(config)) => *config,
        other => panic!("{other:?}"),
    }
}

/// A machine with this disk, and nobody who could come in.
fn host(disk: &TestDisk) -> Host<TestDisk> {
    Host {
        disk: disk.clone(),
        clock: HostClock::system(),
        door: PeerDoor::default(),
        layout: LayoutConfig::default(),
        seed: 7,
        tokens: None,
    }
}

/// Starts a member and waits until it may serve.
async fn serving(disk: &TestDisk) -> Member {
    let member = start(&config(), Limits::default(), host(disk)).await;
    let mut member = member.expect("a sound directory");
    (&mut member.published).await.expect("it publishes itself");
    member
}

async fn put(member: &Member, key: &'static str, value: &'static str) -> Result<i64, Status> {
    let (key, value) = (Bytes::from_static(key.as_bytes()), Bytes::from_static(value.as_bytes()));
    match member.gate.call_as_root(Request::Put(PutRequest { key, value, ..PutRequest::default() })).await? {
        Response::Put(put) => Ok(put.header.revision),
        other => panic!("{other:?}"),
    }
}

async fn get(member: &Member, key: &'static str) -> Option<Bytes> {
    let key = Bytes::from_static(key.as_bytes());
    match member.gate.call_as_root(Request::Range(RangeRequest { key, ..RangeRequest::default() })).await {
        Ok(Response::Range(range)) => range.kvs.first().map(|kv| kv.value.clone()),
        other => panic!("{other:?}"),
    }
}

async fn stop(mut member: Member) {
    member.events.send(Event::Stop).expect("the loop runs");
    (&mut member.core.ended).await.expect("it does not panic").expect("it ends well");
}

#[tokio::test]
async fn acknowledged_puts_are_there_in_the_next_life() {
    let disk = TestDisk::default();
    let member = serving(&disk).await;
    assert_eq!(put(&member, "a", "1").await, Ok(2));
    assert_eq!(put(&member, "a", "2").await, Ok(3));
    stop(member).await;
    let member = serving(&disk).await;
    assert_eq!(get(&member, "a").await, Some(Bytes::from_static(b"2")));
    assert_eq!(put(&member, "b", "3").await, Ok(4));
    assert_eq!(member.metrics.store.keys.get(), 2);
    assert_eq!(member.metrics.raft.has_leader.get(), 1);
    assert!(member.gate.is_leader_known());
    stop(member).await;
}

#[tokio::test]
async fn failed_flush_ends_the_member_and_acknowledges_nothing() {
    let disk = TestDisk::default();
    let mut member = serving(&disk).await;
    disk.fail(Some(("Sync", ErrorKind::Other)));
    assert_eq!(put(&member, "a", "1").await, Err(Status::Stopped));
    let death = (&mut member.core.ended).await.expect("it does not panic").expect_err("its disk failed");
    assert!(death.to_string().starts_with("cannot write the log: flush wal/"), "{death}");
    assert!(member.gate.is_stopped());
}

#[tokio::test]
async fn full_disk_keeps_writes_waiting_but_not_reads() {
    let disk = TestDisk::default();
    let member = serving(&disk).await;
    assert_eq!(put(&member, "a", "1").await, Ok(2));
    disk.fail(Some(("Create", ErrorKind::StorageFull)));
    // More than the first segment and its spare hold.
    let value: &'static str = "v".repeat(1 << 20).leak();
    let mut written = 0;
    while let Ok(put) = tokio::time::timeout(Duration::from_millis(500), put(&member, "big", value)).await {
        put.expect("there is room");
        written += 1;
        assert!(written < 100, "the disk is full");
    }
    assert_eq!(get(&member, "a").await, Some(Bytes::from_static(b"1")));
    disk.fail(None);
    // The put that nobody waited for may count (TO-5).
    let revision = put(&member, "b", "2").await.expect("there is room again");
    assert!(revision >= 3 + written, "{revision}");
    stop(member).await;
}

#[tokio::test]
async fn stopped_member_answers_those_who_wait_and_ends_streams() {
    let disk = TestDisk::default();
    let member = serving(&disk).await;
    let mut stream = member.gate.open_stream(Credentials::None).expect("the loop runs");
    let create = WatchCreate { key: Bytes::from_static(b"a"), ..WatchCreate::default() };
    stream.send(StreamOp::Create(create));
    assert!(stream.recv().await.expect("it is answered").created);
    put(&member, "a", "1").await.expect("it serves");
    assert_eq!(stream.recv().await.expect("an event").events.len(), 1);
    let gate = member.gate.clone();
    stop(member).await;
    assert!(stream.recv().await.is_none());
    assert_eq!(gate.call_as_root(Request::Status).await, Err(Status::Stopped));
}

#[tokio::test]
async fn damaged_log_is_refused_with_its_place_and_left_as_it_is() {
    let disk = TestDisk::default();
    let member = serving(&disk).await;
    put(&member, "a", "1").await.expect("it serves");
    put(&member, "a", "2").await.expect("it serves");
    stop(member).await;
    let segment = "wal/0000000000000001.wal";
    disk.contents().files.get_mut(segment).expect("the log")[4096 + 20] ^= 1;
    let before = disk.contents().files[segment].clone();
    let refusal = start(&config(), Limits::default(), host(&disk)).await;
    let refusal = refusal.err().expect("it is damaged");
    let line = refusal.to_string();
    assert!(line.contains(&format!("{segment} at offset 4096")), "{line}");
    assert!(disk.contents().files[segment] == before, "it is not touched");
}
