//! Errors as Stripe tells them.

use serde_json::{Map, Value, json};

/// An answer that is not what was asked for.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    pub(crate) status: u16,
    pub(crate) body: Map<String, Value>,
    /// Whether an idempotency key remembers it: only once the endpoint has begun its work.
    pub(crate) kept: bool,
}

impl ApiError {
    /// An error of a kind.
    pub(crate) fn new(status: u16, kind: &str, message: impl Into<String>) -> Self {
        let mut body = Map::new();
        body.insert("type".to_owned(), json!(kind));
        body.insert("message".to_owned(), json!(message.into()));
        Self { status, body, kept: false }
    }

    /// Wrong parameters; nothing has been done.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "invalid_request_error", message)
    }

    /// Right parameters at the wrong time; an idempotency key remembers it.
    pub(crate) fn refused(code: &str, message: impl Into<String>) -> Self {
        let mut error = Self::invalid(message).code(code);
        error.kept = true;
        error
    }

    /// A parameter is missing.
    pub(crate) fn missing(param: &str) -> Self {
        Self::invalid(format!("Missing required param: {param}.")).code("parameter_missing").param(param)
    }

    /// A parameter's value cannot be.
    pub(crate) fn bad(param: &str, message: impl Into<String>) -> Self {
        Self::invalid(message).param(param)
    }

    /// There is no such object.
    pub(crate) fn no_such(kind: &str, id: &str, param: &str) -> Self {
        let name = match kind {
            "checkout.session" => "checkout.session",
            "payment_method" => "PaymentMethod",
            "identity.verification_session" => "verificationsession",
            other => other,
        };
        Self::invalid(format!("No such {name}: '{id}'")).code("resource_missing").param(param)
    }

    /// The same as an answer to a path that names nothing.
    pub(crate) fn not_found(mut self) -> Self {
        self.status = 404;
        self
    }

    pub(crate) fn code(mut self, code: &str) -> Self {
        if !code.is_empty() {
            self.body.insert("code".to_owned(), json!(code));
            let page = code.replace('_', "-");
            self.body
                .insert("doc_url".to_owned(), json!(format!("https://stripe.com/docs/error-codes/{page}")));
        }
        self
    }

    pub(crate) fn param(mut self, param: &str) -> Self {
        self.body.insert("param".to_owned(), json!(param));
        self
    }

    /// A card's refusal: 402, remembered.
    pub(crate) fn card(error: Value) -> Self {
        let body = match error {
            Value::Object(body) => body,
            _ => Map::new(),
        };
        Self { status: 402, body, kept: true }
    }

    /// The whole body.
    pub(crate) fn json(mut self, request: &str) -> Value {
        let log = format!("https://dashboard.stripe.com/test/logs/{request}");
        self.body.insert("request_log_url".to_owned(), json!(log));
        json!({"error": self.body})
    }
}
