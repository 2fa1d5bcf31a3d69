//! `POST /v1/embeddings`: texts in, a vector for each out.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::shapes::{Embedding, EmbeddingList, EmbeddingRequest, Numbers, TokenUsage};
use super::{answered, market, run, submission, with_bid};
use crate::api::extract::{ApiUser, Fields};
use crate::api::operation::{Operation, Repeat, Repeatable};
use crate::app::App;
use crate::config::WorkloadKind;
use crate::error::ApiError;
use crate::jobs::JobError;
use crate::jobs::submit::find;

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        with_bid(Operation::post("/embeddings", "createEmbedding", create))
            .says(
                "Vectors of texts",
                "Waits for the vectors. Priced by the length of the texts. Closing the connection cancels the job.",
            )
            .tag("OpenAI")
            .openai()
            .repeat(Repeat::Job)
            .body::<EmbeddingRequest>(json!({"model": "text-embedding", "input": ["How do tides work?", "Lighthouses"]}))
            .answers::<EmbeddingList>(200, "A vector for each text. `X-Job-Id` and `X-Credits-Used` stand in the head."),
    ]
}

/// The output of a job, as it is stored.
#[derive(Deserialize)]
struct Output {
    data: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    embedding: Vec<f32>,
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
    let usage = TokenUsage::of(&job);
    let body = EmbeddingList { object: "list", data: vectors, model, job_id: job.id, usage };
    Ok(answered(&body, &job, replayed))
}

fn vectors(output: &str, in_base64: bool) -> Option<Vec<Embedding>> {
    let output: Output = serde_json::from_str(output).ok()?;
    let show = |(index, vector): (usize, Vector)| {
        let numbers = vector.embedding;
        let embedding = if in_base64 { Numbers::Packed(packed(&numbers)) } else { Numbers::Plain(numbers) };
        Embedding { object: "embedding", index, embedding }
    };
    Some(output.data.into_iter().enumerate().map(show).collect())
}

/// The numbers, little-endian, in base64.
fn packed(numbers: &[f32]) -> String {
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_come_as_numbers_or_packed() {
        let output = r#"{"object":"list","data":[{"index":0,"embedding":[0.1,-2.0]}]}"#;
        let plain = vectors(output, false).unwrap();
        let text = serde_json::to_string(&plain[0]).unwrap();
        assert_eq!(text, r#"{"object":"embedding","index":0,"embedding":[0.1,-2.0]}"#);
        let packed = vectors(output, true).unwrap();
        let bytes: Vec<u8> = [0.1_f32, -2.0].iter().flat_map(|number| number.to_le_bytes()).collect();
        assert_eq!(packed[0].embedding, Numbers::Packed(STANDARD.encode(bytes)));
        assert_eq!(vectors("a picture", false), None);
    }
}
