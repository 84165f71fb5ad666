//! A client that watches: it goes on, on whichever member, from where it was.

use std::time::Duration;

use bytes::Bytes;
use holdfast_core::boundary::StreamOp;
use holdfast_net::answers;
use holdfast_net::convert;
use holdfast_net::listen::PACE;
use holdfast_net::proto::etcdserverpb::watch_request::RequestUnion;
use holdfast_net::proto::etcdserverpb::{self as pb, watch_client::WatchClient};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tonic::{Request, Streaming};

use super::client::{Server, Shared};
use super::history::{History, StreamId};
use crate::blackbox::history::Passed;
use crate::rng::Rng;

/// A stream that is older at the end was told all.
const PEACE: Duration = Duration::from_secs(8);

/// One watcher of one range.
pub struct Watcher {
    pub servers: Vec<Server>,
    pub shared: Shared,
    pub rng: Rng,
    /// Pause of its transport between two answers, in ns.
    pub pace_ns: u64,
    /// From here on it is left in peace.
    pub calm: Instant,
    /// Says when all is over.
    pub over: watch::Receiver<bool>,
}

/// Where a watcher is.
struct Position {
    create: pb::WatchCreateRequest,
    /// The first revision that it has not been told; 0: of all that is to come.
    next: i64,
}

/// A stream that was opened.
struct Open {
    id: StreamId,
    requests: mpsc::UnboundedSender<pb::WatchRequest>,
    answers: Streaming<pb::WatchResponse>,
    began: Instant,
    life: usize,
}

impl Watcher {
    pub async fn run(mut self) {
        let (key, range_end) = match self.rng.chance(0.6) {
            true => ("a".to_owned(), "z".to_owned()),
            false => (format!("key{}", self.rng.below(6)), String::new()),
        };
        let create = pb::WatchCreateRequest {
            key: Bytes::from(key),
            range_end: Bytes::from(range_end),
            progress_notify: self.rng.chance(0.3),
            prev_kv: self.rng.chance(0.5),
            ..Default::default()
        };
        let mut position = Position { create, next: i64::from(self.rng.chance(0.5)) };
        let mut at = self.rng.below(self.servers.len() as u64) as usize;
        while !*self.over.borrow() {
            if let Some(open) = self.open(at, &mut position).await {
                self.follow(open, &mut position, at).await;
            }
            at = (at + 1) % self.servers.len();
            let pause = Duration::from_nanos(self.rng.between(1_000_000, 300_000_000));
            sleep(pause).await;
        }
    }

    /// Opens a stream and asks for the watch on it.
    async fn open(&mut self, at: usize, position: &mut Position) -> Option<Open> {
        let server = self.servers[at].clone();
        let life = server.life();
        let (requests, asked) = mpsc::unbounded_channel();
        let asked = futures_util::stream::unfold(asked, |mut asked| async move {
            let request = asked.recv().await?;
            Some((request, asked))
        });
        let mut call = Request::new(asked);
        // Who is slow for good would not be told all before the end.
        let is_slow = Instant::now() < self.calm;
        call.metadata_mut().insert(PACE, if is_slow { self.pace_ns.into() } else { 0.into() });
        position.create.start_revision = position.next;
        let create =
            pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(position.create.clone())) };
        let began = Instant::now();
        let id = self.write_down(|history, _| history.open_stream(Some(life)));
        self.ask(id, &requests, create);
        let mut client = WatchClient::new(server.channel());
        let answers = timeout(Duration::from_secs(5), client.watch(call)).await.ok()?.ok()?.into_inner();
        if position.next > 1 {
            self.write_down(|history, _| history.mark("watch_resumes"));
        }
        Some(Open { id, requests, answers, began, life })
    }

    /// Takes what comes until the stream breaks, is left, or all is over.
    async fn follow(&mut self, mut open: Open, position: &mut Position, at: usize) {
        let stays = Duration::from_nanos(self.rng.log_between(50_000_000, 8_000_000_000));
        // Who leaves does so while there is trouble, who is slow at its end.
        let leaves_soon = self.rng.chance(0.5) && Instant::now() + stays < self.calm;
        let was_slow = self.pace_ns > 0 && open.began < self.calm;
        let leaves = leaves_soon || was_slow;
        let leaves_at = if leaves_soon { Instant::now() + stays } else { self.calm };
        let mut over = self.over.clone();
        loop {
            if self.rng.chance(0.02) {
                let progress = RequestUnion::ProgressRequest(pb::WatchProgressRequest {});
                self.ask(open.id, &open.requests, pb::WatchRequest { request_union: Some(progress) });
            }
            let told = tokio::select! {
                biased;
                told = open.answers.message() => told,
                () = sleep_until(leaves_at), if leaves => return,
                _ = over.wait_for(|over| *over) => break,
            };
            let Ok(Some(told)) = told else { return };
            let is_same = self.servers[at].life() == open.life;
            let response = answers::watch_response(&told);
            self.write_down(|history, now_ns| {
                if told.created && !is_same {
                    history.misplace(open.id);
                }
                history.passed(open.id, now_ns, Passed::Told(response));
                if !told.events.is_empty() {
                    history.mark("watch_events");
                }
            });
            position.advance(&told);
            if told.canceled {
                return;
            }
        }
        if open.began + PEACE < Instant::now() {
            self.write_down(|history, _| history.lives_to_end(open.id));
        }
    }

    fn ask(
        &self,
        id: StreamId,
        requests: &mpsc::UnboundedSender<pb::WatchRequest>,
        request: pb::WatchRequest,
    ) {
        let op: StreamOp = convert::stream_op(request.clone()).expect("it asks for something");
        self.write_down(|history, now_ns| history.passed(id, now_ns, Passed::Asked(op)));
        // A stream that broke says so when it is read.
        requests.send(request).ok();
    }

    fn write_down<T>(&self, note: impl FnOnce(&mut History, u64) -> T) -> T {
        self.shared.write_down(note)
    }
}

impl Position {
    fn advance(&mut self, told: &pb::WatchResponse) {
        let revision = told.header.as_ref().map_or(0, |header| header.revision);
        if let Some(last) = told.events.last() {
            self.next = last.kv.mod_revision + 1;
        } else if told.created {
            self.next = if self.next == 0 { revision + 1 } else { self.next };
        } else if !told.canceled {
            self.next = self.next.max(revision + 1);
        }
    }
}
