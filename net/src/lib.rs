//! Bytes on sockets to core types and back.
//!
//! A request comes in through `listen`, is decoded by generated code into `proto` types, turned into a
//! core request by `convert`, put before the node by `gate`, and its answer goes the same way back.
//! `service` holds that path for each RPC and compiles for the real transport and for the simulated one.

pub mod answers;
pub mod backup;
#[cfg(not(madsim))]
pub mod bolt;
pub mod clock;
pub mod convert;
pub mod gate;
#[cfg(not(madsim))]
pub mod gateway;
pub mod listen;
pub mod peer;
pub mod proto;
pub mod service;
pub mod tls;
pub mod tokens;
pub mod wire;
