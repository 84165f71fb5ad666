//! `watch`: events printed as they come, or handed to a command.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::process::Stdio;

use holdfast_core::boundary::Event;
use holdfast_net::proto::etcdserverpb as pb;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::sync::broadcast;

use super::argify::argify;
use crate::cli::given::Given;
use crate::cli::parse;
use crate::cli::spec::{Flag, Group, Spec};
use crate::client::Client;
use crate::client::keys::prefix_range;
use crate::client::watch::{Told, Watcher};
use crate::exit::{Code, Exit, Outcome};
use crate::go::quote::quoted;
use crate::output::{Printer, event_kind, print_line, tell};

pub static SPEC: Spec = Spec::leaf(
    "watch [options] [key or prefix] [range_end] [--] [exec-command arg1 arg2 ...]",
    "Shows changes of keys as they happen",
    |given| Box::pin(watch(given)),
)
.group(Group::KeyValue)
.flags(&[
    Flag::bool("interactive", "read what to watch from standard input, a line each").short('i'),
    Flag::bool("prefix", "all keys that begin with the key"),
    Flag::int("rev", "0", "revision to begin with (0: what comes next)"),
    Flag::bool("prev-kv", "also what was there before each event"),
    Flag::bool("progress-notify", "have the server tell how far it is, now and then"),
]);

const BAD_NUMBER: &str = "bad number of arguments";
const CONFLICT: &str = "bad number of arguments (found conflicting environment key)";
const NO_COMMAND: &str = "bad number of arguments (found separator --, but no commands)";

/// What is watched, and what is run for each event.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    /// Key and perhaps the end of its range.
    words: Vec<Vec<u8>>,
    /// Empty: events are only printed.
    command: Vec<OsString>,
}

/// `ETCDCTL_WATCH_KEY` and `ETCDCTL_WATCH_RANGE_END`.
#[derive(Clone, Default)]
struct Environment {
    key: Vec<u8>,
    range_end: Vec<u8>,
}

impl Environment {
    fn read() -> Result<Environment, Exit> {
        let bytes = |name| std::env::var_os(name).map_or(Vec::new(), OsString::into_vec);
        let environment =
            Environment { key: bytes("ETCDCTL_WATCH_KEY"), range_end: bytes("ETCDCTL_WATCH_RANGE_END") };
        if environment.key.is_empty() && !environment.range_end.is_empty() {
            let end = quoted(&environment.range_end);
            let text = format!("ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END={end}");
            return Err(Exit::arguments(text));
        }
        Ok(environment)
    }
}

async fn watch(given: &Given) -> Outcome {
    let environment = Environment::read()?;
    if given.bool("interactive") {
        return interactive(given, &environment).await;
    }
    let typed: Vec<OsString> = std::env::args_os().skip(1).collect();
    let command = typed.iter().position(|word| word == "--").map(|at| typed[at + 1..].to_vec());
    let asked = asked(given.words(), command, &environment).map_err(Exit::arguments)?;
    let (client, printer) = given.connect().await?;
    let request = request(given, &asked.words).map_err(Exit::arguments)?;
    // A stream that breaks is opened again, but somebody must be there to begin with.
    client.channel().await.map_err(|error| Exit::new(Code::BadConnection, error))?;
    let mut watcher = Watcher::new(&client, request).requiring_leader();
    while let Some(told) = watcher.next().await {
        show(&told, printer, &asked.command).await?;
    }
    Err(Exit::new(Code::Interrupted, "watch is canceled by the server"))
}

/// `words` are all that are no flags, those of the command among them.
fn asked(
    mut words: Vec<Vec<u8>>,
    command: Option<Vec<OsString>>,
    environment: &Environment,
) -> Result<Asked, &'static str> {
    let named = !environment.key.is_empty();
    match &command {
        Some(command) if command.is_empty() => return Err(NO_COMMAND),
        Some(command) => words.truncate(words.len().saturating_sub(command.len())),
        None if words.is_empty() && !named => return Err(BAD_NUMBER),
        None => {}
    }
    if named {
        if !words.is_empty() {
            return Err(CONFLICT);
        }
        words.push(environment.key.clone());
        if !environment.range_end.is_empty() {
            words.push(environment.range_end.clone());
        }
    }
    Ok(Asked { words, command: command.unwrap_or_default() })
}

fn request(given: &Given, words: &[Vec<u8>]) -> Result<pb::WatchCreateRequest, &'static str> {
    let prefix = given.bool("prefix");
    let (key, range_end) = match words {
        [] => return Err(BAD_NUMBER),
        [_, _] if prefix => return Err("`range_end` and `--prefix` are mutually exclusive"),
        [key, ..] if prefix => prefix_range(key.clone()),
        [key, range_end] => (key.clone(), range_end.clone()),
        [key, ..] => (key.clone(), Vec::new()),
    };
    Ok(pb::WatchCreateRequest {
        key: key.into(),
        range_end: range_end.into(),
        start_revision: given.int("rev"),
        prev_kv: given.bool("prev-kv"),
        progress_notify: given.bool("progress-notify"),
        ..pb::WatchCreateRequest::default()
    })
}

async fn show(told: &Told, printer: Printer, command: &[OsString]) -> Outcome {
    if told.canceled {
        tell(&format!("watch was canceled ({})", told.error().unwrap_or_default()));
    }
    if told.is_progress() {
        print_line(&format!("progress notify: {}", told.header.map_or(0, |header| header.revision)))?;
    }
    printer.print(told)?;
    if command.is_empty() {
        return Ok(());
    }
    for event in &told.events {
        run(command, told, event).await?;
    }
    Ok(())
}

/// Runs the command with the event in its environment.
async fn run(command: &[OsString], told: &Told, event: &Event) -> Outcome {
    let revision = told.header.map_or(0, |header| header.revision);
    let status = tokio::process::Command::new(&command[0])
        .args(&command[1..])
        .env("ETCD_WATCH_REVISION", revision.to_string())
        .env("ETCD_WATCH_EVENT_TYPE", format!("{:?}", event_kind(event)))
        .env("ETCD_WATCH_KEY", quoted(&event.kv.key))
        .env("ETCD_WATCH_VALUE", quoted(&event.kv.value))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await;
    let why = match status {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => status.to_string().replace("exit status: ", "exit status "),
        Err(error) => crate::go::system::start_error(&command[0], &error),
    };
    let words: Vec<String> = command.iter().map(|word| quoted(word.as_encoded_bytes())).collect();
    tell(&format!("command [{}] error ({why})", words.join(" ")));
    Err(Exit::silent(1))
}

/// Watches as many ranges as are asked for; `progress` asks all of them how far they are.
async fn interactive(given: &Given, environment: &Environment) -> Outcome {
    let (client, printer) = given.connect().await?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let (progress, _) = broadcast::channel(16);
    let (failed, mut failure) = tokio::sync::mpsc::channel(1);
    loop {
        let line = tokio::select! {
            line = lines.next_line() => line,
            Some(exit) = failure.recv() => return Err(exit),
        };
        let line = match line {
            Ok(Some(line)) => line,
            Ok(None) => return Err(line_error("EOF")),
            Err(error) => return Err(line_error(&error.to_string())),
        };
        let words = argify(&line)?;
        match words.first().and_then(|word| word.to_str()) {
            None => tell(&format!("Invalid command: {line} (watch and progress supported)")),
            Some("watch") if words.len() < 2 && environment.key.is_empty() => {
                tell(&format!("Invalid command {line} (command type or key is not provided)"));
            }
            Some("watch") => match line_request(given, &words[1..], environment)? {
                Ok((request, command)) => {
                    let watcher = Watcher::new(&client, request).requiring_leader();
                    let (asked, failed) = (progress.subscribe(), failed.clone());
                    tokio::spawn(async move {
                        if let Err(exit) = show_all(watcher, printer, command, asked).await {
                            // The first failure ends the program; others need not be told.
                            failed.try_send(exit).ok();
                        }
                    });
                }
                Err(why) => tell(&format!("Invalid command {line} ({why})")),
            },
            Some("progress") => ask_progress(&client, &progress).await?,
            Some(_) => tell(&format!("Invalid command {line} (only support watch)")),
        }
    }
}

fn line_error(why: &str) -> Exit {
    Exit::new(Code::InvalidInput, format!("error reading watch request line: {why}"))
}

/// Nobody is asked where nothing is watched, but somebody must be there.
async fn ask_progress(client: &Client, progress: &broadcast::Sender<()>) -> Outcome {
    client.channel().await?;
    progress.send(()).ok();
    Ok(())
}

type Requested = Result<(pb::WatchCreateRequest, Vec<OsString>), &'static str>;

/// What a line asks for, with flags of its own.
///
/// Errors: those that end the program; what is wrong with the range alone is given back.
fn line_request(given: &Given, words: &[OsString], environment: &Environment) -> Result<Requested, Exit> {
    let separator = words.iter().position(|word| word == "--");
    let command = separator.map(|at| words[at + 1..].to_vec());
    if command.as_ref().is_some_and(Vec::is_empty) {
        return Err(Exit::arguments(NO_COMMAND));
    }
    let matches = parse::parse(&given.path, words).map_err(Exit::arguments)?;
    let line = Given::new(String::new(), given.path.clone(), matches);
    let asked = asked(line.words(), command, environment).map_err(Exit::arguments)?;
    Ok(request(&line, &asked.words).map(|request| (request, asked.command)))
}

async fn show_all(
    mut watcher: Watcher,
    printer: Printer,
    command: Vec<OsString>,
    mut asked: broadcast::Receiver<()>,
) -> Outcome {
    loop {
        tokio::select! {
            told = watcher.next() => match told {
                Some(told) => show(&told, printer, &command).await?,
                None => return Ok(()),
            },
            Ok(()) = asked.recv() => watcher.request_progress(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(words: &[&str]) -> Vec<Vec<u8>> {
        words.iter().map(|word| word.as_bytes().to_vec()).collect()
    }

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    fn environment(key: &str, range_end: &str) -> Environment {
        Environment { key: key.into(), range_end: range_end.into() }
    }

    #[test]
    fn words_environment_and_command_are_told_apart() {
        let ask = |all: &[&str], command: Option<&[&str]>, environment: &Environment| {
            asked(bytes(all), command.map(words), environment)
        };
        let plain = environment("", "");
        let named = environment("foo", "bar");
        let both = |all: &[&str], command: &[&str]| Ok(Asked { words: bytes(all), command: words(command) });
        assert_eq!(ask(&["a"], None, &plain), both(&["a"], &[]));
        assert_eq!(
            ask(&["a", "b", "echo", "hi"], Some(&["echo", "hi"]), &plain),
            both(&["a", "b"], &["echo", "hi"])
        );
        assert_eq!(ask(&[], None, &named), both(&["foo", "bar"], &[]));
        assert_eq!(ask(&["echo"], Some(&["echo"]), &named), both(&["foo", "bar"], &["echo"]));
        assert_eq!(ask(&[], None, &plain), Err(BAD_NUMBER));
        assert_eq!(ask(&["a"], Some(&[]), &plain), Err(NO_COMMAND));
        assert_eq!(ask(&["a"], None, &named), Err(CONFLICT));
        assert_eq!(ask(&["a", "echo"], Some(&["echo"]), &named), Err(CONFLICT));
    }
}
