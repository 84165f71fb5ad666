//! Black-box tests and benches over real processes.

#![cfg(not(madsim))]

pub mod ask;
pub mod ask_auth;
pub mod auth_script;
pub mod client;
pub mod cluster;
pub mod dns;
pub mod etcd;
pub mod http;
pub mod load;
pub mod pki;
pub mod process;
pub mod script;
pub mod typed;
