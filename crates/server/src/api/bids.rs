//! What a user pays at most: `/api/v1/market/bids` for Cargos, `/api/v1/jobs/{id}/bid` for a job that waits.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use types::money::MicroCredits;

use super::extract::{ApiUser, Fields, id};
use super::jobs::{add_waiting, amount, job_json, parse_bid};
use crate::accounts::User;
use crate::accounts::bids::set;
use crate::api::operation::Operation;
use crate::app::App;
use crate::error::ApiError;
use crate::jobs::rebid::raise;
use crate::jobs::{JobError, State as JobState};
use crate::marketplace::Market;

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::post("/jobs/{id}/bid", "raiseJobBid", raise_job)
            .says("Raise the bid of a waiting job", "")
            .tag("Jobs")
            .in_path::<String>("id", "")
            .answers::<Value>(200, "Raise the bid of a waiting job."),
        Operation::get("/market/bids", "listBids", list)
            .says("Your maximum prices", "")
            .tag("Exchange")
            .answers::<Value>(200, "Your maximum prices."),
        Operation::put("/market/bids/{slug}", "setBid", put)
            .says("Set your maximum price for a Cargo", "")
            .tag("Exchange")
            .in_path::<String>("slug", "")
            .answers::<Value>(200, "Set your maximum price for a Cargo."),
        Operation::delete("/market/bids/{slug}", "deleteBid", delete)
            .says("Take away your maximum price for a Cargo", "")
            .tag("Exchange")
            .in_path::<String>("slug", "")
            .answers::<Value>(200, "Take away your maximum price for a Cargo."),
    ]
}

/// `GET /api/v1/market/bids`: for every Cargo the own maximum, if one is set, and the ceiling that holds otherwise.
pub async fn list(State(app): State<Arc<App>>, ApiUser(caller): ApiUser) -> Json<Value> {
    let row = |market: &Arc<Market>| bid_json(market, caller.user.bids.get(market.workload.id));
    let rows: Vec<Value> = app.market.all().iter().map(row).collect();
    Json(json!({"data": rows}))
}

/// `PUT /api/v1/market/bids/{slug}` with `{bid_price}`: credits for each unit of the Cargo.
///
/// # Errors
/// 401, 403, 404, 422, 429, 503.
pub async fn put(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Path(slug): Path<String>,
    fields: Fields,
) -> Result<Json<Value>, ApiError> {
    let bid = parse_bid(fields.need("bid_price")?)?;
    change(&app, &caller.user, &slug, Some(bid)).await
}

/// `DELETE /api/v1/market/bids/{slug}`: the ceiling of the Cargo holds again.
///
/// # Errors
/// 401, 403, 404, 429, 503.
pub async fn delete(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Path(slug): Path<String>,
) -> Result<Json<Value>, ApiError> {
    change(&app, &caller.user, &slug, None).await
}

/// `POST /api/v1/jobs/{id}/bid` with `{bid_price}`: raises the bid of a job that waits.
///
/// # Errors
/// 401, 403, 404, 409 when it waits no longer, 422 when it is not more than before, 429, 503.
pub async fn raise_job(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Path(job): Path<String>,
    fields: Fields,
) -> Result<Json<Value>, ApiError> {
    let bid = parse_bid(fields.need("bid_price")?)?;
    let job = raise(&app, caller.user.id, id(&job, "job")?, bid).await?;
    let mut body = job_json(&app, &job, None);
    if job.state == JobState::Pending {
        add_waiting(&app, &job, &mut body);
    }
    Ok(Json(json!({"data": body})))
}

async fn change(
    app: &App,
    user: &User,
    slug: &str,
    bid: Option<MicroCredits>,
) -> Result<Json<Value>, ApiError> {
    let market = app.market.get(slug).ok_or(JobError::UnknownWorkload)?;
    set(app, user, market.workload.id, bid).await?;
    Ok(Json(json!({"data": bid_json(market, bid)})))
}

fn bid_json(market: &Market, bid: Option<MicroCredits>) -> Value {
    let workload = &market.workload;
    json!({
        "workload_slug": workload.slug, "unit": workload.unit.name(),
        "bid_price": amount(bid), "ceiling": workload.ceiling,
    })
}
