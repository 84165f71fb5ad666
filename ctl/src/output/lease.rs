//! Leases. Their JSON has the header's fields beside its own.

use holdfast_net::proto::etcdserverpb as pb;
use prost::Message as _;

use super::{Answer, Lines, Style, Unsupported, headed, header_fields, header_json, hex16, lease_field};
use crate::go::json::{self, Object};

/// All that etcdctl gives of a lease in protobuf: its own type has no message but the header in it.
fn header_bytes(header: Option<pb::ResponseHeader>) -> Vec<u8> {
    header.unwrap_or_default().encode_to_vec()
}

fn flat(header: Option<&pb::ResponseHeader>) -> Object {
    header.map_or_else(Object::new, header_json)
}

impl Answer for pb::LeaseGrantResponse {
    fn simple(&self, out: &mut Lines) {
        out.line(format!("lease {} granted with TTL({}s)", hex16(self.id), self.ttl));
    }

    fn fields(&self, out: &mut Lines) -> Result<(), Unsupported> {
        header_fields(out, self.header.as_ref());
        lease_field(out, "ID", self.id);
        out.field("TTL", self.ttl);
        Ok(())
    }

    fn json(&self, _style: Style) -> Result<String, Unsupported> {
        let object = flat(self.header.as_ref()).raw("ID", self.id).raw("TTL", self.ttl);
        Ok(object.raw("Error", json::string(&self.error)).to_string())
    }

    fn protobuf(&self) -> Result<Vec<u8>, Unsupported> {
        Ok(header_bytes(self.header))
    }
}

/// The answer does not repeat which lease it was.
pub struct Revoked {
    pub id: i64,
    pub answer: pb::LeaseRevokeResponse,
}

impl Answer for Revoked {
    fn simple(&self, out: &mut Lines) {
        out.line(format!("lease {} revoked", hex16(self.id)));
    }

    fn fields(&self, out: &mut Lines) -> Result<(), Unsupported> {
        header_fields(out, self.answer.header.as_ref());
        Ok(())
    }

    fn json(&self, _style: Style) -> Result<String, Unsupported> {
        Ok(headed(self.answer.header.as_ref()).to_string())
    }

    fn protobuf(&self) -> Result<Vec<u8>, Unsupported> {
        Err(Unsupported::Message("*clientv3.LeaseRevokeResponse"))
    }
}

pub struct Renewed(pub pb::LeaseKeepAliveResponse);

impl Answer for Renewed {
    fn simple(&self, out: &mut Lines) {
        out.line(format!("lease {} keepalived with TTL({})", hex16(self.0.id), self.0.ttl));
    }

    fn fields(&self, out: &mut Lines) -> Result<(), Unsupported> {
        header_fields(out, self.0.header.as_ref());
        lease_field(out, "ID", self.0.id);
        out.field("TTL", self.0.ttl);
        Ok(())
    }

    fn json(&self, _style: Style) -> Result<String, Unsupported> {
        Ok(flat(self.0.header.as_ref()).raw("ID", self.0.id).raw("TTL", self.0.ttl).to_string())
    }

    fn protobuf(&self) -> Result<Vec<u8>, Unsupported> {
        Ok(header_bytes(self.0.header))
    }
}

/// The answer, and whether the keys were asked for.
impl Answer for (pb::LeaseTimeToLiveResponse, bool) {
    fn simple(&self, out: &mut Lines) {
        let (answer, with_keys) = self;
        let id = hex16(answer.id);
        if answer.granted_ttl == 0 && answer.ttl == -1 {
            out.line(format!("lease {id} already expired"));
            return;
        }
        out.raw(format!("lease {id} granted with TTL({}s), remaining({}s)", answer.granted_ttl, answer.ttl));
        if *with_keys {
            out.raw(", attached keys([");
            out.raw(answer.keys.join(&b' '));
            out.raw("])");
        }
        out.line("");
    }

    fn fields(&self, out: &mut Lines) -> Result<(), Unsupported> {
        let (answer, _) = self;
        header_fields(out, answer.header.as_ref());
        lease_field(out, "ID", answer.id);
        out.field("TTL", answer.ttl);
        out.field("GrantedTTL", answer.granted_ttl);
        for key in &answer.keys {
            out.quoted("Key", key);
        }
        Ok(())
    }

    fn json(&self, _style: Style) -> Result<String, Unsupported> {
        let (answer, _) = self;
        let keys = if answer.keys.is_empty() {
            "null".to_owned()
        } else {
            json::list(answer.keys.iter().map(|key| json::bytes(key)))
        };
        let object = flat(answer.header.as_ref()).raw("id", answer.id).raw("ttl", answer.ttl);
        Ok(object.raw("granted-ttl", answer.granted_ttl).raw("keys", keys).to_string())
    }

    fn protobuf(&self) -> Result<Vec<u8>, Unsupported> {
        Ok(header_bytes(self.0.header))
    }
}

impl Answer for pb::LeaseLeasesResponse {
    fn simple(&self, out: &mut Lines) {
        out.line(format!("found {} leases", self.leases.len()));
        for lease in &self.leases {
            out.line(hex16(lease.id));
        }
    }

    fn fields(&self, out: &mut Lines) -> Result<(), Unsupported> {
        header_fields(out, self.header.as_ref());
        for lease in &self.leases {
            lease_field(out, "ID", lease.id);
        }
        Ok(())
    }

    fn json(&self, _style: Style) -> Result<String, Unsupported> {
        let leases = json::list(self.leases.iter().map(|lease| Object::new().raw("id", lease.id)));
        Ok(flat(self.header.as_ref()).raw("leases", leases).to_string())
    }

    fn protobuf(&self) -> Result<Vec<u8>, Unsupported> {
        Ok(header_bytes(self.header))
    }
}
