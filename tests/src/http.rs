//! Plain HTTP against a server on loopback: one connection an exchange.

use std::convert::Infallible;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// An answer whose head has come.
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    body: Incoming,
    bytes: BytesMut,
}

/// Sends one request.
pub async fn send(port: u16, verb: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = http::Request::builder().method(verb).uri(path);
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request = request.header("host", format!("127.0.0.1:{port}"));
    }
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    exchange(port, request.body(Full::new(Bytes::from(body.to_owned()))).expect("a request")).await
}

/// Posts a body that comes piece by piece, and ends with its sender.
pub async fn send_stream(port: u16, path: &str, pieces: mpsc::Receiver<Bytes>) -> Answer {
    let pieces = stream::unfold(pieces, |mut pieces| async move {
        let piece = pieces.recv().await?;
        Some((Ok::<_, Infallible>(Frame::data(piece)), pieces))
    });
    let request = http::Request::post(path).header("host", format!("127.0.0.1:{port}"));
    exchange(port, request.body(StreamBody::new(Box::pin(pieces))).expect("a request")).await
}

async fn exchange<B>(port: u16, request: http::Request<B>) -> Answer
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let socket = TcpStream::connect(("127.0.0.1", port)).await.expect("the server listens");
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await.expect("it speaks HTTP");
    // Its end is seen by who reads the answer.
    tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await.expect("an answer").into_parts();
    Answer { status: head.status.as_u16(), headers: head.headers, body, bytes: BytesMut::new() }
}

impl Answer {
    /// A header's value; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    /// The whole body.
    pub async fn text(mut self) -> String {
        while self.more().await {}
        String::from_utf8(self.bytes.to_vec()).expect("text")
    }

    /// The next line of the body; `None` at its end.
    pub async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
                return Some(String::from_utf8(self.bytes.split_to(end + 1).to_vec()).expect("text"));
            }
            if !self.more().await {
                return None;
            }
        }
    }

    async fn more(&mut self) -> bool {
        match self.body.frame().await {
            None => false,
            Some(frame) => {
                let frame = frame.expect("the connection holds");
                self.bytes.extend(frame.into_data().unwrap_or_default());
                true
            }
        }
    }
}
