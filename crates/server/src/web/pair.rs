//! `/pair`: an owner enters the code that a machine shows, sees which machine it is, and says yes or no.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use pages::pair::{Pair, PairState};
use pages::{Flash, Nav};

use super::Page;
use super::error::capitalised;
use super::forms::Posted;
use super::frame::frame;
use super::session::SignedIn;
use crate::accounts::sessions::Session;
use crate::app::App;
use crate::error::ApiError;
use crate::idempotency::Once;
use crate::islands::IslandError;
use crate::islands::pairing::{self, Pairing, PairingError};

/// `GET /pair`, `GET /pair?code=…`: the code is filled in, and nothing else: whoever follows a link decides nothing.
///
/// # Errors
/// 500, 503.
pub async fn show(
    State(app): State<Arc<App>>,
    SignedIn(session): SignedIn,
    Query(query): Query<std::collections::HashMap<String, String>>,
) -> Result<Page<Pair>, ApiError> {
    let code = query.get("code").and_then(|code| pairing::normalise(code)).unwrap_or_default();
    page(&app, &session, PairState::Enter { code }, None).await
}

/// `POST /pair`: shows which machine it is.
///
/// # Errors
/// 401, 403, 415, 422, 429, 500, 503.
pub async fn look(
    State(app): State<Arc<App>>,
    Posted { session, form }: Posted,
) -> Result<Response, ApiError> {
    let code = form.get("code");
    match pairing::look(&app, &session.user, code, app.clock.now()).await {
        Ok(found) => {
            let state = ask(&found, code, &found.machine.name);
            Ok(page(&app, &session, state, None).await?.into_response())
        }
        Err(error) => refused(&app, &session, code, error).await,
    }
}

/// `POST /pair/confirm`: yes.
///
/// # Errors
/// 401, 403, 409, 415, 422, 429, 500, 503.
pub async fn confirm(
    State(app): State<Arc<App>>,
    Posted { session, form }: Posted,
) -> Result<Response, ApiError> {
    let (code, name, now) = (form.get("code"), form.get("name"), app.clock.now());
    match pairing::confirm(&app, &session.user, code, name, now, &Once::unclaimed()).await {
        Ok((_, name)) => Ok(page(&app, &session, PairState::Done { name }, None).await?.into_response()),
        Err(PairingError::Island(IslandError::Name)) => {
            let found = match pairing::look(&app, &session.user, code, now).await {
                Ok(found) => found,
                Err(error) => return refused(&app, &session, code, error).await,
            };
            let flash = Flash::bad(format!("The name {}.", IslandError::Name));
            let page = page(&app, &session, ask(&found, code, name), Some(flash)).await?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
        Err(error) => refused(&app, &session, code, error).await,
    }
}

/// `POST /pair/refuse`: no.
///
/// # Errors
/// 401, 403, 415, 422, 429, 500, 503.
pub async fn refuse(
    State(app): State<Arc<App>>,
    Posted { session, form }: Posted,
) -> Result<Response, ApiError> {
    let code = form.get("code");
    match pairing::refuse(&app, &session.user, code, app.clock.now(), &Once::unclaimed()).await {
        Ok(()) => Ok(Redirect::to("/islands?done=pairing_refused").into_response()),
        Err(error) => refused(&app, &session, code, error).await,
    }
}

fn ask(found: &Pairing, code: &str, name: &str) -> PairState {
    let (machine, about) = (&found.machine, &found.machine.capabilities);
    let mut facts = vec![("Asks from", machine.address.clone()), ("Agent", machine.agent_version.clone())];
    facts.push(("Graphics card", about.gpu_model.clone().unwrap_or_default()));
    let size = |mebibytes: Option<u32>| mebibytes.map(|size| format!("{size} MiB")).unwrap_or_default();
    facts.push(("Its memory", size(about.gpu_vram_mb)));
    facts.push(("Processor cores", about.cpu_cores.map(|cores| cores.to_string()).unwrap_or_default()));
    facts.push(("Memory", size(about.ram_mb)));
    facts.push(("Region", about.region.clone().unwrap_or_default()));
    facts.retain(|(_, text)| !text.is_empty());
    PairState::Confirm {
        code: pairing::normalise(code).unwrap_or_default(),
        name: name.to_owned(),
        facts: facts.into_iter().map(|(label, text)| (label.to_owned(), text)).collect(),
    }
}

async fn refused(
    app: &App,
    session: &Session,
    code: &str,
    error: PairingError,
) -> Result<Response, ApiError> {
    let (status, text) = match &error {
        PairingError::Unknown => (StatusCode::UNPROCESSABLE_ENTITY, format!("That {error}.")),
        PairingError::TooManyMisses => (StatusCode::TOO_MANY_REQUESTS, sentence(&error)),
        PairingError::Island(IslandError::TooMany) => (StatusCode::CONFLICT, sentence(&error)),
        _ => return Err(error.into()),
    };
    let code = pairing::normalise(code).unwrap_or_default();
    let page = page(app, session, PairState::Enter { code }, Some(Flash::bad(text))).await?;
    Ok((status, page).into_response())
}

fn sentence(error: &PairingError) -> String {
    format!("{}.", capitalised(&error.to_string()).trim_end_matches('.'))
}

async fn page(
    app: &App,
    session: &Session,
    state: PairState,
    flash: Option<Flash>,
) -> Result<Page<Pair>, ApiError> {
    let mut layout = frame(app, Some(session), "Pair a machine", Nav::Islands).await?;
    layout.flash = flash;
    Ok(Page(Pair { layout, state }))
}
