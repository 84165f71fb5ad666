//! The command line: a table of commands and flags, how it is read, and how help is printed.
//!
//! The table has the names, types and defaults of etcdctl's; clap reads flags by it, completion scripts
//! are made from it, and usage errors have the texts that etcdctl's own library (cobra, pflag) gives.

pub mod find;
pub mod given;
pub mod globals;
pub mod parse;
pub mod spec;
pub mod table;
pub mod usage;
