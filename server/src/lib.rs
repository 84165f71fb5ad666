//! The production shell and the holdfast binary.

pub mod boot;
pub mod clock;
pub mod config;
pub mod core_loop;
#[cfg(not(madsim))]
pub mod data_dir;
pub mod disk;
pub mod door;
#[cfg(not(madsim))]
pub mod grpc_count;
pub mod http;
pub mod http_peer;
mod join;
#[cfg(not(madsim))]
pub mod jwt;
pub mod lane;
pub mod logs;
pub mod metrics;
pub mod notes;
pub mod passwords;
pub mod peers;
#[cfg(not(madsim))]
pub mod ports;
pub mod process_stats;
#[cfg(not(madsim))]
pub mod proxy;
#[cfg(not(madsim))]
pub mod restore;
pub mod run;
#[cfg(not(madsim))]
pub mod secure;
#[cfg(not(madsim))]
mod self_signed;
#[cfg(not(madsim))]
pub mod srv;
#[cfg(not(madsim))]
pub mod supervisor;
mod tally;
