//! Lines for standard error beside a command's own words, one JSON object each, as etcd's client logs.

use std::io::Write as _;

use crate::go::json::{self, Object};

pub fn warn(message: &str, fields: &[(&str, &str)]) {
    line("warn", message, fields);
}

pub fn fatal(message: &str, fields: &[(&str, &str)]) {
    line("fatal", message, fields);
}

pub fn info(message: &str, fields: &[(&str, &str)]) {
    line("info", message, fields);
}

fn line(level: &str, message: &str, fields: &[(&str, &str)]) {
    let at = chrono::Utc::now().format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
    let mut object = Object::new()
        .raw("level", json::string(level))
        .raw("ts", json::string(&at))
        .raw("msg", json::string(message));
    for (name, value) in fields {
        object = object.raw(name, json::string(value));
    }
    // There is nobody left to tell if standard error is gone.
    writeln!(std::io::stderr(), "{object}").ok();
}
