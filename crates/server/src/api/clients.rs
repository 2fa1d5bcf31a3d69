//! Where two existing clients cannot be served by one answer, the `User-Agent` decides; only here.
//!
//! * The Python SDK requires an account's id to be a JSON string, the command line a JSON integer.
//! * The Python and JavaScript SDKs want `{"error": {"message": …}}`, the command line wants `error` to be a string.
//!
//! And what the official `OpenAI` libraries do by themselves: they ask again after 408, 409, 429 and 5xx, unless an answer says
//! [`SHOULD_RETRY`].

use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use serde_json::Value;
use types::id::{Id, UserId};

use crate::error::ApiError;

/// The header by which the official `OpenAI` libraries are told whether asking again helps.
pub const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Whether the same request, sent again as it is, should be: `None` where the status says it.
///
/// Not where the first may have cost something, or has waited for as long as a job waits, or where only somebody's decision
/// changes the answer.
#[must_use]
pub fn should_retry(error: &ApiError) -> Option<bool> {
    match error.code {
        "in_flight" => Some(true),
        "in_doubt" | "no_island" | "cancelled" => Some(false),
        "job_failed" if error.more.contains_key("charged") => Some(false),
        _ if error.status == StatusCode::CONFLICT => Some(false),
        _ => None,
    }
}

/// Whether the request comes from the command line client.
#[must_use]
pub fn is_command_line(headers: &HeaderMap) -> bool {
    headers
        .get(header::USER_AGENT)
        .and_then(|agent| agent.to_str().ok())
        .is_some_and(|agent| agent.starts_with("archipelagio-cli/"))
}

/// An account's id as this client reads it.
#[must_use]
pub fn account_id(headers: &HeaderMap, id: UserId) -> Value {
    if is_command_line(headers) { Value::from(id.get()) } else { Value::from(id.to_string()) }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn what_would_cost_twice_is_not_asked_again() {
        let error = |status, code| ApiError::new(StatusCode::from_u16(status).unwrap(), code, "");
        for (error, expected) in [
            (error(409, "in_flight"), Some(true)),
            (error(409, "already_ended"), Some(false)),
            (error(503, "in_doubt"), Some(false)),
            (error(503, "job_failed"), None),
            (error(503, "job_failed").with("charged", 1), Some(false)),
            (error(503, "unavailable"), None),
            (error(429, "rate_limited"), None),
            (error(422, "invalid_field"), None),
        ] {
            assert_eq!(should_retry(&error), expected, "{}", error.code);
        }
    }

    #[test]
    fn each_client_gets_the_id_it_reads() {
        let mut headers = HeaderMap::new();
        assert!(account_id(&headers, UserId::from_i64(7)).is_string());
        headers.insert(header::USER_AGENT, HeaderValue::from_static("archipelag-python/0.1.0"));
        assert!(account_id(&headers, UserId::from_i64(7)).is_string());
        headers.insert(header::USER_AGENT, HeaderValue::from_static("archipelagio-cli/0.2.0"));
        assert_eq!(account_id(&headers, UserId::from_i64(7)), Value::from(7));
    }
}
