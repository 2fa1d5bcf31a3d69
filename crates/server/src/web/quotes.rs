//! What the chat and image pages show before a job is sent: what it can cost at most, what it will probably cost, how long it
//! would wait; and the button that keeps a max price.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use types::money::MicroCredits;

use super::forms::Pressed;
use super::image::markets;
use super::session::SignedIn;
use crate::accounts::bids::set;
use crate::api::extract::{Fields, id};
use crate::api::jobs::parse_bid;
use crate::app::App;
use crate::chat;
use crate::config::WorkloadKind;
use crate::error::ApiError;
use crate::idempotency::Once;
use crate::jobs::JobError;
use crate::jobs::input::{MAX_IMAGE_SIDE, MAX_MESSAGE_BYTES, MAX_STEPS};
use crate::marketplace::measure::Request;
use crate::marketplace::quote::{Quote, Wanted};

/// `GET /app/chat/quote?workload=&bytes=&conversation_id=&bid_price=`: only how long the message is has to be known.
///
/// # Errors
/// 401, 404, 422, 500, 503.
pub async fn chat(
    State(app): State<Arc<App>>,
    SignedIn(session): SignedIn,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<Value>, ApiError> {
    let slug = query.get("workload").map(String::as_str).unwrap_or_default();
    let market = app.market.get(slug).filter(|market| market.workload.kind == WorkloadKind::Chat);
    let market = market.ok_or(JobError::UnknownWorkload)?;
    let conversation = given(&query, "conversation_id").map(|text| id(text, "conversation")).transpose()?;
    let before = chat::bytes_before(&app, session.user.id, conversation).await?;
    let typed = whole(&query, "bytes", MAX_MESSAGE_BYTES)?;
    let request = Request { prompt_bytes: before.saturating_add(typed), ..Request::default() };
    let quote = market.quote(&session.user, &Wanted { request, bid: bid(&query)?, ..Wanted::default() });
    Ok(Json(quote_json(&quote)))
}

/// `GET /app/image/quote?width=&height=&steps=&bid_price=`.
///
/// # Errors
/// 401, 404, 422.
pub async fn image(
    State(app): State<Arc<App>>,
    SignedIn(session): SignedIn,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<Value>, ApiError> {
    let market = markets(&app).next().ok_or(JobError::UnknownWorkload)?;
    let side = usize::try_from(MAX_IMAGE_SIDE).unwrap_or_default();
    let steps = usize::try_from(MAX_STEPS).unwrap_or_default();
    let pixels = whole(&query, "width", side)? * whole(&query, "height", side)?;
    let request = Request { pixels, steps: whole(&query, "steps", steps)?, ..Request::default() };
    let quote = market.quote(&session.user, &Wanted { request, bid: bid(&query)?, ..Wanted::default() });
    Ok(Json(quote_json(&quote)))
}

/// `POST /app/bids/{slug}`: `{bid_price}` is kept as the max price for each unit of the Cargo; without it the Cargo's
/// ceiling holds again.
///
/// # Errors
/// 401, 403, 404, 422, 429, 500, 503.
pub async fn save_bid(
    State(app): State<Arc<App>>,
    Pressed(session): Pressed,
    Path(slug): Path<String>,
    fields: Fields,
) -> Result<Json<Value>, ApiError> {
    let market = app.market.get(&slug).ok_or(JobError::UnknownWorkload)?;
    let bid = fields.get("bid_price").map(parse_bid).transpose()?;
    set(&app, &session.user, market.workload.id, bid, &Once::unclaimed()).await?;
    Ok(Json(json!({"bid": bid.map(|bid| bid.to_string())})))
}

fn given<'a>(query: &'a HashMap<String, String>, name: &str) -> Option<&'a str> {
    query.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
}

fn whole(query: &HashMap<String, String>, name: &str, most: usize) -> Result<i64, ApiError> {
    let number =
        given(query, name).and_then(|text| text.parse::<usize>().ok()).filter(|number| *number <= most);
    let number = number.and_then(|number| i64::try_from(number).ok());
    number.ok_or_else(|| ApiError::invalid(name, format!("must be a whole number up to {most}")))
}

fn bid(query: &HashMap<String, String>) -> Result<Option<MicroCredits>, ApiError> {
    let Some(text) = given(query, "bid_price") else { return Ok(None) };
    let raw = RawValue::from_string(format!("\"{}\"", text.replace(['"', '\\'], "?")));
    parse_bid(&raw.map_err(|_| ApiError::invalid("bid_price", "must be a number of credits"))?).map(Some)
}

/// As text: the scripts count in whole micro-credits.
fn quote_json(quote: &Quote) -> Value {
    let text = |amount: Option<MicroCredits>| amount.map(|amount| amount.to_string());
    json!({
        "worst_case": quote.worst_case.to_string(), "expected": text(quote.expected), "best_ask": text(quote.best_ask),
        "bid": quote.bid.to_string(), "source": quote.source.name(), "needed": text(quote.bid_needed),
        "wait_secs": quote.wait_secs, "available": quote.price.is_some(),
    })
}
