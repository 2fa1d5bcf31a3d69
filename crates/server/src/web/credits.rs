//! `/credits`: what there is, what can be bought, what was bought and spent.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use ledger::TransferKind;
use ledger::statement::{Line, StatementError};
use pages::credits::{self as view, ActivityRow, Credits, CreditsReturn, PurchaseRow, ReturnState};
use pages::{Badge, Nav, Tone};
use types::id::PurchaseId;
use types::money::MicroCredits;

use super::forms::Posted;
use super::frame::{Said, frame, when};
use super::session::{Named, SignedIn, on_this_host};
use super::statement::{Wanted, word};
use super::{Page, to_the_end, topups};
use crate::accounts::User;
use crate::api::extract::{Address, id};
use crate::api::receipts;
use crate::app::App;
use crate::config::Package;
use crate::error::ApiError;
use crate::jobs::look::{Charged, charged_by};
use crate::limits::Errand;
use crate::purchases::{self, Purchase, PurchaseError, State as PurchaseState};
use crate::{credits, identity, secrets};

/// Purchases shown.
const PURCHASES: u32 = 50;
/// Lines of the statement on one page.
const LINES: u32 = 25;

/// `GET /credits`; with `?before=` an older part of the statement.
///
/// # Errors
/// 422, 500, 503.
pub async fn show(
    State(app): State<Arc<App>>,
    SignedIn(session): SignedIn,
    Query(query): Query<HashMap<String, String>>,
    Said(flash): Said,
) -> Result<Page<Credits>, ApiError> {
    let user = &session.user;
    let from = query.get("before").map(|text| text.parse().map_err(StatementError::from)).transpose()?;
    let wanted = Wanted::read(&query)?;
    let balance = credits::balance(&app, user.wallet).await?;
    let mut layout = frame(&app, Some(&session), "Credits", Nav::Credits).await?;
    layout.flash = flash;
    let page = credits::statement(&app, user.wallet, wanted.filter, from, LINES).await?;
    let charged = charged_by(&app, &page.lines).await?;
    let activity = page.lines.iter().map(|line| activity_row(line, charged.get(&line.transfer))).collect();
    let history = purchases::history(&app, user.id, PURCHASES).await?;
    Ok(Page(Credits {
        layout,
        packages: packages(&app, balance.available()),
        purchases: history.iter().map(purchase_row).collect(),
        activity,
        older: page.next.map(|cursor| format!("/credits?{}before={cursor}#activity", wanted.query(""))),
        filter: wanted.form(),
        unverified: !identity::state(&app, user.id).await?.may_spend(),
        debt: balance.debt.is_positive().then(|| balance.debt.display_grouped()),
        frozen: balance.frozen,
        contact: app.config.seller.email.clone(),
        forms: forms(&app, user).await?,
    }))
}

async fn forms(app: &App, user: &User) -> Result<view::Forms, ApiError> {
    let (thresholds, below) = topups::thresholds(app, user).await?;
    let attempt = secrets::new(&*app.random, "");
    Ok(view::Forms { auto: topups::form(app, user).await?, thresholds, below, attempt })
}

/// `POST /credits/buy`: on to the page that takes the money.
///
/// # Errors
/// 401, 403, 422, 429, 500, 503.
pub async fn buy(
    State(app): State<Arc<App>>,
    address: Address,
    Posted { session, form }: Posted,
) -> Result<Redirect, ApiError> {
    address.take(&app, Errand::Checkout)?;
    let (package, attempt) = (form.get("package").to_owned(), form.get("attempt").to_owned());
    let task = Arc::clone(&app);
    let bought =
        to_the_end(async move { purchases::buy(&task, &session.user, &package, &attempt).await }).await?;
    match bought {
        Ok(purchase) => {
            let checkout = purchase.checkout_url.ok_or(PurchaseError::NotFound)?;
            Ok(Redirect::to(on_this_host(&app, &checkout)))
        }
        Err(PurchaseError::Provider(error)) => {
            tracing::error!(%error, "a checkout could not be opened");
            Ok(Redirect::to("/credits?done=checkout_unavailable"))
        }
        Err(error) => Err(error.into()),
    }
}

/// `GET /credits/return?purchase=`: back from paying.
///
/// # Errors
/// 404, 409, 500, 503.
pub async fn back(
    State(app): State<Arc<App>>,
    SignedIn(session): SignedIn,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Response, ApiError> {
    let id: PurchaseId = id(query.get("purchase").map_or("", String::as_str), "purchase")?;
    let known = purchases::find(&app, session.user.id, id).await?;
    let task = Arc::clone(&app);
    let (purchase, told) = match to_the_end(async move { purchases::fulfil(&task, id, None).await }).await? {
        Ok(purchase) => (purchase, true),
        Err(PurchaseError::Provider(error)) => {
            // The webhook or the reconciler brings the credits; the page waits for them.
            tracing::warn!(%error, purchase = %id, "purchase {id} could not be read from the provider");
            (known, false)
        }
        Err(error) => return Err(error.into()),
    };
    let state = match (purchase.state, told) {
        (PurchaseState::Granted, _) => return Ok(Redirect::to("/credits?done=bought").into_response()),
        (PurchaseState::Created, true) | (PurchaseState::Expired, _) => ReturnState::Cancelled,
        (PurchaseState::Created | PurchaseState::Pending, _) => ReturnState::Waiting,
        (PurchaseState::Failed, _) => ReturnState::Failed,
    };
    let layout = frame(&app, Some(&session), "Payment", Nav::Credits).await?;
    Ok(Page(CreditsReturn {
        layout,
        purchase_id: purchase.id.to_string(),
        package: purchase.package_name,
        credits: purchase.credits.to_string(),
        amount: purchase.amount.to_string(),
        state,
    })
    .into_response())
}

/// `GET /credits/receipts/{purchase}.pdf`.
///
/// # Errors
/// 404, 500, 503.
pub async fn receipt(
    State(app): State<Arc<App>>,
    SignedIn(session): SignedIn,
    Named(file): Named<String>,
) -> Result<Response, ApiError> {
    let purchase = file.strip_suffix(".pdf").ok_or_else(|| ApiError::not_found("receipt"))?;
    receipts::file(&app, session.user.id, purchase).await
}

fn packages(app: &App, available: MicroCredits) -> Vec<view::Package> {
    let Some(first) = app.packages.first() else { return Vec::new() };
    let card = |package: &Package| view::Package {
        slug: package.slug.clone(),
        name: package.name.clone(),
        price: package.price.to_string(),
        credits: package.credits.to_string(),
        bonus: bonus(first, package).map(|percent| format!("{percent}%")),
        projected: projected(package, available).display_grouped(),
        attempt: secrets::new(&*app.random, ""),
    };
    app.packages.iter().map(card).collect()
}

fn projected(package: &Package, available: MicroCredits) -> MicroCredits {
    package.credits.micros().and_then(|credits| available.plus(credits)).unwrap_or(available)
}

/// How many percent more credits a cent buys in this package than in the first one, rounded down; nothing if none.
fn bonus(first: &Package, package: &Package) -> Option<i128> {
    let (credits, cents) = (i128::from(package.credits.get()), i128::from(package.price.get()));
    let (first_credits, first_cents) = (i128::from(first.credits.get()), i128::from(first.price.get()));
    let percent = (credits * first_cents * 100).checked_div(cents * first_credits)? - 100;
    (percent > 0).then_some(percent)
}

fn purchase_row(purchase: &Purchase) -> PurchaseRow {
    let status = match purchase.state {
        PurchaseState::Granted => match purchase.standing_name() {
            "disputed" => Some(Badge::new("disputed", Tone::Warn)),
            "lost" => Some(Badge::new("returned after a dispute", Tone::Plain)),
            "refunded" => Some(Badge::new("refunded", Tone::Plain)),
            "partly_refunded" => Some(Badge::new("partly refunded", Tone::Plain)),
            _ => None,
        },
        PurchaseState::Created | PurchaseState::Pending => Some(Badge::new("pending", Tone::Warn)),
        PurchaseState::Failed => Some(Badge::new("failed", Tone::Bad)),
        PurchaseState::Expired => Some(Badge::new("expired", Tone::Plain)),
    };
    PurchaseRow {
        id: purchase.id.to_string(),
        date: when(purchase.created_at),
        package: purchase.package_name.clone(),
        credits: purchase.credits.to_string(),
        amount: purchase.amount.to_string(),
        receipt: (purchase.state == PurchaseState::Granted)
            .then(|| format!("/credits/receipts/{}.pdf", purchase.id)),
        status,
    }
}

fn activity_row(line: &Line, charged: Option<&Charged>) -> ActivityRow {
    ActivityRow {
        date: when(line.at),
        what: charged.map_or_else(
            || what(line.kind, line.note.as_deref()),
            |charged| format!("{} · {}", charged.workload.as_deref().unwrap_or("Job"), charged.island),
        ),
        amount: signed(line.amount),
        incoming: line.amount.is_positive(),
        balance: line.balance.display_grouped(),
    }
}

fn signed(amount: MicroCredits) -> String {
    let text = amount.display_grouped();
    if amount.is_positive() { format!("+{text}") } else { text.replacen('-', "−", 1) }
}

/// What a line was, with its note.
fn what(kind: TransferKind, note: Option<&str>) -> String {
    let word = word(kind);
    match (kind, note.filter(|note| !note.is_empty())) {
        (TransferKind::Purchase, Some(note)) => format!("{word} {note}"),
        (_, Some(note)) => format!("{word} · {note}"),
        (_, None) => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use types::money::{Cents, Credits as Amount};

    use super::*;

    fn package(credits: i64, cents: i64) -> Package {
        let (slug, name) = (String::new(), String::new());
        Package { slug, name, credits: Amount::new(credits), price: Cents::new(cents) }
    }

    #[test]
    fn a_bonus_is_what_a_cent_buys_more() {
        let first = package(500, 499);
        let cases = [
            (package(500, 499), None),
            (package(1100, 999), Some(9)),
            (package(2800, 2499), Some(11)),
            (package(6000, 4999), Some(19)),
            (package(1000, 1000), None),
            (package(i64::MAX, i64::MAX), None),
        ];
        for (other, expected) in cases {
            assert_eq!(bonus(&first, &other), expected, "{other:?}");
        }
    }

    #[test]
    fn a_line_says_what_it_was() {
        assert_eq!(what(TransferKind::Job, None), "Job");
        assert_eq!(what(TransferKind::Purchase, Some("Starter")), "Bought Starter");
        assert_eq!(what(TransferKind::Grant, Some("hello")), "Granted by the operator · hello");
        assert_eq!(signed(MicroCredits::new(-2_000_000)), "−2.00");
        assert_eq!(signed(MicroCredits::new(500_000_000)), "+500.00");
    }
}
