//! How long to wait before connecting again: up to twice as long each time, and at random, so that Islands that
//! lost their coordinator together do not come back together.

use std::time::Duration;

use types::rng::Random;

const FIRST_MS: u64 = 100;
const LAST_MS: u64 = 30_000;

/// The waits of one row of failures.
#[derive(Debug)]
pub(crate) struct Backoff {
    ceiling_ms: u64,
}

impl Backoff {
    pub(crate) const fn new() -> Self {
        Self { ceiling_ms: FIRST_MS }
    }

    /// The next wait, anywhere up to a ceiling that doubles.
    pub(crate) fn next(&mut self, random: &dyn Random) -> Duration {
        let mut bytes = [0; 8];
        random.fill(&mut bytes);
        let wait_ms = u64::from_le_bytes(bytes) % (self.ceiling_ms + 1);
        self.ceiling_ms = (self.ceiling_ms * 2).min(LAST_MS);
        Duration::from_millis(wait_ms)
    }

    /// The row has ended.
    pub(crate) const fn reset(&mut self) {
        self.ceiling_ms = FIRST_MS;
    }
}

#[cfg(test)]
mod tests {
    use types::rng::SeededRandom;

    use super::*;

    #[test]
    fn waits_grow_up_to_a_bound_and_start_again() {
        let random = SeededRandom::new(1);
        let mut longest = [Duration::ZERO; 10];
        for _ in 0..1000 {
            let mut backoff = Backoff::new();
            for longest in &mut longest {
                *longest = backoff.next(&random).max(*longest);
            }
            backoff.reset();
            assert!(backoff.next(&random) <= Duration::from_millis(FIRST_MS));
        }
        let ceilings_ms = [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000];
        for (longest, ceiling_ms) in longest.into_iter().zip(ceilings_ms) {
            let ceiling = Duration::from_millis(ceiling_ms);
            assert!(longest <= ceiling && longest > ceiling * 9 / 10, "{longest:?} of {ceiling:?}");
        }
    }
}
