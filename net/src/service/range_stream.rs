//! RangeStream: a large range as a run of small ones at one revision.
//!
//! Source: etcd 3.7.1 server/etcdserver/v3_server.go (rangeStream); RS-1 to RS-8. The first range is the
//! request itself, with its barrier; the others are serializable reads at the revision that the first one
//! saw. Nothing is held between them, so a compaction may end the stream (RS-7).

use std::pin::Pin;

use futures_util::{Stream, stream};
use holdfast_core::request::{
    Credentials, RangeRequest, RangeResponse, Request, Response, SortOrder, SortTarget,
};
use holdfast_core::status;
use prost::Message;
use tonic::Status;

use super::mismatched;
use super::refusal::refusal;
use crate::convert;
use crate::gate::Gate;
use crate::proto::etcdserverpb as pb;

/// Keys of the first chunk.
const FIRST_CHUNK_KEYS: i64 = 10;

/// The chunks, in order.
pub type RangeStream = Pin<Box<dyn Stream<Item = Result<pb::RangeStreamResponse, Status>> + Send>>;

/// Errors: RS-1, and the refusals of any range that etcd checks before them.
pub fn open(gate: Gate, credentials: Credentials, request: RangeRequest) -> Result<RangeStream, Status> {
    check_request(&request).map_err(refusal)?;
    let chunks = Chunks::new(gate, credentials, request);
    Ok(Box::pin(stream::try_unfold(chunks, |mut chunks| async move {
        let chunk = chunks.take_next().await?;
        Ok(chunk.map(|response| (pb::RangeStreamResponse { range_response: Some(response) }, chunks)))
    })))
}

fn check_request(request: &RangeRequest) -> Result<(), status::Status> {
    if request.key.is_empty() {
        return Err(status::Status::EmptyKey);
    }
    let ordered = match (request.sort_order, request.sort_target) {
        (SortOrder::Unknown(_), _) | (_, SortTarget::Unknown(_)) => {
            return Err(status::Status::InvalidSortOption);
        }
        (SortOrder::None, _) | (SortOrder::Ascend, SortTarget::Key) => true,
        _ => false,
    };
    if !ordered {
        return Err(status::Status::RangeStreamSort);
    }
    let filters = [
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    ];
    if filters != [0; 4] {
        return Err(status::Status::RangeStreamFilter);
    }
    Ok(())
}

/// Where the stream is.
struct Chunks {
    gate: Gate,
    /// Each chunk is judged by itself: what was lost under way ends the stream.
    credentials: Credentials,
    /// The range that is still to be read.
    rest: RangeRequest,
    /// What the first answer said, for the last chunk.
    first: Option<First>,
    /// Keys that the client still wants.
    wanted: i64,
    chunk_keys: i64,
    over: bool,
}

#[derive(Clone, Copy)]
struct First {
    header: pb::ResponseHeader,
    /// Keys in the whole range.
    count: i64,
}

impl Chunks {
    fn new(gate: Gate, credentials: Credentials, rest: RangeRequest) -> Chunks {
        let wanted = if rest.limit > 0 { rest.limit } else { i64::MAX };
        Chunks { gate, credentials, rest, first: None, wanted, chunk_keys: FIRST_CHUNK_KEYS, over: false }
    }

    async fn take_next(&mut self) -> Result<Option<pb::RangeResponse>, Status> {
        if self.over {
            return Ok(None);
        }
        if !self.rest.count_only {
            self.rest.limit = self.chunk_keys.min(self.wanted);
        }
        let call = self.gate.call(self.credentials.clone(), Request::Range(self.rest.clone()));
        let range = match call.await.map_err(refusal)? {
            Response::Range(range) => range,
            other => mismatched("RangeStream", &other),
        };
        let first = *self.first.get_or_insert_with(|| First {
            header: convert::header(self.gate.identity(), range.header),
            count: range.count,
        });
        Ok(Some(self.chunk(first, range)))
    }

    /// The chunk of an answer; moves the rest behind it.
    fn chunk(&mut self, first: First, range: RangeResponse) -> pb::RangeResponse {
        self.wanted -= range.kvs.len() as i64;
        let more = range.more && !range.kvs.is_empty();
        self.over = !more || self.wanted <= 0;
        if let Some(last) = range.kvs.last() {
            self.rest.key = [&last.key[..], &[0]].concat().into();
        }
        let mut chunk = convert::range_response(range, pb::ResponseHeader::default());
        chunk.header = self.over.then_some(first.header);
        chunk.more = self.over && more;
        chunk.count = if self.over { first.count } else { 0 };
        if !self.over {
            self.chunk_keys = next_chunk_keys(
                self.chunk_keys,
                chunk.encoded_len() as u64,
                u64::from(self.gate.identity().request_bytes_max),
            );
            self.rest.serializable = true;
            if self.rest.revision <= 0 {
                self.rest.revision = first.header.revision;
            }
        }
        chunk
    }
}

/// RS-6: chunks of about `target_bytes`, without swinging around it.
fn next_chunk_keys(keys: i64, bytes: u64, target_bytes: u64) -> i64 {
    if bytes < target_bytes / 2 {
        keys.saturating_mul(2)
    } else if bytes > target_bytes.saturating_mul(2) {
        (keys / 2).max(1)
    } else {
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_grow_and_shrink_towards_the_target() {
        assert_eq!(next_chunk_keys(10, 49, 100), 20);
        assert_eq!(next_chunk_keys(10, 50, 100), 10);
        assert_eq!(next_chunk_keys(10, 200, 100), 10);
        assert_eq!(next_chunk_keys(10, 201, 100), 5);
        assert_eq!(next_chunk_keys(1, 1000, 100), 1);
    }

    #[test]
    fn checks_come_in_etcd_order() {
        let request = RangeRequest { sort_order: SortOrder::Unknown(7), ..RangeRequest::default() };
        assert_eq!(check_request(&request), Err(status::Status::EmptyKey));
        let request = RangeRequest { key: "k".into(), min_mod_revision: 1, ..request };
        assert_eq!(check_request(&request), Err(status::Status::InvalidSortOption));
        let request = RangeRequest { sort_order: SortOrder::Descend, ..request };
        assert_eq!(check_request(&request), Err(status::Status::RangeStreamSort));
        let request = RangeRequest { sort_order: SortOrder::None, sort_target: SortTarget::Value, ..request };
        assert_eq!(check_request(&request), Err(status::Status::RangeStreamFilter));
        let request = RangeRequest { min_mod_revision: 0, ..request };
        assert_eq!(check_request(&request), Ok(()));
    }
}
