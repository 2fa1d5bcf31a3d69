//! What jobs of a Cargo lately took: for what a job will probably cost and how long it will probably wait.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use types::units::Units;

/// So many of the last completed jobs are remembered.
pub const REMEMBERED: usize = 200;

/// The last completed jobs of a Cargo, as this coordinator saw them.
#[derive(Debug, Default)]
pub struct Recent(Mutex<VecDeque<(Units, i64)>>);

/// What jobs took in the middle: half of them took more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Typical {
    /// How much of the Cargo.
    pub units: Units,
    /// From the first attempt to the end, in milliseconds.
    pub run_ms: i64,
}

impl Recent {
    /// A job was completed.
    pub fn note(&self, units: Units, run_ms: i64) {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if jobs.len() == REMEMBERED {
            jobs.pop_front();
        }
        jobs.push_back((units, run_ms.max(0)));
    }

    /// The medians of both; nothing while there was no job.
    #[must_use]
    pub fn typical(&self) -> Option<Typical> {
        let jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut units, mut times): (Vec<Units>, Vec<i64>) = jobs.iter().copied().unzip();
        drop(jobs);
        units.sort_unstable();
        times.sort_unstable();
        let middle = units.len() / 2;
        Some(Typical { units: *units.get(middle)?, run_ms: *times.get(middle)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_the_last_jobs() {
        let recent = Recent::default();
        assert_eq!(recent.typical(), None);
        for parts in [5, 1, 9] {
            recent.note(Units::from_parts(parts), parts * 10);
        }
        assert_eq!(recent.typical(), Some(Typical { units: Units::from_parts(5), run_ms: 50 }));
        for _ in 0..REMEMBERED {
            recent.note(Units::from_parts(2), 7);
        }
        assert_eq!(recent.typical(), Some(Typical { units: Units::from_parts(2), run_ms: 7 }));
    }
}
