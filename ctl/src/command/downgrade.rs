//! `downgrade`.

use holdfast_net::proto::etcdserverpb as pb;
use pb::downgrade_request::DowngradeAction;

use crate::cli::given::Given;
use crate::cli::spec::{Group, Spec};
use crate::exit::{Exit, Outcome};
use crate::output::Downgraded;

pub static SPEC: Spec = Spec::holder(
    "downgrade <TARGET_VERSION>",
    "Takes the cluster to the minor version before this one",
    &[&VALIDATE, &ENABLE, &CANCEL],
)
.group(Group::ClusterMaintenance);

static VALIDATE: Spec =
    Spec::leaf("validate <TARGET_VERSION>", "Whether the cluster could be downgraded", |given| {
        Box::pin(begin(given, DowngradeAction::Validate, "validate"))
    });
static ENABLE: Spec = Spec::leaf("enable <TARGET_VERSION>", "Begins a downgrade", |given| {
    Box::pin(begin(given, DowngradeAction::Enable, "enable"))
});
static CANCEL: Spec = Spec::leaf("cancel", "Ends a downgrade that is under way", |given| {
    Box::pin(downgrade(given, DowngradeAction::Cancel, "cancel", String::new()))
});

async fn begin(given: &Given, action: DowngradeAction, name: &'static str) -> Outcome {
    let version = match given.texts().as_slice() {
        [] => return Err(Exit::arguments("TARGET_VERSION not provided")),
        [version] if version.is_empty() => return Err(Exit::arguments("target version not provided")),
        [version] => version.clone(),
        _ => return Err(Exit::arguments("too many arguments")),
    };
    downgrade(given, action, name, version).await
}

async fn downgrade(given: &Given, action: DowngradeAction, name: &'static str, version: String) -> Outcome {
    let (client, printer) = given.connect_bounded().await?;
    let answer = client.downgrade(pb::DowngradeRequest { action: action.into(), version }).await?;
    printer.print(&Downgraded { action: name, answer })
}
