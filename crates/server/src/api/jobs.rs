//! `/api/v1/jobs`: submit, look, list, cancel.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use db::DbError;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use types::id::{JobId, UserId};
use types::money::{AmountError, MicroCredits, parse_json_amount};
use types::units::Units;

use super::extract::{ApiUser, Fields, id, page};
use super::job_shapes::{JobBody, NewJob, OutputBody, UsageBody};
use super::shapes::{Data, Listed, Meta};
use super::words::{JobStatus, PageLimit, PageOffset};
use crate::api::operation::{Operation, Repeatable};
use crate::app::App;
use crate::batches::look::{cancel, find};
use crate::error::ApiError;
use crate::idempotency::{Answer, Once};
use crate::jobs::submit::{Submission, submit};
use crate::jobs::{self, Job, JobError, Origin};

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::post("/jobs", "createJob", create)
            .says(
                "Submit a job",
                "The job goes to the cheapest free Island within the bid; without one it waits, and reserves nothing while it \
                 does. Follow it with `GET /api/v1/jobs/{id}/stream`, or ask for it now and then.",
            )
            .tag("Jobs")
            .body::<NewJob>(json!({
                "workload": "llm-chat", "input": {"prompt": "How do tides work?", "max_tokens": 64}, "bid_price": 5,
            }))
            .answers::<Data<JobBody>>(201, "The job. While it is `pending`, it says what it waits for.")
            .errors(&[
                "unknown_workload", "insufficient_credits", "in_debt", "verification_required", "account_frozen",
                "too_many_jobs",
            ]),
        Operation::get("/jobs", "listJobs", list)
            .says("Your jobs, newest first", "")
            .tag("Jobs")
            .query::<PageLimit>("limit", "How many jobs.")
            .query::<PageOffset>("offset", "How many to leave out, from the newest.")
            .answers::<Listed<JobBody>>(200, "A part of your jobs."),
        Operation::get("/jobs/{id}", "getJob", show)
            .says("A job", "How far it is, what came of it, what it cost. May be asked ten times as often as other things.")
            .tag("Jobs")
            .polling()
            .in_path::<JobId>("id", "The job.")
            .answers::<Data<JobBody>>(200, "The job. While it is `pending`, it says what it waits for."),
        Operation::get("/jobs/{id}/output", "getJobOutput", output)
            .says("What came of a job", "The output alone, of a job that has ended.")
            .tag("Jobs")
            .polling()
            .in_path::<JobId>("id", "The job.")
            .answers::<Data<OutputBody>>(200, "Its output.")
            .errors(&["not_ended"]),
        Operation::delete("/jobs/{id}", "cancelJob", delete)
            .says(
                "Cancel a job",
                "A job that waits costs nothing; one that runs costs what was delivered. Cancelling what is cancelled answers \
                 the same again.",
            )
            .tag("Jobs")
            .in_path::<JobId>("id", "The job.")
            .answers::<Data<JobBody>>(200, "The cancelled job; without its input or output if that is longer than 64 KiB.")
            .errors(&["already_ended"]),
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
        let data = JobBody::new(&for_answer, job, None).waiting(&for_answer, job);
        Answer::created(&Data { data })
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
) -> Result<Json<Listed<JobBody>>, ApiError> {
    let (limit, offset) = page(&query)?;
    let (rows, total) = jobs::look::list(&app, caller.user.id, limit, offset).await?;
    let data = rows.iter().map(|(job, output)| JobBody::new(&app, job, output.as_deref())).collect();
    Ok(Json(Listed { data, meta: Meta { total, limit, offset } }))
}

/// `GET /api/v1/jobs/{id}`.
///
/// # Errors
/// 401, 403, 404, 429.
pub async fn show(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Path(job): Path<String>,
) -> Result<Json<Data<JobBody>>, ApiError> {
    let (job, output) = look(&app, caller.user.id, &job).await?;
    let message = if job.state.is_final() { jobs::message::of_job(&app, job.id).await? } else { None };
    let data = JobBody::new(&app, &job, output.as_deref()).waiting(&app, &job).with_message(message);
    Ok(Json(Data { data }))
}

/// `GET /api/v1/jobs/{id}/output`.
///
/// # Errors
/// 401, 403, 404, 409 before its end, 429.
pub async fn output(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Path(job): Path<String>,
) -> Result<Json<Data<OutputBody>>, ApiError> {
    let (job, output) = look(&app, caller.user.id, &job).await?;
    if !job.state.is_final() {
        return Err(JobError::NotEnded.into());
    }
    Ok(Json(Data { data: OutputBody { id: job.id, status: JobStatus(job.state.name()), output } }))
}

/// A job of this user, which is thereby not forgotten about.
async fn look(app: &App, user: UserId, job: &str) -> Result<(Job, Option<String>), ApiError> {
    let found = find(app, user, id(job, "job")?).await?;
    if let Some(live) = app.jobs.get(found.0.id) {
        live.seen();
    }
    Ok(found)
}

/// `DELETE /api/v1/jobs/{id}`: cancels. Cancelling what is cancelled answers the same again.
///
/// # Errors
/// 401, 403, 404, 409 when it has ended otherwise, 429.
pub async fn delete(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    Path(job): Path<String>,
) -> Result<Response, ApiError> {
    let job = id(&job, "job")?;
    match cancel(&app, caller.user.id, job).await {
        Ok(_) | Err(JobError::Ended) => {}
        Err(error) => return Err(error.into()),
    }
    let found = find(&app, caller.user.id, job).await?;
    if found.0.state != jobs::State::Cancelled {
        return Err(JobError::Ended.into());
    }
    let for_answer = Arc::clone(&app);
    let once = Once::new(claim, move |(job, output): &(Job, Option<String>)| {
        Answer::ok(&Data { data: JobBody::new(&for_answer, job, output.as_deref()).brief() })
    });
    let found = once.keep(&app, found).await?;
    Ok(once.respond(&found))
}

/// What a job used and cost. Counts nobody made are left out.
#[must_use]
pub fn usage_json(job: &Job) -> Value {
    serde_json::to_value(UsageBody::new(job)).unwrap_or_default()
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
