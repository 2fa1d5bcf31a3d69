//! `/islands`: the user's own machines, their tokens, and what they earned.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use pages::islands::{ConfirmAsk, Islands, NewToken, TokenRow};
use pages::{Flash, FlashKind, Nav};
use types::id::IslandId;

use super::error::capitalised;
use super::forms::Posted;
use super::frame::{Said, frame, when};
use super::session::{Named, SignedIn};
use super::{Page, owner, to_the_end};
use crate::accounts::sessions::Session;
use crate::app::App;
use crate::credits::{self, MoveError};
use crate::error::ApiError;
use crate::idempotency::Once;
use crate::islands::standing::{self, Change};
use crate::islands::{self, IslandError, IslandRecord};
use crate::marketplace::rates::Span;

/// `GET /islands?window=24h|7d|30d`.
///
/// # Errors
/// 422, 500, 503.
pub async fn show(
    State(app): State<Arc<App>>,
    SignedIn(session): SignedIn,
    Query(query): Query<HashMap<String, String>>,
    Said(flash): Said,
) -> Result<Page<Islands>, ApiError> {
    let span = match query.get("window") {
        None => Span::default(),
        Some(name) => Span::from_name(name)
            .filter(|span| *span != Span::Hour)
            .ok_or_else(|| ApiError::invalid("window", "must be 24h, 7d or 30d"))?,
    };
    full(&app, &session, span, (None, None), flash).await
}

/// `POST /islands/tokens`: makes a token and shows it, this once.
///
/// # Errors
/// 401, 403, 415, 422, 429, 500, 503.
pub async fn create_token(
    State(app): State<Arc<App>>,
    Posted { session, form }: Posted,
) -> Result<Response, ApiError> {
    let name = form.get("name").trim();
    match islands::create(&app, &session.user, name, false, &Once::unclaimed()).await {
        Ok((_, token)) => {
            let new = new_token(&app, name.to_owned(), token);
            Ok(page(&app, &session, Some(new), None).await?.into_response())
        }
        Err(error @ (IslandError::Name | IslandError::TooMany)) => {
            let (status, text) = match error {
                IslandError::Name => (StatusCode::UNPROCESSABLE_ENTITY, format!("The name {error}.")),
                _ => (StatusCode::CONFLICT, capitalised(&error.to_string())),
            };
            Ok((status, page(&app, &session, None, Some(Flash::bad(text))).await?).into_response())
        }
        Err(error) => Err(error.into()),
    }
}

/// `POST /islands/tokens/{id}/revoke`.
///
/// # Errors
/// 401, 403, 404, 415, 429, 500, 503.
pub async fn revoke_token(
    State(app): State<Arc<App>>,
    Named(id): Named<IslandId>,
    Posted { session, .. }: Posted,
) -> Result<Redirect, ApiError> {
    islands::revoke(&app, &session.user, id, &Once::unclaimed()).await?;
    Ok(Redirect::to("/islands?done=token_revoked"))
}

/// `POST /islands/tokens/{id}/replace`: another token, shown this once. The one before is good for an hour more.
///
/// # Errors
/// 401, 403, 404, 415, 429, 500, 503.
pub async fn replace_token(
    State(app): State<Arc<App>>,
    Named(id): Named<IslandId>,
    Posted { session, .. }: Posted,
) -> Result<Page<Islands>, ApiError> {
    let record = islands::find(&app, id).await?.filter(|record| record.owner == session.user.id);
    let name = record.ok_or_else(|| ApiError::not_found("Island"))?.name;
    let token = islands::rotate(&app, &session.user, id, islands::GRACE_SECS, &Once::unclaimed()).await?;
    let flash = "Put the new token on the machine: the old one is good for one more hour.";
    let flash = Flash { kind: FlashKind::Info, text: flash.to_owned() };
    page(&app, &session, Some(new_token(&app, name, token)), Some(flash)).await
}

/// `POST /islands/{id}/suspend`: no new jobs for it.
///
/// # Errors
/// 401, 403, 404, 415, 429, 500, 503.
pub async fn suspend(
    State(app): State<Arc<App>>,
    Named(id): Named<IslandId>,
    Posted { session, .. }: Posted,
) -> Result<Redirect, ApiError> {
    let change = Change::ByOwner { owner: session.user.id, suspended: true };
    standing::change(&app, id, change).await?.ok_or_else(|| ApiError::not_found("Island"))?;
    Ok(Redirect::to("/islands?done=island_suspended"))
}

/// `POST /islands/{id}/resume`: jobs again.
///
/// # Errors
/// 401, 403, 404, 415, 429, 500, 503.
pub async fn resume(
    State(app): State<Arc<App>>,
    Named(id): Named<IslandId>,
    Posted { session, .. }: Posted,
) -> Result<Redirect, ApiError> {
    let change = Change::ByOwner { owner: session.user.id, suspended: false };
    standing::change(&app, id, change).await?.ok_or_else(|| ApiError::not_found("Island"))?;
    Ok(Redirect::to("/islands?done=island_resumed"))
}

/// `POST /islands/earnings/move`: all of it into the wallet.
///
/// # Errors
/// 401, 403, 415, 429, 500, 503.
pub async fn move_earnings(
    State(app): State<Arc<App>>,
    Posted { session, .. }: Posted,
) -> Result<Redirect, ApiError> {
    match to_the_end(async move { credits::move_earnings(&app, &session.user, &Once::unclaimed()).await })
        .await?
    {
        Ok(_) => Ok(Redirect::to("/islands?done=earnings_moved")),
        Err(MoveError::Nothing) => Ok(Redirect::to("/islands?done=nothing_to_move")),
        Err(error) => Err(error.into()),
    }
}

fn new_token(app: &App, name: String, token: String) -> NewToken {
    let command = format!("island --coordinator {} --token {token}", app.config.public_url());
    NewToken { name, token, command }
}

pub(super) async fn page(
    app: &App,
    session: &Session,
    new_token: Option<NewToken>,
    flash: Option<Flash>,
) -> Result<Page<Islands>, ApiError> {
    full(app, session, Span::default(), (new_token, None), flash).await
}

/// The page with all that can be on it.
pub(super) async fn full(
    app: &App,
    session: &Session,
    span: Span,
    (new_token, confirm): (Option<NewToken>, Option<ConfirmAsk>),
    flash: Option<Flash>,
) -> Result<Page<Islands>, ApiError> {
    let mut layout = frame(app, Some(session), "Islands", Nav::Islands).await?;
    layout.flash = flash;
    let earnings = credits::balance(app, session.user.earnings).await?.available();
    let mine = islands::owner::overview(app, session.user.id).await?;
    let seen: Vec<_> = mine.iter().filter(|one| one.online || one.record.last_seen_at.is_some()).collect();
    Ok(Page(Islands {
        layout,
        islands: seen.iter().map(|one| owner::island_row(app, one)).collect(),
        tokens: mine.iter().map(|one| token_row(&one.record)).collect(),
        earnings: earnings.display_grouped(),
        earnings_usd: format!("≈ {}", earnings.approximate_usd()),
        can_move: earnings.is_positive(),
        payouts: super::payouts::view(app, &session.user).await?,
        new_token,
        fee_percent: app.config.market.fee_percent.to_string(),
        work: if seen.is_empty() {
            None
        } else {
            Some(owner::work(app, &session.user, seen.len(), span).await?)
        },
        asks: owner::asks(app, &seen).await?,
        confirm,
        pair_command: format!("island pair --coordinator {}", app.config.public_url()),
    }))
}

fn token_row(record: &IslandRecord) -> TokenRow {
    TokenRow {
        id: record.id.to_string(),
        name: record.name.clone(),
        prefix: record.token_prefix.clone(),
        created: when(record.created_at),
        last_used: record.last_seen_at.map(when),
    }
}
