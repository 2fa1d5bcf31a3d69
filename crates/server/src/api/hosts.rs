//! `/api/v1/hosts`: Islands that are online.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::extract::{ApiUser, id};
use crate::app::App;
use crate::error::ApiError;
use crate::islands::{self, IslandRecord};

/// `GET /api/v1/hosts`.
///
/// # Errors
/// 401, 403, 429.
pub async fn list(State(app): State<Arc<App>>, _: ApiUser) -> Result<Json<Value>, ApiError> {
    let records = islands::online(&app).await?;
    let rows: Vec<Value> = records.iter().map(|record| host_json(&app, record)).collect();
    Ok(Json(json!({"data": rows})))
}

/// `GET /api/v1/hosts/{id}`.
///
/// # Errors
/// 401, 403, 404, 429.
pub async fn show(
    State(app): State<Arc<App>>,
    _: ApiUser,
    Path(island): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let record = islands::find(&app, id(&island, "Island")?).await?;
    let record = record.ok_or_else(|| ApiError::not_found("Island"))?;
    Ok(Json(json!({"data": host_json(&app, &record)})))
}

fn host_json(app: &App, record: &IslandRecord) -> Value {
    let connection = app.islands.get(record.id);
    let offers = connection.as_ref().map(|connection| connection.offers()).unwrap_or_default();
    let asks: BTreeMap<&str, &str> =
        offers.iter().map(|offer| (offer.workload.as_str(), offer.ask.as_str())).collect();
    json!({
        "id": record.id, "name": record.name,
        "status": if connection.is_some() { "online" } else { "offline" },
        "region": record.capabilities.region, "capabilities": record.capabilities,
        "last_heartbeat_at": record.last_seen_at, "asking_prices": asks,
        "active_jobs": connection.map_or(0, |connection| connection.running()),
    })
}
