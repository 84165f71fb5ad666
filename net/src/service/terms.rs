//! What a request's metadata asks of its answer: a leader, an end in time.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use holdfast_core::status;
use tokio::time::{sleep, timeout};
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::refusal::refusal;
use crate::gate::Gate;

/// Election timeouts without a leader after which a stream that asked for one ends (LEAD-2).
const LEADERLESS_ELECTIONS_MAX: u32 = 3;

/// The terms of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Time from arrival until the client gives up.
    pub deadline: Option<Duration>,
    pub needs_leader: bool,
}

impl Terms {
    /// Reads the metadata, for what a learner refuses (CL-13). Errors: this member is a learner, LEAD-1, LEAD-3, a
    /// deadline that cannot be read.
    /// Source: etcd 3.7.1 server/etcdserver/api/v3rpc/interceptor.go (order of the checks).
    pub fn check(gate: &Gate, metadata: &MetadataMap) -> Result<Terms, Status> {
        match gate.is_learner() {
            true => Err(refusal(status::Status::NotSupportedForLearner)),
            false => Terms::check_anywhere(gate, metadata),
        }
    }

    /// The same for what every member serves.
    pub fn check_anywhere(gate: &Gate, metadata: &MetadataMap) -> Result<Terms, Status> {
        let terms = Terms::read(metadata)?;
        if terms.needs_leader && !gate.is_leader_known() {
            return Err(refusal(status::Status::NoLeader));
        }
        Ok(terms)
    }

    fn read(metadata: &MetadataMap) -> Result<Terms, Status> {
        let deadline = match metadata.get("grpc-timeout") {
            None => None,
            Some(text) => Some(parse_timeout(text.as_bytes()).ok_or_else(malformed_timeout)?),
        };
        if let Some(version) = metadata.get("client-api-version")
            && std::str::from_utf8(version.as_bytes()).is_err()
        {
            return Err(refusal(status::Status::InvalidClientApiVersion));
        }
        let needs_leader = metadata.get("hasleader").is_some_and(|flag| flag.as_bytes() == b"true");
        Ok(Terms { deadline, needs_leader })
    }

    /// Ends a call that may wait for others without end: at its deadline, or when the member closes.
    pub async fn bound_call<T>(
        self,
        gate: &Gate,
        call: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        tokio::select! {
            biased;
            answer = call => answer,
            () = self.over() => Err(refusal(status::Status::ContextDeadlineExceeded)),
            () = gate.wait_for(|outlook| outlook.closing) => Err(refusal(status::Status::Stopped)),
        }
    }

    /// Ends a stream that ends by itself at its deadline, or when its leader is lost.
    pub fn bound<S>(self, gate: &Gate, stream: S) -> Until<S> {
        let end: Option<End> = (self != Terms::default()).then(|| {
            let gate = gate.clone();
            let end: End = Box::pin(async move { self.broken(&gate).await });
            end
        });
        Until { stream, end, over: false }
    }

    /// As `bound`, for a stream that goes on until someone ends it: the closing member does.
    pub fn bound_standing<S>(self, gate: &Gate, stream: S) -> Until<S> {
        let gate = gate.clone();
        let end: End = Box::pin(async move {
            tokio::select! {
                biased;
                () = gate.wait_for(|outlook| outlook.closing) => refusal(status::Status::Stopped),
                status = self.broken(&gate) => status,
            }
        });
        Until { stream, end: Some(end), over: false }
    }

    /// Waits for the deadline; for ever, if there is none.
    async fn over(self) {
        match self.deadline {
            Some(deadline) => sleep(deadline).await,
            None => std::future::pending().await,
        }
    }

    /// Waits until the terms cannot be kept any more.
    async fn broken(self, gate: &Gate) -> Status {
        tokio::select! {
            biased;
            () = self.over() => refusal(status::Status::ContextDeadlineExceeded),
            () = leader_lost(gate), if self.needs_leader => refusal(status::Status::NoLeader),
        }
    }
}

/// Waits until the node has known no leader for long.
async fn leader_lost(gate: &Gate) {
    let patience = Duration::from_millis(gate.identity().election_timeout_ms) * LEADERLESS_ELECTIONS_MAX;
    loop {
        gate.wait_for(|outlook| !outlook.leader_known).await;
        if timeout(patience, gate.wait_for(|outlook| outlook.leader_known)).await.is_err() {
            return;
        }
    }
}

/// gRPC's timeout: at most eight digits and a unit.
fn parse_timeout(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount = digits.iter().fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(amount * 3600),
        b'M' => Duration::from_secs(amount * 60),
        b'S' => Duration::from_secs(amount),
        b'm' => Duration::from_millis(amount),
        b'u' => Duration::from_micros(amount),
        b'n' => Duration::from_nanos(amount),
        _ => return None,
    })
}

fn malformed_timeout() -> Status {
    Status::internal("malformed grpc-timeout")
}

type End = Pin<Box<dyn Future<Output = Status> + Send>>;

/// A stream that ends with a status of its own as soon as there is one.
pub struct Until<S> {
    stream: S,
    end: Option<End>,
    over: bool,
}

impl<S, T> Stream for Until<S>
where
    S: Stream<Item = Result<T, Status>> + Unpin,
{
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        if let Some(end) = &mut self.end
            && let Poll::Ready(status) = end.as_mut().poll(cx)
        {
            self.over = true;
            return Poll::Ready(Some(Err(status)));
        }
        let polled = Pin::new(&mut self.stream).poll_next(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.over = true;
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_in_every_unit() {
        let cases = [
            ("2H", Duration::from_secs(7200)),
            ("3M", Duration::from_secs(180)),
            ("0S", Duration::ZERO),
            ("12345678m", Duration::from_millis(12_345_678)),
            ("5u", Duration::from_micros(5)),
            ("7n", Duration::from_nanos(7)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_timeout(text.as_bytes()), Some(expected), "{text}");
        }
        for text in ["", "S", "5", "5x", "-5S", "123456789m", "5 S"] {
            assert_eq!(parse_timeout(text.as_bytes()), None, "{text}");
        }
    }
}
