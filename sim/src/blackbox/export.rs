//! Histories in the forms of other people's checkers: porcupine (Go) and Elle (Clojure).
//!
//! What a request does depends on the state (a transaction has two branches, a delete finds what it finds), and
//! those checkers' models are small. So each record carries its effect as the black-box checker's own order has
//! it: the keys it sets and takes away, or the keys that it saw. What is left to judge, and is judged anew, is
//! whether these effects have an order that real time and all reads allow. An unanswered write that the order
//! has no use for is left out, a lease that ran out is a write of a client of its own that never returned.
//! Ranges with a limit, a filter or an explicit revision, local reads and read-only transactions are not exported.
//!
//! Keys and values are digests, so that bytes need no escape: a value or deletion has a number of its own, a
//! register that never had either has 0.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use holdfast_core::base::{Key, KeyRange};
use holdfast_core::boundary::EventKind;
use holdfast_core::request::{RangeRequest, Request, Response};

use super::history::{Answer, ClientHistory, Time};
use super::{Explained, Verdict, explain};
use crate::oracle::store::{Change, Store};
use crate::rng::mix;

/// Whose form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON lines: `client`, `call` and `return` (order of the world; -1: never), `revision`, and either
    /// `set` or `saw`, registers by key. A write makes `revision`, a read is answered at it.
    Porcupine,
    /// EDN, one operation a line, for Elle's rw-register: an `:invoke` and an `:ok` or `:info`.
    Elle,
}

impl Format {
    pub fn by_name(name: &str) -> Result<Format, String> {
        match name {
            "porcupine" => Ok(Format::Porcupine),
            "elle" => Ok(Format::Elle),
            _ => Err("one of porcupine, elle".to_owned()),
        }
    }
}

/// One operation: what it set, or what it saw. A register without a value has the number 0.
struct Record {
    client: u64,
    call: u64,
    until: Option<u64>,
    revision: i64,
    effect: Effect,
}

enum Effect {
    Set(BTreeMap<Key, u64>),
    Saw(BTreeMap<Key, u64>),
}

/// A history as text. Errors: the history is no good, or was not decided.
pub fn export(history: &ClientHistory, format: Format) -> Result<String, String> {
    let explained = match explain(history) {
        (Verdict::Ok(_), Some(explained)) => explained,
        (Verdict::Violation(conflict), _) => return Err(conflict.to_string()),
        (Verdict::Undecided { why }, _) => return Err(why),
        (Verdict::Ok(_), None) => unreachable!("what is good has an order"),
    };
    let records = records(history, &explained);
    Ok(match format {
        Format::Porcupine => porcupine(&records),
        Format::Elle => elle(&records),
    })
}

fn records(history: &ClientHistory, explained: &Explained) -> Vec<Record> {
    let mut records = Vec::new();
    let mut alone = history.calls.iter().map(|call| u64::from(call.client)).max().unwrap_or(0);
    let mut keys = BTreeSet::new();
    for (revision, by) in &explained.made_by {
        let changes = explained.store.changes(*revision);
        keys.extend(changes.iter().map(|change| change.kv.key.clone()));
        let call = by.map(|by| &history.calls[by]);
        let until = call.and_then(|call| call.answer.as_ref()).filter(|answer| answer.result.is_ok());
        // Whoever never returned does nothing more: what comes later is another's.
        let client = match (call, until) {
            (Some(call), Some(_)) => u64::from(call.client),
            _ => {
                alone += 1;
                alone
            }
        };
        records.push(Record {
            client,
            call: call.map_or(0, |call| call.call.order),
            until: until.map(|answer| answer.at.order),
            revision: *revision,
            effect: Effect::Set(
                changes.iter().map(|change| (change.kv.key.clone(), number(change))).collect(),
            ),
        });
    }
    for call in &history.calls {
        let Some(Answer { at: Time { order, .. }, result: Ok(Response::Range(range)) }) = &call.answer else {
            continue;
        };
        let Request::Range(request) = &call.request else { continue };
        if !is_plain(request) {
            continue;
        }
        let asked = KeyRange::new(request.key.clone(), request.range_end.clone());
        let mut saw: BTreeMap<Key, u64> = keys
            .iter()
            .filter(|key| asked.contains(key))
            .map(|key| (key.clone(), gone_at(&explained.store, key, range.header.revision)))
            .collect();
        saw.extend(range.kvs.iter().map(|kv| (kv.key.clone(), digest(&kv.value))));
        records.push(Record {
            client: u64::from(call.client),
            call: call.call.order,
            until: Some(*order),
            revision: range.header.revision,
            effect: Effect::Saw(saw),
        });
    }
    records.sort_by_key(|record| record.call);
    records
}

fn is_plain(request: &RangeRequest) -> bool {
    let shape = RangeRequest {
        key: request.key.clone(),
        range_end: request.range_end.clone(),
        sort_order: request.sort_order,
        sort_target: request.sort_target,
        ..RangeRequest::default()
    };
    *request == shape
}

/// The number of a value: of what was put, or, for a deletion, of the deletion itself.
fn number(change: &Change) -> u64 {
    match change.kind {
        EventKind::Put => digest(&change.kv.value),
        EventKind::Delete => digest(format!("gone {}", change.kv.mod_revision).as_bytes()),
    }
}

fn digest(bytes: &[u8]) -> u64 {
    mix(1, bytes)
}

/// The number of a register that has no value at a revision: of its last deletion, 0 if it never had one.
fn gone_at(store: &Store, key: &Key, revision: i64) -> u64 {
    let changes = (2..=revision).rev().flat_map(|revision| store.changes(revision));
    let mut deletions = changes.filter(|change| change.kv.key == *key && change.kind == EventKind::Delete);
    deletions.next().map_or(0, number)
}

fn porcupine(records: &[Record]) -> String {
    let mut text = String::new();
    for Record { client, call, until, revision, effect } in records {
        let until = until.map_or(-1, |until| until as i64);
        let (name, registers) = match effect {
            Effect::Set(registers) => ("set", registers),
            Effect::Saw(registers) => ("saw", registers),
        };
        let registers: Vec<String> = registers
            .iter()
            .map(|(key, value)| format!("\"{:#018x}\":\"{value:#018x}\"", digest(key)))
            .collect();
        writeln!(
            text,
            "{{\"client\":{client},\"call\":{call},\"return\":{until},\"revision\":{revision},\"{name}\":{{{}}}}}",
            registers.join(",")
        )
        .expect("a string takes all");
    }
    text
}

/// Invocations and completions in the order of the world.
fn elle(records: &[Record]) -> String {
    let mut lines: Vec<(u64, String)> = Vec::new();
    for Record { client, call, until, effect, .. } in records {
        let value = |is_known: bool| {
            let (verb, registers) = match effect {
                Effect::Set(registers) => ("w", registers),
                Effect::Saw(registers) => ("r", registers),
            };
            let ops: Vec<String> = registers
                .iter()
                .map(|(key, value)| match (verb, is_known, *value) {
                    ("w", ..) | ("r", true, 1..) => format!("[:{verb} {} {value}]", digest(key)),
                    _ => format!("[:{verb} {} nil]", digest(key)),
                })
                .collect();
            format!("[{}]", ops.join(" "))
        };
        let line = |kind: &str, at: u64, is_known: bool| {
            format!(":process {client}, :type :{kind}, :f :txn, :time {at}, :value {}", value(is_known))
        };
        lines.push((*call, line("invoke", *call, false)));
        match until {
            Some(until) => lines.push((*until, line("ok", *until, true))),
            None => lines.push((u64::MAX, line("info", i64::MAX as u64, true))),
        }
    }
    lines.sort();
    let numbered =
        (0..).zip(lines).map(|(index, (_, line)): (u64, _)| format!("{{:index {index}, {line}}}\n"));
    numbered.collect()
}
