//! What clients of a database saw, whoever ran it: the input of the black-box checker.

use holdfast_core::boundary::{StreamOp, WatchResponse};
use holdfast_core::request::{Request, Response};
use holdfast_core::status::Status;

use crate::history::{self, History, Moment};

/// When a client saw or did something. A thing is before another if its `order` is smaller; equal ones are
/// concurrent, so a recorder that has only a clock takes the clock for both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    pub order: u64,
    pub at_ns: u64,
}

impl Time {
    pub const NEVER: Time = Time { order: u64::MAX, at_ns: u64::MAX };
}

impl From<Moment> for Time {
    fn from(moment: Moment) -> Time {
        Time { order: moment.seq, at_ns: moment.at_ns }
    }
}

/// One submission of one request.
#[derive(Clone, Debug)]
pub struct Call {
    pub client: u32,
    /// The life of a member that it was sent to: what one life answers from its own State never goes back.
    pub place: usize,
    pub request: Request,
    pub call: Time,
    /// `None`: it is not known what came of it.
    pub answer: Option<Answer>,
}

/// The answer to a call. Terms in it are not looked at.
#[derive(Clone, Debug)]
pub struct Answer {
    pub at: Time,
    pub result: Result<Response, Status>,
}

/// One watch stream to one life of a member. Fragments are put together by who records.
#[derive(Clone, Debug)]
pub struct Stream {
    pub place: usize,
    pub passed: Vec<(Time, Passed)>,
    /// Whether it was left in peace long enough at the end that all that happened must have come.
    pub lives_to_end: bool,
}

/// What passed on a stream.
#[derive(Clone, Debug)]
pub enum Passed {
    Asked(StreamOp),
    Told(WatchResponse),
}

/// What the run promised.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Bound on the rate error of the members' clocks.
    pub drift: f64,
    /// Smallest effective TTL in seconds.
    pub ttl_min_s: i64,
    pub txn_ops_max: usize,
    /// Whether a member may refuse for want of space.
    pub has_quota: bool,
}

/// Everything that clients of one run did and saw.
#[derive(Clone, Debug)]
pub struct ClientHistory {
    pub terms: Terms,
    pub calls: Vec<Call>,
    pub streams: Vec<Stream>,
}

impl From<&History> for ClientHistory {
    /// Forgets the log, the digests and all else that no client sees.
    fn from(history: &History) -> ClientHistory {
        let history::Terms { drift, ttl_min_s, txn_ops_max, has_quota, .. } = history.terms;
        // Who raised an alarm no client sees, so none can be said to be gone.
        let seen_from_outside = |op: &&history::Op| !matches!(op.request, Request::AlarmSet { .. });
        let calls = history.ops.iter().filter(seen_from_outside).map(|op| Call {
            client: op.client,
            place: op.life,
            request: op.request.clone(),
            call: op.call.into(),
            answer: op.answer.as_ref().map(|answer| Answer {
                at: answer.at.into(),
                result: answer.result.clone().map(without_term),
            }),
        });
        let streams = history.streams.iter().map(|stream| Stream {
            place: stream.life,
            passed: stream.passed.iter().map(|(at, passed)| ((*at).into(), seen(passed))).collect(),
            lives_to_end: stream.lives_to_end,
        });
        ClientHistory {
            terms: Terms { drift, ttl_min_s, txn_ops_max, has_quota },
            calls: calls.collect(),
            streams: streams.collect(),
        }
    }
}

fn seen(passed: &history::Passed) -> Passed {
    match passed {
        history::Passed::Op(op) => Passed::Asked(op.clone()),
        history::Passed::Delivered(response, _) => Passed::Told(response.clone()),
    }
}

/// The same answer under term 0, the term of every entry of the checker's own order.
fn without_term(mut response: Response) -> Response {
    if let Some(header) = response.header_mut() {
        header.raft_term = 0;
    }
    response
}

impl Call {
    /// The revision in the answer's header; refusals and some answers have none.
    pub fn revision(&self) -> Option<i64> {
        let response = self.answer.as_ref()?.result.as_ref().ok()?;
        response.header().map(|header| header.revision).filter(|revision| *revision > 0)
    }
}
