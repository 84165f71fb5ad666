//! Connections to all endpoints: made at once, kept, and handed out in turn.
//!
//! An endpoint that cannot be reached is tried again with growing pauses; meanwhile the others serve. If
//! none can be reached within `--dial-timeout`, calls end with a line for each endpoint that says why.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::Status;
use tonic::transport::Channel;

use super::connect::Connector;
use super::error::innermost;
use super::{CallError, Config, Endpoint};
use crate::log;

/// Pauses between attempts to connect.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// gRPC lets no client ping more often.
const KEEPALIVE_MIN: Duration = Duration::from_secs(10);

/// How it stands with one endpoint.
#[derive(Clone)]
enum Link {
    /// Not connected so far; the last failure, if there was one.
    Trying(Option<String>),
    Ready(Channel),
}

struct Member {
    endpoint: String,
    link: watch::Receiver<Link>,
    /// A server has answered there. Until then a connection may be one that the other side only took to
    /// refuse our certificate, or our want of one.
    proven: AtomicBool,
    /// Ends with the pool.
    task: tokio::task::JoinHandle<()>,
}

/// A connection, and whose it is.
pub struct Picked<'a> {
    pub channel: Channel,
    member: &'a Member,
}

impl Picked<'_> {
    /// Notes whether a server has answered; gives the failure with its endpoint.
    pub fn answered<T>(&self, answer: Result<T, Status>) -> Result<T, CallError> {
        let why = match answer.map_err(CallError::from) {
            Err(CallError::Connection { why, .. }) => why,
            other => {
                self.member.proven.store(true, Ordering::Relaxed);
                return other;
            }
        };
        let proven = self.member.proven.load(Ordering::Relaxed);
        Err(CallError::Connection { endpoint: self.member.endpoint.clone(), why, proven })
    }
}

pub struct Pool {
    members: Vec<Member>,
    next: AtomicUsize,
    /// Wakes when any link changes.
    changed: watch::Receiver<()>,
    /// `None`: as long as a call may take.
    dial_until: Option<Instant>,
}

impl Pool {
    /// Begins to connect.
    ///
    /// Errors: no endpoints, or one that needs TLS for which no roots can be read.
    pub fn new(config: &Config) -> Result<Pool, String> {
        if config.endpoints.is_empty() {
            return Err("etcdclient: no available endpoints".to_owned());
        }
        let (wake, changed) = watch::channel(());
        let wake = Arc::new(wake);
        let mut members = Vec::new();
        for text in &config.endpoints {
            let connector = Connector::new(Endpoint::parse(text), config.tls.clone())?;
            let (sender, link) = watch::channel(Link::Trying(None));
            let task = tokio::spawn(keep_trying(connector, config.clone(), sender, Arc::clone(&wake)));
            members.push(Member { endpoint: text.clone(), link, proven: AtomicBool::new(false), task });
        }
        // Clients that start at once should not all begin with the same member.
        let next = AtomicUsize::new(rand::random_range(0..members.len()));
        let dial_until = (!config.dial_timeout.is_zero()).then(|| Instant::now() + config.dial_timeout);
        Ok(Pool { members, next, changed, dial_until })
    }

    /// The connection whose turn it is, with its endpoint; waits for the first.
    ///
    /// Errors: none within `--dial-timeout`, or by `deadline`.
    pub async fn pick(&self, deadline: Option<Instant>) -> Result<Picked<'_>, CallError> {
        let until = [deadline, self.dial_until].into_iter().flatten().min();
        let mut changed = self.changed.clone();
        loop {
            changed.borrow_and_update();
            if let Some(picked) = self.ready() {
                return Ok(picked);
            }
            let has_changed = match until {
                Some(until) => matches!(timeout_at(until, changed.changed()).await, Ok(Ok(()))),
                None => changed.changed().await.is_ok(),
            };
            if !has_changed {
                self.tell_why();
                return Err(CallError::TimedOut);
            }
        }
    }

    fn ready(&self) -> Option<Picked<'_>> {
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let count = self.members.len();
        (0..count).find_map(|step| {
            let member = &self.members[(start + step) % count];
            match &*member.link.borrow() {
                Link::Ready(channel) => Some(Picked { channel: channel.clone(), member }),
                Link::Trying(_) => None,
            }
        })
    }

    fn tell_why(&self) {
        for member in &self.members {
            let why = match &*member.link.borrow() {
                Link::Trying(Some(why)) => why.clone(),
                _ => "no answer within the time given".to_owned(),
            };
            log::warn("endpoint cannot be reached", &[("endpoint", &member.endpoint), ("error", &why)]);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for member in &self.members {
            member.task.abort();
        }
    }
}

/// Until there is a connection, which then sees to itself.
async fn keep_trying(
    connector: Connector,
    config: Config,
    link: watch::Sender<Link>,
    wake: Arc<watch::Sender<()>>,
) {
    let endpoint = tonic::transport::Endpoint::from_static("http://localhost")
        .http2_keep_alive_interval(config.keepalive_time.max(KEEPALIVE_MIN))
        .keep_alive_timeout(config.keepalive_timeout)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(1 << 21);
    let mut pause = PAUSE_MIN;
    loop {
        let state = match endpoint.connect_with_connector(connector.clone()).await {
            Ok(channel) => Link::Ready(channel),
            Err(error) => Link::Trying(Some(innermost(&error))),
        };
        let is_ready = matches!(state, Link::Ready(_));
        link.send_replace(state);
        wake.send_replace(());
        if is_ready {
            return;
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
