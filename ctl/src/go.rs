//! Go's ways with text, which etcdctl's users and their scripts read and write.

pub mod duration;
pub mod humanize;
pub mod json;
pub mod number;
pub mod quote;
pub mod system;
