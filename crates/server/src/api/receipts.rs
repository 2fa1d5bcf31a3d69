//! `/api/v1/credits/purchases/{id}/receipt`: a receipt as PDF, or as JSON for who asks for it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use types::id::UserId;

use super::extract::{ApiUser, id};
use crate::api::operation::Operation;
use crate::app::App;
use crate::error::ApiError;
use crate::receipts::{self, pdf};

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/credits/purchases/{id}/receipt", "getPurchaseReceipt", show)
            .says("The receipt of a purchase, as PDF", "")
            .tag("Credits")
            .in_path::<String>("id", "")
            .answers_as::<serde_json::Value>(200, "application/pdf", "The receipt."),
    ]
}

/// `GET /api/v1/credits/purchases/{id}/receipt`.
///
/// # Errors
/// 401, 403, 404, 429, 503.
pub async fn show(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Path(purchase): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accept.contains("application/json") {
        let (receipt, refunded) = receipts::find(&app, caller.user.id, id(&purchase, "purchase")?).await?;
        return Ok(Json(json!({"data": receipt.json(refunded)})).into_response());
    }
    file(&app, caller.user.id, &purchase).await
}

/// The receipt of a purchase of this user, as a file.
///
/// # Errors
/// 404, 500, 503.
pub async fn file(app: &App, user: UserId, purchase: &str) -> Result<Response, ApiError> {
    let (receipt, refunded) = receipts::find(app, user, id(purchase, "purchase")?).await?;
    let mut response = pdf::render(&receipt, refunded).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/pdf"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(value) = HeaderValue::from_str(&format!("inline; filename=\"{}\"", receipt.file_name())) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    Ok(response)
}
