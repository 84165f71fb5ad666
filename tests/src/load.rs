//! Load on a server: many clients in closed loops, fillings by the million, and probes of latency.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use holdfast_net::proto::etcdserverpb as pb;
use pb::request_op::Request as Op;
use pb::watch_request::RequestUnion;
use tonic::Status;

use crate::client::Client;

/// Connections of a load.
pub const CONNECTIONS: usize = 10;
/// Of each put.
pub const VALUE_BYTES: usize = 256;
/// Puts of one transaction of a filling.
const FILL_TXN_PUTS: u32 = 100;
/// Transactions of a filling in flight.
const FILL_TASKS: u32 = 16;
/// Streams of the watchers.
const WATCH_STREAMS: u32 = 100;

/// What a closed loop measured.
pub struct Measured {
    pub calls: u64,
    pub took: Duration,
    /// Sorted.
    pub latencies: Vec<Duration>,
}

impl Measured {
    pub fn a_second(&self) -> f64 {
        self.calls as f64 / self.took.as_secs_f64()
    }

    /// In milliseconds; `share` below 1.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        let index = (self.latencies.len() as f64 * share) as usize;
        self.latencies.get(index).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
    }
}

pub fn connections(endpoint: &str) -> Vec<Client> {
    (0..CONNECTIONS).map(|_| Client::new(endpoint)).collect()
}

/// The `index`th key: 35 bytes.
pub fn key(index: u32) -> Bytes {
    Bytes::from(format!("/registry/pods/default/name-{index:08}"))
}

/// The range of all keys that [`key`] makes.
pub fn all_keys() -> (Bytes, Bytes) {
    (Bytes::from_static(b"/registry/pods/"), Bytes::from_static(b"/registry/pods0"))
}

/// A value that does not compress to nothing.
pub fn value(index: u32) -> Bytes {
    let mut state = index.wrapping_mul(0x9e37_79b9) | 1;
    let byte = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..VALUE_BYTES).map(byte).collect()
}

/// Runs `call` in `tasks` closed loops over ten connections for `length`. `call` gets a client and a number
/// that no other call has.
pub async fn closed_loops<C, F>(endpoint: &str, tasks: u32, length: Duration, call: C) -> Measured
where
    C: Fn(Client, u32) -> F + Copy + Send + 'static,
    F: Future<Output = Result<(), Status>> + Send,
{
    let clients = connections(endpoint);
    let next = Arc::new(AtomicU32::new(0));
    let started = Instant::now();
    let loops: Vec<_> = (0..tasks as usize)
        .map(|task| {
            let (client, next) = (clients[task % CONNECTIONS].clone(), Arc::clone(&next));
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                while started.elapsed() < length {
                    let sent = Instant::now();
                    let answer = call(client.clone(), next.fetch_add(1, Ordering::Relaxed)).await;
                    answer.expect("a server under load answers");
                    latencies.push(sent.elapsed());
                }
                latencies
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in loops {
        latencies.extend(task.await.expect("loops do not panic"));
    }
    latencies.sort_unstable();
    Measured { calls: latencies.len() as u64, took: started.elapsed(), latencies }
}

/// Puts the keys of `indexes` in this order, a hundred a transaction, sixteen transactions at once.
pub async fn fill(endpoint: &str, indexes: Vec<u32>, lease: i64) {
    let clients = connections(endpoint);
    let indexes = Arc::new(indexes);
    let next = Arc::new(AtomicU32::new(0));
    let tasks: Vec<_> = (0..FILL_TASKS as usize)
        .map(|task| {
            let mut client = clients[task % CONNECTIONS].clone();
            let (indexes, next) = (Arc::clone(&indexes), Arc::clone(&next));
            tokio::spawn(async move {
                loop {
                    let start = next.fetch_add(FILL_TXN_PUTS, Ordering::Relaxed) as usize;
                    let Some(rest) = indexes.get(start..).filter(|rest| !rest.is_empty()) else { return };
                    let chunk = &rest[..rest.len().min(FILL_TXN_PUTS as usize)];
                    let put = |&index: &u32| pb::PutRequest {
                        key: key(index),
                        value: value(index),
                        lease,
                        ..Default::default()
                    };
                    let op = |put| pb::RequestOp { request: Some(Op::RequestPut(put)) };
                    let success = chunk.iter().map(put).map(op).collect();
                    let txn = pb::TxnRequest { success, ..Default::default() };
                    client.kv.txn(txn).await.expect("a filling is answered");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("fillings do not panic");
    }
}

/// How many keys [`key`] made are there.
pub async fn count(client: &mut Client) -> Result<i64, Status> {
    let (key, range_end) = all_keys();
    let request = pb::RangeRequest { key, range_end, count_only: true, ..Default::default() };
    Ok(client.kv.range(request).await?.into_inner().count)
}

/// Worst latencies of one get and one put after another, of other keys.
pub struct Worst {
    pub get: Duration,
    pub put: Duration,
}

/// Probes a server until told to end.
pub struct Probe {
    end: Arc<AtomicBool>,
    get: tokio::task::JoinHandle<Duration>,
    put: tokio::task::JoinHandle<Duration>,
}

impl Probe {
    pub fn start(endpoint: &str) -> Probe {
        let end = Arc::new(AtomicBool::new(false));
        let (get_client, put_client) = (Client::new(endpoint), Client::new(endpoint));
        let get = tokio::spawn(worst(get_client, Arc::clone(&end), async |client| {
            client.get("/other/key", 0).await.map(|_| ())
        }));
        let put = tokio::spawn(worst(put_client, Arc::clone(&end), async |client| {
            client.put("/other/key", value(0)).await.map(|_| ())
        }));
        Probe { end, get, put }
    }

    pub async fn end(self) -> Worst {
        self.end.store(true, Ordering::Relaxed);
        let (get, put) = tokio::join!(self.get, self.put);
        Worst { get: get.expect("probes do not panic"), put: put.expect("probes do not panic") }
    }
}

/// A call that fails counts with the time it took, and the next one goes on.
async fn worst<C>(mut client: Client, end: Arc<AtomicBool>, call: C) -> Duration
where
    C: AsyncFn(&mut Client) -> Result<(), Status>,
{
    let mut worst = Duration::ZERO;
    while !end.load(Ordering::Relaxed) {
        let sent = Instant::now();
        if let Err(status) = call(&mut client).await {
            eprintln!("a probe is refused: {status}");
        }
        worst = worst.max(sent.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    worst
}

/// Watchers that stay as long as this does. Nothing they watch changes.
pub struct Watchers {
    _requests: Vec<tokio::sync::mpsc::Sender<pb::WatchRequest>>,
    _responses: Vec<tonic::Streaming<holdfast_net::wire::WatchResponse>>,
}

impl Watchers {
    /// `count` watchers on keys of their own, on a hundred streams of ten connections; all created.
    pub async fn start(endpoint: &str, count: u32) -> Watchers {
        let clients = connections(endpoint);
        let mut watchers = Watchers { _requests: Vec::new(), _responses: Vec::new() };
        let each = count / WATCH_STREAMS;
        for stream in 0..WATCH_STREAMS {
            let (sender, receiver) = tokio::sync::mpsc::channel(each as usize + 1);
            for index in 0..each {
                let key = Bytes::from(format!("/watched/{stream}/{index}"));
                let create = pb::WatchCreateRequest { key, ..Default::default() };
                let request = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
                sender.send(request).await.expect("room for all of them");
            }
            let requests =
                futures_util::stream::unfold(receiver, async |mut queue| Some((queue.recv().await?, queue)));
            let mut client = clients[stream as usize % CONNECTIONS].clone();
            let responses = client.watch.watch(Box::pin(requests)).await.expect("served");
            let mut responses = responses.into_inner();
            for _ in 0..each {
                let response = responses.next().await.expect("an answer each").expect("served");
                assert!(response.created && !response.canceled, "a watcher is refused");
            }
            watchers._requests.push(sender);
            watchers._responses.push(responses);
        }
        watchers
    }
}
