//! How an Island does: its last attempts, and how soon it begins to answer. The numbers that decide about its place in the
//! book stand here and nowhere else.

use std::collections::VecDeque;

use market::Health;
use types::time::{DAY_MS, HOUR_MS, Timestamp};

/// How many of the last attempts count.
pub const REMEMBERED: usize = 100;
/// With fewer than this nothing is held against an Island.
const ENOUGH: usize = 10;
/// From this share of successes on it is in good health, in percent.
const NORMAL_PERCENT: usize = 90;
/// From this share on it is not the last resort, in percent.
const LOW_PERCENT: usize = 50;
/// So many of its oldest failures are forgotten in each hour without an attempt, so that an Island that was mended gets
/// work again, though it got none as the last resort.
const FORGIVEN_PER_HOUR: usize = 10;
/// A new sample moves the average latency by this part of the difference.
const LATENCY_WEIGHT: i64 = 8;
/// Latencies up to this one are the same for the book, and so are those up to each doubling of it, in milliseconds.
const COARSE_MS: u32 = 250;
/// An Island that is this old and was paid this often is an established one.
const ESTABLISHED_AGE_MS: i64 = 7 * DAY_MS;
const ESTABLISHED_PAID: u64 = 200;

/// What is remembered of an Island's attempts. What the consumer caused (a cancellation, an input that cannot be) is not among
/// them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Oldest first; whether it succeeded.
    attempts: VecDeque<bool>,
    /// When the last one ended, or failures were last forgotten.
    since: Timestamp,
    /// A moving average of the time from assignment to first output; 0 when it is not known.
    latency_ms: u32,
}

impl Record {
    /// From what was stored.
    #[must_use]
    pub fn restore(attempts: &str, since: Option<Timestamp>, latency_ms: i64) -> Self {
        let attempts = attempts.bytes().map(|letter| letter == b'+').take(REMEMBERED).collect();
        let latency_ms = u32::try_from(latency_ms).unwrap_or_default();
        Self { attempts, since: since.unwrap_or_default(), latency_ms }
    }

    /// As it is stored: the attempts, and when the last one ended.
    #[must_use]
    pub fn stored(&self) -> (String, Timestamp, i64) {
        let letters = self.attempts.iter().map(|&succeeded| if succeeded { '+' } else { '-' }).collect();
        (letters, self.since, i64::from(self.latency_ms))
    }

    /// An attempt ended.
    pub fn note(&mut self, succeeded: bool, now: Timestamp) {
        self.forgive(now);
        if self.attempts.len() >= REMEMBERED {
            self.attempts.pop_front();
        }
        self.attempts.push_back(succeeded);
        self.since = now;
    }

    /// The first output of an attempt came after so many milliseconds.
    pub fn answered_after(&mut self, milliseconds: i64) {
        let sample = milliseconds.clamp(1, i64::from(u32::MAX));
        let old = i64::from(self.latency_ms);
        let new = if old == 0 { sample } else { old + (sample - old) / LATENCY_WEIGHT };
        self.latency_ms = u32::try_from(new.max(1)).unwrap_or(u32::MAX);
    }

    /// Forgets failures for the hours that passed without an attempt. Answers whether there were any.
    pub fn forgive(&mut self, now: Timestamp) -> bool {
        let hours = now.millis_since(self.since).div_euclid(HOUR_MS);
        let Ok(hours) = usize::try_from(hours) else { return false };
        if hours == 0 || self.attempts.is_empty() {
            return false;
        }
        self.since = self.since.plus_millis(i64::try_from(hours).unwrap_or(i64::MAX).saturating_mul(HOUR_MS));
        let mut left = hours.saturating_mul(FORGIVEN_PER_HOUR);
        let before = self.attempts.len();
        self.attempts.retain(|&succeeded| {
            let forgotten = !succeeded && left > 0;
            left -= usize::from(forgotten);
            !forgotten
        });
        self.attempts.len() < before
    }

    /// What the book is told.
    #[must_use]
    pub fn band(&self) -> Health {
        let (succeeded, all) = self.counts();
        if all < ENOUGH || succeeded * 100 >= all * NORMAL_PERCENT {
            Health::Normal
        } else if succeeded * 100 >= all * LOW_PERCENT {
            Health::Low
        } else {
            Health::LastResort
        }
    }

    /// How many of the remembered attempts succeeded, and how many there are.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.attempts.iter().filter(|&&succeeded| succeeded).count(), self.attempts.len())
    }

    /// The average time to the first output, in milliseconds, if it is known.
    #[must_use]
    pub fn latency_ms(&self) -> Option<u32> {
        (self.latency_ms > 0).then_some(self.latency_ms)
    }

    /// The same for the book: rounded up to 250 ms and its doublings, so that it seldom changes; 0 when it is not known.
    #[must_use]
    pub fn coarse_latency_ms(&self) -> u32 {
        if self.latency_ms == 0 {
            return 0;
        }
        let mut coarse = COARSE_MS;
        while coarse < self.latency_ms && coarse < u32::MAX / 2 {
            coarse *= 2;
        }
        coarse
    }
}

/// How far an Island is trusted, as the book has it: 0 new, 1 established, 2 approved by the operator.
#[must_use]
pub fn trust(approved: bool, age_ms: i64, paid: u64) -> u8 {
    if approved { 2 } else { u8::from(age_ms >= ESTABLISHED_AGE_MS && paid >= ESTABLISHED_PAID) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + hours * HOUR_MS)
    }

    fn record(succeeded: usize, failed: usize) -> Record {
        let mut record = Record::default();
        for _ in 0..failed {
            record.note(false, at(0));
        }
        for _ in 0..succeeded {
            record.note(true, at(0));
        }
        record
    }

    #[test]
    fn the_band_follows_the_share_of_successes() {
        let cases = [
            (0, 9, Health::Normal),
            (0, 10, Health::LastResort),
            (9, 1, Health::Normal),
            (89, 11, Health::Low),
            (90, 10, Health::Normal),
            (50, 50, Health::Low),
            (49, 51, Health::LastResort),
        ];
        for (succeeded, failed, band) in cases {
            assert_eq!(record(succeeded, failed).band(), band, "{succeeded} of {}", succeeded + failed);
        }
        let mut old = record(100, 50);
        assert_eq!(old.counts(), (100, 100), "only the last hundred count");
        old.note(false, at(0));
        assert_eq!(old.counts(), (99, 100));
    }

    #[test]
    fn time_without_an_attempt_forgets_failures() {
        let mut last = record(0, 100);
        assert!(!last.forgive(at(0).plus_millis(HOUR_MS - 1)));
        let mut hours = 0;
        while last.band() == Health::LastResort {
            hours += 1;
            last.forgive(at(hours));
        }
        assert_eq!(hours, 10);
        // Successes stay, so the share only grows; and an hour forgets once.
        let mut mixed = record(40, 60);
        assert!(mixed.forgive(at(2)) && !mixed.forgive(at(2)));
        assert_eq!((mixed.counts(), mixed.band()), ((40, 80), Health::Low));
        assert!(!mixed.forgive(at(-5)), "a clock that goes back forgets nothing");
    }

    #[test]
    fn it_comes_back_from_the_database_as_it_was() {
        let mut record = record(3, 2);
        record.answered_after(700);
        let (letters, since, latency) = record.stored();
        assert_eq!(letters, "--+++");
        assert_eq!(Record::restore(&letters, Some(since), latency), record);
    }

    #[test]
    fn latency_is_an_average_and_coarse_in_the_book() {
        let mut record = Record::default();
        assert_eq!((record.latency_ms(), record.coarse_latency_ms()), (None, 0));
        record.answered_after(800);
        assert_eq!((record.latency_ms(), record.coarse_latency_ms()), (Some(800), 1000));
        record.answered_after(0);
        assert_eq!(record.latency_ms(), Some(701));
        record.answered_after(i64::MAX);
        assert!(record.coarse_latency_ms() >= record.latency_ms().unwrap() / 2);
    }

    #[test]
    fn trust_takes_time_and_work_or_the_operators_word() {
        assert_eq!(trust(false, ESTABLISHED_AGE_MS, ESTABLISHED_PAID - 1), 0);
        assert_eq!(trust(false, ESTABLISHED_AGE_MS - 1, ESTABLISHED_PAID), 0);
        assert_eq!(trust(false, ESTABLISHED_AGE_MS, ESTABLISHED_PAID), 1);
        assert_eq!(trust(true, 0, 0), 2);
    }
}
