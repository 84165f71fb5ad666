//! The oracle: a model of the database made from the contract alone, sharing no code with the core's
//! store, transactions, leases or watches. It is slow, keeps everything, and is read by the checkers.

pub mod auth;
pub mod expect;
pub mod members;
pub mod model;
pub mod range;
pub mod refuse;
pub mod store;
pub mod txn;
