//! What a job would cost and how long it would wait, before it is submitted. Reserves nothing and promises nothing: an
//! ask may change the next moment.

use market::{Book, Order, Verdict};
use types::id::{Id, JobId};
use types::money::{MAX_AMOUNT, MicroCredits};
use types::units::Units;

use super::Market;
use super::measure::Request;
use crate::accounts::User;
use crate::jobs::BidSource;
use crate::jobs::submit::bid_of;

/// Prices that are looked at to guess a wait.
const LOOKED_AT: usize = 1000;

/// What somebody thinks of submitting.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// What it asks for.
    pub request: Request,
    /// The most it may cost, if said.
    pub bid: Option<MicroCredits>,
    /// Where the Island must stand.
    pub region: Option<String>,
    /// The model it wants.
    pub model: Option<String>,
    /// How far its Island must be trusted.
    pub min_trust: u8,
}

/// What would come of it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The lowest ask of an Island that could run it, busy or not, within the bid or not, per unit.
    pub best_ask: Option<MicroCredits>,
    /// The most it may cost.
    pub bid: MicroCredits,
    /// The same for each unit, which is what asks are compared with.
    pub unit_bid: MicroCredits,
    /// Who says so.
    pub source: BidSource,
    /// How much of the Cargo it can take at most.
    pub units: Units,
    /// The ask it would start at if an Island were free now, per unit.
    pub price: Option<MicroCredits>,
    /// What would be held at that ask, or, if none is within the bid, the bid: it cannot cost more.
    pub worst_case: MicroCredits,
    /// What it would cost if it took as much as jobs lately took. Nothing if there were none, or no ask is within the bid.
    pub expected: Option<MicroCredits>,
    /// How long it would wait, in seconds: 0 if an Island is free. Nothing if that cannot be told.
    pub wait_secs: Option<i64>,
    /// How much would have to be bid, if the best ask is above the bid: the whole of it, not for each unit.
    pub bid_needed: Option<MicroCredits>,
}

impl Market {
    /// What would come of a job, now.
    #[must_use]
    pub fn quote(&self, user: &User, wanted: &Wanted) -> Quote {
        let workload = &*self.workload;
        let units = workload.measure.most(&wanted.request);
        let (bid, unit_bid, source) = bid_of((workload, units), user, wanted.bid);
        let order = Order {
            // No job has this number.
            job: JobId::from_i64(0),
            user: user.id,
            bid: unit_bid,
            excluded: Vec::new(),
            region: wanted.region.clone(),
            model: wanted.model.clone(),
            min_trust: wanted.min_trust,
            deadline: types::time::Timestamp::from_millis(i64::MAX),
            priority: 0,
            may_wait: true,
        };
        let typical = self.recent.typical();
        let state = self.lock();
        let book = &state.book;
        let best_ask = book.lowest_eligible(&order);
        let now =
            book.consider(&order).last().filter(|one| one.verdict == Verdict::Chosen).map(|one| one.ask);
        let within = best_ask.filter(|ask| *ask <= unit_bid);
        let price = now.or(within);
        let wait_secs = match (now, within) {
            (Some(_), _) => Some(0),
            (None, Some(_)) => typical.and_then(|typical| wait(book, unit_bid, typical.run_ms)),
            (None, None) => None,
        };
        drop(state);
        let cost = |units: Units, ask| units.cost(ask).unwrap_or(MAX_AMOUNT);
        Quote {
            best_ask,
            bid,
            unit_bid,
            source,
            units,
            price,
            worst_case: price.map_or(bid, |price| cost(units, price)),
            expected: price.and_then(|price| match workload.measure {
                super::measure::Measure::Request => Some(cost(units, price)),
                _ => typical.map(|typical| cost(typical.units.min(units), price)),
            }),
            wait_secs,
            bid_needed: best_ask.filter(|ask| *ask > unit_bid).map(|ask| cost(units, ask)),
        }
    }

    /// The lowest ask of an Island that could run this, busy or not, within the bid or not.
    #[must_use]
    pub fn best_eligible(&self, order: &Order) -> Option<MicroCredits> {
        self.lock().book.lowest_eligible(order)
    }
}

/// The jobs before it and itself, shared among the slots within the bid, each taking as long as usual.
fn wait(book: &Book, unit_bid: MicroCredits, run_ms: i64) -> Option<i64> {
    let levels = book.depth(LOOKED_AT);
    let slots = levels.iter().take_while(|level| level.ask <= unit_bid).map(|level| level.slots).sum::<u64>();
    let slots = i64::try_from(slots).ok()?;
    let levels = book.demand(LOOKED_AT);
    let ahead =
        levels.iter().take_while(|level| level.bid >= unit_bid).map(|level| level.jobs).sum::<usize>();
    let turns = i64::try_from(ahead).ok()?.checked_add(1)?;
    let total = turns.checked_mul(run_ms)?.checked_div(slots)?;
    // At least one: somebody has to finish first.
    Some((total / 1000).max(1))
}
