//! `/api/v1/webhooks`: where events are sent, and what became of them. (Webhooks that come in are in `webhooks`.)

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde_json::json;
use types::id::{DeliveryId, EndpointId};

use super::extract::{ApiUser, Fields, OptionalFields, id, page};
use super::hook_shapes::{
    DeletedWebhook, DeliveryView, EventType, NewWebhook, WebhookChanges, WebhookRequest, WebhookRotation,
    WebhookView,
};
use super::shapes::{Data, Paged};
use crate::accounts::api_keys::Caller;
use crate::api::operation::{Access, Operation, Repeat, Repeatable};
use crate::app::App;
use crate::error::ApiError;
use crate::hooks::events::Kind;
use crate::hooks::{self, Delivery, Endpoint, HookError, Wish};
use crate::idempotency::{Answer, Once};

const TAG: &str = "Webhooks";
const ID: &str = "The webhook: `ep_…`.";
const DELIVERY: &str = "The delivery: `dlv_…`.";

const ABOUT: &str = "Events are sent by POST as JSON: `{\"type\": \"job.completed\", \"timestamp\": …, \"data\": {…}}`, signed as \
the Standard Webhooks have it (https://www.standardwebhooks.com): the headers `webhook-id`, `webhook-timestamp` (seconds) and \
`webhook-signature`, which is `v1,` and the base64 of an HMAC-SHA-256 over `id.timestamp.body` with the decoded secret; one for each \
secret while one takes the place of another, separated by spaces.\n\n\
Answer with 2xx within 10 seconds. Anything else is tried again after 5 s, 30 s, 2 min, 10 min, 1 h, 3 h, 6 h, 12 h and 24 h; \
redirects are not followed. An event may come more than once, and later than another that happened after it: `webhook-id` says which it is. \
410 switches the webhook off at once, three days without any 2xx do so too.\n\n\
The address must be https on the public Internet. `events` that are not given are all.";

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    let mut operations = vec![
        Operation::get("/webhooks", "listWebhooks", list)
            .says("Your webhooks", "Newest first.")
            .tag(TAG)
            .access(Access::Manage)
            .answers::<Data<Vec<WebhookView>>>(200, "Your webhooks."),
        Operation::post("/webhooks", "createWebhook", create)
            .says("Make a webhook", ABOUT)
            .tag(TAG)
            .access(Access::Manage)
            .repeat(Repeat::Sealed)
            .body::<WebhookRequest>(json!({
                "url": "https://example.org/hooks", "events": ["job.completed", "job.failed"]
            }))
            .answers::<NewWebhook>(201, "The webhook, with its secret, which is shown this once.")
            .errors(&["limited_key", "too_many_webhooks"]),
        Operation::get("/webhooks/events", "listWebhookEvents", events)
            .says("What webhooks can be told of", "The types of events, with what they mean.")
            .tag(TAG)
            .access(Access::Manage)
            .answers::<Data<Vec<EventType>>>(200, "All types of events."),
        Operation::get("/webhooks/{id}", "getWebhook", show)
            .says("A webhook", "Never with its secret.")
            .tag(TAG)
            .access(Access::Manage)
            .in_path::<EndpointId>("id", ID)
            .answers::<Data<WebhookView>>(200, "The webhook."),
        Operation::patch("/webhooks/{id}", "changeWebhook", change)
            .says("Change a webhook", "What is not given stays as it is. `enabled: true` switches it on again; what waited is then sent.")
            .tag(TAG)
            .access(Access::Manage)
            .in_path::<EndpointId>("id", ID)
            .body::<WebhookChanges>(json!({"enabled": true}))
            .answers::<Data<WebhookView>>(200, "The webhook as it is now.")
            .errors(&["limited_key"]),
        Operation::delete("/webhooks/{id}", "deleteWebhook", delete)
            .says("Delete a webhook", "Nothing more is sent to it, and what was sent is forgotten.")
            .tag(TAG)
            .access(Access::Manage)
            .in_path::<EndpointId>("id", ID)
            .answers::<Data<DeletedWebhook>>(200, "It is gone.")
            .errors(&["limited_key"]),
    ];
    operations.extend(sending());
    operations
}

fn sending() -> Vec<Operation> {
    vec![
        Operation::post("/webhooks/{id}/rotate", "rotateWebhook", rotate)
            .says("Give a webhook a new secret", "Both secrets sign for `grace_seconds` (a day, if nothing is said), so that the receiver can change over.")
            .tag(TAG)
            .access(Access::Manage)
            .repeat(Repeat::Sealed)
            .in_path::<EndpointId>("id", ID)
            .body::<WebhookRotation>(json!({"grace_seconds": 86400}))
            .answers::<NewWebhook>(200, "The webhook, with its new secret, which is shown this once.")
            .errors(&["limited_key"]),
        Operation::post("/webhooks/{id}/test", "testWebhook", test)
            .says("Send a test", "An event of the type `webhook.test`, whatever the webhook wants to hear of. How it went stands in its deliveries.")
            .tag(TAG)
            .access(Access::Manage)
            .in_path::<EndpointId>("id", ID)
            .answers::<Data<DeliveryView>>(201, "The delivery, on its way.")
            .errors(&["limited_key", "webhook_off", "webhook_full"]),
        Operation::get("/webhooks/{id}/deliveries", "listWebhookDeliveries", deliveries)
            .says("What was sent to a webhook", "Newest first, with how the last try went. Kept for 30 days.")
            .tag(TAG)
            .access(Access::Manage)
            .in_path::<EndpointId>("id", ID)
            .query::<u32>("limit", "How many, from 1 to 100; 20 if not given.")
            .query::<String>("cursor", "`next_cursor` of an earlier answer.")
            .answers::<Paged<DeliveryView>>(200, "A part of them."),
        Operation::post("/webhooks/{id}/deliveries/{delivery}/replay", "replayWebhookDelivery", replay)
            .says("Send an event again", "As it was, with the same `webhook-id`, whether it was delivered or not.")
            .tag(TAG)
            .access(Access::Manage)
            .in_path::<EndpointId>("id", ID)
            .in_path::<DeliveryId>("delivery", DELIVERY)
            .answers::<Data<DeliveryView>>(201, "The new delivery, on its way.")
            .errors(&["limited_key", "webhook_off", "webhook_full"]),
    ]
}

/// `GET /api/v1/webhooks`.
///
/// # Errors
/// 401, 403, 429.
pub async fn list(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
) -> Result<Json<Data<Vec<WebhookView>>>, ApiError> {
    let all = hooks::list(&app, caller.user.id).await?;
    Ok(Json(Data { data: all.iter().map(WebhookView::of).collect() }))
}

/// `GET /api/v1/webhooks/events`.
pub async fn events() -> Json<Data<Vec<EventType>>> {
    let of = |kind: &Kind| EventType { r#type: kind.name(), description: kind.says() };
    Json(Data { data: Kind::ALL.iter().map(of).collect() })
}

/// `GET /api/v1/webhooks/{id}`.
///
/// # Errors
/// 401, 403, 404, 429.
pub async fn show(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Path(webhook): Path<String>,
) -> Result<Json<Data<WebhookView>>, ApiError> {
    let found = hooks::find(&app, caller.user.id, id(&webhook, "webhook")?).await?;
    Ok(Json(Data { data: WebhookView::of(&found) }))
}

/// `POST /api/v1/webhooks`.
///
/// # Errors
/// 401, 403, 409, 422, 429.
pub async fn create(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    fields: Fields,
) -> Result<Response, ApiError> {
    fields.need_text("url")?;
    let wish = wish(&fields)?;
    let once = Once::new(claim, |(endpoint, secret): &(Endpoint, String)| {
        Answer::created(&NewWebhook::of(endpoint, secret))
    });
    Ok(once.respond(&hooks::create(&app, by(&caller), wish, &once).await?))
}

/// `PATCH /api/v1/webhooks/{id}`.
///
/// # Errors
/// 401, 403, 404, 422, 429.
pub async fn change(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    Path(webhook): Path<String>,
    fields: Fields,
) -> Result<Response, ApiError> {
    let webhook = id(&webhook, "webhook")?;
    let once = Once::new(claim, |one: &Endpoint| Answer::ok(&Data { data: WebhookView::of(one) }));
    Ok(once.respond(&hooks::change(&app, by(&caller), webhook, wish(&fields)?, &once).await?))
}

/// `DELETE /api/v1/webhooks/{id}`.
///
/// # Errors
/// 401, 403, 404, 429.
pub async fn delete(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    Path(webhook): Path<String>,
) -> Result<Response, ApiError> {
    let webhook: EndpointId = id(&webhook, "webhook")?;
    let gone = DeletedWebhook { id: webhook, deleted: true };
    let once = Once::new(claim, move |()| Answer::ok(&Data { data: gone }));
    hooks::remove(&app, by(&caller), webhook, &once).await?;
    Ok(once.respond(&()))
}

/// `POST /api/v1/webhooks/{id}/rotate`.
///
/// # Errors
/// 401, 403, 404, 422, 429.
pub async fn rotate(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    Path(webhook): Path<String>,
    OptionalFields(fields): OptionalFields,
) -> Result<Response, ApiError> {
    let webhook = id(&webhook, "webhook")?;
    fields.only(&["grace_seconds"])?;
    let grace = fields.whole("grace_seconds", 0, hooks::MAX_GRACE_SECS)?.unwrap_or(hooks::GRACE_SECS);
    let once = Once::new(claim, |(endpoint, secret): &(Endpoint, String)| {
        Answer::ok(&NewWebhook::of(endpoint, secret))
    });
    Ok(once.respond(&hooks::rotate(&app, by(&caller), webhook, grace, &once).await?))
}

/// `POST /api/v1/webhooks/{id}/test`.
///
/// # Errors
/// 401, 403, 404, 409, 429.
pub async fn test(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    Path(webhook): Path<String>,
) -> Result<Response, ApiError> {
    let webhook = id(&webhook, "webhook")?;
    let once = Once::new(claim, |one: &Delivery| Answer::created(&Data { data: DeliveryView::of(one) }));
    Ok(once.respond(&hooks::test(&app, by(&caller), webhook, &once).await?))
}

/// `GET /api/v1/webhooks/{id}/deliveries`.
///
/// # Errors
/// 401, 403, 404, 422, 429.
pub async fn deliveries(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Path(webhook): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<Paged<DeliveryView>>, ApiError> {
    let webhook = id(&webhook, "webhook")?;
    let (limit, _) = page(&query)?;
    let bad = |_| ApiError::invalid("cursor", "must be the next_cursor of an earlier answer");
    let before: Option<DeliveryId> =
        query.get("cursor").map(|cursor| cursor.parse().map_err(bad)).transpose()?;
    let (found, more) = hooks::deliveries(&app, caller.user.id, webhook, before, limit).await?;
    let next_cursor = found.last().filter(|_| more).map(|last| last.id.to_string());
    Ok(Json(Paged { data: found.iter().map(DeliveryView::of).collect(), next_cursor }))
}

/// `POST /api/v1/webhooks/{id}/deliveries/{delivery}/replay`.
///
/// # Errors
/// 401, 403, 404, 409, 429.
pub async fn replay(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    Path((webhook, delivery)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let which = (id(&webhook, "webhook")?, id(&delivery, "delivery")?);
    let once = Once::new(claim, |one: &Delivery| Answer::created(&Data { data: DeliveryView::of(one) }));
    Ok(once.respond(&hooks::replay(&app, by(&caller), which, &once).await?))
}

fn by(caller: &Caller) -> hooks::By<'_> {
    (&caller.user, Some(caller.key.id))
}

fn wish(fields: &Fields) -> Result<Wish, ApiError> {
    fields.only(&["url", "description", "events", "enabled"])?;
    let events = fields.texts("events")?;
    let read = |names: &Vec<String>| hooks::read_events(names.iter().map(String::as_str));
    Ok(Wish {
        url: fields.text("url")?,
        description: fields.text("description")?,
        events: events.as_ref().map(read).transpose()?,
        enabled: fields.get("enabled").map(|_| fields.truth("enabled")).transpose()?,
    })
}

impl From<HookError> for ApiError {
    fn from(error: HookError) -> Self {
        let text = error.to_string();
        let conflict =
            |code| Self::new(axum::http::StatusCode::CONFLICT, code, super::errors::sentence(&text));
        match error {
            HookError::Url(_) => Self::invalid("url", text),
            HookError::Description => Self::invalid("description", text),
            HookError::Events(_) => Self::invalid("events", text),
            HookError::Grace => Self::invalid("grace_seconds", text),
            HookError::TooMany => conflict("too_many_webhooks"),
            HookError::Off => conflict("webhook_off"),
            HookError::Full => conflict("webhook_full"),
            HookError::NotFound => Self::not_found("webhook"),
            HookError::NoDelivery => Self::not_found("delivery"),
            HookError::Key(crate::accounts::api_keys::KeyError::Limited) => {
                Self::forbidden("limited_key", "A key with a spending limit cannot manage webhooks.")
            }
            HookError::Key(error) => error.into(),
            HookError::Db(error) => error.into(),
        }
    }
}
