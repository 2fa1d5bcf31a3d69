//! Rates: statistics over cleared prices and live asks. Jobs on one's own Island never enter (incident 97).

use std::collections::BTreeMap;

use db::DbError;
use types::money::MicroCredits;
use types::time::{MINUTE_MS, Timestamp};

use super::{Market, store};
use crate::app::App;

/// Trades of one Cargo in one minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trade {
    /// The Cargo's number.
    pub workload: i64,
    /// Minutes since the epoch.
    pub minute: i64,
    /// How many.
    pub count: i64,
    /// The sum of their prices.
    pub total: MicroCredits,
    /// The lowest price.
    pub lowest: MicroCredits,
    /// The highest price.
    pub highest: MicroCredits,
    /// The last price.
    pub last: MicroCredits,
}

/// What cleared in a window of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// How many trades.
    pub trades: i64,
    /// The sum of their prices.
    pub total: MicroCredits,
    /// The lowest price, if there was a trade.
    pub lowest: Option<MicroCredits>,
    /// The highest price, if there was a trade.
    pub highest: Option<MicroCredits>,
}

/// A Cargo's rate now.
#[derive(Clone, Debug)]
pub struct Rate {
    /// The Cargo's slug.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// The lowest live ask.
    pub best_ask: Option<MicroCredits>,
    /// The last cleared price.
    pub last: Option<MicroCredits>,
    /// The last 24 hours.
    pub day: Window,
    /// Islands in the book.
    pub islands: usize,
    /// Jobs waiting.
    pub waiting: usize,
}

impl Window {
    /// The mean price, rounded down to the micro-credit; nothing if nothing was traded.
    #[must_use]
    pub const fn mean(&self) -> Option<MicroCredits> {
        match self.total.get().checked_div(self.trades) {
            Some(mean) => Some(MicroCredits::new(mean)),
            None => None,
        }
    }
}

/// Sums cleared prices of a batch, (Cargo, price) each, by Cargo.
#[must_use]
pub fn aggregate(cleared: impl IntoIterator<Item = (i64, MicroCredits)>, now: Timestamp) -> Vec<Trade> {
    let minute = now.as_millis() / MINUTE_MS;
    let mut trades: BTreeMap<i64, Trade> = BTreeMap::new();
    for (workload, price) in cleared {
        let first = Trade {
            workload,
            minute,
            count: 0,
            total: MicroCredits::ZERO,
            lowest: price,
            highest: price,
            last: price,
        };
        let trade = trades.entry(workload).or_insert(first);
        trade.count += 1;
        // A statistic: at the edge of the range it stops growing rather than stopping the batch.
        trade.total = trade.total.plus(price).unwrap_or(trade.total);
        trade.lowest = trade.lowest.min(price);
        trade.highest = trade.highest.max(price);
        trade.last = price;
    }
    trades.into_values().collect()
}

/// The rates of all Cargos, in the order of the configuration.
///
/// # Errors
/// A [`DbError`].
pub async fn all(app: &App) -> Result<Vec<Rate>, DbError> {
    let ids: Vec<i64> = app.market.all().iter().map(|market| market.workload.id).collect();
    let now = app.clock.now();
    // From the database, because other coordinators trade too.
    let cleared = app.db.read("rates", async move |tx| store::cleared(tx, &ids, now).await).await?;
    Ok(app.market.all().iter().zip(cleared).map(|(market, (day, last))| rate(market, day, last)).collect())
}

fn rate(market: &Market, day: Window, last: Option<MicroCredits>) -> Rate {
    let (best_ask, islands, waiting) = market.snapshot();
    let workload = &market.workload;
    Rate { slug: workload.slug.clone(), name: workload.name.clone(), best_ask, last, day, islands, waiting }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_summed_by_cargo() {
        let price = MicroCredits::new;
        let now = Timestamp::from_millis(3 * MINUTE_MS + 5);
        let trades = aggregate([(1, price(5)), (2, price(9)), (1, price(3)), (1, price(4))], now);
        assert_eq!(trades.len(), 2);
        let first = trades[0];
        assert_eq!((first.minute, first.count, first.total), (3, 3, price(12)));
        assert_eq!((first.lowest, first.highest, first.last), (price(3), price(5), price(4)));
    }

    #[test]
    fn no_trades_have_no_mean() {
        let none = Window { trades: 0, total: MicroCredits::ZERO, lowest: None, highest: None };
        assert_eq!(none.mean(), None);
    }
}
