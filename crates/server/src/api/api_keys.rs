//! `/api/v1/api-keys`. Each client reads a new key in another place of the answer; this one serves them all.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use ledger::{Period, Usage};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use types::money::{MicroCredits, parse_json_amount};

use super::extract::{ApiUser, Fields, id};
use super::jobs::amount;
use crate::accounts::api_keys::{
    self, KeyChange, KeyError, KeyInUse, KeyRequest, LimitChange, LimitError, Scopes,
};
use crate::api::operation::{Access, Operation, Repeat, Repeatable};
use crate::app::App;
use crate::error::ApiError;
use crate::idempotency::{Answer, Once};

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/api-keys", "listApiKeys", list)
            .says("Your API keys", "")
            .tag("API keys")
            .answers::<Value>(200, "Your API keys."),
        Operation::post("/api-keys", "createApiKey", create)
            .says("Make an API key", "")
            .tag("API keys")
            .access(Access::Manage)
            .repeat(Repeat::Sealed)
            .answers::<Value>(201, "Make an API key."),
        Operation::get("/api-keys/{id}", "getApiKey", show)
            .says("An API key", "")
            .tag("API keys")
            .in_path::<String>("id", "")
            .answers::<Value>(200, "An API key."),
        Operation::patch("/api-keys/{id}", "changeApiKey", change)
            .says("Change an API key", "")
            .tag("API keys")
            .access(Access::Manage)
            .in_path::<String>("id", "")
            .answers::<Value>(200, "Change an API key."),
        Operation::delete("/api-keys/{id}", "revokeApiKey", delete)
            .says("Revoke an API key", "")
            .tag("API keys")
            .access(Access::Manage)
            .in_path::<String>("id", "")
            .answers::<Value>(200, "Revoke an API key."),
    ]
}

/// `GET /api/v1/api-keys`.
///
/// # Errors
/// 401, 403, 429.
pub async fn list(State(app): State<Arc<App>>, ApiUser(caller): ApiUser) -> Result<Json<Value>, ApiError> {
    let keys = api_keys::list(&app, &caller.user).await?;
    Ok(Json(json!({"data": keys.iter().map(key_json).collect::<Vec<_>>()})))
}

/// `GET /api/v1/api-keys/{id}`.
///
/// # Errors
/// 401, 403, 404, 429.
pub async fn show(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Path(key): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let key = api_keys::find(&app, &caller.user, id(&key, "API key")?).await?;
    Ok(Json(json!({"data": key_json(&key)})))
}

/// `POST /api/v1/api-keys`: a key can make keys with its own scopes or fewer.
///
/// # Errors
/// 401, 403, 409, 422, 429.
pub async fn create(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    fields: Fields,
) -> Result<Response, ApiError> {
    let scopes = match fields.text("scopes")? {
        Some(text) => Scopes::parse_strict(&text)?,
        None => caller.key.scopes,
    };
    if scopes.read && !caller.key.scopes.read {
        return Err(ApiError::forbidden(
            "missing_scope",
            "A key cannot make a key that may do more than itself.",
        ));
    }
    let limits = Limits::read(&fields)?;
    let request = KeyRequest::new(&fields.need_text("name")?, scopes, &limits.change);
    let request = request.map_err(|error| limits.explain(error))?;
    let once =
        Once::new(claim, |(key, secret): &(KeyInUse, String)| Answer::created(&new_key_json(key, secret)));
    let made = api_keys::create(&app, &caller.user, Some(caller.key.id), request, &once).await?;
    Ok(once.respond(&made))
}

fn new_key_json(key: &KeyInUse, secret: &str) -> Value {
    let plain = key_json(key);
    let mut data = plain.clone();
    data["key"] = secret.into();
    data["api_key"] = plain.clone();
    data["data"] = plain.clone();
    let mut body = plain;
    body["key"] = secret.into();
    body["data"] = data;
    body
}

/// `PATCH /api/v1/api-keys/{id}`: another name, other limits. What is not given stays as it is; a limit that is `null`
/// goes away.
///
/// # Errors
/// 401, 403, 404, 422, 429.
pub async fn change(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Path(key): Path<String>,
    fields: Fields,
) -> Result<Json<Value>, ApiError> {
    let key = id(&key, "API key")?;
    if let Some((name, _)) = fields.without(&["name", "limit", "limits"]).min_by_key(|(name, _)| *name) {
        return Err(ApiError::invalid(name, "cannot be changed; only name, limit and limits can"));
    }
    let limits = Limits::read(&fields)?;
    let change = KeyChange { name: fields.text("name")?, limits: limits.change.clone() };
    let changed = api_keys::change(&app, &caller.user, Some(caller.key.id), key, change).await;
    let changed = changed.map_err(|error| limits.explain(error))?;
    Ok(Json(json!({"data": key_json(&changed)})))
}

/// `DELETE /api/v1/api-keys/{id}`.
///
/// # Errors
/// 401, 403, 404, 429.
pub async fn delete(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Path(key): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let key = id(&key, "API key")?;
    api_keys::revoke(&app, &caller.user, Some(caller.key.id), key).await?;
    Ok(Json(json!({"data": {"id": key, "revoked": true}})))
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

fn key_json(one: &KeyInUse) -> Value {
    let (key, cap) = (&one.key, &one.cap);
    let each = |of: &dyn Fn(&Usage) -> Value| -> Map<String, Value> {
        cap.usage().iter().map(|usage| (usage.period.name().to_owned(), of(usage))).collect()
    };
    json!({
        "id": key.id, "name": key.name, "prefix": key.prefix, "scopes": key.scopes.words(),
        "limit": amount(cap.limits.total),
        "limits": each(&|usage| amount(usage.limit)),
        "usage": each(&|usage| json!({
            "limit": amount(usage.limit), "held": cap.held, "spent": usage.spent,
            "left": amount(usage.left().map(|left| left.max(MicroCredits::ZERO))), "resets_at": usage.until,
        })),
        "created_at": key.created_at, "createdAt": key.created_at,
        "last_used_at": key.last_used_at, "lastUsedAt": key.last_used_at,
        "expires_at": null, "expiresAt": null,
    })
}
