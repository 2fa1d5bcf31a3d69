//! Who pays whom how much: everything follows from the number of a cycle and a seed, so nothing has to be remembered
//! to check the books afterwards.

use std::ops::Range;

use serde::Serialize;

/// The network's share, in percent.
const FEE_PERCENT: i64 = 10;
/// The cheapest cycle, in micro-credits.
const LOWEST_PRICE: u64 = 1000;
/// Prices are below the lowest plus this.
const PRICES: u64 = 4000;
/// What all consumers are granted together, and one at most, in micro-credits: more than can be spent.
const GRANTS: u64 = 5_000_000_000 * 1_000_000;
const LARGEST_GRANT: u64 = 1_000_000 * 1_000_000;

/// Over how many accounts the consumers of cycles are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Spread {
    /// So many, chosen at random for each cycle, all equally likely.
    Accounts(u64),
    /// All on one.
    Hot,
}

/// All cycles there can be.
#[derive(Clone, Copy, Debug)]
pub struct Trade {
    /// How many consumers there are.
    pub consumers: u64,
    /// How many Islands earn.
    pub islands: u64,
    /// What chance is made of.
    pub seed: u64,
}

/// A hold and its settlement. Amounts are micro-credits; what is held is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// Which consumer pays, from 0.
    pub consumer: u64,
    /// Which Island earns, from 0.
    pub island: u64,
    /// What the consumer pays.
    pub price: i64,
    /// The network's share of it.
    pub fee: i64,
}

/// What a range of cycles comes to, in micro-credits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many cycles.
    pub cycles: u64,
    /// What consumers paid.
    pub charged: i64,
    /// The network's share of it.
    pub fees: i64,
}

impl Spread {
    /// How many consumers it needs.
    pub const fn consumers(self) -> u64 {
        match self {
            Self::Accounts(number) => number,
            Self::Hot => 1,
        }
    }

    /// In words.
    pub fn name(self) -> String {
        match self {
            Self::Accounts(number) => format!("spread over {} accounts", crate::stats::grouped(number)),
            Self::Hot => "one hot account".to_owned(),
        }
    }
}

impl Trade {
    /// Cycle number `number`.
    pub const fn cycle(&self, number: u64) -> Cycle {
        let first = mixed(self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let second = mixed(first.wrapping_add(0x9e37_79b9_7f4a_7c15));
        let price = LOWEST_PRICE + second % PRICES;
        let price = price.cast_signed();
        Cycle {
            // The remainders favour some numbers by less than one in 10¹².
            consumer: first % self.consumers,
            // Other bits than the price is made of.
            island: (second >> 32) % self.islands,
            price,
            fee: price * FEE_PERCENT / 100,
        }
    }

    /// What each consumer is granted before the first cycle.
    pub fn grant(&self) -> i64 {
        (GRANTS / self.consumers.max(1)).min(LARGEST_GRANT).cast_signed()
    }

    /// What cycles come to.
    pub fn totals(&self, cycles: Range<u64>) -> Totals {
        let mut totals = Totals::default();
        for number in cycles {
            let cycle = self.cycle(number);
            totals.cycles += 1;
            totals.charged += cycle.price;
            totals.fees += cycle.fee;
        }
        totals
    }
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.cycles += other.cycles;
        self.charged += other.charged;
        self.fees += other.fees;
    }
}

/// The finish of `SplitMix64`: every bit depends on every other.
const fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRADE: Trade = Trade { consumers: 100, islands: 10, seed: 7 };

    #[test]
    fn cycles_follow_from_their_number() {
        let again: Vec<Cycle> = (0..50).map(|number| TRADE.cycle(number)).collect();
        assert_eq!(again, (0..50).map(|number| TRADE.cycle(number)).collect::<Vec<_>>());
        assert_ne!(TRADE.cycle(1), Trade { seed: 8, ..TRADE }.cycle(1));
    }

    #[test]
    fn cycles_are_spread_evenly_and_can_be_paid() {
        let mut consumers = vec![0_u64; 100];
        let mut islands = vec![0_u64; 10];
        for number in 0..100_000 {
            let Cycle { consumer, island, price, fee } = TRADE.cycle(number);
            consumers[usize::try_from(consumer).unwrap()] += 1;
            islands[usize::try_from(island).unwrap()] += 1;
            assert!((1000..5000).contains(&price) && fee == price / 10, "{price} {fee}");
        }
        assert!(consumers.iter().all(|times| (850..1150).contains(times)), "{consumers:?}");
        assert!(islands.iter().all(|times| (9500..10_500).contains(times)), "{islands:?}");
        for consumers in [1, 10_000, 1_000_000, 10_000_000] {
            let trade = Trade { consumers, ..TRADE };
            assert!(trade.grant() >= 500_000_000);
            assert!(i128::from(trade.grant()) * i128::from(consumers) <= i128::from(GRANTS));
        }
    }

    #[test]
    fn totals_add_up() {
        let mut parts = TRADE.totals(0..10);
        parts += TRADE.totals(10..30);
        assert_eq!(parts, TRADE.totals(0..30));
        assert_eq!(parts.charged, (0..30).map(|number| TRADE.cycle(number).price).sum::<i64>());
    }
}
