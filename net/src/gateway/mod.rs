//! The JSON gateway: plain HTTP with JSON bodies becomes gRPC calls to the services of the same port, and back.
//!
//! Methods are known by their descriptors, so that a route is a row of a table and no message is written down twice.
//! Everything that is not gRPC on a client port passes here first: hosts and origins are judged for all of it.
//!
//! Source: etcd 3.7.1 server/embed/serve.go, and grpc-gateway 2.29 runtime (codes, headers, bodies).

mod access;
mod call;
mod json;
mod routes;
mod stream;

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::{self, TryFutureExt};
use http::header::{
    CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method as Verb, StatusCode};
use http_body_util::{BodyExt, Either, LengthLimitError, Limited};
use hyper::body::{Body as HttpBody, Incoming};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::{Code, Status};

pub use access::Access;

use crate::listen::{is_grpc, whole_body};
use json::{Method, methods, refusal_json};

/// JSON may be so much longer than the message: base64, and every letter of it escaped.
const JSON_BYTES_A_BYTE: usize = 8;

const OLD_PREFIX: &str = "/v3beta/";
const PREFIX: &str = "/v3/";

type Response<B> = http::Response<Either<B, Body>>;
type Later<B> = Pin<Box<dyn Future<Output = Result<Response<B>, Infallible>> + Send>>;
type Passed<B, F> = future::MapOk<F, fn(http::Response<B>) -> Response<B>>;

/// The services of a port, asked over HTTP too.
#[derive(Clone, Debug)]
pub struct Gateway<S> {
    services: S,
    settings: Arc<Settings>,
}

#[derive(Debug)]
struct Settings {
    /// By path; empty with `--enable-grpc-gateway=false`.
    methods: HashMap<&'static str, Method>,
    access: Access,
    request_bytes_max: usize,
    serves_grpc: bool,
}

impl<S> Gateway<S> {
    /// `request_bytes_max` bounds the message that a body stands for.
    pub fn new(services: S, access: Access, is_enabled: bool, request_bytes_max: usize) -> Gateway<S> {
        let methods = if is_enabled { methods() } else { HashMap::new() };
        let settings = Settings { methods, access, request_bytes_max, serves_grpc: true };
        Gateway { services, settings: Arc::new(settings) }
    }

    /// Of a port of plain HTTP alone: the services are there for the gateway, and not for gRPC.
    pub fn plain_only(services: S, access: Access, is_enabled: bool, request_bytes_max: usize) -> Gateway<S> {
        let mut gateway = Gateway::new(services, access, is_enabled, request_bytes_max);
        Arc::get_mut(&mut gateway.settings).expect("not shared yet").serves_grpc = false;
        gateway
    }
}

impl<S, B, F> Service<http::Request<Incoming>> for Gateway<S>
where
    S: Service<http::Request<Incoming>, Response = http::Response<B>, Error = Infallible, Future = F>,
    S: Service<http::Request<Body>, Response = http::Response<B>, Error = Infallible, Future: Send>,
    S: Clone + Send + Sync + 'static,
    F: Future<Output = Result<http::Response<B>, Infallible>> + Send,
    B: HttpBody<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = future::Either<Passed<B, F>, Later<B>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Incoming>) -> Self::Future {
        if is_grpc(&request) && self.settings.serves_grpc {
            let passed: fn(http::Response<B>) -> Response<B> = |response| response.map(Either::Left);
            return future::Either::Left(self.services.call(request).map_ok(passed));
        }
        let gateway = self.clone();
        future::Either::Right(Box::pin(async move { Ok(gateway.answer(request).await) }))
    }
}

impl<S, B> Gateway<S>
where
    S: Service<http::Request<Incoming>, Response = http::Response<B>, Error = Infallible>,
    S: Service<http::Request<Body>, Response = http::Response<B>, Error = Infallible, Future: Send>,
    S: Clone + Send + Sync + 'static,
    <S as Service<http::Request<Incoming>>>::Future: Send,
    B: HttpBody<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    async fn answer(mut self, request: http::Request<Incoming>) -> Response<B> {
        if let Err(text) = self.settings.access.check_host(&request) {
            return plain_refusal(StatusCode::MISDIRECTED_REQUEST, &text).map(Either::Right);
        }
        let cors = self.settings.access.cors_headers(request.headers());
        let mut response = if request.method() == Verb::OPTIONS {
            http::Response::new(Either::Right(Body::empty()))
        } else if is_grpc(&request) {
            plain_refusal(StatusCode::NOT_FOUND, "404 page not found").map(Either::Right)
        } else if format!("{}/", request.uri().path()) == PREFIX && !self.settings.methods.is_empty() {
            redirected(PREFIX).map(Either::Right)
        } else if let Some(path) = self.path_of(request.uri().path()) {
            self.answer_json(&path, request).await.map(Either::Right)
        } else {
            let Ok(response) = self.services.call(request).await;
            response.map(Either::Left)
        };
        response.headers_mut().extend(cors.into_iter().flatten());
        response
    }

    /// The path of the gateway that is meant; `None` if it is not the gateway's.
    fn path_of(&self, path: &str) -> Option<String> {
        let rest = path.strip_prefix(OLD_PREFIX).or_else(|| path.strip_prefix(PREFIX))?;
        (!self.settings.methods.is_empty()).then(|| format!("{PREFIX}{rest}"))
    }

    async fn answer_json(&self, path: &str, request: http::Request<Incoming>) -> http::Response<Body> {
        let Some(method) = self.settings.methods.get(path) else {
            return refused(&Status::not_found("Not Found"));
        };
        if request.method() != Verb::POST {
            return refused(&Status::unimplemented("Method Not Allowed"));
        }
        let answer = match (method.takes_stream, method.gives_stream) {
            (false, false) => self.answer_once(method, request).await,
            _ => self.answer_stream(method, request).await,
        };
        answer.unwrap_or_else(|status| refused(&status))
    }

    async fn answer_once(
        &self,
        method: &Method,
        request: http::Request<Incoming>,
    ) -> Result<http::Response<Body>, Status> {
        let metadata = call::metadata(request.headers());
        let frame = method.frame_of(&self.read_all(request.into_body()).await?)?;
        let mut replies = call::call(self.services.clone(), &method.path, metadata, whole_body(frame)).await;
        let reply =
            replies.next().await?.ok_or_else(|| Status::internal("the call ended without a reply"))?;
        // How it ended comes behind the reply.
        replies.next().await?;
        Ok(json_response(StatusCode::OK, whole_body(method.json_of(reply)?.into())))
    }

    async fn answer_stream(
        &self,
        method: &Method,
        request: http::Request<Incoming>,
    ) -> Result<http::Response<Body>, Status> {
        let metadata = call::metadata(request.headers());
        let (frames, broken) = match method.takes_stream {
            true => stream::requests(method.clone(), request.into_body(), self.bytes_max()),
            false => {
                let frame = method.frame_of(&self.read_all(request.into_body()).await?)?;
                (whole_body(frame), stream::unbroken())
            }
        };
        let replies = call::call(self.services.clone(), &method.path, metadata, frames).await;
        let mut lines = stream::Lines::new(method.clone(), replies, broken);
        // The code of the answer is that of the first thing that is said.
        let (code, first) = lines.first().await;
        Ok(json_response(code, lines.into_body(first)))
    }

    fn bytes_max(&self) -> usize {
        self.settings.request_bytes_max.saturating_mul(JSON_BYTES_A_BYTE)
    }

    async fn read_all(&self, body: Incoming) -> Result<Bytes, Status> {
        match Limited::new(body, self.bytes_max()).collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(too_long(self.bytes_max())),
            Err(error) => Err(Status::invalid_argument(error.to_string())),
        }
    }
}

fn too_long(bytes_max: usize) -> Status {
    Status::resource_exhausted(format!("holdfast: the body of the request is longer than {bytes_max} bytes"))
}

fn json_response(code: StatusCode, body: Body) -> http::Response<Body> {
    let mut response = http::Response::new(body);
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // grpc-gateway passes the call's own headers on, and clients were seen to print them.
    let content_type = HeaderName::from_static("grpc-metadata-content-type");
    response.headers_mut().insert(content_type, HeaderValue::from_static("application/grpc"));
    response
}

fn refused(status: &Status) -> http::Response<Body> {
    let body = whole_body(Bytes::from(refusal_json(status).to_string()));
    let mut response = json_response(http_code(status.code()), body);
    if status.code() == Code::Unauthenticated
        && let Ok(message) = HeaderValue::from_str(status.message())
    {
        response.headers_mut().insert(WWW_AUTHENTICATE, message);
    }
    response
}

/// As Go's mux answers for a folder without its last slash.
fn redirected(path: &'static str) -> http::Response<Body> {
    let mut response = http::Response::new(Body::empty());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    response.headers_mut().insert(LOCATION, HeaderValue::from_static(path));
    response
}

/// An error as Go's `http.Error` writes it.
fn plain_refusal(code: StatusCode, text: &str) -> http::Response<Body> {
    let mut response = http::Response::new(whole_body(Bytes::from(format!("{text}\n"))));
    *response.status_mut() = code;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    let headers = [(CONTENT_TYPE, text), (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))];
    *response.headers_mut() = HeaderMap::from_iter(headers);
    response
}

/// Source: grpc-gateway v2 runtime/errors.go (HTTPStatusFromCode).
fn http_code(code: Code) -> StatusCode {
    let number = match code {
        Code::Ok => 200,
        Code::Cancelled => 499,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => 400,
        Code::Unauthenticated => 401,
        Code::PermissionDenied => 403,
        Code::NotFound => 404,
        Code::AlreadyExists | Code::Aborted => 409,
        Code::ResourceExhausted => 429,
        Code::Unimplemented => 501,
        Code::Unavailable => 503,
        Code::DeadlineExceeded => 504,
        Code::Unknown | Code::Internal | Code::DataLoss => 500,
    };
    StatusCode::from_u16(number).expect("a code of HTTP")
}
