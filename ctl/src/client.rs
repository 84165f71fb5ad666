//! A client of a cluster: endpoints tried in turn, calls repeated where that is safe, a token kept fresh.
//!
//! Source: etcd 3.7.1 client/v3 (client.go, retry.go, retry_interceptor.go).

pub mod connect;
pub mod discovery;
pub mod endpoint;
pub mod error;
pub mod keys;
pub mod lease;
pub mod pool;
pub mod queue;
pub mod rpc;
pub mod tls;
pub mod watch;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_core::status::Status as Refusal;
use holdfast_net::proto::etcdserverpb as pb;
use prost::Message;
use tokio::time::{Instant, timeout_at};
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

pub use self::endpoint::Endpoint;
pub use self::error::CallError;
use self::pool::Pool;
use crate::exit::{Code, Exit};
use crate::log;

/// Longest message that is sent unless `--max-request-bytes` says otherwise.
const SEND_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Between two attempts at a call, once all endpoints had their turn.
const PAUSE: Duration = Duration::from_millis(25);
/// Attempts at one call, where repeating is safe and no time is set.
const ATTEMPTS_MAX: usize = 100;
/// What we speak, told with each call.
const API_VERSION: &str = "3.7";

/// Who the user is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    Nobody,
    Password { user: String, password: String },
    Token(String),
}

#[derive(Clone, Debug)]
pub struct Config {
    pub endpoints: Vec<String>,
    /// Zero: as long as a call may take.
    pub dial_timeout: Duration,
    pub keepalive_time: Duration,
    pub keepalive_timeout: Duration,
    /// 0: the default.
    pub send_bytes_max: usize,
    /// 0: no limit.
    pub receive_bytes_max: usize,
    pub tls: Option<Arc<tls::Config>>,
    pub identity: Identity,
}

impl Config {
    /// The same for one endpoint.
    #[must_use]
    pub fn at(&self, endpoint: &str) -> Config {
        Config { endpoints: vec![endpoint.to_owned()], ..self.clone() }
    }
}

/// Whether a call may be sent again when nobody knows whether it was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    Safe,
    Never,
}

/// Clones share connections and token.
#[derive(Clone)]
pub struct Client {
    config: Arc<Config>,
    pool: Arc<Pool>,
    token: Arc<Mutex<Option<String>>>,
    deadline: Option<Instant>,
}

impl Client {
    /// Begins to connect to all endpoints. Waits for one only if there is a password to show.
    ///
    /// Errors: an endpoint that is none, a password that is wrong, nobody to show it to.
    pub async fn new(config: Config) -> Result<Client, Exit> {
        if config.receive_bytes_max > 0 && config.send_bytes_max > config.receive_bytes_max {
            return Err(Exit::new(
                Code::BadConnection,
                format!(
                    "gRPC message recv limit ({} bytes) must be greater than send limit ({} bytes)",
                    config.receive_bytes_max, config.send_bytes_max
                ),
            ));
        }
        let pool = Pool::new(&config).map_err(|text| Exit::new(Code::BadConnection, text))?;
        let client =
            Client { config: Arc::new(config), pool: Arc::new(pool), token: Arc::default(), deadline: None };
        let bounded = match client.config.dial_timeout {
            Duration::ZERO => client.clone(),
            dial_timeout => client.clone().until(Instant::now() + dial_timeout),
        };
        bounded.authenticate().await.map_err(|error| Exit::new(Code::BadConnection, error))?;
        Ok(client)
    }

    /// The same client whose calls end at `deadline`.
    #[must_use]
    pub fn until(self, deadline: Instant) -> Client {
        Client { deadline: Some(deadline), ..self }
    }

    /// The same client whose calls may take as long as they like.
    #[must_use]
    pub fn unbounded(&self) -> Client {
        Client { deadline: None, ..self.clone() }
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Shows the password, or takes the token that was given. A server without authentication is content.
    async fn authenticate(&self) -> Result<(), CallError> {
        let token = match &self.config.identity {
            Identity::Nobody => None,
            Identity::Token(token) => Some(token.clone()),
            Identity::Password { user, password } if user.is_empty() || password.is_empty() => None,
            Identity::Password { user, password } => {
                let request = pb::AuthenticateRequest { name: user.clone(), password: password.clone() };
                match self.authenticate_rpc(request).await {
                    Ok(answer) => Some(answer.token),
                    Err(error) if error.is(Refusal::AuthNotEnabled) => None,
                    Err(error) => return Err(error),
                }
            }
        };
        *self.token.lock().expect("no panic while it is held") = token;
        Ok(())
    }

    async fn authenticate_rpc(
        &self,
        request: pb::AuthenticateRequest,
    ) -> Result<pb::AuthenticateResponse, CallError> {
        use pb::auth_client::AuthClient;
        let call = async |channel: Channel, request| AuthClient::new(channel).authenticate(request).await;
        let mut attempt = 0;
        loop {
            let error = match self.once(request.clone(), &call).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if !error.is_unavailable() {
                return Err(error);
            }
            self.pause(&mut attempt, error).await?;
        }
    }

    /// Calls, and calls again while that is safe and time is left.
    pub async fn call<Q, A>(
        &self,
        repeat: Repeat,
        request: Q,
        call: impl AsyncFn(Channel, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, CallError>
    where
        Q: Message + Clone,
    {
        self.check_size(&request)?;
        let mut attempt = 0;
        loop {
            let error = match self.once(request.clone(), &call).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            // A voter among the other endpoints will do what a learner may not.
            let is_learner = error.is(Refusal::NotSupportedForLearner) && self.config.endpoints.len() > 1;
            if self.may_refresh(&error) {
                self.authenticate().await?;
            } else if is_learner {
                // The next attempt goes to the next endpoint.
            } else if repeat == Repeat::Never || !error.is_unavailable() {
                return Err(error::given_up(error));
            }
            self.pause(&mut attempt, error).await?;
        }
    }

    /// One attempt, at the endpoint whose turn it is.
    async fn once<Q, A>(
        &self,
        request: Q,
        call: &impl AsyncFn(Channel, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, CallError> {
        let picked = self.pool.pick(self.deadline).await?;
        let (channel, request) = (picked.channel.clone(), self.request(request));
        let answer = match self.deadline {
            Some(deadline) => {
                timeout_at(deadline, call(channel, request)).await.map_err(|_| CallError::TimedOut)?
            }
            None => call(channel, request).await,
        };
        picked.answered(answer).map(Response::into_inner)
    }

    /// A connection whose turn it is.
    pub async fn channel(&self) -> Result<Channel, CallError> {
        self.pool.pick(self.deadline).await.map(|picked| picked.channel)
    }

    /// A request with what goes beside each: our version and the token.
    pub fn request<Q>(&self, message: Q) -> Request<Q> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert("client-api-version", AsciiMetadataValue::from_static(API_VERSION));
        let token = self.token.lock().expect("no panic while it is held").clone();
        if let Some(token) = token.and_then(|token| AsciiMetadataValue::try_from(token).ok()) {
            metadata.insert("token", token);
        }
        request
    }

    /// The token has run out, or the roles have changed since it was given.
    fn may_refresh(&self, error: &CallError) -> bool {
        // There is no other token than the one that was given.
        if matches!(self.config.identity, Identity::Token(_)) {
            return false;
        }
        let has_password = matches!(self.config.identity, Identity::Password { .. });
        let is_lost = error.is(Refusal::InvalidAuthToken) || error.is(Refusal::UserEmpty);
        // Who is known by a certificate only has to ask again.
        (has_password && is_lost) || error.is(Refusal::AuthOldRevision)
    }

    /// Waits before the next attempt, if all endpoints had one.
    ///
    /// Errors: there will be none, for time or attempts are used up.
    async fn pause(&self, attempt: &mut usize, error: CallError) -> Result<(), CallError> {
        *attempt += 1;
        if attempt.is_multiple_of(self.config.endpoints.len() / 2 + 1) {
            tokio::time::sleep(PAUSE).await;
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => {
                if !matches!(error::given_up(error.clone()), CallError::TimedOut) {
                    log::warn("the last attempt failed", &[("error", &error.to_string())]);
                }
                Err(CallError::TimedOut)
            }
            None if *attempt >= ATTEMPTS_MAX => Err(error::given_up(error)),
            _ => Ok(()),
        }
    }

    fn check_size(&self, request: &impl Message) -> Result<(), CallError> {
        let limit = match self.config.send_bytes_max {
            0 => SEND_BYTES_MAX,
            limit => limit,
        };
        let size = request.encoded_len();
        if size > limit {
            let text = format!("trying to send message larger than max ({size} vs. {limit})");
            return Err(CallError::from(Status::resource_exhausted(text)));
        }
        Ok(())
    }

    /// Longest answer that is read.
    pub fn receive_bytes_max(&self) -> usize {
        match self.config.receive_bytes_max {
            0 => i32::MAX as usize,
            limit => limit,
        }
    }
}

impl Client {
    /// `future`, if it is done by the deadline.
    pub async fn bounded<T>(&self, future: impl Future<Output = T>) -> Result<T, CallError> {
        match self.deadline {
            Some(deadline) => timeout_at(deadline, future).await.map_err(|_| CallError::TimedOut),
            None => Ok(future.await),
        }
    }
}
