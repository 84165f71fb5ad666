//! Puts from many clients, as fast as a limit lets them.

use std::sync::{Arc, Mutex};

use holdfast_net::proto::etcdserverpb as pb;
use tokio::sync::{Mutex as Turn, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::report::Report;
use crate::client::Client;

/// What is put, all under `prefix`.
#[derive(Clone)]
pub struct Puts {
    pub prefix: String,
    pub key_bytes: usize,
    pub value_bytes: usize,
}

impl Puts {
    /// A key nobody has had: the prefix, a random number, zeros.
    pub fn next(&self) -> pb::PutRequest {
        let mut suffix = vec![0; self.key_bytes];
        suffix[..8].copy_from_slice(&rand::random::<u64>().to_be_bytes());
        let key = [self.prefix.as_bytes(), &suffix].concat();
        let value = vec![0; self.value_bytes];
        pb::PutRequest { key: key.into(), value: value.into(), ..pb::PutRequest::default() }
    }
}

/// Clients at work.
pub struct Load {
    requests: mpsc::Sender<pb::PutRequest>,
    report: Arc<Mutex<Report>>,
    workers: JoinSet<()>,
}

impl Load {
    /// Each client has one call under way at a time.
    pub fn start(clients: &[Client]) -> Load {
        let (requests, queue) = mpsc::channel::<pb::PutRequest>(clients.len());
        let queue = Arc::new(Turn::new(queue));
        let report = Arc::new(Mutex::new(Report::default()));
        let mut workers = JoinSet::new();
        for client in clients {
            let (client, queue, report) = (client.clone(), Arc::clone(&queue), Arc::clone(&report));
            workers.spawn_local(async move {
                loop {
                    let Some(request) = queue.lock().await.recv().await else { return };
                    let began = Instant::now();
                    let failure = client.put(request).await.err().map(|error| error.to_string());
                    report.lock().expect("no panic while it is held").add(began.elapsed(), failure);
                }
            });
        }
        Load { requests, report, workers }
    }

    /// Waits for a client that is free.
    pub async fn put(&self, request: pb::PutRequest) {
        self.requests.send(request).await.expect("workers read until the sender is gone");
    }

    /// Waits for the calls under way.
    pub async fn finish(self) -> Report {
        drop(self.requests);
        self.workers.join_all().await;
        std::mem::take(&mut *self.report.lock().expect("no panic while it is held"))
    }
}
