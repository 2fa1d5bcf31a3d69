//! Where two existing clients cannot be served by one answer, the `User-Agent` decides; only here.
//!
//! * The Python SDK requires an account's id to be a JSON string, the command line a JSON integer.
//! * The Python and JavaScript SDKs want `{"error": {"message": …}}`, the command line wants `error` to be a string.

use axum::http::{HeaderMap, header};
use serde_json::Value;
use types::id::{Id, UserId};

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
    fn each_client_gets_the_id_it_reads() {
        let mut headers = HeaderMap::new();
        assert!(account_id(&headers, UserId::from_i64(7)).is_string());
        headers.insert(header::USER_AGENT, HeaderValue::from_static("archipelag-python/0.1.0"));
        assert!(account_id(&headers, UserId::from_i64(7)).is_string());
        headers.insert(header::USER_AGENT, HeaderValue::from_static("archipelagio-cli/0.2.0"));
        assert_eq!(account_id(&headers, UserId::from_i64(7)), Value::from(7));
    }
}
