//! Streams: watches, ranges in chunks, keep-alives.

use futures_util::stream;
use holdfast_core::boundary::StreamOp;
use holdfast_core::status;
use holdfast_net::proto::etcdserverpb as pb;
use pb::watch_request::RequestUnion;
use tokio::sync::mpsc;
use tonic::{Request, Status, Streaming};

use crate::toy::{Saw, TERM};
use crate::{Port, get, get_from, put};

fn create(fragment: bool) -> pb::WatchRequest {
    let request = pb::WatchCreateRequest {
        key: "a".into(),
        range_end: vec![0].into(),
        fragment,
        ..pb::WatchCreateRequest::default()
    };
    pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(request)) }
}

fn progress() -> pb::WatchRequest {
    pb::WatchRequest { request_union: Some(RequestUnion::ProgressRequest(pb::WatchProgressRequest {})) }
}

/// A watch stream and the way to say more on it; dropping that is the half-close.
async fn open(port: &Port) -> (mpsc::UnboundedSender<pb::WatchRequest>, Streaming<pb::WatchResponse>) {
    open_with(port, |_| {}).await
}

async fn open_with(
    port: &Port,
    prepare: impl FnOnce(&mut tonic::metadata::MetadataMap),
) -> (mpsc::UnboundedSender<pb::WatchRequest>, Streaming<pb::WatchResponse>) {
    let (requests, queue) = mpsc::unbounded_channel();
    let queue = stream::unfold(queue, |mut queue: mpsc::UnboundedReceiver<_>| async move {
        queue.recv().await.map(|request| (request, queue))
    });
    let mut request = Request::new(queue);
    prepare(request.metadata_mut());
    let answers = port.watch().await.watch(request).await.expect("watch").into_inner();
    (requests, answers)
}

async fn next(answers: &mut Streaming<pb::WatchResponse>) -> pb::WatchResponse {
    answers.message().await.expect("an open stream").expect("a response")
}

async fn end<T: std::fmt::Debug>(answers: &mut Streaming<T>) -> Status {
    answers.message().await.expect_err("the end")
}

fn assert_ended(status: &Status, expected: status::Status) {
    assert_eq!(status.code() as i32, expected.code() as i32);
    assert_eq!(status.message(), expected.text());
}

#[tokio::test]
async fn q37_watch_goes_on_after_half_close() {
    let port = Port::open().await;
    let (requests, mut answers) = open(&port).await;
    requests.send(create(false)).expect("open");
    requests.send(pb::WatchRequest::default()).expect("open");
    requests.send(progress()).expect("open");
    let created = next(&mut answers).await;
    assert!(created.created);
    let header = pb::ResponseHeader { cluster_id: 100, member_id: 200, revision: 1, raft_term: TERM };
    assert_eq!(created.header, Some(header));
    assert_eq!(next(&mut answers).await.watch_id, -1);
    drop(requests);
    let mut kv = port.kv().await;
    for revision in 2..5 {
        kv.put(put("k", "v")).await.expect("put");
        let response = next(&mut answers).await;
        assert_eq!(response.events.len(), 1);
        assert_eq!(response.events[0].kv.mod_revision, revision);
    }
}

#[tokio::test]
async fn credit_comes_back_once_the_event_was_taken() {
    let mut port = Port::open().await;
    let (requests, mut answers) = open(&port).await;
    requests.send(create(false)).expect("open");
    next(&mut answers).await;
    let Some(Saw::Op(StreamOp::Create(_))) = port.seen.recv().await else { panic!("expected create") };
    port.kv().await.put(put("key", "value")).await.expect("put");
    let event = next(&mut answers).await.events[0].clone();
    assert_eq!(port.seen.recv().await, Some(Saw::Op(StreamOp::Credit { bytes: event.credit_bytes() })));
}

#[tokio::test]
async fn cancelled_watch_call_closes_its_stream() {
    let mut port = Port::open().await;
    let (requests, mut answers) = open(&port).await;
    requests.send(create(false)).expect("open");
    next(&mut answers).await;
    assert!(matches!(port.seen.recv().await, Some(Saw::Op(StreamOp::Create(_)))));
    // tonic's client resets a call when both of its directions are gone.
    drop((answers, requests));
    assert_eq!(port.seen.recv().await, Some(Saw::Op(StreamOp::Close)));
}

#[tokio::test]
async fn large_response_comes_in_fragments_if_the_client_wants() {
    let port = Port::open().await;
    let (requests, mut answers) = open(&port).await;
    requests.send(create(true)).expect("open");
    next(&mut answers).await;
    port.kv().await.put(put("burst", "")).await.expect("put");
    let mut keys = Vec::new();
    let mut fragments = Vec::new();
    while fragments.last() != Some(&false) {
        let piece = next(&mut answers).await;
        assert_eq!(piece.header.expect("each piece has one").revision, 1);
        fragments.push(piece.fragment);
        keys.extend(piece.events.iter().map(|event| event.kv.key.to_vec()));
    }
    assert_eq!(fragments, [true, true, false]);
    assert_eq!(keys, [b"big0", b"big1", b"big2"]);
}

#[tokio::test]
async fn large_response_is_whole_for_other_clients() {
    let port = Port::open().await;
    let (requests, mut answers) = open(&port).await;
    requests.send(create(false)).expect("open");
    next(&mut answers).await;
    port.kv().await.put(put("burst", "")).await.expect("put");
    let whole = next(&mut answers).await;
    assert_eq!((whole.events.len(), whole.fragment), (3, false));
}

#[tokio::test]
async fn oversize_watch_request_ends_the_stream_in_grpc_go_words() {
    let port = Port::open().await;
    let (requests, mut answers) = open(&port).await;
    let request = pb::WatchCreateRequest { key: vec![b'k'; 3 << 20].into(), ..Default::default() };
    let request = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(request)) };
    requests.send(request).expect("open");
    let status = end(&mut answers).await;
    assert_eq!(status.code(), tonic::Code::ResourceExhausted);
    assert!(status.message().starts_with("grpc: received message larger than max ("), "{status}");
}

#[tokio::test]
async fn lost_leader_ends_streams_that_asked_for_one() {
    let port = Port::open().await;
    let (_plain, mut plain) = open(&port).await;
    let leader = |metadata: &mut tonic::metadata::MetadataMap| {
        metadata.insert("hasleader", "true".parse().expect("ascii"));
    };
    let (_asking, mut asking) = open_with(&port, leader).await;
    port.gate.set_leader_known(false);
    assert_ended(&end(&mut asking).await, status::Status::NoLeader);
    port.gate.close();
    assert_ended(&end(&mut plain).await, status::Status::Stopped);
}

#[tokio::test]
async fn q29_range_stream_comes_in_growing_chunks() {
    let port = Port::open().await;
    let mut kv = port.kv().await;
    for key in 0..100 {
        kv.put(put(&format!("k{key:03}"), "v")).await.expect("put");
    }
    let chunks = chunks(&port, get_from("k")).await;
    let lengths: Vec<usize> = chunks.iter().map(|chunk| chunk.kvs.len()).collect();
    assert_eq!(lengths, [10, 20, 40, 30]);
    let (last, others) = chunks.split_last().expect("chunks");
    for chunk in others {
        assert_eq!((chunk.header, chunk.count, chunk.more), (None, 0, false));
    }
    let whole = kv.range(get_from("k")).await.expect("range").into_inner();
    assert_eq!((last.header, last.count, last.more), (whole.header, 100, false));
    let kvs: Vec<_> = chunks.iter().flat_map(|chunk| chunk.kvs.clone()).collect();
    assert_eq!(kvs, whole.kvs);
}

#[tokio::test]
async fn range_stream_keeps_the_limit_and_says_there_is_more() {
    let port = Port::open().await;
    let mut kv = port.kv().await;
    for key in 0..40 {
        kv.put(put(&format!("k{key:03}"), "v")).await.expect("put");
    }
    let chunks = chunks(&port, pb::RangeRequest { limit: 15, ..get_from("k") }).await;
    let lengths: Vec<usize> = chunks.iter().map(|chunk| chunk.kvs.len()).collect();
    assert_eq!(lengths, [10, 5]);
    assert_eq!((chunks[1].count, chunks[1].more), (40, true));
}

#[tokio::test]
async fn range_stream_chunks_shrink_for_large_values() {
    let port = Port::open().await;
    let mut kv = port.kv().await;
    for key in 0..16 {
        kv.put(put(&format!("k{key:03}"), vec![b'v'; 400 << 10])).await.expect("put");
    }
    let lengths: Vec<usize> =
        chunks(&port, get_from("k")).await.iter().map(|chunk| chunk.kvs.len()).collect();
    assert_eq!(lengths, [10, 5, 1]);
}

#[tokio::test]
async fn range_stream_of_nothing_is_one_chunk() {
    let port = Port::open().await;
    for request in [get("absent"), pb::RangeRequest { count_only: true, ..get_from("a") }] {
        let chunks = chunks(&port, request).await;
        assert_eq!(chunks.len(), 1);
        assert_eq!((chunks[0].kvs.len(), chunks[0].count), (0, 0));
        assert_eq!(chunks[0].header.expect("the last chunk").revision, 1);
    }
}

#[tokio::test]
async fn range_stream_refuses_what_it_cannot_order() {
    let port = Port::open().await;
    let mut kv = port.kv().await;
    let request = pb::RangeRequest { sort_order: 2, ..get_from("a") };
    let status = kv.range_stream(request).await.expect_err("refused");
    assert_ended(&status, status::Status::RangeStreamSort);
    let mut refused = kv.range_stream(get("compacted")).await.expect("opened").into_inner();
    assert_ended(&end(&mut refused).await, status::Status::Compacted);
}

async fn chunks(port: &Port, request: pb::RangeRequest) -> Vec<pb::RangeResponse> {
    let mut kv = port.kv().await.max_decoding_message_size(16 << 20);
    let mut stream = kv.range_stream(request).await.expect("range stream").into_inner();
    let mut chunks = Vec::new();
    while let Some(chunk) = stream.message().await.expect("a chunk") {
        chunks.push(chunk.range_response.expect("each chunk has one"));
    }
    chunks
}

#[tokio::test]
async fn keep_alives_are_answered_in_order() {
    let port = Port::open().await;
    let mut lease = pb::lease_client::LeaseClient::new(port.channel().await);
    let requests = stream::iter([5, 6, 5].map(|id| pb::LeaseKeepAliveRequest { id }));
    let mut answers = lease.lease_keep_alive(requests).await.expect("keep alive").into_inner();
    for (id, ttl) in [(5, 60), (6, 0), (5, 60)] {
        let answer = answers.message().await.expect("open").expect("an answer");
        assert_eq!((answer.id, answer.ttl), (id, ttl));
        assert_eq!(answer.header.expect("header").member_id, 200);
    }
    assert!(answers.message().await.expect("a good end").is_none());
}
