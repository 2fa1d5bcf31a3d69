//! The OpenAI-compatible surface: what clients made for it send and expect. Under `/v1` and `/api/v1`.

pub mod chat;
pub mod embeddings;
pub mod images;
pub mod models;
pub mod shapes;

use std::sync::Arc;

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use serde_json::value::RawValue;
use types::money::MicroCredits;

use super::extract::Fields;
use super::jobs::{MAX_MODEL, min_trust, parse_bid, region};
use crate::accounts::api_keys::Caller;
use crate::app::App;
use crate::config::WorkloadKind;
use crate::error::ApiError;
use crate::idempotency::{Claim, Once};
use crate::jobs::live::LiveJob;
use crate::jobs::submit::{Accepted, Submission, submit};
use crate::jobs::{Job, JobError, Origin, State};
use crate::marketplace::Market;

/// What may go wrong with a request that runs a job and waits for it.
const ERRORS: &[&str] = &[
    "model_not_found",
    "insufficient_credits",
    "in_debt",
    "verification_required",
    "account_frozen",
    "too_many_jobs",
    "input_refused",
    "cancelled",
    "bid_too_low",
    "no_match",
    "no_island",
    "job_failed",
];

/// The market that a client may call by this name: the Cargo's slug, or a further name that the operator gave it.
fn named<'a>(app: &'a App, name: &str) -> Option<&'a Arc<Market>> {
    app.market.get(name).or_else(|| {
        let mut workloads = app.config.workloads.iter();
        let called = workloads.find(|workload| workload.aliases.iter().any(|alias| alias == name))?;
        app.market.get(&called.slug)
    })
}

/// The market of a `model` and the model that its Islands must name, if one: a Cargo's slug, or `default` for the first
/// of its kind; behind a slash the name of one of the models that it is served with.
fn market(app: &App, fields: &Fields, kind: WorkloadKind) -> Result<(Arc<Market>, Option<String>), ApiError> {
    let asked = fields.text("model")?.unwrap_or_else(|| "default".to_owned());
    let (model, served) = match asked.split_once('/') {
        Some((slug, served)) if !served.is_empty() && served.len() <= MAX_MODEL => {
            (slug.to_owned(), Some(served.to_owned()))
        }
        _ => (asked, None),
    };
    let of_kind = |market: &&Arc<Market>| market.workload.kind == kind;
    let found = if model == "default" {
        app.market.all().iter().find(of_kind)
    } else {
        named(app, &model).filter(of_kind)
    };
    let found = found.cloned().map(|market| (market, served));
    found.ok_or_else(|| {
        let shown: String = model.chars().take(64).collect();
        let text = format!("The model \"{shown}\" does not exist here. GET /v1/models lists those that do.");
        ApiError {
            field: Some("model".to_owned()),
            ..ApiError::new(StatusCode::NOT_FOUND, "model_not_found", text)
        }
    })
}

/// The bid: `bid_price` (or `max_price`) in the body, or the header `X-Bid-Price` (or `X-Max-Price`).
fn bid(headers: &HeaderMap, fields: &Fields) -> Result<Option<MicroCredits>, ApiError> {
    if let Some(raw) = fields.get("bid_price").or_else(|| fields.get("max_price")) {
        return parse_bid(raw).map(Some);
    }
    let Some(value) = headers.get("x-bid-price").or_else(|| headers.get("x-max-price")) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    let raw = RawValue::from_string(format!("\"{}\"", text.replace(['"', '\\'], "?")))
        .map_err(|_| ApiError::invalid("bid_price", "must be a number of credits"))?;
    parse_bid(&raw).map(Some)
}

fn submission(
    (headers, fields): (&HeaderMap, &Fields),
    (caller, claim): (Caller, Option<Claim>),
    (market, model): (Arc<Market>, Option<String>),
    input: Box<RawValue>,
) -> Result<Submission, ApiError> {
    Ok(Submission {
        market,
        input,
        bid: bid(headers, fields)?,
        region: region(fields)?,
        model,
        min_trust: min_trust(fields)?,
        priority: 0,
        origin: Origin::Request,
        once: Once::ends_later(claim),
        user: caller.user,
        key: Some(caller.key),
    })
}

/// Takes a job. A field that is wrong is named as it stands in the body, not as it stands in the input of a job.
async fn accept(app: &Arc<App>, submission: Submission) -> Result<Accepted, ApiError> {
    submit(app, submission).await.map_err(|error| match error {
        JobError::Invalid { field, message } => {
            let field = field.strip_prefix("input.").map_or(field.clone(), str::to_owned);
            ApiError::invalid(field, message)
        }
        error => error.into(),
    })
}

/// The job of a request that waits for it, at its end: run now, or before under the same key.
async fn run(app: &Arc<App>, submission: Submission) -> Result<(Arc<Job>, bool), ApiError> {
    let accepted = accept(app, submission).await?;
    let replayed = accepted.replayed;
    let job = match accepted.live {
        Some(live) if !replayed => {
            let _guard = CancelOnDrop(Arc::clone(&live));
            ended(app, &live).await?
        }
        _ if !accepted.job.state.is_final() => return Err(still_running(&accepted.job)),
        _ => Arc::new(accepted.job),
    };
    if job.state == State::Completed { Ok((job, replayed)) } else { Err(job_failed(&job)) }
}

/// 409: the answer comes to the first of the same requests, and to those that come later.
fn still_running(job: &Job) -> ApiError {
    let text = "The same request is still running. Wait for its answer instead of repeating it.";
    let error = ApiError::new(StatusCode::CONFLICT, "in_flight", text);
    ApiError { retry_after_secs: Some(2), ..error }.with("job_id", job.id.to_string())
}

/// Which job a request was.
fn add_headers(response: &mut Response, job: &Job) {
    if let Ok(id) = HeaderValue::from_str(&job.id.to_string()) {
        response.headers_mut().insert(HeaderName::from_static("x-job-id"), id);
    }
}

/// What it cost, where that is known when the head of the answer is written.
fn add_cost(response: &mut Response, job: &Job) {
    if let Ok(cost) = HeaderValue::from_str(&job.charge.to_string()) {
        response.headers_mut().insert(HeaderName::from_static("x-credits-used"), cost);
    }
}

/// A job's answer with what its head says of the job.
fn answered(body: &Value, job: &Job, replayed: bool) -> Response {
    let mut response = Json(body).into_response();
    add_headers(&mut response, job);
    add_cost(&mut response, job);
    if replayed {
        let name = HeaderName::from_static("idempotent-replayed");
        response.headers_mut().insert(name, HeaderValue::from_static("true"));
    }
    response
}

/// Cancels the job when the request that waits for it goes away.
#[derive(Debug)]
struct CancelOnDrop(Arc<LiveJob>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        // A job that has ended takes no notice.
        self.0.cancel();
    }
}

/// The end of a job that a request waits for, or that we stop before it.
async fn ended(app: &App, live: &Arc<LiveJob>) -> Result<Arc<Job>, ApiError> {
    tokio::select! {
        job = live.ended() => Ok(job),
        () = app.stopping() => Err(stopped()),
    }
}

fn stopped() -> ApiError {
    ApiError::unavailable("The server is restarting. You were not charged; please try again in a moment.")
}

/// A job that did not complete, as an error of the request that waited for it.
fn job_failed(job: &Job) -> ApiError {
    let (code, text) =
        job.error.clone().unwrap_or_else(|| ("cancelled".to_owned(), "The job was cancelled.".to_owned()));
    let error = match code.as_str() {
        "insufficient_credits" => ApiError::new(StatusCode::PAYMENT_REQUIRED, "insufficient_credits", text),
        "verification_required" => ApiError::new(StatusCode::FORBIDDEN, "verification_required", text),
        "account_frozen" => ApiError::new(StatusCode::FORBIDDEN, "account_frozen", text),
        "input_refused" => ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "input_refused", text),
        "bid_too_low" => ApiError::new(StatusCode::CONFLICT, "bid_too_low", text),
        "no_match" => ApiError::new(StatusCode::CONFLICT, "no_match", text),
        "no_island" => ApiError {
            retry_after_secs: Some(30),
            ..ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "no_island", text)
        },
        _ if job.state == State::Cancelled => ApiError::new(StatusCode::CONFLICT, "cancelled", text),
        _ => ApiError {
            retry_after_secs: Some(2),
            ..ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "job_failed", text)
        },
    };
    let error = error.with("job_id", job.id.to_string()).with("job_error", code);
    let may_cost = matches!(error.code, "job_failed" | "cancelled") && job.charge.is_positive();
    if may_cost { error.with_amount("charged", job.charge) } else { error }
}

/// 404 for a path that no operation has, with what to do instead where clients are known to ask for it.
#[must_use]
pub fn unknown(path: &str) -> ApiError {
    let path = path.strip_prefix("/api").unwrap_or(path);
    let Some(name) = path.strip_prefix("/v1/") else { return ApiError::not_found("page") };
    let instead = match name.split('/').next().unwrap_or_default() {
        "responses" => "The Responses API is not available here: use POST /v1/chat/completions.",
        "completions" => "Completions of bare texts are not available here: use POST /v1/chat/completions.",
        "audio" | "realtime" => "Speech is not available here.",
        "files" | "fine_tuning" | "assistants" | "threads" | "vector_stores" | "moderations" => {
            "This part of the OpenAI API is not available here."
        }
        _ => "There is no such operation. GET /api/v1/openapi.json lists them.",
    };
    ApiError::new(StatusCode::NOT_FOUND, "not_found", instead)
}
