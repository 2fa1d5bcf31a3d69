//! `POST /api/v1/market/quote`: what a job would cost and how long it would wait. Changes nothing.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::extract::{ApiUser, Fields};
use super::jobs::{min_trust, model, parse_bid, region};
use super::market_shapes::QuoteBody;
use super::shapes::Data;
use super::words::{AnyObject, Bid, Trust};
use crate::api::operation::{Access, Operation};
use crate::app::App;
use crate::config::WorkloadKind;
use crate::error::ApiError;
use crate::jobs::{JobError, input};
use crate::marketplace::Workload;
use crate::marketplace::quote::Wanted;

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::post("/market/quote", "quoteJob", quote)
            .says(
                "What a job would cost",
                "And how long it would wait. Takes what `POST /api/v1/jobs` takes; without an `input` the answer is about a \
                 short one. Changes nothing, reserves nothing.",
            )
            .tag("Exchange")
            .access(Access::Read)
            .body::<Wish>(json!({"workload": "llm-chat", "input": {"prompt": "How do tides work?"}, "bid_price": 5}))
            .answers::<Data<QuoteBody>>(200, "What it would cost.")
            .errors(&["unknown_workload"]),
    ]
}

/// A job that somebody thinks of submitting.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read by the OpenAPI document only; the handler reads the fields one by one")]
pub struct Wish {
    /// Which Cargo: its slug.
    #[schemars(length(min = 1))]
    workload: String,
    /// What to do, as in `POST /api/v1/jobs`.
    #[schemars(with = "Option<AnyObject>")]
    input: Option<Value>,
    /// The most the whole job may cost, in credits.
    #[schemars(with = "Option<Bid>")]
    bid_price: Option<Value>,
    /// Where the Island must stand.
    #[schemars(length(min = 1, max = 64))]
    region: Option<String>,
    /// Which model the Island must serve the Cargo with.
    #[schemars(length(min = 1, max = 200))]
    model: Option<String>,
    /// How far the Island must be trusted.
    #[schemars(with = "Option<Trust>")]
    min_trust: Option<String>,
    /// Makes no difference here.
    #[schemars(range(min = 0, max = 100))]
    priority: Option<i64>,
}

/// The handler. Takes what `POST /api/v1/jobs` takes; without an `input` the answer is about a short one.
///
/// # Errors
/// 401, 403, 404 (Cargo), 422, 429.
pub async fn quote(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    fields: Fields,
) -> Result<Json<Data<QuoteBody>>, ApiError> {
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
    // It makes no difference to a quote, but what a job would be refused for is refused here.
    fields.whole("priority", 0, 100)?;
    let wanted = Wanted {
        request: input::check(&market.workload, raw)?.request,
        bid: fields.get("bid_price").map(parse_bid).transpose()?,
        region: region(&fields)?,
        model: model(&fields)?,
        min_trust: min_trust(&fields)?,
    };
    let quote = market.quote(&caller.user, &wanted);
    Ok(Json(Data { data: QuoteBody::new(market, &quote) }))
}

fn usual_input(workload: &Workload) -> Result<Box<RawValue>, JobError> {
    let text = match workload.kind {
        WorkloadKind::Chat => r#"{"prompt":"How do tides work?"}"#,
        WorkloadKind::Image => r#"{"prompt":"A lighthouse at dawn"}"#,
        WorkloadKind::Embedding => r#"{"input":"How do tides work?"}"#,
    };
    RawValue::from_string(text.to_owned()).map_err(|_| JobError::Internal)
}
