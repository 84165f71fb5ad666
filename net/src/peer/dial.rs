//! Our end of the connections to one member: made, tried again, ended with the member.

use std::collections::VecDeque;
use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use holdfast_core::base::MemberId;
use holdfast_core::peer::PeerMessage;
use prometheus::IntCounter;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tonic::{Code, Status, Streaming};

use super::accept::REMOVED;
use super::hello::Hello;
use super::outbox::Outbox;
use super::{Lane, PARCEL_BYTES_MAX, PeerEvent, PeerNote, RECEIVE_BYTES_MAX, Shared};
use crate::proto::holdfast::Parcel;
use crate::proto::holdfast::peer_client::PeerClient;

/// Until a connection stands and both sides have said hello.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);

/// Pause after a failed attempt, doubled up to the second.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// After a refusal: it takes an operator.
const PAUSE_REFUSED: Duration = Duration::from_secs(5);

/// Between two probes, and silence after which the other end counts as gone (etcd's `--raft-read-timeout`).
const PROBE_EVERY: Duration = Duration::from_secs(1);
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// A bulk connection without anything to carry is closed.
const BULK_IDLE_MAX: Duration = Duration::from_secs(30);

/// A member to be reached.
pub struct Dial {
    pub shared: Shared,
    pub member: MemberId,
    /// Where it is reached; changes while it is dialled.
    pub urls: watch::Receiver<Vec<String>>,
    pub outbox: Arc<Outbox>,
    pub lane: Lane,
}

/// How a conversation ended.
enum Ended {
    /// The outbox was closed.
    Closed,
    /// Nothing was to be carried for long.
    Idle,
    Refused(String),
    Broken(String),
}

/// Keeps one connection to a member until its outbox is closed. Its host name is looked up for every attempt.
pub async fn dial(mut dial: Dial) {
    let mut failures = 0;
    loop {
        if dial.lane == Lane::Bulk {
            dial.outbox.filled().await;
        }
        if dial.outbox.is_closed() {
            return;
        }
        let url = dial.next_url(failures);
        let mut is_connected = false;
        let ended = match &url {
            Some(url) => dial.converse(url, &mut is_connected).await,
            None => Ended::Broken("it has no URL".to_owned()),
        };
        failures = if is_connected { 1 } else { failures + 1 };
        let pause = match ended {
            Ended::Closed => return,
            Ended::Idle => {
                failures = 0;
                continue;
            }
            Ended::Refused(why) => {
                dial.on_refused(url.unwrap_or_default(), why);
                PAUSE_REFUSED
            }
            Ended::Broken(why) => {
                // Seldomer and seldomer, not with each further attempt.
                if failures.is_power_of_two() {
                    dial.on_lost(url.unwrap_or_default(), why, failures == 1).await;
                }
                (PAUSE_MIN * 2u32.pow(failures.min(8) - 1)).min(PAUSE_MAX)
            }
        };
        dial.fail();
        tokio::select! {
            biased;
            () = dial.outbox.woken() => {}
            // A sender that is gone is a closed outbox.
            _ = dial.urls.changed() => {}
            () = sleep(pause) => {}
        }
        dial.outbox.begin();
    }
}

impl Dial {
    /// Each attempt takes the next URL; who answered is asked again first.
    fn next_url(&mut self, failures: u32) -> Option<String> {
        let urls = self.urls.borrow_and_update();
        let place = failures.saturating_sub(1) as usize;
        urls.get(place % urls.len().max(1)).cloned()
    }

    fn fail(&self) {
        self.outbox.fail();
        if self.lane == Lane::Mail {
            self.shared.meters.sent_failures.with_label_values(&[&hex(self.member)]).inc();
            self.shared.tell(PeerEvent::Unreachable { member: self.member });
        }
    }

    fn on_refused(&self, url: String, why: String) {
        if why == REMOVED {
            return self.shared.tell(PeerEvent::Removed);
        }
        let note = PeerNote::RefusedBy { member: self.member, url, why };
        self.shared.tell(PeerEvent::Note(note));
    }

    /// `is_news`: the attempt before did not fail.
    async fn on_lost(&self, url: String, why: String, is_news: bool) {
        let member = self.member;
        #[cfg(not(madsim))]
        if crate::listen::is_real_etcd(&self.shared.way, &url).await {
            return self.shared.tell(PeerEvent::Note(PeerNote::RealEtcd { member, url }));
        }
        if is_news {
            let note = PeerNote::Lost { member, url, lane: self.lane, why };
            self.shared.tell(PeerEvent::Note(note));
        }
    }

    async fn converse(&self, url: &str, is_connected: &mut bool) -> Ended {
        // One parcel beside the one being sent: what comes meanwhile gathers in the outbox.
        let (parcels, outgoing) = mpsc::channel(1);
        let answers = match timeout(CONNECT_WITHIN, self.connect(url, &parcels, Outgoing(outgoing))).await {
            Ok(Ok(answers)) => answers,
            Ok(Err(ended)) => return ended,
            Err(_) => return Ended::Broken("no answer in time".to_owned()),
        };
        *is_connected = true;
        let note = PeerNote::Connected { member: self.member, url: url.to_owned(), lane: self.lane };
        self.shared.tell(PeerEvent::Note(note));
        let sent_bytes = self.shared.meters.sent_bytes.with_label_values(&[&hex(self.member)]);
        let local = hex(self.shared.identity.member_id);
        let remote = hex(self.member);
        let labels: [&str; 2] = [&local, &remote];
        if self.lane == Lane::Mail {
            self.shared.meters.active.with_label_values(&labels).inc();
        }
        let ended = self.carry(parcels, answers, &sent_bytes).await;
        if self.lane == Lane::Mail {
            self.shared.meters.active.with_label_values(&labels).dec();
            self.shared.meters.disconnected.with_label_values(&labels).inc();
        }
        ended
    }

    /// A connection on which both sides have said hello.
    async fn connect(
        &self,
        url: &str,
        parcels: &mpsc::Sender<Parcel>,
        outgoing: Outgoing,
    ) -> Result<Streaming<Parcel>, Ended> {
        let channel = self.shared.way.channel(url).await.map_err(Ended::Broken)?;
        let identity = &self.shared.identity;
        let first = self.shared.hello(self.member, self.lane);
        parcels.try_send(first).expect("the channel is new and has room for one");
        let mut client = PeerClient::new(channel).max_decoding_message_size(RECEIVE_BYTES_MAX);
        let mut answers = client.carry(outgoing).await.map_err(ended_by)?.into_inner();
        let answer = answers.message().await.map_err(ended_by)?;
        let answer = answer.ok_or_else(|| Ended::Broken("the connection ended".to_owned()))?;
        let checked = Hello::decode(answer.hello)
            .and_then(|hello| hello.check(identity.cluster_id, identity.member_id, Some(self.member)));
        match checked {
            Ok(()) => Ok(answers),
            Err(error) => Err(Ended::Refused(error.to_string())),
        }
    }

    /// Hands over what the outbox has until the connection breaks.
    async fn carry(
        &self,
        parcels: mpsc::Sender<Parcel>,
        mut answers: Streaming<Parcel>,
        sent_bytes: &IntCounter,
    ) -> Ended {
        let mut probes = Probes::new();
        let mut carried_at = Instant::now();
        loop {
            let ready = async {
                self.outbox.filled().await;
                parcels.reserve().await
            };
            tokio::select! {
                biased;
                answer = answers.message() => match answer {
                    Ok(Some(answer)) => self.on_echo(&mut probes, answer.probe),
                    Ok(None) => return Ended::Broken("the connection ended".to_owned()),
                    Err(status) => return ended_by(status),
                },
                () = sleep_until(probes.next_at) => {
                    let now = Instant::now();
                    if now - probes.heard_at > SILENCE_MAX {
                        return Ended::Broken("it says nothing any more".to_owned());
                    }
                    if self.lane == Lane::Bulk && now - carried_at > BULK_IDLE_MAX {
                        return Ended::Idle;
                    }
                    let probe = probes.next(now);
                    // Without room the way is busy, and what fills it will be answered or not.
                    parcels.try_send(Parcel { probe, ..Parcel::default() }).ok();
                },
                permit = ready => {
                    let Ok(permit) = permit else { return self.last_word(answers).await };
                    let messages = self.outbox.take(PARCEL_BYTES_MAX);
                    if messages.is_empty() && self.outbox.is_closed() {
                        return Ended::Closed;
                    }
                    carried_at = Instant::now();
                    let messages: Vec<Bytes> = messages.iter().map(PeerMessage::encode).collect();
                    sent_bytes.inc_by(messages.iter().map(|bytes| bytes.len() as u64).sum());
                    permit.send(Parcel { messages, ..Parcel::default() });
                }
            }
        }
    }

    /// The other end takes nothing any more: what it said last tells why.
    async fn last_word(&self, mut answers: Streaming<Parcel>) -> Ended {
        let last = async {
            loop {
                match answers.message().await {
                    Ok(Some(_)) => {}
                    Ok(None) => return Ended::Broken("the connection ended".to_owned()),
                    Err(status) => return ended_by(status),
                }
            }
        };
        timeout(PROBE_EVERY, last).await.unwrap_or_else(|_| Ended::Broken("the connection broke".to_owned()))
    }

    fn on_echo(&self, probes: &mut Probes, probe: u64) {
        let now = Instant::now();
        probes.heard_at = now;
        if let Some(took) = probes.take(probe, now) {
            let round_trip = &self.shared.meters.round_trip;
            round_trip.with_label_values(&[&hex(self.member)]).observe(took.as_secs_f64());
        }
    }
}

/// Probes that are under way.
struct Probes {
    number: u64,
    sent: VecDeque<(u64, Instant)>,
    heard_at: Instant,
    next_at: Instant,
}

impl Probes {
    fn new() -> Probes {
        let now = Instant::now();
        // The first one at once: somebody may wait to see how far the other end is.
        Probes { number: 0, sent: VecDeque::new(), heard_at: now, next_at: now }
    }

    fn next(&mut self, now: Instant) -> u64 {
        self.number += 1;
        self.next_at = now + PROBE_EVERY;
        self.sent.push_back((self.number, now));
        self.number
    }

    /// How long an echo took; those before it got lost.
    fn take(&mut self, probe: u64, now: Instant) -> Option<Duration> {
        while let Some((number, sent)) = self.sent.pop_front_if(|(number, _)| *number <= probe) {
            if number == probe {
                return Some(now - sent);
            }
        }
        None
    }
}

/// Parcels on their way to the transport.
struct Outgoing(mpsc::Receiver<Parcel>);

impl Stream for Outgoing {
    type Item = Parcel;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Parcel>> {
        self.0.poll_recv(cx)
    }
}

/// A status of our acceptor is a refusal; all others say that the way is broken.
fn ended_by(status: Status) -> Ended {
    match status.code() {
        Code::FailedPrecondition => Ended::Refused(status.message().to_owned()),
        _ => Ended::Broken(reason(&status)),
    }
}

/// The innermost cause, which is what an operator can do something about.
pub fn reason(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

fn hex(member: MemberId) -> String {
    format!("{member:x}")
}
