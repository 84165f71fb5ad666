//! Ports: where services meet clients. All that the simulated transport lacks is in here.

#[cfg(not(madsim))]
mod edge;
#[cfg(not(madsim))]
mod listener;
#[cfg(not(madsim))]
mod peer;
#[cfg(madsim)]
mod simulated;
#[cfg(not(madsim))]
mod socket;

#[cfg(not(madsim))]
pub(crate) use edge::is_grpc;
#[cfg(not(madsim))]
pub use edge::{Edge, PlainHttp, Response, whole_body};
#[cfg(not(madsim))]
pub use hyper::body::Incoming;
#[cfg(not(madsim))]
pub use listener::{Bound, Listener};
#[cfg(not(madsim))]
pub use peer::{PROTOCOL_HEADER, is_real_etcd, serve_peers};
#[cfg(madsim)]
pub use simulated::{PACE, listen_madsim, listen_peers_madsim};
#[cfg(not(madsim))]
pub use socket::{Options, Security, serve};
