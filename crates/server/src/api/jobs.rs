//! `/api/v1/jobs`: submit, look, list, cancel. Both spellings of a job's fields are sent, because the JavaScript client
//! hands on what it gets.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use db::DbError;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use types::money::{AmountError, MicroCredits, parse_json_amount};
use types::units::Units;

use super::extract::{ApiUser, Fields, id, page};
use crate::api::operation::{Operation, Repeatable};
use crate::app::App;
use crate::batches::look::{cancel, find};
use crate::error::ApiError;
use crate::idempotency::{Answer, Once};
use crate::jobs::submit::{Submission, order_of, submit};
use crate::jobs::{self, Job, JobError, Origin};

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::post("/jobs", "createJob", create)
            .says("Submit a job", "")
            .tag("Jobs")
            .answers::<Value>(201, "Submit a job."),
        Operation::get("/jobs", "listJobs", list)
            .says("Your jobs, newest first", "")
            .tag("Jobs")
            .answers::<Value>(200, "Your jobs, newest first."),
        Operation::get("/jobs/{id}", "getJob", show)
            .says("A job", "")
            .tag("Jobs")
            .polling()
            .in_path::<String>("id", "")
            .answers::<Value>(200, "A job."),
        Operation::delete("/jobs/{id}", "cancelJob", delete)
            .says("Cancel a job", "")
            .tag("Jobs")
            .in_path::<String>("id", "")
            .answers::<Value>(200, "Cancel a job."),
    ]
}

/// The highest bid: more would be a typing mistake (incident 104).
const MAX_BID: MicroCredits = MicroCredits::new(1_000_000 * 1_000_000);
const MAX_REGION: usize = 64;
/// Longest name of a model, in bytes.
pub const MAX_MODEL: usize = 200;

/// `POST /api/v1/jobs`.
///
/// # Errors
/// 401, 402, 403, 404 (Cargo), 422, 429, 503; then nothing was held or sent.
pub async fn create(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    fields: Fields,
) -> Result<Response, ApiError> {
    let slug = fields.need_text("workload")?;
    let market = Arc::clone(app.market.get(&slug).ok_or(JobError::UnknownWorkload)?);
    let priority = fields.whole("priority", 0, 100)?.unwrap_or(0);
    let for_answer = Arc::clone(&app);
    let once = Once::new(claim, move |job: &Job| {
        let mut body = job_json(&for_answer, job, None);
        if job.state == jobs::State::Pending {
            add_waiting(&for_answer, job, &mut body);
        }
        Answer::created(&json!({"data": body}))
    });
    let submission = Submission {
        market,
        input: fields.need("input")?.to_owned(),
        bid: fields.get("bid_price").map(parse_bid).transpose()?,
        region: region(&fields)?,
        model: model(&fields)?,
        min_trust: min_trust(&fields)?,
        priority: u8::try_from(priority).unwrap_or(0),
        origin: Origin::Api,
        once: once.clone(),
        user: caller.user,
        key: Some(caller.key),
    };
    let accepted = submit(&app, submission).await?;
    if accepted.replayed {
        // Another coordinator took it in this very moment; its answer is there for whoever asks again.
        return Err(DbError::Busy.into());
    }
    Ok(once.respond(&accepted.job))
}

/// Where the Island must stand, if the caller cares.
///
/// # Errors
/// 422.
pub fn region(fields: &Fields) -> Result<Option<String>, ApiError> {
    match fields.text("region")? {
        Some(region) if region.is_empty() || region.len() > MAX_REGION => {
            Err(ApiError::invalid("region", "must have 1 to 64 characters"))
        }
        region => Ok(region),
    }
}

/// The model the Island must name, if the caller cares.
///
/// # Errors
/// 422.
pub fn model(fields: &Fields) -> Result<Option<String>, ApiError> {
    match fields.text("model")? {
        Some(model) if model.is_empty() || model.len() > MAX_MODEL => {
            Err(ApiError::invalid("model", "must have 1 to 200 bytes"))
        }
        model => Ok(model),
    }
}

/// How far the Island must be trusted, if the caller cares.
///
/// # Errors
/// 422.
pub fn min_trust(fields: &Fields) -> Result<u8, ApiError> {
    match fields.text("min_trust")?.as_deref() {
        None | Some("any") => Ok(0),
        Some("established") => Ok(1),
        Some("approved") => Ok(2),
        Some(_) => Err(ApiError::invalid("min_trust", "must be any, established or approved")),
    }
}

/// A `bid_price`: a JSON number or a decimal string, credits.
///
/// # Errors
/// 422 naming the field: not a number, not above zero, too precise, too large.
pub fn parse_bid(raw: &RawValue) -> Result<MicroCredits, ApiError> {
    let refuse = |message: &str| Err(ApiError::invalid("bid_price", message));
    match parse_json_amount(raw.get()) {
        Ok(bid) if !bid.is_positive() => refuse("must be above 0"),
        Ok(bid) if bid > MAX_BID => refuse("must be at most 1,000,000 credits"),
        Ok(bid) => Ok(bid),
        Err(AmountError::TooLarge) => refuse("must be at most 1,000,000 credits"),
        Err(error) => refuse(&error.to_string()),
    }
}

/// `GET /api/v1/jobs`.
///
/// # Errors
/// 401, 403, 422, 429.
pub async fn list(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<Value>, ApiError> {
    let (limit, offset) = page(&query)?;
    let (rows, total) = jobs::submit::list(&app, caller.user.id, limit, offset).await?;
    let rows: Vec<Value> = rows.iter().map(|(job, output)| job_json(&app, job, output.as_deref())).collect();
    Ok(Json(json!({"data": rows, "meta": {"total": total, "limit": limit, "offset": offset}})))
}

/// `GET /api/v1/jobs/{id}`.
///
/// # Errors
/// 401, 403, 404, 429.
pub async fn show(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Path(job): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let (job, output) = find(&app, caller.user.id, id(&job, "job")?).await?;
    if let Some(live) = app.jobs.get(job.id) {
        live.seen();
    }
    let mut body = job_json(&app, &job, output.as_deref());
    if job.state == jobs::State::Pending {
        add_waiting(&app, &job, &mut body);
    }
    if job.state.is_final()
        && let Some(message) = jobs::message::of_job(&app, job.id).await?
    {
        body["message"] = json!(message);
    }
    Ok(Json(json!({"data": body})))
}

/// `DELETE /api/v1/jobs/{id}`: cancels. Cancelling what is cancelled answers the same again.
///
/// # Errors
/// 401, 403, 404, 409 when it has ended otherwise, 429.
pub async fn delete(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Path(job): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let job = id(&job, "job")?;
    match cancel(&app, caller.user.id, job).await {
        Ok(ended) if ended.state != jobs::State::Cancelled => Err(JobError::Ended.into()),
        Ok(_) | Err(JobError::Ended) => {
            let (job, output) = find(&app, caller.user.id, job).await?;
            if job.state != jobs::State::Cancelled {
                return Err(JobError::Ended.into());
            }
            Ok(Json(json!({"data": job_json(&app, &job, output.as_deref())})))
        }
        Err(error) => Err(error.into()),
    }
}

/// A waiting job says what it waits for.
pub fn add_waiting(app: &App, job: &Job, body: &mut Value) {
    let (Some(market), Some(body)) = (app.market.by_id(job.workload), body.as_object_mut()) else { return };
    let place = market.place_in_queue(job.id);
    let best_ask = market.best_eligible(&order_of(job));
    body.insert("best_ask".to_owned(), amount(best_ask));
    // How much its bid for each unit falls short; nothing if it waits for a free Island only.
    let gap = best_ask.and_then(|ask| ask.minus(job.unit_bid).ok()).filter(|gap| gap.is_positive());
    body.insert("bid_gap".to_owned(), amount(gap));
    body.insert("place_in_queue".to_owned(), json!(place));
}

/// A job as all clients read it.
#[must_use]
pub fn job_json(app: &App, job: &Job, output: Option<&str>) -> Value {
    let slug = app.market.by_id(job.workload).map(|market| market.workload.slug.clone());
    let input: Value = serde_json::from_str(&job.input).unwrap_or_default();
    let times = |at: Option<types::time::Timestamp>| at.map(|at| at.to_string());
    let (created, started, completed) =
        (job.created_at.to_string(), times(job.started_at), times(job.completed_at));
    let duration = job.duration_ms();
    let error = job.error.as_ref().map(|(_, text)| text.clone());
    let mut body = json!({
        "id": job.id, "status": job.state.name(), "input": input, "output": output, "error": error,
        "error_code": job.error.as_ref().map(|(code, _)| code.clone()),
        "workload_id": job.workload, "workloadId": job.workload,
        "workload_slug": slug, "workloadSlug": slug,
        "created_at": created, "createdAt": created,
        "started_at": started, "startedAt": started,
        "completed_at": completed, "completedAt": completed,
        "duration_ms": duration, "durationMs": duration,
        "bid_price": job.bid, "unit_bid": job.unit_bid, "units": units(job.units), "bid_source": job.bid_source.name(), "cost": job.charge,
        "host_id": job.island, "attempts": job.attempts, "region": job.region, "model": job.model, "priority": job.priority,
    });
    if job.state.is_final()
        && let Some(body) = body.as_object_mut()
    {
        body.insert("usage".to_owned(), usage_json(job));
    }
    body
}

/// What a job used and cost. Counts nobody made are left out.
#[must_use]
pub fn usage_json(job: &Job) -> Value {
    let mut usage = Map::new();
    let (prompt, completion) = (job.usage.prompt_tokens, job.usage.completion_tokens);
    for (name, camel, count) in [
        ("prompt_tokens", "promptTokens", prompt),
        ("completion_tokens", "completionTokens", completion),
        (
            "total_tokens",
            "totalTokens",
            prompt.zip(completion).map(|(prompt, completion)| prompt + completion),
        ),
    ] {
        if let Some(count) = count {
            usage.insert(name.to_owned(), count.into());
            usage.insert(camel.to_owned(), count.into());
        }
    }
    let cost = serde_json::to_value(job.charge).unwrap_or_default();
    usage.insert("credits_used".to_owned(), cost.clone());
    usage.insert("creditsUsed".to_owned(), cost);
    Value::Object(usage)
}

/// An amount of a Cargo as an exact JSON number.
#[must_use]
pub fn units(units: Units) -> Value {
    // Five places of the six that a number of micro-credits is written with: the same writing, the same exactness.
    amount(units.parts().checked_mul(10).map(MicroCredits::new))
}

/// An amount as an exact JSON number, or null.
#[must_use]
pub fn amount(amount: Option<MicroCredits>) -> Value {
    amount.and_then(|amount| serde_json::to_value(amount).ok()).unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bid_is_read_exactly_or_refused_by_name() {
        let bid = |text: &str| {
            let raw = RawValue::from_string(text.to_owned()).unwrap();
            parse_bid(&raw).map_err(|error| (error.status.as_u16(), error.field))
        };
        assert_eq!(bid("2.5"), Ok(MicroCredits::new(2_500_000)));
        assert_eq!(bid("\"2.5\""), Ok(MicroCredits::new(2_500_000)));
        assert_eq!(bid("0.000001"), Ok(MicroCredits::new(1)));
        for text in
            ["0", "-1", "1e9", "1000000000", "1.0000001", "\"two\"", "\"NaN\"", "true", "[]", "{}", "\"\""]
        {
            assert_eq!(bid(text), Err((422, Some("bid_price".to_owned()))), "{text}");
        }
    }
}
