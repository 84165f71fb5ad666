//! Connections, byte for byte, to whichever server can be reached.
//!
//! Source: etcd 3.7.1 server/proxy/tcpproxy/userspace.go.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::remotes::Remotes;

/// Pause between two looks at servers that could not be reached, where none is given.
const RETRY_DEFAULT: Duration = Duration::from_secs(300);

/// How long a server may take to accept a connection (etcd waits for as long as the system does).
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Pause behind a connection that could not be accepted: there may be too many of them open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A gateway; clones share the servers.
#[derive(Clone, Debug)]
pub struct Gateway {
    remotes: Arc<Mutex<Remotes>>,
    retry: Duration,
}

impl Gateway {
    /// `retry`: pause before a server that could not be reached is tried again; none: five minutes.
    pub fn new(remotes: Remotes, retry: Duration) -> Gateway {
        let retry = if retry.is_zero() { RETRY_DEFAULT } else { retry };
        Gateway { remotes: Arc::new(Mutex::new(remotes)), retry }
    }

    /// Serves for ever.
    pub async fn run(self, listener: TcpListener) {
        tokio::spawn(self.clone().look_after_inactive());
        loop {
            match listener.accept().await {
                Ok((client, _)) => {
                    tokio::spawn(self.clone().serve(client));
                }
                Err(error) => {
                    warn!(%error, "failed to accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn serve(self, mut client: TcpStream) {
        let Some(mut server) = self.connect().await else { return };
        // gRPC's small frames must not wait for more.
        for socket in [&client, &server] {
            socket.set_nodelay(true).ok();
        }
        // However it ends, both sides hear of it as their sockets close.
        copy_bidirectional(&mut client, &mut server).await.ok();
    }

    /// A connection to the first server that takes one; those that do not are left alone for a while.
    async fn connect(&self) -> Option<TcpStream> {
        loop {
            let (place, address) = {
                let mut remotes = self.remotes();
                let place = remotes.pick(&mut rand::rng())?;
                (place, remotes.get(place).to_string())
            };
            match dial(&address).await {
                Ok(server) => return Some(server),
                Err(error) => {
                    self.remotes().set_active(place, false);
                    warn!(address, interval = ?self.retry, error, "deactivated endpoint");
                }
            }
        }
    }

    async fn look_after_inactive(self) {
        loop {
            sleep(self.retry).await;
            let inactive = self.remotes().inactive();
            for place in inactive {
                let address = self.remotes().get(place).to_string();
                match dial(&address).await {
                    Ok(_) => {
                        self.remotes().set_active(place, true);
                        info!(address, "activated");
                    }
                    Err(error) => warn!(
                        address,
                        interval = ?self.retry,
                        error,
                        "failed to activate endpoint (stay inactive for another interval)"
                    ),
                }
            }
        }
    }

    fn remotes(&self) -> MutexGuard<'_, Remotes> {
        self.remotes.lock().expect("nobody panics while holding it")
    }
}

async fn dial(address: &str) -> Result<TcpStream, String> {
    match timeout(CONNECT_WITHIN, TcpStream::connect(address)).await {
        Ok(connected) => connected.map_err(|error| error.to_string()),
        Err(_) => Err("i/o timeout".to_owned()),
    }
}
