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
    /// Payouts, where there are any.
    pub payouts: Option<Payouts>,
    /// A token that was just made, shown this once.
    pub new_token: Option<NewToken>,
    /// Fee of the network: `10`.
    pub fee_percent: String,
}

/// What can be paid out, where to, and what was.
#[derive(Clone, Debug)]
pub struct Payouts {
    /// Credits that can be paid out: `3,100.00`.
    pub available: String,
    /// Value of them: `$31.00`.
    pub available_usd: String,
    /// Credits too young for that: `12.00`.
    pub pending: String,
    /// Days until they are not.
    pub hold_days: String,
    /// Paid out so far: `5,000.00`.
    pub paid: String,
    /// The fewest credits that are paid out: `2,500.00`.
    pub minimum: String,
    /// How the account stands.
    pub account: PayoutAccount,
    /// Something can be paid out now.
    pub can_pay: bool,
    /// The most that can be asked for: `3100`.
    pub most: String,
    /// The fewest: `2500`.
    pub least: String,
    /// Tells one click from another.
    pub attempt: String,
    /// Schedules to choose from; none before there is an account.
    pub schedules: Vec<ScheduleOption>,
    /// Earlier ones, newest first.
    pub history: Vec<PayoutRow>,
}

/// How the account that is paid to stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayoutAccount {
    /// There is none.
    None,
    /// Something is missing.
    Unfinished {
        /// What.
        missing: String,
    },
    /// All is there.
    Ready,
}

/// A schedule to choose.
#[derive(Clone, Debug)]
pub struct ScheduleOption {
    /// For the form.
    pub value: String,
    /// For people.
    pub label: String,
    /// Whether it is chosen.
    pub selected: bool,
}

/// One payout.
#[derive(Clone, Debug)]
pub struct PayoutRow {
    /// Which one.
    pub id: String,
    /// When it was asked for.
    pub date: When,
    /// `3,100.00`
    pub credits: String,
    /// `$31.00`
    pub amount: String,
    /// How it stands.
    pub status: Badge,
    /// What went wrong.
    pub error: Option<String>,
    /// It can still be called off.
    pub can_cancel: bool,
}

/// An Island.
#[derive(Clone, Debug)]
pub struct IslandRow {
    /// For the forms that suspend it.
    pub id: String,
    /// Its owner wants no jobs for it.
    pub suspended: bool,
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
