//! What a seed decides once and for all: how large the network is, what is frequent and what is rare. Runs that differ in
//! this find more than runs that are all a little of everything.

use ledger::Pace;

use super::dice::Dice;
use super::step::Step;

/// The character of a run.
#[derive(Debug)]
pub struct Profile {
    pub coordinators: usize,
    pub people: usize,
    pub islands: usize,
    pub fee_percent: u8,
    pub attempts: u32,
    pub wait_secs: u32,
    pub run_secs: u32,
    /// How often a transaction fails, of a hundred.
    pub faults: u64,
    /// Most credits an Island asks.
    pub dearest: i64,
    /// How likely each step is.
    weights: Vec<(Step, u64)>,
}

/// A ledger that hardly ever finds the time to fold.
const BUSY: Pace = Pace { at_once: 1, bytes_per_account: 0, least_bytes: 600, most_bytes: 2000 };
/// One that folds a little at a time.
const SLOW: Pace = Pace { at_once: 3, bytes_per_account: 0, least_bytes: 3000, most_bytes: 9000 };

impl Profile {
    /// The character of a seed.
    pub fn new(dice: &Dice) -> Self {
        let weights = Step::ALL.map(|(step, weight)| {
            // Now and then something is never done at all, or all the time.
            let factor = dice.one_of([0, 1, 1, 2, 2, 2, 2, 4, 12]);
            let needed = step.is_needed() && factor == 0;
            (step, weight * if needed { 1 } else { factor })
        });
        Self {
            coordinators: dice.one_of([1, 2, 2, 3]),
            people: 2 + dice.below(4),
            islands: 1 + dice.below(4),
            fee_percent: dice.one_of([0, 1, 10, 10, 33, 100]),
            attempts: dice.one_of([1, 2, 3, 3, 5]),
            wait_secs: dice.one_of([60, 900, 3600]),
            run_secs: dice.one_of([5, 60, 600]),
            faults: dice.one_of([0, 3, 10, 25]),
            dearest: dice.one_of([2, 20, 80]) * 1_000_000,
            weights: weights.to_vec(),
        }
    }

    /// A step to try next.
    pub fn step(&self, dice: &Dice) -> Step {
        let index = dice.weighted(self.weights.iter().map(|(_, weight)| *weight));
        self.weights.get(index).map_or(Step::Commit, |(step, _)| *step)
    }

    /// The pace of a process.
    pub fn pace(dice: &Dice) -> Pace {
        dice.one_of([Pace::default(), BUSY, SLOW])
    }
}
