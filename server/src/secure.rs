//! TLS of a member: what its ports take connections with, and its way to other members.

use std::path::Path;
use std::sync::Arc;

use holdfast_net::peer::Way;
use holdfast_net::tls::{Acceptor, Connector, Door, Settings};
use tracing::info;

use crate::config::url::Scheme;
use crate::config::{Security, ServerConfig, Url};
use crate::self_signed;

/// `None`: no port of the kind is one of TLS.
#[derive(Debug)]
pub struct Secured {
    pub clients: Option<Arc<Acceptor>>,
    pub metrics: Option<Arc<Acceptor>>,
    pub peers: Option<Arc<Acceptor>>,
    pub way: Way,
}

impl Secured {
    /// Reads all files that the flags name. Errors: one that cannot be read or used, in one line.
    pub fn read(config: &ServerConfig) -> Result<Secured, String> {
        let Security { client, peer, client_auto, peer_auto, .. } = &config.security;
        let mut secured = Secured { clients: None, metrics: None, peers: None, way: Way::default() };
        if !client_auto {
            secured.set_client(config, client)?;
        }
        if !peer_auto {
            secured.set_peer(config, peer)?;
        }
        Ok(secured)
    }

    /// The same with certificates of our own making, which lie in the data directory.
    /// Source: etcd 3.7.1 server/embed/config.go (ClientSelfCert, PeerSelfCert): of all other flags only
    /// versions and cipher suites count then.
    pub fn make_own(&mut self, config: &ServerConfig) -> Result<(), String> {
        let Security { client, peer, client_auto, peer_auto, self_signed_years } = &config.security;
        let own = |tls: &Settings, name: &str, urls: &[Url]| -> Result<Settings, String> {
            let directory = config.data_dir.join("fixtures").join(name);
            let hosts = urls.iter().filter(|url| !url.scheme.is_socket_file());
            let hosts: Vec<String> = hosts.map(|url| url.host.clone()).collect();
            let (cert_file, key_file) = self_signed::make(&directory, &hosts, *self_signed_years)?;
            let text = |path: &Path| path.to_string_lossy().into_owned();
            Ok(Settings {
                cert_file: text(&cert_file),
                key_file: text(&key_file),
                cipher_suites: tls.cipher_suites.clone(),
                version_min: tls.version_min,
                version_max: tls.version_max,
                is_self_signed: true,
                ..Settings::default()
            })
        };
        if *client_auto {
            let urls = [&config.listen_client_urls[..], &config.listen_client_http_urls].concat();
            self.set_client(config, &own(client, "client", &urls)?)?;
        }
        if *peer_auto {
            self.set_peer(config, &own(peer, "peer", &config.listen_peer_urls)?)?;
        }
        Ok(())
    }

    fn set_client(&mut self, config: &ServerConfig, tls: &Settings) -> Result<(), String> {
        let urls = [&config.listen_client_urls[..], &config.listen_client_http_urls].concat();
        self.clients = acceptor(tls, Door::Clients, &urls)?;
        self.metrics = acceptor(tls, Door::Metrics, &config.listen_metrics_urls)?;
        if self.clients.is_some() {
            info!("tls-info" = %tls, "cipher-suites" = ?tls.cipher_suites, "starting with client TLS");
        }
        Ok(())
    }

    fn set_peer(&mut self, config: &ServerConfig, tls: &Settings) -> Result<(), String> {
        self.peers = acceptor(tls, Door::Peers, &config.listen_peer_urls)?;
        self.way = Way::secure(Connector::new(tls.clone())?);
        if tls.has_certificate() {
            info!("tls-info" = %tls, "cipher-suites" = ?tls.cipher_suites, "starting with peer TLS");
        }
        Ok(())
    }
}

fn acceptor(tls: &Settings, door: Door, urls: &[Url]) -> Result<Option<Arc<Acceptor>>, String> {
    let is_needed = urls.iter().any(|url| matches!(url.scheme, Scheme::Https | Scheme::Unixs));
    is_needed.then(|| Acceptor::new(tls.clone(), door).map(Arc::new)).transpose()
}
