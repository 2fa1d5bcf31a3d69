//! `/settings`: profile, verification, new and revoked API keys, sessions.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use pages::settings::{BidField, KeyDraft, NewKey, Settings};
use pages::{Badge, Flash, Nav, Tone};
use serde_json::value::RawValue;
use types::id::ApiKeyId;
use types::money::MicroCredits;

use super::error::capitalised;
use super::forms::Posted;
use super::frame::{Said, frame, unit};
use super::keys;
use super::session::{self, Named, SignedIn};
use super::{Page, to_the_end};
use crate::accounts::api_keys::{self, KeyError, Scopes};
use crate::accounts::sessions::{self, Session};
use crate::accounts::{self, MAX_NAME, bids};
use crate::api::jobs::parse_bid;
use crate::app::App;
use crate::error::ApiError;
use crate::idempotency::Once;
use crate::identity::{self, Verification};
use crate::islands::alerts;
use crate::marketplace::Workload;

/// `GET /settings`.
///
/// # Errors
/// 500, 503.
pub async fn show(
    State(app): State<Arc<App>>,
    SignedIn(session): SignedIn,
    Said(flash): Said,
) -> Result<Page<Settings>, ApiError> {
    page(&app, &session, Shown::new(flash)).await
}

/// `POST /settings/profile`.
///
/// # Errors
/// 401, 403, 415, 422, 429, 500, 503.
pub async fn rename(
    State(app): State<Arc<App>>,
    Posted { session, form }: Posted,
) -> Result<Response, ApiError> {
    if accounts::rename(&app, &session.user, form.get("name"), &Once::unclaimed()).await? {
        return Ok(Redirect::to("/settings?done=profile_saved").into_response());
    }
    let text = format!("The name can have at most {MAX_NAME} letters, on one line. Nothing was changed.");
    let page = page(&app, &session, Shown::new(Some(Flash::bad(text)))).await?;
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
    let scopes = Scopes {
        read: form.ticked("scope_read"),
        write: form.ticked("scope_write"),
        manage: form.ticked("scope_manage"),
    };
    let request = keys::request(&app, &form, scopes);
    let made = match request {
        Ok(request) => api_keys::create(&app, &session.user, None, request, &Once::unclaimed()).await,
        Err(error) => Err(error),
    };
    let error = match made {
        Ok((made, secret)) => {
            let new = NewKey { name: made.key.name, key: secret };
            return Ok(with_new_key(&app, &session, new).await?.into_response());
        }
        Err(error) => error,
    };
    let (status, text) = match &error {
        KeyError::TooMany => (StatusCode::CONFLICT, capitalised(&error.to_string())),
        error if keys::is_of_form(error) => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "No key was made. See what is wrong with the form of the new key below.".to_owned(),
        ),
        _ => return Err(error.into()),
    };
    let shown = Shown { draft: keys::draft(&form, scopes, &error), ..Shown::new(Some(Flash::bad(text))) };
    Ok((status, page(&app, &session, shown).await?).into_response())
}

/// The page with a key's secret, which is shown this once.
///
/// # Errors
/// 500, 503.
pub async fn with_new_key(app: &App, session: &Session, new: NewKey) -> Result<Page<Settings>, ApiError> {
    page(app, session, Shown { new_key: Some(new), ..Shown::new(None) }).await
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
    // A browser that goes away in the middle must not leave the key in memory.
    to_the_end(async move { api_keys::revoke(&app, &session.user, None, id, &Once::unclaimed()).await })
        .await??;
    Ok(Redirect::to("/settings?done=key_revoked"))
}

/// `POST /settings/islands`: whether the user wants letters about their Islands.
///
/// # Errors
/// 401, 403, 415, 429, 500, 503.
pub async fn island_letters(
    State(app): State<Arc<App>>,
    Posted { session, form }: Posted,
) -> Result<Redirect, ApiError> {
    alerts::want(&app, session.user.id, form.ticked("island_letters"), &Once::unclaimed()).await?;
    Ok(Redirect::to("/settings?done=letters_saved"))
}

/// `POST /settings/bids`: what the user's jobs pay at most for each Cargo; an empty field sets none.
///
/// # Errors
/// 401, 403, 415, 422, 429, 500, 503.
pub async fn save_bids(
    State(app): State<Arc<App>>,
    Posted { session, form }: Posted,
) -> Result<Response, ApiError> {
    let mut fields = bid_fields(&app, &session);
    let mut wanted = Vec::new();
    for (market, field) in app.market.all().iter().zip(&mut fields) {
        field.bid = form.get(&market.workload.slug).trim().to_owned();
        match read_bid(&field.bid) {
            Ok(bid) => wanted.push((market.workload.id, bid)),
            Err(error) => field.error = Some(capitalised(&error.message)),
        }
    }
    if fields.iter().any(|field| field.error.is_some()) {
        let flash =
            Flash::bad("Nothing was changed. See what is wrong with your max prices below.".to_owned());
        let shown = Shown { bids: Some(fields), ..Shown::new(Some(flash)) };
        return Ok((StatusCode::UNPROCESSABLE_ENTITY, page(&app, &session, shown).await?).into_response());
    }
    bids::set_all(&app, &session.user, wanted, &Once::unclaimed()).await?;
    Ok(Redirect::to("/settings?done=bids_saved").into_response())
}

fn read_bid(typed: &str) -> Result<Option<MicroCredits>, ApiError> {
    if typed.is_empty() {
        return Ok(None);
    }
    let raw = RawValue::from_string(format!("\"{}\"", typed.replace(['"', '\\'], "?")));
    parse_bid(&raw.map_err(|_| ApiError::invalid("bid_price", "must be a number of credits"))?).map(Some)
}

fn bid_fields(app: &App, session: &Session) -> Vec<BidField> {
    let field = |workload: &Workload| BidField {
        slug: workload.slug.clone(),
        name: workload.name.clone(),
        unit: unit(workload).to_owned(),
        ceiling: workload.ceiling.display_grouped(),
        bid: session.user.bids.get(workload.id).map(|bid| bid.to_string()).unwrap_or_default(),
        error: None,
    };
    app.market.all().iter().map(|market| field(&market.workload)).collect()
}

/// `POST /settings/sessions/end`: signs out everywhere, here too.
///
/// # Errors
/// 401, 403, 415, 429, 500, 503.
pub async fn end_sessions(
    State(app): State<Arc<App>>,
    Posted { session, .. }: Posted,
) -> Result<Response, ApiError> {
    sessions::end_all(&app, session.user.id, &Once::unclaimed()).await?;
    let forgotten = AppendHeaders([session::forget(&app)]);
    Ok((forgotten, Redirect::to("/login?done=signed_out_everywhere")).into_response())
}

/// What the page shows besides what is stored.
struct Shown {
    flash: Option<Flash>,
    new_key: Option<NewKey>,
    draft: KeyDraft,
    bids: Option<Vec<BidField>>,
}

impl Shown {
    fn new(flash: Option<Flash>) -> Self {
        Self { flash, new_key: None, draft: keys::empty_draft(), bids: None }
    }
}

async fn page(app: &App, session: &Session, shown: Shown) -> Result<Page<Settings>, ApiError> {
    let user = &session.user;
    let mut layout = frame(app, Some(session), "Settings", Nav::Settings).await?;
    layout.flash = shown.flash;
    let (verification, note) = standing(&identity::state(app, user.id).await?);
    Ok(Page(Settings {
        layout,
        name: user.name.clone(),
        email: user.email.clone(),
        verification,
        verification_note: note.to_owned(),
        keys: api_keys::list(app, user).await?.iter().map(|key| keys::row(key, app.clock.now())).collect(),
        new_key: shown.new_key,
        draft: shown.draft,
        island_letters: alerts::wanted(app, user.id).await?,
        bids: shown.bids.unwrap_or_else(|| bid_fields(app, session)),
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
