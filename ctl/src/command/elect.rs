//! `elect`: candidates, and those who want to know who leads.

use holdfast_core::base;
use holdfast_core::boundary::EventKind;
use holdfast_net::proto::etcdserverpb as pb;
use holdfast_net::wire::KeyValue;
use pb::request_op::Request as Op;

use crate::cli::given::Given;
use crate::cli::spec::{Flag, Group, Spec};
use crate::client::keys::prefix_end;
use crate::client::lease::Session;
use crate::client::queue::{Place, compare_created, op};
use crate::client::watch::Watcher;
use crate::client::{CallError, Client};
use crate::exit::{Exit, Outcome};
use crate::output::Printer;
use crate::signals::Signals;

/// How long a candidate outlives its program, if that dies.
const TTL_S: i64 = 60;

pub static SPEC: Spec =
    Spec::leaf("elect <election-name> [proposal]", "Runs for leadership, or watches who leads", |given| {
        Box::pin(elect(given))
    })
    .group(Group::Concurrency)
    .flags(&[Flag::bool("listen", "only watch").short('l')]);

async fn elect(given: &Given) -> Outcome {
    let (words, listen) = (given.words(), given.bool("listen"));
    let (name, proposal) = match words.as_slice() {
        [name] if listen => (name, None),
        [_] => return Err(Exit::arguments("no proposal argument but -l not set")),
        [_, _] if listen => return Err(Exit::arguments("proposal given but -l is set")),
        [name, proposal] => (name, Some(proposal)),
        _ => {
            let text = "elect takes one election name argument and an optional proposal argument";
            return Err(Exit::arguments(text));
        }
    };
    let (client, printer) = given.connect().await?;
    let mut signals = Signals::new().map_err(Exit::error)?;
    let prefix = [name.as_slice(), b"/"].concat();
    match proposal {
        Some(proposal) => campaign(&client, printer, &prefix, proposal, &mut signals).await,
        None => tokio::select! {
            outcome = observe(&client, printer, &prefix) => outcome,
            () = signals.recv() => Ok(()),
        },
    }
}

async fn campaign(
    client: &Client,
    printer: Printer,
    prefix: &[u8],
    proposal: &[u8],
    signals: &mut Signals,
) -> Outcome {
    let mut session = Session::new(client, TTL_S).await?;
    let place = client.take_place(prefix, session.lease, proposal).await?;
    if !place.is_new && place.value != proposal {
        proclaim(client, &place, session.lease, proposal).await?;
    }
    let elected = tokio::select! {
        elected = client.wait_turn(prefix, place.create_revision) => elected,
        () = signals.recv() => Err(CallError::Canceled),
    };
    if let Err(error) = elected {
        client.leave(&place).await?;
        return Err(error.into());
    }
    printer.print(&client.get(&place.key).await?)?;
    tokio::select! {
        () = signals.recv() => Ok(client.leave(&place).await?),
        () = session.ended() => Err(Exit::error("elect: session expired")),
    }
}

/// Another value under the key that is ours.
async fn proclaim(client: &Client, place: &Place, lease: i64, value: &[u8]) -> Result<(), CallError> {
    let put = pb::PutRequest {
        key: place.key.clone().into(),
        value: value.to_vec().into(),
        lease,
        ..pb::PutRequest::default()
    };
    let request = pb::TxnRequest {
        compare: vec![compare_created(&place.key, place.create_revision)],
        success: vec![op(Op::RequestPut(put))],
        failure: Vec::new(),
    };
    if client.txn(request).await?.succeeded {
        return Ok(());
    }
    Err(CallError::Own("election: not leader".to_owned()))
}

fn lost() -> Exit {
    Exit::error("elect: observer lost")
}

/// Prints each leader, and each value that a leader proclaims.
async fn observe(client: &Client, printer: Printer, prefix: &[u8]) -> Outcome {
    loop {
        let answer = client.first_in_queue(prefix).await.map_err(|_| lost())?;
        let header = answer.header.unwrap_or_default();
        let (header, kv) = match answer.kvs.into_iter().next() {
            Some(KeyValue(kv)) => (header, kv),
            None => first_put(client, prefix, header.revision).await?,
        };
        let (key, revision) = (kv.key.to_vec(), header.revision);
        printer.print(&leader(header, kv))?;
        follow(client, printer, key, revision + 1).await?;
    }
}

fn leader(header: pb::ResponseHeader, kv: base::KeyValue) -> pb::RangeResponse {
    pb::RangeResponse { header: Some(header), kvs: vec![KeyValue(kv)], ..pb::RangeResponse::default() }
}

/// The first key that comes under a prefix where there is none.
async fn first_put(
    client: &Client,
    prefix: &[u8],
    revision: i64,
) -> Result<(pb::ResponseHeader, base::KeyValue), Exit> {
    let create = pb::WatchCreateRequest {
        key: prefix.to_vec().into(),
        range_end: prefix_end(prefix).into(),
        start_revision: revision,
        ..pb::WatchCreateRequest::default()
    };
    let mut watcher = Watcher::new(client, create);
    while let Some(told) = watcher.next().await {
        if told.error().is_some() {
            break;
        }
        let put = told.events.into_iter().find(|event| event.kind == EventKind::Put);
        if let Some(event) = put {
            // There may be later events in the answer, which the next watch is to show.
            let revision = event.kv.mod_revision;
            let header = pb::ResponseHeader { revision, ..told.header.unwrap_or_default() };
            return Ok((header, event.kv));
        }
    }
    Err(lost())
}

/// Prints what a leader proclaims until its key is gone.
async fn follow(client: &Client, printer: Printer, key: Vec<u8>, start_revision: i64) -> Outcome {
    let create =
        pb::WatchCreateRequest { key: key.into(), start_revision, ..pb::WatchCreateRequest::default() };
    let mut watcher = Watcher::new(client, create);
    while let Some(told) = watcher.next().await {
        let header = told.header.unwrap_or_default();
        for event in told.events {
            if event.kind == EventKind::Delete {
                return Ok(());
            }
            printer.print(&leader(header, event.kv))?;
        }
    }
    Err(lost())
}
