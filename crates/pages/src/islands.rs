//! `/islands`: the user's own machines and what they earned.

use askama::Template;

use crate::layout::{Badge, Layout, When};

/// The user's Islands.
#[derive(Clone, Debug, Template)]
#[template(path = "islands.html")]
pub struct Islands {
    /// The frame.
    pub layout: Layout,
    /// The Islands.
    pub islands: Vec<IslandRow>,
    /// Tokens that Islands connect with.
    pub tokens: Vec<TokenRow>,
    /// Earnings that can be moved: `37.80`.
    pub earnings: String,
    /// Approximate value of them: `≈ $0.38`.
    pub earnings_usd: String,
    /// There is something to move.
    pub can_move: bool,
    /// A token that was just made, shown this once.
    pub new_token: Option<NewToken>,
    /// Fee of the network: `10`.
    pub fee_percent: String,
}

/// An Island.
#[derive(Clone, Debug)]
pub struct IslandRow {
    /// Its name.
    pub name: String,
    /// `online`, `offline`, …
    pub status: Badge,
    /// What it asks for each Cargo.
    pub asks: Vec<AskView>,
    /// Jobs it runs now.
    pub running: String,
}

/// An Island's price for a Cargo.
#[derive(Clone, Debug)]
pub struct AskView {
    /// Name of the Cargo.
    pub cargo: String,
    /// `2.00`
    pub price: String,
    /// `request`
    pub unit: String,
}

/// A token that Islands connect with.
#[derive(Clone, Debug)]
pub struct TokenRow {
    /// For the form that revokes it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its first letters.
    pub prefix: String,
    /// When it was made.
    pub created: When,
    /// When an Island last connected with it.
    pub last_used: Option<When>,
}

/// A token that was just made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Its name.
    pub name: String,
    /// The token itself.
    pub token: String,
    /// The command that runs an Island with it.
    pub command: String,
}
