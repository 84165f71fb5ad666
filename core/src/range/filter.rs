//! Bounds on the revisions of a range's answer.

use crate::mvcc::Record;
use crate::request::RangeRequest;

/// Inclusive bounds on revisions; one of 0 in the request is none, a negative one is one (RG-16).
#[derive(Debug)]
pub(super) struct Filter {
    min_mod: i64,
    max_mod: i64,
    min_create: i64,
    max_create: i64,
}

impl Filter {
    pub fn new(request: &RangeRequest) -> Filter {
        let or = |bound: i64, unset: i64| if bound == 0 { unset } else { bound };
        Filter {
            min_mod: or(request.min_mod_revision, i64::MIN),
            max_mod: or(request.max_mod_revision, i64::MAX),
            min_create: or(request.min_create_revision, i64::MIN),
            max_create: or(request.max_create_revision, i64::MAX),
        }
    }

    pub fn passes(&self, record: &Record) -> bool {
        (self.min_mod..=self.max_mod).contains(&record.main)
            && (self.min_create..=self.max_create).contains(&record.create)
    }
}
