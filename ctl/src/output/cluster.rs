//! Members.

use holdfast_net::proto::etcdserverpb as pb;
use prost::Message as _;

use super::table::Table;
use super::{Answer, Lines, Style, Unsupported, headed, header_fields, header_json, id_field};
use crate::go::json::{self, Object};

/// What was done to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberChange {
    Removed,
    Updated,
    Promoted,
}

/// The answer does not repeat which member it was.
pub struct MemberChanged {
    pub change: MemberChange,
    pub id: u64,
    pub header: Option<pb::ResponseHeader>,
    pub members: Vec<pb::Member>,
}

fn member_json(member: &pb::Member, hex: bool) -> Object {
    let object = Object::new();
    let object = if hex {
        object.raw("ID", json::string(&format!("{:x}", member.id)))
    } else {
        object.number("ID", member.id)
    };
    object
        .text("name", &member.name)
        .list("peerURLs", member.peer_ur_ls.iter().map(|url| json::string(url)))
        .list("clientURLs", member.client_ur_ls.iter().map(|url| json::string(url)))
        .flag("isLearner", member.is_learner)
}

fn hex_header(header: Option<&pb::ResponseHeader>) -> String {
    let Some(header) = header else { return "null".to_owned() };
    Object::new()
        .raw("cluster_id", json::string(&format!("{:x}", header.cluster_id)))
        .raw("member_id", json::string(&format!("{:x}", header.member_id)))
        .number("revision", header.revision)
        .number("raft_term", header.raft_term)
        .to_string()
}

/// With `--hex`, ids are strings and nothing is left out.
fn members_json(
    header: Option<&pb::ResponseHeader>,
    added: Option<&pb::Member>,
    members: &[pb::Member],
    hex: bool,
) -> String {
    let list = members.iter().map(|member| member_json(member, hex));
    if !hex {
        let object = headed(header).object("member", added.map(|member| member_json(member, false)));
        return object.list("members", list).to_string();
    }
    let object = Object::new().raw("header", hex_header(header));
    let object = object.object("member", added.map(|member| member_json(member, true)));
    object.raw("members", json::list(list)).to_string()
}

impl Answer for pb::MemberAddResponse {
    fn simple(&self, out: &mut Lines) {
        let member = self.member.clone().unwrap_or_default();
        let how = if member.is_learner { " as learner " } else { " " };
        let cluster = self.header.map_or(0, |header| header.cluster_id);
        out.line(format!("Member {:16x} added{how}to cluster {cluster:16x}", member.id));
    }

    fn json(&self, style: Style) -> Result<String, Unsupported> {
        Ok(members_json(self.header.as_ref(), self.member.as_ref(), &self.members, style.hex))
    }

    fn protobuf(&self) -> Result<Vec<u8>, Unsupported> {
        Ok(self.encode_to_vec())
    }
}

impl Answer for MemberChanged {
    fn simple(&self, out: &mut Lines) {
        let done = match self.change {
            MemberChange::Removed => "removed from",
            MemberChange::Updated => "updated in",
            MemberChange::Promoted => "promoted in",
        };
        let cluster = self.header.map_or(0, |header| header.cluster_id);
        out.line(format!("Member {:16x} {done} cluster {cluster:16x}", self.id));
    }

    fn json(&self, style: Style) -> Result<String, Unsupported> {
        Ok(members_json(self.header.as_ref(), None, &self.members, style.hex))
    }

    fn protobuf(&self) -> Result<Vec<u8>, Unsupported> {
        // The three answers have the same fields.
        let message = pb::MemberListResponse { header: self.header, members: self.members.clone() };
        Ok(message.encode_to_vec())
    }
}

impl Answer for pb::MemberListResponse {
    fn simple(&self, out: &mut Lines) {
        out.raw(member_table(self).comma_lines());
    }

    fn fields(&self, out: &mut Lines) -> Result<(), Unsupported> {
        header_fields(out, self.header.as_ref());
        for member in &self.members {
            id_field(out, "ID", member.id);
            out.quoted("Name", member.name.as_bytes());
            for url in &member.peer_ur_ls {
                out.quoted("PeerURL", url.as_bytes());
            }
            for url in &member.client_ur_ls {
                out.quoted("ClientURL", url.as_bytes());
            }
            out.field("IsLearner", member.is_learner);
            out.line("");
        }
        Ok(())
    }

    fn json(&self, style: Style) -> Result<String, Unsupported> {
        Ok(members_json(self.header.as_ref(), None, &self.members, style.hex))
    }

    fn protobuf(&self) -> Result<Vec<u8>, Unsupported> {
        Ok(self.encode_to_vec())
    }

    fn table(&self) -> Result<Table, Unsupported> {
        Ok(member_table(self))
    }
}

fn member_table(answer: &pb::MemberListResponse) -> Table {
    let row = |member: &pb::Member| {
        // A member tells its name when it first starts.
        let status = if member.name.is_empty() { "unstarted" } else { "started" };
        vec![
            format!("{:x}", member.id),
            status.to_owned(),
            member.name.clone(),
            member.peer_ur_ls.join(","),
            member.client_ur_ls.join(","),
            member.is_learner.to_string(),
        ]
    };
    Table {
        header: &["ID", "Status", "Name", "Peer Addrs", "Client Addrs", "Is Learner"],
        rows: answer.members.iter().map(row).collect(),
    }
}

/// For answers that are nothing but a header.
pub fn header_only(header: Option<&pb::ResponseHeader>) -> String {
    Object::new().object("header", header.map(header_json)).to_string()
}
