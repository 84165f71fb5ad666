//! What the process says to its supervisor and hears from it: readiness and signals.

use signal_hook::consts::{SIGINT, SIGTERM};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

/// SIGTERM and SIGINT of this process.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// What ended the process that is no failure of its own: a signal, or the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Terminate,
    Interrupt,
    /// The member was removed (CL-8).
    Removed,
}

impl Signals {
    /// From here on the two signals no longer kill the process.
    /// Errors: the system's.
    pub fn catch() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> Ending {
        let ending = tokio::select! {
            biased;
            _ = self.terminate.recv() => Ending::Terminate,
            _ = self.interrupt.recv() => Ending::Interrupt,
        };
        // Go's names of the signals, as etcd logs them.
        let name = match ending {
            Ending::Terminate => "terminated",
            Ending::Interrupt => "interrupt",
            Ending::Removed => unreachable!("no signal says so"),
        };
        info!(signal = name, "received signal; shutting down");
        ending
    }
}

impl Ending {
    /// Ends the process the way the signal would have, so that its parent sees which one it was
    /// (a shell shows 143 or 130); process 1 cannot die of a signal and exits with 0.
    /// Source: etcd pkg/osutil/interrupt_unix.go.
    pub fn exit(self) -> ! {
        let signal = match self {
            Ending::Terminate => SIGTERM,
            Ending::Interrupt => SIGINT,
            Ending::Removed => std::process::exit(0),
        };
        if std::process::id() != 1
            && let Err(error) = signal_hook::low_level::emulate_default_handler(signal)
        {
            warn!(%error, "cannot end by the signal");
        }
        std::process::exit(0)
    }
}

/// Tells systemd that clients are served; does nothing without systemd.
pub fn notify_ready() {
    match sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        Ok(()) if std::env::var_os("NOTIFY_SOCKET").is_some() => {
            info!("successfully notified init daemon");
        }
        Ok(()) => {}
        Err(error) => warn!(%error, "failed to notify systemd for readiness"),
    }
}
