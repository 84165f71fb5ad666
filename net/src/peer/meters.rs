//! What connections between members count; the server registers the handles under etcd's names.

use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec};

/// Labels are member ids in hexadecimal.
#[derive(Clone, Debug)]
pub struct Meters {
    /// `Local`, `Remote`: 1 while mail flows to the other member.
    pub active: IntGaugeVec,
    /// `Local`, `Remote`.
    pub disconnected: IntCounterVec,
    /// `To`.
    pub sent_bytes: IntCounterVec,
    /// `To`.
    pub sent_failures: IntCounterVec,
    /// `From`.
    pub received_bytes: IntCounterVec,
    /// `From`.
    pub received_failures: IntCounterVec,
    /// `To`; seconds.
    pub round_trip: HistogramVec,
}
