//! `holdfast gateway start`, read as etcd reads it.
//!
//! Source: etcd 3.7.1 server/etcdmain/gateway.go, util.go.

use std::net::IpAddr;

use holdfast_ctl::cli::given::Given;
use holdfast_ctl::cli::spec::{Flag, Spec};
use holdfast_ctl::client::discovery;
use holdfast_ctl::exit::{Exit, Outcome};
use holdfast_ctl::output::print_line;
use tokio::net::{TcpListener, lookup_host};
use tracing::info;

use super::{Gateway, Remote, Remotes};
use crate::logs::{self, LogSettings};
use crate::supervisor::notify_ready;

/// What stands beside the server under its name.
pub static ROOT: Spec = Spec::holder("etcd", "etcd server", &[&GATEWAY]);

static GATEWAY: Spec = Spec::holder("gateway <subcommand>", "A gateway of TCP connections", &[&START]);

static START: Spec = Spec::leaf("start", "Starts the gateway", |given| Box::pin(start(given))).flags(&[
    Flag::text("discovery-srv", "", "domain whose SRV records name the endpoints"),
    Flag::text("discovery-srv-name", "", "suffix of the service whose SRV records are asked for"),
    Flag::texts("endpoints", "127.0.0.1:2379", "where the servers of the cluster listen"),
    Flag::bool("insecure-discovery", "take endpoints without TLS from SRV records"),
    Flag::text("listen-addr", "127.0.0.1:23790", "address to listen on"),
    Flag::duration("retry-delay", "1m0s", "pause before an endpoint that failed is tried again"),
    Flag::text(
        "trusted-ca-file",
        "",
        "authorities that endpoints of SRV records are checked against (not supported yet)",
    ),
]);

/// What is wrong goes to standard output, as etcd has it here.
fn refused(text: String) -> Exit {
    match print_line(&text) {
        Ok(()) => Exit::silent(1),
        Err(exit) => exit,
    }
}

async fn start(given: &Given) -> Outcome {
    logs::init(&LogSettings::default()).map_err(Exit::error)?;
    if !given.text("trusted-ca-file").is_empty() {
        return Err(Exit::error("--trusted-ca-file is not supported yet"));
    }
    let remotes = remotes(given).await?;
    let address = given.text("listen-addr");
    check_no_loop(&address, &remotes).await?;
    let listener = TcpListener::bind(&address).await;
    let listener = listener
        .map_err(|error| Exit::error(format!("listen tcp {address}: bind: {}", logs::io_text(&error))))?;
    let shown: Vec<String> = remotes.iter().map(Remote::to_string).collect();
    info!(endpoints = shown.join(","), address, "ready to proxy client requests");
    notify_ready();
    Gateway::new(Remotes::new(remotes), given.duration("retry-delay")).run(listener).await;
    Ok(())
}

/// The servers of SRV records, or those given.
async fn remotes(given: &Given) -> Result<Vec<Remote>, Exit> {
    let domain = given.text("discovery-srv");
    if !domain.is_empty() {
        let suffix = given.text("discovery-srv-name");
        let found = discovery::services(&domain, "etcd-client", &suffix).await;
        let found = found.merged().map_err(Exit::error)?;
        let takes_plain = given.bool("insecure-discovery");
        let kept = found.into_iter().filter(|(scheme, _)| takes_plain || *scheme == "https");
        let remotes: Vec<Remote> = kept
            .map(|(_, record)| Remote {
                host: record.target.trim_end_matches('.').to_owned(),
                port: record.port,
                priority: record.priority,
                weight: record.weight,
            })
            .collect();
        if !remotes.is_empty() {
            return Ok(remotes);
        }
    }
    given.list("endpoints").iter().map(|endpoint| read_endpoint(endpoint)).collect()
}

/// Host and port, with a scheme or without.
fn read_endpoint(endpoint: &str) -> Result<Remote, Exit> {
    let bare =
        endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest.split('/').next().unwrap_or(rest));
    split_host_port(bare)
        .map(|(host, port)| Remote { host, port, ..Remote::default() })
        .ok_or_else(|| refused(format!("error parsing endpoint {bare:?}")))
}

fn split_host_port(address: &str) -> Option<(String, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => host,
        None if host.contains(':') => return None,
        None => host,
    };
    Some((host.to_owned(), port.parse().ok()?))
}

/// A gateway that is its own endpoint would connect to itself without end.
async fn check_no_loop(address: &str, remotes: &[Remote]) -> Result<(), Exit> {
    let Some((host, port)) = split_host_port(address) else {
        return Err(refused(format!("failed to validate listen address: {address}")));
    };
    let own =
        resolve(&host).await.ok_or_else(|| refused(format!("failed to resolve listen host: {host}")))?;
    for remote in remotes {
        let Remote { host, port: remote_port, .. } = remote;
        let unknown = || refused(format!("failed to resolve endpoint host: {host}"));
        let theirs = resolve(host).await.ok_or_else(unknown)?;
        if let Some(same) = theirs.iter().find(|_| *remote_port == port).filter(|same| own.contains(same)) {
            return Err(refused(format!(
                "SRV or endpoint ({host}:{port}->{same}:{port}) should not resolve to the gateway listen addr ({address})"
            )));
        }
    }
    Ok(())
}

/// Addresses of a host; `None`: there are none.
async fn resolve(host: &str) -> Option<Vec<IpAddr>> {
    let found: Vec<IpAddr> = lookup_host((host, 0)).await.ok()?.map(|address| address.ip()).collect();
    (!found.is_empty()).then_some(found)
}
