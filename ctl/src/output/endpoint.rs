//! What each endpoint says of itself.

use holdfast_net::proto::etcdserverpb as pb;

use super::table::Table;
use super::{Answer, Lines, Style, Unsupported, headed, header_fields};
use crate::go::humanize;
use crate::go::json::{self, Object};

/// An answer and the endpoint that gave it.
pub struct Located<T> {
    pub endpoint: String,
    pub answer: T,
}

/// Whether an endpoint does its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    pub endpoint: String,
    pub healthy: bool,
    /// As Go prints durations.
    pub took: String,
    /// Empty if all is well.
    pub error: String,
}

impl Answer for Vec<Health> {
    fn simple(&self, out: &mut Lines) {
        for health in self {
            let Health { endpoint, took, error, .. } = health;
            if error.is_empty() {
                out.line(format!("{endpoint} is healthy: successfully committed proposal: took = {took}"));
            } else {
                out.error_line(&format!("{endpoint} is unhealthy: failed to commit proposal: {error}"));
            }
        }
    }

    fn fields(&self, out: &mut Lines) -> Result<(), Unsupported> {
        for health in self {
            out.quoted("Endpoint", health.endpoint.as_bytes());
            out.field("Health", health.healthy);
            out.field("Took", &health.took);
            out.field("Error", &health.error);
            out.line("");
        }
        Ok(())
    }

    fn json(&self, _style: Style) -> Result<String, Unsupported> {
        Ok(json::list(self.iter().map(|health| {
            Object::new()
                .raw("endpoint", json::string(&health.endpoint))
                .raw("health", health.healthy)
                .raw("took", json::string(&health.took))
                .text("error", &health.error)
        })))
    }

    fn table(&self) -> Result<Table, Unsupported> {
        let row = |health: &Health| {
            let Health { endpoint, healthy, took, error } = health.clone();
            vec![endpoint, healthy.to_string(), took, error]
        };
        Ok(Table { header: &["endpoint", "health", "took", "error"], rows: self.iter().map(row).collect() })
    }
}

/// Nobody answering is `null`, as a list that was never begun is in Go.
fn list_or_null(items: Vec<Object>) -> String {
    if items.is_empty() { "null".to_owned() } else { json::list(items) }
}

impl Answer for Vec<Located<pb::StatusResponse>> {
    fn simple(&self, out: &mut Lines) {
        out.raw(status_table(self).comma_lines());
    }

    fn fields(&self, out: &mut Lines) -> Result<(), Unsupported> {
        for Located { endpoint, answer } in self {
            header_fields(out, answer.header.as_ref());
            out.quoted("Version", answer.version.as_bytes());
            out.quoted("StorageVersion", answer.storage_version.as_bytes());
            out.field("DBSize", answer.db_size);
            out.field("DBSizeInUse", answer.db_size_in_use);
            out.field("DBSizeQuota", answer.db_size_quota);
            out.field("Leader", answer.leader);
            out.field("IsLearner", answer.is_learner);
            out.field("RaftIndex", answer.raft_index);
            // Twice, for the header has it too: so does 3.7.1.
            out.field("RaftTerm", answer.raft_term);
            out.field("RaftAppliedIndex", answer.raft_applied_index);
            out.field("Errors", format!("[{}]", answer.errors.join(" ")));
            out.quoted("Endpoint", endpoint.as_bytes());
            let downgrade = answer.downgrade_info.clone().unwrap_or_default();
            out.quoted("DowngradeTargetVersion", downgrade.target_version.as_bytes());
            out.field("DowngradeEnabled", downgrade.enabled);
            out.line("");
        }
        Ok(())
    }

    fn json(&self, _style: Style) -> Result<String, Unsupported> {
        let item = |located: &Located<pb::StatusResponse>| {
            let object = Object::new().raw("Endpoint", json::string(&located.endpoint));
            object.raw("Status", status_json(&located.answer))
        };
        Ok(list_or_null(self.iter().map(item).collect()))
    }

    fn table(&self) -> Result<Table, Unsupported> {
        Ok(status_table(self))
    }
}

fn status_json(status: &pb::StatusResponse) -> Object {
    let downgrade = status
        .downgrade_info
        .as_ref()
        .map(|info| Object::new().flag("enabled", info.enabled).text("targetVersion", &info.target_version));
    headed(status.header.as_ref())
        .text("version", &status.version)
        .number("dbSize", status.db_size)
        .number("leader", status.leader)
        .number("raftIndex", status.raft_index)
        .number("raftTerm", status.raft_term)
        .number("raftAppliedIndex", status.raft_applied_index)
        .list("errors", status.errors.iter().map(|error| json::string(error)))
        .number("dbSizeInUse", status.db_size_in_use)
        .flag("isLearner", status.is_learner)
        .text("storageVersion", &status.storage_version)
        .number("dbSizeQuota", status.db_size_quota)
        .object("downgradeInfo", downgrade)
}

const STATUS_HEADER: &[&str] = &[
    "endpoint",
    "ID",
    "version",
    "storage version",
    "db size",
    "in use",
    "percentage not in use",
    "quota",
    "is leader",
    "is learner",
    "raft term",
    "raft index",
    "raft applied index",
    "errors",
    "downgrade target version",
    "downgrade enabled",
];

fn status_table(all: &[Located<pb::StatusResponse>]) -> Table {
    let row = |located: &Located<pb::StatusResponse>| {
        let (status, size) = (&located.answer, |bytes: i64| humanize::bytes(bytes.cast_unsigned()));
        let member = status.header.map_or(0, |header| header.member_id);
        let downgrade = status.downgrade_info.clone().unwrap_or_default();
        let in_use = status.db_size_in_use.saturating_mul(100).checked_div(status.db_size).unwrap_or(100);
        vec![
            located.endpoint.clone(),
            format!("{member:x}"),
            status.version.clone(),
            status.storage_version.clone(),
            size(status.db_size),
            size(status.db_size_in_use),
            format!("{}%", 100 - in_use),
            size(status.db_size_quota),
            (status.leader == member).to_string(),
            status.is_learner.to_string(),
            status.raft_term.to_string(),
            status.raft_index.to_string(),
            status.raft_applied_index.to_string(),
            status.errors.join(", "),
            downgrade.target_version,
            downgrade.enabled.to_string(),
        ]
    };
    Table { header: STATUS_HEADER, rows: all.iter().map(row).collect() }
}

impl Answer for Vec<Located<pb::HashKvResponse>> {
    fn simple(&self, out: &mut Lines) {
        out.raw(hash_table(self).comma_lines());
    }

    fn fields(&self, out: &mut Lines) -> Result<(), Unsupported> {
        for Located { endpoint, answer } in self {
            header_fields(out, answer.header.as_ref());
            out.quoted("Endpoint", endpoint.as_bytes());
            out.field("Hash", answer.hash);
            out.field("HashRevision", answer.hash_revision);
            out.line("");
        }
        Ok(())
    }

    fn json(&self, _style: Style) -> Result<String, Unsupported> {
        let item = |located: &Located<pb::HashKvResponse>| {
            let answer = &located.answer;
            let hash = headed(answer.header.as_ref())
                .number("hash", answer.hash)
                .number("compact_revision", answer.compact_revision)
                .number("hash_revision", answer.hash_revision);
            Object::new().raw("Endpoint", json::string(&located.endpoint)).raw("HashKV", hash)
        };
        Ok(list_or_null(self.iter().map(item).collect()))
    }

    fn table(&self) -> Result<Table, Unsupported> {
        Ok(hash_table(self))
    }
}

fn hash_table(all: &[Located<pb::HashKvResponse>]) -> Table {
    let row = |located: &Located<pb::HashKvResponse>| {
        let answer = &located.answer;
        vec![located.endpoint.clone(), answer.hash.to_string(), answer.hash_revision.to_string()]
    };
    Table { header: &["endpoint", "hash", "hash_revision"], rows: all.iter().map(row).collect() }
}
