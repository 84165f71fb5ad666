//! Events.

use holdfast_core::boundary::{Event, EventKind};
use holdfast_net::proto::etcdserverpb as pb;
use prost::Message as _;

use super::kv::{kv_fields, kv_json, simple_kv};
use super::{Answer, Lines, Style, Unsupported, header_fields, header_json};
use crate::client::watch::Told;
use crate::go::json::{self, Object};

/// `PUT` or `DELETE`.
pub fn kind_name(event: &Event) -> &'static str {
    match event.kind {
        EventKind::Put => "PUT",
        EventKind::Delete => "DELETE",
    }
}

fn event_json(event: &Event) -> Object {
    Object::new()
        .number("type", i32::from(event.kind == EventKind::Delete))
        .raw("kv", kv_json(&event.kv))
        .object("prev_kv", event.prev_kv.as_ref().map(kv_json))
}

impl Answer for Told {
    fn simple(&self, out: &mut Lines) {
        for event in &self.events {
            out.line(kind_name(event));
            if let Some(kv) = &event.prev_kv {
                simple_kv(out, kv);
            }
            simple_kv(out, &event.kv);
        }
    }

    fn fields(&self, out: &mut Lines) -> Result<(), Unsupported> {
        header_fields(out, self.header.as_ref());
        for event in &self.events {
            out.field("Type", kind_name(event));
            if let Some(kv) = &event.prev_kv {
                kv_fields(out, "Prev", kv);
            }
            kv_fields(out, "", &event.kv);
        }
        Ok(())
    }

    fn json(&self, _style: Style) -> Result<String, Unsupported> {
        let header = self.header.as_ref().map_or("null".to_owned(), |header| header_json(header).to_string());
        let events = if self.events.is_empty() {
            "null".to_owned()
        } else {
            json::list(self.events.iter().map(event_json))
        };
        Ok(Object::new()
            .raw("Header", header)
            .raw("Events", events)
            .raw("CompactRevision", self.compact_revision)
            .raw("Canceled", self.canceled)
            .raw("Created", false)
            .raw("CancelReason", json::string(&self.cancel_reason))
            .to_string())
    }

    fn protobuf(&self) -> Result<Vec<u8>, Unsupported> {
        let message = pb::WatchResponse {
            header: self.header,
            compact_revision: self.compact_revision,
            canceled: self.canceled,
            events: std::sync::Arc::new(self.events.clone()).into(),
            ..pb::WatchResponse::default()
        };
        Ok(message.encode_to_vec())
    }
}
