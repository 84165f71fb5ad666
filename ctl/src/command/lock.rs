//! `lock`: held while a command runs, or until a signal.

use std::process::Stdio;

use crate::cli::given::Given;
use crate::cli::spec::{Flag, Group, Spec};
use crate::client::lease::Session;
use crate::client::queue::Place;
use crate::client::{CallError, Client};
use crate::exit::{Exit, Outcome};
use crate::signals::Signals;

pub static SPEC: Spec =
    Spec::leaf("lock <lockname> [exec-command arg1 arg2 ...]", "Holds a named lock", |given| {
        Box::pin(lock(given))
    })
    .group(Group::Concurrency)
    .flags(&[Flag::int("ttl", "10", "seconds that the lock outlives this program, if it dies")]);

async fn lock(given: &Given) -> Outcome {
    let words = given.words();
    let Some(name) = words.first() else {
        let text = "lock takes a lock name argument and an optional command to execute";
        return Err(Exit::arguments(text));
    };
    let (client, printer) = given.connect().await?;
    let mut signals = Signals::new().map_err(Exit::error)?;
    let ttl_s = match given.int("ttl") {
        ttl_s @ 1.. => ttl_s,
        _ => 60,
    };
    let mut session = Session::new(&client, ttl_s).await?;
    let prefix = [name.as_slice(), b"/"].concat();
    let (place, revision) = acquire(&client, &session, &prefix, &mut signals).await?;
    let command = &given.os_words()[1..];
    if !command.is_empty() {
        let ran = run(command, &place, revision).await;
        let left = client.leave(&place).await;
        ran?;
        return Ok(left?);
    }
    let answer = client.get(&place.key).await?;
    if answer.kvs.is_empty() {
        return Err(Exit::error("lock lost on init"));
    }
    printer.print(&answer)?;
    tokio::select! {
        () = signals.recv() => Ok(client.leave(&place).await?),
        () = session.ended() => Err(Exit::error("session expired")),
    }
}

/// Waits for the lock; gives the revision at which we had it. A signal meanwhile gives the place in the
/// queue up.
async fn acquire(
    client: &Client,
    session: &Session,
    prefix: &[u8],
    signals: &mut Signals,
) -> Result<(Place, i64), CallError> {
    let place = client.take_place(prefix, session.lease, b"").await?;
    let waited = tokio::select! {
        waited = client.wait_turn(prefix, place.create_revision) => waited,
        () = signals.recv() => Err(CallError::Canceled),
    };
    match waited {
        Ok(false) => {
            let revision = place.create_revision;
            return Ok((place, revision));
        }
        Ok(true) => {}
        Err(error) => {
            client.leave(&place).await?;
            return Err(error);
        }
    }
    // The lease may have run out while we waited.
    let answer = client.get(&place.key).await?;
    if answer.kvs.is_empty() {
        return Err(CallError::Own("mutex: session is expired".to_owned()));
    }
    Ok((place, answer.header.map_or(0, |header| header.revision)))
}

/// Errors: the command's own exit code.
async fn run(command: &[&std::ffi::OsStr], place: &Place, revision: i64) -> Outcome {
    use std::os::unix::ffi::OsStrExt as _;
    let status = tokio::process::Command::new(command[0])
        .args(&command[1..])
        .env("ETCD_LOCK_KEY", std::ffi::OsStr::from_bytes(&place.key))
        .env("ETCD_LOCK_REV", revision.to_string())
        .stdin(Stdio::null())
        .status()
        .await;
    let status = status.map_err(|error| Exit::error(crate::go::system::start_error(command[0], &error)))?;
    match status.code() {
        Some(0) => Ok(()),
        Some(code) => {
            let text = Some(format!("exit status {code}"));
            Err(Exit { code: u8::try_from(code).unwrap_or(1), text })
        }
        // Killed: Go has -1 for that, which leaves as 255.
        None => Err(Exit { code: 255, text: Some(status.to_string().replace(" (core dumped)", "")) }),
    }
}
