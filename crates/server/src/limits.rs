//! How often one key, one user or one session may ask: a bucket that fills evenly and holds a minute's worth; and how often a few
//! things may be asked for from one address, by the hour.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use types::time::{HOUR_MS, MINUTE_MS, Timestamp};

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

/// What is counted by the address it comes from: nobody need be signed in for it, or whoever is may be many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Errand {
    /// A link to sign in.
    SignIn,
    /// A checkout.
    Checkout,
}

/// What each household has left, and when those that rested were last forgotten.
#[derive(Debug, Default)]
struct Buckets {
    of: HashMap<(IpAddr, Errand), Bucket>,
    swept: Timestamp,
}

/// Which addresses ask too often.
#[derive(Debug)]
pub struct AddressLimiter {
    sign_ins: u32,
    checkouts: u32,
    buckets: Mutex<Buckets>,
}

impl AddressLimiter {
    /// So many of each in an hour; 0 for any number.
    #[must_use]
    pub fn new(sign_ins: u32, checkouts: u32) -> Self {
        Self { sign_ins, checkouts, buckets: Mutex::default() }
    }

    /// Takes one errand of an address out of its bucket, which holds an hour's worth. What is no address is not counted.
    ///
    /// # Errors
    /// The whole seconds, at least one, after which there will be one again.
    pub fn take(&self, address: &str, errand: Errand, now: Timestamp) -> Result<(), u32> {
        let rate = i64::from(match errand {
            Errand::SignIn => self.sign_ins,
            Errand::Checkout => self.checkouts,
        });
        let Ok(address) = address.parse() else { return Ok(()) };
        if rate == 0 {
            return Ok(());
        }
        // In units of 1 / 3,600,000 errand, so that all is exact.
        let full = rate * HOUR_MS;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let Buckets { of, swept } = &mut *buckets;
        if of.len() >= MOST && now.millis_since(*swept) >= MINUTE_MS {
            of.retain(|_, bucket| now.millis_since(bucket.at) < HOUR_MS);
            *swept = now;
        }
        let key = (household(address), errand);
        if of.len() >= 2 * MOST && !of.contains_key(&key) {
            // So many households in an hour are one with many addresses.
            return Err(60);
        }
        let bucket = of.entry(key).or_insert(Bucket { left: full, at: now });
        let passed = now.millis_since(bucket.at).clamp(0, HOUR_MS);
        bucket.left = (bucket.left + passed * rate).min(full);
        bucket.at = now;
        if bucket.left >= HOUR_MS {
            bucket.left -= HOUR_MS;
            return Ok(());
        }
        let wait_ms = (HOUR_MS - bucket.left).div_euclid(rate) + 1;
        Err(u32::try_from(wait_ms.div_euclid(1000) + 1).unwrap_or(3600))
    }
}

/// Whoever has one v6 address has all of its 64-bit network.
fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_an_hours_worth() {
        let limiter = AddressLimiter::new(2, 0);
        let start = Timestamp::from_millis(1_000_000);
        let take = |address, at| limiter.take(address, Errand::SignIn, at);
        assert!(take("198.51.100.7", start).is_ok() && take("198.51.100.7", start).is_ok());
        let wait = take("198.51.100.7", start).unwrap_err();
        assert!((1799..=1801).contains(&wait), "{wait}");
        assert!(take("198.51.100.8", start).is_ok(), "another is not disturbed");
        assert!(take("198.51.100.7", start.plus_millis(HOUR_MS / 2 + 1)).is_ok());
        assert!(take("198.51.100.7", start.plus_millis(HOUR_MS / 2 + 2)).is_err());
        // One household has many v6 addresses, and a v4 address may be written as v6.
        assert!(take("2001:db8:1:2::1", start).is_ok() && take("2001:db8:1:2::ffff", start).is_ok());
        assert!(take("2001:db8:1:2:3::", start).is_err());
        assert!(take("2001:db8:1:3::", start).is_ok());
        assert!(take("::ffff:198.51.100.8", start).is_ok() && take("198.51.100.8", start).is_err());
        for _ in 0..1000 {
            assert!(limiter.take("198.51.100.7", Errand::Checkout, start).is_ok(), "0 is no limit");
        }
    }

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
