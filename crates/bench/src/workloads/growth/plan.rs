//! How far to grow in which order, and how far time and disk allow it.

use std::time::Duration;

use crate::stats::{count, whole};

/// A size to grow to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// So many consumers.
    Accounts(u64),
    /// So many entries in the history.
    Entries(u64),
}

/// What one more of something costs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// In seconds.
    pub seconds: f64,
    /// In bytes on the disk.
    pub bytes: f64,
}

/// What may be used up.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Time.
    pub time: Duration,
    /// Bytes on the disk.
    pub bytes: u64,
}

/// Accounts and entries in turn, each from small to large. The first step is the one to compare with.
pub fn steps(accounts: &[u64], entries: &[u64]) -> Vec<Step> {
    let sorted = |numbers: &[u64]| {
        let mut sorted = numbers.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        sorted
    };
    let mut accounts = sorted(accounts).into_iter().map(Step::Accounts);
    let mut entries = sorted(entries).into_iter().map(Step::Entries);
    let mut steps: Vec<Step> = accounts.next().into_iter().collect();
    loop {
        let before = steps.len();
        steps.extend(accounts.next());
        steps.extend(entries.next());
        if steps.len() == before {
            return steps;
        }
    }
}

/// How many more there is room for, if `wanted` are wanted; and what is in the way of the rest.
pub fn allowed(wanted: u64, each: Cost, room: Room) -> (u64, Option<&'static str>) {
    let fit = |have: f64, each: f64| {
        if each > 0.0 { whole((have / each).floor()).unwrap_or(u64::MAX) } else { u64::MAX }
    };
    let by_time = fit(room.time.as_secs_f64(), each.seconds);
    let by_disk = fit(count(room.bytes), each.bytes);
    if wanted <= by_time.min(by_disk) {
        (wanted, None)
    } else if by_time <= by_disk {
        (by_time, Some("the time"))
    } else {
        (by_disk, Some("the disk"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_and_entries_grow_in_turn() {
        use Step::{Accounts, Entries};
        let found = steps(&[10_000_000, 10_000, 1_000_000], &[100_000_000, 10_000_000, 10_000_000]);
        let expected = [
            Accounts(10_000),
            Accounts(1_000_000),
            Entries(10_000_000),
            Accounts(10_000_000),
            Entries(100_000_000),
        ];
        assert_eq!(found, expected);
        assert_eq!(steps(&[5], &[]), [Accounts(5)]);
        assert_eq!(steps(&[5], &[7, 8]), [Accounts(5), Entries(7), Entries(8)]);
    }

    #[test]
    fn what_does_not_fit_is_scaled_down() {
        let room = Room { time: Duration::from_secs(10), bytes: 1000 };
        let cost = |seconds, bytes| Cost { seconds, bytes };
        assert_eq!(allowed(50, cost(0.1, 10.0), room), (50, None));
        assert_eq!(allowed(200, cost(0.1, 1.0), room), (100, Some("the time")));
        assert_eq!(allowed(200, cost(0.001, 10.0), room), (100, Some("the disk")));
        assert_eq!(allowed(200, cost(0.0, 0.0), room), (200, None));
        let none = Room { time: Duration::ZERO, bytes: 0 };
        assert_eq!(allowed(1, cost(0.1, 1.0), none), (0, Some("the time")));
    }
}
