//! How often one key or one session may ask: a bucket that fills evenly and holds a minute's worth.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use types::time::{MINUTE_MS, Timestamp};

/// Reading is allowed this many times as often as changing.
const READS_PER_WRITE: u32 = 10;
/// Beyond this many, full buckets are forgotten.
const MOST: usize = 100_000;

/// Who asks too often.
#[derive(Debug)]
pub struct Limiter {
    per_minute: u32,
    buckets: Mutex<HashMap<(i64, Kind), Bucket>>,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Something that changes nothing.
    Read,
    /// Something that changes something.
    Write,
}

/// Milliseconds' worth of requests still in the bucket, at a moment.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// In units of 1 / (60,000) request, so that all is exact.
    left: i64,
    at: Timestamp,
}

impl Limiter {
    /// So many changing requests in a minute.
    #[must_use]
    pub fn new(per_minute: u32) -> Self {
        Self { per_minute, buckets: Mutex::default() }
    }

    /// Takes one request of `who` out of its bucket.
    ///
    /// # Errors
    /// The whole seconds, at least one, after which there will be one again.
    pub fn take(&self, who: i64, kind: Kind, now: Timestamp) -> Result<(), u32> {
        let rate = i64::from(match kind {
            Kind::Read => self.per_minute.saturating_mul(READS_PER_WRITE),
            Kind::Write => self.per_minute,
        });
        let full = rate * MINUTE_MS;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MOST {
            buckets.retain(|_, bucket| now.millis_since(bucket.at) < MINUTE_MS);
        }
        let bucket = buckets.entry((who, kind)).or_insert(Bucket { left: full, at: now });
        let passed = now.millis_since(bucket.at).clamp(0, MINUTE_MS);
        bucket.left = (bucket.left + passed * rate).min(full);
        bucket.at = now;
        if bucket.left >= MINUTE_MS {
            bucket.left -= MINUTE_MS;
            return Ok(());
        }
        let wait_ms = (MINUTE_MS - bucket.left).div_euclid(rate) + 1;
        Err(u32::try_from(wait_ms.div_euclid(1000) + 1).unwrap_or(60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minutes_worth_at_once_then_evenly() {
        let limiter = Limiter::new(60);
        let start = Timestamp::from_millis(1_000_000);
        for _ in 0..60 {
            assert_eq!(limiter.take(1, Kind::Write, start), Ok(()));
        }
        assert!(limiter.take(1, Kind::Write, start).is_err());
        assert_eq!(limiter.take(2, Kind::Write, start), Ok(()), "another is not disturbed");
        assert_eq!(limiter.take(1, Kind::Read, start), Ok(()), "reading is counted apart");
        let wait = limiter.take(1, Kind::Write, start.plus_millis(100)).unwrap_err();
        assert!((1..=2).contains(&wait));
        assert_eq!(limiter.take(1, Kind::Write, start.plus_millis(1100)), Ok(()));
        assert!(limiter.take(1, Kind::Write, start.plus_millis(1150)).is_err());
        assert!(
            limiter.take(1, Kind::Write, start.plus_millis(-5000)).is_err(),
            "a clock that goes back gives nothing"
        );
    }
}
