//! Images: one request, one file. Its format and size are read from the file itself.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::AUTHORIZATION;
use reqwest::{Response, Url};
use serde::{Deserialize, Serialize};
use types::island_protocol::FromIsland;

use super::super::input::ImageInput;
use super::super::{Failure, Finished, Stopped, Work};
use super::{OpenAi, read_limited, unreachable};
use crate::reporter::Reporter;
use types::image_header;

/// The largest image file, in bytes: as base64 it still fits a frame.
const MAX_IMAGE_BYTES: usize = 12_000_000;
/// The largest answer that can hold one.
const MAX_BODY_BYTES: usize = MAX_IMAGE_BYTES / 3 * 4 + 64 * 1024;

pub(super) async fn run(
    backend: &OpenAi,
    work: Work<'_>,
    reporter: &mut Reporter,
) -> Result<Finished, Stopped> {
    let input = ImageInput::read(work.input)?;
    let total = input.steps.unwrap_or(1).max(1);
    reporter.progress(0, total).await?;
    let response = backend.post(&backend.images_url, request_body(work.model, &input)?).await?;
    let image_data = match read_answer(response).await? {
        Answer::Inline(image_data) => image_data,
        Answer::Address(url) => STANDARD.encode(fetch(backend, &url).await?),
    };
    let file = STANDARD.decode(&image_data).map_err(|_| no_image())?;
    let header = image_header::read(&file).ok_or_else(no_image)?;
    if file.len() > MAX_IMAGE_BYTES {
        return Err(Failure::retryable("The image is too large to be sent.").into());
    }
    reporter
        .send(&FromIsland::Image {
            attempt_id: reporter.attempt_id(),
            image_data,
            format: header.format.to_owned(),
            width: header.width,
            height: header.height,
            seed: input.seed,
        })
        .await?;
    Ok(Finished::default())
}

fn no_image() -> Failure {
    Failure::retryable("The Island's backend answered with something that is no image.")
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    prompt: &'a str,
    n: u32,
    size: String,
    response_format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    negative_prompt: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    guidance_scale: Option<&'a serde_json::Number>,
}

fn request_body(model: &str, input: &ImageInput) -> Result<Vec<u8>, Failure> {
    let request = Request {
        model,
        prompt: &input.prompt,
        n: 1,
        size: format!("{}x{}", input.width, input.height),
        response_format: "b64_json",
        negative_prompt: input.negative_prompt.as_deref(),
        steps: input.steps,
        seed: input.seed,
        guidance_scale: input.guidance_scale.as_ref(),
    };
    serde_json::to_vec(&request).map_err(|_| Failure::input("The input cannot be passed on."))
}

enum Answer {
    /// The file, in base64.
    Inline(String),
    /// Where the file is.
    Address(String),
}

async fn read_answer(response: Response) -> Result<Answer, Failure> {
    #[derive(Deserialize)]
    struct Body {
        data: Vec<Image>,
    }
    #[derive(Deserialize)]
    struct Image {
        b64_json: Option<String>,
        url: Option<String>,
    }
    let body = read_limited(response, MAX_BODY_BYTES).await?;
    let body: Body = serde_json::from_slice(&body).map_err(|_| no_image())?;
    match body.data.into_iter().next() {
        Some(Image { b64_json: Some(image_data), .. }) => Ok(Answer::Inline(without_prefix(image_data))),
        Some(Image { url: Some(url), .. }) if url.starts_with("data:") => {
            Ok(Answer::Inline(without_prefix(url)))
        }
        Some(Image { url: Some(url), .. }) => Ok(Answer::Address(url)),
        _ => Err(no_image()),
    }
}

/// Some servers write a `data:` address where the bare file belongs.
fn without_prefix(image_data: String) -> String {
    match image_data.split_once(";base64,") {
        Some((_, bare)) => bare.to_owned(),
        None => image_data,
    }
}

/// Fetches a file from the backend itself. Any other address could be one that only this machine can reach.
async fn fetch(backend: &OpenAi, url: &str) -> Result<Vec<u8>, Failure> {
    let url = allowed_address(&backend.images_url, url).ok_or_else(|| {
        Failure::retryable("The Island's backend put the image where it is not fetched from.")
    })?;
    let same_server = url.origin() == backend.images_url.origin();
    let mut request = backend.client.get(url);
    if let Some(authorization) = backend.authorization.as_ref().filter(|_| same_server) {
        request = request.header(AUTHORIZATION, authorization.clone());
    }
    let response = request.send().await.map_err(|error| unreachable(&error))?;
    if !response.status().is_success() {
        return Err(no_image());
    }
    read_limited(response, MAX_IMAGE_BYTES).await
}

fn allowed_address(backend: &Url, url: &str) -> Option<Url> {
    let url = backend.join(url).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.host() == backend.host()).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_fetched_from_the_backend_only() {
        let backend = Url::parse("http://127.0.0.1:8080/v1/images/generations").unwrap();
        let cases = [
            ("http://127.0.0.1:8080/files/a.png", true),
            ("http://127.0.0.1:9090/files/a.png", true),
            ("/files/a.png", true),
            ("http://169.254.169.254/latest", false),
            ("http://localhost:8080/a.png", false),
            ("http://127.0.0.1@evil.example/a.png", false),
            ("//evil.example/a.png", false),
            ("file:///etc/passwd", false),
            ("ftp://127.0.0.1/a", false),
            ("http://", false),
        ];
        for (url, expected) in cases {
            assert_eq!(allowed_address(&backend, url).is_some(), expected, "{url}");
        }
    }

    #[test]
    fn requests_name_what_was_given() {
        let input = r#"{"prompt":"a","width":8,"height":4}"#;
        let body = request_body("m", &serde_json::from_str(input).unwrap()).unwrap();
        assert_eq!(
            String::from_utf8(body).unwrap(),
            r#"{"model":"m","prompt":"a","n":1,"size":"8x4","response_format":"b64_json"}"#
        );
        let input = r#"{"prompt":"a","negative_prompt":"b","width":8,"height":4,"steps":2,"seed":3,"guidance_scale":7.5}"#;
        let body =
            String::from_utf8(request_body("m", &serde_json::from_str(input).unwrap()).unwrap()).unwrap();
        assert!(
            body.ends_with(r#""negative_prompt":"b","steps":2,"seed":3,"guidance_scale":7.5}"#),
            "{body}"
        );
    }
}
