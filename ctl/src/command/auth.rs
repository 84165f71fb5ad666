//! `auth`.

use holdfast_core::status::Status as Refusal;
use holdfast_net::proto::etcdserverpb as pb;

use crate::cli::given::Given;
use crate::cli::spec::{Group, Spec};
use crate::client::{CallError, Client};
use crate::exit::{Exit, Outcome};
use crate::output::print_line;

pub static SPEC: Spec = Spec::holder(
    "auth <enable or disable>",
    "Switches authentication on or off",
    &[&ENABLE, &DISABLE, &STATUS],
)
.group(Group::Authentication);

static ENABLE: Spec = Spec::leaf("enable", "Switches authentication on", |given| Box::pin(enable(given)));
static DISABLE: Spec = Spec::leaf("disable", "Switches authentication off", |given| Box::pin(disable(given)));
static STATUS: Spec = Spec::leaf("status", "Whether authentication is on", |given| Box::pin(status(given)));

fn check_no_words(given: &Given, name: &str) -> Outcome {
    if given.os_words().is_empty() {
        return Ok(());
    }
    Err(Exit::arguments(format!("auth {name} command does not accept any arguments")))
}

async fn enable(given: &Given) -> Outcome {
    check_no_words(given, "enable")?;
    let (client, _) = given.connect_bounded().await?;
    while let Err(error) = client.auth_enable(pb::AuthEnableRequest {}).await {
        if !error.is(Refusal::RootRoleNotExist) {
            return Err(error.into());
        }
        make_root(&client).await?;
    }
    print_line("Authentication Enabled")
}

/// Without it nobody could switch authentication off again.
async fn make_root(client: &Client) -> Result<(), CallError> {
    let (name, user, role) = ("root".to_owned(), "root".to_owned(), "root".to_owned());
    client.role_add(pb::AuthRoleAddRequest { name }).await?;
    client.user_grant_role(pb::AuthUserGrantRoleRequest { user, role }).await?;
    Ok(())
}

async fn disable(given: &Given) -> Outcome {
    check_no_words(given, "disable")?;
    let (client, _) = given.connect_bounded().await?;
    client.auth_disable(pb::AuthDisableRequest {}).await?;
    print_line("Authentication Disabled")
}

async fn status(given: &Given) -> Outcome {
    check_no_words(given, "status")?;
    let (client, printer) = given.connect_bounded().await?;
    printer.print(&client.auth_status(pb::AuthStatusRequest {}).await?)
}
