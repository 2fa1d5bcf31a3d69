//! What is answered about the market.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use types::id::IslandId;
use types::money::MicroCredits;
use types::time::Timestamp;
use types::units::Units;

use super::words::{Ask, AskWhy, BidOrigin, BidWhy, PriceUnit, Window as WindowName};
use crate::marketplace::Market;
use crate::marketplace::overrides::Asking;
use crate::marketplace::quote::Quote;
use crate::marketplace::rates::{Detail, Point, Rate, Sale, Span, Window};
use crate::marketplace::suggest::{AskReason, BidReason};

/// Rates of a Cargo over the last 24 hours. Prices are credits per unit; null where nothing was traded or asked.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "MarketRate")]
pub struct RateBody {
    /// The Cargo.
    workload_slug: String,
    /// Its name for people.
    name: String,
    /// What a price is the price of.
    unit: PriceUnit,
    /// The lowest ask, busy or not.
    best_ask: Option<MicroCredits>,
    /// The lowest ask of an Island with a free slot.
    best_free_ask: Option<MicroCredits>,
    /// What the last job cost.
    last_price: Option<MicroCredits>,
    /// The mean, weighted by units.
    avg_price: Option<MicroCredits>,
    /// The price at or below which at least half of the jobs cleared.
    median_price: Option<MicroCredits>,
    /// The lowest.
    min_price: Option<MicroCredits>,
    /// The highest.
    max_price: Option<MicroCredits>,
    /// How many jobs cleared.
    num_trades: i64,
    /// How many Islands offer it now.
    num_hosts: usize,
    /// How many jobs wait now.
    num_waiting: usize,
    /// How many jobs the Islands can run at once.
    slots: u64,
    /// How many more they could run now.
    free_slots: u64,
    /// The window these statistics are about.
    window: WindowName,
    /// When this was so.
    timestamp: Timestamp,
}

/// Rates of a Cargo, in full.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "MarketRateDetail")]
pub struct DetailBody {
    #[serde(flatten)]
    rate: RateBody,
    /// The statistics of each window: `1h`, `24h`, `7d`, `30d`.
    windows: BTreeMap<&'static str, WindowBody>,
    /// What to bid to be served at once; null if nothing is known.
    suggested_bid: Option<SuggestedBid>,
    /// What an Island would do well to ask; null if nothing is known.
    suggested_ask: Option<SuggestedAsk>,
    /// Jobs that no Island took in the last 24 hours.
    unserved_24h: UnservedBody,
}

/// What cleared in a window. Prices are credits per unit.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "MarketWindow")]
pub struct WindowBody {
    /// The mean, weighted by units.
    avg_price: Option<MicroCredits>,
    /// The price at or below which at least half of the jobs cleared.
    median_price: Option<MicroCredits>,
    /// The lowest.
    min_price: Option<MicroCredits>,
    /// The highest.
    max_price: Option<MicroCredits>,
    /// How many jobs.
    num_trades: i64,
    /// How many units.
    units: Units,
}

/// A bid that is suggested.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SuggestedBid {
    /// Credits per unit.
    price: MicroCredits,
    /// Why.
    reason: BidWhy,
}

/// An ask that is suggested.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SuggestedAsk {
    /// Credits per unit.
    price: MicroCredits,
    /// Why.
    reason: AskWhy,
}

/// Jobs that no Island took.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Unserved")]
pub struct UnservedBody {
    /// How many.
    num_jobs: i64,
    /// The median of what they bid, in credits per unit.
    median_bid: Option<MicroCredits>,
    /// The most one of them bid, in credits per unit.
    max_bid: Option<MicroCredits>,
}

/// How the price of a Cargo moved.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "MarketHistory")]
pub struct HistoryBody {
    /// One row for each step, oldest first.
    pub data: Vec<PointBody>,
    /// How far back it goes.
    pub window: WindowName,
    /// The length of a step, in seconds.
    pub step_seconds: i64,
}

/// A step of a history. Prices are credits per unit; null where nothing was traded.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "MarketPoint")]
pub struct PointBody {
    /// The Cargo.
    workload_slug: String,
    /// When the step begins.
    timestamp: Timestamp,
    /// The mean, weighted by units.
    avg_price: Option<MicroCredits>,
    /// The last.
    last_price: Option<MicroCredits>,
    /// The lowest.
    min_price: Option<MicroCredits>,
    /// The highest.
    max_price: Option<MicroCredits>,
    /// How many jobs cleared.
    num_trades: i64,
    /// The lowest ask of an Island with a free slot, when it was last noted in this step.
    best_free_ask: Option<MicroCredits>,
    /// How many Islands offered it then.
    num_hosts: Option<i64>,
    /// How many jobs waited then.
    num_waiting: Option<i64>,
}

/// Asks and waiting bids of a Cargo, by price. Whose they are is not told.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Book")]
pub struct BookBody {
    /// The Cargo.
    pub workload_slug: String,
    /// What a price is the price of.
    pub unit: PriceUnit,
    /// When this was so.
    pub timestamp: Timestamp,
    /// The lowest ask of an Island with a free slot, in credits per unit.
    pub best_ask: Option<MicroCredits>,
    /// The lowest ask, busy or not, in credits per unit.
    pub lowest_ask: Option<MicroCredits>,
    /// How many Islands offer it.
    pub num_hosts: u64,
    /// How many jobs they can run at once.
    pub slots: u64,
    /// How many more they could run now.
    pub free_slots: u64,
    /// How many jobs wait.
    pub num_waiting: u64,
    /// The asks, lowest first; at most 200 prices.
    pub asks: Vec<AskLevel>,
    /// The bids of jobs that wait, highest first; at most 200 prices.
    pub bids: Vec<BidLevel>,
}

/// Islands that ask the same.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AskLevel {
    /// Credits per unit.
    pub price: MicroCredits,
    /// How many more jobs they could run now.
    pub free_slots: u64,
    /// How many they can run at once.
    pub slots: u64,
    /// How many Islands.
    pub num_hosts: usize,
}

/// Jobs that bid the same and wait.
#[derive(Debug, Serialize, JsonSchema)]
pub struct BidLevel {
    /// Credits per unit.
    pub price: MicroCredits,
    /// How many jobs.
    pub num_waiting: usize,
}

/// A job that cleared.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Trade {
    /// When.
    timestamp: Timestamp,
    /// At what price, in credits per unit.
    price: MicroCredits,
    /// For how many units.
    units: Units,
    /// What a unit is.
    unit: PriceUnit,
}

/// What an Island of yours asks for a Cargo.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "AskingPrice")]
pub struct AskingBody {
    /// The Island.
    host_id: IslandId,
    /// The Cargo.
    workload: String,
    /// What the ask is the price of.
    unit: PriceUnit,
    /// What is in force, in credits per unit; null if the Island does not offer the Cargo any more.
    ask: Option<MicroCredits>,
    /// What its agent says, in credits per unit.
    agent_ask: Option<MicroCredits>,
    /// Whether the ask in force was set here, in place of the agent's.
    set_here: bool,
    /// When it was.
    set_at: Option<Timestamp>,
    /// Its place among all asks; null while the Island is not in the market.
    rank: Option<RankBody>,
}

/// A place among the asks.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Rank")]
pub struct RankBody {
    /// 1 is the cheapest; those that ask the same share a place.
    place: usize,
    /// Of how many.
    of: usize,
    /// The next lower ask of another Island, in credits per unit.
    next_cheaper: Option<MicroCredits>,
}

/// An ask to be set.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read by the OpenAPI document only; the handler reads the fields one by one")]
pub struct NewAsk {
    /// Which of your Islands.
    host_id: IslandId,
    /// For which Cargo: its slug.
    workload: String,
    /// Credits for one unit. Needed, unless `asking_price` is given.
    #[schemars(with = "Option<Ask>")]
    ask: Option<Value>,
    /// The same as `ask`.
    #[schemars(with = "Option<Ask>")]
    asking_price: Option<Value>,
    /// That a change by more than a factor of ten is meant.
    confirm: Option<bool>,
}

/// What a job would cost now. It reserves nothing and promises nothing: asks change.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Quote")]
pub struct QuoteBody {
    /// The Cargo.
    workload_slug: String,
    /// What an ask is the price of.
    unit: PriceUnit,
    /// The lowest ask of an Island that could run it, busy or not, within the bid or not, in credits per unit.
    best_ask: Option<MicroCredits>,
    /// The ask it would start at, in credits per unit; null if none is within the bid.
    price: Option<MicroCredits>,
    /// The most the whole job may cost, in credits.
    bid_price: MicroCredits,
    /// The same for each unit, which is what asks are compared with.
    unit_bid: MicroCredits,
    /// Where the bid comes from.
    bid_source: BidOrigin,
    /// How much would have to be bid for the whole job, in credits, if the best ask is above the bid.
    bid_needed: Option<MicroCredits>,
    /// How many units it can take at most.
    max_units: Units,
    /// What would be held, in credits: it cannot cost more.
    worst_case: MicroCredits,
    /// What it would cost if it took as much as jobs lately took, in credits; null if that cannot be told.
    expected: Option<MicroCredits>,
    /// How long it would wait, in seconds: 0 if an Island is free; null if that cannot be told.
    wait_secs: Option<i64>,
}

impl RateBody {
    /// The rates of a Cargo.
    #[must_use]
    pub fn new(market: &Market, rate: &Rate, now: Timestamp) -> Self {
        Self {
            workload_slug: rate.slug.clone(),
            name: rate.name.clone(),
            unit: PriceUnit(market.workload.unit.name()),
            best_ask: rate.best_ask,
            best_free_ask: rate.book.best_ask,
            last_price: rate.last,
            avg_price: rate.day.mean(),
            median_price: rate.day.median,
            min_price: rate.day.lowest,
            max_price: rate.day.highest,
            num_trades: rate.day.trades,
            num_hosts: rate.islands,
            num_waiting: rate.waiting,
            slots: rate.book.slots,
            free_slots: rate.book.free,
            window: WindowName(Span::Day.name()),
            timestamp: now,
        }
    }
}

impl DetailBody {
    /// The rates of a Cargo, in full.
    #[must_use]
    pub fn new(market: &Market, detail: &Detail, now: Timestamp) -> Self {
        let windows = Span::ALL.iter().zip(&detail.windows);
        Self {
            rate: RateBody::new(market, &detail.rate, now),
            windows: windows.map(|(span, window)| (span.name(), WindowBody::new(window))).collect(),
            suggested_bid: detail.suggested_bid.map(|(price, why)| SuggestedBid {
                price,
                reason: BidWhy(match why {
                    BidReason::Plenty => "plenty_free",
                    BidReason::Few => "best_ask",
                    BidReason::Recent => "nine_of_ten_cleared",
                    BidReason::Busy => "lowest_busy_ask",
                }),
            }),
            suggested_ask: detail.suggested_ask.map(|(price, why)| SuggestedAsk {
                price,
                reason: AskWhy(match why {
                    AskReason::Median => "median_cleared",
                    AskReason::Undercut => "lowest_free_ask",
                    AskReason::Unserved => "median_unserved",
                    AskReason::Demand => "unserved_only",
                }),
            }),
            unserved_24h: UnservedBody {
                num_jobs: detail.unserved.count(),
                median_bid: detail.unserved.median(),
                max_bid: detail.unserved.highest(),
            },
        }
    }
}

impl WindowBody {
    fn new(window: &Window) -> Self {
        Self {
            avg_price: window.mean(),
            median_price: window.median,
            min_price: window.lowest,
            max_price: window.highest,
            num_trades: window.trades,
            units: Units::from_parts(window.units),
        }
    }
}

impl PointBody {
    /// A step of the history of a Cargo.
    #[must_use]
    pub fn new(slug: &str, point: &Point) -> Self {
        let (window, noted) = (&point.window, point.noted.as_ref());
        Self {
            workload_slug: slug.to_owned(),
            timestamp: point.at,
            avg_price: window.mean(),
            last_price: point.last,
            min_price: window.lowest,
            max_price: window.highest,
            num_trades: window.trades,
            best_free_ask: noted.and_then(|noted| noted.best_ask),
            num_hosts: noted.map(|noted| noted.islands),
            num_waiting: noted.map(|noted| noted.waiting),
        }
    }
}

impl Trade {
    /// A job that cleared.
    #[must_use]
    pub fn new(market: &Market, sale: &Sale) -> Self {
        let unit = PriceUnit(market.workload.unit.name());
        Self { timestamp: sale.at, price: sale.price, units: sale.units, unit }
    }
}

impl AskingBody {
    /// What an Island asks for a Cargo.
    #[must_use]
    pub fn new(market: &Market, asking: &Asking) -> Self {
        Self {
            host_id: asking.island,
            workload: market.workload.slug.clone(),
            unit: PriceUnit(market.workload.unit.name()),
            ask: asking.ask,
            agent_ask: asking.agent,
            set_here: asking.set_at.is_some(),
            set_at: asking.set_at,
            rank: asking.rank.map(|rank| RankBody {
                place: rank.place,
                of: rank.of,
                next_cheaper: rank.cheaper,
            }),
        }
    }
}

impl QuoteBody {
    /// A quote as programs read it.
    #[must_use]
    pub fn new(market: &Market, quote: &Quote) -> Self {
        Self {
            workload_slug: market.workload.slug.clone(),
            unit: PriceUnit(market.workload.unit.name()),
            best_ask: quote.best_ask,
            price: quote.price,
            bid_price: quote.bid,
            unit_bid: quote.unit_bid,
            bid_source: BidOrigin(quote.source.name()),
            bid_needed: quote.bid_needed,
            max_units: quote.units,
            worst_case: quote.worst_case,
            expected: quote.expected,
            wait_secs: quote.wait_secs,
        }
    }
}
