//! Time as a parameter: a [`Clock`] is handed to whoever needs to know the hour.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicI64, Ordering};

/// A moment, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// A text that is no moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a time such as 2026-11-22T12:00:00Z")]
pub struct BadTime;

/// Milliseconds in a second.
pub const SECOND_MS: i64 = 1000;
/// Milliseconds in a minute.
pub const MINUTE_MS: i64 = 60 * SECOND_MS;
/// Milliseconds in an hour.
pub const HOUR_MS: i64 = 60 * MINUTE_MS;
/// Milliseconds in a day.
pub const DAY_MS: i64 = 24 * HOUR_MS;

impl Timestamp {
    /// From Unix milliseconds.
    #[must_use]
    pub const fn from_millis(milliseconds: i64) -> Self {
        Self(milliseconds)
    }

    /// Unix milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This moment moved by a number of milliseconds, within the range of the type.
    #[must_use]
    pub const fn plus_millis(self, milliseconds: i64) -> Self {
        Self(self.0.saturating_add(milliseconds))
    }

    /// Milliseconds from `earlier` to here; negative if `earlier` is later.
    #[must_use]
    pub const fn millis_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Midnight (UTC) before this moment.
    #[must_use]
    pub const fn day_start(self) -> Self {
        Self(self.0.saturating_sub(self.0.rem_euclid(DAY_MS)))
    }

    /// Midnight (UTC) of the Monday before this moment.
    #[must_use]
    pub const fn week_start(self) -> Self {
        // The epoch was a Thursday.
        let day = self.0.div_euclid(DAY_MS);
        Self((day - (day + 3).rem_euclid(7)).saturating_mul(DAY_MS))
    }

    /// Midnight (UTC) of the first of the month.
    #[must_use]
    pub fn month_start(self) -> Self {
        let day_of_month = jiff::Timestamp::from_millisecond(self.0)
            .map_or(1, |moment| i64::from(moment.to_zoned(jiff::tz::TimeZone::UTC).day()));
        self.day_start().plus_millis((1 - day_of_month) * DAY_MS)
    }

    /// The day, for people: `2026-11-22`.
    #[must_use]
    pub fn date(self) -> String {
        self.to_string().chars().take(10).collect()
    }
}

/// RFC 3339 in UTC with milliseconds.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = jiff::Timestamp::from_millisecond(self.0).map_err(|_| fmt::Error)?;
        write!(f, "{moment:.3}")
    }
}

/// Reads RFC 3339: with date, time and offset. What is finer than a millisecond is cut off.
impl FromStr for Timestamp {
    type Err = BadTime;

    fn from_str(text: &str) -> Result<Self, BadTime> {
        let plain = |byte: u8| byte.is_ascii_digit() || b"-+:.TZtz".contains(&byte);
        if text.len() > 64 || !text.bytes().all(plain) {
            return Err(BadTime);
        }
        let moment: jiff::Timestamp = text.parse().map_err(|_| BadTime)?;
        Ok(Self(moment.as_millisecond()))
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Where the time comes from.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
    fn now(&self) -> Timestamp {
        let since_epoch = std::time::SystemTime::now()
            .duration_since(std::time::SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct TestClock(AtomicI64);

impl TestClock {
    /// A clock that shows `start`.
    #[must_use]
    pub const fn new(start: Timestamp) -> Self {
        Self(AtomicI64::new(start.0))
    }

    /// Moves the clock; a negative number moves it back.
    pub fn advance_millis(&self, milliseconds: i64) {
        self.0.fetch_add(milliseconds, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_shown_in_utc() {
        let moment = Timestamp::from_millis(1_795_348_800_123);
        assert_eq!(moment.to_string(), "2026-11-22T12:00:00.123Z");
        assert_eq!(moment.date(), "2026-11-22");
        assert_eq!(Timestamp::from_millis(0).to_string(), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn moments_are_read() {
        let cases = [
            ("2026-11-22T12:00:00.123Z", 1_795_348_800_123),
            ("2026-11-22T12:00:00Z", 1_795_348_800_000),
            ("2026-11-22t12:00:00z", 1_795_348_800_000),
            ("2026-11-22T13:30:00.1239+01:30", 1_795_348_800_123),
            ("1970-01-01T00:00:00Z", 0),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse(), Ok(Timestamp::from_millis(expected)), "{text}");
        }
        let bad = [
            "",
            "now",
            "2026",
            "2026-11-22",
            "2026-11-22T12:00:00",
            "2026-02-30T12:00:00Z",
            "2026-11-22T25:00:00Z",
            "2026-11-22T12:00:00 01:00",
            "2026-11-22T12:00:00+01:00[Europe/Paris]",
            "99999-01-01T00:00:00Z",
            "1795348800",
            &"1".repeat(100),
        ];
        for text in bad {
            assert_eq!(text.parse::<Timestamp>(), Err(BadTime), "{text}");
        }
    }

    #[test]
    fn a_test_clock_moves_when_told() {
        let clock = TestClock::new(Timestamp::from_millis(10));
        clock.advance_millis(5);
        assert_eq!(clock.now().as_millis(), 15);
    }
}
