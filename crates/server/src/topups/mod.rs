//! Auto top-up: a package is bought with a saved card when few credits are left.
//!
//! Guarantees: nothing is charged unless its user switched it on, with a threshold, a package and a monthly maximum; one charge
//! for each low episode, whatever happens. The purchase of an episode has the attempt key `topup-{epoch}`, a purchase has
//! one payment, and the episode ends in the transaction that brings the balance above the threshold. An answer that is lost is
//! asked for again with the same key. It is granted by the same function as any other purchase. A declined card is asked
//! again after 1, 3 and 7 hours and then no more; what is our or the provider's fault does not count as a decline.

pub mod alerts;
mod charge;
pub mod rules;
pub(crate) mod store;

use std::sync::Arc;

use db::{DbError, Tx};
use futures_util::future::join_all;
use types::id::{AccountId, ApiKeyId, MailId, UserId};
use types::money::{Cents, MicroCredits};
use types::time::Timestamp;

use crate::accounts::User;
use crate::accounts::api_keys::{self, KeyError};
use crate::app::App;
use crate::hooks::Hooks;
use crate::hooks::events::{Event, Kind, TopUpData};
use crate::idempotency::Once;
use crate::mail::letters::{Letter, TopUpDone};
use crate::mail::outbox;
use crate::providers::ProviderError;
use crate::purchases::{self, Purchase};
use rules::{Rule, State, Unfit};

/// What the attempt keys of its purchases begin with.
pub const ATTEMPT: &str = "topup-";
/// Balances read at once.
const BATCH: usize = 500;
/// Charges on their way at once, from one coordinator.
const AT_ONCE: usize = 8;

/// Why a rule is not set.
#[derive(Debug, thiserror::Error)]
pub enum TopUpError {
    /// It could not do what it is for.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// Nothing to charge.
    #[error("no card is saved; buy credits once and let your card be saved, then switch auto top-up on")]
    NoCard,
    /// The API key that asks may not: more could be spent than it is allowed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The provider.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// The rule of a user, if there ever was one, and what it has charged this month.
pub type Shown = (Option<Rule>, Cents);

/// The rule of a user.
///
/// # Errors
/// A [`DbError`].
pub async fn find(app: &App, user: UserId) -> Result<Shown, DbError> {
    let month = app.clock.now().month_start();
    app.db
        .read("topup", async move |tx| {
            Ok((store::rule(tx, user).await?, store::charged_since(tx, user, month).await?))
        })
        .await
}

/// Switches it on, or changes it; `by` is the API key that asks, if one does. What paused it is forgotten, and a charge that was declined is not tried again.
///
/// # Errors
/// A [`TopUpError`]; nothing is changed then.
pub async fn set(
    app: &App,
    (user, by): (&User, Option<ApiKeyId>),
    threshold: MicroCredits,
    package_slug: &str,
    monthly_max: Cents,
    once: &Once<Shown>,
) -> Result<Shown, TopUpError> {
    rules::check(&app.packages, package_slug, threshold, monthly_max)?;
    let (id, provider) = (user.id, app.payments.name());
    let customer =
        app.db.read("customer", async move |tx| purchases::store::customer(tx, id, provider).await).await?;
    let saved = match customer {
        Some(customer) => app.payments.saved_method(&customer).await?,
        None => None,
    };
    if saved.is_none() {
        return Err(TopUpError::NoCard);
    }
    let (slug, now) = (package_slug.to_owned(), app.clock.now());
    let set = once.tx(app, "set_topup", async move |tx| {
        api_keys::may_manage(tx, by, now).await?;
        let before = store::rule(tx, id).await?;
        let mut rule = before.unwrap_or_else(|| empty(id));
        rule.enabled = true;
        (rule.threshold, rule.monthly_max) = (threshold, monthly_max);
        rule.package_slug.clone_from(&slug);
        resume(&mut rule);
        if !rule.in_flight {
            end_episode(tx, &mut rule).await?;
        }
        store::put(tx, &rule, now).await?;
        Ok::<_, TopUpError>((Some(rule), store::charged_since(tx, id, now.month_start()).await?))
    });
    set.await
}

/// Switches it off.
///
/// # Errors
/// A [`DbError`].
pub async fn remove(app: &App, user: UserId, once: &Once<Shown>) -> Result<Shown, DbError> {
    let now = app.clock.now();
    let removed = once.tx(app, "remove_topup", async move |tx| {
        let charged = store::charged_since(tx, user, now.month_start()).await?;
        let Some(mut rule) = store::rule(tx, user).await? else { return Ok((None, charged)) };
        rule.enabled = false;
        store::put(tx, &rule, now).await?;
        Ok((Some(rule), charged))
    });
    removed.await
}

fn empty(user: UserId) -> Rule {
    Rule {
        user,
        enabled: false,
        threshold: MicroCredits::ZERO,
        package_slug: String::new(),
        monthly_max: Cents::default(),
        state: State::Active,
        epoch: 1,
        purchase: None,
        in_flight: false,
        tries: 0,
        declines: 0,
        next_try_at: Timestamp::from_millis(0),
        last_error: None,
        confirm_url: None,
    }
}

fn resume(rule: &mut Rule) {
    rule.state = State::Active;
    rule.declines = 0;
    rule.next_try_at = Timestamp::from_millis(0);
    (rule.last_error, rule.confirm_url) = (None, None);
}

/// The next time it is low is another episode, with a purchase of its own.
async fn end_episode(tx: &mut Tx<'_>, rule: &mut Rule) -> Result<(), DbError> {
    let Some(purchase) = rule.purchase.take() else { return Ok(()) };
    store::abandon(tx, purchase).await?;
    rule.epoch += 1;
    (rule.tries, rule.declines) = (0, 0);
    // What the bank wanted confirmed is paid in another way.
    if rule.confirm_url.is_some() {
        resume(rule);
    }
    Ok(())
}

/// Looks at all rules that are switched on: ends episodes, and charges where few credits are left.
///
/// # Errors
/// A [`DbError`].
pub async fn once(app: &App) -> Result<(), DbError> {
    let rules = app.db.read("topups", async |tx| store::enabled(tx).await).await?;
    let now = app.clock.now();
    let wallets: Vec<AccountId> = rules.iter().map(|(_, wallet)| *wallet).collect();
    let available = available(app, &wallets).await?;
    let mut due = Vec::new();
    for ((rule, _), available) in rules.into_iter().zip(available) {
        let low = available < rule.threshold;
        if !low && rule.purchase.is_some() && !rule.in_flight {
            close(app, rule.user).await?;
        } else if (low || rule.in_flight) && rule.state == State::Active && rule.next_try_at <= now {
            due.push(rule.user);
        }
    }
    for users in due.chunks(AT_ONCE) {
        for done in join_all(users.iter().map(|&user| charge::charge(app, user))).await {
            if let Err(error) = done {
                tracing::warn!(%error, "a top-up is tried again");
            }
        }
    }
    Ok(())
}

/// What may be spent from these wallets.
async fn available(app: &App, wallets: &[AccountId]) -> Result<Vec<MicroCredits>, DbError> {
    let mut all = Vec::with_capacity(wallets.len());
    for batch in wallets.chunks(BATCH) {
        let batch = batch.to_vec();
        let found = app.db.read("balances", async move |tx| ledger::balances(tx, &batch).await).await?;
        let there = |one: &Option<ledger::Balance>| one.as_ref().map(ledger::Balance::available);
        all.extend(found.iter().map(|one| there(one).unwrap_or(MicroCredits::ZERO)));
    }
    Ok(all)
}

async fn close(app: &App, user: UserId) -> Result<(), DbError> {
    let now = app.clock.now();
    app.db
        .tx("end_topup_episode", async move |tx| {
            let Some(mut rule) = store::rule(tx, user).await? else { return Ok(()) };
            let to = charge::payer(tx, user).await?;
            if rule.in_flight || ledger::balance(tx, to.wallet).await?.available() < rule.threshold {
                return Ok(());
            }
            end_episode(tx, &mut rule).await?;
            store::put(tx, &rule, now).await
        })
        .await
}

/// What follows when the purchase of an episode changes: made before its transaction, used in it.
#[derive(Clone, Debug)]
pub struct Followup {
    site: String,
    mail: MailId,
    hooks: Arc<Hooks>,
}

impl Followup {
    /// With a fresh id for the letter.
    #[must_use]
    pub fn new(app: &App, now: Timestamp) -> Self {
        Self { site: app.config.public_url(), mail: app.ids.next(now), hooks: Arc::clone(&app.hooks) }
    }

    /// Tells programs of a top-up that was made, or was not and why.
    async fn tell(
        &self,
        tx: &mut Tx<'_>,
        user: UserId,
        purchase: Option<&Purchase>,
        (reason, paused): (Option<&str>, bool),
        now: Timestamp,
    ) -> Result<(), DbError> {
        let kind = if reason.is_none() { Kind::TopUpSucceeded } else { Kind::TopUpFailed };
        let data = TopUpData {
            purchase_id: purchase.map(|purchase| purchase.id),
            credits: purchase.map(|purchase| purchase.credits.get()),
            amount_cents: purchase.map(|purchase| purchase.amount.get()),
            reason: reason.map(str::to_owned),
            paused,
        };
        self.hooks.tell(tx, user, Event::new(kind, &data), now).await
    }

    /// Tells of a top-up that was granted, and ends its episode when the balance is above the threshold by it. To be called in
    /// the transaction that changes the purchase, after the change.
    ///
    /// # Errors
    /// A [`DbError`].
    pub async fn follow(&self, tx: &mut Tx<'_>, purchase: &Purchase, now: Timestamp) -> Result<(), DbError> {
        let rule = store::rule(tx, purchase.user).await?;
        let Some(mut rule) = rule.filter(|rule| rule.purchase == Some(purchase.id)) else { return Ok(()) };
        match purchase.state {
            purchases::State::Granted => {
                rule.in_flight = false;
                resume(&mut rule);
                let available = ledger::balance(tx, purchase.wallet).await?.available();
                let letter = TopUpDone {
                    site: self.site.clone(),
                    credits: purchase.credits,
                    amount: purchase.amount,
                    available,
                    threshold: rule.threshold,
                };
                self.queue(tx, rule.user, &letter, &format!("topup_done:{}", purchase.id), now).await?;
                self.tell(tx, rule.user, Some(purchase), (None, false), now).await?;
                if available >= rule.threshold {
                    end_episode(tx, &mut rule).await?;
                }
            }
            purchases::State::Pending => rule.in_flight = false,
            // It was on its way and did not arrive; another letter tells of it.
            purchases::State::Failed => {
                rule.in_flight = false;
                rule.state = State::Paused;
                rule.last_error = Some("the payment did not arrive".to_owned());
                self.tell(tx, rule.user, Some(purchase), (rule.last_error.as_deref(), true), now).await?;
                end_episode(tx, &mut rule).await?;
            }
            purchases::State::Created | purchases::State::Expired => return Ok(()),
        }
        store::put(tx, &rule, now).await
    }

    async fn queue(
        &self,
        tx: &mut Tx<'_>,
        user: UserId,
        letter: &dyn Letter,
        key: &str,
        now: Timestamp,
    ) -> Result<(), DbError> {
        let to = charge::payer(tx, user).await?.email;
        outbox::queue(tx, self.mail, letter, &to, key, now).await
    }
}
