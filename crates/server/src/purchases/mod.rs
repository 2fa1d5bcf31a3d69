//! Buying credits: a purchase row, a checkout at the provider, and one grant.
//!
//! Guarantees (I4): a purchase is granted exactly once, whatever order, number and concurrency of webhooks, redirects and
//! retries. Webhook, return page and reconciler all call [`fulfil`], which re-reads the checkout from the provider, checks
//! paid, amount and currency, and writes the grant, the purchase's end state and the event's dedupe row in one
//! transaction. The transfer's id is the purchase's, so a second grant cannot be written. Price and credits are
//! copied from the package when the purchase is made, never taken from the client.

pub mod provider;
pub mod reconcile;
pub mod refunds;
pub mod reversals;
pub mod sandbox;
pub(crate) mod store;
pub mod stripe;
mod stripe_saved;

use db::DbError;
use ledger::{Command, TransferKind, system};
use types::id::{AccountId, Id, PurchaseId, TransferId, UserId};
use types::money::{Cents, Credits, MicroCredits};
use types::time::{HOUR_MS, Timestamp};

use crate::accounts::User;
use crate::app::App;
use crate::config::Package;
use crate::live::Happening;
use crate::providers::ProviderError;
use crate::providers::events::{Handled, ProviderEvent, store as events};
use crate::receipts::Paperwork;
use crate::topups;
use provider::{Buyer, CheckoutRequest, CheckoutState, Payment};
use reversals::letters::Desk;
use reversals::{Settled, Standing};

/// The only currency there is.
pub const CURRENCY: &str = "usd";
/// How long a checkout stays open. Whoever comes back later begins another.
const OPEN_FOR_MS: i64 = 2 * HOUR_MS;
/// Longest key that tells one click from another.
pub const MAX_ATTEMPT_KEY: usize = 255;

/// One sale of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purchase {
    /// Which one. Also the id of the transfer that grants it.
    pub id: PurchaseId,
    /// Who buys.
    pub user: UserId,
    /// Where the credits go.
    pub wallet: AccountId,
    /// The package.
    pub package_slug: String,
    /// Its name at the time.
    pub package_name: String,
    /// Its credits at the time.
    pub credits: Credits,
    /// Its price at the time.
    pub amount: Cents,
    /// In what.
    pub currency: String,
    /// How far it is.
    pub state: State,
    /// Who takes the money.
    pub provider: String,
    /// The provider's name for the checkout.
    pub session: Option<String>,
    /// The page that takes the money.
    pub checkout_url: Option<String>,
    /// Since when.
    pub created_at: Timestamp,
    /// When the credits came.
    pub granted_at: Option<Timestamp>,
    /// The provider's name for the payment, once it arrived.
    pub payment: Option<String>,
    /// What became of the credits since.
    pub lot: Lot,
}

/// What became of the credits of a purchase because of what became of its payment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lot {
    /// How many were taken back.
    pub taken: MicroCredits,
    /// How many a dispute keeps from being spent.
    pub frozen: MicroCredits,
    /// The hold that keeps them; 0 when there is none.
    pub freeze: i64,
    /// What of the money this was done for.
    pub standing: Standing,
}

impl Purchase {
    /// How it stands, in a word: its state, or what became of the money since.
    #[must_use]
    pub fn standing_name(&self) -> &'static str {
        let Standing { refunded, lost, disputed } = self.lot.standing;
        match self.state {
            State::Granted if disputed.get() > 0 => "disputed",
            State::Granted if lost.get() > 0 => "lost",
            State::Granted if refunded == self.amount => "refunded",
            State::Granted if refunded.get() > 0 => "partly_refunded",
            state => state.name(),
        }
    }
}

/// How far a purchase is. Only forward: created → pending → granted, failed or expired; granted is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not paid yet.
    Created,
    /// Paid, but the money has not arrived.
    Pending,
    /// The credits are there.
    Granted,
    /// The payment failed.
    Failed,
    /// Nobody paid in time.
    Expired,
}

impl State {
    /// As stored and as written in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Pending => "pending",
            Self::Granted => "granted",
            Self::Failed => "failed",
            Self::Expired => "expired",
        }
    }

    /// From what is stored.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Created, Self::Pending, Self::Granted, Self::Failed, Self::Expired]
            .into_iter()
            .find(|state| state.name() == name)
    }
}

/// Why a purchase does not go on.
#[derive(Debug, thiserror::Error)]
pub enum PurchaseError {
    /// No such package.
    #[error("is not one of our packages")]
    UnknownPackage,
    /// The key was used for another package.
    #[error("this key was used for another purchase")]
    KeyTaken,
    /// The key is empty or long.
    #[error("must have 1 to 255 characters")]
    BadKey,
    /// Not there, or another's.
    #[error("there is no such purchase")]
    NotFound,
    /// The provider asks for another amount than we do; nothing is granted.
    #[error("the payment does not match the purchase")]
    Mismatch,
    /// The provider.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Makes a purchase and opens its checkout. The same `attempt` (a double click, a retry) gets the same purchase and the
/// same checkout.
///
/// # Errors
/// A [`PurchaseError`]; nothing is charged or granted.
pub async fn buy(
    app: &App,
    user: &User,
    package_slug: &str,
    attempt: &str,
) -> Result<Purchase, PurchaseError> {
    // Keys of that form are those of auto top-up.
    if attempt.is_empty() || attempt.len() > MAX_ATTEMPT_KEY || attempt.starts_with(topups::ATTEMPT) {
        return Err(PurchaseError::BadKey);
    }
    let package = app
        .packages
        .iter()
        .find(|package| package.slug == package_slug)
        .ok_or(PurchaseError::UnknownPackage)?;
    let purchase = insert(app, user, package, attempt).await?;
    if purchase.package_slug != package.slug {
        return Err(PurchaseError::KeyTaken);
    }
    if purchase.checkout_url.is_some() || purchase.state != State::Created {
        return Ok(purchase);
    }
    let base = app.config.public_url();
    let (provider, id) = (app.payments.name(), user.id);
    let customer = app.db.read("customer", async move |tx| store::customer(tx, id, provider).await).await?;
    let buyer = Buyer { user: id.to_string(), email: user.email.clone(), customer };
    let request = CheckoutRequest {
        purchase: purchase.id.to_string(),
        buyer,
        description: format!("{} — {} credits", purchase.package_name, purchase.credits),
        amount: purchase.amount,
        currency: purchase.currency.clone(),
        return_url: format!("{base}/credits/return?purchase={}", purchase.id),
        cancel_url: format!("{base}/credits?cancelled=1"),
        // The same whenever it is asked for: another request under the same key would be refused.
        expires_at: purchase.created_at.plus_millis(OPEN_FOR_MS),
    };
    let checkout = app.payments.open(&request).await?;
    let (id, user) = (purchase.id, user.id);
    let opened = app
        .db
        .tx("open_checkout", async move |tx| {
            let customer = checkout.customer.as_deref();
            store::set_checkout(tx, id, (&checkout.session, Some(&checkout.url)), customer).await?;
            if let Some(customer) = customer {
                store::set_customer(tx, user, provider, customer).await?;
            }
            store::purchase(tx, id).await
        })
        .await?;
    opened.ok_or(PurchaseError::NotFound)
}

async fn insert(app: &App, user: &User, package: &Package, attempt: &str) -> Result<Purchase, DbError> {
    let now = app.clock.now();
    let purchase = Purchase {
        id: app.ids.next(now),
        user: user.id,
        wallet: user.wallet,
        package_slug: package.slug.clone(),
        package_name: package.name.clone(),
        credits: package.credits,
        amount: package.price,
        currency: CURRENCY.to_owned(),
        state: State::Created,
        provider: app.payments.name().to_owned(),
        session: None,
        checkout_url: None,
        created_at: now,
        granted_at: None,
        payment: None,
        lot: Lot::default(),
    };
    let attempt = attempt.to_owned();
    app.db
        .tx("create_purchase", async move |tx| {
            if let Some(first) = store::purchase_by_attempt(tx, purchase.user, &attempt).await? {
                return Ok(first);
            }
            store::insert_purchase(tx, &purchase, &attempt).await?;
            Ok(purchase.clone())
        })
        .await
}

/// The provider's page on which a user looks after saved cards; nothing if it has none for them.
///
/// # Errors
/// A [`PurchaseError`].
pub async fn portal(app: &App, user: &User) -> Result<Option<String>, PurchaseError> {
    let (id, provider) = (user.id, app.payments.name());
    let customer = app.db.read("customer", async move |tx| store::customer(tx, id, provider).await).await?;
    let Some(customer) = customer else { return Ok(None) };
    Ok(app.payments.portal(&customer, &format!("{}/credits", app.config.public_url())).await?)
}

/// A purchase of this user.
///
/// # Errors
/// [`PurchaseError::NotFound`] if it is not there or another's.
pub async fn find(app: &App, user: UserId, id: PurchaseId) -> Result<Purchase, PurchaseError> {
    let found = app.db.read("purchase", async move |tx| store::purchase(tx, id).await).await?;
    found.filter(|purchase| purchase.user == user).ok_or(PurchaseError::NotFound)
}

/// Brings a purchase to where its payment is: grants it if it is paid. May be called any number of times, by
/// anybody, at once; `event` is the webhook that caused the call, stored with its effect.
///
/// # Errors
/// A [`PurchaseError`]; then nothing was changed and calling again may help.
pub async fn fulfil(
    app: &App,
    id: PurchaseId,
    event: Option<ProviderEvent>,
) -> Result<Purchase, PurchaseError> {
    let purchase = app.db.read("purchase", async move |tx| store::purchase(tx, id).await).await?;
    let purchase = purchase.ok_or(PurchaseError::NotFound)?;
    if purchase.state == State::Granted && event.is_none() {
        return Ok(purchase);
    }
    let mut checkout = match (&purchase.session, &purchase.payment) {
        (Some(session), _) => app.payments.read(session).await?,
        // Charged with a saved card.
        (None, Some(payment)) => app.payments.read_charge(payment).await?,
        (None, None) => return Ok(purchase),
    };
    if purchase.session.is_none() && purchase.state == State::Created && checkout.payment == Payment::Failed {
        // A saved card that was declined is tried again.
        checkout.payment = Payment::Open;
    }
    if checkout.purchase.as_ref().is_some_and(|noted| *noted != purchase.id.to_string()) {
        tracing::error!(purchase = %purchase.id, ?checkout, "a checkout is of another purchase; not granted");
        return Err(PurchaseError::Mismatch);
    }
    if checkout.payment == Payment::Paid
        && (checkout.amount != purchase.amount || !checkout.currency.eq_ignore_ascii_case(&purchase.currency))
    {
        tracing::error!(purchase = %purchase.id, "purchase {} was paid with another amount; not granted", purchase.id);
        return Err(PurchaseError::Mismatch);
    }
    let now = app.clock.now();
    let ids = [app.ids.next(now), app.ids.next(now)];
    let papers = (Paperwork::new(app, now), Desk::new(app, now), topups::Followup::new(app, now));
    let (settled, changed) = app
        .db
        .tx("fulfil", async move |tx| write(tx, id, &checkout, event.as_ref(), (&papers, ids, now)).await)
        .await?;
    app.mail.wake();
    reversals::tell(app, &settled);
    let after = settled.purchase;
    // Whoever made the change tells of it, and nobody else. A checkout somebody walked away from is no news.
    if changed {
        metrics::counter!("archipelago_purchases_total", "state" => after.state.name()).increment(1);
    }
    if changed && after.state != State::Expired {
        app.live.tell(after.user, &Happening::Purchase { id: after.id, state: after.state.name() });
    }
    Ok(after)
}

/// The one transaction of a purchase: event, grant, end state, receipt and letter together; and whatever has become of the
/// payment already. Answers whether the state changed.
async fn write(
    tx: &mut db::Tx<'_>,
    id: PurchaseId,
    checkout: &CheckoutState,
    event: Option<&ProviderEvent>,
    ((paperwork, desk, topup), ids, now): (&(Paperwork, Desk, topups::Followup), [TransferId; 2], Timestamp),
) -> Result<(Settled, bool), PurchaseError> {
    let purchase = store::purchase(tx, id).await?.ok_or(PurchaseError::NotFound)?;
    if let Some(event) = event {
        events::note(tx, event, Handled::Done, now).await?;
    }
    let next = match (purchase.state, checkout.payment) {
        (State::Granted, _) | (_, Payment::Open) => purchase.state,
        (_, Payment::Paid) => State::Granted,
        (State::Created | State::Pending, Payment::Pending) => State::Pending,
        (State::Created | State::Pending, Payment::Failed) => State::Failed,
        (State::Created, Payment::Expired) => State::Expired,
        (state, _) => state,
    };
    if next == purchase.state {
        return Ok((Settled::nothing(purchase), false));
    }
    let mut balances = Vec::new();
    if next == State::Granted {
        let amount = purchase.credits.micros().map_err(|error| DbError::Other(error.to_string()))?;
        let grant = Command::Transfer {
            id: TransferId::from_i64(id.get()),
            kind: TransferKind::Purchase,
            from: system::sales(),
            to: purchase.wallet,
            amount,
            note: Some(purchase.package_name.clone()),
        };
        let submitted = ledger::submit(tx, &[grant], now).await?;
        for outcome in submitted.outcomes {
            outcome.map_err(|refusal| DbError::Other(format!("the grant of {id} was refused: {refusal}")))?;
        }
        balances = submitted.balances;
    }
    let names = (checkout.payment_ref.as_deref(), checkout.charge_ref.as_deref());
    store::set_state(tx, id, next, names, now).await?;
    let mut settled = reversals::settle(tx, id, ids, now).await?;
    paperwork.follow(tx, &settled.purchase, now).await?;
    desk.write(tx, &settled, now).await?;
    topup.follow(tx, &settled.purchase, now).await?;
    balances.append(&mut settled.balances);
    settled.balances = balances;
    Ok((settled, true))
}

/// Takes an event about a checkout: brings the purchase it is about to where its payment is.
///
/// # Errors
/// A [`PurchaseError`] when it could not be done; the provider is then told to send it again.
pub async fn receive(app: &App, session: &str, event: ProviderEvent) -> Result<(), PurchaseError> {
    let wanted = session.to_owned();
    let found =
        app.db.read("purchase_by_session", async move |tx| store::by_session(tx, &wanted).await).await?;
    match found {
        Some(id) => fulfil(app, id, Some(event)).await.map(drop),
        None => adopt(app, session, event).await,
    }
}

/// A checkout we do not know: ours if the answer to opening it was lost, somebody else's otherwise.
async fn adopt(app: &App, session: &str, event: ProviderEvent) -> Result<(), PurchaseError> {
    let checkout = match app.payments.read(session).await {
        Ok(checkout) => checkout,
        // Of another account or mode. It is remembered, so that it can be looked at, and answered as taken.
        Err(ProviderError::NotFound(_)) => {
            return Ok(crate::providers::events::note(app, &event, Handled::Done).await?);
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(id) = checkout.purchase.as_deref().and_then(|text| text.parse().ok())
        && attach(app, id, session).await?
    {
        return fulfil(app, id, Some(event)).await.map(drop);
    }
    Ok(crate::providers::events::note(app, &event, Handled::Done).await?)
}

/// Gives a purchase the checkout that was opened for it, if it has none; answers whether it is its checkout.
pub(crate) async fn attach(app: &App, id: PurchaseId, session: &str) -> Result<bool, DbError> {
    let session = session.to_owned();
    app.db
        .tx("attach_checkout", async move |tx| {
            let Some(purchase) = store::purchase(tx, id).await? else { return Ok(false) };
            if purchase.session.is_none() {
                store::set_checkout(tx, id, (&session, None), None).await?;
                return Ok(true);
            }
            Ok(purchase.session.as_deref() == Some(&*session))
        })
        .await
}

/// Brings purchases that are not finished to where their payments are: what a lost webhook and a closed tab left.
///
/// # Errors
/// A [`DbError`].
pub async fn reconcile_once(app: &App) -> Result<(), DbError> {
    let since = app.clock.now().plus_millis(-2 * types::time::DAY_MS);
    let provider = app.payments.name();
    let open =
        app.db.read("open_purchases", async move |tx| store::open_since(tx, provider, since).await).await?;
    for id in open {
        if let Err(error) = fulfil(app, id, None).await {
            tracing::warn!(%error, purchase = %id, "purchase {id} could not be reconciled");
        }
    }
    Ok(())
}

/// Purchases of a user that people want to see, newest first.
///
/// # Errors
/// A [`DbError`].
pub async fn history(app: &App, user: UserId, limit: u32) -> Result<Vec<Purchase>, DbError> {
    app.db.read("purchases", async move |tx| store::history(tx, user, limit).await).await
}
