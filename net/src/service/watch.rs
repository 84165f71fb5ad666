//! Watch streams: many watchers on one call, requests one way, responses the other.
//!
//! One task serves both ways: the transport polls the responses, and that reads the requests too. A
//! client that takes no responses cannot pile up requests.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use holdfast_core::boundary::StreamOp;
use holdfast_core::status;
use tonic::{Code, Request, Response, Status, Streaming};

use super::MESSAGE_OVERHEAD_BYTES;
use super::credentials::credentials;
use super::refusal::{refusal, restated};
use super::terms::{Terms, Until};
use crate::convert;
use crate::gate::{Gate, WatchHandle};
use crate::proto::etcdserverpb as pb;
use crate::wire;

/// Requests read in one poll, so that a talkative client does not hold up its own responses.
const REQUESTS_A_POLL_MAX: usize = 64;

/// `etcdserverpb.Watch`.
#[derive(Clone, Debug)]
pub struct Watch {
    gate: Gate,
}

impl Watch {
    pub fn new(gate: Gate) -> Watch {
        Watch { gate }
    }
}

#[tonic::async_trait]
impl pb::watch_server::Watch for Watch {
    type WatchStream = Until<WatchStream>;

    async fn watch(
        &self,
        request: Request<Streaming<pb::WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (metadata, _, requests) = request.into_parts();
        let terms = Terms::check(&self.gate, &metadata)?;
        let stream = WatchStream {
            requests: Some(requests),
            handle: self.gate.open_stream(credentials(&metadata)).map_err(refusal)?,
            gate: self.gate.clone(),
            pieces: None,
            owed_bytes: 0,
        };
        Ok(Response::new(terms.bound_standing(&self.gate, stream)))
    }
}

/// The responses of one watch stream.
pub struct WatchStream {
    /// `None` after the client's half-close, which ends nothing (WATCH-2).
    requests: Option<Streaming<pb::WatchRequest>>,
    handle: WatchHandle,
    gate: Gate,
    /// What is left of a response that is sent in fragments.
    pieces: Option<Pieces>,
    /// Credit of the response that the transport was given last.
    owed_bytes: u64,
}

impl WatchStream {
    /// Hands requests to the core. Errors: the request side broke; the stream is over.
    fn poll_requests(&mut self, cx: &mut Context<'_>) -> Result<(), Status> {
        for _ in 0..REQUESTS_A_POLL_MAX {
            let Some(requests) = &mut self.requests else { return Ok(()) };
            match Pin::new(requests).poll_next(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Some(Ok(request))) => {
                    if let Some(op) = convert::stream_op(request) {
                        self.handle.send(op);
                    }
                }
                Poll::Ready(Some(Err(status))) => return Err(broken_request(status)),
                Poll::Ready(None) => self.requests = None,
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }
}

impl Stream for WatchStream {
    type Item = Result<pb::WatchResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Err(status) = self.poll_requests(cx) {
            return Poll::Ready(Some(Err(status)));
        }
        if let Some(piece) = self.pieces.as_mut().and_then(Iterator::next) {
            return Poll::Ready(Some(Ok(piece)));
        }
        self.pieces = None;
        // Being asked for more means that the transport has room again: it took the last response.
        let bytes = std::mem::take(&mut self.owed_bytes);
        if bytes > 0 {
            self.handle.send(StreamOp::Credit { bytes });
        }
        let Poll::Ready(response) = self.handle.poll_recv(cx) else { return Poll::Pending };
        let Some(response) = response else {
            return Poll::Ready(Some(Err(refusal(status::Status::Stopped))));
        };
        self.owed_bytes = response.credit_bytes();
        let may_split = response.fragment;
        let identity = self.gate.identity();
        let message_bytes_max = identity.request_bytes_max as usize + MESSAGE_OVERHEAD_BYTES;
        let response = convert::watch_response(identity, response);
        if !may_split || !is_oversize(&response, message_bytes_max) {
            return Poll::Ready(Some(Ok(response)));
        }
        let mut pieces = Pieces { response, sent: 0, bytes_max: message_bytes_max };
        let piece = pieces.next().expect("an oversize response has events");
        self.pieces = Some(pieces);
        Poll::Ready(Some(Ok(piece)))
    }
}

/// The status of a stream whose request side broke (WATCH-3).
fn broken_request(status: Status) -> Status {
    match status.code() {
        Code::Cancelled => refusal(status::Status::WatchCanceled),
        _ => restated(status),
    }
}

fn is_oversize(response: &pb::WatchResponse, bytes_max: usize) -> bool {
    use prost::Message;
    response.events.len() >= 2 && response.encoded_len() >= bytes_max
}

/// A response in pieces below `bytes_max`, cut between events; one event is never cut (WATCH-17).
/// Source: etcd 3.7.1 server/etcdserver/api/v3rpc/watch.go (sendFragments).
struct Pieces {
    response: pb::WatchResponse,
    /// Events that earlier pieces had.
    sent: usize,
    bytes_max: usize,
}

impl Iterator for Pieces {
    type Item = pb::WatchResponse;

    fn next(&mut self) -> Option<pb::WatchResponse> {
        let all = self.response.events.len();
        if self.sent == all {
            return None;
        }
        let mut piece = pb::WatchResponse {
            events: wire::Events::default(),
            fragment: true,
            cancel_reason: self.response.cancel_reason.clone(),
            ..self.response
        };
        let mut bytes = piece.envelope_len();
        let mut end = self.sent;
        for event in &self.response.events[self.sent..] {
            bytes += wire::event_len(event);
            if end > self.sent && bytes >= self.bytes_max {
                break;
            }
            end += 1;
        }
        piece.events = self.response.events.slice(self.sent..end);
        piece.fragment = end < all;
        self.sent = end;
        Some(piece)
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
