//! `/islands`: the user's own machines and what they earned.

use askama::Template;

use crate::chart::Plot;
use crate::exchange::WindowLink;
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
    /// What was earned over time; nothing before there was an Island.
    pub work: Option<Work>,
    /// What the Islands ask.
    pub asks: Vec<AskRow>,
    /// A change that has to be confirmed.
    pub confirm: Option<ConfirmAsk>,
    /// The command that pairs a machine.
    pub pair_command: String,
}

/// What was done and earned in a window.
#[derive(Clone, Debug)]
pub struct Work {
    /// How far back to look.
    pub windows: Vec<WindowLink>,
    /// The chosen one: `24 hours`.
    pub window: String,
    /// Earnings over time, if there were any.
    pub chart: Option<Plot>,
    /// `37.80`
    pub earned: String,
    /// Jobs that were completed.
    pub jobs: String,
    /// Of those that ended: `98.5 %`.
    pub success: Option<String>,
    /// Of the time of all Islands: `99.1 %`.
    pub online: Option<String>,
}

/// An Island's ask for a Cargo, where its owner changes it.
#[derive(Clone, Debug)]
pub struct AskRow {
    /// Tells the fields of the page apart.
    pub key: String,
    /// Where its form leads: `/islands/isl_1/asks/llm-chat`.
    pub action: String,
    /// Name of the Cargo.
    pub cargo: String,
    /// Its page.
    pub slug: String,
    /// Name of the Island.
    pub island: String,
    /// What is in force: `2.00`.
    pub price: String,
    /// The same for the field: `2`.
    pub value: String,
    /// `request`
    pub unit: String,
    /// What the agent says, if the owner set another here.
    pub agent: Option<String>,
    /// Its place in the book, as a sentence.
    pub rank: String,
    /// What went unserved, as a sentence.
    pub unserved: Option<String>,
    /// What to ask, and why.
    pub suggested: Option<(String, String)>,
}

/// A change of an ask by more than a factor of ten.
#[derive(Clone, Debug)]
pub struct ConfirmAsk {
    /// Where its form leads.
    pub action: String,
    /// Name of the Cargo.
    pub cargo: String,
    /// Name of the Island.
    pub island: String,
    /// `1.50`
    pub old: String,
    /// `150.00`
    pub new: String,
    /// For the field.
    pub value: String,
    /// `request`
    pub unit: String,
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
    /// Jobs it runs now.
    pub running: String,
    /// Since when it is on or off line.
    pub since: Option<When>,
    /// `82`
    pub karma: String,
    /// What that is made of.
    pub karma_parts: String,
    /// Of its last attempts: `97 %`.
    pub success: Option<String>,
    /// What it earned today: `3.40`.
    pub today: String,
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
