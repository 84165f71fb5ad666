//! Where other members come in, and how they are reached: sockets in production, an address of the simulated machine under madsim.

use holdfast_net::peer::PeerService;

#[cfg(not(madsim))]
mod real {
    use holdfast_net::gate::Gate;
    use holdfast_net::listen::{Bound, Security, serve_peers};
    use holdfast_net::peer::Way;

    use super::PeerService;
    use crate::http_peer::PeerEndpoints;
    use crate::ports::plain_peer_http;

    /// Bound sockets, not blocking, and the way out.
    #[derive(Debug, Default)]
    pub struct PeerDoor {
        pub listeners: Vec<(Bound, Security)>,
        pub way: Way,
    }

    impl PeerDoor {
        pub fn way(&self) -> Way {
            self.way.clone()
        }

        /// Lets members in until the core loop is gone.
        pub async fn open(self, service: PeerService, endpoints: PeerEndpoints, gate: Gate) {
            let open = |(bound, security): (Bound, _)| (bound.open().expect("not blocking"), security);
            let listeners = self.listeners.into_iter().map(open).collect();
            let (close, closed) = tokio::sync::watch::channel(false);
            let serving = serve_peers(listeners, service, plain_peer_http(endpoints), closed);
            let closing = async {
                gate.stopped().await;
                close.send_replace(true);
            };
            tokio::join!(serving, closing);
        }
    }
}

#[cfg(madsim)]
mod simulated {
    use std::net::SocketAddr;

    use holdfast_net::gate::Gate;
    use holdfast_net::listen::listen_peers_madsim;
    use holdfast_net::peer::Way;

    use super::PeerService;
    use crate::http_peer::PeerEndpoints;

    /// An address.
    #[derive(Debug)]
    pub struct PeerDoor {
        pub address: SocketAddr,
    }

    impl PeerDoor {
        pub fn way(&self) -> Way {
            Way::default()
        }

        /// Lets members in until the simulated machine or the core loop ends.
        pub async fn open(self, service: PeerService, _endpoints: PeerEndpoints, gate: Gate) {
            tokio::select! {
                biased;
                () = gate.stopped() => {}
                served = listen_peers_madsim(self.address, service) => {
                    tracing::error!(error = ?served.err(), "the peer port is not served any more");
                }
            }
        }
    }
}

#[cfg(not(madsim))]
pub use real::PeerDoor;
#[cfg(madsim)]
pub use simulated::PeerDoor;
