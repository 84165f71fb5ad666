//! A watch stream of a story: everything on it is written down until it breaks or all is over.

use std::sync::Arc;

use holdfast_core::boundary::StreamOp;
use holdfast_net::answers;
use holdfast_net::listen::PACE;
use holdfast_net::proto::etcdserverpb::{self as pb, watch_client::WatchClient};
use madsim::runtime::NodeHandle;
use tokio::sync::{mpsc, watch};
use tonic::Request;

use super::client::Shared;
use super::history::StreamId;
use super::site::Site;
use super::stubs;
use crate::blackbox::history::Passed;

/// Pace of a client that does not read: longer than any story.
const NEVER_NS: u64 = 3_600_000_000_000;

/// The client's end of a stream.
pub struct Audience {
    id: StreamId,
    requests: mpsc::UnboundedSender<pb::WatchRequest>,
}

impl Audience {
    pub fn open(
        clients: &NodeHandle,
        shared: &Shared,
        site: &Arc<Site>,
        reads: bool,
        mut over: watch::Receiver<bool>,
    ) -> Audience {
        let (requests, asked) = mpsc::unbounded_channel();
        let id = shared.write_down(|history, _| history.open_stream(None));
        let (shared, channel) = (shared.clone(), site.server().channel());
        clients.spawn(async move {
            let asked =
                futures_util::stream::unfold(asked, |mut asked: mpsc::UnboundedReceiver<_>| async move {
                    let request = asked.recv().await?;
                    Some((request, asked))
                });
            let mut call = Request::new(asked);
            if !reads {
                call.metadata_mut().insert(PACE, NEVER_NS.into());
            }
            let Ok(answers) = WatchClient::new(channel).watch(call).await else { return };
            let mut answers = answers.into_inner();
            loop {
                let told = tokio::select! {
                    biased;
                    told = answers.message() => told,
                    _ = over.wait_for(|over| *over) => return,
                };
                let Ok(Some(told)) = told else { return };
                let response = answers::watch_response(&told);
                shared.write_down(|history, now_ns| history.passed(id, now_ns, Passed::Told(response)));
            }
        });
        Audience { id, requests }
    }

    /// Says something on the stream; a connection that broke takes it with it.
    pub fn say(&self, shared: &Shared, op: &StreamOp) {
        if let Some(request) = stubs::watch_request(op) {
            shared.write_down(|history, now_ns| history.passed(self.id, now_ns, Passed::Asked(op.clone())));
            self.requests.send(request).ok();
        }
    }
}
