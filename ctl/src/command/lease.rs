//! `lease`.

use holdfast_net::proto::etcdserverpb as pb;

use crate::cli::given::Given;
use crate::cli::spec::{Flag, Group, Spec};
use crate::exit::{Code, Exit, Outcome};
use crate::go::number::parse_int;
use crate::output::{Format, Renewed, Revoked, hex16, print_line};

pub static SPEC: Spec = Spec::holder(
    "lease <subcommand>",
    "Leases: keys that live as long as their owner does",
    &[&GRANT, &REVOKE, &TIME_TO_LIVE, &LIST, &KEEP_ALIVE],
)
.group(Group::KeyValue);

static GRANT: Spec = Spec::leaf("grant <ttl>", "Creates a lease", |given| Box::pin(grant(given)));
static REVOKE: Spec =
    Spec::leaf("revoke <leaseID>", "Ends a lease and deletes its keys", |given| Box::pin(revoke(given)));
static TIME_TO_LIVE: Spec =
    Spec::leaf("timetolive <leaseID> [options]", "Shows how long a lease has left", |given| {
        Box::pin(time_to_live(given))
    })
    .flags(&[Flag::bool("keys", "also the keys on it")]);
static LIST: Spec = Spec::leaf("list", "Lists all leases", |given| Box::pin(list(given)));
static KEEP_ALIVE: Spec =
    Spec::leaf("keep-alive [options] <leaseID>", "Keeps a lease alive", |given| Box::pin(keep_alive(given)))
        .flags(&[Flag::bool("once", "renew once and exit")]);

async fn grant(given: &Given) -> Outcome {
    let words = given.texts();
    let [ttl] = words.as_slice() else {
        return Err(Exit::arguments("lease grant command needs TTL argument"));
    };
    let ttl = parse_int(ttl, 10).map_err(|why| Exit::arguments(format!("bad TTL ({why})")))?;
    let (client, printer) = given.connect_bounded().await?;
    let answer = client.lease_grant(pb::LeaseGrantRequest { ttl, id: 0 }).await;
    printer.print(&answer.map_err(|error| Exit::error(format!("failed to grant lease ({error})")))?)
}

/// The one word, read as a lease.
fn one_lease(given: &Given, otherwise: &str) -> Result<i64, Exit> {
    let words = given.texts();
    let [id] = words.as_slice() else { return Err(Exit::arguments(otherwise)) };
    parse_int(id, 16).map_err(|why| Exit::arguments(format!("bad lease ID arg ({why}), expecting ID in Hex")))
}

async fn revoke(given: &Given) -> Outcome {
    let id = one_lease(given, "lease revoke command needs 1 argument")?;
    let (client, printer) = given.connect_bounded().await?;
    let answer = client.lease_revoke(pb::LeaseRevokeRequest { id }).await;
    let answer = answer.map_err(|error| Exit::error(format!("failed to revoke lease ({error})")))?;
    printer.print(&Revoked { id, answer })
}

async fn time_to_live(given: &Given) -> Outcome {
    let id = one_lease(given, "lease timetolive command needs lease ID as argument")?;
    let keys = given.bool("keys");
    let (client, printer) = given.connect().await?;
    let answer = client.lease_time_to_live(pb::LeaseTimeToLiveRequest { id, keys }).await;
    printer.print(&(answer.map_err(bad_connection)?, keys))
}

fn bad_connection(error: impl std::fmt::Display) -> Exit {
    Exit::new(Code::BadConnection, error)
}

async fn list(given: &Given) -> Outcome {
    let (client, printer) = given.connect().await?;
    printer.print(&client.lease_leases(pb::LeaseLeasesRequest {}).await.map_err(bad_connection)?)
}

async fn keep_alive(given: &Given) -> Outcome {
    let id = one_lease(given, "lease keep-alive command needs lease ID as argument")?;
    let (client, printer) = given.connect().await?;
    if given.bool("once") {
        return printer.print(&Renewed(client.keep_alive_once(id).await.map_err(bad_connection)?));
    }
    let (mut answers, _task) = client.keep_alive(id);
    while let Some(answer) = answers.recv().await {
        printer.print(&Renewed(answer))?;
    }
    match printer.format {
        Format::Simple => print_line(&format!("lease {} expired or revoked.", hex16(id))),
        _ => Ok(()),
    }
}
