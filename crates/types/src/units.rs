//! How much of a Cargo a job takes: whole numbers of 1/100,000 of its unit, so that no float touches a price.

use serde::ser::{Error as _, Serialize, Serializer};

use crate::money::{MAX_AMOUNT, MicroCredits};

/// An amount of a Cargo. What one unit is (a request, 1,000 tokens, an image) the Cargo says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Units(i64);

impl Units {
    /// Parts of one unit.
    pub const SCALE: i64 = 100_000;
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// One unit: a request of a Cargo with a flat price.
    pub const ONE: Self = Self(Self::SCALE);

    /// This many parts of 1/100,000; nothing if it were less than nothing.
    #[must_use]
    pub const fn from_parts(parts: i64) -> Self {
        Self(if parts < 0 { 0 } else { parts })
    }

    /// In parts of 1/100,000.
    #[must_use]
    pub const fn parts(self) -> i64 {
        self.0
    }

    /// What it costs at a price per unit, rounded up to the micro-credit. Nothing if that is more than
    /// [`MAX_AMOUNT`] or the price is below zero.
    #[must_use]
    pub fn cost(self, price: MicroCredits) -> Option<MicroCredits> {
        let price = u128::try_from(price.get()).ok()?;
        let parts = u128::try_from(self.0).ok()?;
        let cost = (price * parts).div_ceil(Self::SCALE.unsigned_abs().into());
        i64::try_from(cost).ok().map(MicroCredits::new).filter(|cost| *cost <= MAX_AMOUNT)
    }

    /// The highest price per unit at which this costs no more than `most`, never above [`MAX_AMOUNT`]. Nothing costs nothing at any price.
    #[must_use]
    pub fn price_within(self, most: MicroCredits) -> MicroCredits {
        let Ok(most) = u128::try_from(most.get()) else { return MicroCredits::new(-1) };
        let Some(price) =
            (most * u128::from(Self::SCALE.unsigned_abs())).checked_div(self.0.unsigned_abs().into())
        else {
            return MAX_AMOUNT;
        };
        i64::try_from(price).map_or(MAX_AMOUNT, |price| MicroCredits::new(price).min(MAX_AMOUNT))
    }
}

/// An exact JSON number with up to five decimals.
impl Serialize for Units {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Five places of the six that a number of micro-credits is written with: the same writing, the same exactness.
        let written = self.0.checked_mul(10).ok_or_else(|| S::Error::custom("out of range"))?;
        MicroCredits::new(written).serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_rounded_up_to_the_micro_credit() {
        let price = MicroCredits::new;
        for (parts, at, cost) in [
            (Units::SCALE, 2_500_000, 2_500_000),
            (1, 1, 1),
            (1, 100_000, 1),
            (1, 100_001, 2),
            (0, 5_000_000, 0),
            (250_000, 3, 8),
        ] {
            assert_eq!(Units::from_parts(parts).cost(price(at)), Some(price(cost)), "{parts} at {at}");
        }
        assert_eq!(Units::ONE.cost(price(-1)), None);
        assert_eq!(Units::from_parts(i64::MAX).cost(MAX_AMOUNT), None);
    }

    /// One more would cost too much: checked over many amounts against the cost itself.
    #[test]
    fn the_price_within_a_bid_is_the_highest() {
        let mut state = 88_172_645_463_325_252_u64;
        let mut next = |below: i64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            i64::try_from(state % below.unsigned_abs()).unwrap()
        };
        for _ in 0..100_000 {
            let units = Units::from_parts(next(10_000_000) + 1);
            let most = MicroCredits::new(next(50_000_000));
            let price = units.price_within(most);
            assert!(units.cost(price).unwrap() <= most, "{units:?} {most:?}");
            let more = MicroCredits::new(price.get() + 1);
            assert!(units.cost(more).unwrap() > most, "{units:?} {most:?}");
        }
        assert_eq!(Units::ZERO.price_within(MicroCredits::ZERO), MAX_AMOUNT);
        assert!(Units::ONE.price_within(MicroCredits::new(-1)) < MicroCredits::ZERO);
    }
}
