//! `/jobs/{id}`: one job: what it waits for while it waits, its receipt once it has ended.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use pages::job::{Ask, Attempt, JobPage, JobReceipt as ReceiptView, Waiting};
use pages::{Badge, Nav, Tone};
use serde_json::value::RawValue;
use types::id::JobId;
use types::money::MicroCredits;

use super::error::capitalised;
use super::forms::Posted;
use super::frame::{Said, frame, shown, unit, when};
use super::jobs::{problem, seconds};
use super::session::{Named, SignedIn};
use super::{Page, to_the_end};
use crate::accounts::sessions::Session;
use crate::api::jobs::parse_bid;
use crate::app::App;
use crate::config::Unit;
use crate::error::ApiError;
use crate::idempotency::Once;
use crate::job_receipts::{self, AttemptRow, JobReceipt, keys, read_considered, reason, units};
use crate::jobs::look::{cancel as cancel_job, find};
use crate::jobs::submit::order_of;
use crate::jobs::{BidSource, Job, JobError, State as JobState, rebid};

/// `GET /jobs/{id}`: for its consumer; once it has ended also for the owner of an Island that worked on it.
///
/// # Errors
/// 404, 500, 503.
pub async fn show(
    State(app): State<Arc<App>>,
    SignedIn(session): SignedIn,
    Named(id): Named<JobId>,
    Said(flash): Said,
) -> Result<Page<JobPage>, ApiError> {
    let mut page = page(&app, &session, id, None).await?;
    page.layout.flash = flash;
    Ok(Page(page))
}

/// `POST /jobs/{id}/bid`: raises the bid of a job that waits.
///
/// # Errors
/// 401, 403, 404, 429, 500, 503.
pub async fn raise(
    State(app): State<Arc<App>>,
    Named(id): Named<JobId>,
    Posted { session, form }: Posted,
) -> Result<Response, ApiError> {
    let typed = form.get("bid_price").trim().to_owned();
    let read = RawValue::from_string(format!("\"{}\"", typed.replace(['"', '\\'], "?")));
    let bid = match read
        .map_err(|_| ApiError::invalid("bid_price", "must be a number"))
        .and_then(|raw| parse_bid(&raw))
    {
        Ok(bid) => bid,
        Err(error) => return wrong_bid(&app, &session, id, error.message).await,
    };
    let (app_too, user) = (Arc::clone(&app), session.user.id);
    match to_the_end(async move { rebid::raise(&app_too, user, id, bid, &Once::unclaimed()).await }).await? {
        Ok(_) => Ok(Redirect::to(&format!("/jobs/{id}?done=bid_raised")).into_response()),
        // It began the moment before: the page shows how it goes on.
        Err(JobError::NotWaiting) => Ok(Redirect::to(&format!("/jobs/{id}")).into_response()),
        Err(JobError::Invalid { message, .. }) => {
            wrong_bid(&app, &session, id, format!("The new max price {message}.")).await
        }
        Err(error) => Err(error.into()),
    }
}

async fn wrong_bid(app: &App, session: &Session, id: JobId, message: String) -> Result<Response, ApiError> {
    let page = page(app, session, id, Some(capitalised(&message))).await?;
    Ok((axum::http::StatusCode::UNPROCESSABLE_ENTITY, Page(page)).into_response())
}

/// `POST /jobs/{id}/cancel`.
///
/// # Errors
/// 401, 403, 404, 429, 500, 503.
pub async fn cancel(
    State(app): State<Arc<App>>,
    Named(id): Named<JobId>,
    Posted { session, .. }: Posted,
) -> Result<Redirect, ApiError> {
    let user = session.user.id;
    match to_the_end(async move { cancel_job(&app, user, id).await }).await? {
        Ok(_) | Err(JobError::Ended) => Ok(Redirect::to(&format!("/jobs/{id}"))),
        Err(error) => Err(error.into()),
    }
}

/// `GET /jobs/{id}/receipt.json`: the signed receipt, as a file.
///
/// # Errors
/// 401, 404, 409, 500, 503.
pub async fn download(
    State(app): State<Arc<App>>,
    SignedIn(session): SignedIn,
    Named(id): Named<JobId>,
) -> Result<Response, ApiError> {
    let receipt = job_receipts::find(&app, session.user.id, id).await?;
    let signed = keys::sign(&app, receipt.body(&app)).await?;
    let mut response = serde_json::to_string_pretty(&signed).unwrap_or_default().into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"receipt-{id}.json\"")) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    Ok(response)
}

async fn page(app: &App, session: &Session, id: JobId, error: Option<String>) -> Result<JobPage, ApiError> {
    let user = session.user.id;
    let (job, receipt) = match find(app, user, id).await {
        Ok((job, _)) if !job.state.is_final() => (job, None),
        // The owner of an Island sees what was earned there, and that only.
        Ok(_) | Err(JobError::NotFound) => {
            let receipt = job_receipts::find(app, user, id).await?;
            (receipt.job.clone(), Some(receipt))
        }
        Err(error) => return Err(error.into()),
    };
    let market = app.market.by_id(job.workload);
    let cargo = market.map_or("Job", |market| market.workload.name.as_str());
    let mine = receipt.as_ref().is_none_or(|receipt| receipt.for_consumer);
    Ok(JobPage {
        layout: frame(app, Some(session), cargo, Nav::None).await?,
        id: id.to_string(),
        cargo: cargo.to_owned(),
        state: state(&job),
        created: when(job.created_at),
        seconds: seconds(&job),
        open: !job.state.is_final(),
        waiting: (job.state == JobState::Pending).then(|| waiting(app, &job, error)),
        problem: problem(&job).filter(|_| mine),
        receipt: receipt.map(|receipt| view(app, &receipt)),
    })
}

fn state(job: &Job) -> Badge {
    let (text, tone) = match job.state {
        JobState::Pending => ("waiting", Tone::Warn),
        JobState::Running => ("running", Tone::Plain),
        JobState::Completed => ("completed", Tone::Good),
        JobState::Failed => ("failed", Tone::Bad),
        JobState::Cancelled => ("cancelled", Tone::Plain),
        JobState::Timeout => ("timed out", Tone::Bad),
    };
    Badge { text: text.to_owned(), tone }
}

fn waiting(app: &App, job: &Job, error: Option<String>) -> Waiting {
    let market = app.market.by_id(job.workload);
    let best_ask = market.and_then(|market| market.best_eligible(&order_of(job)));
    let gap = best_ask.and_then(|ask| ask.minus(job.unit_bid).ok()).filter(|gap| gap.is_positive());
    let live = app.jobs.get(job.id);
    let needed = best_ask.filter(|_| gap.is_some()).and_then(|ask| live.and_then(|live| live.most.cost(ask)));
    Waiting {
        place: market.and_then(|market| market.place_in_queue(job.id)),
        unit: market.map_or("request", |market| unit(&market.workload)).to_owned(),
        unit_bid: job.unit_bid.display_grouped(),
        best_ask: shown(best_ask),
        gap: shown(gap),
        bid: job.bid.display_grouped(),
        needed: needed.map(|needed| needed.to_string()),
        deadline: when(job.deadline),
        error,
    }
}

fn view(app: &App, receipt: &JobReceipt) -> ReceiptView {
    let job = &receipt.job;
    let workload = app.market.by_id(job.workload).map(|market| &market.workload);
    let (unit_is, what) =
        workload.map_or((Unit::Request, "request"), |workload| (workload.unit, unit(workload)));
    let source = match job.bid_source {
        BidSource::Explicit => "as you said for this job",
        BidSource::Preference => "your own maximum for this Cargo",
        BidSource::Ceiling => "the ceiling of the Cargo",
    };
    ReceiptView {
        bid: receipt.for_consumer.then(|| format!("{}, {source}", job.bid.display_grouped())),
        charge: receipt.for_consumer.then(|| job.charge.to_string()),
        amount: match unit_is {
            Unit::Request if job.units.parts() == 0 => "nothing".to_owned(),
            Unit::Request => format!("1 {what}"),
            _ => format!("{} × {what}", units(job.units)),
        },
        attempts: receipt
            .attempts
            .iter()
            .map(|attempt| attempt_view(attempt, receipt.for_consumer))
            .collect(),
    }
}

fn attempt_view(attempt: &AttemptRow, for_consumer: bool) -> Attempt {
    let earned = attempt.charge.minus(attempt.fee).unwrap_or(MicroCredits::ZERO);
    let (text, tone) = match attempt.state.as_str() {
        "settled" => ("settled", Tone::Good),
        "released" => ("given back", Tone::Plain),
        other => (other, Tone::Plain),
    };
    let (asks, complete) = read_considered(&attempt.considered);
    let asks = asks.into_iter().map(|(island, ask, verdict)| Ask {
        island: island.to_string(),
        ask,
        reason: reason(&verdict).to_owned(),
        chosen: verdict == "chosen",
    });
    Attempt {
        number: attempt.number,
        island: attempt.island_name.clone().unwrap_or_else(|| attempt.island.to_string()),
        state: Badge { text: text.to_owned(), tone },
        error: attempt.error.clone(),
        price: attempt.ask.to_string(),
        hold: attempt.hold.to_string(),
        charge: attempt.charge.to_string(),
        fee: attempt.fee.to_string(),
        earned: earned.to_string(),
        own: attempt.own,
        asks_complete: complete,
        asks: if for_consumer { asks.collect() } else { Vec::new() },
    }
}
