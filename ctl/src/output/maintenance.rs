//! Alarms, leadership, downgrades.

use holdfast_net::proto::etcdserverpb as pb;
use prost::Message as _;

use super::cluster::header_only;
use super::{Answer, Lines, Style, Unsupported, headed, header_fields, id_field};
use crate::go::json::Object;

fn alarm_name(alarm: i32) -> String {
    match pb::AlarmType::try_from(alarm) {
        Ok(alarm) => alarm.as_str_name().to_owned(),
        Err(_) => alarm.to_string(),
    }
}

impl Answer for pb::AlarmResponse {
    fn simple(&self, out: &mut Lines) {
        for alarm in &self.alarms {
            // The text form of protobuf, which leaves out what is zero.
            let mut parts = Vec::new();
            if alarm.member_id != 0 {
                parts.push(format!("memberID:{}", alarm.member_id));
            }
            if alarm.alarm != 0 {
                parts.push(format!("alarm:{}", alarm_name(alarm.alarm)));
            }
            out.line(parts.join(" "));
        }
    }

    fn fields(&self, out: &mut Lines) -> Result<(), Unsupported> {
        header_fields(out, self.header.as_ref());
        for alarm in &self.alarms {
            id_field(out, "MemberID", alarm.member_id);
            out.field("AlarmType", alarm_name(alarm.alarm));
            out.line("");
        }
        Ok(())
    }

    fn json(&self, _style: Style) -> Result<String, Unsupported> {
        let alarms = self
            .alarms
            .iter()
            .map(|alarm| Object::new().number("memberID", alarm.member_id).number("alarm", alarm.alarm));
        Ok(headed(self.header.as_ref()).list("alarms", alarms).to_string())
    }

    fn protobuf(&self) -> Result<Vec<u8>, Unsupported> {
        Ok(self.encode_to_vec())
    }
}

pub struct LeaderMoved {
    pub from: u64,
    pub to: u64,
    pub answer: pb::MoveLeaderResponse,
}

impl Answer for LeaderMoved {
    fn simple(&self, out: &mut Lines) {
        out.line(format!("Leadership transferred from {:x} to {:x}", self.from, self.to));
    }

    fn json(&self, _style: Style) -> Result<String, Unsupported> {
        Ok(header_only(self.answer.header.as_ref()))
    }

    fn protobuf(&self) -> Result<Vec<u8>, Unsupported> {
        Ok(self.answer.encode_to_vec())
    }
}

pub struct Downgraded {
    /// `validate`, `enable` or `cancel`.
    pub action: &'static str,
    pub answer: pb::DowngradeResponse,
}

impl Answer for Downgraded {
    fn simple(&self, out: &mut Lines) {
        out.line(format!("Downgrade {} success, cluster version {}", self.action, self.answer.version));
    }

    fn json(&self, _style: Style) -> Result<String, Unsupported> {
        Ok(headed(self.answer.header.as_ref()).text("version", &self.answer.version).to_string())
    }

    fn protobuf(&self) -> Result<Vec<u8>, Unsupported> {
        Ok(self.answer.encode_to_vec())
    }
}
