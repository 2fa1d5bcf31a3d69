//! `/api/v1/pairing`: how a machine becomes an Island without anybody copying a token. It has no credentials yet.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use types::island_protocol::Capabilities;
use types::time::SECOND_MS;

use super::extract::{Address, Fields};
use crate::api::operation::{Access, Operation};
use crate::app::App;
use crate::error::ApiError;
use crate::islands::pairing::{self, CODE_MS, INTERVAL_SECS, Machine, Polled};

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::post("/pairing", "beginPairing", begin)
            .says("Ask for a code to pair a machine", "")
            .tag("Islands")
            .access(Access::Public)
            .answers::<Value>(201, "Ask for a code to pair a machine."),
        Operation::post("/pairing/poll", "pollPairing", poll)
            .says("Ask whether a machine was paired", "")
            .tag("Islands")
            .access(Access::Public)
            .answers::<Value>(200, "Ask whether a machine was paired."),
    ]
}

/// `POST /api/v1/pairing`: `name`, `agent_version`, and what the machine is (`public`).
///
/// # Errors
/// 400, 413, 422, 429, 503.
pub async fn begin(
    State(app): State<Arc<App>>,
    Address(address): Address,
    fields: Fields,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let capabilities = fields.get("public").or_else(|| fields.get("capabilities"));
    // What a machine says of itself is for people only: what cannot be read is left out.
    let capabilities: Capabilities =
        capabilities.and_then(|value| serde_json::from_str(value.get()).ok()).unwrap_or_default();
    let (name, version) =
        (fields.text("name")?.unwrap_or_default(), fields.text("agent_version")?.unwrap_or_default());
    let machine = Machine::new(&name, &version, capabilities, address);
    let begun = pairing::begin(&app, machine, app.clock.now()).await?;
    let body = json!({
        "code": begun.code, "poll_token": begun.poll_token, "expires_in_seconds": CODE_MS / SECOND_MS,
        "interval_seconds": INTERVAL_SECS, "pair_url": format!("{}/pair", app.config.public_url()),
    });
    Ok((StatusCode::CREATED, Json(body)))
}

/// `POST /api/v1/pairing/poll`: `poll_token`.
///
/// # Errors
/// 403 when somebody said no, 410 when it is over, 422, 503.
pub async fn poll(State(app): State<Arc<App>>, fields: Fields) -> Result<Response, ApiError> {
    let token = fields.need_text("poll_token")?;
    match pairing::poll(&app, &token, app.clock.now()).await? {
        Polled::Waiting => Ok((StatusCode::ACCEPTED, Json(json!({"status": "waiting"}))).into_response()),
        Polled::Paired { token, island, name } => {
            let body = json!({"status": "paired", "token": token, "island_id": island, "name": name});
            Ok(Json(body).into_response())
        }
        Polled::Expired => {
            let text = "This pairing is over. Ask for another code.";
            Err(ApiError::new(StatusCode::GONE, "expired", text).with("status", "expired"))
        }
        Polled::Refused => {
            let text = "The pairing was refused on the page.";
            Err(ApiError::forbidden("refused", text).with("status", "refused"))
        }
    }
}
