//! A predicted answer, and whether a given one agrees with it.

use holdfast_core::request::{Request, RequestOp, Response, ResponseOp, TxnRequest, TxnResponse};
use holdfast_core::status::Status;

use super::range::{self, Pool};

/// What a request must be answered with.
#[derive(Clone, Debug)]
pub struct Expected {
    pub result: Result<Response, Status>,
    /// One for each range in `result`, depth first: where a sort leaves freedom (RG-15).
    pub pools: Vec<Option<Pool>>,
}

impl Expected {
    pub fn refusal(status: Status) -> Expected {
        Expected { result: Err(status), pools: Vec::new() }
    }

    pub fn answer(response: Response) -> Expected {
        Expected { result: Ok(response), pools: Vec::new() }
    }

    /// Whether `got` is an answer that the contract allows here.
    pub fn agrees(&self, request: &Request, got: &Result<Response, Status>) -> bool {
        let (expected, got) = match (&self.result, got) {
            (Ok(expected), Ok(got)) => (expected, got),
            (expected, got) => return expected == got,
        };
        let mut pools = self.pools.iter();
        match (request, expected, got) {
            (Request::Range(request), Response::Range(expected), Response::Range(got)) => {
                let pool = pools.next().and_then(Option::as_ref);
                expected.header == got.header && range::agrees(request, expected, pool, got)
            }
            (Request::Txn(request), Response::Txn(expected), Response::Txn(got)) => {
                txn_agrees(request, expected, got, &mut pools)
            }
            (_, expected, got) => expected == got,
        }
    }
}

fn txn_agrees<'a>(
    request: &TxnRequest,
    expected: &TxnResponse,
    got: &TxnResponse,
    pools: &mut impl Iterator<Item = &'a Option<Pool>>,
) -> bool {
    if (expected.header, expected.succeeded, expected.responses.len())
        != (got.header, got.succeeded, got.responses.len())
    {
        return false;
    }
    let ops = if expected.succeeded { &request.success } else { &request.failure };
    let answers = expected.responses.iter().zip(&got.responses);
    // Every pool is taken, whatever the comparison says, so that the next range finds its own.
    ops.iter().zip(answers).fold(true, |agreed, (op, pair)| {
        let this = match (op, pair) {
            (RequestOp::Range(request), (ResponseOp::Range(expected), ResponseOp::Range(got))) => {
                let pool = pools.next().and_then(Option::as_ref);
                expected.header == got.header && range::agrees(request, expected, pool, got)
            }
            (RequestOp::Txn(request), (ResponseOp::Txn(expected), ResponseOp::Txn(got))) => {
                txn_agrees(request, expected, got, pools)
            }
            (_, (expected, got)) => expected == got,
        };
        agreed && this
    })
}
