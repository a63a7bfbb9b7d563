//! The wall clock, read in one place.

use std::time::{SystemTime, UNIX_EPOCH};

use rtgw_model::Timestamp;

/// Now; a clock before 1970 counts as 1970.
pub fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Now in whole seconds since 1970, as tokens count and as expressions see `now`.
pub fn unix_seconds() -> i64 {
    wall().0 / 1000
}
