//! Making connections to members.

use std::io;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::config;
use super::reload::Reloaded;
use super::rustls::ClientConfig;
use super::rustls::pki_types::ServerName;
use super::settings::Settings;
use super::stream::Socket;
use super::verify::cause;

/// Makes connections with what `Settings` say of our certificate and of whom to trust.
#[derive(Debug)]
pub struct Connector {
    settings: Settings,
    config: Reloaded<Arc<ClientConfig>>,
}

impl Connector {
    /// What this machine trusts is read with the first connection, files that were named at once.
    /// Errors: settings that contradict each other, files that cannot be read or used.
    pub fn new(settings: Settings) -> Result<Connector, String> {
        if settings.has_certificate() {
            settings.check()?;
        }
        let (cert_file, key_file) = settings.client_files();
        let files = [cert_file, key_file, &settings.trusted_ca_file, &settings.crl_file];
        let is_named = files.iter().any(|file| !file.is_empty());
        let connector = Connector { config: Reloaded::new(&files), settings };
        if is_named {
            connector.config()?;
        }
        Ok(connector)
    }

    fn config(&self) -> Result<Arc<ClientConfig>, String> {
        self.config.current(|| config::client(&self.settings))
    }

    /// The same connection, encrypted; `host` is what the certificate must be made out to, `protocols` what is
    /// to be spoken then.
    pub async fn connect(
        &self,
        host: &str,
        protocols: &[&[u8]],
        socket: Socket,
    ) -> io::Result<TlsStream<Socket>> {
        let config = self.config().map_err(io::Error::other)?;
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let alpn = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let connected = TlsConnector::from(config).with_alpn(alpn).connect(name, socket).await;
        connected.map_err(|error| io::Error::new(error.kind(), format!("tls {host}: {}", cause(&error))))
    }
}
