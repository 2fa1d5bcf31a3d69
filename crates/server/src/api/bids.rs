//! What a user pays at most: `/api/v1/market/bids` for Cargos, `/api/v1/jobs/{id}/bid` for a job that waits.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use types::id::JobId;
use types::money::MicroCredits;

use super::extract::{ApiUser, Fields, id};
use super::job_shapes::JobBody;
use super::jobs::parse_bid;
use super::shapes::Data;
use crate::accounts::User;
use crate::accounts::bids::set;
use crate::api::operation::{Operation, Repeatable};
use crate::app::App;
use crate::error::ApiError;
use crate::idempotency::{Answer, Claim, Once};
use crate::jobs::rebid::raise;
use crate::jobs::{Job, JobError};
use crate::marketplace::Market;

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    let slug = "The Cargo, such as `llm-chat`.";
    vec![
        Operation::post("/jobs/{id}/bid", "raiseJobBid", raise_job)
            .says(
                "Raise the bid of a waiting job",
                "A job that waits for an Island within its bid gets a higher one. It may start at once.",
            )
            .tag("Jobs")
            .in_path::<JobId>("id", "The job.")
            .body::<BidWish>(json!({"bid_price": 5}))
            .answers::<Data<Value>>(200, "The job, with its new bid.")
            .errors(&["not_waiting"]),
        Operation::get("/market/bids", "listBids", list)
            .says(
                "Your maximum prices",
                "For every Cargo the most you pay for a unit, if you have set that, and the ceiling that holds otherwise.",
            )
            .tag("Exchange")
            .answers::<Data<Vec<Bid>>>(200, "One for each Cargo."),
        Operation::put("/market/bids/{slug}", "setBid", put)
            .says(
                "Set your maximum price for a Cargo",
                "Jobs that give no `bid_price` of their own are bid at this price for each unit.",
            )
            .tag("Exchange")
            .in_path::<String>("slug", slug)
            .body::<BidWish>(json!({"bid_price": "2.5"}))
            .answers::<Data<Bid>>(200, "What holds now.")
            .errors(&["unknown_workload"]),
        Operation::delete("/market/bids/{slug}", "deleteBid", delete)
            .says("Take away your maximum price for a Cargo", "The ceiling of the Cargo holds again.")
            .tag("Exchange")
            .in_path::<String>("slug", slug)
            .answers::<Data<Bid>>(200, "What holds now.")
            .errors(&["unknown_workload"]),
    ]
}

/// A price that is not to be exceeded.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
struct BidWish {
    /// Credits, above 0 and at most 1,000,000, to six decimals; a number or a decimal text. For a job: for all of it. For a
    /// Cargo: for each unit.
    bid_price: MicroCredits,
}

/// What a user pays at most for a Cargo.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Bid {
    /// The Cargo.
    workload_slug: String,
    /// What is priced: `request`, `1k_tokens` or `image`.
    #[schemars(with = "super::words::PriceUnit")]
    unit: &'static str,
    /// The most you pay for a unit, in credits; null if you have not set it.
    bid_price: Option<MicroCredits>,
    /// What holds as long as you have set nothing, in credits for a unit.
    ceiling: MicroCredits,
}

impl Bid {
    fn of(market: &Market, bid: Option<MicroCredits>) -> Self {
        let workload = &market.workload;
        Self {
            workload_slug: workload.slug.clone(),
            unit: workload.unit.name(),
            bid_price: bid,
            ceiling: workload.ceiling,
        }
    }
}

/// `GET /api/v1/market/bids`: for every Cargo the own maximum, if one is set, and the ceiling that holds otherwise.
pub async fn list(State(app): State<Arc<App>>, ApiUser(caller): ApiUser) -> Json<Data<Vec<Bid>>> {
    let row = |market: &Arc<Market>| Bid::of(market, caller.user.bids.get(market.workload.id));
    Json(Data { data: app.market.all().iter().map(row).collect() })
}

/// `PUT /api/v1/market/bids/{slug}` with `{bid_price}`: credits for each unit of the Cargo.
///
/// # Errors
/// 401, 403, 404, 422, 429, 503.
pub async fn put(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    Path(slug): Path<String>,
    fields: Fields,
) -> Result<Response, ApiError> {
    fields.only(&["bid_price"])?;
    let bid = parse_bid(fields.need("bid_price")?)?;
    change(&app, &caller.user, &slug, Some(bid), claim).await
}

/// `DELETE /api/v1/market/bids/{slug}`: the ceiling of the Cargo holds again.
///
/// # Errors
/// 401, 403, 404, 429, 503.
pub async fn delete(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    Path(slug): Path<String>,
) -> Result<Response, ApiError> {
    change(&app, &caller.user, &slug, None, claim).await
}

/// `POST /api/v1/jobs/{id}/bid` with `{bid_price}`: raises the bid of a job that waits.
///
/// # Errors
/// 401, 403, 404, 409 when it waits no longer, 422 when it is not more than before, 429, 503.
pub async fn raise_job(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    Path(job): Path<String>,
    fields: Fields,
) -> Result<Response, ApiError> {
    fields.only(&["bid_price"])?;
    let bid = parse_bid(fields.need("bid_price")?)?;
    let for_answer = Arc::clone(&app);
    let once = Once::new(claim, move |job: &Job| {
        let data = JobBody::new(&for_answer, job, None).waiting(&for_answer, job).brief();
        Answer::ok(&Data { data })
    });
    let job = raise(&app, caller.user.id, id(&job, "job")?, bid, &once).await?;
    Ok(once.respond(&job))
}

async fn change(
    app: &App,
    user: &User,
    slug: &str,
    bid: Option<MicroCredits>,
    claim: Option<Claim>,
) -> Result<Response, ApiError> {
    let market = app.market.get(slug).ok_or(JobError::UnknownWorkload)?;
    let shown = Data { data: Bid::of(market, bid) };
    let once = Once::new(claim, move |()| Answer::ok(&shown));
    set(app, user, market.workload.id, bid, &once).await?;
    Ok(once.respond(&()))
}
