//! One gRPC call on behalf of a plain HTTP request, through the services of the same port.

use std::pin::Pin;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TE};
use http_body_util::BodyExt;
use hyper::body::Body as HttpBody;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::{Code, Status};

/// Prefix of headers that become metadata.
const METADATA_PREFIX: &str = "grpc-metadata-";

/// Bytes before a message: a flag and a length.
const FRAME_HEADER_BYTES: usize = 5;

/// The metadata of a call: who asks, for how long, and what is passed on by name.
/// Source: grpc-gateway v2 runtime/context.go (annotateContext). Of its many `grpcgateway-` copies of HTTP headers only
/// the one that etcd reads is made.
pub fn metadata(headers: &HeaderMap) -> HeaderMap {
    let mut metadata = HeaderMap::new();
    for (name, value) in headers {
        if name == AUTHORIZATION || name.as_str() == "grpc-timeout" {
            metadata.append(name.clone(), value.clone());
        } else if name == ACCEPT {
            metadata.append(HeaderName::from_static("grpcgateway-accept"), value.clone());
        } else if let Some(rest) = name.as_str().strip_prefix(METADATA_PREFIX)
            && let Ok(name) = HeaderName::from_bytes(rest.as_bytes())
            && !rest.starts_with("grpc-")
        {
            metadata.append(name, value.clone());
        }
    }
    metadata
}

/// Calls `path` with frames of requests.
pub async fn call<S, B>(mut services: S, path: &str, metadata: HeaderMap, frames: Body) -> Replies
where
    S: Service<http::Request<Body>, Response = http::Response<B>, Error = std::convert::Infallible>,
    B: HttpBody<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let mut request = http::Request::new(frames);
    *request.version_mut() = http::Version::HTTP_2;
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = path.parse().expect("paths of methods are URIs");
    *request.headers_mut() = metadata;
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
    let Ok(response) = services.call(request).await;
    Replies::new(response)
}

/// What comes back: messages, then how it ended.
pub struct Replies {
    body: Pin<Box<Body>>,
    bytes: BytesMut,
    /// The end, once it is known.
    ended: Option<Status>,
}

impl Replies {
    fn new<B>(response: http::Response<B>) -> Replies
    where
        B: HttpBody<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    {
        // A refusal without messages has its status among the headers.
        let ended = Status::from_header_map(response.headers());
        Replies { body: Box::pin(Body::new(response.into_body())), bytes: BytesMut::new(), ended }
    }

    /// The next message; `None` at a good end.
    /// Errors: the status that the call ended with.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            if let Some(message) = self.take_message() {
                return Ok(Some(message));
            }
            if let Some(status) = &self.ended {
                return match status.code() {
                    Code::Ok => Ok(None),
                    _ => Err(status.clone()),
                };
            }
            match self.body.frame().await {
                None => self.ended = Some(Status::unknown("the call ended without a status")),
                Some(Err(status)) => self.ended = Some(status),
                Some(Ok(frame)) => self.take_frame(frame),
            }
        }
    }

    fn take_frame(&mut self, frame: http_body::Frame<Bytes>) {
        match frame.into_data() {
            Ok(data) => self.bytes.extend_from_slice(&data),
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                let status = Status::from_header_map(&trailers);
                self.ended =
                    Some(status.unwrap_or_else(|| Status::unknown("the call ended without a status")));
            }
        }
    }

    fn take_message(&mut self) -> Option<Bytes> {
        let [_, a, b, c, d, ..] = *self.bytes else { return None };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if self.bytes.len() < FRAME_HEADER_BYTES + length {
            return None;
        }
        self.bytes.advance(FRAME_HEADER_BYTES);
        Some(self.bytes.split_to(length).freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_what_grpc_gateway_would_pass_on() {
        let from = [
            ("authorization", "Bearer t.1"),
            ("accept", "*/*"),
            ("grpc-timeout", "3S"),
            ("grpc-metadata-hasleader", "true"),
            ("grpc-metadata-grpc-status", "0"),
            ("cookie", "x"),
        ];
        let headers =
            from.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let metadata = metadata(&HeaderMap::from_iter(headers));
        let mut names: Vec<_> = metadata.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["authorization", "grpc-timeout", "grpcgateway-accept", "hasleader"]);
    }
}
