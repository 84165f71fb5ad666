//! The members of a new cluster by DNS: `--discovery-srv`.
//!
//! Every member finds the same URLs, so that all of them derive the same ids; which of them is its own, each finds out
//! by the addresses behind the URLs that it advertises.
//!
//! Source: etcd 3.7.1 client/pkg/srv/srv.go (GetCluster), server/embed/config.go (GetDNSClusterNames).

use std::net::SocketAddr;

use holdfast_ctl::client::discovery::{self, Record, Services};
use tokio::net::lookup_host;
use tracing::{info, warn};

use crate::config::{ServerConfig, Url};

/// The configuration with the members that the domain's records name.
/// Errors: no record can be had, or none of them is this member's.
pub async fn discovered(config: &ServerConfig) -> Result<ServerConfig, String> {
    let failed = |why: String| format!("error setting up initial cluster: {why}");
    let mut own = Vec::new();
    for url in &config.initial_advertise_peer_urls {
        own.extend(
            resolve(&url.host, url.port).await.map_err(failed)?.into_iter().map(|address| (address, url)),
        );
    }
    let found = discovery::services(&config.discovery_srv, "etcd-server", &config.discovery_srv_name).await;
    let (members, whys) = read(config, &own, found).await;
    for why in &whys {
        warn!(error = why, "failed to resolve during SRV discovery");
    }
    if members.is_empty() {
        return Err(failed(whys.join("\n")));
    }
    for (name, url) in &members {
        info!(node = format!("{name}={url}"), "got bootstrap from DNS for etcd-server");
    }
    let mine = members.iter().filter(|(name, _)| *name == config.name).map(|(_, url)| url.clone());
    let mine: Vec<Url> = mine.collect();
    if mine.is_empty() {
        return Err(failed(format!("cannot find local etcd member {:?} in SRV records", config.name)));
    }
    let each = members.iter().map(|(name, url)| format!("{name}={url}"));
    Ok(ServerConfig {
        initial_cluster: each.collect::<Vec<_>>().join(","),
        // They lead to the same place, and are what the others call it.
        initial_advertise_peer_urls: mine,
        ..config.clone()
    })
}

/// Members by name, ours under its own and the others by number, and what went wrong.
async fn read(
    config: &ServerConfig,
    own: &[(SocketAddr, &Url)],
    found: Services,
) -> (Vec<(String, Url)>, Vec<String>) {
    let (mut members, mut whys) = (Vec::new(), Vec::new());
    for (scheme, service, records) in
        [("https", "etcd-server-ssl", found.secure), ("http", "etcd-server", found.plain)]
    {
        let of = |why: String| format!("error querying DNS SRV records for _{service} {why}");
        let records = match records {
            Ok(records) => records,
            Err(why) => {
                whys.push(of(why));
                continue;
            }
        };
        // Each kind of records is numbered from 0, as etcd does it.
        let mut number = 0;
        for record in records {
            match member(scheme, &record, own).await {
                Ok((true, url)) => members.push((config.name.clone(), url)),
                Ok((false, url)) => {
                    members.push((number.to_string(), url));
                    number += 1;
                }
                Err(why) => whys.push(of(why)),
            }
        }
    }
    (members, whys)
}

/// Whether a record is this member's, and its URL.
async fn member(scheme: &str, record: &Record, own: &[(SocketAddr, &Url)]) -> Result<(bool, Url), String> {
    let host = record.target.trim_end_matches('.');
    let url = Url::parse(&format!("{scheme}://{host}:{}", record.port))?;
    let addresses = resolve(host, record.port).await?;
    match own.iter().find(|(address, _)| addresses.contains(address)) {
        None => Ok((false, url)),
        Some((_, expected)) if expected.scheme == url.scheme => Ok((true, url)),
        Some((_, expected)) => {
            Err(format!("bootstrap at {url} from DNS has scheme mismatch with expected peer {expected}"))
        }
    }
}

async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let found = lookup_host((host, port)).await.map_err(|error| format!("lookup {host}: {error}"))?;
    Ok(found.collect())
}
