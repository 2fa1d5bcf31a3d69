//! `/exchange` and `/exchange/{slug}`: what each Cargo costs, and why.

use askama::Template;

use crate::chart::{Plot, Spark};
use crate::layout::{Layout, When};

/// The Compute Exchange.
#[derive(Clone, Debug, Template)]
#[template(path = "exchange.html")]
pub struct Exchange {
    /// The frame.
    pub layout: Layout,
    /// One row for each Cargo.
    pub rows: Vec<ExchangeRow>,
    /// Fee of the network: `10`.
    pub fee_percent: String,
}

/// A Cargo on the Exchange.
#[derive(Clone, Debug)]
pub struct ExchangeRow {
    /// For its page and for live updates.
    pub slug: String,
    /// As shown.
    pub name: String,
    /// What an ask is for: `request`.
    pub unit: String,
    /// Lowest ask, if any Island is online.
    pub best_ask: Option<String>,
    /// Price of the last job, if there was one.
    pub last: Option<String>,
    /// Mean of 24 hours, if there were jobs.
    pub mean: Option<String>,
    /// From the price 24 hours before to the last: `+12.5 %`.
    pub change: Option<String>,
    /// Jobs of 24 hours.
    pub jobs: String,
    /// Islands online.
    pub islands: String,
    /// Jobs waiting.
    pub waiting: String,
    /// The mean of each of 24 hours.
    pub spark: Spark,
}

/// One Cargo.
#[derive(Clone, Debug, Template)]
#[template(path = "cargo.html")]
pub struct Cargo {
    /// The frame.
    pub layout: Layout,
    /// For live updates.
    pub slug: String,
    /// As shown.
    pub name: String,
    /// What it does.
    pub description: String,
    /// What a price is for: `request`.
    pub unit: String,
    /// How it stands, in numbers.
    pub stats: Vec<Stat>,
    /// How far back to look.
    pub windows: Vec<WindowLink>,
    /// The chosen one: `24 hours`.
    pub window: String,
    /// Prices over time, if anything was traded.
    pub price: Option<Plot>,
    /// The same as a table.
    pub points: Vec<PointRow>,
    /// What to bid.
    pub bid: Option<Suggestion>,
    /// What to ask.
    pub ask: Option<Suggestion>,
    /// What went unserved, as a sentence.
    pub unserved: Option<String>,
    /// The book, if there is anything in it.
    pub depth: Option<Plot>,
    /// Asks by price.
    pub levels: Vec<LevelRow>,
    /// Waiting bids by price.
    pub bids: Vec<BidRow>,
    /// What is not in those tables, as a sentence.
    pub more: Option<String>,
    /// The newest trades.
    pub trades: Vec<TradeRow>,
    /// Fee of the network: `10`.
    pub fee_percent: String,
}

/// A number and what it is.
#[derive(Clone, Debug)]
pub struct Stat {
    /// `Best free ask`
    pub label: &'static str,
    /// `1.50`; what is said when there is none.
    pub value: String,
    /// There is none.
    pub none: bool,
    /// A word beside it.
    pub note: String,
}

/// A window to choose.
#[derive(Clone, Debug)]
pub struct WindowLink {
    /// `?window=24h`
    pub href: String,
    /// `24 hours`
    pub label: String,
    /// It is the chosen one.
    pub current: bool,
}

/// One step in which something was traded.
#[derive(Clone, Debug)]
pub struct PointRow {
    /// When.
    pub when: String,
    /// `2.11`
    pub mean: String,
    /// `1.50–3.25`
    pub range: String,
    /// `2.00`
    pub last: String,
    /// `14`
    pub jobs: String,
}

/// A suggested price.
#[derive(Clone, Debug)]
pub struct Suggestion {
    /// `2.00`
    pub price: String,
    /// Why, as a sentence.
    pub why: String,
}

/// All asks at one price.
#[derive(Clone, Debug)]
pub struct LevelRow {
    /// `1.50`
    pub price: String,
    /// Free slots.
    pub free: String,
    /// All slots.
    pub slots: String,
    /// Islands.
    pub islands: String,
}

/// All waiting jobs with one bid.
#[derive(Clone, Debug)]
pub struct BidRow {
    /// `1.20`
    pub price: String,
    /// How many.
    pub jobs: String,
}

/// One trade.
#[derive(Clone, Debug)]
pub struct TradeRow {
    /// When it was paid.
    pub when: When,
    /// `2.00`
    pub price: String,
    /// `1`, `0.734`
    pub units: String,
}
