//! `/api/v1/credits/…`: packages and purchases. Statements are in `statement`.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::extract::{Address, ApiUser, Fields, idempotency_key, page};
use crate::api::operation::Operation;
use crate::app::App;
use crate::error::ApiError;
use crate::limits::Errand;
use crate::purchases::{self, Purchase};
use crate::secrets;

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/credits/packages", "listPackages", packages)
            .says("What can be bought", "")
            .tag("Credits")
            .answers::<Value>(200, "What can be bought."),
        Operation::get("/credits/purchases", "listPurchases", purchases)
            .says("Your purchases", "")
            .tag("Credits")
            .answers::<Value>(200, "Your purchases."),
        Operation::post("/credits/purchases", "createPurchase", buy)
            .says("Buy credits", "")
            .tag("Credits")
            .answers::<Value>(201, "Buy credits."),
    ]
}

/// `GET /api/v1/credits/packages`.
pub async fn packages(State(app): State<Arc<App>>, _: ApiUser) -> Json<Value> {
    let rows: Vec<Value> = app
        .packages
        .iter()
        .map(|package| {
            json!({"slug": package.slug, "name": package.name, "credits": package.credits.get(),
                   "price_cents": package.price.get(), "currency": purchases::CURRENCY})
        })
        .collect();
    Json(json!({"data": rows}))
}

/// `GET /api/v1/credits/purchases`.
///
/// # Errors
/// 401, 403, 422, 429.
pub async fn purchases(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<Value>, ApiError> {
    let (limit, _) = page(&query)?;
    let rows = purchases::history(&app, caller.user.id, limit).await?;
    Ok(Json(json!({"data": rows.iter().map(purchase_json).collect::<Vec<_>>()})))
}

/// `POST /api/v1/credits/purchases`: makes a purchase; a person pays it at `checkout_url`.
///
/// # Errors
/// 401, 403, 422, 429, 503.
pub async fn buy(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    address: Address,
    headers: HeaderMap,
    fields: Fields,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let package = fields.need_text("package")?;
    address.take(&app, Errand::Checkout)?;
    // Without a key of the caller's every request is a purchase of its own; unpaid ones cost nothing.
    let attempt = idempotency_key(&headers)?
        .map_or_else(|| secrets::new(&*app.random, "once_"), |key| format!("api:{}", secrets::hash(&key)));
    let purchase = purchases::buy(&app, &caller.user, &package, &attempt).await?;
    Ok((StatusCode::CREATED, Json(json!({"data": purchase_json(&purchase)}))))
}

fn purchase_json(purchase: &Purchase) -> Value {
    json!({
        "id": purchase.id, "package": purchase.package_slug, "package_name": purchase.package_name,
        "credits": purchase.credits.get(), "amount_cents": purchase.amount.get(), "currency": purchase.currency,
        "state": purchase.state.name(), "checkout_url": purchase.checkout_url,
        "created_at": purchase.created_at, "granted_at": purchase.granted_at,
        "standing": purchase.standing_name(), "refunded_cents": purchase.lot.standing.refunded.get(),
        "taken_back": purchase.lot.taken, "frozen": purchase.lot.frozen,
    })
}
