//! The JSON gateway of a real server: what it answers is what etcd 3.7.1 answered, and answers where there is one.
//!
//! The snapshot is etcd's: `INSTA_UPDATE=always cargo test -p holdfast-tests --test gateway a_real_etcd` writes it.
//! Masked are ids, terms, sizes, hashes and tokens, and the words in which JSON that cannot be read is refused.

#![cfg(not(madsim))]

use std::fmt::Write as _;

use holdfast_tests::etcd::real_etcd;
use holdfast_tests::http::{Answer, send, send_stream};
use holdfast_tests::process::{Program, Server};
use serde_json::Value;

/// Verb, path, body; in this order, on a new member. `a` is YQ==, `root` cm9vdA==.
const SCRIPT: &[(&str, &str, &str)] = &[
    ("POST", "/v3/kv/put", r#"{"key":"YQ==","value":"MQ=="}"#),
    ("POST", "/v3beta/kv/put", r#"{"key":"YQ==","value":"Mg==","prevKv":true}"#),
    ("POST", "/v3/kv/range", r#"{"key":"YQ=="}"#),
    ("POST", "/v3/kv/range", r#"{"key":"AA==","range_end":"AA==","count_only":true,"unknown":{"x":[1]}}"#),
    ("POST", "/v3/kv/range", r#"{"key":"YQ==","revision":"99"}"#),
    ("POST", "/v3/kv/range", "{}"),
    ("POST", "/v3/kv/range", ""),
    ("POST", "/v3/kv/range", "{"),
    ("POST", "/v3/kv/range", "[1]"),
    ("POST", "/v3/kv/range", r#"{"key":"%%"}"#),
    ("POST", "/v3/kv/range", r#"{"key":"YQ==","sort_order":"DOWN"}"#),
    (
        "POST",
        "/v3/kv/txn",
        r#"{"compare":[{"target":"VALUE","key":"YQ==","value":"Mg=="}],
            "success":[{"requestPut":{"key":"Yg==","value":"Mw=="}},{"request_range":{"key":"YQ=="}}],
            "failure":[{"request_delete_range":{"key":"YQ=="}}]}"#,
    ),
    ("POST", "/v3/kv/txn", r#"{"success":[{"requestTxn":{"success":[{"requestRange":{"key":"Yg=="}}]}}]}"#),
    ("POST", "/v3/kv/deleterange", r#"{"key":"Yg==","prev_kv":true}"#),
    ("POST", "/v3/kv/compaction", r#"{"revision":"4"}"#),
    ("POST", "/v3/kv/compaction", r#"{"revision":4}"#),
    ("POST", "/v3/kv/range", r#"{"key":"YQ==","revision":"2"}"#),
    ("GET", "/v3/kv/range", ""),
    ("PUT", "/v3/kv/put", "{}"),
    ("POST", "/v3/kv", "{}"),
    ("POST", "/v3/kv/rangestream", "{}"),
    ("GET", "/v3/nothing", ""),
    ("POST", "/v3", "{}"),
    ("POST", "/v3alpha/kv/range", "{}"),
    ("OPTIONS", "/v3/kv/range", ""),
    ("POST", "/v3/lease/grant", r#"{"TTL":"600","ID":"7"}"#),
    ("POST", "/v3/lease/grant", r#"{"TTL":600,"ID":7}"#),
    ("POST", "/v3/kv/put", r#"{"key":"bA==","lease":"7"}"#),
    ("POST", "/v3/lease/timetolive", r#"{"ID":"7","keys":true}"#),
    ("POST", "/v3/kv/lease/timetolive", r#"{"ID":"8"}"#),
    ("POST", "/v3/lease/keepalive", r#"{"ID":"7"}"#),
    ("POST", "/v3/lease/keepalive", r#"{"ID":"8"}"#),
    ("POST", "/v3/lease/leases", "{}"),
    ("POST", "/v3/kv/lease/leases", ""),
    ("POST", "/v3/lease/revoke", r#"{"ID":"8"}"#),
    ("POST", "/v3/kv/lease/revoke", r#"{"ID":"7"}"#),
    ("POST", "/v3/cluster/member/list", "{}"),
    ("POST", "/v3/cluster/member/promote", r#"{"ID":"1"}"#),
    ("POST", "/v3/cluster/member/remove", r#"{"ID":"1"}"#),
    ("POST", "/v3/maintenance/status", "{}"),
    ("POST", "/v3/maintenance/alarm", r#"{"action":"GET"}"#),
    ("POST", "/v3/maintenance/alarm", r#"{"action":"ACTIVATE","memberID":"7"}"#),
    ("POST", "/v3/maintenance/alarm", r#"{"action":"ACTIVATE","memberID":"7","alarm":"NOSPACE"}"#),
    ("POST", "/v3/maintenance/alarm", r#"{"action":"ACTIVATE","memberID":"7","alarm":"NOSPACE"}"#),
    ("POST", "/v3/maintenance/alarm", "{}"),
    ("POST", "/v3/maintenance/status", "{}"),
    ("POST", "/v3/kv/put", r#"{"key":"cw=="}"#),
    ("POST", "/v3/lease/grant", r#"{"TTL":"600","ID":"9"}"#),
    ("POST", "/v3/kv/txn", r#"{"success":[{"requestPut":{"key":"cw=="}}]}"#),
    ("POST", "/v3/kv/txn", r#"{"success":[{"requestRange":{"key":"cw=="}}]}"#),
    ("POST", "/v3/kv/deleterange", r#"{"key":"cw=="}"#),
    ("POST", "/v3/maintenance/alarm", r#"{"action":"ACTIVATE","memberID":"8","alarm":"CORRUPT"}"#),
    ("POST", "/v3/maintenance/alarm", r#"{"alarm":"CORRUPT"}"#),
    ("POST", "/v3/kv/deleterange", r#"{"key":"cw=="}"#),
    ("POST", "/v3/kv/range", r#"{"key":"YQ=="}"#),
    ("POST", "/v3/kv/compaction", r#"{"revision":"5"}"#),
    ("POST", "/v3/lease/revoke", r#"{"ID":"9"}"#),
    ("GET", "/health", ""),
    ("POST", "/v3/maintenance/alarm", r#"{"action":"DEACTIVATE","memberID":"8","alarm":"NOSPACE"}"#),
    ("POST", "/v3/maintenance/alarm", r#"{"action":"DEACTIVATE","memberID":"8","alarm":"CORRUPT"}"#),
    ("POST", "/v3/kv/put", r#"{"key":"cw=="}"#),
    ("POST", "/v3/maintenance/alarm", r#"{"action":"DEACTIVATE","memberID":"7","alarm":"NOSPACE"}"#),
    ("POST", "/v3/kv/put", r#"{"key":"cw=="}"#),
    ("POST", "/v3/maintenance/hashkv", "{}"),
    ("POST", "/v3/maintenance/defragment", "{}"),
    ("POST", "/v3/maintenance/transfer-leadership", r#"{"targetID":"5"}"#),
    ("POST", "/v3/lease/grant", r#"{"TTL":"600","ID":"255"}"#),
    ("POST", "/v3/lock/lock", r#"{"name":"bG9jaw==","lease":"255"}"#),
    ("POST", "/v3/lock/unlock", r#"{"key":"bG9jay9mZg=="}"#),
    ("POST", "/v3/election/leader", r#"{"name":"ZQ=="}"#),
    ("POST", "/v3/election/campaign", r#"{"name":"ZQ==","lease":"255","value":"bWU="}"#),
    ("POST", "/v3/election/leader", r#"{"name":"ZQ=="}"#),
    ("POST", "/v3/election/proclaim", r#"{"value":"eQ=="}"#),
    ("POST", "/v3/auth/status", "{}"),
    ("POST", "/v3/auth/enable", "{}"),
    ("POST", "/v3/auth/user/add", r#"{"name":"root","password":"secret"}"#),
    ("POST", "/v3/auth/user/add", r#"{"name":"root","password":"secret"}"#),
    ("POST", "/v3/auth/role/add", r#"{"name":"root"}"#),
    ("POST", "/v3/auth/role/grant", r#"{"name":"root","perm":{"permType":"READWRITE","key":"YQ=="}}"#),
    ("POST", "/v3/auth/role/get", r#"{"role":"root"}"#),
    ("POST", "/v3/auth/role/add", r#"{"name":"reader"}"#),
    ("POST", "/v3/auth/role/grant", r#"{"name":"reader","perm":{"key":"YQ==","range_end":"Yg=="}}"#),
    ("POST", "/v3/auth/role/get", r#"{"role":"reader"}"#),
    ("POST", "/v3/auth/role/revoke", r#"{"role":"reader","key":"YQ==","range_end":"Yg=="}"#),
    ("POST", "/v3/auth/role/list", "{}"),
    ("POST", "/v3/auth/user/grant", r#"{"user":"root","role":"root"}"#),
    ("POST", "/v3/auth/user/get", r#"{"name":"root"}"#),
    ("POST", "/v3/auth/user/list", "{}"),
    ("POST", "/v3/auth/enable", "{}"),
    ("POST", "/v3/kv/range", r#"{"key":"YQ=="}"#),
    ("POST", "/v3/auth/authenticate", r#"{"name":"root","password":"wrong"}"#),
    ("POST", "/v3/auth/authenticate", r#"{"name":"root","password":"secret"}"#),
    // From here on with the token.
    ("POST", "/v3/kv/range", r#"{"key":"YQ=="}"#),
    ("POST", "/v3/auth/role/delete", r#"{"role":"reader"}"#),
    ("POST", "/v3/auth/disable", "{}"),
];

/// Fields that say who and when.
const MASKED: &[&str] = &[
    "cluster_id",
    "member_id",
    "raft_term",
    "raftTerm",
    "raftIndex",
    "raftAppliedIndex",
    "dbSize",
    "dbSizeInUse",
    "leader",
    "hash",
    "token",
    "TTL",
    "ID",
    "name",
    "peerURLs",
    "clientURLs",
];

fn mask(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match MASKED.contains(&name.as_str()) && !value.is_object() {
                    true => *value = Value::from("*"),
                    false => mask(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(mask),
        _ => {}
    }
}

/// A refusal that the gateway itself made of JSON that it could not read.
fn mask_reason(value: &mut Value) {
    if value["code"] == 3
        && let Value::String(message) = &mut value["message"]
        && !message.starts_with("etcdserver: ")
    {
        *message = "*".to_owned();
    }
}

fn masked(line: &str) -> String {
    let Ok(mut value) = serde_json::from_str(line) else { return line.to_owned() };
    mask(&mut value);
    mask_reason(&mut value);
    // Go's protobuf puts one space or two between the fields of an alarm, as its build has it.
    value.to_string().replace("  alarm:", " alarm:")
}

async fn told(answer: Answer, headers: &[&str]) -> String {
    let mut text = format!("    {} {}\n", answer.status, answer.header("content-type"));
    for name in headers {
        if !answer.header(name).is_empty() {
            writeln!(text, "    {name}: {}", answer.header(name)).expect("a String takes every text");
        }
    }
    for line in answer.text().await.lines() {
        writeln!(text, "    {}", masked(line)).expect("a String takes every text");
    }
    text
}

/// Everything that a new member answers to the script.
async fn answers(program: Program) -> String {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let server = Server::start(program, scratch.path(), &[]);
    let mut all = String::new();
    let mut token = String::new();
    for (verb, path, body) in SCRIPT {
        let headers: &[(&str, &str)] = if token.is_empty() { &[] } else { &[("authorization", &token)] };
        let answer = send(server.client_port, verb, path, headers, body).await;
        if path.ends_with("/authenticate") && answer.status == 200 {
            let text = answer.text().await;
            let value: Value = serde_json::from_str(&text).expect("JSON");
            token = value["token"].as_str().expect("a token").to_owned();
            continue;
        }
        // They are on every answer.
        let cors =
            ["access-control-allow-origin", "access-control-allow-methods", "access-control-allow-headers"];
        let told = told(answer, if *verb == "OPTIONS" { &cors } else { &["www-authenticate"] }).await;
        writeln!(all, "{verb} {path} {}\n{told}", body.split_whitespace().collect::<String>())
            .expect("a String takes every text");
    }
    all + &watched(server.client_port).await
}

/// A watch over HTTP: what is created, put, deleted and refused comes as lines.
async fn watched(port: u16) -> String {
    let body = r#"{"create_request":{"key":"dw==","prev_kv":true,"watch_id":"3"}}
                  {"createRequest":{"key":"dw==","watchId":3}}"#;
    let mut answer = send(port, "POST", "/v3/watch", &[], body).await;
    let mut lines = vec![answer.line().await, answer.line().await];
    for (path, body) in [
        ("/v3/kv/put", r#"{"key":"dw==","value":"MQ=="}"#),
        ("/v3/kv/put", r#"{"key":"dw==","value":"Mg=="}"#),
        ("/v3/kv/deleterange", r#"{"key":"dw=="}"#),
    ] {
        assert_eq!(send(port, "POST", path, &[], body).await.status, 200);
        lines.push(answer.line().await);
    }
    let lines = lines.into_iter().map(|line| masked(line.expect("the watch goes on").trim()));
    format!(
        "watch {} {}\n    {}\n",
        answer.status,
        answer.header("content-type"),
        lines.collect::<Vec<_>>().join("\n    ")
    )
}

fn compare(answers: &str) {
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("gateway", answers);
    });
}

#[tokio::test]
async fn it_answers_as_etcd_answered() {
    compare(&answers(Program::holdfast()).await);
}

#[tokio::test]
async fn a_real_etcd_answers_so() {
    match real_etcd() {
        Ok(etcd) => compare(&answers(etcd).await),
        Err(why) => {
            eprintln!("SKIPPED: the gateway is not compared with a real etcd, for there is none: {why}")
        }
    }
}

#[tokio::test]
async fn hosts_and_origins_are_judged_for_all_plain_http() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let flags = ["--host-whitelist", "127.0.0.1,db.example", "--cors", "http://pages.example:80"];
    let server = Server::start(Program::holdfast(), scratch.path(), &flags);
    let get = async |headers: &[(&str, &str)]| send(server.client_port, "GET", "/version", headers, "").await;
    let refused = get(&[("host", "evil.example:2379")]).await;
    assert_eq!(refused.status, 421);
    assert!(refused.text().await.contains("--host-whitelist"));
    assert_eq!(get(&[("host", "db.example")]).await.status, 200);
    let allowed = get(&[("origin", "http://pages.example:80")]).await;
    assert_eq!(allowed.header("access-control-allow-origin"), "http://pages.example:80");
    assert_eq!(get(&[("origin", "http://evil.example")]).await.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn switched_off_there_is_no_gateway() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let server = Server::start(Program::holdfast(), scratch.path(), &["--enable-grpc-gateway=false"]);
    let answer = send(server.client_port, "POST", "/v3/kv/range", &[], r#"{"key":"YQ=="}"#).await;
    assert_eq!((answer.status, answer.text().await.as_str()), (404, "404 page not found\n"));
}

#[tokio::test]
async fn requests_of_a_stream_come_while_it_goes_on_and_a_broken_one_ends_it() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let server = Server::start(Program::holdfast(), scratch.path(), &[]);
    let (sender, body) = tokio::sync::mpsc::channel(1);
    sender.send(r#"{"create_request":{"key":"YQ=="}}{"create_req"#.into()).await.expect("it is open");
    let mut answer = send_stream(server.client_port, "/v3/watch", body).await;
    let first = answer.line().await.expect("the first watch");
    assert!(first.contains(r#""created":true"#), "{first}");
    sender.send(r#"uest":{"key":"Yg=="}}"#.into()).await.expect("it is read");
    let second = answer.line().await.expect("the second watch");
    assert!(second.contains(r#""watch_id":"1""#), "{second}");
    sender.send("}".into()).await.expect("it is read");
    let last = answer.line().await.expect("an error");
    assert!(last.starts_with(r#"{"error":{"code":3,"#), "{last}");
    assert_eq!(answer.line().await, None, "the call is over");
}
