//! Whether the server is there, and which models it has.

use std::time::Duration;

use reqwest::header::AUTHORIZATION;
use serde::Deserialize;

use super::{OpenAi, error_chain, read_limited, upstream_message};
use crate::config::MAX_NAME_BYTES;

/// How long a server may take to list its models.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest list that is read, in bytes.
const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;
/// The most models that are remembered.
const MAX_LISTED: usize = 1024;

#[derive(Deserialize)]
struct List {
    data: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
}

/// Asks for the list of models. A server that answers but has no such list is there all the same.
pub(super) async fn probe(backend: &OpenAi) -> Result<Option<Vec<String>>, String> {
    let mut request = backend.client.get(backend.models_url.clone()).timeout(TIMEOUT);
    if let Some(authorization) = &backend.authorization {
        request = request.header(AUTHORIZATION, authorization.clone());
    }
    let response = request.send().await.map_err(|error| {
        if error.is_timeout() {
            format!("does not answer within {} s", TIMEOUT.as_secs())
        } else {
            format!("cannot be reached{}", causes(&error))
        }
    })?;
    let status = response.status().as_u16();
    match status {
        200..300 => {}
        401 | 403 => return Err(format!("does not accept its api_key (HTTP {status})")),
        300..=399 => return Err(format!("has moved (HTTP {status}); correct its base_url")),
        408 | 429 | 500..600 => {
            // Such as a server that is still loading its model.
            let body = read_limited(response, 64 * 1024).await.unwrap_or_default();
            let why =
                upstream_message(&body).map(|why| format!(": {}", backend.redact(why))).unwrap_or_default();
            return Err(format!("is not ready (HTTP {status}{why})"));
        }
        _ => return Ok(None),
    }
    let Ok(body) = read_limited(response, MAX_BODY_BYTES).await else { return Ok(None) };
    let Ok(list) = serde_json::from_slice::<List>(&body) else { return Ok(None) };
    let fine = |id: &String| !id.is_empty() && id.len() <= MAX_NAME_BYTES && !id.contains(char::is_control);
    let mut models: Vec<String> = Vec::new();
    for id in list.data.into_iter().map(|model| model.id).filter(fine).take(MAX_LISTED) {
        if !models.contains(&id) {
            models.push(id);
        }
    }
    Ok(Some(models))
}

fn causes(error: &reqwest::Error) -> String {
    match error_chain(error).as_str() {
        "" => String::new(),
        chain => format!(" ({chain})"),
    }
}
