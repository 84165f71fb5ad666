//! Watches that outlive their streams: what breaks is opened again where it stopped.
//!
//! Source: etcd 3.7.1 client/v3/watch.go.

use std::time::Duration;

use futures_util::stream;
use holdfast_core::boundary::Event;
use holdfast_core::status::Status as Refusal;
use holdfast_net::proto::etcdserverpb as pb;
use holdfast_net::proto::etcdserverpb::watch_client::WatchClient;
use pb::watch_request::RequestUnion;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tonic::metadata::AsciiMetadataValue;
use tonic::{Code, Status, Streaming};

use super::{CallError, Client, error};

/// Before a stream that broke is opened again.
const PAUSE: Duration = Duration::from_millis(100);

/// What a watcher is told.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub header: Option<pb::ResponseHeader>,
    pub events: Vec<Event>,
    pub compact_revision: i64,
    pub canceled: bool,
    pub cancel_reason: String,
    /// Why the stream itself ended.
    pub closed: Option<String>,
}

impl Told {
    pub fn is_progress(&self) -> bool {
        let says_nothing = self.events.is_empty() && !self.canceled && self.compact_revision == 0;
        says_nothing && self.header.is_some_and(|header| header.revision != 0)
    }

    /// Why there will be no more.
    pub fn error(&self) -> Option<String> {
        if let Some(closed) = &self.closed {
            return Some(closed.clone());
        }
        if self.compact_revision != 0 {
            return Some(Refusal::Compacted.text().to_owned());
        }
        self.canceled.then(|| match self.cancel_reason.as_str() {
            "" => Refusal::FutureRev.text().to_owned(),
            text if error::is_known(text) => text.to_owned(),
            text => format!("rpc error: code = FailedPrecondition desc = {text}"),
        })
    }
}

/// Requests go in here while a stream is open.
type Requests = mpsc::UnboundedSender<pb::WatchRequest>;

/// One watch. Answers are whole: fragments are put together.
pub struct Watcher {
    client: Client,
    create: pb::WatchCreateRequest,
    /// Streams end where the server has lost its leader.
    requires_leader: bool,
    stream: Option<(Requests, Streaming<pb::WatchResponse>)>,
    /// No more will be told.
    ended: bool,
}

impl Watcher {
    pub fn new(client: &Client, create: pb::WatchCreateRequest) -> Watcher {
        Watcher { client: client.unbounded(), create, requires_leader: false, stream: None, ended: false }
    }

    #[must_use]
    pub fn requiring_leader(self) -> Watcher {
        Watcher { requires_leader: true, ..self }
    }

    /// The next answer; `None` after the one that says why. May be dropped while waiting.
    pub async fn next(&mut self) -> Option<Told> {
        let mut told = Told::default();
        while !self.ended {
            match self.receive().await {
                Ok(answer) => {
                    let is_whole = !answer.fragment;
                    if let Some(told) = self.take(answer, &mut told).filter(|_| is_whole) {
                        return Some(told);
                    }
                }
                Err(error) if error.is_final() => {
                    self.ended = true;
                    return Some(Told { canceled: true, closed: Some(error.to_string()), ..Told::default() });
                }
                Err(_) => {
                    self.stream = None;
                    told = Told::default();
                    sleep(PAUSE).await;
                }
            }
        }
        None
    }

    /// Asks the server how far it is.
    pub fn request_progress(&self) {
        if let Some((requests, _)) = &self.stream {
            let request = RequestUnion::ProgressRequest(pb::WatchProgressRequest {});
            // A stream that has broken is opened again, and nobody waits for this answer.
            requests.send(pb::WatchRequest { request_union: Some(request) }).ok();
        }
    }

    async fn receive(&mut self) -> Result<pb::WatchResponse, CallError> {
        if self.stream.is_none() {
            self.stream = Some(self.open().await?);
        }
        let (_, answers) = self.stream.as_mut().expect("opened above");
        let answer = answers.message().await?;
        answer.ok_or_else(|| CallError::from(Status::unavailable("transport is closing")))
    }

    async fn open(&self) -> Result<(Requests, Streaming<pb::WatchResponse>), CallError> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let create = RequestUnion::CreateRequest(self.create.clone());
        sender.send(pb::WatchRequest { request_union: Some(create) }).expect("the receiver is here");
        let requests = stream::unfold(receiver, |mut receiver| async {
            let request = receiver.recv().await?;
            Some((request, receiver))
        });
        let mut request = self.client.request(requests);
        if self.requires_leader {
            request.metadata_mut().insert("hasleader", AsciiMetadataValue::from_static("true"));
        }
        let mut service = WatchClient::new(self.client.channel().await?)
            .max_decoding_message_size(self.client.receive_bytes_max());
        match service.watch(request).await {
            Ok(answers) => Ok((sender, answers.into_inner())),
            // A token that has run out is shown anew with the next stream.
            Err(status) if status.code() == Code::Unauthenticated => {
                self.client.authenticate().await?;
                Err(CallError::from(Status::unavailable(status.message())))
            }
            Err(status) => Err(status.into()),
        }
    }

    /// Adds an answer to what has been told; gives what is for the caller, if anything is.
    fn take(&mut self, answer: pb::WatchResponse, told: &mut Told) -> Option<Told> {
        let revision = answer.header.map_or(0, |header| header.revision);
        if answer.created && !(answer.canceled || answer.compact_revision != 0) {
            // What happens from here on must not be missed if the stream breaks before the first event.
            if self.create.start_revision == 0 {
                self.create.start_revision = revision + 1;
            }
            return None;
        }
        if answer.canceled && answer.compact_revision == 0 {
            self.ended = true;
            let closed = Some(answer.cancel_reason.into_owned());
            return Some(Told { canceled: true, closed, ..Told::default() });
        }
        self.create.start_revision = match answer.events.last() {
            Some(event) => event.kv.mod_revision + 1,
            None => self.create.start_revision.max(revision + 1),
        };
        told.events.extend(answer.events.iter().cloned());
        if answer.fragment {
            return None;
        }
        self.ended = answer.canceled || answer.compact_revision != 0;
        Some(Told {
            header: answer.header,
            events: std::mem::take(&mut told.events),
            compact_revision: answer.compact_revision,
            canceled: answer.canceled,
            cancel_reason: answer.cancel_reason.into_owned(),
            closed: None,
        })
    }
}
