//! `/api/v1/market/rates`: public.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use types::time::Timestamp;

use super::jobs::amount;
use crate::app::App;
use crate::error::ApiError;
use crate::jobs::JobError;
use crate::marketplace::rates::{self, Rate};

/// `GET /api/v1/market/rates`.
///
/// # Errors
/// 503.
pub async fn all(State(app): State<Arc<App>>) -> Result<Json<Value>, ApiError> {
    let now = app.clock.now();
    let rows: Vec<Value> = rates::all(&app).await?.iter().map(|rate| rate_json(rate, now)).collect();
    Ok(Json(json!({"data": rows})))
}

/// `GET /api/v1/market/rates/{slug}`: a list of one, as existing clients read it.
///
/// # Errors
/// 404, 503.
pub async fn one(State(app): State<Arc<App>>, Path(slug): Path<String>) -> Result<Json<Value>, ApiError> {
    if app.market.get(&slug).is_none() {
        return Err(JobError::UnknownWorkload.into());
    }
    let now = app.clock.now();
    let rates = rates::all(&app).await?;
    let rows: Vec<Value> =
        rates.iter().filter(|rate| rate.slug == slug).map(|rate| rate_json(rate, now)).collect();
    Ok(Json(json!({"data": rows})))
}

fn rate_json(rate: &Rate, now: Timestamp) -> Value {
    json!({
        "workload_slug": rate.slug, "name": rate.name, "unit": "request",
        "best_ask": amount(rate.best_ask), "last_price": amount(rate.last),
        "avg_price": amount(rate.day.mean()), "min_price": amount(rate.day.lowest), "max_price": amount(rate.day.highest),
        "num_trades": rate.day.trades, "num_hosts": rate.islands, "num_waiting": rate.waiting, "timestamp": now,
    })
}
