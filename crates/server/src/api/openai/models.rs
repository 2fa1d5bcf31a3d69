//! `GET /v1/models`: the Cargos, as models.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::api::extract::ApiUser;
use crate::app::App;
use crate::error::ApiError;
use crate::marketplace::Workload;

/// `GET /v1/models`.
pub async fn list(State(app): State<Arc<App>>, _: ApiUser) -> Json<Value> {
    let rows: Vec<Value> = app.market.all().iter().map(|market| model(&market.workload)).collect();
    Json(json!({"object": "list", "data": rows}))
}

/// `GET /v1/models/{model}`.
///
/// # Errors
/// 401, 403, 404, 429.
pub async fn show(
    State(app): State<Arc<App>>,
    _: ApiUser,
    Path(slug): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let market = app.market.get(&slug).ok_or_else(|| {
        ApiError::new(
            StatusCode::NOT_FOUND,
            "model_not_found",
            "There is no such model. GET /v1/models lists them.",
        )
    })?;
    Ok(Json(model(&market.workload)))
}

fn model(workload: &Workload) -> Value {
    json!({"id": workload.slug, "object": "model", "created": 1_735_689_600, "owned_by": "archipelago"})
}
