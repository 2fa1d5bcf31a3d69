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
    /// Which part of the statement is shown, and where all of it is.
    pub filter: StatementFilter,
    /// The identity is not verified yet: buying works, spending does not.
    pub unverified: bool,
    /// What is owed because a payment went back after its credits were spent: `700.00`.
    pub debt: Option<String>,
    /// The wallet is frozen: nothing can be spent until the operator has looked.
    pub frozen: bool,
    /// Whom to ask; may be empty.
    pub contact: String,
    /// Auto top-up, alerts, promo codes.
    pub forms: Forms,
}

/// The forms beside buying.
#[derive(Clone, Debug, Default)]
pub struct Forms {
    /// Auto top-up.
    pub auto: AutoTopUp,
    /// The amounts below which one is told; empty where there is none.
    pub thresholds: Vec<String>,
    /// Fewer credits are available than one of them.
    pub below: bool,
    /// Repeating the form of a promo code with the same token redeems once.
    pub attempt: String,
}

/// The form of auto top-up.
#[derive(Clone, Debug, Default)]
pub struct AutoTopUp {
    /// It is switched on.
    pub enabled: bool,
    /// It does not buy until something was done.
    pub paused: bool,
    /// Why it did not buy, as a sentence.
    pub problem: Option<String>,
    /// Where to do what the bank wants.
    pub confirm_url: Option<String>,
    /// `100`, or nothing.
    pub threshold: String,
    /// `20.00`, or nothing.
    pub monthly_max: String,
    /// What it may buy.
    pub packages: Vec<Choice>,
    /// `$4.99`: what it has charged this month.
    pub charged: String,
}

/// A choice of a form.
#[derive(Clone, Debug)]
pub struct Choice {
    /// For the form.
    pub value: String,
    /// As shown.
    pub label: String,
    /// It is chosen.
    pub selected: bool,
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
    /// Address of its receipt, once it is paid.
    pub receipt: Option<String>,
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

/// The form above the statement, and links to files of what it shows.
#[derive(Clone, Debug)]
pub struct StatementFilter {
    /// What lines may be for.
    pub kinds: Vec<KindOption>,
    /// The first day: `2026-11-01`, or nothing.
    pub from: String,
    /// The last day, or nothing.
    pub until: String,
    /// Not everything is shown.
    pub active: bool,
    /// The last day is before the first.
    pub backwards: bool,
    /// Address of the file for spreadsheets.
    pub csv: String,
    /// Address of the file for programs.
    pub json: String,
}

/// A choice of the form above the statement.
#[derive(Clone, Debug)]
pub struct KindOption {
    /// For the form: `job`.
    pub value: String,
    /// As shown: `Job`.
    pub label: String,
    /// It is chosen.
    pub selected: bool,
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
