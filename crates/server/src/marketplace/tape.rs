//! The tape: what a batch of the hot path leaves behind for statistics, summed up before it is written.
//!
//! However many jobs end in a batch, a Cargo costs at most one row of its minute, one for each price (at most as many as
//! there are [`level`]s) and [`LISTED`] trades. Jobs on one's own Island never come here (incident 97).

use std::collections::BTreeMap;

use db::{DbError, Tx};
use types::id::JobId;
use types::money::MicroCredits;
use types::time::{HOUR_MS, MINUTE_MS, Timestamp};
use types::units::Units;

use super::store;

/// Minutes in a bucket of the distribution of prices.
pub const BUCKET: i64 = 5;
/// Most trades of one Cargo that one batch puts on the list of recent ones; the newest.
pub const LISTED: usize = 8;

/// A price as it is counted in distributions: itself with up to four significant digits, finer ones rounded down to four.
/// So there are at most 9,000 for each factor of ten, and a median is at most 0.1 % too low.
#[must_use]
pub const fn level(price: MicroCredits) -> MicroCredits {
    let (mut head, mut scale) = (price.get(), 1);
    while head >= 10_000 {
        head /= 10;
        scale *= 10;
    }
    MicroCredits::new(head * scale)
}

/// A job that was paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trade {
    /// Which job. Never shown.
    pub job: JobId,
    /// The Cargo's number.
    pub workload: i64,
    /// The clearing price per unit.
    pub price: MicroCredits,
    /// How many units.
    pub units: Units,
    /// What was paid for them.
    pub paid: MicroCredits,
}

/// Trades of one Cargo in one minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Minute {
    /// The Cargo's number.
    pub workload: i64,
    /// Minutes since the epoch.
    pub minute: i64,
    /// How many.
    pub count: i64,
    /// The sum of their prices per unit.
    pub total: MicroCredits,
    /// Their units, in parts.
    pub units: i64,
    /// What was paid.
    pub paid: MicroCredits,
    /// The lowest price.
    pub lowest: MicroCredits,
    /// The highest price.
    pub highest: MicroCredits,
    /// The last price.
    pub last: MicroCredits,
}

/// What a batch leaves behind.
#[derive(Debug)]
pub struct Tape {
    now: Timestamp,
    minutes: BTreeMap<i64, Minute>,
    prices: BTreeMap<(i64, MicroCredits), i64>,
    trades: Vec<Trade>,
    unserved: BTreeMap<(i64, MicroCredits), i64>,
}

impl Tape {
    /// An empty one.
    #[must_use]
    pub const fn new(now: Timestamp) -> Self {
        Self {
            now,
            minutes: BTreeMap::new(),
            prices: BTreeMap::new(),
            trades: Vec::new(),
            unserved: BTreeMap::new(),
        }
    }

    /// Notes a job that was paid for.
    pub fn trade(&mut self, trade: Trade) {
        let Trade { workload, price, .. } = trade;
        let minute = self.minutes.entry(workload).or_insert(Minute {
            workload,
            minute: self.now.as_millis() / MINUTE_MS,
            count: 0,
            total: MicroCredits::ZERO,
            units: 0,
            paid: MicroCredits::ZERO,
            lowest: price,
            highest: price,
            last: price,
        });
        // Statistics: at the edge of the range they stop growing rather than stopping the batch.
        let add = |sum: MicroCredits, more| sum.plus(more).unwrap_or(sum);
        minute.count += 1;
        minute.total = add(minute.total, price);
        minute.units = minute.units.saturating_add(trade.units.parts());
        minute.paid = add(minute.paid, trade.paid);
        minute.lowest = minute.lowest.min(price);
        minute.highest = minute.highest.max(price);
        minute.last = price;
        *self.prices.entry((workload, level(price))).or_default() += 1;
        self.trades.push(trade);
    }

    /// Notes a job that ended because no Island took it, and what it bid per unit.
    pub fn unserved(&mut self, workload: i64, bid: MicroCredits) {
        *self.unserved.entry((workload, level(bid))).or_default() += 1;
    }

    /// Writes all of it, in the transaction of what it is about.
    ///
    /// # Errors
    /// A [`DbError`].
    pub async fn write(&self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        if !self.minutes.is_empty() {
            let bucket = self.now.as_millis() / MINUTE_MS / BUCKET * BUCKET;
            store::add_minutes(tx, self.minutes.values()).await?;
            store::add_prices(tx, bucket, &self.prices).await?;
            store::list_trades(tx, self.now, &self.listed()).await?;
        }
        if !self.unserved.is_empty() {
            store::add_unserved(tx, self.now.as_millis() / HOUR_MS, &self.unserved).await?;
        }
        Ok(())
    }

    /// The newest trades of each Cargo.
    fn listed(&self) -> Vec<Trade> {
        let mut room: BTreeMap<i64, usize> = BTreeMap::new();
        let newest = self.trades.iter().rev().filter(|trade| {
            let taken = room.entry(trade.workload).or_default();
            *taken += 1;
            *taken <= LISTED
        });
        newest.copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use types::id::Id;

    use super::*;

    fn trade(job: i64, workload: i64, price: i64, units: i64) -> Trade {
        let (price, units) = (MicroCredits::new(price), Units::from_parts(units));
        Trade { job: JobId::from_i64(job), workload, price, units, paid: units.cost(price).unwrap() }
    }

    #[test]
    fn a_batch_is_summed_by_cargo() {
        let price = MicroCredits::new;
        let mut tape = Tape::new(Timestamp::from_millis(3 * MINUTE_MS + 5));
        for (job, workload, at) in [(1, 1, 5), (2, 2, 9), (3, 1, 3), (4, 1, 4)] {
            tape.trade(trade(job, workload, at, Units::SCALE));
        }
        assert_eq!(tape.minutes.len(), 2);
        let first = tape.minutes[&1];
        assert_eq!((first.minute, first.count, first.total), (3, 3, price(12)));
        assert_eq!((first.lowest, first.highest, first.last), (price(3), price(5), price(4)));
        assert_eq!((first.units, first.paid), (3 * Units::SCALE, price(12)));
        assert_eq!(tape.prices[&(1, price(3))], 1);
    }

    #[test]
    fn a_batch_lists_the_newest_trades_only() {
        let mut tape = Tape::new(Timestamp::from_millis(0));
        for job in 0..100 {
            tape.trade(trade(job, job % 2, 7, Units::SCALE));
        }
        let listed = tape.listed();
        assert_eq!(listed.len(), 2 * LISTED);
        assert!(listed.iter().all(|trade| trade.job.get() >= 100 - 2 * 8));
        assert_eq!(tape.prices.len(), 2);
    }

    #[test]
    fn a_level_is_the_price_or_at_most_a_thousandth_below() {
        for (price, expected) in [
            (0, 0),
            (1, 1),
            (9_999, 9_999),
            (10_001, 10_000),
            (1_234_000, 1_234_000),
            (1_234_999, 1_234_000),
            (12_750_000, 12_750_000),
            (i64::MAX, 9_223_000_000_000_000_000),
        ] {
            assert_eq!(level(MicroCredits::new(price)), MicroCredits::new(expected));
            assert!(price - expected <= price / 1000);
        }
    }
}
