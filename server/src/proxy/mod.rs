//! Programs that stand between clients and a cluster: `holdfast gateway`.

mod command;
mod remotes;
mod tcp;

pub use command::ROOT;
pub use remotes::{Remote, Remotes};
pub use tcp::Gateway;
