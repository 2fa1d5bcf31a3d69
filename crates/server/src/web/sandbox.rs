//! The sandbox providers' own pages: what a card processor and an identity checker would show on theirs. They know no
//! session, only the browser, and are there only while the sandbox is in use.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};
use pages::sandbox::{COUNTRIES, CheckoutState, REASONS, SandboxCheckout, SandboxIdentity, SandboxPayouts};

use super::Page;
use super::forms::{Form, FromBrowser};
use super::session::{Browser, Named, on_this_host};
use crate::app::App;
use crate::error::ApiError;
use crate::identity::sandbox::{Sandbox as IdentitySandbox, SandboxIdentity as Identity};
use crate::payouts::sandbox::{Sandbox as PayoutSandbox, SandboxAccount};
use crate::purchases::sandbox::{Choice, Sandbox as PaymentSandbox, SandboxCheckout as Checkout};

/// Longest name, in characters.
const MAX_NAME: usize = 100;

/// `GET /sandbox/checkout/{id}`.
///
/// # Errors
/// 404, 500, 503.
pub async fn checkout(
    State(app): State<Arc<App>>,
    Named(id): Named<String>,
    browser: Browser,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let (_, checkout) = find_checkout(&app, &id).await?;
    let declined = query.as_deref() == Some("declined=1");
    let state = match (checkout.status.as_str(), checkout.payment_status.as_str()) {
        ("open", _) if declined => CheckoutState::Declined,
        ("open", _) => CheckoutState::Open,
        (_, "paid") => CheckoutState::Paid,
        ("complete", "processing") => CheckoutState::Settling,
        _ => CheckoutState::Expired,
    };
    let back = if state == CheckoutState::Expired { &checkout.cancel_url } else { &checkout.return_url };
    let page = SandboxCheckout {
        id: checkout.id,
        csrf: browser.csrf(),
        item: checkout.description,
        amount: checkout.amount.to_string(),
        state,
        return_url: on_this_host(&app, back).to_owned(),
    };
    Ok((browser.cookies(&app), Page(page)).into_response())
}

/// `POST /sandbox/checkout/{id}`: what the card processor shall do.
///
/// # Errors
/// 403, 404, 415, 422, 500, 503.
pub async fn choose(
    State(app): State<Arc<App>>,
    Named(id): Named<String>,
    FromBrowser { form, .. }: FromBrowser,
) -> Result<Redirect, ApiError> {
    let choice = match form.get("action") {
        "pay" => Choice::Pay,
        "later" => Choice::Later,
        "decline" => Choice::Decline,
        "abandon" => Choice::Abandon,
        _ => return Err(ApiError::invalid("action", "must be one of the buttons of the page")),
    };
    let (sandbox, checkout) = find_checkout(&app, &id).await?;
    let next = sandbox.choose(&checkout, choice).await?;
    app.sandbox_due.notify_one();
    let here = format!("/sandbox/checkout/{id}");
    Ok(match (next, choice) {
        (Some(next), _) => Redirect::to(on_this_host(&app, &next)),
        (None, Choice::Decline) => Redirect::to(&format!("{here}?declined=1")),
        // It was decided before; the page says how.
        (None, _) => Redirect::to(&here),
    })
}

/// `GET /sandbox/identity/{id}`.
///
/// # Errors
/// 404, 500, 503.
pub async fn identity(
    State(app): State<Arc<App>>,
    Named(id): Named<String>,
    browser: Browser,
) -> Result<Response, ApiError> {
    let (_, identity) = find_identity(&app, &id).await?;
    let closed = !matches!(identity.status.as_str(), "open" | "processing");
    let page = SandboxIdentity { id: identity.id, csrf: browser.csrf(), closed };
    Ok((browser.cookies(&app), Page(page)).into_response())
}

/// `POST /sandbox/identity/{id}`: how the check ends.
///
/// # Errors
/// 403, 404, 415, 422, 500, 503.
pub async fn decide(
    State(app): State<Arc<App>>,
    Named(id): Named<String>,
    FromBrowser { form, .. }: FromBrowser,
) -> Result<Redirect, ApiError> {
    let (sandbox, found) = find_identity(&app, &id).await?;
    let return_url = found.return_url.clone();
    // When it was decided before, this changes nothing; the page gone back to says how it stands.
    sandbox.decide(decided(found, &form)?).await?;
    app.sandbox_due.notify_one();
    Ok(Redirect::to(on_this_host(&app, &return_url)))
}

fn decided(found: Identity, form: &Form) -> Result<Identity, ApiError> {
    let open = Identity { name: None, country: None, reason: None, ..found };
    match form.get("action") {
        "approve" => {
            let (name, country) = (form.get("name").trim(), form.get("country"));
            if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
                return Err(ApiError::invalid("name", "must have 1 to 100 characters"));
            }
            if !COUNTRIES.iter().any(|(code, _)| *code == country) {
                return Err(ApiError::invalid("country", "must be one of those in the list"));
            }
            let (name, country) = (Some(name.to_owned()), Some(country.to_owned()));
            Ok(Identity { status: "verified".to_owned(), name, country, ..open })
        }
        "reject" => {
            let reason = REASONS.iter().find(|(code, _)| *code == form.get("reason"));
            let (_, words) =
                reason.ok_or_else(|| ApiError::invalid("reason", "must be one of those in the list"))?;
            Ok(Identity { status: "rejected".to_owned(), reason: Some(format!("{words}.")), ..open })
        }
        "later" => Ok(Identity { status: "processing".to_owned(), ..open }),
        _ => Err(ApiError::invalid("action", "must be one of the buttons of the page")),
    }
}

async fn find_checkout<'a>(app: &'a App, id: &str) -> Result<(&'a PaymentSandbox, Checkout), ApiError> {
    let not_there = || ApiError::not_found("checkout");
    let sandbox = app.sandbox_payments.as_deref().ok_or_else(not_there)?;
    let checkout = sandbox.checkout(id).await?.ok_or_else(not_there)?;
    Ok((sandbox, checkout))
}

async fn find_identity<'a>(app: &'a App, id: &str) -> Result<(&'a IdentitySandbox, Identity), ApiError> {
    let not_there = || ApiError::not_found("identity check");
    let sandbox = app.sandbox_identity.as_deref().ok_or_else(not_there)?;
    let identity = sandbox.identity(id).await?.ok_or_else(not_there)?;
    Ok((sandbox, identity))
}

/// `GET /sandbox/payouts/{id}`.
///
/// # Errors
/// 404, 500, 503.
pub async fn payouts(
    State(app): State<Arc<App>>,
    Named(id): Named<String>,
    browser: Browser,
) -> Result<Response, ApiError> {
    let (_, account) = find_payouts(&app, &id).await?;
    let return_url = on_this_host(&app, &account.return_url).to_owned();
    let page = SandboxPayouts { id: account.id, csrf: browser.csrf(), ready: account.ready, return_url };
    Ok((browser.cookies(&app), Page(page)).into_response())
}

/// `POST /sandbox/payouts/{id}`: all that is asked for is there.
///
/// # Errors
/// 403, 404, 415, 422, 500, 503.
pub async fn onboard(
    State(app): State<Arc<App>>,
    Named(id): Named<String>,
    FromBrowser { .. }: FromBrowser,
) -> Result<Redirect, ApiError> {
    let (sandbox, account) = find_payouts(&app, &id).await?;
    sandbox.onboard(&account.id).await?;
    Ok(Redirect::to(on_this_host(&app, &account.return_url)))
}

async fn find_payouts<'a>(app: &'a App, id: &str) -> Result<(&'a PayoutSandbox, SandboxAccount), ApiError> {
    let not_there = || ApiError::not_found("payout account");
    let sandbox = app.sandbox_payouts.as_deref().ok_or_else(not_there)?;
    let account = sandbox.find_account(id).await?.ok_or_else(not_there)?;
    Ok((sandbox, account))
}
