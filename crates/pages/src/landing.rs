//! `/` for people who are not signed in.

use askama::Template;

use crate::layout::Layout;

/// What it is, how it works, what it costs right now.
#[derive(Clone, Debug, Template)]
#[template(path = "landing.html")]
pub struct Landing {
    /// The frame.
    pub layout: Layout,
    /// Current prices, best known Cargos first.
    pub rates: Vec<Rate>,
}

/// The current price of one Cargo.
#[derive(Clone, Debug)]
pub struct Rate {
    /// Name of the Cargo.
    pub name: String,
    /// Lowest ask, if any Island is online: `2.00`.
    pub best_ask: Option<String>,
    /// What the ask is for: `request`, `image`, `1k tokens`.
    pub unit: String,
    /// Number of Islands online.
    pub islands_online: String,
}
