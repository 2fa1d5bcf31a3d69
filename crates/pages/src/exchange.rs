//! `/exchange`: what each Cargo costs, and why.

use askama::Template;

use crate::layout::Layout;

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
    /// For live updates.
    pub slug: String,
    /// As shown.
    pub name: String,
    /// What an ask is for: `request`.
    pub unit: String,
    /// Lowest ask, if any Island is online.
    pub best_ask: Option<String>,
    /// Price of the last job, if there was one.
    pub last: Option<String>,
    /// The last 24 hours, if there were jobs.
    pub day: Option<Day>,
    /// Islands online.
    pub islands: String,
    /// Jobs waiting.
    pub waiting: String,
}

/// Prices of the last 24 hours.
#[derive(Clone, Debug)]
pub struct Day {
    /// Lowest.
    pub low: String,
    /// Highest.
    pub high: String,
    /// Average.
    pub average: String,
}
