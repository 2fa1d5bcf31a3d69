//! Events of providers, as they came.
//!
//! An event is stored in the transaction of its effect, so what is stored as done was done. One that could not be handled is
//! stored as waiting and answered with 5xx: the provider sends it again, and so can the operator and the reconciler. One that is
//! not understood is parked: stored, told to the operator, and answered as taken, because sending it again would not help.

pub(crate) mod store;

use axum::http::StatusCode;
use db::DbError;
use types::time::Timestamp;

use super::{sandbox, stripe};
use crate::app::App;
use crate::error::ApiError;
use crate::{identity, payouts, purchases};

/// A webhook whose signature is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderEvent {
    /// Whose.
    pub provider: &'static str,
    /// The provider's id of the event: the same event has the same one, however often it is sent.
    pub id: String,
    /// What happened, in the provider's words.
    pub kind: String,
    /// What it is about.
    pub subject: Subject,
    /// As it came, so that it can be looked at and taken up again.
    pub body: String,
}

/// What an event is about, by the provider's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A checkout.
    Checkout(String),
    /// A payment, or a charge.
    Payment(String),
    /// A round of identity verification.
    Identity(String),
    /// A payout from a connected account.
    Payout {
        /// The account.
        account: String,
        /// The payout.
        id: String,
    },
    /// A transfer to a connected account.
    Transfer(String),
    /// A connected account.
    Account(String),
    /// Nothing of ours.
    Other,
    /// Of a kind we should understand and do not.
    Unreadable,
}

impl Subject {
    /// The provider's name for it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Checkout(id)
            | Self::Payment(id)
            | Self::Identity(id)
            | Self::Transfer(id)
            | Self::Account(id)
            | Self::Payout { id, .. } => id,
            Self::Other | Self::Unreadable => "",
        }
    }
}

/// How far an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handled {
    /// What it said was done, or it is none of our business.
    Done,
    /// It could not be handled yet.
    Waiting,
    /// It is not understood.
    Parked,
}

impl Handled {
    /// As stored.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Waiting => "waiting",
            Self::Parked => "parked",
        }
    }
}

/// A stored event.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Whose.
    pub provider: String,
    /// The provider's id of it.
    pub id: String,
    /// What happened, in the provider's words.
    pub kind: String,
    /// What it is about.
    pub subject: String,
    /// `done`, `waiting`, `parked`.
    pub state: String,
    /// Why it waits.
    pub error: Option<String>,
    /// How often it came or was tried.
    pub attempts: i64,
    /// When it came first.
    pub received_at: Timestamp,
}

/// Takes an event whose signature was good: does what it says, and remembers it.
///
/// # Errors
/// An [`ApiError`] when it could not be done; the provider is then told to send it again.
pub async fn receive(app: &App, event: ProviderEvent) -> Result<(), ApiError> {
    let (provider, id) = (event.provider, event.id.clone());
    let known = app.db.read("event", async move |tx| store::is_done(tx, provider, &id).await).await?;
    if known {
        return Ok(());
    }
    metrics::counter!("archipelago_provider_events_total", "kind" => event.kind.clone()).increment(1);
    let handled = handle(app, event.clone()).await;
    if let Err(error) = &handled {
        tracing::warn!(event = %event.id, kind = %event.kind, error = %error.message, "an event waits to be handled");
        note_failure(app, &event, &error.message).await?;
    }
    handled
}

async fn handle(app: &App, event: ProviderEvent) -> Result<(), ApiError> {
    match event.subject.clone() {
        Subject::Checkout(session) => {
            purchases::receive(app, &session, event).await?;
        }
        Subject::Payment(payment) => {
            purchases::reversals::sync(app, &payment, Some(event)).await?;
        }
        Subject::Identity(session) => {
            identity::read(app, &session).await?;
            note(app, &event, Handled::Done).await?;
        }
        // Of payouts, while another provider makes them: nothing of ours.
        Subject::Payout { .. } | Subject::Transfer(_) | Subject::Account(_)
            if event.provider != app.payouts.name() =>
        {
            note(app, &event, Handled::Done).await?;
        }
        Subject::Payout { account, id } => payouts::send::sync_bank(app, &account, &id, event).await?,
        Subject::Transfer(id) => payouts::send::sync_transfer(app, &id, Some(event)).await?,
        Subject::Account(id) => payouts::accounts::sync(app, &id, event).await?,
        Subject::Other => note(app, &event, Handled::Done).await?,
        Subject::Unreadable => {
            tracing::error!(event = %event.id, kind = %event.kind, "an event is not understood; it was parked");
            metrics::counter!("archipelago_provider_events_parked_total").increment(1);
            note(app, &event, Handled::Parked).await?;
        }
    }
    Ok(())
}

/// Remembers an event that has no effect of its own.
///
/// # Errors
/// A [`DbError`].
pub async fn note(app: &App, event: &ProviderEvent, handled: Handled) -> Result<(), DbError> {
    let (now, event) = (app.clock.now(), event.clone());
    app.db.tx("note_event", async move |tx| store::note(tx, &event, handled, now).await).await
}

async fn note_failure(app: &App, event: &ProviderEvent, error: &str) -> Result<(), DbError> {
    let (now, event, error) = (app.clock.now(), event.clone(), error.to_owned());
    app.db.tx("note_event", async move |tx| store::failed(tx, &event, &error, now).await).await
}

/// Events, newest first; only those that are not done, unless all are wanted.
///
/// # Errors
/// A [`DbError`].
pub async fn list(app: &App, all: bool, limit: u32) -> Result<Vec<Stored>, DbError> {
    app.db.read("events", async move |tx| store::list(tx, all, limit).await).await
}

/// Handles a stored event again, whatever became of it before.
///
/// # Errors
/// An [`ApiError`]; 404 if there is none.
pub async fn replay(app: &App, id: &str) -> Result<(), ApiError> {
    let wanted = id.to_owned();
    let stored = app.db.read("event", async move |tx| store::body(tx, &wanted).await).await?;
    let (provider, body) = stored.ok_or_else(|| ApiError::not_found("event"))?;
    let read = if provider == "stripe" { stripe::webhook::read } else { sandbox::read_event };
    let event = read(body.as_bytes()).map_err(|error| {
        ApiError::new(StatusCode::CONFLICT, "unreadable", format!("The event cannot be read: {error}."))
    })?;
    handle(app, event).await
}

/// Handles again what waits.
///
/// # Errors
/// A [`DbError`].
pub async fn retry_once(app: &App) -> Result<(), DbError> {
    let waiting = app.db.read("events", async move |tx| store::waiting(tx, 100).await).await?;
    for id in waiting {
        if let Err(error) = replay(app, &id).await {
            tracing::warn!(event = %id, error = %error.message, "an event still waits to be handled");
        }
    }
    Ok(())
}
