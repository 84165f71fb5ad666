//! `alarm`.

use holdfast_net::proto::etcdserverpb as pb;
use pb::alarm_request::AlarmAction;

use crate::cli::given::Given;
use crate::cli::spec::{Group, Spec};
use crate::client::{CallError, Client};
use crate::exit::{Exit, Outcome};

pub static SPEC: Spec =
    Spec::holder("alarm <subcommand>", "Alarms that members have raised", &[&DISARM, &LIST])
        .group(Group::ClusterMaintenance);

static DISARM: Spec = Spec::leaf("disarm", "Disarms all alarms", |given| Box::pin(disarm(given)));
static LIST: Spec = Spec::leaf("list", "Lists all alarms", |given| Box::pin(list(given)));

async fn ask(
    client: &Client,
    action: AlarmAction,
    about: pb::AlarmMember,
) -> Result<pb::AlarmResponse, CallError> {
    let pb::AlarmMember { member_id, alarm } = about;
    client.alarm(pb::AlarmRequest { action: action.into(), member_id, alarm }).await
}

async fn list(given: &Given) -> Outcome {
    if !given.os_words().is_empty() {
        return Err(Exit::arguments("alarm list command accepts no arguments"));
    }
    let (client, printer) = given.connect_bounded().await?;
    printer.print(&ask(&client, AlarmAction::Get, pb::AlarmMember::default()).await?)
}

/// Each alarm by itself: the server knows no "all".
async fn disarm(given: &Given) -> Outcome {
    if !given.os_words().is_empty() {
        return Err(Exit::arguments("alarm disarm command accepts no arguments"));
    }
    let (client, printer) = given.connect_bounded().await?;
    let raised = ask(&client, AlarmAction::Get, pb::AlarmMember::default()).await?;
    let mut disarmed = pb::AlarmResponse::default();
    for alarm in raised.alarms {
        disarmed.alarms.extend(ask(&client, AlarmAction::Deactivate, alarm).await?.alarms);
    }
    printer.print(&disarmed)
}
