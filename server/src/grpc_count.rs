//! Counts gRPC calls, messages and bytes as go-grpc-middleware's interceptors do, from outside the services.
//!
//! Cost of a unary call: one hash look-up of its path and about eight relaxed additions.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use prometheus::{Histogram, IntCounter, IntCounterVec};
use tower_layer::Layer;
use tower_service::Service;

use crate::metrics::GrpcMetrics;

/// gRPC codes by number, as labels name them.
pub const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];
const CANCELED: usize = 1;
const UNKNOWN: usize = 2;

/// The methods that are counted: service, its unary methods, its streams with their kind.
type ServiceRow = (&'static str, &'static [&'static str], &'static [(&'static str, &'static str)]);

const SERVICES: &[ServiceRow] = &[
    (
        "etcdserverpb.KV",
        &["Range", "Put", "DeleteRange", "Txn", "Compact"],
        &[("RangeStream", "server_stream")],
    ),
    ("etcdserverpb.Watch", &[], &[("Watch", "bidi_stream")]),
    (
        "etcdserverpb.Lease",
        &["LeaseGrant", "LeaseRevoke", "LeaseTimeToLive", "LeaseLeases"],
        &[("LeaseKeepAlive", "bidi_stream")],
    ),
    (
        "etcdserverpb.Cluster",
        &["MemberAdd", "MemberRemove", "MemberUpdate", "MemberList", "MemberPromote"],
        &[],
    ),
    (
        "etcdserverpb.Maintenance",
        &["Alarm", "Status", "Defragment", "Hash", "HashKV", "MoveLeader", "Downgrade"],
        &[("Snapshot", "server_stream")],
    ),
    (
        "etcdserverpb.Auth",
        &[
            "AuthEnable",
            "AuthDisable",
            "AuthStatus",
            "Authenticate",
            "UserAdd",
            "UserGet",
            "UserList",
            "UserDelete",
            "UserChangePassword",
            "UserGrantRole",
            "UserRevokeRole",
            "RoleAdd",
            "RoleGet",
            "RoleList",
            "RoleDelete",
            "RoleGrantPermission",
            "RoleRevokePermission",
        ],
        &[],
    ),
    ("grpc.health.v1.Health", &["Check"], &[("Watch", "server_stream")]),
    ("v3lockpb.Lock", &["Lock", "Unlock"], &[]),
    ("v3electionpb.Election", &["Campaign", "Proclaim", "Leader", "Resign"], &[("Observe", "server_stream")]),
];

/// Counters of one method, looked up once.
#[derive(Debug)]
struct Method {
    started: IntCounter,
    handled: [IntCounter; CODES.len()],
    received: IntCounter,
    sent: IntCounter,
    /// `unary` or `stream`.
    form: &'static str,
    /// Only with `--metrics=extensive`.
    seconds: Option<Histogram>,
}

/// The layer that counts; wraps every service of a listener.
#[derive(Clone, Debug)]
pub struct CountCalls {
    methods: Arc<HashMap<String, Arc<Method>>>,
    client_requests: IntCounterVec,
    bytes_received: IntCounter,
    bytes_sent: IntCounter,
}

impl CountCalls {
    /// Every method starts at zero under every code, so that rates have a beginning.
    pub fn new(metrics: &GrpcMetrics) -> CountCalls {
        let mut methods = HashMap::new();
        for (service, unary, streams) in SERVICES {
            let unary = unary.iter().map(|method| (*method, "unary"));
            for (method, kind) in unary.chain(streams.iter().copied()) {
                methods.insert(
                    format!("/{service}/{method}"),
                    Arc::new(Method::new(metrics, [kind, service, method])),
                );
            }
        }
        CountCalls {
            methods: Arc::new(methods),
            client_requests: metrics.client_requests.clone(),
            bytes_received: metrics.bytes_received.clone(),
            bytes_sent: metrics.bytes_sent.clone(),
        }
    }
}

impl Method {
    fn new(metrics: &GrpcMetrics, call: [&str; 3]) -> Method {
        let [kind, service, method] = call;
        Method {
            started: metrics.started.with_label_values(&call),
            handled: CODES.map(|code| metrics.handled.with_label_values(&[kind, service, method, code])),
            received: metrics.messages_received.with_label_values(&call),
            sent: metrics.messages_sent.with_label_values(&call),
            form: if kind == "unary" { "unary" } else { "stream" },
            seconds: metrics.handling_seconds.as_ref().map(|seconds| seconds.with_label_values(&call)),
        }
    }
}

impl<S> Layer<S> for CountCalls {
    type Service = Counted<S>;

    fn layer(&self, below: S) -> Counted<S> {
        Counted { below, calls: self.clone() }
    }
}

/// A service whose calls are counted.
#[derive(Clone, Debug)]
pub struct Counted<S> {
    below: S,
    calls: CountCalls,
}

impl<S, In, Out> Service<http::Request<In>> for Counted<S>
where
    S: Service<http::Request<CountedBody<In>>, Response = http::Response<Out>>,
{
    type Response = http::Response<CountedBody<Out>>;
    type Error = S::Error;
    type Future = CountedCall<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.below.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<In>) -> CountedCall<S::Future> {
        let method = self.calls.methods.get(request.uri().path()).cloned();
        let (received, sent) = match &method {
            Some(method) => {
                method.started.inc();
                let version = client_version(request.headers());
                self.calls.client_requests.with_label_values(&[method.form, version]).inc();
                let received = Flow::new(&method.received, &self.calls.bytes_received);
                (Some(received), Some(Flow::new(&method.sent, &self.calls.bytes_sent)))
            }
            None => (None, None),
        };
        let request = request.map(|body| CountedBody { body, flow: received, ending: None });
        let ending = method.map(|method| Ending { method, code: None, began: Instant::now() });
        CountedCall { response: self.below.call(request), sent, ending }
    }
}

pin_project! {
    /// A call whose response is not there yet.
    pub struct CountedCall<F> {
        #[pin]
        response: F,
        sent: Option<Flow>,
        ending: Option<Ending>,
    }
}

impl<F, Out, E> Future for CountedCall<F>
where
    F: Future<Output = Result<http::Response<Out>, E>>,
{
    type Output = Result<http::Response<CountedBody<Out>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.response.poll(cx))?;
        let mut ending = this.ending.take();
        if let Some(ending) = &mut ending {
            // A refusal without messages has its status among the headers.
            ending.code = code_in(response.headers());
        }
        let flow = this.sent.take();
        Poll::Ready(Ok(response.map(|body| CountedBody { body, flow, ending })))
    }
}

/// Counts a call as handled when it is dropped, whichever way it ends.
#[derive(Debug)]
struct Ending {
    method: Arc<Method>,
    code: Option<usize>,
    began: Instant,
}

impl Drop for Ending {
    fn drop(&mut self) {
        // No status was sent: the client went away first.
        self.method.handled[self.code.unwrap_or(CANCELED)].inc();
        if let Some(seconds) = &self.method.seconds {
            seconds.observe(self.began.elapsed().as_secs_f64());
        }
    }
}

/// The API level that a client says it has. What is no version is not made a label of: clients could make any number
/// of them.
fn client_version(headers: &http::HeaderMap) -> &str {
    let version = headers.get("client-api-version").and_then(|version| version.to_str().ok());
    let is_version = |text: &&str| {
        (1..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    };
    version.filter(is_version).unwrap_or("unknown")
}

fn code_in(headers: &http::HeaderMap) -> Option<usize> {
    let code = headers.get("grpc-status")?.to_str().ok()?.parse::<usize>().ok()?;
    Some(if code < CODES.len() { code } else { UNKNOWN })
}

/// Messages and bytes of one direction of a call.
/// Shape: gRPC frames: one flag byte, a big-endian length of four bytes, that many bytes.
#[derive(Debug)]
struct Flow {
    messages: IntCounter,
    bytes: IntCounter,
    header: [u8; 5],
    header_bytes: usize,
    /// Bytes of the current message still to come.
    left: usize,
}

impl Flow {
    fn new(messages: &IntCounter, bytes: &IntCounter) -> Flow {
        Flow { messages: messages.clone(), bytes: bytes.clone(), header: [0; 5], header_bytes: 0, left: 0 }
    }

    fn count(&mut self, mut bytes: &[u8]) {
        self.bytes.inc_by(bytes.len() as u64);
        while !bytes.is_empty() {
            let skipped = self.left.min(bytes.len());
            self.left -= skipped;
            bytes = &bytes[skipped..];
            let taken = (self.header.len() - self.header_bytes).min(bytes.len());
            self.header[self.header_bytes..][..taken].copy_from_slice(&bytes[..taken]);
            self.header_bytes += taken;
            bytes = &bytes[taken..];
            if self.header_bytes == self.header.len() {
                let [_, length @ ..] = self.header;
                self.left = u32::from_be_bytes(length) as usize;
                self.header_bytes = 0;
                self.messages.inc();
            }
        }
    }
}

pin_project! {
    /// A body that counts what passes.
    pub struct CountedBody<B> {
        #[pin]
        body: B,
        flow: Option<Flow>,
        ending: Option<Ending>,
    }
}

impl<B> Body for CountedBody<B>
where
    B: Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(flow), Some(bytes)) = (this.flow, frame.data_ref()) {
                    flow.count(bytes.chunk());
                }
                if let (Some(ending), Some(trailers)) = (this.ending.as_mut(), frame.trailers_ref()) {
                    ending.code = code_in(trailers).or(Some(UNKNOWN));
                }
            }
            Some(Err(_)) => {}
            // The end of the body is the end of the call; without a status the client will say Unknown.
            None => drop(this.ending.take()),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;

    use super::*;
    use crate::metrics::{Identity, Metrics};

    /// A body of given frames.
    struct Frames(VecDeque<Frame<Bytes>>);

    impl Body for Frames {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop_front().map(Ok))
        }
    }

    /// Reads its request and answers with two messages, cut at odd places, and status 5.
    #[derive(Clone)]
    struct Echo;

    impl Service<http::Request<CountedBody<Frames>>> for Echo {
        type Response = http::Response<Frames>;
        type Error = Infallible;
        type Future = Pin<Box<dyn Future<Output = Result<http::Response<Frames>, Infallible>>>>;

        fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: http::Request<CountedBody<Frames>>) -> Self::Future {
            Box::pin(async move {
                drain(request.into_body()).await;
                let mut trailers = http::HeaderMap::new();
                trailers.insert("grpc-status", http::HeaderValue::from_static("5"));
                let data = |bytes: &'static [u8]| Frame::data(Bytes::from_static(bytes));
                let frames =
                    [data(b"\0\0"), data(b"\0\0\x03ab"), data(b"c\0\0\0\0\0"), Frame::trailers(trailers)];
                Ok(http::Response::new(Frames(frames.into())))
            })
        }
    }

    async fn drain<B: Body<Data = Bytes>>(body: B) {
        let mut body = std::pin::pin!(body);
        while std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await.is_some() {}
    }

    fn request(path: &str) -> http::Request<Frames> {
        let message = Frame::data(Bytes::from_static(b"\0\0\0\0\x02xy"));
        http::Request::builder().uri(path).body(Frames([message].into())).expect("the path is a uri")
    }

    fn metrics() -> Metrics {
        Metrics::new(Identity {
            member_id: 1,
            extensive: false,
            server_version: "3.7.1",
            cluster_version: "3.7",
            features: &[],
        })
    }

    fn line(metrics: &Metrics, start: &str) -> String {
        let text = String::from_utf8(metrics.text()).expect("the text is ASCII");
        let line = text.lines().find(|line| line.starts_with(start));
        line.unwrap_or_else(|| panic!("{start} is missing in\n{text}")).to_owned()
    }

    const PUT: &str = r#"{grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"}"#;

    fn handled(code: &str) -> String {
        format!(
            r#"grpc_server_handled_total{{grpc_code="{code}",grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"}}"#
        )
    }

    #[tokio::test]
    async fn call_is_counted_by_method_and_code() {
        let metrics = metrics();
        let mut service = CountCalls::new(&metrics.grpc).layer(Echo);
        let response = service.call(request("/etcdserverpb.KV/Put")).await.expect("it cannot fail");
        drain(response.into_body()).await;
        for (start, value) in [
            (format!("grpc_server_started_total{PUT}"), 1),
            (format!("grpc_server_msg_received_total{PUT}"), 1),
            (format!("grpc_server_msg_sent_total{PUT}"), 2),
            (handled("NotFound"), 1),
            (handled("OK"), 0),
            ("etcd_network_client_grpc_received_bytes_total".to_owned(), 7),
            ("etcd_network_client_grpc_sent_bytes_total".to_owned(), 13),
        ] {
            assert_eq!(line(&metrics, &start), format!("{start} {value}"));
        }
    }

    #[tokio::test]
    async fn call_that_its_client_left_is_canceled() {
        let metrics = metrics();
        let mut service = CountCalls::new(&metrics.grpc).layer(Echo);
        drop(service.call(request("/etcdserverpb.KV/Put")));
        assert_eq!(line(&metrics, &handled("Canceled")), format!("{} 1", handled("Canceled")));
    }

    #[tokio::test]
    async fn path_of_no_method_is_not_counted() {
        let metrics = metrics();
        let mut service = CountCalls::new(&metrics.grpc).layer(Echo);
        let response = service.call(request("/metrics")).await.expect("it cannot fail");
        drain(response.into_body()).await;
        let sent = "etcd_network_client_grpc_sent_bytes_total";
        assert_eq!(line(&metrics, sent), format!("{sent} 0"));
    }
}
