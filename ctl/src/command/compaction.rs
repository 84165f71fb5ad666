//! `compaction`.

use holdfast_net::proto::etcdserverpb as pb;

use crate::cli::given::Given;
use crate::cli::spec::{Flag, Group, Spec};
use crate::exit::{Exit, Outcome};
use crate::go::number::parse_int;
use crate::output::print_line;

pub static SPEC: Spec =
    Spec::leaf("compaction [options] <revision>", "Forgets history up to a revision", |given| {
        Box::pin(compaction(given))
    })
    .group(Group::KeyValue)
    .flags(&[Flag::bool("physical", "wait until the old revisions are gone from the disk")]);

async fn compaction(given: &Given) -> Outcome {
    let words = given.texts();
    let [revision] = words.as_slice() else {
        return Err(Exit::arguments("compaction command needs 1 argument"));
    };
    let revision = parse_int(revision, 10).map_err(Exit::error)?;
    let (client, _) = given.connect_bounded().await?;
    client.compact(pb::CompactionRequest { revision, physical: given.bool("physical") }).await?;
    print_line(&format!("compacted revision {revision}"))
}
