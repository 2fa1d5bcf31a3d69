//! `/api/v1/market`: rates, history, books and trades are public; asking prices are their owners'.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;
use types::id::IslandId;

use super::extract::{ApiUser, Fields};
use super::market_shapes::{
    AskLevel, AskingBody, BidLevel, BookBody, DetailBody, HistoryBody, NewAsk, PointBody, RateBody, Trade,
};
use super::shapes::Data;
use super::words::{PageLimit, PriceUnit, Slug, Window};
use crate::accounts::api_keys::{self, Caller, KeyError};
use crate::api::operation::{Access, Operation, Repeatable};
use crate::app::App;
use crate::error::ApiError;
use crate::idempotency::{Answer, Claim, Once};
use crate::jobs::JobError;
use crate::marketplace::Market;
use crate::marketplace::overrides::{self, AskError, Asking};
use crate::marketplace::rates::{self, Span};

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    public().into_iter().chain(asks()).collect()
}

fn public() -> Vec<Operation> {
    let of = |operation: Operation| {
        operation
            .tag("Exchange")
            .access(Access::Public)
            .in_path::<Slug>("slug", "The Cargo.")
            .errors(&["unknown_workload"])
    };
    vec![
        Operation::get("/market/rates", "listRates", all)
            .says("Rates of all Cargos", "Over the last 24 hours.")
            .tag("Exchange")
            .access(Access::Public)
            .answers::<Data<Vec<RateBody>>>(200, "One row for each Cargo."),
        of(Operation::get("/market/rates/{slug}", "getRates", one))
            .says("Rates of a Cargo", "Over several windows, with what to bid and what to ask.")
            .answers::<Data<Vec<DetailBody>>>(200, "A list of one, as existing clients read it."),
        of(Operation::get("/market/history/{slug}", "getHistory", history))
            .says("How the price of a Cargo moved", "")
            .query::<Window>("window", "How far back; `24h` if nothing is said.")
            .answers::<HistoryBody>(200, "One row for each step, oldest first."),
        of(Operation::get("/market/book/{slug}", "getBook", book))
            .says("Asks and waiting bids of a Cargo", "By price. Whose they are is not told.")
            .answers::<Data<BookBody>>(200, "The book."),
        of(Operation::get("/market/trades/{slug}", "listTrades", trades))
            .says("The newest trades of a Cargo", "Whose they were is not told.")
            .query::<PageLimit>("limit", "How many trades.")
            .answers::<Data<Vec<Trade>>>(200, "The newest first."),
    ]
}

fn asks() -> Vec<Operation> {
    let codes = &["unknown_workload", "not_found", "limited_key"];
    vec![
        Operation::get("/market/asking-prices", "listAskingPrices", asking_prices)
            .says("The asks of your Islands", "")
            .tag("Islands")
            .answers::<Data<Vec<AskingBody>>>(200, "One row for each Island and Cargo."),
        Operation::post("/market/asking-prices", "setAskingPrice", set_asking_price)
            .says(
                "Set the ask of an Island of yours",
                "It stands at once, in place of what the Island's agent says, until it is reset. Jobs already matched keep \
                 their price.",
            )
            .tag("Islands")
            .access(Access::Manage)
            .body::<NewAsk>(json!({"host_id": "isl_0000000000000", "workload": "llm-chat", "ask": 2.5}))
            .answers::<Data<AskingBody>>(200, "The ask as it stands now.")
            .errors(codes)
            .errors(&["confirmation_required"]),
        Operation::delete("/market/asking-prices", "resetAskingPrice", reset_asking_price)
            .says("Let an Island's agent set its ask again", "Resetting what was not set changes nothing.")
            .tag("Islands")
            .access(Access::Manage)
            .query::<IslandId>("host_id", "Which of your Islands. Needed.")
            .query::<Slug>("workload", "For which Cargo. Needed.")
            .answers::<Data<AskingBody>>(200, "The ask as it stands now.")
            .errors(codes),
    ]
}

/// Most prices of a book that are told.
pub const LEVELS: usize = 200;

type Params = Query<HashMap<String, String>>;

/// `GET /api/v1/market/rates`: the last 24 hours.
///
/// # Errors
/// 503.
pub async fn all(State(app): State<Arc<App>>) -> Result<Json<Data<Vec<RateBody>>>, ApiError> {
    let now = app.clock.now();
    let rates = rates::all(&app).await?;
    let rows = app.market.all().iter().zip(&rates).map(|(market, rate)| RateBody::new(market, rate, now));
    Ok(Json(Data { data: rows.collect() }))
}

/// `GET /api/v1/market/rates/{slug}`: a list of one, as existing clients read it.
///
/// # Errors
/// 404, 503.
pub async fn one(
    State(app): State<Arc<App>>,
    Path(slug): Path<String>,
) -> Result<Json<Data<Vec<DetailBody>>>, ApiError> {
    let market = market(&app, &slug)?;
    let detail = rates::detail(&app, market).await?;
    Ok(Json(Data { data: vec![DetailBody::new(market, &detail, app.clock.now())] }))
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
) -> Result<Json<HistoryBody>, ApiError> {
    let market = market(&app, &slug)?;
    let span = span(&query)?;
    let points = rates::history(&app, market.workload.id, span).await?;
    let data = points.iter().map(|point| PointBody::new(&slug, point)).collect();
    Ok(Json(HistoryBody { data, window: Window(span.name()), step_seconds: span.step() * 60 }))
}

/// `GET /api/v1/market/book/{slug}`: asks and waiting bids by price. Whose they are is not told.
///
/// # Errors
/// 404.
pub async fn book(
    State(app): State<Arc<App>>,
    Path(slug): Path<String>,
) -> Result<Json<Data<BookBody>>, ApiError> {
    let market = market(&app, &slug)?;
    let (asks, bids, book) = (market.depth(LEVELS), market.demand(LEVELS), market.standing());
    let asks = asks.iter().map(|level| AskLevel {
        price: level.ask,
        free_slots: level.free_slots,
        slots: level.slots,
        num_hosts: level.islands,
    });
    let bids = bids.iter().map(|demand| BidLevel { price: demand.bid, num_waiting: demand.jobs });
    let data = BookBody {
        workload_slug: slug,
        unit: PriceUnit(market.workload.unit.name()),
        timestamp: app.clock.now(),
        best_ask: book.best_ask,
        lowest_ask: book.lowest_ask,
        num_hosts: book.islands,
        slots: book.slots,
        free_slots: book.free,
        num_waiting: book.waiting,
        asks: asks.collect(),
        bids: bids.collect(),
    };
    Ok(Json(Data { data }))
}

/// `GET /api/v1/market/trades/{slug}?limit=`: the newest first. Whose they were is not told.
///
/// # Errors
/// 404, 422, 503.
pub async fn trades(
    State(app): State<Arc<App>>,
    Path(slug): Path<String>,
    Query(query): Params,
) -> Result<Json<Data<Vec<Trade>>>, ApiError> {
    let market = market(&app, &slug)?;
    let (limit, _) = super::extract::page(&query)?;
    let sales = rates::sales(&app, market.workload.id, limit).await?;
    Ok(Json(Data { data: sales.iter().map(|sale| Trade::new(market, sale)).collect() }))
}

/// `GET /api/v1/market/asking-prices`: what one's Islands ask, and who says so.
///
/// # Errors
/// 401, 403, 429, 503.
pub async fn asking_prices(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
) -> Result<Json<Data<Vec<AskingBody>>>, ApiError> {
    let mine = crate::islands::mine(&app, &caller.user).await?;
    let rows = mine.iter().flat_map(|(record, _)| {
        let askings = app.market.all().iter().map(|market| (market, overrides::asking(&app, record, market)));
        askings
            .filter(|(_, asking)| asking.agent.is_some())
            .map(|(market, asking)| AskingBody::new(market, &asking))
            .collect::<Vec<_>>()
    });
    Ok(Json(Data { data: rows.collect() }))
}

/// `POST /api/v1/market/asking-prices`: `host_id`, `workload`, `ask` (credits per unit); `confirm` for a change by more than
/// a factor of ten (incident 104).
///
/// # Errors
/// 401, 403, 404, 409, 422, 429, 503.
pub async fn set_asking_price(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    fields: Fields,
) -> Result<Response, ApiError> {
    let (island, market) = named(&app, &fields)?;
    let raw = fields.get("ask").or_else(|| fields.get("asking_price"));
    let raw = raw.ok_or_else(|| ApiError::invalid("ask", "is missing"))?;
    let ask = types::money::parse_json_amount(raw.get())
        .map_err(|error| ApiError::invalid("ask", error.to_string()))?;
    let confirmed = fields.truth("confirm")?;
    may_manage(&app, &caller).await?;
    let once = changes(claim, market);
    let asking = overrides::set(&app, caller.user.id, (island, market), (ask, confirmed), &once).await?;
    Ok(once.respond(&asking))
}

/// `DELETE /api/v1/market/asking-prices?host_id=&workload=`: the agent’s ask is in
/// force again.
///
/// # Errors
/// 401, 403, 404, 422, 429, 503.
pub async fn reset_asking_price(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    Query(query): Params,
) -> Result<Response, ApiError> {
    let need = |name: &str| query.get(name).ok_or_else(|| ApiError::invalid(name, "is missing"));
    let island = super::extract::id(need("host_id")?, "Island")?;
    let market = market(&app, need("workload")?)?;
    may_manage(&app, &caller).await?;
    let once = changes(claim, market);
    let asking = overrides::reset(&app, caller.user.id, (island, market), &once).await?;
    Ok(once.respond(&asking))
}

/// A change of an ask, answered with the ask as it then stands.
fn changes(claim: Option<Claim>, market: &Arc<Market>) -> Once<Asking> {
    let market = Arc::clone(market);
    Once::new(claim, move |asking: &Asking| Answer::ok(&Data { data: AskingBody::new(&market, asking) }))
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
