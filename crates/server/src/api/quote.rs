//! `POST /api/v1/market/quote`: what a job would cost and how long it would wait. Changes nothing.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::extract::{ApiUser, Fields};
use super::jobs::{amount, min_trust, model, parse_bid, region, units};
use crate::api::operation::{Access, Operation};
use crate::app::App;
use crate::config::WorkloadKind;
use crate::error::ApiError;
use crate::jobs::{JobError, input};
use crate::marketplace::quote::{Quote, Wanted};
use crate::marketplace::{Market, Workload};

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::post("/market/quote", "quoteJob", quote)
            .says("What a job would cost", "")
            .tag("Exchange")
            .access(Access::Read)
            .answers::<Value>(200, "What a job would cost."),
    ]
}

/// The handler. Takes what `POST /api/v1/jobs` takes; without an `input` the answer is about a short one.
///
/// # Errors
/// 401, 403, 404 (Cargo), 422, 429.
pub async fn quote(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    fields: Fields,
) -> Result<Json<Value>, ApiError> {
    let slug = fields.need_text("workload")?;
    let market = app.market.get(&slug).ok_or(JobError::UnknownWorkload)?;
    let usual;
    let raw = match fields.get("input") {
        Some(raw) => raw,
        None => {
            usual = usual_input(&market.workload)?;
            &usual
        }
    };
    let wanted = Wanted {
        request: input::check(&market.workload, raw)?.request,
        bid: fields.get("bid_price").map(parse_bid).transpose()?,
        region: region(&fields)?,
        model: model(&fields)?,
        min_trust: min_trust(&fields)?,
    };
    let quote = market.quote(&caller.user, &wanted);
    Ok(Json(json!({"data": quote_json(market, &quote)})))
}

fn usual_input(workload: &Workload) -> Result<Box<RawValue>, JobError> {
    let text = match workload.kind {
        WorkloadKind::Chat => r#"{"prompt":"How do tides work?"}"#,
        WorkloadKind::Image => r#"{"prompt":"A lighthouse at dawn"}"#,
        WorkloadKind::Embedding => r#"{"input":"How do tides work?"}"#,
    };
    RawValue::from_string(text.to_owned()).map_err(|_| JobError::Internal)
}

/// A quote as programs read it.
#[must_use]
pub fn quote_json(market: &Market, quote: &Quote) -> Value {
    json!({
        "workload_slug": market.workload.slug, "unit": market.workload.unit.name(),
        "best_ask": amount(quote.best_ask), "price": amount(quote.price),
        "bid_price": quote.bid, "unit_bid": quote.unit_bid, "bid_source": quote.source.name(),
        "bid_needed": amount(quote.bid_needed),
        "max_units": units(quote.units), "worst_case": quote.worst_case, "expected": amount(quote.expected),
        "wait_secs": quote.wait_secs,
    })
}
