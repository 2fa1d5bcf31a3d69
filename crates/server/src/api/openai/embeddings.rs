//! `POST /v1/embeddings`: texts in, a vector for each out.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::shapes::{EmbeddingRequest, Embeddings};
use super::{ERRORS, answered, market, run, submission};
use crate::api::extract::{ApiUser, Fields};
use crate::api::jobs::usage_json;
use crate::api::operation::{Operation, Repeat, Repeatable};
use crate::api::words::Bid;
use crate::app::App;
use crate::config::WorkloadKind;
use crate::error::ApiError;
use crate::jobs::look::find;
use crate::jobs::{Job, JobError};

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::post("/embeddings", "createEmbedding", create)
            .says(
                "Vectors of texts",
                "The request waits for them. When its connection closes, the job is cancelled.",
            )
            .tag("OpenAI")
            .openai()
            .repeat(Repeat::Job)
            .header::<Bid>("X-Max-Price", "The same by another name.")
            .header::<Bid>(
                "X-Bid-Price",
                "The most the request may cost, in credits, if the body does not say so.",
            )
            .body::<EmbeddingRequest>(json!({"model": "default", "input": ["How do tides work?"]}))
            .answers::<Embeddings>(200, "A vector for each text.")
            .errors(ERRORS),
    ]
}

/// The output of a job, as it is stored.
#[derive(Deserialize)]
struct Output {
    data: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    embedding: Box<RawValue>,
}

/// The handler. The vectors come as numbers, or with `encoding_format` as base64, which official clients ask for by themselves.
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
    let market = market(&app, &fields, WorkloadKind::Embedding)?;
    let model = market.0.workload.slug.clone();
    let in_base64 = match fields.text("encoding_format")?.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => return Err(ApiError::invalid("encoding_format", "must be float or base64")),
    };
    let wanted = ["input", "dimensions"].into_iter().filter_map(|name| Some((name, fields.get(name)?)));
    let input: BTreeMap<&str, &RawValue> = wanted.collect();
    let input = serde_json::value::to_raw_value(&input).map_err(|_| JobError::Internal)?;
    let user = caller.user.id;
    let submission = submission((&headers, &fields), (caller, claim), market, input)?;
    let (job, replayed) = run(&app, submission).await?;
    let (job, output) = find(&app, user, job.id).await?;
    let vectors = vectors(&output.unwrap_or_default(), in_base64).ok_or_else(|| {
        tracing::error!(job = %job.id, "job {} completed without vectors", job.id);
        JobError::Internal
    })?;
    let body =
        json!({"object": "list", "data": vectors, "model": model, "job_id": job.id, "usage": usage(&job)});
    Ok(answered(&body, &job, replayed))
}

/// Token counts always, because clients read them without asking; zero where nobody counted.
fn usage(job: &Job) -> Value {
    let mut usage = usage_json(job);
    let prompt = job.usage.prompt_tokens.unwrap_or(0);
    usage["prompt_tokens"] = prompt.into();
    usage["total_tokens"] = prompt.into();
    usage
}

fn vectors(output: &str, in_base64: bool) -> Option<Vec<Value>> {
    let output: Output = serde_json::from_str(output).ok()?;
    let show = |(index, vector): (usize, Vector)| {
        let embedding = if in_base64 { packed(&vector.embedding)? } else { numbers(&vector.embedding)? };
        Some(json!({"object": "embedding", "index": index, "embedding": embedding}))
    };
    output.data.into_iter().enumerate().map(show).collect()
}

fn numbers(raw: &RawValue) -> Option<Value> {
    serde_json::from_str(raw.get()).ok()
}

/// The same numbers, little-endian, in base64.
fn packed(raw: &RawValue) -> Option<Value> {
    let numbers: Vec<f32> = serde_json::from_str(raw.get()).ok()?;
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    Some(STANDARD.encode(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_come_as_numbers_or_packed() {
        let output = r#"{"object":"list","data":[{"index":0,"embedding":[0.1,-2.0]}]}"#;
        let plain = vectors(output, false).unwrap();
        assert_eq!(plain[0].to_string(), r#"{"embedding":[0.1,-2.0],"index":0,"object":"embedding"}"#);
        let packed = vectors(output, true).unwrap();
        let bytes: Vec<u8> = [0.1_f32, -2.0].iter().flat_map(|number| number.to_le_bytes()).collect();
        assert_eq!(packed[0]["embedding"], STANDARD.encode(bytes));
        assert_eq!(vectors("a picture", false), None);
    }
}
