//! `move-leader`.

use holdfast_net::proto::etcdserverpb as pb;

use crate::cli::given::Given;
use crate::cli::globals;
use crate::cli::spec::{Group, Spec};
use crate::client::Client;
use crate::exit::{Exit, Outcome};
use crate::go::number::parse_uint;
use crate::output::LeaderMoved;

pub static SPEC: Spec =
    Spec::leaf("move-leader <transferee-member-id>", "Hands leadership to another member", |given| {
        Box::pin(move_leader(given))
    })
    .group(Group::ClusterMaintenance);

/// Only the leader itself can be asked, so it is looked for among the endpoints.
async fn move_leader(given: &Given) -> Outcome {
    let words = given.texts();
    let [target] = words.as_slice() else {
        return Err(Exit::arguments("move-leader command needs 1 argument"));
    };
    let target = parse_uint(target, 16).map_err(Exit::arguments)?;
    let config = globals::config(given).await?;
    let printer = given.printer()?;
    for endpoint in &config.endpoints {
        let client = Client::new(config.at(endpoint)).await?.until(given.deadline());
        let status = client.status(pb::StatusRequest {}).await?;
        let member = status.header.map_or(0, |header| header.member_id);
        if member == status.leader {
            let answer = client.move_leader(pb::MoveLeaderRequest { target_id: target }).await?;
            return printer.print(&LeaderMoved { from: member, to: target, answer });
        }
    }
    Err(Exit::arguments(format!("no leader endpoint given at [{}]", config.endpoints.join(" "))))
}
