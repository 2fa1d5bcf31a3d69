//! Refunds by the operator: money back through the provider, credits back through the ledger.
//!
//! What is wanted is written down first, then the provider is asked with a key made of that row, so that a crash in between loses
//! no refund and makes none twice. The credits follow the money: they are taken by [`super::reversals`], as for a refund
//! somebody made at the provider.

use db::DbError;
use types::id::PurchaseId;
use types::money::Cents;

use super::provider::{RefundRequest, Stage};
use super::{Purchase, PurchaseError, State, reversals};
use crate::app::App;
use crate::providers::ProviderError;

/// Longest note.
const MAX_NOTE: usize = 500;

/// For how long a refund is asked for. Providers forget keys after a day, and one asked for again then would be made twice; it
/// stays written down as wanted, and keeps the same money from being refunded otherwise.
const ASKED_FOR_MS: i64 = 20 * types::time::HOUR_MS;

/// A refund that is wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its row; the key the provider is asked with is made of it.
    pub id: i64,
    /// Of which purchase.
    pub purchase: PurchaseId,
    /// How much.
    pub amount: Cents,
    /// The provider's name for the payment.
    pub payment: String,
}

/// Why there is no refund.
#[derive(Debug, thiserror::Error)]
pub enum RefundError {
    /// Nothing was paid, or it is not known as what.
    #[error("this purchase was not paid")]
    NotPaid,
    /// More than is left.
    #[error("only {0} of this purchase can still be refunded")]
    TooMuch(Cents),
    /// Too long.
    #[error("the note must have at most 500 characters")]
    LongNote,
    /// Another provider took the money.
    #[error("this purchase was paid through {0}, which is not configured")]
    OtherProvider(String),
    /// The rest.
    #[error(transparent)]
    Purchase(#[from] PurchaseError),
}

impl From<DbError> for RefundError {
    fn from(error: DbError) -> Self {
        Self::Purchase(error.into())
    }
}

/// Refunds a purchase: `amount`, or all that is left.
///
/// # Errors
/// A [`RefundError`]; after a [`PurchaseError::Provider`] that may pass, the refund is still wanted and made later.
pub async fn refund(
    app: &App,
    id: PurchaseId,
    amount: Option<Cents>,
    note: &str,
) -> Result<Purchase, RefundError> {
    if note.chars().count() > MAX_NOTE {
        return Err(RefundError::LongNote);
    }
    let now = app.clock.now();
    let row: types::id::TransferId = app.ids.next(now);
    let (note, provider) = (note.to_owned(), app.payments.name());
    let wanted = app
        .db
        .tx("want_refund", async move |tx| {
            let purchase = super::store::purchase(tx, id).await?.ok_or(PurchaseError::NotFound)?;
            if purchase.provider != provider {
                return Err(RefundError::OtherProvider(purchase.provider));
            }
            let payment = purchase.payment.clone().filter(|_| purchase.state == State::Granted);
            let payment = payment.ok_or(RefundError::NotPaid)?;
            let waiting = reversals::store::wanted_cents(tx, id).await?;
            let gone = purchase.lot.standing.refunded.get() + purchase.lot.standing.lost.get() + waiting;
            let left = Cents::new((purchase.amount.get() - gone).max(0));
            let amount = amount.unwrap_or(left);
            if amount.get() <= 0 || amount > left {
                return Err(RefundError::TooMuch(left));
            }
            let wanted = Wanted { id: types::id::Id::get(row), purchase: id, amount, payment };
            reversals::store::want_refund(tx, &wanted, &note, now).await?;
            Ok(wanted)
        })
        .await?;
    make(app, &wanted).await?;
    let found = app.db.read("purchase", async move |tx| super::store::purchase(tx, id).await).await?;
    Ok(found.ok_or(PurchaseError::NotFound)?)
}

/// Asks the provider for a refund that is wanted, and takes the credits.
async fn make(app: &App, wanted: &Wanted) -> Result<(), PurchaseError> {
    let request = RefundRequest {
        key: format!("refund-{}", wanted.id),
        payment: wanted.payment.clone(),
        purchase: wanted.purchase,
        amount: wanted.amount,
    };
    let row = wanted.id;
    match app.payments.refund(&request).await {
        Ok(fact) => {
            let void = fact.stage == Stage::Void;
            let name = fact.id;
            app.db
                .tx("refund_made", async move |tx| {
                    let state = if void { "refused" } else { "done" };
                    reversals::store::refund_made(tx, row, state, Some(&name), None).await
                })
                .await?;
            reversals::sync(app, &wanted.payment, None).await.map(drop)
        }
        Err(error @ (ProviderError::Unavailable(_) | ProviderError::Strange(_))) => Err(error.into()),
        Err(error) => {
            let text = error.to_string();
            app.db
                .tx("refund_refused", async move |tx| {
                    reversals::store::refund_made(tx, row, "refused", None, Some(&text)).await
                })
                .await?;
            Err(error.into())
        }
    }
}

/// Makes refunds that are wanted and not made: a crash, or a provider that was away.
///
/// # Errors
/// A [`DbError`].
pub async fn make_once(app: &App) -> Result<(), DbError> {
    let now = app.clock.now();
    let (after, before) = (now.plus_millis(-ASKED_FOR_MS), now.plus_millis(-types::time::MINUTE_MS));
    let wanted = app
        .db
        .read("wanted_refunds", async move |tx| reversals::store::wanted(tx, after, before).await)
        .await?;
    for wanted in wanted {
        if let Err(error) = make(app, &wanted).await {
            tracing::warn!(%error, purchase = %wanted.purchase, "a refund is still to be made");
        }
    }
    Ok(())
}
