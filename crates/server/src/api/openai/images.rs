//! `POST /v1/images/generations`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::shapes::{ImageRequest, ImagesAnswer};
use super::{ERRORS, answered, market, run, submission};
use crate::api::extract::{ApiUser, Fields};
use crate::api::jobs::usage_json;
use crate::api::operation::{Operation, Repeat, Repeatable};
use crate::api::words::Bid;
use crate::app::App;
use crate::config::WorkloadKind;
use crate::error::ApiError;
use crate::jobs::JobError;
use crate::jobs::look::find;

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::post("/images/generations", "createImage", create)
            .says("An image", "The request waits for it. When its connection closes, the job is cancelled.")
            .tag("OpenAI")
            .openai()
            .repeat(Repeat::Job)
            .header::<Bid>("X-Max-Price", "The same by another name.")
            .header::<Bid>(
                "X-Bid-Price",
                "The most the request may cost, in credits, if the body does not say so.",
            )
            .body::<ImageRequest>(
                json!({"model": "default", "prompt": "A lighthouse at dawn", "size": "512x512"}),
            )
            .answers::<ImagesAnswer>(200, "The image.")
            .errors(ERRORS),
    ]
}

/// The handler. One image a request; its bytes come in base64.
///
/// # Errors
/// 401, 402, 403, 404, 409, 422, 429, 503; then nothing was charged.
pub async fn create(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    headers: HeaderMap,
    fields: Fields,
) -> Result<Response, ApiError> {
    let market = market(&app, &fields, WorkloadKind::Image)?;
    if fields.whole("n", 1, 1)?.is_none() && fields.get("n").is_some() {
        return Err(ApiError::invalid("n", "must be 1"));
    }
    if fields.text("response_format")?.is_some_and(|format| format != "b64_json") {
        return Err(ApiError::invalid("response_format", "must be b64_json"));
    }
    let input = input(&fields)?;
    let user = caller.user.id;
    let submission = submission((&headers, &fields), (caller, claim), market, input)?;
    let (job, replayed) = run(&app, submission).await?;
    let (job, output) = find(&app, user, job.id).await?;
    let image: Value = serde_json::from_str(&output.unwrap_or_default()).unwrap_or_default();
    if !image["image_data"].is_string() {
        tracing::error!(job = %job.id, "job {} completed without a picture", job.id);
        return Err(JobError::Internal.into());
    }
    let body = json!({
        "created": job.created_at.as_millis() / 1000,
        "data": [{"b64_json": image["image_data"], "revised_prompt": null}],
        "output_format": image["format"], "size": format!("{}x{}", image["width"], image["height"]),
        "job_id": job.id, "usage": usage_json(&job),
    });
    Ok(answered(&body, &job, replayed))
}

/// The request as the input of a job: `size` becomes width and height.
fn input(fields: &Fields) -> Result<Box<serde_json::value::RawValue>, ApiError> {
    let mut input = Map::new();
    for name in ["prompt", "negative_prompt", "steps", "seed", "guidance_scale"] {
        if let Some(raw) = fields.get(name) {
            input.insert(name.to_owned(), serde_json::from_str(raw.get()).unwrap_or_default());
        }
    }
    if let Some(size) = fields.text("size")?.filter(|size| size != "auto") {
        let sides =
            size.split_once('x').and_then(|(w, h)| Some((w.parse::<i64>().ok()?, h.parse::<i64>().ok()?)));
        let (width, height) = sides.ok_or_else(|| ApiError::invalid("size", "must look like 1024x1024"))?;
        input.insert("width".to_owned(), width.into());
        input.insert("height".to_owned(), height.into());
    }
    serde_json::value::to_raw_value(&input).map_err(|_| JobError::Internal.into())
}
