//! Ports: where services meet clients. All that the simulated transport lacks is in here.

#[cfg(not(madsim))]
mod edge;
#[cfg(madsim)]
mod simulated;
#[cfg(not(madsim))]
mod socket;

#[cfg(not(madsim))]
pub use edge::{Edge, PlainHttp, Response, whole_body};
#[cfg(not(madsim))]
pub use hyper::body::Incoming;
#[cfg(madsim)]
pub use simulated::listen_madsim;
#[cfg(not(madsim))]
pub use socket::{Options, serve};
