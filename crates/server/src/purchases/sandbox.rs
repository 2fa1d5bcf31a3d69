//! The sandbox payment provider: a checkout page of our own that can succeed, decline, succeed later, or be abandoned,
//! with a memory of its own and webhooks, as a real provider has. It moves no money and says so.

use std::sync::Arc;

use db::{Db, DbError};
use types::money::Cents;
use types::rng::Random;
use types::time::{Clock, SECOND_MS, Timestamp};

use super::provider::{
    Charged, Checkout, CheckoutRequest, CheckoutState, Fact, FactKind, Payment, PaymentProvider,
    PaymentState, Recent, RecentCheckout, RecentPayment, RefundRequest, SavedCharge, Stage,
};
use crate::mail::BoxFuture;
use crate::providers::ProviderError;
use crate::providers::sandbox::{Event, queue, store};
use crate::secrets;

/// How long a payment that "settles later" takes.
pub const SETTLES_AFTER_MS: i64 = 10 * SECOND_MS;

/// A checkout, as the sandbox remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxCheckout {
    /// Its id.
    pub id: String,
    /// Our purchase.
    pub purchase_ref: String,
    /// The line on the page.
    pub description: String,
    /// How much.
    pub amount: Cents,
    /// In what.
    pub currency: String,
    /// Where to after paying.
    pub return_url: String,
    /// Where to after giving up.
    pub cancel_url: String,
    /// `open`, `complete`, `expired`.
    pub status: String,
    /// `unpaid`, `processing`, `paid`, `failed`.
    pub payment_status: String,
}

/// What the person at the sandbox checkout chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The card works.
    Pay,
    /// The card is declined; the page lets one try again.
    Decline,
    /// The payment arrives later.
    Later,
    /// No, thanks.
    Abandon,
}

/// The sandbox.
#[derive(Debug)]
pub struct Sandbox {
    /// Where it remembers.
    pub db: Db,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// For ids.
    pub random: Arc<dyn Random>,
    /// Where its page is.
    pub public_url: String,
}

impl PaymentProvider for Sandbox {
    fn name(&self) -> &'static str {
        "sandbox"
    }

    fn open<'a>(&'a self, request: &'a CheckoutRequest) -> BoxFuture<'a, Result<Checkout, ProviderError>> {
        Box::pin(async move {
            let checkout = SandboxCheckout {
                id: secrets::new(&*self.random, "cs_sandbox_"),
                purchase_ref: request.purchase.clone(),
                description: request.description.clone(),
                amount: request.amount,
                currency: request.currency.clone(),
                return_url: request.return_url.clone(),
                cancel_url: request.cancel_url.clone(),
                status: "open".to_owned(),
                payment_status: "unpaid".to_owned(),
            };
            let customer = format!("cus_sandbox_{}", request.buyer.user);
            let session = self.insert(checkout, request.purchase.clone(), customer.clone()).await?;
            let url = format!("{}/sandbox/checkout/{session}", self.public_url);
            Ok(Checkout { session, url, customer: Some(customer) })
        })
    }

    fn read<'a>(&'a self, session: &'a str) -> BoxFuture<'a, Result<CheckoutState, ProviderError>> {
        Box::pin(async move {
            let id = session.to_owned();
            let found = self.db.read("sandbox_read", async move |tx| store::checkout(tx, &id).await).await;
            let checkout =
                found.map_err(unavailable)?.ok_or_else(|| ProviderError::NotFound(session.to_owned()))?;
            let payment = match (checkout.status.as_str(), checkout.payment_status.as_str()) {
                (_, "paid") => Payment::Paid,
                ("complete", "processing") => Payment::Pending,
                ("complete", "failed") => Payment::Failed,
                ("expired", _) => Payment::Expired,
                _ => Payment::Open,
            };
            let payment_ref = (payment == Payment::Paid).then(|| format!("pay_{}", checkout.id));
            Ok(CheckoutState {
                payment,
                amount: checkout.amount,
                currency: checkout.currency,
                charge_ref: payment_ref.clone(),
                payment_ref,
                purchase: Some(checkout.purchase_ref),
            })
        })
    }

    fn read_charge<'a>(&'a self, payment: &'a str) -> BoxFuture<'a, Result<CheckoutState, ProviderError>> {
        self.read(payment.strip_prefix("pay_").unwrap_or(payment))
    }

    /// Whoever has paid once has a card that is saved.
    fn saved_method<'a>(&'a self, customer: &'a str) -> BoxFuture<'a, Result<Option<String>, ProviderError>> {
        Box::pin(async move {
            let customer = customer.to_owned();
            let paid = self.db.read("sandbox_saved", async move |tx| store::has_paid(tx, &customer).await);
            Ok(paid.await.map_err(unavailable)?.then(|| "card_sandbox".to_owned()))
        })
    }

    /// The saved card works, unless its owner is called "declined".
    fn charge_saved<'a>(&'a self, request: &'a SavedCharge) -> BoxFuture<'a, Result<Charged, ProviderError>> {
        Box::pin(async move {
            if request.buyer.email.starts_with("declined") {
                return Err(ProviderError::Declined {
                    reason: "generic_decline".to_owned(),
                    message: "Your card was declined.".to_owned(),
                    payment: None,
                });
            }
            let checkout = SandboxCheckout {
                id: secrets::new(&*self.random, "cs_sandbox_"),
                purchase_ref: request.purchase.clone(),
                description: request.description.clone(),
                amount: request.amount,
                currency: request.currency.clone(),
                return_url: String::new(),
                cancel_url: String::new(),
                status: "complete".to_owned(),
                payment_status: "paid".to_owned(),
            };
            let key = format!("saved-{}", request.purchase);
            let name = format!("pay_{}", self.insert(checkout, key, request.customer.clone()).await?);
            Ok(Charged { payment: name.clone(), charge: Some(name) })
        })
    }

    fn payment<'a>(&'a self, payment: &'a str) -> BoxFuture<'a, Result<PaymentState, ProviderError>> {
        Box::pin(async move {
            let id = payment.strip_prefix("pay_").unwrap_or(payment).to_owned();
            let found = self
                .db
                .read("sandbox_payment", async move |tx| {
                    let Some(checkout) = store::checkout(tx, &id).await? else { return Ok(None) };
                    let facts = store::facts(tx, &id).await?;
                    Ok::<_, DbError>(Some((checkout, facts)))
                })
                .await
                .map_err(unavailable)?;
            let (checkout, facts) = found.ok_or_else(|| ProviderError::NotFound(payment.to_owned()))?;
            let name = format!("pay_{}", checkout.id);
            Ok(PaymentState {
                purchase: Some(checkout.purchase_ref),
                payment_ref: Some(name.clone()),
                charge_ref: Some(name),
                amount: checkout.amount,
                facts,
            })
        })
    }

    fn refund<'a>(&'a self, request: &'a RefundRequest) -> BoxFuture<'a, Result<Fact, ProviderError>> {
        Box::pin(async move {
            let checkout = request.payment.strip_prefix("pay_").unwrap_or(&request.payment).to_owned();
            let id = secrets::new(&*self.random, "re_sandbox_");
            let fact = Fact { id, kind: FactKind::Refund, amount: request.amount, stage: Stage::Reversed };
            let key = request.key.clone();
            self.db
                .tx("sandbox_refund", async move |tx| store::insert_fact(tx, &checkout, &fact, &key).await)
                .await
                .map_err(unavailable)
        })
    }

    fn portal<'a>(
        &'a self,
        _customer: &'a str,
        _return_url: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, ProviderError>> {
        // It keeps no cards.
        Box::pin(async { Ok(None) })
    }

    fn recent(&self, since: Timestamp) -> BoxFuture<'_, Result<Recent, ProviderError>> {
        Box::pin(async move {
            let checkouts = self.db.read("sandbox_recent", async move |tx| store::recent(tx, since).await);
            let checkouts = checkouts.await.map_err(unavailable)?;
            let paid = checkouts.iter().filter(|checkout| checkout.payment_status == "paid");
            let payments = paid
                .map(|checkout| RecentPayment { payment: format!("pay_{}", checkout.id), glance: None })
                .collect();
            let checkouts = checkouts.into_iter().map(|checkout| RecentCheckout {
                session: checkout.id,
                purchase: Some(checkout.purchase_ref),
                ended: checkout.status != "open",
            });
            let checkouts = checkouts.collect();
            Ok(Recent { checkouts, payments })
        })
    }
}

impl Sandbox {
    async fn insert(
        &self,
        checkout: SandboxCheckout,
        key: String,
        customer: String,
    ) -> Result<String, ProviderError> {
        let now = self.clock.now();
        let insert = async move |tx: &mut db::Tx<'_>| {
            store::insert_checkout(tx, &checkout, (&key, &customer), now).await
        };
        self.db.tx("sandbox_open", insert).await.map_err(unavailable)
    }

    /// A checkout, for its page.
    ///
    /// # Errors
    /// A [`DbError`].
    pub async fn checkout(&self, id: &str) -> Result<Option<SandboxCheckout>, DbError> {
        let id = id.to_owned();
        self.db.read("sandbox_read", async move |tx| store::checkout(tx, &id).await).await
    }

    /// Does what was chosen on the page; answers where the browser goes, or nothing if it stays (declined, or too late).
    ///
    /// # Errors
    /// A [`DbError`].
    pub async fn choose(
        &self,
        checkout: &SandboxCheckout,
        choice: Choice,
    ) -> Result<Option<String>, DbError> {
        let now = self.clock.now();
        let (status, payment, settles_at, kind) = match choice {
            Choice::Pay => ("complete", "paid", None, "checkout.completed"),
            Choice::Later => {
                ("complete", "processing", Some(now.plus_millis(SETTLES_AFTER_MS)), "checkout.completed")
            }
            Choice::Abandon => ("expired", "unpaid", None, "checkout.expired"),
            // A declined card changes nothing: the checkout stays open.
            Choice::Decline => return Ok(None),
        };
        let event = self.event(kind, &checkout.id);
        let seen = checkout.clone();
        let changed = self
            .db
            .tx("sandbox_choose", async move |tx| {
                let open = seen.status == "open"
                    && store::change_checkout(tx, &seen.id, &seen, (status, payment), settles_at).await?;
                if open {
                    queue(tx, &event, now).await?;
                }
                Ok::<_, DbError>(open)
            })
            .await?;
        let target = if choice == Choice::Abandon { &checkout.cancel_url } else { &checkout.return_url };
        Ok(changed.then(|| target.clone()))
    }

    /// Lets payments arrive that were to settle later.
    ///
    /// # Errors
    /// A [`DbError`].
    pub async fn settle_once(&self) -> Result<(), DbError> {
        let now = self.clock.now();
        let due = self.db.read("sandbox_settling", async move |tx| store::settling(tx, now).await).await?;
        for checkout in due {
            let event = self.event("checkout.async_succeeded", &checkout.id);
            self.db
                .tx("sandbox_settle", async move |tx| {
                    if store::change_checkout(tx, &checkout.id, &checkout, ("complete", "paid"), None).await?
                    {
                        queue(tx, &event, now).await?;
                    }
                    Ok::<_, DbError>(())
                })
                .await?;
        }
        Ok(())
    }

    fn event(&self, kind: &str, session: &str) -> Event {
        let id = secrets::new(&*self.random, "evt_sandbox_");
        Event { id, kind: kind.to_owned(), session: session.to_owned() }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape map_err wants")]
fn unavailable(error: DbError) -> ProviderError {
    ProviderError::Unavailable(error.to_string())
}
