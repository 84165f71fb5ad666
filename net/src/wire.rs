//! Messages encoded by hand straight from core types, so that an answer of many keys costs no
//! allocation per key and a batch of events is shared by all its watchers.
//!
//! Source: net/proto/kv.proto and rpc.proto; field numbers must agree with them (see the tests).

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, Range};
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};
use holdfast_core::base;
use holdfast_core::boundary::{Event, EventKind};
use prost::encoding::{DecodeContext, WireType, encode_key, encode_varint, encoded_len_varint};
use prost::{DecodeError, Message, encoding};

use crate::proto::etcdserverpb::ResponseHeader;
use crate::proto::mvccpb;

/// `mvccpb.KeyValue` on the wire: the core's, in the core's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue(pub base::KeyValue);

impl Default for KeyValue {
    fn default() -> KeyValue {
        KeyValue(base::KeyValue {
            key: Arc::default(),
            value: Bytes::new(),
            create_revision: 0,
            mod_revision: 0,
            version: 0,
            lease: base::LeaseId(0),
        })
    }
}

impl Deref for KeyValue {
    type Target = base::KeyValue;

    fn deref(&self) -> &base::KeyValue {
        &self.0
    }
}

// The generated messages around it derive `Hash`.
impl Hash for KeyValue {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key.hash(state);
        self.0.mod_revision.hash(state);
    }
}

impl Message for KeyValue {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        encode_kv(&self.0, buf);
    }

    fn encoded_len(&self) -> usize {
        kv_len(&self.0)
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        match tag {
            1 => {
                let mut key = Bytes::new();
                encoding::bytes::merge(wire_type, &mut key, buf, ctx)?;
                self.0.key = Arc::from(&key[..]);
                Ok(())
            }
            2 => encoding::int64::merge(wire_type, &mut self.0.create_revision, buf, ctx),
            3 => encoding::int64::merge(wire_type, &mut self.0.mod_revision, buf, ctx),
            4 => encoding::int64::merge(wire_type, &mut self.0.version, buf, ctx),
            5 => encoding::bytes::merge(wire_type, &mut self.0.value, buf, ctx),
            6 => encoding::int64::merge(wire_type, &mut self.0.lease.0, buf, ctx),
            _ => encoding::skip_field(wire_type, tag, buf, ctx),
        }
    }

    fn clear(&mut self) {
        *self = KeyValue::default();
    }
}

fn encode_kv(kv: &base::KeyValue, buf: &mut impl BufMut) {
    encode_bytes(1, &kv.key, buf);
    encode_int64(2, kv.create_revision, buf);
    encode_int64(3, kv.mod_revision, buf);
    encode_int64(4, kv.version, buf);
    encode_bytes(5, &kv.value, buf);
    encode_int64(6, kv.lease.0, buf);
}

fn kv_len(kv: &base::KeyValue) -> usize {
    bytes_len(&kv.key)
        + int64_len(kv.create_revision)
        + int64_len(kv.mod_revision)
        + int64_len(kv.version)
        + bytes_len(&kv.value)
        + int64_len(kv.lease.0)
}

/// Some events of a batch that other watchers share.
#[derive(Clone, Debug)]
pub struct Events {
    batch: Arc<Vec<Event>>,
    range: Range<usize>,
}

impl Default for Events {
    fn default() -> Events {
        Events::from(Arc::default())
    }
}

impl From<Arc<Vec<Event>>> for Events {
    fn from(batch: Arc<Vec<Event>>) -> Events {
        let range = 0..batch.len();
        Events { batch, range }
    }
}

impl Events {
    /// Those of `range`, counted from the first of `self`.
    pub fn slice(&self, range: Range<usize>) -> Events {
        assert!(range.end <= self.len());
        let start = self.range.start + range.start;
        Events { batch: Arc::clone(&self.batch), range: start..start + range.len() }
    }

    fn push(&mut self, event: Event) {
        let batch = Arc::make_mut(&mut self.batch);
        assert_eq!(self.range.end, batch.len());
        batch.push(event);
        self.range.end += 1;
    }
}

impl Deref for Events {
    type Target = [Event];

    fn deref(&self) -> &[Event] {
        &self.batch[self.range.clone()]
    }
}

impl PartialEq for Events {
    fn eq(&self, other: &Events) -> bool {
        self[..] == other[..]
    }
}

/// `etcdserverpb.WatchResponse` on the wire.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WatchResponse {
    pub header: Option<ResponseHeader>,
    pub watch_id: i64,
    pub created: bool,
    pub canceled: bool,
    pub compact_revision: i64,
    pub cancel_reason: Cow<'static, str>,
    pub fragment: bool,
    pub events: Events,
}

impl Message for WatchResponse {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        if let Some(header) = &self.header {
            encoding::message::encode(1, header, buf);
        }
        encode_int64(2, self.watch_id, buf);
        encode_bool(3, self.created, buf);
        encode_bool(4, self.canceled, buf);
        encode_int64(5, self.compact_revision, buf);
        encode_bytes(6, self.cancel_reason.as_bytes(), buf);
        encode_bool(7, self.fragment, buf);
        for event in &*self.events {
            encode_key(11, WireType::LengthDelimited, buf);
            encode_varint(event_body_len(event) as u64, buf);
            encode_event_body(event, buf);
        }
    }

    fn encoded_len(&self) -> usize {
        self.envelope_len() + self.events.iter().map(event_len).sum::<usize>()
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        match tag {
            1 => encoding::message::merge(wire_type, self.header.get_or_insert_default(), buf, ctx),
            2 => encoding::int64::merge(wire_type, &mut self.watch_id, buf, ctx),
            3 => encoding::bool::merge(wire_type, &mut self.created, buf, ctx),
            4 => encoding::bool::merge(wire_type, &mut self.canceled, buf, ctx),
            5 => encoding::int64::merge(wire_type, &mut self.compact_revision, buf, ctx),
            6 => encoding::string::merge(wire_type, self.cancel_reason.to_mut(), buf, ctx),
            7 => encoding::bool::merge(wire_type, &mut self.fragment, buf, ctx),
            11 => {
                let mut event = mvccpb::Event::default();
                encoding::message::merge(wire_type, &mut event, buf, ctx)?;
                self.events.push(decoded_event(event));
                Ok(())
            }
            _ => encoding::skip_field(wire_type, tag, buf, ctx),
        }
    }

    fn clear(&mut self) {
        *self = WatchResponse::default();
    }
}

impl WatchResponse {
    /// Encoded length without events.
    pub(crate) fn envelope_len(&self) -> usize {
        self.header.as_ref().map_or(0, |header| encoding::message::encoded_len(1, header))
            + int64_len(self.watch_id)
            + bool_len(self.created)
            + bool_len(self.canceled)
            + int64_len(self.compact_revision)
            + bytes_len(self.cancel_reason.as_bytes())
            + bool_len(self.fragment)
    }
}

/// Encoded length of an event in a `WatchResponse`.
pub(crate) fn event_len(event: &Event) -> usize {
    delimited_len(event_body_len(event))
}

fn event_body_len(event: &Event) -> usize {
    let kind = match event.kind {
        EventKind::Put => 0,
        EventKind::Delete => 2,
    };
    kind + delimited_len(kv_len(&event.kv)) + event.prev_kv.as_ref().map_or(0, |kv| delimited_len(kv_len(kv)))
}

fn encode_event_body(event: &Event, buf: &mut impl BufMut) {
    match event.kind {
        EventKind::Put => {}
        EventKind::Delete => encoding::int32::encode(1, &(mvccpb::event::EventType::Delete as i32), buf),
    }
    encode_key(2, WireType::LengthDelimited, buf);
    encode_varint(kv_len(&event.kv) as u64, buf);
    encode_kv(&event.kv, buf);
    if let Some(kv) = &event.prev_kv {
        encode_key(3, WireType::LengthDelimited, buf);
        encode_varint(kv_len(kv) as u64, buf);
        encode_kv(kv, buf);
    }
}

/// An event as a client reads it; what is neither put nor delete counts as a put.
fn decoded_event(event: mvccpb::Event) -> Event {
    let kind = match event.r#type() {
        mvccpb::event::EventType::Put => EventKind::Put,
        mvccpb::event::EventType::Delete => EventKind::Delete,
    };
    Event { kind, kv: event.kv.unwrap_or_default().0, prev_kv: event.prev_kv.map(|kv| kv.0) }
}

/// Length of a field whose number is below 16 and whose content has `body` bytes.
fn delimited_len(body: usize) -> usize {
    1 + encoded_len_varint(body as u64) + body
}

fn encode_bytes(tag: u32, bytes: &[u8], buf: &mut impl BufMut) {
    if !bytes.is_empty() {
        encode_key(tag, WireType::LengthDelimited, buf);
        encode_varint(bytes.len() as u64, buf);
        buf.put_slice(bytes);
    }
}

fn bytes_len(bytes: &[u8]) -> usize {
    if bytes.is_empty() { 0 } else { delimited_len(bytes.len()) }
}

fn encode_int64(tag: u32, number: i64, buf: &mut impl BufMut) {
    if number != 0 {
        encoding::int64::encode(tag, &number, buf);
    }
}

fn int64_len(number: i64) -> usize {
    if number == 0 { 0 } else { 1 + encoded_len_varint(number.cast_unsigned()) }
}

fn encode_bool(tag: u32, flag: bool, buf: &mut impl BufMut) {
    if flag {
        encoding::bool::encode(tag, &flag, buf);
    }
}

fn bool_len(flag: bool) -> usize {
    if flag { 2 } else { 0 }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
