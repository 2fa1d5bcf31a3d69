//! When things are due that come at a constant rate, whether or not the ones before have been answered.

use std::time::Duration;

const NANOS: u128 = 1_000_000_000;

/// Arrivals, evenly spaced; the first is due at once.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// How many come each second.
    pub rate: u64,
    /// How many come at all.
    pub total: u64,
}

impl Schedule {
    /// For so long at so many a second.
    pub fn new(rate: u64, time: Duration) -> Self {
        let total = u128::from(rate) * time.as_nanos() / NANOS;
        Self { rate, total: u64::try_from(total).unwrap_or(u64::MAX) }
    }

    /// When arrival `number` (from 0) is due, from the start.
    pub fn due(&self, number: u64) -> Duration {
        let nanos = u128::from(number) * NANOS / u128::from(self.rate);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How many are due after so long.
    pub fn due_by(&self, elapsed: Duration) -> u64 {
        // The last one whose time, rounded down, is not after `elapsed`.
        let number = ((elapsed.as_nanos() + 1) * u128::from(self.rate) - 1) / NANOS;
        u64::try_from(number).unwrap_or(u64::MAX).saturating_add(1).min(self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_are_evenly_spaced_and_end() {
        let schedule = Schedule::new(1000, Duration::from_secs(2));
        assert_eq!(schedule.total, 2000);
        assert_eq!((schedule.due(0), schedule.due(1999)), (Duration::ZERO, Duration::from_millis(1999)));
        let by = |micros| schedule.due_by(Duration::from_micros(micros));
        assert_eq!([by(0), by(999), by(1000), by(10_500), by(5_000_000)], [1, 1, 2, 11, 2000]);
    }

    #[test]
    fn what_is_due_agrees_with_when_it_is_due() {
        for rate in [1, 3, 7, 70_001, 333_333] {
            let schedule = Schedule { rate, total: u64::MAX };
            for number in [0, 1, 2, 99, 12_345] {
                let due = schedule.due(number);
                assert_eq!(schedule.due_by(due), number + 1, "{rate} {number}");
                if let Some(before) = due.checked_sub(Duration::from_nanos(1)) {
                    assert_eq!(schedule.due_by(before), number, "{rate} {number}");
                }
            }
        }
    }
}
