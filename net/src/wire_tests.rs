//! The hand-written messages against a reference encoder: prost's derive on the same field numbers.

use super::*;

#[derive(Clone, PartialEq, Message)]
struct PlainKeyValue {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(int64, tag = "2")]
    create_revision: i64,
    #[prost(int64, tag = "3")]
    mod_revision: i64,
    #[prost(int64, tag = "4")]
    version: i64,
    #[prost(bytes = "vec", tag = "5")]
    value: Vec<u8>,
    #[prost(int64, tag = "6")]
    lease: i64,
}

#[derive(Clone, PartialEq, Message)]
struct PlainEvent {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(message, optional, tag = "2")]
    kv: Option<PlainKeyValue>,
    #[prost(message, optional, tag = "3")]
    prev_kv: Option<PlainKeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct PlainWatchResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
    #[prost(int64, tag = "2")]
    watch_id: i64,
    #[prost(bool, tag = "3")]
    created: bool,
    #[prost(bool, tag = "4")]
    canceled: bool,
    #[prost(int64, tag = "5")]
    compact_revision: i64,
    #[prost(string, tag = "6")]
    cancel_reason: String,
    #[prost(bool, tag = "7")]
    fragment: bool,
    #[prost(message, repeated, tag = "11")]
    events: Vec<PlainEvent>,
}

fn kv(key: &str, value: &str, mod_revision: i64, lease: i64) -> base::KeyValue {
    base::KeyValue {
        key: Arc::from(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
        create_revision: mod_revision - 1,
        mod_revision,
        version: 3,
        lease: base::LeaseId(lease),
    }
}

fn plain(kv: &base::KeyValue) -> PlainKeyValue {
    PlainKeyValue {
        key: kv.key.to_vec(),
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        version: kv.version,
        value: kv.value.to_vec(),
        lease: kv.lease.0,
    }
}

fn response() -> WatchResponse {
    let events = vec![
        Event { kind: EventKind::Put, kv: kv("a", "1", 7, -1), prev_kv: Some(kv("a", "", 1, 0)) },
        Event { kind: EventKind::Delete, kv: kv("b", &"x".repeat(300), 1 << 40, 9), prev_kv: None },
    ];
    WatchResponse {
        header: Some(ResponseHeader { cluster_id: u64::MAX, member_id: 2, revision: 300, raft_term: 4 }),
        watch_id: -1,
        created: true,
        canceled: true,
        compact_revision: 5,
        cancel_reason: "why".into(),
        fragment: true,
        events: Events::from(Arc::new(events)),
    }
}

#[test]
fn key_value_is_encoded_as_its_proto_says() {
    for kv in [kv("k", "v", 5, 77), kv("k", "", 1, 0), KeyValue::default().0] {
        let encoded = KeyValue(kv.clone()).encode_to_vec();
        assert_eq!(encoded, plain(&kv).encode_to_vec());
        assert_eq!(encoded.len(), KeyValue(kv.clone()).encoded_len());
        assert_eq!(KeyValue::decode(&encoded[..]), Ok(KeyValue(kv)));
    }
}

#[test]
fn watch_response_is_encoded_as_its_proto_says() {
    let response = response();
    let events = response.events.iter().map(|event| PlainEvent {
        kind: i32::from(event.kind == EventKind::Delete),
        kv: Some(plain(&event.kv)),
        prev_kv: event.prev_kv.as_ref().map(plain),
    });
    let reference = PlainWatchResponse {
        header: response.header,
        watch_id: response.watch_id,
        created: response.created,
        canceled: response.canceled,
        compact_revision: response.compact_revision,
        cancel_reason: response.cancel_reason.to_string(),
        fragment: response.fragment,
        events: events.collect(),
    };
    let encoded = response.encode_to_vec();
    assert_eq!(encoded, reference.encode_to_vec());
    assert_eq!(encoded.len(), response.encoded_len());
    assert_eq!(WatchResponse::decode(&encoded[..]), Ok(response));
}

#[test]
fn slice_of_events_shares_the_batch() {
    let events = response().events;
    let tail = events.slice(1..2);
    assert_eq!(tail.len(), 1);
    assert_eq!(tail[0], events[1]);
    assert!(Arc::ptr_eq(&tail.batch, &events.batch));
}
