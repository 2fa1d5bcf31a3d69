//! Vectors of texts: one request, one vector for each text, in the order of the texts.

use serde::{Deserialize, Serialize};
use types::island_protocol::ReportedUsage;

use super::super::input::{EmbeddingInput, Texts};
use super::super::{Failure, Finished, Stopped, Work, packed, too_old};
use super::{OpenAi, read_limited};
use crate::reporter::Reporter;

/// The longest answer, in bytes.
const MAX_BODY_BYTES: usize = 128 * 1024 * 1024;

pub(super) async fn run(
    backend: &OpenAi,
    work: Work<'_>,
    reporter: &mut Reporter,
) -> Result<Finished, Stopped> {
    let input = EmbeddingInput::read(work.input)?;
    if !reporter.takes_deltas() {
        return Err(too_old("vectors").into());
    }
    let request = Request {
        model: work.model,
        input: &input.input,
        // As numbers: not every server knows another way.
        encoding_format: "float",
        dimensions: input.dimensions,
    };
    let body = serde_json::to_vec(&request).map_err(|_| Failure::input("The input cannot be passed on."))?;
    let response = backend.post(&backend.embeddings_url, body).await?;
    let body = read_limited(response, MAX_BODY_BYTES).await?;
    let (vectors, usage) = read_answer(&body, input.input.all().len()).ok_or_else(|| {
        Failure::retryable("The Island's backend answered with something that is no list of vectors.")
    })?;
    reporter.embeddings(vectors).await?;
    Ok(Finished { usage, finish_reason: None })
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input: &'a Texts,
    encoding_format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u32>,
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Vector>,
    usage: Option<ReportedUsage>,
}

#[derive(Deserialize)]
struct Vector {
    index: Option<usize>,
    embedding: Vec<f32>,
}

/// The vectors in the order of their texts, if there is one for each, all of one length and of numbers that are finite.
fn read_answer(body: &[u8], texts: usize) -> Option<(Vec<String>, Option<ReportedUsage>)> {
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let length = answer.data.first()?.embedding.len();
    let mut vectors = vec![None; texts];
    for (place, vector) in answer.data.into_iter().enumerate() {
        let numbers = vector.embedding;
        if numbers.is_empty() || numbers.len() != length || numbers.iter().any(|number| !number.is_finite()) {
            return None;
        }
        *vectors.get_mut(vector.index.unwrap_or(place))? = Some(packed(&numbers));
    }
    Some((vectors.into_iter().collect::<Option<Vec<String>>>()?, answer.usage))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_vector_for_each_text_is_an_answer() {
        let read = |body: &str, texts| read_answer(body.as_bytes(), texts).map(|(vectors, _)| vectors);
        let (one, two) = (packed(&[1.0, -0.5]), packed(&[0.25, 2.0]));
        let fine = r#"{"data":[{"index":1,"embedding":[0.25,2]},{"index":0,"embedding":[1,-0.5]}],"usage":{"prompt_tokens":3,"total_tokens":3}}"#;
        assert_eq!(read(fine, 2), Some(vec![one.clone(), two]));
        assert_eq!(read(r#"{"data":[{"embedding":[1,-0.5]}]}"#, 1), Some(vec![one]));
        for (body, texts) in [
            (fine, 1),
            (fine, 3),
            (r#"{"data":[]}"#, 1),
            (r#"{"data":[{"embedding":[]}]}"#, 1),
            (r#"{"data":[{"embedding":[1]},{"embedding":[1,2]}]}"#, 2),
            (r#"{"data":[{"embedding":[1e300]}]}"#, 1),
            (r#"{"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[1]}]}"#, 2),
            (r#"{"data":[{"embedding":"AACAPw=="}]}"#, 1),
            ("{}", 1),
        ] {
            assert_eq!(read(body, texts), None, "{body}");
        }
    }
}
