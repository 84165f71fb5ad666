//! Asks a server one request of a script and gives the whole answer as text, with what may differ masked.

use std::fmt::Debug;
use std::time::Duration;

use futures_util::StreamExt;
use holdfast_net::proto::etcdserverpb as pb;
use tonic::Status;

use crate::client::Client;
use crate::script::Request;

/// How often a watch asks whether it has seen everything; the answer may be no answer.
const PROGRESS_EVERY: Duration = Duration::from_millis(20);
/// When a watch that has not seen everything is an answer of its own.
const PROGRESS_WITHIN: Duration = Duration::from_secs(20);

/// What a server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The response, or the code and text of the refusal.
    pub text: String,
    /// Of the header; 0 for a refusal.
    pub revision: i64,
}

/// Masks what names the cluster.
pub(crate) fn mask(header: &mut Option<pb::ResponseHeader>) -> i64 {
    let Some(header) = header else { return 0 };
    (header.cluster_id, header.member_id, header.raft_term) = (0, 0, 0);
    header.revision
}

pub(crate) fn answer(body: &impl Debug, revision: i64) -> Answer {
    Answer { text: format!("{body:?}"), revision }
}

pub(crate) fn refusal(status: &Status) -> Answer {
    Answer { text: format!("refused {:?} {:?}", status.code(), status.message()), revision: 0 }
}

/// Asks and waits for the whole answer.
pub async fn ask(client: &mut Client, request: Request) -> Answer {
    answered(client, request).await.unwrap_or_else(|status| refusal(&status))
}

/// One call of a client, with the change that makes its answer comparable.
macro_rules! unary {
    ($client:ident . $service:ident . $call:ident ( $body:expr )) => {
        unary!($client.$service.$call($body), |_: &mut _| ())
    };
    ($client:ident . $service:ident . $call:ident ( $body:expr ), $change:expr) => {{
        let mut body = $client.$service.$call($client.request($body)).await?.into_inner();
        let revision = crate::ask::mask(&mut body.header);
        #[allow(clippy::redundant_closure_call, reason = "one arm a call, with its own change")]
        ($change)(&mut body);
        Ok(crate::ask::answer(&body, revision))
    }};
}
pub(crate) use unary;

async fn answered(client: &mut Client, request: Request) -> Result<Answer, Status> {
    match request {
        Request::Range(body) => {
            let ties = order_of_ties_is_open(&body);
            unary!(client.kv.range(body), |found: &mut pb::RangeResponse| drop_order_of_ties(ties, found))
        }
        Request::RangeStream(body) => range_stream(client, body).await,
        Request::Put(body) => unary!(client.kv.put(body)),
        Request::Delete(body) => unary!(client.kv.delete_range(body)),
        Request::Txn(body) => unary!(client.kv.txn(body)),
        Request::Compact(body) => unary!(client.kv.compact(body)),
        Request::HashKv(body) => {
            unary!(client.maintenance.hash_kv(body), |hashed: &mut pb::HashKvResponse| hashed.hash = 0)
        }
        Request::Grant(body) => unary!(client.lease.lease_grant(body)),
        Request::Revoke(body) => unary!(client.lease.lease_revoke(body)),
        Request::TimeToLive(body) => {
            unary!(client.lease.lease_time_to_live(body), |left: &mut pb::LeaseTimeToLiveResponse| {
                left.ttl = left.ttl.signum();
                left.keys.sort();
            })
        }
        Request::Leases(body) => {
            unary!(client.lease.lease_leases(body), |all: &mut pb::LeaseLeasesResponse| all
                .leases
                .sort_by_key(|lease| lease.id))
        }
        Request::KeepAlive(body) => {
            let requests = futures_util::stream::iter([body]);
            let mut responses = client.lease.lease_keep_alive(client.request(requests)).await?.into_inner();
            let mut first = responses.message().await?;
            let revision = first.as_mut().map_or(0, |body| mask(&mut body.header));
            Ok(answer(&first, revision))
        }
        Request::Watch(body) => watch(client, body).await,
    }
}

/// etcd sorts by anything but the key (rising, when no order is asked for) with an algorithm that keeps ties
/// in order only up to 12 elements.
fn order_of_ties_is_open(request: &pb::RangeRequest) -> bool {
    request.sort_target != 0
}

/// Keeps what the sort decides: of many sorted results, how many.
fn drop_order_of_ties(ties: bool, found: &mut pb::RangeResponse) {
    if ties && found.count > 12 {
        found.kvs.iter_mut().for_each(|kv| *kv = Default::default());
    }
}

/// The pieces joined: where a server cuts is its own affair.
async fn range_stream(client: &mut Client, body: pb::RangeRequest) -> Result<Answer, Status> {
    let ties = order_of_ties_is_open(&body);
    let mut pieces = client.kv.range_stream(client.request(body)).await?.into_inner();
    let mut whole = pb::RangeResponse::default();
    while let Some(piece) = pieces.message().await? {
        let piece = piece.range_response.unwrap_or_default();
        whole.header = piece.header.or(whole.header);
        whole.kvs.extend(piece.kvs);
        whole.more |= piece.more;
        whole.count = whole.count.max(piece.count);
    }
    let revision = mask(&mut whole.header);
    drop_order_of_ties(ties, &mut whole);
    Ok(answer(&whole, revision))
}

/// Everything a watcher gets up to the current revision: control responses, and all events in order.
async fn watch(client: &mut Client, create: pb::WatchCreateRequest) -> Result<Answer, Status> {
    use pb::watch_request::RequestUnion;
    let (requests, queue) = tokio::sync::mpsc::channel(4);
    let queue = futures_util::stream::unfold(queue, async |mut queue| Some((queue.recv().await?, queue)));
    let send = async |union| requests.send(pb::WatchRequest { request_union: Some(union) }).await;
    let gone = |_| Status::unavailable("the request side is gone");
    send(RequestUnion::CreateRequest(create)).await.map_err(gone)?;
    let mut responses = client.watch.watch(client.request(Box::pin(queue))).await?.into_inner();
    let (mut control, mut events) = (Vec::new(), Vec::new());
    let started = std::time::Instant::now();
    while started.elapsed() < PROGRESS_WITHIN {
        let response = match tokio::time::timeout(PROGRESS_EVERY, responses.next()).await {
            Ok(response) => response.ok_or_else(|| Status::unavailable("the response side is gone"))??,
            Err(_) => {
                send(RequestUnion::ProgressRequest(pb::WatchProgressRequest {})).await.map_err(gone)?;
                continue;
            }
        };
        let mut header = response.header;
        let revision = mask(&mut header);
        let is_progress = !response.created && !response.canceled && response.events.is_empty();
        if is_progress {
            return Ok(answer(&(control, events), revision));
        }
        events.extend(response.events.iter().map(|event| format!("{event:?}")));
        if response.created || response.canceled {
            let fields = (response.created, response.canceled, response.watch_id, response.compact_revision);
            control.push((fields, response.cancel_reason.clone(), revision));
        }
        if response.canceled {
            return Ok(answer(&(control, events), revision));
        }
    }
    Err(Status::deadline_exceeded(format!("watch never synced: {control:?} {events:?}")))
}
