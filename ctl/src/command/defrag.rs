//! `defrag`.

use holdfast_net::proto::etcdserverpb as pb;
use tokio::time::Instant;

use super::endpoint::{CLUSTER, endpoints};
use crate::cli::given::Given;
use crate::cli::globals;
use crate::cli::spec::{Group, Spec};
use crate::client::Client;
use crate::exit::{Exit, Outcome};
use crate::go::duration;
use crate::output::{print_line, tell};

pub static SPEC: Spec = Spec::leaf("defrag", "Gives unused space of the endpoints' storage back", |given| {
    Box::pin(defrag(given))
})
.group(Group::ClusterMaintenance)
.persistent_flags(&[CLUSTER]);

/// One after the other: a member does not serve meanwhile.
async fn defrag(given: &Given) -> Outcome {
    let config = globals::config(given).await?;
    given.printer()?;
    let mut failed = false;
    for endpoint in endpoints(given, &config).await? {
        let client = Client::new(config.at(&endpoint)).await?;
        let began = Instant::now();
        let client = client.until(began + given.duration("command-timeout"));
        let answer = client.defragment(pb::DefragmentRequest {}).await;
        let took = duration::format(began.elapsed());
        match answer {
            Ok(_) => print_line(&format!("Finished defragmenting etcd member[{endpoint}]. took {took}"))?,
            Err(error) => {
                tell(&format!("Failed to defragment etcd member[{endpoint}]. took {took}. ({error})"));
                failed = true;
            }
        }
    }
    if failed { Err(Exit::silent(1)) } else { Ok(()) }
}
