//! Keys and values: get, put, del, txn.

use holdfast_core::base;
use holdfast_net::proto::etcdserverpb as pb;
use pb::response_op::Response as Op;
use prost::Message as _;

use super::{Answer, Lines, Style, Unsupported, headed, header_fields, lease_field};
use crate::go::json::{self, Object};

pub fn simple_kv(out: &mut Lines, kv: &base::KeyValue) {
    let hex = out.style.hex;
    let shown = |bytes: &[u8]| if hex { escaped(bytes) } else { bytes.to_vec() };
    if !out.style.value_only {
        out.line(shown(&kv.key));
    }
    out.line(shown(&kv.value));
}

/// `\x66\x6f`.
fn escaped(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>().into_bytes()
}

/// `prefix` stands before each name: `Prev` for what was there before.
pub fn kv_fields(out: &mut Lines, prefix: &str, kv: &base::KeyValue) {
    out.quoted(&format!("{prefix}Key"), &kv.key);
    out.field(&format!("{prefix}CreateRevision"), kv.create_revision);
    out.field(&format!("{prefix}ModRevision"), kv.mod_revision);
    out.field(&format!("{prefix}Version"), kv.version);
    out.quoted(&format!("{prefix}Value"), &kv.value);
    lease_field(out, &format!("{prefix}Lease"), kv.lease.0);
}

pub fn kv_json(kv: &base::KeyValue) -> Object {
    Object::new()
        .bytes("key", &kv.key)
        .number("create_revision", kv.create_revision)
        .number("mod_revision", kv.mod_revision)
        .number("version", kv.version)
        .bytes("value", &kv.value)
        .number("lease", kv.lease.0)
}

fn range_json(answer: &pb::RangeResponse) -> Object {
    headed(answer.header.as_ref())
        .list("kvs", answer.kvs.iter().map(|kv| kv_json(kv)))
        .flag("more", answer.more)
        .number("count", answer.count)
}

fn put_json(answer: &pb::PutResponse) -> Object {
    headed(answer.header.as_ref()).object("prev_kv", answer.prev_kv.as_ref().map(|kv| kv_json(kv)))
}

fn delete_json(answer: &pb::DeleteRangeResponse) -> Object {
    headed(answer.header.as_ref())
        .number("deleted", answer.deleted)
        .list("prev_kvs", answer.prev_kvs.iter().map(|kv| kv_json(kv)))
}

fn txn_json(answer: &pb::TxnResponse) -> Object {
    headed(answer.header.as_ref())
        .flag("succeeded", answer.succeeded)
        .list("responses", answer.responses.iter().map(|op| Object::new().raw("Response", op_json(op))))
}

fn op_json(op: &pb::ResponseOp) -> Object {
    let object = Object::new();
    match &op.response {
        Some(Op::ResponseRange(answer)) => object.raw("response_range", range_json(answer)),
        Some(Op::ResponsePut(answer)) => object.raw("response_put", put_json(answer)),
        Some(Op::ResponseDeleteRange(answer)) => object.raw("response_delete_range", delete_json(answer)),
        Some(Op::ResponseTxn(answer)) => object.raw("response_txn", txn_json(answer)),
        None => object,
    }
}

impl Answer for pb::RangeResponse {
    fn simple(&self, out: &mut Lines) {
        for kv in &self.kvs {
            simple_kv(out, kv);
        }
    }

    fn fields(&self, out: &mut Lines) -> Result<(), Unsupported> {
        header_fields(out, self.header.as_ref());
        for kv in &self.kvs {
            kv_fields(out, "", kv);
        }
        out.field("More", self.more);
        out.field("Count", self.count);
        Ok(())
    }

    fn json(&self, _style: Style) -> Result<String, Unsupported> {
        Ok(range_json(self).to_string())
    }

    fn protobuf(&self) -> Result<Vec<u8>, Unsupported> {
        Ok(self.encode_to_vec())
    }
}

impl Answer for pb::PutResponse {
    fn simple(&self, out: &mut Lines) {
        out.line("OK");
        if let Some(kv) = &self.prev_kv {
            simple_kv(out, kv);
        }
    }

    fn fields(&self, out: &mut Lines) -> Result<(), Unsupported> {
        header_fields(out, self.header.as_ref());
        if let Some(kv) = &self.prev_kv {
            kv_fields(out, "Prev", kv);
        }
        Ok(())
    }

    fn json(&self, _style: Style) -> Result<String, Unsupported> {
        Ok(put_json(self).to_string())
    }

    fn protobuf(&self) -> Result<Vec<u8>, Unsupported> {
        Ok(self.encode_to_vec())
    }
}

impl Answer for pb::DeleteRangeResponse {
    fn simple(&self, out: &mut Lines) {
        out.line(self.deleted.to_string());
        for kv in &self.prev_kvs {
            simple_kv(out, kv);
        }
    }

    fn fields(&self, out: &mut Lines) -> Result<(), Unsupported> {
        header_fields(out, self.header.as_ref());
        out.field("Deleted", self.deleted);
        for kv in &self.prev_kvs {
            kv_fields(out, "Prev", kv);
        }
        Ok(())
    }

    fn json(&self, _style: Style) -> Result<String, Unsupported> {
        Ok(delete_json(self).to_string())
    }

    fn protobuf(&self) -> Result<Vec<u8>, Unsupported> {
        Ok(self.encode_to_vec())
    }
}

impl Answer for pb::TxnResponse {
    fn simple(&self, out: &mut Lines) {
        out.line(if self.succeeded { "SUCCESS" } else { "FAILURE" });
        for op in &self.responses {
            out.line("");
            match &op.response {
                Some(Op::ResponseRange(answer)) => answer.simple(out),
                Some(Op::ResponsePut(answer)) => answer.simple(out),
                Some(Op::ResponseDeleteRange(answer)) => answer.simple(out),
                Some(Op::ResponseTxn(answer)) => answer.simple(out),
                None => out.line("unexpected response"),
            }
        }
    }

    fn fields(&self, out: &mut Lines) -> Result<(), Unsupported> {
        header_fields(out, self.header.as_ref());
        out.field("Succeeded", self.succeeded);
        for op in &self.responses {
            match &op.response {
                Some(Op::ResponseRange(answer)) => answer.fields(out)?,
                Some(Op::ResponsePut(answer)) => answer.fields(out)?,
                Some(Op::ResponseDeleteRange(answer)) => answer.fields(out)?,
                Some(Op::ResponseTxn(answer)) => answer.fields(out)?,
                None => out.field("Unknown", json::string("no answer")),
            }
        }
        Ok(())
    }

    fn json(&self, _style: Style) -> Result<String, Unsupported> {
        Ok(txn_json(self).to_string())
    }

    fn protobuf(&self) -> Result<Vec<u8>, Unsupported> {
        Ok(self.encode_to_vec())
    }
}
