//! `/api/v1/jobs/{id}/receipt`, and the keys that receipts are signed with.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::extract::{ApiUser, id};
use crate::api::operation::{Access, Operation};
use crate::app::App;
use crate::error::ApiError;
use crate::job_receipts::{find, keys};

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/jobs/{id}/receipt", "getJobReceipt", show)
            .says("The signed receipt of a job", "")
            .tag("Jobs")
            .in_path::<String>("id", "")
            .answers::<Value>(200, "The signed receipt of a job."),
        Operation::get("/receipt-keys", "listReceiptKeys", published)
            .says("The public keys that receipts are signed with", "")
            .tag("Jobs")
            .access(Access::Public)
            .answers::<Value>(200, "The public keys that receipts are signed with."),
    ]
}

/// `GET /api/v1/jobs/{id}/receipt`: for the consumer, and for the owner of an Island that worked on it.
///
/// # Errors
/// 401, 403, 404, 409 before the end of the job, 429, 503.
pub async fn show(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Path(job): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let receipt = find(&app, caller.user.id, id(&job, "job")?).await?;
    Ok(Json(json!({"data": keys::sign(&app, receipt.body(&app)).await?})))
}

/// `GET /api/v1/receipt-keys`: public, so that anybody can check a receipt. The newest key signs.
///
/// # Errors
/// 503.
pub async fn published(State(app): State<Arc<App>>) -> Result<Json<Value>, ApiError> {
    let keys = keys::published(&app).await?;
    let rows: Vec<Value> = keys
        .into_iter()
        .map(|key| {
            json!({
                "key_id": key.id, "algorithm": "Ed25519", "public_key": key.key,
                "created_at": key.created_at.to_string(),
            })
        })
        .collect();
    Ok(Json(json!({"data": rows})))
}
