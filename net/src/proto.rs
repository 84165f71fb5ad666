//! Generated messages, clients and servers, one module a package.

#![allow(clippy::all, clippy::too_many_lines, unused_qualifications, reason = "generated")]

pub mod authpb {
    tonic::include_proto!("authpb");
}

pub mod etcdserverpb {
    tonic::include_proto!("etcdserverpb");

    pub use crate::wire::WatchResponse;
}

pub mod healthpb {
    tonic::include_proto!("grpc.health.v1");
}

pub mod holdfast {
    tonic::include_proto!("holdfast");
}

pub mod mvccpb {
    tonic::include_proto!("mvccpb");

    pub use crate::wire::KeyValue;
}

pub mod v3electionpb {
    tonic::include_proto!("v3electionpb");
}

pub mod v3lockpb {
    tonic::include_proto!("v3lockpb");
}
