//! Chance, all of it from the seed.

use types::rng::{Random, SeededRandom};

/// Throws numbers that depend on nothing but the seed and what was thrown before.
#[derive(Debug)]
pub struct Dice(SeededRandom);

impl Dice {
    /// The dice of a seed.
    pub const fn new(seed: u64) -> Self {
        Self(SeededRandom::new(seed))
    }

    /// Any number.
    pub fn any(&self) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A number from 0 to one less than `count`; 0 when there is none.
    pub fn below(&self, count: usize) -> usize {
        let count = u64::try_from(count).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.any() % count).unwrap_or_default()
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&self, low: i64, high: i64) -> i64 {
        let span = high.abs_diff(low).saturating_add(1);
        low.saturating_add_unsigned(self.any() % span)
    }

    /// True so many times in a hundred.
    pub fn percent(&self, times: u64) -> bool {
        self.any() % 100 < times
    }

    /// One of some things.
    pub fn pick<'t, T>(&self, things: &'t [T]) -> Option<&'t T> {
        things.get(self.below(things.len()))
    }

    /// One of some things that are there for certain.
    pub fn one_of<T: Copy, const N: usize>(&self, things: [T; N]) -> T {
        things[self.below(N)]
    }

    /// The place of one of some weights, each as likely as it is heavy.
    pub fn weighted(&self, weights: impl Iterator<Item = u64> + Clone) -> usize {
        let mut left = self.any() % weights.clone().sum::<u64>().max(1);
        for (index, weight) in weights.enumerate() {
            if left < weight {
                return index;
            }
            left -= weight;
        }
        0
    }
}

/// FNV-1a: a digest of what was said, the same on every machine.
#[derive(Clone, Copy, Debug)]
pub struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    /// Takes a text in.
    pub fn add(&mut self, text: &str) {
        for byte in text.bytes().chain([0]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
