//! Leases kept alive.
//!
//! Source: etcd 3.7.1 client/v3/lease.go, client/v3/concurrency/session.go.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use holdfast_core::status::Status as Refusal;
use holdfast_net::proto::etcdserverpb as pb;
use holdfast_net::proto::etcdserverpb::lease_client::LeaseClient;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::{CallError, Client};

/// Before a stream that broke is opened again.
const PAUSE: Duration = Duration::from_millis(500);
/// How long an answer may take while the lease's own time is not known.
const FIRST_WAIT: Duration = Duration::from_secs(5);

impl Client {
    /// Renews once.
    ///
    /// Errors: the lease is gone, or nobody can be reached.
    pub async fn keep_alive_once(&self, id: i64) -> Result<pb::LeaseKeepAliveResponse, CallError> {
        let mut attempt = 0;
        loop {
            match self.renew(id).await {
                Ok(answer) if answer.ttl <= 0 => {
                    return Err(CallError::Own(Refusal::LeaseNotFound.text().to_owned()));
                }
                Ok(answer) => return Ok(answer),
                Err(error) if error.is_final() => return Err(error),
                Err(error) => self.pause(&mut attempt, error).await?,
            }
        }
    }

    /// One request and its answer on a stream of their own.
    async fn renew(&self, id: i64) -> Result<pb::LeaseKeepAliveResponse, CallError> {
        let requests = stream::iter([pb::LeaseKeepAliveRequest { id }]).chain(stream::pending());
        let channel = self.channel().await?;
        let open = async {
            let mut answers =
                LeaseClient::new(channel).lease_keep_alive(self.request(requests)).await?.into_inner();
            answers.message().await
        };
        let answer = self.bounded(open).await??;
        answer.ok_or_else(|| CallError::from(tonic::Status::unavailable("transport is closing")))
    }

    /// Renews three times within each TTL. The channel ends when the lease is gone, or when nobody could be
    /// reached for as long as it lives.
    pub fn keep_alive(&self, id: i64) -> (mpsc::Receiver<pb::LeaseKeepAliveResponse>, JoinHandle<()>) {
        let (sender, answers) = mpsc::channel(16);
        let client = self.unbounded();
        let task = tokio::spawn(async move {
            let mut ends_at = Instant::now() + FIRST_WAIT;
            loop {
                let left = ends_at.saturating_duration_since(Instant::now());
                match timeout(left, client.renew(id)).await {
                    Ok(Ok(answer)) if answer.ttl > 0 => {
                        let ttl = Duration::from_secs(answer.ttl.unsigned_abs());
                        ends_at = Instant::now() + ttl;
                        if sender.send(answer).await.is_err() {
                            return;
                        }
                        sleep(ttl / 3).await;
                    }
                    Ok(Err(error)) if !error.is_final() && Instant::now() < ends_at => sleep(PAUSE).await,
                    Ok(_) | Err(_) => return,
                }
            }
        });
        (answers, task)
    }
}

/// A lease that is kept alive in the background.
pub struct Session {
    pub lease: i64,
    task: JoinHandle<()>,
    answers: mpsc::Receiver<pb::LeaseKeepAliveResponse>,
}

impl Session {
    pub async fn new(client: &Client, ttl_s: i64) -> Result<Session, CallError> {
        let lease = client.lease_grant(pb::LeaseGrantRequest { ttl: ttl_s, id: 0 }).await?.id;
        let (answers, task) = client.keep_alive(lease);
        Ok(Session { lease, task, answers })
    }

    /// Returns when the lease is gone.
    pub async fn ended(&mut self) {
        while self.answers.recv().await.is_some() {}
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}
