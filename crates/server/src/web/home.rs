//! `/` and `/quickstart`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use ledger::statement::Filter;
use pages::Nav;
use pages::landing::{Landing, Rate};
use pages::quickstart::Quickstart;

use super::Page;
use super::frame::{Said, bare, frame, shown, unit};
use super::session::{SignedIn, Visitor};
use crate::accounts::{User, api_keys};
use crate::app::App;
use crate::config::WorkloadKind;
use crate::error::ApiError;
use crate::identity::{self, Verification};
use crate::jobs::JobError;
use crate::jobs::look::recent_images;
use crate::{credits, islands};

/// `GET /`: the front page; whoever is signed in goes on to the chat.
///
/// # Errors
/// 500, 503.
pub async fn front(State(app): State<Arc<App>>, Visitor(visitor): Visitor, Said(flash): Said) -> Response {
    if visitor.is_some() {
        return Redirect::to("/chat").into_response();
    }
    let mut layout = bare(&app, "AI jobs on other people’s machines");
    layout.flash = flash;
    Page(Landing { layout, rates: rates(&app) }).into_response()
}

fn rates(app: &App) -> Vec<Rate> {
    let rate = |market: &Arc<crate::marketplace::Market>| {
        let (best_ask, islands, _) = market.snapshot();
        Rate {
            name: market.workload.name.clone(),
            best_ask: shown(best_ask),
            unit: unit(&market.workload).to_owned(),
            islands_online: islands.to_string(),
        }
    };
    app.market.all().iter().map(rate).collect()
}

/// `GET /quickstart`.
///
/// # Errors
/// 500, 503.
pub async fn quickstart(
    State(app): State<Arc<App>>,
    SignedIn(session): SignedIn,
) -> Result<Page<Quickstart>, ApiError> {
    let user = &session.user;
    let verification = identity::state(&app, user.id).await?;
    let islands = islands::mine(&app, user).await?;
    Ok(Page(Quickstart {
        layout: frame(&app, Some(&session), "Quickstart", Nav::Quickstart).await?,
        verified: verification.may_spend(),
        verification_pending: matches!(verification, Verification::Pending { .. }),
        bought: !credits::statement(&app, user.wallet, Filter::default(), None, 1).await?.lines.is_empty(),
        chatted: chatted(&app, user).await?,
        has_island: islands
            .iter()
            .any(|(record, connection)| connection.is_some() || record.last_seen_at.is_some()),
        has_key: !api_keys::list(&app, user).await?.is_empty(),
        base_url: app.config.public_url(),
    }))
}

/// Whether a chat of this user was ever answered.
async fn chatted(app: &App, user: &User) -> Result<bool, JobError> {
    for market in app.market.all().iter().filter(|market| market.workload.kind == WorkloadKind::Chat) {
        if !recent_images(app, user.id, market.workload.id, 1).await?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}
