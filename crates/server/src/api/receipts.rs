//! `/api/v1/credits/purchases/{id}/receipt`: a receipt as PDF, or as JSON for who asks for it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde_json::json;
use types::id::{PurchaseId, UserId};
use types::time::Timestamp;

use super::extract::{ApiUser, id};
use super::shapes::Data;
use super::words::BinaryFile;
use crate::api::operation::Operation;
use crate::app::App;
use crate::error::ApiError;
use crate::receipts::{self, pdf};

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/credits/purchases/{id}/receipt", "getPurchaseReceipt", show)
            .says("The receipt of a purchase", "As PDF, or with `Accept: application/json` as JSON.")
            .tag("Credits")
            .in_path::<PurchaseId>("id", "The purchase.")
            .answers_as::<BinaryFile>(200, "application/pdf", "The receipt.")
            .answers::<Data<PurchaseReceipt>>(200, "The receipt."),
    ]
}

/// The receipt of a purchase. Amounts of money are US cents.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the OpenAPI document only; Receipt::json writes it")]
struct PurchaseReceipt {
    /// The number of the receipt, as printed.
    number: String,
    /// Of which purchase.
    purchase: PurchaseId,
    /// When it was issued.
    issued_at: Timestamp,
    /// Who sold.
    seller: ReceiptSeller,
    /// Who bought.
    buyer: ReceiptBuyer,
    /// What was bought.
    description: String,
    /// How many credits.
    credits: i64,
    /// What was paid, in cents.
    amount_cents: i64,
    /// `usd`.
    currency: String,
    /// The tax in the price; null if there is none.
    tax: Option<ReceiptTax>,
    /// How much was given back since, in cents.
    refunded_cents: i64,
    /// The payment's number at the card processor.
    payment_ref: Option<String>,
    /// Whether no real money was paid.
    test_mode: bool,
}

/// Who sold.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the OpenAPI document only")]
struct ReceiptSeller {
    /// The name.
    name: String,
    /// The address, line by line.
    address: String,
    /// The mail address.
    email: String,
    /// The VAT number.
    vat_id: String,
}

/// Who bought.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the OpenAPI document only")]
struct ReceiptBuyer {
    /// The mail address.
    email: String,
    /// The name.
    name: String,
}

/// A tax that is in the price.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the OpenAPI document only")]
struct ReceiptTax {
    /// What it is called.
    label: String,
    /// The rate, in hundredths of a percent.
    basis_points: i64,
    /// How much of the price it is, in cents.
    included_cents: i64,
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
