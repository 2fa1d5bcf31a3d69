//! `/verify`: the identity check.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Redirect;
use pages::Nav;
use pages::sandbox::COUNTRIES;
use pages::verify::{Verify, VerifyState};

use super::forms::Posted;
use super::frame::{Said, day, frame};
use super::session::{SignedIn, on_this_host};
use super::{Page, to_the_end};
use crate::app::App;
use crate::error::ApiError;
use crate::identity::{self, IdentityError, Verification};

/// How long the page waits for the provider's word where one goes on.
const RESUME: Duration = Duration::from_secs(3);

/// `GET /verify`.
///
/// # Errors
/// 500, 503.
pub async fn show(
    State(app): State<Arc<App>>,
    SignedIn(session): SignedIn,
    Said(flash): Said,
) -> Result<Page<Verify>, ApiError> {
    let state = match identity::state(&app, session.user.id).await? {
        Verification::Unverified => VerifyState::Unverified,
        Verification::Pending { session } => {
            // Without an answer the page says the same and can be looked at again.
            let asked = tokio::time::timeout(RESUME, app.identity.resume(&session)).await;
            let url = asked.ok().and_then(Result::ok).flatten();
            VerifyState::Pending { continue_url: url.map(|url| on_this_host(&app, &url).to_owned()) }
        }
        Verification::Verified { country, at } => {
            VerifyState::Verified { date: day(at), country: country_name(&country) }
        }
        Verification::Rejected { reason } => VerifyState::Rejected { reason },
    };
    let mut layout = frame(&app, Some(&session), "Verification", Nav::Settings).await?;
    layout.flash = flash;
    Ok(Page(Verify { layout, state }))
}

/// `POST /verify/start`: on to the page of the identity provider.
///
/// # Errors
/// 401, 403, 429, 500, 503.
pub async fn start(
    State(app): State<Arc<App>>,
    Posted { session, .. }: Posted,
) -> Result<Redirect, ApiError> {
    let task = Arc::clone(&app);
    match to_the_end(async move { identity::start(&task, &session.user).await }).await? {
        Ok(url) => Ok(Redirect::to(on_this_host(&app, &url))),
        Err(IdentityError::AlreadyVerified) => Ok(Redirect::to("/verify")),
        Err(IdentityError::Provider(error)) => {
            tracing::error!(%error, "an identity check could not be opened");
            Ok(Redirect::to("/verify?done=verification_unavailable"))
        }
        Err(IdentityError::Db(error)) => Err(error.into()),
    }
}

/// `GET /verify/return`: back from the identity provider.
///
/// # Errors
/// 500, 503.
pub async fn back(State(app): State<Arc<App>>, SignedIn(session): SignedIn) -> Result<Redirect, ApiError> {
    let user = session.user.id;
    if let Err(error) = to_the_end(async move { identity::refresh(&app, user).await }).await? {
        // The webhook brings the news; the page waits for it.
        tracing::warn!(%error, %user, "the verification of {user} could not be read");
    }
    Ok(Redirect::to("/verify"))
}

fn country_name(code: &str) -> String {
    let known = COUNTRIES.iter().find(|(known, _)| *known == code);
    match known {
        Some((_, name)) => (*name).to_owned(),
        None if code.is_empty() => "Not recorded".to_owned(),
        None => code.to_owned(),
    }
}
