//! `/api/v1/payouts`: what was earned leaves as money.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::extract::{ApiUser, Fields, id, idempotency_key, page};
use crate::accounts::api_keys::{self, Caller, KeyError};
use crate::api::operation::Operation;
use crate::app::App;
use crate::config::Schedule;
use crate::error::ApiError;
use crate::payouts::{self, Payout, PayoutAccount, Wish, accounts};
use crate::secrets;

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/payouts", "listPayouts", list)
            .says("Your payouts", "")
            .tag("Payouts")
            .answers::<Value>(200, "Your payouts."),
        Operation::post("/payouts", "createPayout", create)
            .says("Pay out earnings", "")
            .tag("Payouts")
            .answers::<Value>(201, "Pay out earnings."),
        Operation::get("/payouts/account", "getPayoutAccount", account)
            .says("Where payouts go", "")
            .tag("Payouts")
            .answers::<Value>(200, "Where payouts go."),
        Operation::post("/payouts/account", "setUpPayoutAccount", set_up)
            .says("Set up where payouts go", "")
            .tag("Payouts")
            .answers::<Value>(200, "Set up where payouts go."),
        Operation::patch("/payouts/account", "changePayoutAccount", change)
            .says("Change the schedule of payouts", "")
            .tag("Payouts")
            .answers::<Value>(200, "Change the schedule of payouts."),
        Operation::get("/payouts/{id}", "getPayout", show)
            .says("A payout", "")
            .tag("Payouts")
            .in_path::<String>("id", "")
            .answers::<Value>(200, "A payout."),
        Operation::delete("/payouts/{id}", "cancelPayout", cancel)
            .says("Cancel a payout", "")
            .tag("Payouts")
            .in_path::<String>("id", "")
            .answers::<Value>(200, "Cancel a payout."),
    ]
}

/// `GET /api/v1/payouts?limit=`: what can be paid out, and what was, newest first.
///
/// # Errors
/// 401, 403, 422, 429.
pub async fn list(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<Value>, ApiError> {
    let (limit, _) = page(&query)?;
    let (earned, _, rows) = payouts::overview(&app, &caller.user, limit).await?;
    Ok(Json(json!({
        "data": rows.iter().map(payout_json).collect::<Vec<_>>(),
        "earnings": {"available": earned.available, "pending": earned.pending, "paid": earned.paid},
        "minimum": app.config.payouts.minimum(),
    })))
}

/// `POST /api/v1/payouts`: pays out `credits`, or all that can be.
///
/// # Errors
/// 401, 402, 403, 409, 422, 429, 503.
pub async fn create(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    headers: HeaderMap,
    fields: Fields,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    check(&app, &caller).await?;
    let amount = match fields.get("credits") {
        None => None,
        Some(raw) => {
            let text = raw.get().trim_matches('"');
            Some(text.parse().map_err(|error| ApiError::invalid("credits", format!("{error}")))?)
        }
    };
    let attempt = idempotency_key(&headers)?.map(|key| format!("api:{}", secrets::hash(&key)));
    let wish = Wish { amount, attempt, period: None };
    let payout = payouts::request(&app, &caller.user, wish).await?;
    Ok((StatusCode::CREATED, Json(json!({"data": payout_json(&payout)}))))
}

/// `GET /api/v1/payouts/{id}`.
///
/// # Errors
/// 401, 403, 404, 429.
pub async fn show(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let payout = payouts::find(&app, caller.user.id, id(&name, "payout")?).await?;
    Ok(Json(json!({"data": payout_json(&payout)})))
}

/// `DELETE /api/v1/payouts/{id}`: calls it off while it has surely not been sent.
///
/// # Errors
/// 401, 403, 404, 409, 429.
pub async fn cancel(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let payout = payouts::cancel(&app, Some(caller.user.id), id(&name, "payout")?).await?;
    Ok(Json(json!({"data": payout_json(&payout)})))
}

/// `GET /api/v1/payouts/account`: where one is paid to.
///
/// # Errors
/// 401, 403, 429.
pub async fn account(State(app): State<Arc<App>>, ApiUser(caller): ApiUser) -> Result<Json<Value>, ApiError> {
    let (_, account, _) = payouts::overview(&app, &caller.user, 1).await?;
    Ok(Json(json!({"data": account_json(&app, account.as_ref())})))
}

/// `POST /api/v1/payouts/account`: a person goes on at `onboarding_url`.
///
/// # Errors
/// 401, 403, 409, 429, 503.
pub async fn set_up(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    check(&app, &caller).await?;
    let url = accounts::onboard(&app, &caller.user).await?;
    let (_, account, _) = payouts::overview(&app, &caller.user, 1).await?;
    let mut answer = account_json(&app, account.as_ref());
    answer["onboarding_url"] = url.into();
    Ok((StatusCode::CREATED, Json(json!({"data": answer}))))
}

/// `PATCH /api/v1/payouts/account`: sets the `schedule`.
///
/// # Errors
/// 401, 403, 409, 422, 429.
pub async fn change(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    fields: Fields,
) -> Result<Json<Value>, ApiError> {
    let schedule = Schedule::from_name(&fields.need_text("schedule")?)
        .ok_or_else(|| ApiError::invalid("schedule", "must be manual, daily, weekly or monthly"))?;
    check(&app, &caller).await?;
    accounts::set_schedule(&app, caller.user.id, schedule).await?;
    let (_, account, _) = payouts::overview(&app, &caller.user, 1).await?;
    Ok(Json(json!({"data": account_json(&app, account.as_ref())})))
}

/// Where the money goes is not for a key that was given away with a limit.
async fn check(app: &App, caller: &Caller) -> Result<(), ApiError> {
    match api_keys::check_may_manage(app, caller.key.id).await {
        Err(KeyError::Limited) => {
            Err(ApiError::forbidden("limited_key", "A key with a spending limit cannot pay earnings out."))
        }
        checked => Ok(checked?),
    }
}

fn account_json(app: &App, account: Option<&PayoutAccount>) -> Value {
    let schedule = account.and_then(|account| account.schedule).unwrap_or(app.config.payouts.schedule);
    json!({
        "provider": app.payouts.name(), "offered": app.config.payouts_offered(),
        "set_up": account.is_some(), "ready": account.is_some_and(|account| account.ready),
        "missing": account.map_or("", |account| &account.missing), "schedule": schedule.name(),
    })
}

/// A payout, for programs.
#[must_use]
pub fn payout_json(payout: &Payout) -> Value {
    json!({
        "id": payout.id, "credits": payout.amount, "amount_cents": payout.cents.get(), "currency": "usd",
        "state": payout.state.name(), "provider": payout.provider, "reference": payout.transfer,
        "error": payout.error, "created_at": payout.created_at, "sent_at": payout.sent_at,
        "ended_at": payout.ended_at, "returned": payout.back != 0,
    })
}
