//! What connections come in by: a TCP port, or a socket file.

use std::io;
use std::net::TcpListener as StdTcp;
use std::os::unix::net::UnixListener as StdUnix;

use tokio::net::{TcpListener, UnixListener};

use crate::tls::{Remote, Socket};

/// Bound and not blocking, not yet of any runtime.
#[derive(Debug)]
pub enum Bound {
    Tcp(StdTcp),
    Unix(StdUnix),
}

/// The same in a runtime.
#[derive(Debug)]
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Bound {
    /// The same socket once more.
    pub fn try_clone(&self) -> io::Result<Bound> {
        Ok(match self {
            Bound::Tcp(listener) => Bound::Tcp(listener.try_clone()?),
            Bound::Unix(listener) => Bound::Unix(listener.try_clone()?),
        })
    }

    /// Errors: it blocks. To be called in the runtime.
    pub fn open(self) -> io::Result<Listener> {
        Ok(match self {
            Bound::Tcp(listener) => Listener::Tcp(TcpListener::from_std(listener)?),
            Bound::Unix(listener) => Listener::Unix(UnixListener::from_std(listener)?),
        })
    }
}

impl Listener {
    pub(super) async fn accept(&self) -> io::Result<(Socket, Remote)> {
        match self {
            Listener::Tcp(listener) => {
                let (socket, remote) = listener.accept().await?;
                // A socket that refuses is about to fail anyway.
                socket.set_nodelay(true).ok();
                Ok((Socket::Tcp(socket), Remote::Tcp(remote)))
            }
            Listener::Unix(listener) => {
                let (socket, _) = listener.accept().await?;
                Ok((Socket::Unix(socket), Remote::Unix))
            }
        }
    }
}
