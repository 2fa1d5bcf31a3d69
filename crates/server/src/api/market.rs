//! `/api/v1/market`: rates, history, books and trades are public; asking prices are their owners'.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde_json::{Value, json};
use types::id::IslandId;
use types::money::MicroCredits;
use types::time::Timestamp;
use types::units::Units;

use super::extract::{ApiUser, Fields};
use super::jobs::amount;
use crate::accounts::api_keys::{self, Caller, KeyError};
use crate::api::operation::{Access, Operation};
use crate::app::App;
use crate::error::ApiError;
use crate::jobs::JobError;
use crate::marketplace::Market;
use crate::marketplace::overrides::{self, AskError, Asking};
use crate::marketplace::rates::{self, Detail, Point, Rate, Span, Window};
use crate::marketplace::suggest::{AskReason, BidReason};

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/market/rates", "listRates", all)
            .says("Rates of all Cargos", "")
            .tag("Exchange")
            .access(Access::Public)
            .answers::<Value>(200, "Rates of all Cargos."),
        Operation::get("/market/rates/{slug}", "getRates", one)
            .says("Rates of a Cargo", "")
            .tag("Exchange")
            .access(Access::Public)
            .in_path::<String>("slug", "")
            .answers::<Value>(200, "Rates of a Cargo."),
        Operation::get("/market/history/{slug}", "getHistory", history)
            .says("How the price of a Cargo moved", "")
            .tag("Exchange")
            .access(Access::Public)
            .in_path::<String>("slug", "")
            .answers::<Value>(200, "How the price of a Cargo moved."),
        Operation::get("/market/book/{slug}", "getBook", book)
            .says("ApiUser and waiting bids of a Cargo", "")
            .tag("Exchange")
            .access(Access::Public)
            .in_path::<String>("slug", "")
            .answers::<Value>(200, "ApiUser and waiting bids of a Cargo."),
        Operation::get("/market/trades/{slug}", "listTrades", trades)
            .says("The newest trades of a Cargo", "")
            .tag("Exchange")
            .access(Access::Public)
            .in_path::<String>("slug", "")
            .answers::<Value>(200, "The newest trades of a Cargo."),
        Operation::get("/market/asking-prices", "listAskingPrices", asking_prices)
            .says("The asks of your Islands", "")
            .tag("Islands")
            .answers::<Value>(200, "The asks of your Islands."),
        Operation::post("/market/asking-prices", "setAskingPrice", set_asking_price)
            .says("Set the ask of an Island of yours", "")
            .tag("Islands")
            .access(Access::Manage)
            .answers::<Value>(200, "Set the ask of an Island of yours."),
        Operation::delete("/market/asking-prices", "resetAskingPrice", reset_asking_price)
            .says("Let an Island's agent set its ask again", "")
            .tag("Islands")
            .access(Access::Manage)
            .answers::<Value>(200, "Let an Island's agent set its ask again."),
    ]
}

/// Most prices of a book that are told.
pub const LEVELS: usize = 200;

type Params = Query<HashMap<String, String>>;

/// `GET /api/v1/market/rates`: the last 24 hours.
///
/// # Errors
/// 503.
pub async fn all(State(app): State<Arc<App>>) -> Result<Json<Value>, ApiError> {
    let now = app.clock.now();
    let rates = rates::all(&app).await?;
    let rows = app.market.all().iter().zip(&rates).map(|(market, rate)| rate_json(market, rate, now));
    Ok(Json(json!({"data": rows.collect::<Vec<_>>()})))
}

/// `GET /api/v1/market/rates/{slug}`: a list of one, as existing clients read it.
///
/// # Errors
/// 404, 503.
pub async fn one(State(app): State<Arc<App>>, Path(slug): Path<String>) -> Result<Json<Value>, ApiError> {
    let market = market(&app, &slug)?;
    let detail = rates::detail(&app, market).await?;
    let mut row = rate_json(market, &detail.rate, app.clock.now());
    let windows = Span::ALL.iter().zip(&detail.windows);
    row["windows"] = windows.map(|(span, window)| (span.name().to_owned(), window_json(window))).collect();
    suggestions(&mut row, &detail);
    Ok(Json(json!({"data": [row]})))
}

/// `GET /api/v1/market/history/{slug}?window=1h|24h|7d|30d`: one row for each step, oldest first; prices are null where
/// nothing was traded.
///
/// # Errors
/// 404, 422, 503.
pub async fn history(
    State(app): State<Arc<App>>,
    Path(slug): Path<String>,
    Query(query): Params,
) -> Result<Json<Value>, ApiError> {
    let market = market(&app, &slug)?;
    let span = span(&query)?;
    let points = rates::history(&app, market.workload.id, span).await?;
    let rows: Vec<Value> = points.iter().map(|point| point_json(&slug, point)).collect();
    let seconds = span.step() * 60;
    Ok(Json(json!({"data": rows, "window": span.name(), "step_seconds": seconds})))
}

/// `GET /api/v1/market/book/{slug}`: asks and waiting bids by price. Whose they are is not told.
///
/// # Errors
/// 404.
pub async fn book(State(app): State<Arc<App>>, Path(slug): Path<String>) -> Result<Json<Value>, ApiError> {
    let market = market(&app, &slug)?;
    let (asks, bids, book) = (market.depth(LEVELS), market.demand(LEVELS), market.standing());
    let asks = asks.iter().map(|level| {
        json!({"price": level.ask, "free_slots": level.free_slots, "slots": level.slots, "num_hosts": level.islands})
    });
    let bids = bids.iter().map(|demand| json!({"price": demand.bid, "num_waiting": demand.jobs}));
    Ok(Json(json!({"data": {
        "workload_slug": slug, "unit": market.workload.unit.name(), "timestamp": app.clock.now(),
        "best_ask": amount(book.best_ask), "lowest_ask": amount(book.lowest_ask),
        "num_hosts": book.islands, "slots": book.slots, "free_slots": book.free, "num_waiting": book.waiting,
        "asks": asks.collect::<Vec<_>>(), "bids": bids.collect::<Vec<_>>(),
    }})))
}

/// `GET /api/v1/market/trades/{slug}?limit=`: the newest first. Whose they were is not told.
///
/// # Errors
/// 404, 422, 503.
pub async fn trades(
    State(app): State<Arc<App>>,
    Path(slug): Path<String>,
    Query(query): Params,
) -> Result<Json<Value>, ApiError> {
    let market = market(&app, &slug)?;
    let (limit, _) = super::extract::page(&query)?;
    let sales = rates::sales(&app, market.workload.id, limit).await?;
    let rows = sales.iter().map(|sale| {
        json!({"timestamp": sale.at, "price": sale.price, "units": decimal(sale.units), "unit": market.workload.unit.name()})
    });
    Ok(Json(json!({"data": rows.collect::<Vec<_>>()})))
}

/// `GET /api/v1/market/asking-prices`: what one's Islands ask, and who says so.
///
/// # Errors
/// 401, 403, 429, 503.
pub async fn asking_prices(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
) -> Result<Json<Value>, ApiError> {
    let mine = crate::islands::mine(&app, &caller.user).await?;
    let rows = mine.iter().flat_map(|(record, _)| {
        let askings = app.market.all().iter().map(|market| (market, overrides::asking(&app, record, market)));
        askings
            .filter(|(_, asking)| asking.agent.is_some())
            .map(|(market, asking)| asking_json(market, &asking))
            .collect::<Vec<_>>()
    });
    Ok(Json(json!({"data": rows.collect::<Vec<_>>()})))
}

/// `POST /api/v1/market/asking-prices`: `host_id`, `workload`, `ask` (credits per unit); `confirm` for a change by more than
/// a factor of ten (incident 104).
///
/// # Errors
/// 401, 403, 404, 409, 422, 429, 503.
pub async fn set_asking_price(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    fields: Fields,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let (island, market) = named(&app, &fields)?;
    let raw = fields.get("ask").or_else(|| fields.get("asking_price"));
    let raw = raw.ok_or_else(|| ApiError::invalid("ask", "is missing"))?;
    let ask = types::money::parse_json_amount(raw.get())
        .map_err(|error| ApiError::invalid("ask", error.to_string()))?;
    let confirmed = fields.truth("confirm")?;
    may_manage(&app, &caller).await?;
    let owner = caller.user.id;
    let asking = overrides::set(&app, owner, (island, market), ask, confirmed).await?;
    Ok((StatusCode::OK, Json(json!({"data": asking_json(market, &asking)}))))
}

/// `DELETE /api/v1/market/asking-prices?host_id=&workload=`: the agent’s ask is in
/// force again.
///
/// # Errors
/// 401, 403, 404, 422, 429, 503.
pub async fn reset_asking_price(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Query(query): Params,
) -> Result<Json<Value>, ApiError> {
    let need = |name: &str| query.get(name).ok_or_else(|| ApiError::invalid(name, "is missing"));
    let island = super::extract::id(need("host_id")?, "Island")?;
    let market = market(&app, need("workload")?)?;
    may_manage(&app, &caller).await?;
    let asking = overrides::reset(&app, caller.user.id, (island, market)).await?;
    Ok(Json(json!({"data": asking_json(market, &asking)})))
}

/// What one's Islands ask is not for a key that was given away with a limit.
async fn may_manage(app: &App, caller: &Caller) -> Result<(), ApiError> {
    match api_keys::check_may_manage(app, caller.key.id).await {
        Err(KeyError::Limited) => {
            Err(ApiError::forbidden("limited_key", "A key with a spending limit cannot change asks."))
        }
        checked => Ok(checked?),
    }
}

impl From<AskError> for ApiError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Unknown => Self::not_found("Island"),
            AskError::NotOffered => Self::invalid("workload", "is not offered by this Island"),
            AskError::Negative => Self::invalid("ask", "must not be negative"),
            AskError::Confirm { old, new } => {
                let text = format!(
                    "This changes the ask from {old} to {new} credits, by more than a factor of ten: what cost {old} would cost {new}. Send confirm: true if it is meant."
                );
                Self::new(StatusCode::CONFLICT, "confirmation_required", text)
                    .with_amount("current", old)
                    .with_amount("wanted", new)
            }
            AskError::Db(error) => error.into(),
        }
    }
}

fn named<'a>(app: &'a App, fields: &Fields) -> Result<(IslandId, &'a Arc<Market>), ApiError> {
    let island = super::extract::id(&fields.need_text("host_id")?, "Island")?;
    Ok((island, market(app, &fields.need_text("workload")?)?))
}

fn market<'a>(app: &'a App, slug: &str) -> Result<&'a Arc<Market>, ApiError> {
    Ok(app.market.get(slug).ok_or(JobError::UnknownWorkload)?)
}

fn span(query: &HashMap<String, String>) -> Result<Span, ApiError> {
    let Some(name) = query.get("window") else { return Ok(Span::default()) };
    Span::from_name(name).ok_or_else(|| ApiError::invalid("window", "must be 1h, 24h, 7d or 30d"))
}

/// Units as an exact decimal number.
fn decimal(units: Units) -> Value {
    // Five decimals of a unit are six of an amount, whose writing is exact.
    amount(units.parts().checked_mul(10).map(MicroCredits::new))
}

fn rate_json(market: &Market, rate: &Rate, now: Timestamp) -> Value {
    json!({
        "workload_slug": rate.slug, "name": rate.name, "unit": market.workload.unit.name(),
        "best_ask": amount(rate.best_ask), "best_free_ask": amount(rate.book.best_ask), "last_price": amount(rate.last),
        "avg_price": amount(rate.day.mean()), "median_price": amount(rate.day.median),
        "min_price": amount(rate.day.lowest), "max_price": amount(rate.day.highest),
        "num_trades": rate.day.trades, "num_hosts": rate.islands, "num_waiting": rate.waiting,
        "slots": rate.book.slots, "free_slots": rate.book.free,
        "window": Span::Day.name(), "timestamp": now,
    })
}

fn window_json(window: &Window) -> Value {
    json!({
        "avg_price": amount(window.mean()), "median_price": amount(window.median),
        "min_price": amount(window.lowest), "max_price": amount(window.highest),
        "num_trades": window.trades, "units": decimal(Units::from_parts(window.units)),
    })
}

fn suggestions(row: &mut Value, detail: &Detail) {
    let bid = detail.suggested_bid.map(|(bid, why)| {
        let why = match why {
            BidReason::Plenty => "plenty_free",
            BidReason::Few => "best_ask",
            BidReason::Recent => "nine_of_ten_cleared",
            BidReason::Busy => "lowest_busy_ask",
        };
        json!({"price": bid, "reason": why})
    });
    let ask = detail.suggested_ask.map(|(ask, why)| {
        let why = match why {
            AskReason::Median => "median_cleared",
            AskReason::Undercut => "lowest_free_ask",
            AskReason::Unserved => "median_unserved",
            AskReason::Demand => "unserved_only",
        };
        json!({"price": ask, "reason": why})
    });
    row["suggested_bid"] = json!(bid);
    row["suggested_ask"] = json!(ask);
    row["unserved_24h"] = json!({
        "num_jobs": detail.unserved.count(),
        "median_bid": amount(detail.unserved.median()), "max_bid": amount(detail.unserved.highest()),
    });
}

fn point_json(slug: &str, point: &Point) -> Value {
    let (window, noted) = (&point.window, point.noted.as_ref());
    json!({
        "workload_slug": slug, "timestamp": point.at,
        "avg_price": amount(window.mean()), "last_price": amount(point.last),
        "min_price": amount(window.lowest), "max_price": amount(window.highest), "num_trades": window.trades,
        "best_free_ask": amount(noted.and_then(|noted| noted.best_ask)),
        "num_hosts": noted.map(|noted| noted.islands), "num_waiting": noted.map(|noted| noted.waiting),
    })
}

fn asking_json(market: &Market, asking: &Asking) -> Value {
    json!({
        "host_id": asking.island, "workload": market.workload.slug, "unit": market.workload.unit.name(),
        "ask": amount(asking.ask), "agent_ask": amount(asking.agent),
        "set_here": asking.set_at.is_some(), "set_at": asking.set_at,
        "rank": market.rank(asking.island).map(|rank| json!({
            "place": rank.place, "of": rank.of, "next_cheaper": amount(rank.cheaper),
        })),
    })
}
