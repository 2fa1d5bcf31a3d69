//! How often an Island may do something: a bucket that fills evenly.

use types::time::{MINUTE_MS, Timestamp};

/// A bucket. It may go into debt, which is how a reader learns how long to pause.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// In units of 1 / (60,000) of what is taken, so that all is exact.
    left: i64,
    full: i64,
    /// What comes in a millisecond, in those units.
    rate: i64,
    at: Timestamp,
}

impl Bucket {
    /// A full bucket that holds `burst` and is filled by `rate` in a minute.
    #[must_use]
    pub fn per_minute(rate: u32, burst: u32, now: Timestamp) -> Self {
        let full = i64::from(burst.max(1)) * MINUTE_MS;
        Self { left: full, full, rate: i64::from(rate.max(1)), at: now }
    }

    /// The same by the second.
    #[must_use]
    pub fn per_second(rate: u32, burst: u32, now: Timestamp) -> Self {
        Self { rate: i64::from(rate.max(1)) * 60, ..Self::per_minute(1, burst, now) }
    }

    /// Takes so much, if it is there.
    pub fn take(&mut self, amount: u32, now: Timestamp) -> bool {
        self.fill(now);
        let wanted = i64::from(amount) * MINUTE_MS;
        let enough = self.left >= wanted;
        if enough {
            self.left -= wanted;
        }
        enough
    }

    /// Takes so much whether it is there or not. Answers how many milliseconds to pause, if it was not.
    pub fn spend(&mut self, amount: u32, now: Timestamp) -> Option<u64> {
        self.fill(now);
        self.left = self.left.saturating_sub(i64::from(amount) * MINUTE_MS);
        (self.left < 0).then(|| self.wait(0))
    }

    /// In how many milliseconds there will be so much.
    #[must_use]
    pub fn wait(&self, amount: u32) -> u64 {
        let missing = (i64::from(amount) * MINUTE_MS - self.left).max(0);
        missing.unsigned_abs().div_ceil(self.rate.unsigned_abs())
    }

    /// Whether nothing was taken lately.
    #[must_use]
    pub fn is_full(&self, now: Timestamp) -> bool {
        let mut later = *self;
        later.fill(now);
        later.left >= later.full
    }

    fn fill(&mut self, now: Timestamp) {
        let passed = now.millis_since(self.at).clamp(0, MINUTE_MS);
        self.left = (self.left + passed * self.rate).min(self.full);
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_fills_evenly() {
        let start = Timestamp::from_millis(1_000_000);
        let mut bucket = Bucket::per_minute(6, 2, start);
        assert!(bucket.take(1, start) && bucket.take(1, start) && !bucket.take(1, start));
        assert_eq!(bucket.wait(1), 10_000);
        assert!(!bucket.take(1, start.plus_millis(9_999)));
        assert!(bucket.take(1, start.plus_millis(10_000)));
        assert!(!bucket.is_full(start.plus_millis(25_000)) && bucket.is_full(start.plus_millis(30_000)));
        assert!(!bucket.take(1, start.plus_millis(5_000)), "a clock that goes back gives nothing");
    }

    #[test]
    fn debt_is_paused_for() {
        let start = Timestamp::from_millis(1_000_000);
        let mut bucket = Bucket::per_second(1000, 100, start);
        assert_eq!(bucket.spend(100, start), None);
        assert_eq!(bucket.spend(50, start), Some(50));
        assert_eq!(bucket.spend(0, start.plus_millis(50)), None);
    }
}
