//! `/api/v1/workloads`: the Cargos of this network.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::extract::ApiUser;
use super::jobs::amount;
use crate::api::operation::Operation;
use crate::app::App;
use crate::error::ApiError;
use crate::jobs::JobError;
use crate::marketplace::Market;
use crate::marketplace::rates::{self, Rate};

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/workloads", "listWorkloads", list)
            .says("All Cargos", "")
            .tag("Cargos")
            .answers::<Value>(200, "All Cargos."),
        Operation::get("/workloads/{slug}", "getWorkload", show)
            .says("A Cargo", "")
            .tag("Cargos")
            .in_path::<String>("slug", "")
            .answers::<Value>(200, "A Cargo."),
    ]
}

/// `GET /api/v1/workloads`.
///
/// # Errors
/// 401, 403, 429, 503.
pub async fn list(State(app): State<Arc<App>>, _: ApiUser) -> Result<Json<Value>, ApiError> {
    let rates = rates::all(&app).await?;
    let rows = app.market.all().iter().zip(&rates).map(|(market, rate)| workload_json(market, rate));
    Ok(Json(json!({"data": rows.collect::<Vec<_>>()})))
}

/// `GET /api/v1/workloads/{slug}`.
///
/// # Errors
/// 401, 403, 404, 429, 503.
pub async fn show(
    State(app): State<Arc<App>>,
    _: ApiUser,
    Path(slug): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let market = app.market.get(&slug).ok_or(JobError::UnknownWorkload)?;
    let rates = rates::all(&app).await?;
    let rate = rates.iter().find(|rate| rate.slug == slug).ok_or(JobError::UnknownWorkload)?;
    Ok(Json(json!({"data": workload_json(market, rate)})))
}

fn workload_json(market: &Market, rate: &Rate) -> Value {
    let workload = &market.workload;
    let (best_ask, last, islands) = (rate.best_ask, rate.last, rate.islands);
    // Clients require a number here: what it would cost now, or did last, or may at most.
    let price = best_ask.or(last).unwrap_or(workload.ceiling);
    json!({
        "id": workload.id, "slug": workload.slug, "name": workload.name, "description": workload.description,
        // The only other word the Python client accepts is "wasm".
        "runtime_type": "container", "runtimeType": "container",
        "required_vram_mb": workload.required_vram_mb, "requiredVramMb": workload.required_vram_mb,
        "required_ram_mb": workload.required_ram_mb, "requiredRamMb": workload.required_ram_mb,
        "price_per_job": price, "pricePerJob": price,
        "is_enabled": true, "isEnabled": true,
        "unit": workload.unit.name(), "best_ask": amount(best_ask), "ceiling": workload.ceiling, "islands_online": islands,
    })
}
