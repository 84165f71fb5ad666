//! The loop that owns the node: what happened goes in, a turn is stepped, what it asks for is done.
//!
//! Cost of a turn besides the core's: one wake-up, two queue drains, one clock reading (the second one
//! doubles as the slow-apply watch), no allocation beyond the oneshot each caller brought.

use std::collections::HashMap;
use std::time::Duration;

use holdfast_core::base::{Instant, Lsn, StreamId, WaiterId};
use holdfast_core::boundary::{CheckpointStep, Effect, Effects, Input, Note, StreamOp, WatchResponse};
use holdfast_core::node::Node;
use holdfast_core::request::{Response, Secret};
use holdfast_core::status::Status;
use holdfast_net::gate::{Gate, Inbound, Inbox};
use holdfast_net::peer::{PeerEvent, REMOVED};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant as Clock;

use crate::clock::HostClock;
use crate::disk::log_writer::LogWork;
use crate::metrics::Metrics;
use crate::passwords::Passwords;
use crate::peers::Peers;
use crate::tally::Kind;
use crate::{notes, tally};

/// Inputs of one turn; what is beyond waits for the next.
const BATCH_MAX: usize = 4096;

/// How often watchers are counted.
const CENSUS_INTERVAL_NS: u64 = 1_000_000_000;

/// What the rest of the process tells the loop.
#[derive(Debug)]
pub enum Event {
    /// Every frame up to here is on stable storage.
    Persisted(Lsn),
    /// The checkpoint was written, or could not be.
    Checkpointed {
        ok: bool,
    },
    /// What `Effect::HashPassword` and `Effect::CheckPassword` asked for.
    PasswordHashed {
        job: u64,
        hash: Secret,
    },
    PasswordChecked {
        job: u64,
        fits: bool,
        entropy: u128,
    },
    /// The disk failed in a way that nothing may be acknowledged after.
    DiskFailed(String),
    /// The process is to end.
    Stop,
}

/// Why the loop ended before it was told to: one line for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Death {
    #[error("{0}")]
    Failed(String),
    /// The cluster has removed this member (CL-8).
    #[error("{REMOVED}")]
    Removed,
}

/// What the loop needs besides the node.
pub struct Parts {
    /// To tell streams whether a leader is known.
    pub gate: Gate,
    pub inbox: Inbox,
    pub events: mpsc::UnboundedReceiver<Event>,
    pub peers: Peers,
    pub peer_events: mpsc::UnboundedReceiver<PeerEvent>,
    pub log: mpsc::UnboundedSender<LogWork>,
    pub checkpoints: mpsc::UnboundedSender<CheckpointStep>,
    pub passwords: Passwords,
    pub metrics: Metrics,
    /// Zero is the node's instant zero.
    pub clock: HostClock,
    /// `--heartbeat-interval`.
    pub tick_ns: u64,
    /// `--warning-apply-duration`.
    pub slow_apply: Duration,
    /// Told once, when the member has published itself (CL-12).
    pub publish: Option<oneshot::Sender<()>>,
}

/// A caller that waits for its reply.
struct Waiter {
    reply: oneshot::Sender<Result<Response, Status>>,
    kind: Kind,
}

/// The node with its surroundings.
pub struct CoreLoop {
    node: Node,
    parts: Parts,
    waiters: HashMap<WaiterId, Waiter>,
    streams: HashMap<StreamId, mpsc::UnboundedSender<WatchResponse>>,
    inbound: Vec<Inbound>,
    happened: Vec<Event>,
    said: Vec<PeerEvent>,
    inputs: Vec<Input>,
    effects: Effects,
    next_tick: Instant,
    was_leader_known: bool,
    was_learner: bool,
    /// The cluster has removed this member.
    is_removed: bool,
    /// When watchers are counted next.
    census_at: Instant,
}

impl CoreLoop {
    pub fn new(node: Node, parts: Parts) -> CoreLoop {
        let next_tick = Instant(parts.clock.now().0 + parts.tick_ns);
        CoreLoop {
            node,
            parts,
            waiters: HashMap::new(),
            streams: HashMap::new(),
            inbound: Vec::with_capacity(BATCH_MAX),
            happened: Vec::new(),
            said: Vec::new(),
            inputs: Vec::with_capacity(BATCH_MAX),
            // The first turn is taken at once: it writes what opens this life.
            effects: Effects { list: Vec::new(), wake_at: Some(Instant(0)) },
            next_tick,
            was_leader_known: false,
            was_learner: false,
            is_removed: false,
            census_at: next_tick,
        }
    }

    /// Turns until `Event::Stop`. Callers still waiting then get `Status::Stopped`.
    /// Errors: the node halted or the disk failed; nothing was acknowledged after that.
    pub async fn run(mut self) -> Result<(), Death> {
        loop {
            self.wait().await;
            if self.collect()? {
                return Ok(());
            }
            self.turn()?;
        }
    }

    /// Waits for an event, a client, the node's alarm or the tick, whichever is first.
    async fn wait(&mut self) {
        let mut deadline = self.next_tick;
        if let Some(wake_at) = self.effects.wake_at {
            deadline = deadline.min(wake_at);
        }
        if deadline <= self.parts.clock.now() {
            // Lets the simulator's other tasks run; on a thread of our own it is nothing.
            tokio::task::yield_now().await;
            return;
        }
        tokio::select! {
            biased;
            taken = self.parts.events.recv_many(&mut self.happened, BATCH_MAX) => {
                if taken == 0 {
                    self.happened.push(Event::DiskFailed("the disk writers are gone".to_owned()));
                }
            }
            // Its sender is among `parts`: there is always one.
            _ = self.parts.peer_events.recv_many(&mut self.said, BATCH_MAX) => {}
            _ = self.parts.inbox.recv_many(&mut self.inbound, BATCH_MAX) => {}
            () = tokio::time::sleep_until(self.parts.clock.when(deadline)) => {}
        }
    }

    /// Takes what else has come, and makes it into inputs: events, then peers, then clients, then at most one
    /// tick.
    /// Returns true when the loop is to end.
    fn collect(&mut self) -> Result<bool, Death> {
        while let Ok(event) = self.parts.events.try_recv() {
            self.happened.push(event);
        }
        for event in self.happened.drain(..) {
            match event {
                Event::Persisted(through) => self.inputs.push(Input::Persisted { through }),
                Event::Checkpointed { ok } => self.inputs.push(Input::Checkpointed { ok }),
                Event::PasswordHashed { job, hash } => self.inputs.push(Input::PasswordHashed { job, hash }),
                Event::PasswordChecked { job, fits, entropy } => {
                    self.inputs.push(Input::PasswordChecked { job, fits, entropy });
                }
                Event::DiskFailed(why) => return Err(Death::Failed(why)),
                Event::Stop => return Ok(true),
            }
        }
        self.collect_peers()?;
        while self.inbound.len() < BATCH_MAX
            && let Ok(inbound) = self.parts.inbox.try_recv()
        {
            self.inbound.push(inbound);
        }
        let mut inbound = std::mem::take(&mut self.inbound);
        for inbound in inbound.drain(..) {
            self.take_inbound(inbound);
        }
        self.inbound = inbound;
        let now = self.parts.clock.now();
        if now >= self.next_tick {
            self.inputs.push(Input::Tick);
            self.count_watchers(now);
            self.parts.peers.follow(&self.node);
            self.next_tick.0 += self.parts.tick_ns;
            if self.next_tick <= now {
                // A process that was paused ticks once, not for all it missed.
                self.next_tick = Instant(now.0 + self.parts.tick_ns);
            }
        }
        Ok(false)
    }

    fn collect_peers(&mut self) -> Result<(), Death> {
        while self.said.len() < BATCH_MAX
            && let Ok(event) = self.parts.peer_events.try_recv()
        {
            self.said.push(event);
        }
        for event in self.said.drain(..) {
            match event {
                // The room it took in the queue is free again when `event` is dropped.
                PeerEvent::Message { from, message, .. } => self.inputs.push(Input::Peer { from, message }),
                PeerEvent::Unreachable { member } => self.inputs.push(Input::Unreachable { member }),
                PeerEvent::Hello { from, peer_urls } => self.parts.peers.on_hello(from, peer_urls),
                PeerEvent::Note(note) => notes::write_peer(&note, self.parts.gate.identity()),
                PeerEvent::Removed => {
                    notes::write(&Note::Removed, self.parts.gate.identity());
                    return Err(Death::Removed);
                }
            }
        }
        Ok(())
    }

    fn take_inbound(&mut self, inbound: Inbound) {
        match inbound {
            Inbound::Call { waiter, credentials, request, reply } => {
                let kind = Kind::of(&request);
                if let Kind::Defragment { .. } = kind {
                    self.parts.metrics.disk.defrags.inc();
                }
                self.waiters.insert(waiter, Waiter { reply, kind });
                self.inputs.push(Input::Client { waiter, credentials, request });
            }
            Inbound::Abandon { waiter } => {
                if let Some(Waiter { kind, .. }) = self.waiters.remove(&waiter) {
                    kind.end(&self.parts.metrics);
                    self.inputs.push(Input::Abandon { waiter });
                }
            }
            Inbound::OpenStream { stream, out } => {
                self.streams.insert(stream, out);
            }
            Inbound::Stream { stream, op } => {
                if op == StreamOp::Close {
                    self.streams.remove(&stream);
                }
                self.inputs.push(Input::Stream { stream, op });
            }
        }
    }

    /// One turn of the node, and what it asks for.
    fn turn(&mut self) -> Result<(), Death> {
        let began = Clock::now();
        self.node.step(self.parts.clock.now(), &mut self.inputs, &mut self.effects);
        let took = began.elapsed();
        if took > self.parts.slow_apply {
            self.parts.metrics.raft.slow_apply.inc();
            notes::slow_apply(took, self.parts.slow_apply);
        }
        // Before the replies: who has one finds its effect in the figures.
        self.publish();
        let mut effects = std::mem::take(&mut self.effects.list);
        let done = effects.drain(..).try_for_each(|effect| self.perform(effect));
        self.effects.list = effects;
        done
    }

    fn perform(&mut self, effect: Effect) -> Result<(), Death> {
        match effect {
            Effect::Append { frames, through } => self.log(LogWork::Append { frames, through })?,
            Effect::Reclaim { through } => self.log(LogWork::Reclaim { through })?,
            Effect::Reply { waiter, result } => {
                if let Some(Waiter { reply, kind }) = self.waiters.remove(&waiter) {
                    kind.end(&self.parts.metrics);
                    tally::count(&self.parts.metrics, kind, &result);
                    // A caller that is gone has its `Abandon` on the way.
                    reply.send(result).ok();
                }
            }
            Effect::Deliver { stream, response } => {
                if let Some(out) = self.streams.get(&stream) {
                    self.parts.metrics.store.events.inc_by(response.events.len() as u64);
                    // A stream that is gone has its `Close` on the way.
                    out.send(response).ok();
                }
            }
            Effect::Checkpoint(step) => {
                let sent = self.parts.checkpoints.send(step);
                sent.map_err(|_| Death::Failed("the checkpoint writer is gone".to_owned()))?;
            }
            Effect::HashPassword { job, password } => self.parts.passwords.hash(job, password),
            Effect::CheckPassword { job, password, hash } => {
                self.parts.passwords.check(job, password, hash);
            }
            Effect::Send { to, message } => {
                if !self.parts.peers.send(to, message) {
                    self.inputs.push(Input::Unreachable { member: to });
                }
            }
            Effect::Connect { member, peer_urls } => {
                self.parts.peers.connect(member, peer_urls);
                self.parts.peers.follow(&self.node);
            }
            Effect::Disconnect { member } => {
                self.parts.peers.follow(&self.node);
                self.parts.peers.disconnect(member);
            }
            Effect::Note(note) => self.note(&note),
            Effect::Halt { .. } if self.is_removed => return Err(Death::Removed),
            Effect::Halt { why } => return Err(Death::Failed(why)),
        }
        Ok(())
    }

    fn note(&mut self, note: &Note) {
        notes::write(note, self.parts.gate.identity());
        tally::count_note(&self.parts.metrics, note, self.parts.gate.identity().wall);
        match note {
            Note::Published { .. } => {
                if let Some(publish) = self.parts.publish.take() {
                    // Whoever waited is on its way out.
                    publish.send(()).ok();
                }
            }
            Note::SnapshotInstalled { .. } => self.parts.peers.follow(&self.node),
            Note::Removed => self.is_removed = true,
            _ => {}
        }
    }

    fn log(&self, work: LogWork) -> Result<(), Death> {
        // The writer says why it ends before it does; that event is the better line, if it is there.
        self.parts.log.send(work).map_err(|_| Death::Failed("the log writer is gone".to_owned()))
    }

    /// Walks over all watchers, therefore once a second only.
    fn count_watchers(&mut self, now: Instant) {
        if now >= self.census_at {
            self.census_at = Instant(now.0 + CENSUS_INTERVAL_NS);
            let (_, watchers, slow) = self.node.watch_counts();
            self.parts.metrics.store.watchers.set(clamp(watchers));
            self.parts.metrics.store.slow_watchers.set(clamp(slow));
        }
    }

    /// Tells streams and metrics what the turn changed.
    fn publish(&mut self) {
        let gauges = self.node.gauges();
        if gauges.has_leader != self.was_leader_known {
            self.was_leader_known = gauges.has_leader;
            self.parts.gate.set_leader_known(gauges.has_leader);
        }
        if gauges.is_learner != self.was_learner {
            self.was_learner = gauges.is_learner;
            self.parts.gate.set_learner(gauges.is_learner);
        }
        let raft = &self.parts.metrics.raft;
        raft.has_leader.set(i64::from(gauges.has_leader));
        raft.is_leader.set(i64::from(gauges.is_leader));
        raft.is_learner.set(i64::from(gauges.is_learner));
        raft.committed.set(clamp(gauges.committed));
        raft.applied.set(clamp(gauges.applied));
        raft.pending.set(clamp(gauges.proposals));
        let store = &self.parts.metrics.store;
        store.total_bytes.set(gauges.bytes as f64);
        store.in_use_bytes.set(gauges.bytes_in_use as f64);
        store.keys.set(clamp(gauges.keys));
        store.current_revision.set(gauges.revision);
        store.compact_revision.set(gauges.compact_revision);
        store.auth_revision.set(clamp(gauges.auth_revision));
        store.streams.set(clamp(self.streams.len() as u64));
    }
}

fn clamp(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
