//! Refusals as gRPC statuses, and the transport's own errors in etcd's words.

use holdfast_core::status;
use tonic::{Code, Status};

use crate::convert::{NESTED_TXNS_MAX, TooDeep};

/// The node's refusal on the wire: its exact code and text.
pub fn refusal(status: status::Status) -> Status {
    Status::new(Code::from_i32(status.code() as i32), status.text())
}

/// A method that this server does not have yet.
pub fn not_supported(service: &str, method: &str) -> Status {
    Status::unimplemented(format!("holdfast: {service}/{method} is not supported yet"))
}

/// A documented difference: etcd has no such limit beside `--max-txn-ops`.
impl From<TooDeep> for Status {
    fn from(_: TooDeep) -> Status {
        Status::invalid_argument(format!(
            "holdfast: transactions are nested too deeply (at most {NESTED_TXNS_MAX} levels)"
        ))
    }
}

/// An error of tonic's decoder as grpc-go would have said it; every other status as it is.
/// Source: tonic 0.14 src/codec/decode.rs (texts), grpc-go rpc_util.go (what they become).
pub fn restated(status: Status) -> Status {
    match status.code() {
        Code::OutOfRange => oversize(status.message()).unwrap_or(status),
        Code::Internal if status.message().ends_with("recursion limit reached") => TooDeep.into(),
        _ => status,
    }
}

fn oversize(message: &str) -> Option<Status> {
    let sizes = message.strip_prefix("Error, decoded message length too large: found ")?;
    let (found, limit) = sizes.split_once(" bytes, the limit is: ")?;
    let limit = limit.strip_suffix(" bytes")?;
    let text = format!("grpc: received message larger than max ({found} vs. {limit})");
    Some(Status::resource_exhausted(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_keeps_code_and_text() {
        for &refused in status::Status::ALL {
            let status = refusal(refused);
            assert_eq!(status.code() as i32, refused.code() as i32);
            assert_eq!(status.message(), refused.text());
        }
    }

    #[test]
    fn oversize_is_said_as_grpc_go_does() {
        let text =
            "Error, decoded message length too large: found 2097153 bytes, the limit is: 2097152 bytes";
        let status = restated(Status::out_of_range(text));
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.message(), "grpc: received message larger than max (2097153 vs. 2097152)");
    }

    #[test]
    fn other_out_of_range_is_left_alone() {
        let status = restated(refusal(status::Status::Compacted));
        assert_eq!(status.code(), Code::OutOfRange);
        assert_eq!(status.message(), status::Status::Compacted.text());
    }
}
