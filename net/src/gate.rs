//! How services reach the node: one queue into the core loop, one answer channel per call.
//!
//! Cost of a call: one queue push, one oneshot (one allocation), two relaxed atomic additions. The
//! queue has no bound of its own: each caller has at most one `Call` in it, callers are bounded by the
//! transport's streams, and the core refuses proposals above `Limits::proposals_max`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use holdfast_core::auth::ROOT;
use holdfast_core::base::{ClusterId, MemberId, StreamId, WaiterId};
use holdfast_core::boundary::{StreamOp, WatchResponse};
use holdfast_core::request::{Credentials, Request, Response};
use holdfast_core::status::Status;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::clock::WallClock;
use crate::tokens::SignedTokens;

/// What clients want of the core loop, in the order they said it.
/// A waiter's `Call` comes before its `Abandon`; a stream's `OpenStream` before its `Stream`s.
#[derive(Debug)]
pub enum Inbound {
    /// Becomes `Input::Client`; the matching `Effect::Reply` goes into `reply`.
    Call {
        waiter: WaiterId,
        credentials: Credentials,
        request: Request,
        reply: oneshot::Sender<Result<Response, Status>>,
    },
    /// Becomes `Input::Abandon`; comes only for a waiter whose reply was not taken.
    Abandon { waiter: WaiterId },
    /// `Effect::Deliver`s of `stream` go into `out`. Not an input: the first `StreamOp` opens the stream
    /// in the core. A failed send means that the stream's `Close` is on its way.
    OpenStream { stream: StreamId, out: mpsc::UnboundedSender<WatchResponse> },
    /// Becomes `Input::Stream`; after `StreamOp::Close` the stream's `out` may be dropped.
    Stream { stream: StreamId, op: StreamOp },
}

/// The core loop's end of the gate. When it is dropped, callers get `Status::Stopped`.
pub type Inbox = mpsc::UnboundedReceiver<Inbound>;

/// What never changes while a member serves.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    pub cluster_id: ClusterId,
    pub member_id: MemberId,
    /// `--max-request-bytes`: sizes chunks of RangeStream, fragments of watch responses, the receive limit.
    pub request_bytes_max: u32,
    /// `--election-timeout`: three of them without a leader end streams that asked for one (LEAD-2).
    pub election_timeout_ms: u64,
    /// The id of a member that is added rests on it (CL-1).
    pub wall: WallClock,
}

/// What callers may expect of the node.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outlook {
    pub(crate) leader_known: bool,
    pub(crate) is_learner: bool,
    pub(crate) closing: bool,
}

/// A client's way to the node; clones share it.
#[derive(Clone, Debug)]
pub struct Gate {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    inbound: mpsc::UnboundedSender<Inbound>,
    /// Next waiter or stream id; one counter for both, they never meet.
    next_id: AtomicU64,
    outlook: Mutex<Outlook>,
    /// Wakes in the order of waiting: a `watch` draws it, and no seed of ours decides what.
    changed: Notify,
    identity: Identity,
    /// `None`: tokens are the node's own.
    signed_tokens: Option<Arc<dyn SignedTokens>>,
}

impl Gate {
    /// A gate and the core loop's end of it. No leader is known at first.
    pub fn new(identity: Identity) -> (Gate, Inbox) {
        Gate::with_tokens(identity, None)
    }

    /// The same where tokens are signed by somebody.
    pub fn with_tokens(identity: Identity, signed_tokens: Option<Arc<dyn SignedTokens>>) -> (Gate, Inbox) {
        let (inbound, inbox) = mpsc::unbounded_channel();
        let (outlook, changed) = (Mutex::default(), Notify::new());
        let next_id = AtomicU64::new(1);
        let shared = Shared { inbound, next_id, outlook, changed, identity, signed_tokens };
        (Gate { shared: Arc::new(shared) }, inbox)
    }

    pub fn identity(&self) -> &Identity {
        &self.shared.identity
    }

    /// Who makes and reads tokens, if that is not the node.
    pub fn signed_tokens(&self) -> Option<&dyn SignedTokens> {
        self.shared.signed_tokens.as_deref()
    }

    /// Whom a signed token is for. One that cannot be believed stays what it is: the node knows no such token.
    fn read(&self, credentials: Credentials) -> Credentials {
        match (&credentials, self.signed_tokens()) {
            (Credentials::Token(token), Some(tokens)) => match tokens.read(&token.0) {
                Some((user, auth_revision)) => Credentials::Signed { user, auth_revision },
                None => credentials,
            },
            _ => credentials,
        }
    }

    /// Asks the node and waits for its answer. Dropping the future abandons the call.
    /// Errors: the node's refusal; `Status::Stopped` if the core loop is gone.
    pub async fn call(&self, credentials: Credentials, request: Request) -> Result<Response, Status> {
        let waiter = WaiterId(self.next_id());
        let (reply, answer) = oneshot::channel();
        let call = Inbound::Call { waiter, credentials: self.read(credentials), request, reply };
        self.send(call).map_err(|Gone| Status::Stopped)?;
        let mut abandon = AbandonOnDrop { gate: self, waiter, armed: true };
        let result = answer.await;
        abandon.armed = false;
        result.unwrap_or(Err(Status::Stopped))
    }

    /// Asks for something whose answer nobody waits for. It is done or not, as if the caller had gone.
    pub fn call_unheard(&self, credentials: Credentials, request: Request) {
        let (reply, _) = oneshot::channel();
        let credentials = self.read(credentials);
        // Nobody is left to be told when the loop is gone.
        self.send(Inbound::Call { waiter: WaiterId(self.next_id()), credentials, request, reply }).ok();
    }

    /// As `call`, for what the member asks of itself: root may do it whatever users there are.
    pub async fn call_as_root(&self, request: Request) -> Result<Response, Status> {
        self.call(Credentials::Certificate(ROOT.to_owned()), request).await
    }

    /// Opens a watch stream, whose watches are judged by these credentials.
    /// Errors: `Status::Stopped` if the core loop is gone.
    pub fn open_stream(&self, credentials: Credentials) -> Result<WatchHandle, Status> {
        let stream = StreamId(self.next_id());
        let (out, responses) = mpsc::unbounded_channel();
        self.send(Inbound::OpenStream { stream, out }).map_err(|Gone| Status::Stopped)?;
        let handle = WatchHandle { gate: self.clone(), stream, responses };
        if credentials != Credentials::None {
            handle.send(StreamOp::Open { credentials: self.read(credentials) });
        }
        Ok(handle)
    }

    /// The core loop says whether the node knows a leader.
    pub fn set_leader_known(&self, known: bool) {
        self.change(|outlook| outlook.leader_known = known);
    }

    pub fn is_leader_known(&self) -> bool {
        self.outlook().leader_known
    }

    /// The core loop says whether the member is a learner.
    pub fn set_learner(&self, is_learner: bool) {
        self.change(|outlook| outlook.is_learner = is_learner);
    }

    pub fn is_learner(&self) -> bool {
        self.outlook().is_learner
    }

    /// The member is about to stop: streams without an end of their own (watches, keep-alives) end with
    /// `Status::Stopped`, so that their clients go elsewhere; calls go on being answered.
    pub fn close(&self) {
        self.change(|outlook| outlook.closing = true);
    }

    pub fn is_closing(&self) -> bool {
        self.outlook().closing
    }

    fn outlook(&self) -> Outlook {
        *self.shared.outlook.lock().expect("nobody panics while holding it")
    }

    fn change(&self, set: impl FnOnce(&mut Outlook)) {
        set(&mut self.shared.outlook.lock().expect("nobody panics while holding it"));
        self.shared.changed.notify_waiters();
    }

    /// Waits until what the core loop has said is so.
    pub(crate) async fn wait_for(&self, is_so: impl Fn(Outlook) -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.shared.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            if is_so(self.outlook()) {
                return;
            }
            changed.await;
        }
    }

    /// Whether the core loop is gone.
    pub fn is_stopped(&self) -> bool {
        self.shared.inbound.is_closed()
    }

    /// Waits until the core loop is gone.
    pub async fn stopped(&self) {
        self.shared.inbound.closed().await;
    }

    fn next_id(&self) -> u64 {
        self.shared.next_id.fetch_add(1, Ordering::Relaxed)
    }

    fn send(&self, inbound: Inbound) -> Result<(), Gone> {
        self.shared.inbound.send(inbound).map_err(|_| Gone)
    }
}

/// The core loop is gone.
struct Gone;

struct AbandonOnDrop<'a> {
    gate: &'a Gate,
    waiter: WaiterId,
    armed: bool,
}

impl Drop for AbandonOnDrop<'_> {
    fn drop(&mut self) {
        if self.armed {
            // Nobody is left to be told when the loop is gone.
            self.gate.send(Inbound::Abandon { waiter: self.waiter }).ok();
        }
    }
}

/// A client's end of a watch stream; dropping it closes the stream.
#[derive(Debug)]
pub struct WatchHandle {
    gate: Gate,
    stream: StreamId,
    responses: mpsc::UnboundedReceiver<WatchResponse>,
}

impl WatchHandle {
    /// Hands an operation to the core. If the core loop is gone, `recv` says so.
    pub fn send(&self, op: StreamOp) {
        self.gate.send(Inbound::Stream { stream: self.stream, op }).ok();
    }

    /// The next response; `None` when the core loop is gone.
    pub async fn recv(&mut self) -> Option<WatchResponse> {
        self.responses.recv().await
    }

    /// As `recv`, for a stream that waits for other things too.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<WatchResponse>> {
        self.responses.poll_recv(cx)
    }
}

impl Drop for WatchHandle {
    fn drop(&mut self) {
        self.send(StreamOp::Close);
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
