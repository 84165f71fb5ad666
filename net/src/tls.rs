//! TLS by rustls: of client ports, of peer ports, and of the way to other members.
//!
//! `Settings` is what the flags say; an `Acceptor` takes connections by it, a `Connector` makes them. Both read
//! their files anew when one of them has changed, the bundle of authorities included, and keep what they have
//! while the new files are broken. The simulated transport has no bytes to encrypt: there only `Settings` exist.

#[cfg(not(madsim))]
mod accept;
#[cfg(not(madsim))]
mod certificate;
#[cfg(not(madsim))]
mod config;
#[cfg(not(madsim))]
mod connect;
#[cfg(not(madsim))]
pub mod files;
#[cfg(not(madsim))]
mod origin;
#[cfg(not(madsim))]
mod reload;
#[cfg(not(madsim))]
mod revoked;
mod settings;
#[cfg(not(madsim))]
mod stream;
#[cfg(not(madsim))]
pub mod verify;

#[cfg(not(madsim))]
pub use accept::{Acceptor, Door};
#[cfg(not(madsim))]
pub use connect::Connector;
pub use settings::{Settings, Version};
#[cfg(not(madsim))]
pub use stream::{Remote, Socket, Stream};
#[cfg(not(madsim))]
pub use tokio_rustls::{client, rustls, server};
