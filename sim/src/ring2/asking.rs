//! A request of a story: a client of its own asks one member and waits as long as it has patience.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_core::request::{Request, Response};
use holdfast_core::status::Status;
use madsim::runtime::NodeHandle;
use tokio::time::{Instant, sleep, timeout};

use super::client::Shared;
use super::history::Ask;
use super::site::Site;
use super::stubs::{self, Refusal, is_judged};

/// How often a client looks whether a member serves that has just been started.
const LOOK: Duration = Duration::from_millis(20);

/// What came of a request.
#[derive(Clone, Debug)]
pub enum Outcome {
    Answered(Result<Response, Status>),
    /// The client gave up, or the way broke.
    Unknown(String),
    /// Nobody was there to take it.
    NoConnection,
}

impl Outcome {
    pub fn is_answer(&self) -> bool {
        matches!(self, Outcome::Answered(_))
    }

    pub fn words(&self) -> String {
        match self {
            Outcome::Answered(result) => format!("{result:?}"),
            Outcome::Unknown(why) => format!("nothing ({why})"),
            Outcome::NoConnection => "no connection".to_owned(),
        }
    }
}

/// What is asked, and whom.
pub struct Question {
    pub client: u64,
    pub request: Request,
    pub patience: Duration,
    pub site: Arc<Site>,
}

impl Question {
    /// Asks from the clients' machine; what comes of it is put down when it is known.
    pub fn ask(self, clients: &NodeHandle, shared: &Shared) -> Arc<Mutex<Option<Outcome>>> {
        let (told, shared) = (Arc::new(Mutex::new(None)), shared.clone());
        let outcome = Arc::clone(&told);
        clients.spawn(async move {
            let came = self.wait(&shared).await;
            *outcome.lock().expect("nobody panics while holding it") = Some(came);
        });
        told
    }

    async fn wait(self, shared: &Shared) -> Outcome {
        if !self.site.is_up() {
            return Outcome::NoConnection;
        }
        let until = Instant::now() + self.patience;
        while !self.site.serves() {
            if Instant::now() >= until || !self.site.is_up() {
                return Outcome::NoConnection;
            }
            sleep(LOOK).await;
        }
        let call = is_judged(&self.request).then(|| {
            let (client, request) = (self.client, self.request.clone());
            shared.write_down(|history, now_ns| history.begin(client, now_ns, Ask::Told, request))
        });
        let sent = stubs::send(self.site.server().channel(), self.request);
        let result = match timeout(until - Instant::now(), sent).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(Refusal::Status(status))) => Err(status),
            Ok(Err(Refusal::Way(why))) => return Self::lost(shared, call, &why),
            Err(_) => return Self::lost(shared, call, "given up"),
        };
        if let Some(call) = call {
            shared.write_down(|history, now_ns| history.answered_with(call, now_ns, result.clone()));
        }
        Outcome::Answered(result)
    }

    fn lost(shared: &Shared, call: Option<super::history::CallId>, why: &str) -> Outcome {
        if let Some(call) = call {
            shared.write_down(|history, now_ns| history.failed(call, now_ns, why));
        }
        Outcome::Unknown(why.to_owned())
    }
}
