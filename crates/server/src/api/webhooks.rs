//! Webhooks of providers: the raw body's signature first, then parsed, then handed over. Anything unclear is refused; 5xx
//! only when we failed, so that the provider sends it again.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::extract::unreadable;
use super::words::AnyObject;
use crate::api::operation::{Access, Operation};
use crate::app::App;
use crate::error::ApiError;
use crate::providers::events::{self, ProviderEvent};
use crate::providers::{self, SignatureError};

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        signed_by(Operation::post("/webhooks/sandbox", "takeSandboxEvent", sandbox))
            .says("Events of the sandbox providers", "The sandboxes call this by themselves.")
            .header::<String>("sandbox-signature", "The signature of the body."),
        signed_by(Operation::post("/webhooks/stripe", "takeStripeEvent", stripe))
            .says("Events of Stripe", "What to enter as the address of a webhook in Stripe's dashboard.")
            .header::<String>("stripe-signature", "The signature of the body.")
            .errors(&["not_found"]),
    ]
}

fn signed_by(operation: Operation) -> Operation {
    operation
        .tag("Server")
        .at_root()
        .access(Access::Signed)
        .body::<AnyObject>(json!({}))
        .answers::<Received>(200, "The event is stored; it is not sent again.")
        .errors(&["bad_signature"])
}

/// That an event was taken.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Received {
    /// `true`.
    received: bool,
}

/// `POST /webhooks/sandbox`.
///
/// # Errors
/// 400 for a bad signature, 5xx when it could not be stored.
pub async fn sandbox(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Received>, ApiError> {
    let secrets = std::slice::from_ref(&app.sandbox_secret);
    let body = signed(&app, secrets, &headers, "sandbox-signature", body)?;
    take(app, providers::sandbox::read_event(&body)).await
}

/// `POST /webhooks/stripe`.
///
/// # Errors
/// 400 for a bad signature, 404 when Stripe is not in use, 5xx when it could not be stored.
pub async fn stripe(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Received>, ApiError> {
    if app.stripe.is_none() {
        return Err(ApiError::not_found("webhook: Stripe is not in use here"));
    }
    let body = signed(&app, &app.config.stripe.webhook_secrets, &headers, "stripe-signature", body)?;
    take(app, providers::stripe::webhook::read(&body)).await
}

/// The body, if it is signed.
fn signed(
    app: &App,
    secrets: &[String],
    headers: &HeaderMap,
    name: &str,
    body: Result<Bytes, BytesRejection>,
) -> Result<Bytes, ApiError> {
    let body = body.map_err(unreadable)?;
    let signature = headers.get(name).and_then(|value| value.to_str().ok());
    providers::verify(secrets, signature, &body, app.clock.now()).map_err(refused)?;
    Ok(body)
}

async fn take(
    app: Arc<App>,
    event: Result<ProviderEvent, SignatureError>,
) -> Result<Json<Received>, ApiError> {
    let event = event.map_err(refused)?;
    // To the end, even if the provider hangs up: what is written must also be told to the pages.
    let handled = tokio::spawn(async move { events::receive(&app, event).await });
    handled.await.unwrap_or_else(|_| Err(ApiError::unavailable("The webhook could not be handled.")))?;
    Ok(Json(Received { received: true }))
}

fn refused(error: SignatureError) -> ApiError {
    tracing::warn!(%error, "a webhook was refused");
    metrics::counter!("archipelago_webhooks_refused_total").increment(1);
    ApiError::new(StatusCode::BAD_REQUEST, "bad_signature", format!("Refused: {error}."))
}
