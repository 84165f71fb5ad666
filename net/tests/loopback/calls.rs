//! Calls with one answer: headers, refusals, limits, what is not supported.

use holdfast_core::status;
use holdfast_net::proto::{etcdserverpb as pb, healthpb};
use holdfast_net::service::Kv;
use pb::kv_server::Kv as _;
use tonic::{Code, Request, Status};

use crate::toy::{Saw, TERM};
use crate::{Port, get, get_from, put};

fn assert_refused(status: &Status, expected: status::Status) {
    assert_eq!(status.code() as i32, expected.code() as i32);
    assert_eq!(status.message(), expected.text());
}

#[tokio::test]
async fn put_and_range_have_full_headers() {
    let port = Port::open().await;
    let mut kv = port.kv().await;
    let answer = kv.put(put("a", "1")).await.expect("put").into_inner();
    let header = pb::ResponseHeader { cluster_id: 100, member_id: 200, revision: 2, raft_term: TERM };
    assert_eq!(answer, pb::PutResponse { header: Some(header), prev_kv: None });
    let answer = kv.range(get("a")).await.expect("range").into_inner();
    assert_eq!(answer.header, Some(header));
    assert_eq!(answer.count, 1);
    assert_eq!((&answer.kvs[0].key[..], &answer.kvs[0].value[..]), (&b"a"[..], &b"1"[..]));
    assert_eq!(answer.kvs[0].mod_revision, 2);
}

#[tokio::test]
async fn refusal_keeps_code_and_text() {
    let port = Port::open().await;
    let status = port.kv().await.range(get("compacted")).await.expect_err("refused");
    assert_refused(&status, status::Status::Compacted);
}

#[tokio::test]
async fn q32_oversize_message_is_refused_as_grpc_go_does() {
    let port = Port::open().await;
    let mut kv = port.kv().await;
    let status = kv.put(put("k", vec![0; 2_097_152])).await.expect_err("refused");
    assert_eq!(status.code(), Code::ResourceExhausted);
    let length = 2_097_152 + 3 + 5;
    assert_eq!(status.message(), format!("grpc: received message larger than max ({length} vs. 2097152)"));
    // The largest message that fits.
    kv.put(put("k", vec![0; 2_097_152 - 8])).await.expect("at the limit");
}

#[tokio::test]
async fn deadline_is_answered_in_go_words_and_abandons_the_call() {
    let mut port = Port::open().await;
    let mut request = Request::new(get("hang"));
    request.metadata_mut().insert("grpc-timeout", "5m".parse().expect("ascii"));
    // Over the network tonic's client would give up at the same moment and say it its own way.
    let status = Kv::new(port.gate.clone()).range(request).await.expect_err("too late");
    assert_refused(&status, status::Status::ContextDeadlineExceeded);
    let Some(Saw::Hanging(waiter)) = port.seen.recv().await else { panic!("expected the call") };
    assert_eq!(port.seen.recv().await, Some(Saw::Abandon(waiter)));
}

#[tokio::test]
async fn cancelled_call_is_abandoned() {
    let mut port = Port::open().await;
    let mut kv = port.kv().await;
    let call = tokio::spawn(async move { kv.put(put("hang", "")).await });
    let Some(Saw::Hanging(waiter)) = port.seen.recv().await else { panic!("expected the call") };
    call.abort();
    assert_eq!(port.seen.recv().await, Some(Saw::Abandon(waiter)));
}

#[tokio::test]
async fn missing_leader_refuses_only_those_who_ask_for_one() {
    let port = Port::open().await;
    let mut kv = port.kv().await;
    port.gate.set_leader_known(false);
    kv.range(get("a")).await.expect("asked for no leader");
    let mut request = Request::new(get("a"));
    request.metadata_mut().insert("hasleader", "true".parse().expect("ascii"));
    let status = kv.range(request).await.expect_err("refused");
    assert_refused(&status, status::Status::NoLeader);
}

#[tokio::test]
async fn client_version_must_be_utf8() {
    let port = Port::open().await;
    let mut request = Request::new(get("a"));
    let version = tonic::metadata::MetadataValue::try_from(&b"3.\xff"[..]).expect("opaque bytes");
    request.metadata_mut().insert("client-api-version", version);
    let status = port.kv().await.range(request).await.expect_err("refused");
    assert_refused(&status, status::Status::InvalidClientApiVersion);
}

/// A put inside `depth` transactions.
fn nested(depth: u32) -> pb::TxnRequest {
    let mut txn = pb::TxnRequest::default();
    for _ in 0..depth {
        let op = pb::RequestOp { request: Some(pb::request_op::Request::RequestTxn(txn)) };
        txn = pb::TxnRequest { success: vec![op], ..pb::TxnRequest::default() };
    }
    txn
}

#[tokio::test]
async fn nesting_too_deep_is_an_invalid_argument() {
    let port = Port::open().await;
    let mut kv = port.kv().await;
    kv.txn(nested(48)).await.expect("at the limit");
    // The first is refused by the conversion, the second by the decoder.
    for depth in [49, 90] {
        let status = kv.txn(nested(depth)).await.expect_err("too deep");
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "holdfast: transactions are nested too deeply (at most 48 levels)");
    }
}

#[tokio::test]
async fn stopped_node_answers_server_stopped() {
    let port = Port::open().await;
    let mut kv = port.kv().await;
    port.toy.abort();
    port.toy.await.expect_err("aborted");
    let status = kv.range(get_from("a")).await.expect_err("stopped");
    assert_refused(&status, status::Status::Stopped);
}

#[tokio::test]
async fn maintenance_answers_what_it_has() {
    let port = Port::open().await;
    let mut maintenance = pb::maintenance_client::MaintenanceClient::new(port.channel().await);
    let status = maintenance.status(pb::StatusRequest {}).await.expect("status").into_inner();
    assert_eq!(status.version, "3.7.1");
    assert_eq!(status.storage_version, "3.7.0");
    assert_eq!(status.downgrade_info, Some(pb::DowngradeInfo::default()));
    assert_eq!((status.leader, status.raft_index, status.raft_term), (200, 9, TERM));
    let defragment = maintenance.defragment(pb::DefragmentRequest {}).await.expect("defragment");
    assert_eq!(defragment.into_inner().header, None);
    let alarms = async |maintenance: &mut pb::maintenance_client::MaintenanceClient<_>, alarm| {
        let request = pb::AlarmRequest { alarm, ..pb::AlarmRequest::default() };
        maintenance.alarm(request).await.expect("alarm").into_inner().alarms
    };
    let stored = pb::AlarmMember { member_id: 3, alarm: pb::AlarmType::Nospace as i32 };
    assert_eq!(alarms(&mut maintenance, 0).await, [stored]);
    assert_eq!(alarms(&mut maintenance, 77).await, []);
}

#[tokio::test]
async fn member_list_header_has_no_revision() {
    let port = Port::open().await;
    let mut cluster = pb::cluster_client::ClusterClient::new(port.channel().await);
    let answer = cluster.member_list(pb::MemberListRequest { linearizable: true }).await;
    let answer = answer.expect("member list").into_inner();
    let header = pb::ResponseHeader { cluster_id: 100, member_id: 200, revision: 0, raft_term: TERM };
    assert_eq!(answer.header, Some(header));
    assert_eq!(answer.members[0].name, "toy");
}

#[tokio::test]
async fn membership_changes_reach_the_node_and_come_back_field_by_field() {
    let port = Port::open().await;
    let mut cluster = pb::cluster_client::ClusterClient::new(port.channel().await);
    let header = Some(pb::ResponseHeader { cluster_id: 100, member_id: 200, revision: 0, raft_term: TERM });
    let urls = vec!["http://b:2380".to_owned(), "http://a:2380".to_owned()];
    let member = |id, urls: &[String], is_learner| pb::Member {
        id,
        peer_ur_ls: urls.to_vec(),
        is_learner,
        ..pb::Member::default()
    };

    let add = pb::MemberAddRequest { peer_ur_ls: urls.clone(), is_learner: true };
    let added = cluster.member_add(add).await.expect("added").into_inner();
    let expected = member(9, &urls, true);
    assert_eq!((added.header, added.member, added.members), (header, Some(expected.clone()), vec![expected]));

    let removed = cluster.member_remove(pb::MemberRemoveRequest { id: 5 }).await.expect("removed");
    let expected = pb::MemberRemoveResponse { header, members: vec![member(5, &[], false)] };
    assert_eq!(removed.into_inner(), expected);
    let status = cluster.member_remove(pb::MemberRemoveRequest { id: 404 }).await.expect_err("unknown");
    assert_eq!((status.code(), status.message()), (Code::NotFound, "etcdserver: member not found"));

    let update = pb::MemberUpdateRequest { id: 6, peer_ur_ls: urls.clone() };
    let updated = cluster.member_update(update).await.expect("updated").into_inner();
    assert_eq!(updated, pb::MemberUpdateResponse { header, members: vec![member(6, &urls, false)] });

    let promoted = cluster.member_promote(pb::MemberPromoteRequest { id: 7 }).await.expect("promoted");
    let expected = pb::MemberPromoteResponse { header, members: vec![member(7, &[], false)] };
    assert_eq!(promoted.into_inner(), expected);
}

#[tokio::test]
async fn move_leader_has_no_header_and_keeps_refusals() {
    let port = Port::open().await;
    let mut maintenance = pb::maintenance_client::MaintenanceClient::new(port.channel().await);
    let moved = maintenance.move_leader(pb::MoveLeaderRequest { target_id: 200 }).await.expect("moved");
    assert_eq!(moved.into_inner(), pb::MoveLeaderResponse { header: None });
    let status = maintenance.move_leader(pb::MoveLeaderRequest { target_id: 3 }).await.expect_err("unknown");
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(status.message(), "etcdserver: bad leader transferee");
}

#[tokio::test]
async fn unsupported_methods_say_so_by_name() {
    let port = Port::open().await;
    let mut maintenance = pb::maintenance_client::MaintenanceClient::new(port.channel().await);
    let status = maintenance.downgrade(pb::DowngradeRequest::default()).await.expect_err("refused");
    assert_eq!(status.code(), Code::Unimplemented);
    assert_eq!(status.message(), "holdfast: Maintenance/Downgrade is not supported yet");
}

#[tokio::test]
async fn health_knows_the_whole_server_only() {
    use healthpb::health_check_response::ServingStatus;
    let port = Port::open().await;
    let mut health = healthpb::health_client::HealthClient::new(port.channel().await);
    let check = |service: &str| healthpb::HealthCheckRequest { service: service.to_owned() };
    let answer = health.check(check("")).await.expect("health").into_inner();
    assert_eq!(answer.status(), ServingStatus::Serving);
    let status = health.check(check("etcdserverpb.KV")).await.expect_err("unknown");
    assert_eq!((status.code(), status.message()), (Code::NotFound, "unknown service"));
    for (service, expected) in [("", ServingStatus::Serving), ("x", ServingStatus::ServiceUnknown)] {
        let mut watch = health.watch(check(service)).await.expect("watch").into_inner();
        let first = watch.message().await.expect("open").expect("an answer");
        assert_eq!(first.status(), expected);
    }
    let list = health.list(healthpb::HealthListRequest {}).await.expect("list").into_inner();
    assert_eq!(list.statuses[""].status(), ServingStatus::Serving);
}
