//! A connection, over TCP or in a file, encrypted or not: one type, so that what is served above it is compiled
//! once.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

/// What bytes go through.
#[derive(Debug)]
pub enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remote {
    Tcp(SocketAddr),
    Unix,
}

#[derive(Debug)]
pub enum Stream {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

impl Socket {
    /// The first byte, which stays to be read; `None` at the end.
    pub async fn first(&self) -> io::Result<Option<u8>> {
        let mut first = [0];
        let len = match self {
            Socket::Tcp(socket) => socket.peek(&mut first).await?,
            Socket::Unix(socket) => {
                let peek = || Ok(recv(socket, &mut first[..], RecvFlags::PEEK)?.0);
                socket.async_io(Interest::READABLE, peek).await?
            }
        };
        Ok((len > 0).then_some(first[0]))
    }
}

impl Remote {
    /// Without the disguise that IPv4 has on a port of IPv6.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Remote::Tcp(address) => Some(address.ip().to_canonical()),
            Remote::Unix => None,
        }
    }
}

/// As Go has it.
impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Remote::Tcp(address) => address.fmt(f),
            Remote::Unix => f.write_str("@"),
        }
    }
}

macro_rules! passed_on {
    ($kind:ident { $($variant:ident($io:ident) => $pinned:expr),* }) => {
        impl AsyncRead for $kind {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $($kind::$variant($io) => Pin::new($pinned).poll_read(cx, buf),)*
                }
            }
        }

        impl AsyncWrite for $kind {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $($kind::$variant($io) => Pin::new($pinned).poll_write(cx, buf),)*
                }
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $($kind::$variant($io) => Pin::new($pinned).poll_write_vectored(cx, bufs),)*
                }
            }

            fn is_write_vectored(&self) -> bool {
                match self {
                    $($kind::$variant(io) => io.is_write_vectored(),)*
                }
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $($kind::$variant($io) => Pin::new($pinned).poll_flush(cx),)*
                }
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $($kind::$variant($io) => Pin::new($pinned).poll_shutdown(cx),)*
                }
            }
        }
    };
}

passed_on!(Socket { Tcp(io) => io, Unix(io) => io });
passed_on!(Stream { Plain(io) => io, Tls(io) => &mut **io });
