//! How often one key, one user or one session may ask: a bucket that fills evenly and holds a minute's worth.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use types::time::{MINUTE_MS, Timestamp};

/// Looking after jobs is allowed this many times as often as anything else.
const POLLS_PER_CALL: u32 = 10;
/// The keys of a user together may ask this many times as often as one of them.
const KEYS_TOGETHER: u32 = 3;
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
    /// A form of a page.
    Form,
    /// A look at how far a job is.
    Poll,
    /// Anything else.
    Call,
}

/// What is left in a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// What fits in.
    pub limit: u32,
    /// Requests that could be made now.
    pub remaining: u32,
    /// Whole seconds until it is full again.
    pub full_in_secs: u32,
}

/// Milliseconds' worth of requests still in the bucket, at a moment.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// In units of 1 / (60,000) request, so that all is exact.
    left: i64,
    at: Timestamp,
}

impl Limiter {
    /// So many requests in a minute.
    #[must_use]
    pub fn new(per_minute: u32) -> Self {
        Self { per_minute, buckets: Mutex::default() }
    }

    /// Takes one request of a key out of its bucket and out of its user's. Answers what is left in the emptier one.
    ///
    /// # Errors
    /// Those of [`Self::take`].
    pub fn take_call(&self, key: i64, user: i64, kind: Kind, now: Timestamp) -> Result<Left, u32> {
        let of_key = self.take(key, kind, now)?;
        let together = self.take_of((user, kind), self.rate(kind) * i64::from(KEYS_TOGETHER), now)?;
        Ok(if together.remaining < of_key.remaining { together } else { of_key })
    }

    fn rate(&self, kind: Kind) -> i64 {
        i64::from(match kind {
            Kind::Poll => self.per_minute.saturating_mul(POLLS_PER_CALL),
            Kind::Call | Kind::Form => self.per_minute,
        })
    }

    /// Takes one request of `who` out of its bucket.
    ///
    /// # Errors
    /// The whole seconds, at least one, after which there will be one again.
    pub fn take(&self, who: i64, kind: Kind, now: Timestamp) -> Result<Left, u32> {
        self.take_of((who, kind), self.rate(kind), now)
    }

    fn take_of(&self, which: (i64, Kind), rate: i64, now: Timestamp) -> Result<Left, u32> {
        let full = rate * MINUTE_MS;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MOST {
            buckets.retain(|_, bucket| now.millis_since(bucket.at) < MINUTE_MS);
        }
        let bucket = buckets.entry(which).or_insert(Bucket { left: full, at: now });
        let passed = now.millis_since(bucket.at).clamp(0, MINUTE_MS);
        bucket.left = (bucket.left + passed * rate).min(full);
        bucket.at = now;
        if bucket.left >= MINUTE_MS {
            bucket.left -= MINUTE_MS;
            let number = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
            let empty = full - bucket.left;
            return Ok(Left {
                limit: number(rate),
                remaining: number(bucket.left / MINUTE_MS),
                full_in_secs: number((empty + rate * 1000 - 1) / (rate * 1000)),
            });
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
            assert!(limiter.take(1, Kind::Call, start).is_ok());
        }
        assert!(limiter.take(1, Kind::Call, start).is_err());
        assert!(limiter.take(2, Kind::Call, start).is_ok(), "another is not disturbed");
        assert!(limiter.take(1, Kind::Poll, start).is_ok(), "looking after jobs is counted apart");
        let wait = limiter.take(1, Kind::Call, start.plus_millis(100)).unwrap_err();
        assert!((1..=2).contains(&wait));
        assert!(limiter.take(1, Kind::Call, start.plus_millis(1100)).is_ok());
        assert!(limiter.take(1, Kind::Call, start.plus_millis(1150)).is_err());
        assert!(
            limiter.take(1, Kind::Call, start.plus_millis(-5000)).is_err(),
            "a clock that goes back gives nothing"
        );
    }
}
