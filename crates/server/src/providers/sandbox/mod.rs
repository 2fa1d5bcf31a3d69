//! What the sandbox providers share: events, written with the state they tell of, delivered as signed webhooks
//! until they are answered with a success. Delivery goes through the same router, extractor and signature check as a
//! real provider's would.

pub(crate) mod store;

use db::{DbError, Tx};
use serde::{Deserialize, Serialize};
use types::time::{SECOND_MS, Timestamp};

use super::SignatureError;
use super::events::{ProviderEvent, Subject};
use crate::app::App;

/// An event of a sandbox provider.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Its id.
    pub id: String,
    /// `checkout.completed`, `checkout.async_succeeded`, `checkout.async_failed`, `checkout.expired`, `identity.updated`.
    pub kind: String,
    /// The session it is about.
    pub session: String,
}

/// Reads the body of a webhook whose signature was good.
///
/// # Errors
/// [`SignatureError::Unreadable`] if it is no event.
pub fn read_event(body: &[u8]) -> Result<ProviderEvent, SignatureError> {
    let event: Event = serde_json::from_slice(body).map_err(|_| SignatureError::Unreadable)?;
    let subject = match event.kind.split_once('.') {
        Some(("identity", _)) => Subject::Identity(event.session),
        Some(("payment", _)) => Subject::Payment(event.session),
        _ => Subject::Checkout(event.session),
    };
    let body = String::from_utf8_lossy(body).into_owned();
    Ok(ProviderEvent { provider: "sandbox", id: event.id, kind: event.kind, subject, body })
}

/// A webhook to be sent.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The event's id.
    pub event_ref: String,
    /// What is sent.
    pub body: String,
    /// How often it was tried.
    pub attempts: i64,
}

/// Waits before trying again: 1 s, 2 s, 4 s, … up to a minute.
fn backoff_ms(attempts: i64) -> i64 {
    SECOND_MS << attempts.clamp(0, 6)
}

/// Queues an event in the transaction that changes what it is about.
///
/// # Errors
/// A [`DbError`].
pub async fn queue(tx: &mut Tx<'_>, event: &Event, due: Timestamp) -> Result<(), DbError> {
    let body = serde_json::to_string(event).map_err(|error| DbError::Other(error.to_string()))?;
    store::insert_delivery(tx, &event.id, &body, due).await
}

/// Deliveries that are due, oldest first.
///
/// # Errors
/// A [`DbError`].
pub async fn due(app: &App) -> Result<Vec<Delivery>, DbError> {
    let now = app.clock.now();
    app.db.read("sandbox_due", async move |tx| store::due(tx, now).await).await
}

/// Notes how a delivery went.
///
/// # Errors
/// A [`DbError`].
pub async fn note(app: &App, delivery: &Delivery, delivered: bool) -> Result<(), DbError> {
    let now = app.clock.now();
    let next = now.plus_millis(backoff_ms(delivery.attempts));
    let event_ref = delivery.event_ref.clone();
    app.db
        .tx("sandbox_delivery", async move |tx| {
            if delivered {
                store::delivered(tx, &event_ref, now).await
            } else {
                store::postponed(tx, &event_ref, next).await
            }
        })
        .await
}
