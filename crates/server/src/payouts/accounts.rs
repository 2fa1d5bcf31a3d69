//! Where owners are paid to: an account at the provider, and what it still misses.

use db::DbError;
use types::id::UserId;

use super::provider::{AccountRequest, AccountState, LinkRequest};
use super::send::note;
use super::{PayoutAccount, PayoutError, store};
use crate::accounts::User;
use crate::app::App;
use crate::config::Schedule;
use crate::idempotency::Once;
use crate::providers::ProviderError;
use crate::providers::events::ProviderEvent;

/// The provider's page on which a user gives what it takes to be paid out. Makes the account if there is none.
///
/// # Errors
/// A [`PayoutError`].
pub async fn onboard(app: &App, user: &User) -> Result<String, PayoutError> {
    if !app.config.payouts_offered() {
        return Err(PayoutError::Off);
    }
    let known = refresh(app, user.id).await?;
    let account = match known {
        Some((account, true)) => account.account,
        known => open(app, user, known.map(|(account, _)| account.account)).await?,
    };
    let base = app.config.public_url();
    let link = LinkRequest {
        account,
        return_url: format!("{base}/islands/payouts/return"),
        // A form there leads on to a fresh page.
        refresh_url: format!("{base}/islands/payouts/return"),
    };
    Ok(app.payouts.link(&link).await?)
}

async fn open(app: &App, user: &User, gone: Option<String>) -> Result<String, PayoutError> {
    let request = AccountRequest { user: user.id.to_string(), email: user.email.clone(), gone };
    let account = app.payouts.open(&request).await?;
    let state = app.payouts.account(&account).await?;
    write(app, user.id, &account, state).await?;
    Ok(account)
}

/// Reads the account of a user from the provider; answers it, and whether the provider still knows it.
///
/// # Errors
/// A [`PayoutError`].
pub async fn refresh(app: &App, user: UserId) -> Result<Option<(PayoutAccount, bool)>, PayoutError> {
    let provider = app.payouts.name();
    let known = app.db.read("payout_account", async move |tx| store::account(tx, user, provider).await);
    let Some(known) = known.await? else { return Ok(None) };
    let (state, there) = read(app, &known.account).await?;
    write(app, user, &known.account, state.clone()).await?;
    Ok(Some((PayoutAccount { ready: state.ready, missing: state.missing, ..known }, there)))
}

async fn read(app: &App, account: &str) -> Result<(AccountState, bool), PayoutError> {
    match app.payouts.account(account).await {
        Ok(state) => Ok((state, true)),
        Err(ProviderError::NotFound(_)) => {
            let missing = "the account at the provider is gone; set up payouts again".to_owned();
            Ok((AccountState { ready: false, missing }, false))
        }
        Err(error) => Err(error.into()),
    }
}

async fn write(app: &App, user: UserId, account: &str, state: AccountState) -> Result<(), DbError> {
    let (now, provider, account) = (app.clock.now(), app.payouts.name(), account.to_owned());
    app.db
        .tx("payout_account", async move |tx| {
            store::set_account(tx, user, (provider, &account), &state, now).await
        })
        .await
}

/// Takes an event about an account.
///
/// # Errors
/// A [`PayoutError`] when it could not be done; the provider is then told to send it again.
pub async fn sync(app: &App, account: &str, event: ProviderEvent) -> Result<(), PayoutError> {
    let (provider, wanted) = (app.payouts.name(), account.to_owned());
    let owner =
        app.db.read("payout_owner", async move |tx| store::owner(tx, provider, &wanted).await).await?;
    if let Some(user) = owner {
        refresh(app, user).await?;
    }
    Ok(note(app, Some(event)).await?)
}

/// Sets when a user is paid out; answers the account with that.
///
/// # Errors
/// [`PayoutError::NotReady`] before there is an account.
pub async fn set_schedule(
    app: &App,
    user: UserId,
    schedule: Schedule,
    once: &Once<PayoutAccount>,
) -> Result<PayoutAccount, PayoutError> {
    let provider = app.payouts.name();
    let set = once.tx(app, "payout_schedule", async move |tx| {
        if !store::set_schedule(tx, user, provider, schedule).await? {
            return Err(PayoutError::NotReady);
        }
        store::account(tx, user, provider).await?.ok_or(PayoutError::NotReady)
    });
    set.await
}
