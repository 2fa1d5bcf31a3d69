//! `/credits` and the page that waits for a payment to settle.

use askama::Template;

use crate::layout::{Badge, Layout, When};

/// Balance, packages, history. The balance itself is in [`Layout::user`].
#[derive(Clone, Debug, Template)]
#[template(path = "credits.html")]
pub struct Credits {
    /// The frame.
    pub layout: Layout,
    /// What can be bought.
    pub packages: Vec<Package>,
    /// Purchases, newest first.
    pub purchases: Vec<PurchaseRow>,
    /// The statement, newest first.
    pub activity: Vec<ActivityRow>,
    /// Address of the next, older part of the statement, if there is one.
    pub older: Option<String>,
    /// The identity is not verified yet: buying works, spending does not.
    pub unverified: bool,
}

/// A package as a card.
#[derive(Clone, Debug)]
pub struct Package {
    /// For the form.
    pub slug: String,
    /// As shown.
    pub name: String,
    /// `$4.99`
    pub price: String,
    /// `500`; plain or grouped digits.
    pub credits: String,
    /// `10%`, if it has a bonus.
    pub bonus: Option<String>,
    /// Balance after buying: `994.00`.
    pub projected: String,
    /// Repeating the form with the same token buys once.
    pub attempt: String,
}

/// A purchase.
#[derive(Clone, Debug)]
pub struct PurchaseRow {
    /// `pur_…`, to follow its state.
    pub id: String,
    /// When.
    pub date: When,
    /// Name of the package.
    pub package: String,
    /// `500`
    pub credits: String,
    /// `$4.99`
    pub amount: String,
    /// What to say besides: `pending`, `failed`; nothing when all is well.
    pub status: Option<Badge>,
}

/// A line of the statement.
#[derive(Clone, Debug)]
pub struct ActivityRow {
    /// When.
    pub date: When,
    /// `Chat · Palma`
    pub what: String,
    /// With its sign: `+500.00`, `−2.00`.
    pub amount: String,
    /// It added credits.
    pub incoming: bool,
    /// Balance after it.
    pub balance: String,
}

/// `/credits/return`: back from the payment page.
#[derive(Clone, Debug, Template)]
#[template(path = "credits_return.html")]
pub struct CreditsReturn {
    /// The frame.
    pub layout: Layout,
    /// `pur_…`, to follow its state.
    pub purchase_id: String,
    /// Name of the package.
    pub package: String,
    /// `500`
    pub credits: String,
    /// `$4.99`
    pub amount: String,
    /// How it stands.
    pub state: ReturnState,
}

/// How a payment stands when the buyer comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReturnState {
    /// Not settled yet.
    Waiting,
    /// The credits are there.
    Done,
    /// It will not settle.
    Failed,
    /// The buyer came back without paying.
    Cancelled,
}
