//! Calls with many requests or many replies: JSON values after each other in, one line a reply out.

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::future::{Fuse, FutureExt};
use futures_util::stream::{self, Stream};
use http::StatusCode;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use tokio::sync::{mpsc, oneshot};
use tonic::Status;
use tonic::body::Body;

use super::call::Replies;
use super::json::{Method, refusal_json, whole_value};
use super::{http_code, too_long};

/// Requests that wait for the service.
const REQUESTS_WAITING_MAX: usize = 16;

/// Tells that a request could not be read; dropped unused if all could, and may then be asked again.
pub type Broken = Fuse<oneshot::Receiver<Status>>;

/// For a call whose request was read whole.
pub fn unbroken() -> Broken {
    oneshot::channel().1.fuse()
}

/// The requests of a body as they come; the end of the body ends the requests, and not the call.
pub fn requests(method: Method, body: Incoming, bytes_max: usize) -> (Body, Broken) {
    let (frames, received) = mpsc::channel(REQUESTS_WAITING_MAX);
    let (tell, broken) = oneshot::channel();
    tokio::spawn(async move {
        if let Err(status) = read(&method, body, bytes_max, &frames).await {
            // Nobody listens any more if the call is over.
            tell.send(status).ok();
            // The call is not over while its requests may go on: its error is the client's to read first.
            frames.closed().await;
        }
    });
    let received = stream::unfold(received, |mut received| async move {
        let frame: Bytes = received.recv().await?;
        Some((Ok::<_, Status>(Frame::data(frame)), received))
    });
    (Body::new(StreamBody::new(received)), broken.fuse())
}

async fn read(
    method: &Method,
    mut body: Incoming,
    bytes_max: usize,
    frames: &mpsc::Sender<Bytes>,
) -> Result<(), Status> {
    let mut bytes = BytesMut::new();
    loop {
        while let Some(length) = whole_value(&bytes)? {
            let frame = method.frame_of(&bytes.split_to(length))?;
            if frames.send(frame).await.is_err() {
                return Ok(());
            }
        }
        if bytes.len() > bytes_max {
            return Err(too_long(bytes_max));
        }
        match body.frame().await {
            Some(Ok(frame)) => bytes.extend(frame.into_data().unwrap_or_default()),
            // The client has gone, and the call with it.
            Some(Err(_)) => return Ok(()),
            None if bytes.iter().all(u8::is_ascii_whitespace) => return Ok(()),
            None => return Err(Status::invalid_argument("unexpected EOF")),
        }
    }
}

/// Replies as lines `{"result":...}`, at the end perhaps one of `{"error":...}`.
pub struct Lines {
    method: Method,
    replies: Replies,
    broken: Broken,
    is_over: bool,
}

impl Lines {
    pub fn new(method: Method, replies: Replies, broken: Broken) -> Lines {
        Lines { method, replies, broken, is_over: false }
    }

    /// The first line and its code; no line if there is no reply.
    pub async fn first(&mut self) -> (StatusCode, Option<Bytes>) {
        match self.next().await {
            None => (StatusCode::OK, None),
            Some(Ok(line)) => (StatusCode::OK, Some(line)),
            Some(Err(status)) => (http_code(status.code()), Some(error_line(&status))),
        }
    }

    /// `first` and all that follows.
    pub fn into_body(self, first: Option<Bytes>) -> Body {
        let frames = stream::iter(first).chain(self.rest()).map(|line| Ok::<_, Status>(Frame::data(line)));
        Body::new(StreamBody::new(frames))
    }

    fn rest(self) -> impl Stream<Item = Bytes> {
        stream::unfold(self, |mut lines| async move {
            let line = lines.next().await?.unwrap_or_else(|status| error_line(&status));
            Some((line, lines))
        })
    }

    async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        if self.is_over {
            return None;
        }
        let reply = tokio::select! {
            biased;
            Ok(status) = &mut self.broken => Err(status),
            reply = self.replies.next() => reply,
        };
        let line = match reply {
            Ok(reply) => reply.map(|reply| self.method.json_of(reply)).transpose(),
            Err(status) => Err(status),
        };
        self.is_over = !matches!(line, Ok(Some(_)));
        line.map(|json| json.map(|json| result_line(&json))).transpose()
    }
}

fn result_line(json: &[u8]) -> Bytes {
    [br#"{"result":"#, json, b"}\n"].concat().into()
}

fn error_line(status: &Status) -> Bytes {
    format!("{}\n", serde_json::json!({ "error": refusal_json(status) })).into()
}
