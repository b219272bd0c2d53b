//! Wall-clock instants as whole seconds since the Unix epoch, the unit of tokens and streams.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Now, rounded down.
pub fn now() -> i64 {
    since_epoch().as_secs().cast_signed()
}

/// The first whole second at or after now + `life`: whoever is promised a time gets all of it.
pub fn end_of(life: Duration) -> i64 {
    let end = since_epoch().saturating_add(life);
    let second = end.as_secs() + u64::from(end.subsec_nanos() > 0);
    i64::try_from(second).unwrap_or(i64::MAX)
}

/// The same instant for the standard library and for RFC 3339.
pub fn instant(second: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(second.max(0).cast_unsigned())
}

/// Time left until `second`; zero once it has come.
pub fn left(second: i64) -> Duration {
    Duration::from_secs(second.max(0).cast_unsigned()).saturating_sub(since_epoch())
}

fn since_epoch() -> Duration {
    // A clock before 1970 is a clock at 1970.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_is_rounded_up() {
        let end = end_of(Duration::from_millis(1500));
        let left = left(end);
        assert!(left <= Duration::from_millis(2500) && left > Duration::from_secs(1), "{left:?}");
        assert_eq!(instant(0), UNIX_EPOCH);
        assert_eq!(super::left(5), Duration::ZERO);
    }
}
