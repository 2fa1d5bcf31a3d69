//! One charge: claimed in a transaction, asked for, and what the answer means. A crash in between leaves the claim, and whoever
//! looks next asks again with the same key.

use std::sync::Arc;

use db::{DbError, Tx};
use types::id::{MailId, PurchaseId, UserId};
use types::time::{DAY_MS, HOUR_MS, MINUTE_MS, Timestamp};

use super::rules::{self, Next, Rule, State};
use super::{ATTEMPT, Followup, store};
use crate::accounts::User;
use crate::app::App;
use crate::mail::letters::{Letter, Line, TopUpDeclined, TopUpNeedsConfirmation, TopUpPaused};
use crate::providers::ProviderError;
use crate::purchases::provider::{Buyer, Charged, SavedCharge};
use crate::purchases::{self, CURRENCY, Lot, Purchase, PurchaseError, reversals};
use crate::{accounts, config::Package};

/// How long a claim is its claimer's, and how soon is looked again at what may have changed.
const LEASE_MS: i64 = MINUTE_MS;
/// How soon is asked again what the provider refused because of us.
const REFUSED_MS: i64 = HOUR_MS / 4;

/// What is to be asked for.
#[derive(Clone, Debug)]
struct Ask {
    purchase: Purchase,
    user: User,
    customer: Option<String>,
    tries: i64,
    again: bool,
}

/// Whom a rule is of.
pub async fn payer(tx: &mut Tx<'_>, user: UserId) -> Result<User, DbError> {
    let found = accounts::store::user_by_id(tx, user).await?;
    found.ok_or_else(|| DbError::Other(format!("there is no user {user}")))
}

/// Charges for the low episode of a user, if nobody else does.
pub async fn charge(app: &App, user: UserId) -> Result<(), PurchaseError> {
    let Some(ask) = claim(app, user).await? else { return Ok(()) };
    let id = ask.purchase.id;
    let saved = match &ask.customer {
        Some(customer) => app.payments.saved_method(customer).await,
        None => Ok(None),
    };
    let (customer, method) = match (saved, ask.customer.clone()) {
        (Ok(Some(method)), Some(customer)) => (customer, method),
        (Ok(_), _) => return pause(app, user, id, "no card is saved any more").await,
        (Err(error), _) => {
            // Nothing was asked for yet, unless it was before.
            return later(app, user, (id, ask.again), LEASE_MS, &error).await;
        }
    };
    match app.payments.charge_saved(&request(&ask, customer, method)).await {
        Ok(charged) => granted(app, user, id, charged).await,
        Err(ProviderError::Declined { reason, payment, .. }) => {
            declined(app, user, &ask, &reason, payment).await
        }
        Err(ProviderError::NotFound(_)) if !ask.again => pause(app, user, id, "the saved card is gone").await,
        Err(error @ ProviderError::Refused { .. }) => later(app, user, (id, true), REFUSED_MS, &error).await,
        Err(error) => later(app, user, (id, true), LEASE_MS, &error).await,
    }
}

fn request(ask: &Ask, customer: String, method: String) -> SavedCharge {
    let Ask { purchase, user, tries, again, .. } = ask;
    SavedCharge {
        purchase: purchase.id.to_string(),
        key: format!("topup-{}-{tries}", purchase.id),
        again: *again,
        payment: purchase.payment.clone(),
        buyer: Buyer {
            user: user.id.to_string(),
            email: user.email.clone(),
            customer: Some(customer.clone()),
        },
        customer,
        method,
        description: format!("{} — {} credits", purchase.package_name, purchase.credits),
        amount: purchase.amount,
        currency: purchase.currency.clone(),
    }
}

/// Takes the episode for this coordinator, after a last look, in one transaction.
async fn claim(app: &App, user: UserId) -> Result<Option<Ask>, DbError> {
    let now = app.clock.now();
    let packages = app.packages.clone();
    let (id, mail): (PurchaseId, MailId) = (app.ids.next(now), app.ids.next(now));
    let (provider, site) = (app.payments.name(), app.config.public_url());
    let hooks = Arc::clone(&app.hooks);
    let ask = app
        .db
        .tx("claim_topup", async move |tx| {
            let Some(mut rule) = store::rule(tx, user).await? else { return Ok(None) };
            if !rule.enabled || rule.state == State::Paused || rule.next_try_at > now {
                return Ok(None);
            }
            let owner = payer(tx, user).await?;
            let again = rule.in_flight;
            let found = if again {
                match rule.purchase {
                    Some(id) => purchases::store::purchase(tx, id).await?,
                    None => None,
                }
            } else {
                let followup = Followup { site: site.clone(), mail, hooks: Arc::clone(&hooks) };
                wanted(tx, &mut rule, &owner, (&packages, provider, id), &followup, now).await?
            };
            let open = found.filter(|purchase| purchase.state == purchases::State::Created);
            rule.next_try_at = rule.next_try_at.max(now.plus_millis(LEASE_MS));
            rule.in_flight = open.is_some();
            rule.tries += i64::from(open.is_some() && !again);
            store::put(tx, &rule, now).await?;
            let customer = purchases::store::customer(tx, user, provider).await?;
            let ask = |purchase| Ask { purchase, user: owner, customer, tries: rule.tries, again };
            Ok::<_, DbError>(open.map(ask))
        })
        .await?;
    app.mail.wake();
    Ok(ask)
}

/// The purchase of the episode, made if there is none, if it is to be charged now.
async fn wanted(
    tx: &mut Tx<'_>,
    rule: &mut Rule,
    owner: &User,
    (packages, provider, id): (&[Package], &str, PurchaseId),
    followup: &Followup,
    now: Timestamp,
) -> Result<Option<Purchase>, DbError> {
    let balance = ledger::balance(tx, owner.wallet).await?;
    let pending = store::pending(tx, rule.user).await?;
    let low = rules::is_low(balance.available(), pending, rule.threshold);
    if !low || balance.frozen || balance.debt.is_positive() {
        return Ok(None);
    }
    let purchase = match rule.purchase {
        Some(id) => purchases::store::purchase(tx, id).await?,
        None => {
            let package = packages.iter().find(|package| package.slug == rule.package_slug);
            package.map(|package| new_purchase(owner, package, (provider, id), now))
        }
    };
    let Some(purchase) = purchase else {
        rule.state = State::Paused;
        rule.last_error = Some("this package is not sold any more".to_owned());
        followup.tell(tx, rule.user, None, (rule.last_error.as_deref(), true), now).await?;
        let letter = paused(followup, "this package is not sold any more");
        followup
            .queue(tx, rule.user, &letter, &format!("topup_package:{}:{}", rule.user, rule.epoch), now)
            .await?;
        return Ok(None);
    };
    let spent = store::charged_since(tx, rule.user, now.month_start()).await?;
    if spent.get().saturating_add(purchase.amount.get()) > rule.monthly_max.get() {
        maxed(tx, rule, followup, now).await?;
        return Ok(None);
    }
    if rule.purchase.is_none() {
        let attempt = format!("{ATTEMPT}{}", rule.epoch);
        purchases::store::insert_purchase(tx, &purchase, &attempt).await?;
        rule.purchase = Some(purchase.id);
    }
    rule.last_error = None;
    Ok(Some(purchase))
}

/// No more this month; it goes on with the next one.
async fn maxed(tx: &mut Tx<'_>, rule: &mut Rule, followup: &Followup, now: Timestamp) -> Result<(), DbError> {
    let month = now.month_start();
    let next = month.plus_millis(32 * DAY_MS).month_start();
    rule.next_try_at = next;
    rule.last_error = Some(format!("the monthly maximum of {} is reached", rule.monthly_max));
    followup.tell(tx, rule.user, None, (rule.last_error.as_deref(), false), now).await?;
    let letter = TopUpPaused {
        site: followup.site.clone(),
        reason: Line::from(format!("the monthly maximum of {} is reached", rule.monthly_max)),
        until: Some(next.date()),
    };
    let key = format!("topup_max:{}:{}:{}", rule.user, month.date(), rule.monthly_max.get());
    followup.queue(tx, rule.user, &letter, &key, now).await
}

fn new_purchase(
    owner: &User,
    package: &Package,
    (provider, id): (&str, PurchaseId),
    now: Timestamp,
) -> Purchase {
    Purchase {
        id,
        user: owner.id,
        wallet: owner.wallet,
        package_slug: package.slug.clone(),
        package_name: package.name.clone(),
        credits: package.credits,
        amount: package.price,
        currency: CURRENCY.to_owned(),
        state: purchases::State::Created,
        provider: provider.to_owned(),
        session: None,
        checkout_url: None,
        created_at: now,
        granted_at: None,
        payment: None,
        lot: Lot::default(),
    }
}

fn paused(followup: &Followup, reason: &str) -> TopUpPaused {
    TopUpPaused { site: followup.site.clone(), reason: Line::from(reason), until: None }
}

/// The money is there or on its way: the purchase is read and granted as any other.
async fn granted(app: &App, user: UserId, id: PurchaseId, charged: Charged) -> Result<(), PurchaseError> {
    app.db
        .tx("topup_charged", async move |tx| {
            let names = (Some(&*charged.payment), charged.charge.as_deref());
            reversals::store::set_names(tx, id, names.0, names.1).await
        })
        .await?;
    let purchase = purchases::fulfil(app, id, None).await?;
    tracing::info!(%user, purchase = %id, "a top-up is {}", purchase.state.name());
    count("charged");
    Ok(())
}

/// The card was declined.
async fn declined(
    app: &App,
    user: UserId,
    ask: &Ask,
    reason: &str,
    payment: Option<String>,
) -> Result<(), PurchaseError> {
    let purchase = ask.purchase.clone();
    let words = rules::in_words(reason);
    let reason = reason.to_owned();
    tracing::info!(%user, purchase = %purchase.id, "a top-up was declined: {reason}");
    answered(app, user, ask.purchase.id, async move |tx, rule, followup, now| {
        reversals::store::set_names(tx, purchase.id, payment.as_deref(), None).await?;
        rule.declines += 1;
        rule.last_error = Some(words.clone());
        let available = ledger::balance(tx, purchase.wallet).await?.available();
        let site = followup.site.clone();
        let (word, letter): (_, Box<dyn Letter>) = match rules::after_decline(&reason, rule.declines) {
            Next::Wait(wait) => {
                rule.next_try_at = now.plus_millis(wait);
                let (amount, reason) = (purchase.amount, Line::from(words.as_str()));
                ("declined", Box::new(TopUpDeclined { site, amount, reason, available }))
            }
            Next::Pause => {
                rule.state = State::Paused;
                ("paused", Box::new(paused(followup, &words)))
            }
            Next::Confirm => {
                let url = format!("{site}/credits#package-{}", purchase.package_slug);
                rule.state = State::Paused;
                rule.last_error = Some("your bank wants you to confirm the payment".to_owned());
                rule.confirm_url = Some(url.clone());
                let (amount, credits) = (purchase.amount, purchase.credits);
                ("confirm", Box::new(TopUpNeedsConfirmation { site, amount, credits, confirm_url: url }))
            }
        };
        count(word);
        let paused = rule.state == State::Paused;
        followup.tell(tx, user, Some(&purchase), (Some(&words), paused), now).await?;
        let key = format!("topup_{word}:{}:{}", purchase.id, rule.tries);
        followup.queue(tx, user, &*letter, &key, now).await
    })
    .await
}

/// It cannot be charged before its user has done something.
async fn pause(app: &App, user: UserId, id: PurchaseId, reason: &'static str) -> Result<(), PurchaseError> {
    answered(app, user, id, async move |tx, rule, followup, now| {
        rule.state = State::Paused;
        rule.last_error = Some(reason.to_owned());
        count("paused");
        followup.tell(tx, user, None, (Some(reason), true), now).await?;
        let key = format!("topup_paused:{id}:{}", rule.tries);
        followup.queue(tx, user, &paused(followup, reason), &key, now).await
    })
    .await
}

/// It is not known what became of it, or it is not the card's fault: it is asked for again.
async fn later(
    app: &App,
    user: UserId,
    (id, in_flight): (PurchaseId, bool),
    wait: i64,
    error: &ProviderError,
) -> Result<(), PurchaseError> {
    tracing::warn!(%error, %user, purchase = %id, "a top-up could not be made yet");
    answered(app, user, id, async move |_, rule, _, now| {
        rule.in_flight = in_flight;
        rule.next_try_at = now.plus_millis(wait);
        rule.last_error = Some("the payment provider could not be reached; it is tried again".to_owned());
        Ok(())
    })
    .await
}

/// Writes down what an answer means, if the episode is still that of the purchase and nothing else has settled it.
async fn answered(
    app: &App,
    user: UserId,
    id: PurchaseId,
    note: impl AsyncFn(&mut Tx<'_>, &mut Rule, &Followup, Timestamp) -> Result<(), DbError>
    + Send
    + Sync
    + 'static,
) -> Result<(), PurchaseError> {
    let now = app.clock.now();
    let followup = Followup::new(app, now);
    app.db
        .tx("topup_answered", async move |tx| {
            let Some(mut rule) = store::rule(tx, user).await? else { return Ok(()) };
            if rule.purchase != Some(id) || !rule.in_flight {
                return Ok(());
            }
            rule.in_flight = false;
            note(tx, &mut rule, &followup, now).await?;
            store::put(tx, &rule, now).await
        })
        .await?;
    app.mail.wake();
    Ok(())
}

fn count(outcome: &'static str) {
    metrics::counter!("archipelago_topups_total", "outcome" => outcome).increment(1);
}
