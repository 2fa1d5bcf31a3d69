//! `/api/v1/api-keys`. Each client reads a new key in another place of the answer; this one serves them all.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::extract::{ApiUser, Fields, id};
use crate::accounts::api_keys::{self, ApiKey, Caller, KeyError, KeyRequest, Scopes};
use crate::app::App;
use crate::error::ApiError;

/// `GET /api/v1/api-keys`.
///
/// # Errors
/// 401, 403, 429.
pub async fn list(State(app): State<Arc<App>>, ApiUser(caller): ApiUser) -> Result<Json<Value>, ApiError> {
    let keys = api_keys::list(&app, &caller.user).await?;
    Ok(Json(json!({"data": keys.iter().map(key_json).collect::<Vec<_>>()})))
}

/// `POST /api/v1/api-keys`: a key can make keys with its own scopes or fewer.
///
/// # Errors
/// 401, 403, 409, 422, 429.
pub async fn create(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    fields: Fields,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    refuse_limited(&caller)?;
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
    let limit = match fields.get("limit") {
        Some(raw) => {
            Some(types::money::parse_json_amount(raw.get()).map_err(|_| KeyError::Limit)?.to_string())
        }
        None => None,
    };
    let request = KeyRequest::new(&fields.need_text("name")?, scopes, limit.as_deref())?;
    let (key, secret) = api_keys::create(&app, &caller.user, request).await?;
    let plain = key_json(&key);
    let mut data = plain.clone();
    data["key"] = secret.clone().into();
    data["api_key"] = plain.clone();
    data["data"] = plain.clone();
    let mut body = plain;
    body["key"] = secret.into();
    body["data"] = data;
    Ok((StatusCode::CREATED, Json(body)))
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
    refuse_limited(&caller)?;
    let key = id(&key, "API key")?;
    if !api_keys::revoke(&app, &caller.user, key).await? {
        return Err(ApiError::not_found("API key"));
    }
    Ok(Json(json!({"data": {"id": key, "revoked": true}})))
}

/// A key with a spending limit manages no keys: it could make itself another limit.
fn refuse_limited(caller: &Caller) -> Result<(), ApiError> {
    if caller.key.spend_limit.is_some() {
        return Err(ApiError::forbidden(
            "limited_key",
            "A key with a spending limit cannot manage API keys.",
        ));
    }
    Ok(())
}

fn key_json(key: &ApiKey) -> Value {
    json!({
        "id": key.id, "name": key.name, "prefix": key.prefix, "scopes": key.scopes.words(),
        "limit": super::jobs::amount(key.spend_limit),
        "created_at": key.created_at, "createdAt": key.created_at,
        "last_used_at": key.last_used_at, "lastUsedAt": key.last_used_at,
        "expires_at": null, "expiresAt": null,
    })
}
