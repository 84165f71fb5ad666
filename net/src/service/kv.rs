//! Reads and writes of the key space.

use holdfast_core::request as core;
use tonic::{Request, Response, Status};

use super::credentials::credentials;
use super::range_stream::{self, RangeStream};
use super::terms::{Terms, Until};
use super::{ask, mismatched};
use crate::convert;
use crate::gate::Gate;
use crate::proto::etcdserverpb as pb;

/// `etcdserverpb.KV`.
#[derive(Clone, Debug)]
pub struct Kv {
    gate: Gate,
}

impl Kv {
    pub fn new(gate: Gate) -> Kv {
        Kv { gate }
    }

    fn header(&self, header: core::Header) -> pb::ResponseHeader {
        convert::header(self.gate.identity(), header)
    }
}

#[tonic::async_trait]
impl pb::kv_server::Kv for Kv {
    type RangeStreamStream = Until<RangeStream>;

    async fn range(&self, request: Request<pb::RangeRequest>) -> Result<Response<pb::RangeResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let request = core::Request::Range(convert::range_request(message));
        match ask(&self.gate, &metadata, request).await? {
            core::Response::Range(range) => {
                let header = self.header(range.header);
                Ok(Response::new(convert::range_response(range, header)))
            }
            other => mismatched("Range", &other),
        }
    }

    async fn range_stream(
        &self,
        request: Request<pb::RangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        let (metadata, _, message) = request.into_parts();
        let terms = Terms::check(&self.gate, &metadata)?;
        let request = convert::range_request(message);
        let stream = range_stream::open(self.gate.clone(), credentials(&metadata), request)?;
        Ok(Response::new(terms.bound(&self.gate, stream)))
    }

    async fn put(&self, request: Request<pb::PutRequest>) -> Result<Response<pb::PutResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let request = core::Request::Put(convert::put_request(message));
        match ask(&self.gate, &metadata, request).await? {
            core::Response::Put(put) => {
                let header = self.header(put.header);
                Ok(Response::new(convert::put_response(put, header)))
            }
            other => mismatched("Put", &other),
        }
    }

    async fn delete_range(
        &self,
        request: Request<pb::DeleteRangeRequest>,
    ) -> Result<Response<pb::DeleteRangeResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let request = core::Request::DeleteRange(convert::delete_range_request(message));
        match ask(&self.gate, &metadata, request).await? {
            core::Response::DeleteRange(delete) => {
                let header = self.header(delete.header);
                Ok(Response::new(convert::delete_range_response(delete, header)))
            }
            other => mismatched("DeleteRange", &other),
        }
    }

    async fn txn(&self, request: Request<pb::TxnRequest>) -> Result<Response<pb::TxnResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let request = core::Request::Txn(convert::txn_request(message)?);
        match ask(&self.gate, &metadata, request).await? {
            core::Response::Txn(txn) => {
                let header = self.header(txn.header);
                Ok(Response::new(convert::txn_response(txn, header)))
            }
            other => mismatched("Txn", &other),
        }
    }

    async fn compact(
        &self,
        request: Request<pb::CompactionRequest>,
    ) -> Result<Response<pb::CompactionResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let compact = core::CompactRequest { revision: message.revision, physical: message.physical };
        match ask(&self.gate, &metadata, core::Request::Compact(compact)).await? {
            core::Response::Compact { header } => {
                Ok(Response::new(pb::CompactionResponse { header: Some(self.header(header)) }))
            }
            other => mismatched("Compact", &other),
        }
    }
}
