//! `/health`, `/ready`, `/metrics`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::api::operation::{Access, Operation};
use crate::app::App;
use crate::error::ApiError;
use crate::islands;

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/health", "getHealth", health)
            .says("Whether the process is there", "")
            .tag("Server")
            .at_root()
            .access(Access::Public)
            .answers::<Value>(200, "Whether the process is there."),
        Operation::get("/ready", "getReady", ready)
            .says("Whether it can serve", "")
            .tag("Server")
            .at_root()
            .access(Access::Public)
            .answers::<Value>(200, "Whether it can serve."),
        Operation::get("/metrics", "getMetrics", metrics)
            .says("What it measures, for Prometheus", "")
            .tag("Server")
            .at_root()
            .access(Access::Public)
            .answers::<Value>(200, "What it measures, for Prometheus."),
    ]
}

/// `GET /health`: the process is there.
pub async fn health() -> Json<Value> {
    Json(json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}))
}

/// `GET /ready`: the database answers.
///
/// # Errors
/// 503.
pub async fn ready(State(app): State<Arc<App>>) -> Result<Json<Value>, ApiError> {
    let answered = app.db.read("ready", async |tx| tx.query_one("SELECT 1", &[]).await.map(drop)).await;
    answered.map_err(|_| ApiError::unavailable("The database does not answer."))?;
    Ok(Json(json!({"status": "ready", "islands": app.islands.all().len(), "jobs": app.jobs.count()})))
}

/// `GET /metrics`, in the text format Prometheus reads.
pub async fn metrics(State(app): State<Arc<App>>) -> Response {
    islands::offers::gauge(&app);
    let mut response = app.metrics.render().into_response();
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
