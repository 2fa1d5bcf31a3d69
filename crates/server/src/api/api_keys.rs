//! `/api/v1/api-keys`. Each client reads a new key in another place of the answer; this one serves them all.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use ledger::Period;
use serde_json::json;
use serde_json::value::RawValue;
use types::id::ApiKeyId;
use types::money::{MicroCredits, parse_json_amount};
use types::time::Timestamp;

use super::extract::{ApiUser, Fields, OptionalFields, id};
use super::key_shapes::{KeyChanges, KeyRotation, KeyView, NewKey, NewKeyRequest, RevokedKey};
use super::shapes::Data;
use crate::accounts::api_keys::{
    self, Caller, KeyChange, KeyError, KeyInUse, KeyRequest, LimitChange, LimitError, MAX_GRACE_SECS,
    MAX_NETWORKS, Scopes,
};
use crate::accounts::networks::Network;
use crate::api::operation::{Access, Operation, Repeat, Repeatable};
use crate::app::App;
use crate::error::ApiError;
use crate::idempotency::{Answer, Once};

const ID: &str = "The key: `key_…`.";
const MANAGING: &[&str] = &["limited_key", "beyond_own_key"];

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/api-keys", "listApiKeys", list)
            .says("Your API keys", "Newest first, with what each may spend and has spent. Revoked keys are not shown.")
            .tag("API keys")
            .answers::<Data<Vec<KeyView>>>(200, "Your API keys."),
        Operation::post("/api-keys", "createApiKey", create)
            .says("Make an API key", NEW)
            .tag("API keys")
            .access(Access::Manage)
            .repeat(Repeat::Sealed)
            .body::<NewKeyRequest>(json!({"name": "ci", "scopes": "read,write", "limits": {"day": 50}}))
            .answers::<NewKey>(201, "The key, with its secret, which is shown this once.")
            .errors(MANAGING)
            .errors(&["too_many_keys"]),
        Operation::get("/api-keys/{id}", "getApiKey", show)
            .says("An API key", "With what it may spend and has spent, never with its secret.")
            .tag("API keys")
            .in_path::<ApiKeyId>("id", ID)
            .answers::<Data<KeyView>>(200, "The key."),
        Operation::patch("/api-keys/{id}", "changeApiKey", change)
            .says("Change an API key", "What is not given stays as it is; a limit or an end that is `null` goes away. Scopes stay what they are.")
            .tag("API keys")
            .access(Access::Manage)
            .in_path::<ApiKeyId>("id", ID)
            .body::<KeyChanges>(json!({"name": "ci", "limits": {"day": 20, "month": null}}))
            .answers::<Data<KeyView>>(200, "The key as it is now.")
            .errors(MANAGING),
        Operation::post("/api-keys/{id}/rotate", "rotateApiKey", rotate)
            .says("Give an API key a new secret", ROTATE)
            .tag("API keys")
            .access(Access::Manage)
            .repeat(Repeat::Sealed)
            .in_path::<ApiKeyId>("id", ID)
            .body::<KeyRotation>(json!({"grace_seconds": 3600}))
            .answers::<NewKey>(200, "The key, with its new secret, which is shown this once.")
            .errors(MANAGING),
        Operation::delete("/api-keys/{id}", "revokeApiKey", delete)
            .says("Revoke an API key", "At once and for good, with all its secrets.")
            .tag("API keys")
            .access(Access::Manage)
            .in_path::<ApiKeyId>("id", ID)
            .answers::<Data<RevokedKey>>(200, "It opens nothing any more.")
            .errors(&["limited_key"]),
    ]
}

const NEW: &str = "A key can make keys that may do what it may itself, or less: in scopes, in time (`expires_at`) and in place \
(`allowed_ips`); what is not given is as with the key that asks. A key with a spending limit makes none.\n\n\
A secret is `ak_` and 46 letters and digits, of which the last six are a checksum, so that scanners can find leaked ones: \
`ak_[0-9a-hjkmnp-tv-z]{46}`.";

const ROTATE: &str = "Name, scopes, limits and what was spent stay. The secret it had opens for `grace_seconds` more; with 0, \
as when nothing is said, it and all that were replaced before stop opening at once.";

/// `GET /api/v1/api-keys`.
///
/// # Errors
/// 401, 403, 429.
pub async fn list(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
) -> Result<Json<Data<Vec<KeyView>>>, ApiError> {
    let keys = api_keys::list(&app, &caller.user).await?;
    let now = app.clock.now();
    Ok(Json(Data { data: keys.iter().map(|key| KeyView::of(key, now)).collect() }))
}

/// `GET /api/v1/api-keys/{id}`.
///
/// # Errors
/// 401, 403, 404, 429.
pub async fn show(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Path(key): Path<String>,
) -> Result<Json<Data<KeyView>>, ApiError> {
    let key = api_keys::find(&app, &caller.user, id(&key, "API key")?).await?;
    Ok(Json(Data { data: KeyView::of(&key, app.clock.now()) }))
}

/// `POST /api/v1/api-keys`.
///
/// # Errors
/// 401, 403, 409, 422, 429.
pub async fn create(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    fields: Fields,
) -> Result<Response, ApiError> {
    fields.only(&["name", "scopes", "limit", "limits", "expires_at", "allowed_ips"])?;
    let scopes = match fields.text("scopes")? {
        Some(text) => Scopes::parse_strict(&text)?,
        None => caller.key.scopes,
    };
    let limits = Limits::read(&fields)?;
    let request = KeyRequest::new(&fields.need_text("name")?, scopes, &limits.change);
    let request = request.map_err(|error| limits.explain(error))?;
    let expires_at = if fields.has("expires_at") { expiry(&fields)? } else { caller.key.expires_at };
    let allowed = networks(&fields)?.unwrap_or_else(|| caller.key.allowed.clone());
    let request = request.expiring(expires_at).only_from(allowed)?;
    let now = app.clock.now();
    let once = Once::new(claim, move |(key, secret): &(KeyInUse, String)| {
        Answer::created(&NewKey::of(key, secret, now))
    });
    let made = api_keys::create(&app, &caller.user, Some(managing(&caller)?), request, &once).await?;
    Ok(once.respond(&made))
}

/// `PATCH /api/v1/api-keys/{id}`.
///
/// # Errors
/// 401, 403, 404, 422, 429.
pub async fn change(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    Path(key): Path<String>,
    fields: Fields,
) -> Result<Response, ApiError> {
    let key = id(&key, "API key")?;
    let limits = Limits::read(&fields)?;
    let change = KeyChange {
        name: fields.text("name")?,
        limits: limits.change.clone(),
        expires_at: fields.has("expires_at").then(|| expiry(&fields)).transpose()?,
        allowed: networks(&fields)?.or_else(|| fields.has("allowed_ips").then(Vec::new)),
    };
    let now = app.clock.now();
    let once = Once::new(claim, move |key: &KeyInUse| Answer::ok(&Data { data: KeyView::of(key, now) }));
    let changed = api_keys::change(&app, &caller.user, Some(managing(&caller)?), key, change, &once).await;
    Ok(once.respond(&changed.map_err(|error| limits.explain(error))?))
}

/// `POST /api/v1/api-keys/{id}/rotate`.
///
/// # Errors
/// 401, 403, 404, 422, 429.
pub async fn rotate(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    Path(key): Path<String>,
    OptionalFields(fields): OptionalFields,
) -> Result<Response, ApiError> {
    let key = id(&key, "API key")?;
    fields.only(&["grace_seconds"])?;
    let grace = fields.whole("grace_seconds", 0, MAX_GRACE_SECS)?.unwrap_or(0);
    let now = app.clock.now();
    let once =
        Once::new(claim, move |(key, secret): &(KeyInUse, String)| Answer::ok(&NewKey::of(key, secret, now)));
    let rotated = api_keys::rotate(&app, &caller.user, Some(managing(&caller)?), key, grace, &once).await?;
    Ok(once.respond(&rotated))
}

/// `DELETE /api/v1/api-keys/{id}`.
///
/// # Errors
/// 401, 403, 404, 429.
pub async fn delete(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    Path(key): Path<String>,
) -> Result<Response, ApiError> {
    let key: ApiKeyId = id(&key, "API key")?;
    let once = Once::new(claim, move |()| Answer::ok(&Data { data: RevokedKey { id: key, revoked: true } }));
    api_keys::revoke(&app, &caller.user, Some(managing(&caller)?), key, &once).await?;
    Ok(once.respond(&()))
}

/// The key that manages. A secret that was replaced does not: whoever has an old one must not be able to renew it.
fn managing(caller: &Caller) -> Result<ApiKeyId, ApiError> {
    match caller.replaced {
        Some(_) => Err(ApiError::forbidden(
            "replaced_key",
            "This secret was replaced by a new one, so it manages no keys. Use the new one.",
        )),
        None => Ok(caller.key.id),
    }
}

fn expiry(fields: &Fields) -> Result<Option<Timestamp>, ApiError> {
    let time = |text: String| text.parse().map_err(|_| ApiError::from(KeyError::Expiry));
    fields.text("expires_at")?.map(time).transpose()
}

fn networks(fields: &Fields) -> Result<Option<Vec<Network>>, ApiError> {
    let Some(texts) = fields.texts("allowed_ips")? else { return Ok(None) };
    if texts.len() > MAX_NETWORKS {
        return Err(KeyError::TooManyNetworks.into());
    }
    let read = |text: &String| text.trim().parse().map_err(|error| KeyError::Networks(error).into());
    texts.iter().map(read).collect::<Result<_, _>>().map(Some)
}

/// The limits of a body: `limits` with a number or a text for each period, `null` for none; `limit` is `limits.total`.
struct Limits {
    change: LimitChange,
    /// The total was given as `limit`.
    short: bool,
}

impl Limits {
    fn read(fields: &Fields) -> Result<Self, ApiError> {
        let mut limits = Self { change: LimitChange::default(), short: false };
        // A limit that is null is another thing than one that is not there.
        let given = fields.without(&[]).find(|(name, _)| *name == "limit").map(|(_, limit)| limit);
        let all: HashMap<String, &RawValue> = match fields.get("limits") {
            None => HashMap::new(),
            Some(raw) => serde_json::from_str(raw.get())
                .map_err(|_| ApiError::invalid("limits", "must be an object such as {\"day\": 50}"))?,
        };
        if given.is_some() && all.contains_key("total") {
            return Err(ApiError::invalid("limit", "is the same as limits.total; send one of them"));
        }
        limits.short = given.is_some();
        for (period, raw) in given.map(|raw| ("total", raw)).into_iter().chain(sorted(&all)) {
            let Some(period) = Period::ALL.into_iter().find(|one| one.name() == period) else {
                let words = "is not known; there are total, day, week and month";
                return Err(ApiError::invalid(format!("limits.{period}"), words));
            };
            let limit = read_limit(raw).map_err(|error| limits.explain(KeyError::Limit(period, error)))?;
            limits.change.set(period, limit).map_err(|error| limits.explain(error))?;
        }
        Ok(limits)
    }

    /// Names the field as the caller wrote it.
    fn explain(&self, error: KeyError) -> ApiError {
        match error {
            KeyError::Limit(Period::Total, why) if self.short => ApiError::invalid("limit", why.to_string()),
            error => error.into(),
        }
    }
}

/// In an order of their own, so that the same body is always answered the same.
fn sorted<'a>(fields: &'a HashMap<String, &'a RawValue>) -> impl Iterator<Item = (&'a str, &'a RawValue)> {
    let mut fields: Vec<_> = fields.iter().map(|(name, raw)| (name.as_str(), *raw)).collect();
    fields.sort_unstable_by_key(|(name, _)| *name);
    fields.into_iter()
}

fn read_limit(raw: &RawValue) -> Result<Option<MicroCredits>, LimitError> {
    match raw.get() {
        "null" => Ok(None),
        text => parse_json_amount(text).map(Some).map_err(|_| LimitError::NotAnAmount),
    }
}
