//! `check`: what a cluster can bear.

pub mod datascale;
pub mod load;
pub mod perf;
pub mod report;

use std::time::Duration;

use holdfast_net::proto::etcdserverpb as pb;
use tokio::time::Instant;

use crate::cli::given::Given;
use crate::cli::spec::{Flag, Group, Spec};
use crate::client::keys::prefix_range;
use crate::client::{CallError, Client};
use crate::exit::{Code, Exit, Outcome};
use crate::output::print_line;

/// How long cleaning up may take.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(30);

pub static SPEC: Spec =
    Spec::holder("check <subcommand>", "What the cluster can bear", &[&perf::SPEC, &datascale::SPEC])
        .group(Group::Utility);

const LOADS: &[&str] = &["s", "m", "l", "xl"];
const LOAD: Flag =
    Flag::text("load", "s", "the load: s(small), m(medium), l(large) or xl(xLarge)").values(LOADS);
const AUTO_COMPACT: Flag = Flag::bool("auto-compact", "compact the history afterwards");
const AUTO_DEFRAG: Flag = Flag::bool("auto-defrag", "defragment the endpoints afterwards");

/// The place of the chosen load in the tables of loads.
fn load(given: &Given) -> Result<usize, Exit> {
    match given.text("load").as_str() {
        "s" | "small" => Ok(0),
        "m" | "medium" => Ok(1),
        "l" | "large" => Ok(2),
        "xl" | "xLarge" => Ok(3),
        other => Err(Exit::new(Code::BadFeature, format!("unknown load option {other}"))),
    }
}

/// Errors: there are keys that the check would delete.
async fn check_no_keys(client: &Client, prefix: &str, quote: &str) -> Outcome {
    let (key, range_end) = prefix_range(prefix.into());
    let request = pb::RangeRequest {
        key: key.into(),
        range_end: range_end.into(),
        limit: 1,
        ..pb::RangeRequest::default()
    };
    if client.range(request).await?.kvs.is_empty() {
        return Ok(());
    }
    let text =
        format!("prefix {prefix:?} has keys. Delete with {quote}etcdctl del --prefix {prefix}{quote} first");
    Err(Exit::new(Code::InvalidInput, text))
}

/// Deletes the check's keys; gives the revision.
async fn delete_keys(client: &Client, prefix: &str) -> Result<i64, CallError> {
    let (key, range_end) = prefix_range(prefix.into());
    let request = pb::DeleteRangeRequest { key: key.into(), range_end: range_end.into(), prev_kv: false };
    let answer = client.unbounded().until(Instant::now() + CLEANUP_TIMEOUT).delete_range(request).await?;
    Ok(answer.header.map_or(0, |header| header.revision))
}

async fn compact(client: &Client, revision: i64) -> Outcome {
    print_line(&format!("Compacting with revision {revision}"))?;
    let client = client.unbounded().until(Instant::now() + CLEANUP_TIMEOUT);
    client.compact(pb::CompactionRequest { revision, physical: true }).await?;
    print_line(&format!("Compacted with revision {revision}"))
}

async fn defragment(client: &Client) -> Outcome {
    for endpoint in &client.config().endpoints {
        print_line(&format!("Defragmenting {endpoint:?}"))?;
        let one = Client::new(client.config().at(endpoint)).await?;
        one.until(Instant::now() + CLEANUP_TIMEOUT).defragment(pb::DefragmentRequest {}).await?;
        print_line(&format!("Defragmented {endpoint:?}"))?;
    }
    Ok(())
}
