//! The member of this process: its directory, its ports, its end.

use std::borrow::Cow;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use holdfast_core::boundary::Limits;
use holdfast_core::node::BootError;
use holdfast_core::request::Request;
use holdfast_core::wal::LayoutConfig;
use holdfast_net::backup::Snapshots;
use holdfast_net::gateway::{Access, Gateway};
use holdfast_net::listen::{Edge, Options};
use holdfast_net::tls::Acceptor;
use holdfast_net::tokens::SignedTokens;
use holdfast_server::boot::{StartError, advertised};
use holdfast_server::clock::HostClock;
use holdfast_server::config::{ServerConfig, Url};
use holdfast_server::core_loop::{Death, Event};
use holdfast_server::data_dir::DataDir;
use holdfast_server::disk::durable::FlushWay;
use holdfast_server::disk::{Disk, RealDisk};
use holdfast_server::door::PeerDoor;
use holdfast_server::grpc_count::CountCalls;
use holdfast_server::http::{Endpoints, Surface, Versions};
use holdfast_server::jwt::Jwt;
use holdfast_server::logs;
use holdfast_server::ports::{Port, Terms, no_plain_http, plain_http, serve_all, thread_count};
use holdfast_server::run::{Host, Member, request_timeout, start};
use holdfast_server::secure::Secured;
use holdfast_server::srv;
use holdfast_server::supervisor::{Ending, Signals, notify_ready};
use tokio::sync::oneshot::error::RecvError;
use tokio::sync::{oneshot, watch};
use tower_layer::Layer;
use tracing::{error, info, warn};

/// How long calls in flight may go on after a signal before the node stops answering.
const DRAIN: Duration = Duration::from_secs(1);

/// How long a leader may take to hand over.
const HAND_OVER_WITHIN: Duration = Duration::from_millis(500);

/// Runs the member until a signal or its own failure; never returns after a signal.
pub fn run(config: ServerConfig) -> ExitCode {
    if let Err(why) = logs::init(&config.logs) {
        eprintln!("{why}");
        return ExitCode::FAILURE;
    }
    for note in &config.notes {
        info!("{note}");
    }
    for warning in &config.warnings {
        warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let served = match runtime {
        Ok(runtime) => runtime.block_on(serve(&config)),
        Err(error) => Err(format!("cannot start the runtime: {error}")),
    };
    match served {
        Ok(ending) => ending.exit(),
        Err(why) => {
            error!(target: logs::FATAL, error = why, "the server cannot go on");
            ExitCode::FAILURE
        }
    }
}

/// One line of why there is no member, or the signal that ended it.
async fn serve(config: &ServerConfig) -> Result<Ending, String> {
    let mut signals = Signals::catch().map_err(|e| format!("cannot catch signals: {e}"))?;
    // Files that were named are read before the directory is touched; certificates of our own lie in it.
    let mut secured = Secured::read(config)?;
    let tokens = open_tokens(config)?;
    let client_ports = bind_all(&config.listen_client_urls)?;
    let http_ports = bind_all(&config.listen_client_http_urls)?;
    let peer_ports = bind_all(&config.listen_peer_urls)?;
    let metrics_ports = bind_all(&config.listen_metrics_urls)?;
    // Holds the lock until the process ends.
    let directory = DataDir::open(&config.data_dir).map_err(|e| e.to_string())?;
    secured.make_own(config)?;
    let disk = open_disk(config, &directory)?;
    let config = &*with_members(config, &disk).await?;
    for port in &peer_ports {
        info!(address = port.address.clone(), "serving peer traffic");
    }
    let listeners = peer_ports.into_iter().map(|port| port.into_bound(secured.peers.as_ref())).collect();
    let door = PeerDoor { listeners, way: secured.way.clone() };
    let (clock, layout, seed) = (HostClock::system(), LayoutConfig::default(), rand::random());
    let host = Host { disk, clock, door, layout, seed, tokens };
    let started = tokio::select! {
        biased;
        ending = signals.next() => return Ok(ending),
        started = start(config, Limits::default(), host) => started,
    };
    let mut member = match started {
        Ok(member) => member,
        Err(StartError::Boot(removed @ BootError::Removed { .. })) => {
            warn!("{removed}");
            return Ok(Ending::Removed);
        }
        Err(error) => return Err(error.to_string()),
    };
    let snapshots = Snapshots::new(directory.member.clone());
    let site = Site { config, snapshots, stop: watch::Sender::new(false) };
    let mut serving = site.serve(&member, &metrics_ports, Surface::Metrics, secured.metrics)?;
    // Clients are served when the member has published itself (CL-12).
    tokio::select! {
        biased;
        ending = signals.next() => return Ok(ending),
        ended = &mut member.core.ended => return death(ended),
        published = &mut member.published => {
            // A loop that is gone says why in a moment.
            if published.is_err() {
                return death((&mut member.core.ended).await);
            }
        }
    }
    let below = secured.clients.clone();
    serving.extend(site.serve(&member, &client_ports, Surface::Client, below)?);
    serving.extend(site.serve(&member, &http_ports, Surface::ClientHttp, secured.clients)?);
    tell_served(&client_ports, &http_ports);
    notify_ready();
    let ending = tokio::select! {
        biased;
        ending = signals.next() => ending,
        ended = &mut member.core.ended => return death(ended),
    };
    // A second signal ends the process at once.
    tokio::spawn(async move { signals.next().await.exit() });
    hand_over(&member).await;
    site.stop.send_replace(true);
    shut_down(&mut member, serving).await;
    info!(name = config.name, "closed etcd server");
    Ok(ending)
}

/// What each port serves, for the operator.
fn tell_served(client_ports: &[Port], http_ports: &[Port]) {
    let traffic = if http_ports.is_empty() { "grpc+http" } else { "grpc" };
    let each = client_ports.iter().map(|port| (port, traffic));
    for (port, traffic) in each.chain(http_ports.iter().map(|port| (port, "http"))) {
        let address = port.address.clone();
        info!(address, "ready to serve client requests");
        if port.is_plain {
            warn!(traffic, address, "serving client traffic insecurely; this is strongly discouraged!");
        }
        if port.is_secure {
            info!(traffic, address, "serving client traffic securely");
        }
    }
}

/// A leader hands over before it stops, so that writes go on without an election. Clients are served meanwhile.
async fn hand_over(member: &Member) {
    match tokio::time::timeout(HAND_OVER_WITHIN, member.gate.call_as_root(Request::HandOver)).await {
        // A follower, and a sole member, have nothing to hand over.
        Ok(Ok(_)) => {}
        Ok(Err(status)) => warn!(error = %status, "leadership was not handed over"),
        Err(_) => warn!("leadership was not handed over in time"),
    }
}

/// Ports are closed: calls in flight finish, then the member ends, and with it the streams.
async fn shut_down(member: &mut Member, serving: Vec<oneshot::Receiver<()>>) {
    let mut drained = std::pin::pin!(futures_util::future::join_all(serving));
    let in_time = tokio::time::timeout(DRAIN, &mut drained).await.is_ok();
    // An error means that the loop has ended already.
    member.events.send(Event::Stop).ok();
    (&mut member.core.ended).await.ok();
    if !in_time {
        drained.await;
    }
}

/// Who signs tokens, if somebody is to.
fn open_tokens(config: &ServerConfig) -> Result<Option<Arc<dyn SignedTokens>>, String> {
    let Some(options) = &config.jwt else { return Ok(None) };
    let jwt = Jwt::open(options).map_err(|error| format!("failed to create token provider: {error}"))?;
    Ok(Some(Arc::new(jwt)))
}

/// The configuration with the members that DNS knows, where it is to be asked: before a member's first life.
async fn with_members<'a>(
    config: &'a ServerConfig,
    disk: &RealDisk,
) -> Result<Cow<'a, ServerConfig>, String> {
    let listing = disk.list().map_err(|error| StartError::List(error).to_string())?;
    match config.discovery_srv.is_empty() || !listing.is_empty() {
        true => Ok(Cow::Borrowed(config)),
        false => srv::discovered(config).await.map(Cow::Owned),
    }
}

fn open_disk(config: &ServerConfig, directory: &DataDir) -> Result<RealDisk, String> {
    let way = match config.unsafe_no_fsync {
        true => FlushWay::Never,
        false => FlushWay::probe(&directory.wal)
            .map_err(|e| format!("cannot write in {}: {e}", directory.wal.display()))?,
    };
    info!(
        name = config.name,
        "data-dir" = %config.data_dir.display(),
        "advertise-client-urls" = advertised(config),
        flush = format!("{way:?}"),
        "starting an etcd server"
    );
    Ok(RealDisk::new(&directory.member, way))
}

/// A removed member ends as if it had been told to (etcd exits with 0); all other ends are failures.
fn death(ended: Result<Result<(), Death>, RecvError>) -> Result<Ending, String> {
    match ended {
        Ok(Ok(())) => Err("the core loop ended".to_owned()),
        Ok(Err(removed @ Death::Removed)) => {
            warn!("{removed}");
            Ok(Ending::Removed)
        }
        Ok(Err(Death::Failed(why))) => Err(why),
        Err(_) => Err("the core loop panicked; see the lines above".to_owned()),
    }
}

fn bind_all(urls: &[Url]) -> Result<Vec<Port>, String> {
    Port::bind_all(urls).map_err(|refusal| refusal.to_string())
}

/// Plain HTTP of a client port passes the gateway first.
fn with_gateway<S>(
    config: &ServerConfig,
    services: S,
    make: fn(S, Access, bool, usize) -> Gateway<S>,
) -> Gateway<S> {
    let access = Access { origins: config.cors.clone(), hosts: config.host_whitelist.clone() };
    let request_bytes_max = usize::try_from(config.max_request_bytes).unwrap_or(usize::MAX);
    make(services, access, config.enable_grpc_gateway, request_bytes_max)
}

/// What all ports of a member serve from, beside the member itself.
struct Site<'a> {
    config: &'a ServerConfig,
    snapshots: Snapshots,
    stop: watch::Sender<bool>,
}

impl Site<'_> {
    /// Starts serving ports of one kind.
    fn serve(
        &self,
        member: &Member,
        ports: &[Port],
        surface: Surface,
        acceptor: Option<Arc<Acceptor>>,
    ) -> Result<Vec<oneshot::Receiver<()>>, String> {
        let config = self.config;
        let (gate, metrics) = (member.gate.clone(), member.metrics.clone());
        let endpoints = Endpoints::new(gate, metrics, Versions::of_cluster(), request_timeout(config));
        let plain = plain_http(endpoints, surface);
        let options = Options {
            streams_max: config.max_concurrent_streams,
            keepalive_interval: config.grpc_keepalive_interval,
            keepalive_timeout: config.grpc_keepalive_timeout,
            ..Options::default()
        };
        let edge = |plain| Edge::new(&member.gate, &self.snapshots, plain);
        let (edge, threads) = match surface {
            Surface::Client if config.listen_client_http_urls.is_empty() => (edge(plain), thread_count()),
            Surface::Client => (edge(no_plain_http()), thread_count()),
            Surface::ClientHttp => (edge(plain), 1),
            Surface::Metrics => (Edge::plain_only(plain), 1),
        };
        let edge = CountCalls::new(&member.metrics.grpc).layer(edge);
        let threads = if ports.is_empty() { 0 } else { threads };
        let terms = Terms { options, acceptor, threads };
        let closed = self.stop.subscribe();
        let served = match surface {
            Surface::Client if config.listen_client_http_urls.is_empty() => {
                serve_all(ports, &with_gateway(config, edge, Gateway::new), &terms, &closed)
            }
            Surface::ClientHttp => {
                serve_all(ports, &with_gateway(config, edge, Gateway::plain_only), &terms, &closed)
            }
            Surface::Client | Surface::Metrics => serve_all(ports, &edge, &terms, &closed),
        };
        served.map_err(|error| format!("cannot start a thread: {error}"))
    }
}
