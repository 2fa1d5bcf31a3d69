//! What can go wrong, turned into status, stable code and sentence: the one place where domain errors meet HTTP.
//!
//! 401: no or bad credentials. 402: not enough credits (or over a key's limit). 403: known, but not allowed
//! (scope, verification, CSRF). 404: not there, or not yours. 409: the same request is in flight. 413: too large.
//! 415/400: not JSON. 422: a field is wrong (named in `errors`). 429: too often. 503: cannot be done now, nothing was changed
//! (with the code `in_doubt`: it is not known whether it was).
//! Everything not listed is a 500 with a request id and no detail; it is logged here, once.

pub mod codes;

use std::collections::BTreeMap;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use db::DbError;
use schemars::JsonSchema;
use serde_json::{Map, Value, json};
use types::money::MicroCredits;

/// An answer that is not a success.
#[derive(Clone, Debug)]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// Stable, for programs.
    pub code: &'static str,
    /// A sentence, for people.
    pub message: String,
    /// The input that is wrong.
    pub field: Option<String>,
    /// More for programs: `required`, `available`, …
    pub more: Map<String, Value>,
    /// Seconds after which trying again makes sense.
    pub retry_after_secs: Option<u32>,
}

impl ApiError {
    /// An error with a status, a code of [`codes::ALL`] and a sentence.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        if cfg!(debug_assertions) && !codes::is_listed(code, status.as_u16()) {
            tracing::error!("the error \"{code}\" with the status {status} is not listed in error/codes.rs");
        }
        Self { status, code, message: message.into(), field: None, more: Map::new(), retry_after_secs: None }
    }

    /// 422: the field, and what is wrong with it.
    #[must_use]
    pub fn invalid(field: impl Into<String>, message: impl AsRef<str>) -> Self {
        let field = field.into();
        let sentence = format!("{field} {}", message.as_ref());
        Self { field: Some(field), ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_field", sentence) }
    }

    /// 404.
    #[must_use]
    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("There is no such {what}."))
    }

    /// 401.
    #[must_use]
    pub fn unauthenticated(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", message)
    }

    /// 403.
    #[must_use]
    pub fn forbidden(code: &'static str, message: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, message)
    }

    /// 422: an `Idempotency-Key` was used before, for another request.
    #[must_use]
    pub fn key_reused() -> Self {
        let text = "This Idempotency-Key was used for another request.";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", text)
    }

    /// 503: nothing was changed.
    #[must_use]
    pub fn unavailable(message: &str) -> Self {
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message);
        Self { retry_after_secs: Some(2), ..error }
    }

    /// 503: it is not known whether anything was changed.
    #[must_use]
    pub fn in_doubt() -> Self {
        let text = "The database did not say whether this was saved. Look before you repeat it.";
        Self { retry_after_secs: Some(2), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "in_doubt", text) }
    }

    /// Adds a machine field.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.more.insert(key.to_owned(), value.into());
        self
    }

    /// Adds an amount as an exact JSON number.
    #[must_use]
    pub fn with_amount(self, key: &str, amount: MicroCredits) -> Self {
        let value = serde_json::to_value(amount).unwrap_or(Value::Null);
        self.with(key, value)
    }

    /// The body that Python and JavaScript clients, OpenAI clients and the pages read: `error` is an object. For
    /// the command line `error` must be a string instead (`api::clients` decides).
    #[must_use]
    pub fn body(&self, request_id: &str, error_as_text: bool) -> Value {
        let mut object = self.more.clone();
        object.insert("code".to_owned(), self.code.into());
        object.insert("message".to_owned(), self.message.clone().into());
        object.insert("type".to_owned(), self.openai_type().into());
        object.insert("param".to_owned(), self.field.clone().into());
        let error = if error_as_text { Value::from(self.message.clone()) } else { Value::Object(object) };
        let mut body = json!({"error": error, "message": self.message, "code": self.code, "request_id": request_id,
                   "doc_url": format!("/docs/errors#{}", self.code)});
        if let (Some(field), Some(body)) = (&self.field, body.as_object_mut()) {
            body.insert("errors".to_owned(), json!({field: [self.message]}));
        }
        if let Some(body) = body.as_object_mut() {
            for (key, value) in &self.more {
                body.entry(key).or_insert_with(|| value.clone());
            }
        }
        body
    }

    /// The coarse kinds OpenAI clients know.
    fn openai_type(&self) -> &'static str {
        match self.status.as_u16() {
            401 => "authentication_error",
            402 => "insufficient_quota",
            403 => "permission_error",
            404 => "not_found_error",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            _ => "server_error",
        }
    }
}

/// What every error says.
#[derive(JsonSchema)]
#[schemars(rename = "Error")]
#[expect(dead_code, reason = "read by the OpenAPI document only; ApiError::body writes it")]
pub struct ErrorBody {
    /// What went wrong, as OpenAI's clients and the SDKs read it. For the command line client (by its `User-Agent`) it is the
    /// message alone.
    error: ErrorDetail,
    /// What went wrong: a sentence for people.
    message: String,
    /// What went wrong, for programs: stable.
    code: String,
    /// The number of this request, to tell the operator.
    request_id: String,
    /// Where on this server the code is explained.
    doc_url: String,
    /// The fields that are wrong, each with what is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    errors: Option<BTreeMap<String, Vec<String>>>,
}

/// An error in detail.
#[derive(JsonSchema)]
#[serde(untagged)]
pub enum ErrorDetail {
    /// For everybody but the command line client.
    Object(ErrorObject),
    /// For the command line client.
    Text(String),
}

/// An error as OpenAI's clients read it. Fields that belong to its code stand here and beside `error`.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the OpenAPI document only; ApiError::body writes it")]
pub struct ErrorObject {
    /// What went wrong, for programs: stable.
    code: String,
    /// What went wrong: a sentence for people.
    message: String,
    /// What went wrong, coarsely.
    r#type: ErrorType,
    /// The field that is wrong.
    param: Option<String>,
}

/// The coarse kinds of errors that OpenAI's clients know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorType {
    /// 401.
    AuthenticationError,
    /// 402.
    InsufficientQuota,
    /// 403.
    PermissionError,
    /// 404.
    NotFoundError,
    /// 429.
    RateLimitError,
    /// Any other 4xx.
    InvalidRequestError,
    /// 5xx.
    ServerError,
}

/// The bare answer; the outermost layer of the router replaces the body by the one the caller understands.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if let Some(seconds) = self.retry_after_secs {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<DbError> for ApiError {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Busy => Self::unavailable("The server is busy. Nothing was changed; please try again."),
            DbError::Unwritable(_) | DbError::Closed => {
                tracing::error!(%error, "the database cannot be written");
                Self::unavailable("The server cannot save anything right now. Nothing was changed.")
            }
            DbError::Unknown(_) => {
                tracing::error!(%error, "a request is in doubt");
                Self::in_doubt()
            }
            error => {
                tracing::error!(%error, "a request failed");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal",
                    "Something went wrong on our side. Nothing was charged for this request.",
                )
            }
        }
    }
}
