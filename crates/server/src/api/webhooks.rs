//! Webhooks of providers: the raw body's signature first, then parsed, then handed over. Anything unclear is refused; 5xx
//! only when we failed, so that the provider sends it again.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::extract::unreadable;
use crate::app::App;
use crate::error::ApiError;
use crate::{identity, purchases};

/// `POST /webhooks/sandbox`.
///
/// # Errors
/// 400 for a bad signature, 5xx when it could not be stored.
pub async fn sandbox(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, ApiError> {
    let body = body.map_err(unreadable)?;
    let signature = headers.get("sandbox-signature").and_then(|value| value.to_str().ok());
    let event = app.payments.webhook(signature, &body).map_err(|error| {
        tracing::warn!(%error, "a webhook was refused");
        ApiError::new(StatusCode::BAD_REQUEST, "bad_signature", format!("Refused: {error}."))
    })?;
    // To the end, even if the provider hangs up: what is written must also be told to the pages.
    let handled = tokio::spawn(async move {
        if event.kind.starts_with("identity.") {
            identity::read(&app, &event.session).await.map_err(ApiError::from)
        } else {
            purchases::receive(&app, event).await.map_err(ApiError::from)
        }
    });
    handled.await.unwrap_or_else(|_| Err(ApiError::unavailable("The webhook could not be handled.")))?;
    Ok(Json(json!({"received": true})))
}
