//! What webhooks look like to programs.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use types::id::{DeliveryId, EndpointId, EventId};
use types::time::Timestamp;

use crate::hooks::{Delivery, Endpoint};

/// An address that events are sent to.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct WebhookView {
    /// Which one: `ep_…`.
    pub id: EndpointId,
    /// Where events are sent.
    pub url: String,
    /// What you say of it.
    pub description: String,
    /// The types of events it is told of; empty for all.
    pub events: Vec<&'static str>,
    /// Whether events are sent to it.
    pub enabled: bool,
    /// Since when not.
    pub disabled_at: Option<Timestamp>,
    /// Why not, if we switched it off.
    pub disabled_reason: Option<String>,
    /// When the first of the tries was that have failed since the last that did not; null if the last did not.
    pub failing_since: Option<Timestamp>,
    /// How many deliveries wait. Beyond 5,000 it is told of nothing more.
    pub waiting: i64,
    /// Of how many events it was not told for that reason.
    pub missed: i64,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A webhook with its secret.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct NewWebhook {
    /// The webhook.
    pub data: WebhookView,
    /// What its events are signed with: `whsec_…`. It is shown only here.
    pub secret: String,
}

/// A webhook that is no more.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct DeletedWebhook {
    /// Which one.
    pub id: EndpointId,
    /// Always true.
    pub deleted: bool,
}

/// The sending of an event to a webhook.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct DeliveryView {
    /// Which one: `dlv_…`.
    pub id: DeliveryId,
    /// The event: `evt_…`, sent as `webhook-id`.
    pub event_id: EventId,
    /// What it is about: `job.completed`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `waiting`, `delivered` or `failed`.
    pub state: String,
    /// How often it was tried.
    pub attempts: i64,
    /// When it is tried next; null if it is not.
    pub next_try_at: Option<Timestamp>,
    /// When it was tried last.
    pub tried_at: Option<Timestamp>,
    /// How long that took, in milliseconds.
    pub took_ms: Option<i64>,
    /// The HTTP status that was answered then; null if there was no answer.
    pub response_status: Option<i64>,
    /// The beginning of that answer: at most 1,024 bytes.
    pub response: Option<String>,
    /// What went wrong, for people.
    pub error: Option<String>,
    /// When it was written.
    pub created_at: Timestamp,
    /// What is sent.
    pub payload: Value,
}

/// Something that webhooks can be told of.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct EventType {
    /// Its name.
    pub r#type: &'static str,
    /// What it means.
    pub description: &'static str,
}

/// A webhook to be made.
#[derive(Clone, Debug, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "it is read field by field; this describes it")]
pub struct WebhookRequest {
    /// Where events are sent: https, on the public Internet, at most 2,048 bytes.
    url: String,
    /// What you say of it: at most 200 characters.
    description: Option<String>,
    /// The types of events it is told of; all, if empty or not given.
    events: Option<Vec<String>>,
    /// Whether events are sent to it; true, if not given.
    enabled: Option<bool>,
}

/// What is to be changed of a webhook.
#[derive(Clone, Debug, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "it is read field by field; this describes it")]
pub struct WebhookChanges {
    /// Another address.
    url: Option<String>,
    /// Another description.
    description: Option<String>,
    /// Other types of events; empty for all.
    events: Option<Vec<String>>,
    /// Switches it on or off.
    enabled: Option<bool>,
}

/// How a webhook gets its new secret.
#[derive(Clone, Debug, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "it is read field by field; this describes it")]
pub struct WebhookRotation {
    /// For how many seconds the secret it had signs too: 0 to 604800; 86400 (a day), if not given.
    grace_seconds: Option<i64>,
}

impl WebhookView {
    /// As it is.
    #[must_use]
    pub fn of(one: &Endpoint) -> Self {
        Self {
            id: one.id,
            url: one.url.clone(),
            description: one.description.clone(),
            events: one.events.iter().map(|kind| kind.name()).collect(),
            enabled: one.enabled,
            disabled_at: one.disabled_at,
            disabled_reason: one.disabled_reason.clone(),
            failing_since: one.failing_since,
            waiting: one.waiting,
            missed: one.missed,
            created_at: one.created_at,
        }
    }
}

impl NewWebhook {
    /// With its secret.
    #[must_use]
    pub fn of(one: &Endpoint, secret: &str) -> Self {
        Self { data: WebhookView::of(one), secret: secret.to_owned() }
    }
}

impl DeliveryView {
    /// As it is.
    #[must_use]
    pub fn of(one: &Delivery) -> Self {
        Self {
            id: one.id,
            event_id: one.event,
            kind: one.kind.clone(),
            state: one.state.clone(),
            attempts: one.attempts,
            next_try_at: (one.state == "waiting").then_some(one.due_at),
            tried_at: one.tried_at,
            took_ms: one.took_ms,
            response_status: one.status,
            response: one.answer.clone(),
            error: one.error.clone(),
            created_at: one.created_at,
            payload: serde_json::from_str(&one.body).unwrap_or(Value::Null),
        }
    }
}
