use std::sync::Arc;

use bytes::Bytes;
use holdfast_core::base::{KeyValue, LeaseId};
use holdfast_core::boundary::{Event, EventKind};
use prost::Message;

use super::*;

fn event(key: usize, value_bytes: usize) -> Event {
    let kv = KeyValue {
        key: Arc::from(format!("k{key}").as_bytes()),
        value: Bytes::from(vec![b'v'; value_bytes]),
        create_revision: 2,
        mod_revision: 2,
        version: 1,
        lease: LeaseId(0),
    };
    Event { kind: EventKind::Put, kv, prev_kv: None }
}

fn response(value_bytes: &[usize]) -> pb::WatchResponse {
    let events: Vec<Event> = value_bytes.iter().enumerate().map(|(key, &bytes)| event(key, bytes)).collect();
    pb::WatchResponse {
        header: Some(pb::ResponseHeader { revision: 9, ..pb::ResponseHeader::default() }),
        watch_id: 5,
        events: Arc::new(events).into(),
        ..pb::WatchResponse::default()
    }
}

fn pieces(value_bytes: &[usize], bytes_max: usize) -> Vec<pb::WatchResponse> {
    Pieces { response: response(value_bytes), sent: 0, bytes_max }.collect()
}

#[test]
fn pieces_stay_below_the_limit_and_lose_nothing() {
    let whole = response(&[300; 20]);
    let pieces = pieces(&[300; 20], 1000);
    let lengths: Vec<usize> = pieces.iter().map(|piece| piece.events.len()).collect();
    assert_eq!(lengths, [3, 3, 3, 3, 3, 3, 2]);
    for piece in &pieces {
        assert!(piece.encoded_len() < 1000);
        assert_eq!(piece.watch_id, 5);
        assert_eq!(piece.header, whole.header);
    }
    let events: Vec<Event> = pieces.iter().flat_map(|piece| piece.events.to_vec()).collect();
    assert_eq!(events, whole.events.to_vec());
    let fragments: Vec<bool> = pieces.iter().map(|piece| piece.fragment).collect();
    assert_eq!(fragments, [true, true, true, true, true, true, false]);
}

#[test]
fn huge_event_stands_alone() {
    let lengths: Vec<usize> =
        pieces(&[10, 5000, 10, 10], 1000).iter().map(|piece| piece.events.len()).collect();
    assert_eq!(lengths, [1, 1, 2]);
}

#[test]
fn single_event_is_never_oversize() {
    assert!(!is_oversize(&response(&[5000]), 1000));
    assert!(is_oversize(&response(&[5000, 0]), 1000));
    assert!(!is_oversize(&response(&[10, 10]), 1000));
}
