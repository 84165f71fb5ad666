//! Golden log lines.

use super::format::EtcdFormat;
use super::*;
use chrono::{DateTime, FixedOffset};
use std::sync::Mutex;

fn at(text: &str) -> DateTime<FixedOffset> {
    DateTime::parse_from_rfc3339(text).expect("a time of this test")
}

fn utc() -> DateTime<FixedOffset> {
    at("2026-07-23T10:00:00.123456789Z")
}

fn berlin() -> DateTime<FixedOffset> {
    at("2026-07-23T12:00:00.5+02:00")
}

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no test panics while it writes").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lines that `events` writes.
fn logged(
    level: LogLevel,
    format: LogFormat,
    now: fn() -> DateTime<FixedOffset>,
    events: impl FnOnce(),
) -> Vec<String> {
    let memory = Memory::default();
    let settings = LogSettings { level, format, outputs: Vec::new() };
    let writer = memory.clone();
    let subscriber = subscriber(&settings, move || writer.clone(), EtcdFormat::with_clock(format, now));
    tracing::subscriber::with_default(subscriber, events);
    let bytes = memory.0.lock().expect("no test panics while it writes").clone();
    String::from_utf8(bytes).expect("lines are UTF-8").lines().map(str::to_owned).collect()
}

#[test]
fn json_line_is_etcd_s() {
    let line = line!() + 2;
    let lines = logged(LogLevel::Info, LogFormat::Json, utc, || {
        tracing::info!(
            "local-member-id" = %"8e9e05c52164694d",
            revision = 7_u64,
            took_ns = -1_i64,
            ok = true,
            share = 0.5,
            odd = f64::NAN,
            urls = ?List(&["http://a:1", "b\"c"]),
            dir = ?"x\ty",
            key = "line\nbreak \u{1} \"quoted\" \u{fc}",
            "ready to serve {}",
            "clients"
        );
    });
    assert_eq!(
        lines,
        [format!(
            r#"{{"level":"info","ts":"2026-07-23T10:00:00.123456Z","caller":"logs/tests.rs:{line}","msg":"ready to serve clients","local-member-id":"8e9e05c52164694d","revision":7,"took_ns":-1,"ok":true,"share":0.5,"odd":"NaN","urls":["http://a:1","b\"c"],"dir":"\"x\\ty\"","key":"line\nbreak \u0001 \"quoted\" ü"}}"#
        )]
    );
    let parsed: serde_json::Value = serde_json::from_str(&lines[0]).expect("a line is JSON");
    assert_eq!(parsed["key"], "line\nbreak \u{1} \"quoted\" \u{fc}");
}

#[test]
fn console_line_is_tab_separated() {
    let line = line!() + 2;
    let lines = logged(LogLevel::Info, LogFormat::Console, berlin, || {
        tracing::warn!(name = "a b", count = 2, "apply request took too long");
        tracing::info!("plain");
    });
    assert_eq!(
        lines,
        [
            format!(
                "2026-07-23T12:00:00.500000+0200\twarn\tlogs/tests.rs:{line}\tapply request took too long\t\
                 {{\"name\": \"a b\", \"count\": 2}}"
            ),
            format!("2026-07-23T12:00:00.500000+0200\tinfo\tlogs/tests.rs:{}\tplain", line + 1),
        ]
    );
}

#[test]
fn level_decides_what_is_written() {
    let levels = |level| {
        let lines = logged(level, LogFormat::Json, utc, || {
            tracing::debug!("x");
            tracing::info!("x");
            tracing::warn!("x");
            tracing::error!("x");
            tracing::error!(target: FATAL, "x");
            tracing::info!(target: "h2::codec", "x");
            tracing::warn!(target: "h2::codec", "x");
        });
        let parse = |line: &String| serde_json::from_str::<serde_json::Value>(line).expect("a line is JSON");
        lines
            .iter()
            .map(|line| parse(line)["level"].as_str().unwrap_or("?").to_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(levels(LogLevel::Debug), "debug info warn error fatal warn");
    assert_eq!(levels(LogLevel::Info), "info warn error fatal warn");
    assert_eq!(levels(LogLevel::Warn), "warn error fatal warn");
    assert_eq!(levels(LogLevel::Error), "error fatal");
    assert_eq!(levels(LogLevel::Panic), "fatal");
    assert_eq!(levels(LogLevel::Fatal), "fatal");
}

#[test]
fn settings_follow_the_flags() {
    let outputs = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        LogSettings::parse("info", "json", &names).map(|settings| settings.outputs)
    };
    assert_eq!(outputs(&["default"]), Ok(vec![LogOutput::Stderr]));
    assert_eq!(outputs(&[]), Ok(vec![LogOutput::Stderr]));
    assert_eq!(outputs(&["stdout", "stderr", "/a"]).map(|list| list.len()), Ok(3));
    assert_eq!(outputs(&["stderr", "/dev/null"]), Ok(vec![]));
    assert_eq!(
        outputs(&["default", "/a"]),
        Err("multi logoutput for \"default\" is not supported yet".to_owned())
    );
    assert_eq!(
        outputs(&["systemd/journal"]),
        Err("--log-outputs=systemd/journal is not supported yet".to_owned())
    );
    assert_eq!(LogSettings::parse("x", "", &[]), Err("unrecognized level: \"x\"".to_owned()));
    assert_eq!(
        LogSettings::parse("", "xml", &[]),
        Err("unknown log format: xml, supported values json, console".to_owned())
    );
    assert_eq!(LogSettings::parse("", "", &[]), Ok(LogSettings::default()));
}

#[test]
fn a_file_takes_every_line() {
    let path = std::env::temp_dir().join(format!("holdfast-logs-{}.log", std::process::id()));
    let outputs = Outputs::open(&[LogOutput::File(path.clone())]).expect("the temporary folder is writable");
    for text in ["one\n", "two\n"] {
        outputs.make_writer().write_all(text.as_bytes()).expect("the file is open");
    }
    let text = std::fs::read_to_string(&path).expect("the file was made");
    std::fs::remove_file(&path).expect("the file is ours");
    assert_eq!(text, "one\ntwo\n");
    let missing = LogOutput::File("/no/such/folder/x.log".into());
    assert_eq!(
        Outputs::open(&[missing]).err(),
        Some(
            "open sink \"/no/such/folder/x.log\": open /no/such/folder/x.log: no such file or directory"
                .to_owned()
        )
    );
}
