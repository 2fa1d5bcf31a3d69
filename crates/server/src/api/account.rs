//! `GET /api/v1/account`: who one is and what one has.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde_json::{Value, json};

use super::clients;
use super::extract::ApiUser;
use crate::api::operation::Operation;
use crate::app::App;
use crate::error::ApiError;
use crate::{credits, identity};

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/account", "getAccount", show)
            .says("Your account and balance", "")
            .tag("Account")
            .answers::<Value>(200, "Your account and balance."),
    ]
}

/// The handler.
///
/// # Errors
/// 401, 403, 429.
pub async fn show(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let user = &caller.user;
    let balance = credits::balance(&app, user.wallet).await?;
    let earnings = credits::balance(&app, user.earnings).await?;
    let verification = identity::state(&app, user.id).await?;
    Ok(Json(json!({"data": {
        "id": clients::account_id(&headers, user.id),
        "email": user.email,
        "name": user.name,
        "credits": balance.available(),
        "held": balance.held,
        "earnings": earnings.available(),
        "frozen": balance.frozen,
        "verification": verification.name(),
        "created_at": user.created_at,
        "createdAt": user.created_at,
    }})))
}
