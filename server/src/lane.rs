//! Where the core loop and the disk writers run: an OS thread each in production, tasks under simulation.
//!
//! The one executor seam of the shell. A lane of its own keeps a blocking `write` away from sockets, and
//! costs one wake-up a batch.

use std::future::Future;

use tokio::sync::oneshot;

/// A started lane; `ended` resolves with what it returned, or fails if it panicked.
#[derive(Debug)]
pub struct Lane<T> {
    pub ended: oneshot::Receiver<T>,
}

/// Starts `make`'s future on a thread named `name`.
/// Errors: the system has no thread to give.
#[cfg(not(madsim))]
pub fn start<T, F>(name: &str, make: impl FnOnce() -> F + Send + 'static) -> std::io::Result<Lane<T>>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    start_on(tokio::runtime::Builder::new_current_thread().enable_time().build()?, name, make)
}

/// As `start`, for futures that use sockets: the others' runtimes wake without asking the system for any.
#[cfg(not(madsim))]
pub fn start_with_sockets<T, F>(
    name: &str,
    make: impl FnOnce() -> F + Send + 'static,
) -> std::io::Result<Lane<T>>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    start_on(tokio::runtime::Builder::new_current_thread().enable_all().build()?, name, make)
}

#[cfg(not(madsim))]
fn start_on<T, F>(
    runtime: tokio::runtime::Runtime,
    name: &str,
    make: impl FnOnce() -> F + Send + 'static,
) -> std::io::Result<Lane<T>>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let (end, ended) = oneshot::channel();
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        // Nobody waits any more when the process is on its way out.
        end.send(runtime.block_on(make())).ok();
    })?;
    Ok(Lane { ended })
}

#[cfg(madsim)]
pub use start as start_with_sockets;

/// Starts `make`'s future as a task of the simulated machine.
#[cfg(madsim)]
pub fn start<T, F>(_name: &str, make: impl FnOnce() -> F + Send + 'static) -> std::io::Result<Lane<T>>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let (end, ended) = oneshot::channel();
    let future = make();
    tokio::spawn(async move {
        end.send(future.await).ok();
    });
    Ok(Lane { ended })
}
