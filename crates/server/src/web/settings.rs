//! `/settings`: profile, verification, API keys, sessions.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use pages::settings::{KeyRow, NewKey, Settings};
use pages::{Badge, Flash, Nav, Tone};
use types::id::ApiKeyId;

use super::Page;
use super::error::capitalised;
use super::forms::Posted;
use super::frame::{Said, frame, shown, when};
use super::session::{self, Named, SignedIn};
use crate::accounts::api_keys::{self, ApiKey, KeyError, KeyRequest, Scopes};
use crate::accounts::sessions::{self, Session};
use crate::accounts::{self, MAX_NAME};
use crate::app::App;
use crate::error::ApiError;
use crate::identity::{self, Verification};

/// `GET /settings`.
///
/// # Errors
/// 500, 503.
pub async fn show(
    State(app): State<Arc<App>>,
    SignedIn(session): SignedIn,
    Said(flash): Said,
) -> Result<Page<Settings>, ApiError> {
    page(&app, &session, None, flash).await
}

/// `POST /settings/profile`.
///
/// # Errors
/// 401, 403, 415, 422, 429, 500, 503.
pub async fn rename(
    State(app): State<Arc<App>>,
    Posted { session, form }: Posted,
) -> Result<Response, ApiError> {
    if accounts::rename(&app, &session.user, form.get("name")).await? {
        return Ok(Redirect::to("/settings?done=profile_saved").into_response());
    }
    let text = format!("The name can have at most {MAX_NAME} letters, on one line. Nothing was changed.");
    let page = page(&app, &session, None, Some(Flash::bad(text))).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

/// `POST /settings/keys`: makes a key and shows it, this once.
///
/// # Errors
/// 401, 403, 415, 422, 429, 500, 503.
pub async fn create_key(
    State(app): State<Arc<App>>,
    Posted { session, form }: Posted,
) -> Result<Response, ApiError> {
    let scopes = Scopes { read: form.ticked("scope_read"), write: form.ticked("scope_write") };
    let made = match KeyRequest::new(form.get("name"), scopes, Some(form.get("limit"))) {
        Ok(request) => api_keys::create(&app, &session.user, request).await,
        Err(error) => Err(error),
    };
    let (status, text) = match made {
        Ok((key, secret)) => {
            let new = NewKey { name: key.name, key: secret };
            return Ok(page(&app, &session, Some(new), None).await?.into_response());
        }
        Err(KeyError::Name) => (StatusCode::UNPROCESSABLE_ENTITY, "Give the key a name of 1 to 64 letters.".to_owned()),
        Err(KeyError::Scopes) => {
            (StatusCode::UNPROCESSABLE_ENTITY, "Tick what the key may do: read, write, or both.".to_owned())
        }
        Err(KeyError::Limit) => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "The spending limit must be a number of credits above 0, such as 100. Leave it empty for no limit.".to_owned(),
        ),
        Err(error @ KeyError::TooMany) => (StatusCode::CONFLICT, capitalised(&error.to_string())),
        Err(error) => return Err(error.into()),
    };
    Ok((status, page(&app, &session, None, Some(Flash::bad(text))).await?).into_response())
}

/// `POST /settings/keys/{id}/revoke`.
///
/// # Errors
/// 401, 403, 404, 415, 429, 500, 503.
pub async fn revoke_key(
    State(app): State<Arc<App>>,
    Named(id): Named<ApiKeyId>,
    Posted { session, .. }: Posted,
) -> Result<Redirect, ApiError> {
    if !api_keys::revoke(&app, &session.user, id).await? {
        return Err(ApiError::not_found("API key"));
    }
    Ok(Redirect::to("/settings?done=key_revoked"))
}

/// `POST /settings/sessions/end`: signs out everywhere, here too.
///
/// # Errors
/// 401, 403, 415, 429, 500, 503.
pub async fn end_sessions(
    State(app): State<Arc<App>>,
    Posted { session, .. }: Posted,
) -> Result<Response, ApiError> {
    sessions::end_all(&app, session.user.id).await?;
    let forgotten = AppendHeaders([session::forget(&app)]);
    Ok((forgotten, Redirect::to("/login?done=signed_out_everywhere")).into_response())
}

async fn page(
    app: &App,
    session: &Session,
    new_key: Option<NewKey>,
    flash: Option<Flash>,
) -> Result<Page<Settings>, ApiError> {
    let user = &session.user;
    let mut layout = frame(app, Some(session), "Settings", Nav::Settings).await?;
    layout.flash = flash;
    let (verification, note) = standing(&identity::state(app, user.id).await?);
    Ok(Page(Settings {
        layout,
        name: user.name.clone(),
        email: user.email.clone(),
        verification,
        verification_note: note.to_owned(),
        keys: api_keys::list(app, user).await?.iter().map(key_row).collect(),
        new_key,
    }))
}

fn standing(verification: &Verification) -> (Badge, &'static str) {
    match verification {
        Verification::Unverified => {
            (Badge::new("not verified", Tone::Plain), "It is needed once, before credits can be spent.")
        }
        Verification::Pending { .. } => {
            (Badge::new("pending", Tone::Warn), "We are checking. Spending opens with the result.")
        }
        Verification::Verified { .. } => (Badge::new("verified", Tone::Good), "You can spend credits."),
        Verification::Rejected { .. } => {
            (Badge::new("not accepted", Tone::Bad), "The check did not succeed. You can try again.")
        }
    }
}

fn key_row(key: &ApiKey) -> KeyRow {
    KeyRow {
        id: key.id.to_string(),
        name: key.name.clone(),
        prefix: key.prefix.clone(),
        scopes: key.scopes.words().join(", "),
        limit: shown(key.spend_limit),
        created: when(key.created_at),
        last_used: key.last_used_at.map(when),
    }
}
