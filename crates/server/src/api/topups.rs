//! `/api/v1/credits/…`: auto top-up, balance alerts, promo codes.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use types::id::UserId;
use types::money::{Cents, MicroCredits, parse_json_amount};

use super::extract::{ApiUser, Fields, idempotency_key};
use crate::accounts::api_keys::KeyError;
use crate::api::operation::Operation;
use crate::app::App;
use crate::error::ApiError;
use crate::promo::{self, PromoError};
use crate::secrets;
use crate::topups::alerts::{self, AlertError};
use crate::topups::{self, TopUpError};

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/credits/auto-topup", "getAutoTopup", show)
            .says("Auto top-up", "")
            .tag("Credits")
            .answers::<Value>(200, "Auto top-up."),
        Operation::put("/credits/auto-topup", "setAutoTopup", put)
            .says("Set auto top-up", "")
            .tag("Credits")
            .answers::<Value>(200, "Set auto top-up."),
        Operation::delete("/credits/auto-topup", "deleteAutoTopup", delete)
            .says("Turn auto top-up off", "")
            .tag("Credits")
            .answers::<Value>(200, "Turn auto top-up off."),
        Operation::get("/credits/alerts", "getAlerts", alerts)
            .says("Alerts about your balance", "")
            .tag("Credits")
            .answers::<Value>(200, "Alerts about your balance."),
        Operation::put("/credits/alerts", "setAlerts", set_alerts)
            .says("Set alerts about your balance", "")
            .tag("Credits")
            .answers::<Value>(200, "Set alerts about your balance."),
        Operation::post("/credits/redeem", "redeemCode", redeem)
            .says("Redeem a promo code", "")
            .tag("Credits")
            .answers::<Value>(200, "Redeem a promo code."),
    ]
}

/// `GET /api/v1/credits/auto-topup`.
///
/// # Errors
/// 401, 403, 429.
pub async fn show(State(app): State<Arc<App>>, ApiUser(caller): ApiUser) -> Result<Json<Value>, ApiError> {
    shown(&app, caller.user.id).await
}

/// `PUT /api/v1/credits/auto-topup`: switches it on with `threshold`, `package` and `monthly_max_cents`.
///
/// # Errors
/// 401, 403, 409, 422, 429, 503.
pub async fn put(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    fields: Fields,
) -> Result<Json<Value>, ApiError> {
    let threshold = amount("threshold", fields.need("threshold")?)?;
    let package = fields.need_text("package")?;
    let most = fields.whole("monthly_max_cents", 1, 100_000_000)?;
    let most = most.ok_or_else(|| ApiError::invalid("monthly_max_cents", "is missing"))?;
    topups::set(&app, (&caller.user, Some(caller.key.id)), threshold, &package, Cents::new(most)).await?;
    shown(&app, caller.user.id).await
}

/// `DELETE /api/v1/credits/auto-topup`: switches it off.
///
/// # Errors
/// 401, 403, 429.
pub async fn delete(State(app): State<Arc<App>>, ApiUser(caller): ApiUser) -> Result<Json<Value>, ApiError> {
    topups::remove(&app, caller.user.id).await?;
    shown(&app, caller.user.id).await
}

async fn shown(app: &App, user: UserId) -> Result<Json<Value>, ApiError> {
    let (rule, charged) = topups::find(app, user).await?;
    let Some(rule) = rule.filter(|rule| rule.enabled) else {
        return Ok(Json(json!({"data": {"enabled": false, "charged_this_month_cents": charged.get()}})));
    };
    Ok(Json(json!({"data": {
        "enabled": true, "state": rule.state.name(), "threshold": rule.threshold, "package": rule.package_slug,
        "monthly_max_cents": rule.monthly_max.get(), "charged_this_month_cents": charged.get(),
        "declines": rule.declines, "last_error": rule.last_error, "confirm_url": rule.confirm_url,
        "next_try_at": (rule.next_try_at > app.clock.now()).then_some(rule.next_try_at),
    }})))
}

/// `GET /api/v1/credits/alerts`.
///
/// # Errors
/// 401, 403, 429.
pub async fn alerts(State(app): State<Arc<App>>, ApiUser(caller): ApiUser) -> Result<Json<Value>, ApiError> {
    shown_alerts(&app, caller.user.id).await
}

/// `PUT /api/v1/credits/alerts`: sets up to three `thresholds`.
///
/// # Errors
/// 401, 403, 422, 429.
pub async fn set_alerts(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    fields: Fields,
) -> Result<Json<Value>, ApiError> {
    let listed: Vec<Box<RawValue>> = serde_json::from_str(fields.need("thresholds")?.get())
        .map_err(|_| ApiError::invalid("thresholds", "must be a list of amounts"))?;
    let thresholds: Result<Vec<MicroCredits>, ApiError> =
        listed.iter().map(|one| amount("thresholds", one)).collect();
    alerts::set(&app, caller.user.id, thresholds?).await?;
    shown_alerts(&app, caller.user.id).await
}

async fn shown_alerts(app: &App, user: UserId) -> Result<Json<Value>, ApiError> {
    let set = alerts::of(app, user).await?;
    let rows: Vec<Value> =
        set.iter().map(|(threshold, below)| json!({"threshold": threshold, "below": below})).collect();
    Ok(Json(json!({"data": rows})))
}

/// `POST /api/v1/credits/redeem`: redeems a `code`.
///
/// # Errors
/// 401, 403, 409, 410, 422, 429.
pub async fn redeem(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    headers: HeaderMap,
    fields: Fields,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let code = fields.need_text("code")?;
    let attempt = idempotency_key(&headers)?
        .map_or_else(|| secrets::new(&*app.random, "once_"), |key| format!("api:{}", secrets::hash(&key)));
    let credits = promo::redeem(&app, &caller.user, &code, &attempt).await?;
    Ok((StatusCode::CREATED, Json(json!({"data": {"code": promo::normalise(&code), "credits": credits}}))))
}

fn amount(name: &str, value: &RawValue) -> Result<MicroCredits, ApiError> {
    parse_json_amount(value.get()).map_err(|error| ApiError::invalid(name, error.to_string()))
}

impl From<TopUpError> for ApiError {
    fn from(error: TopUpError) -> Self {
        match error {
            TopUpError::Unfit(unfit) => Self::invalid(
                if unfit.field() == "monthly_max" { "monthly_max_cents" } else { unfit.field() },
                unfit.to_string(),
            ),
            TopUpError::NoCard => Self::new(
                StatusCode::CONFLICT,
                "no_saved_card",
                "No card is saved. Buy credits once and let your card be saved, then switch auto top-up on.",
            )
            .with("buy_url", "/credits"),
            TopUpError::Key(KeyError::Limited) => Self::forbidden(
                "limited_key",
                "An API key with a spending limit cannot switch auto top-up on.",
            ),
            TopUpError::Key(error) => error.into(),
            TopUpError::Provider(error) => error.into(),
            TopUpError::Db(error) => error.into(),
        }
    }
}

impl From<AlertError> for ApiError {
    fn from(error: AlertError) -> Self {
        match error {
            AlertError::Db(error) => error.into(),
            error => Self::invalid("thresholds", error.to_string()),
        }
    }
}

impl From<PromoError> for ApiError {
    fn from(error: PromoError) -> Self {
        let text = error.to_string();
        match error {
            PromoError::Unknown => Self::invalid("code", text),
            PromoError::Used => {
                Self::new(StatusCode::CONFLICT, "code_redeemed", "You have redeemed this code already.")
            }
            PromoError::UsedUp => Self::new(StatusCode::GONE, "code_used_up", "This code has been used up."),
            PromoError::Expired => Self::new(StatusCode::GONE, "code_expired", "This code has expired."),
            PromoError::TooMany => {
                let text = "Too many wrong codes. Please wait an hour and try again.";
                let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_codes", text);
                Self { retry_after_secs: Some(3600), ..error }
            }
            PromoError::KeyTaken => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "This key was used for another code.",
            ),
            PromoError::Unfit(text) => Self::invalid("attempt", text),
            PromoError::Db(error) => error.into(),
        }
    }
}
