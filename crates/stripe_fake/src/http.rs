//! What comes in: connections, faults, keys, idempotency.

use std::fmt;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use base64::Engine;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};

use crate::error::ApiError;
use crate::faults::Fault;
use crate::params::{Params, parse};
use crate::state::{API_VERSION, Answer, State};
use crate::{StripeFake, checkout, lists, pages, route};

/// The most a request may have.
const MOST_BYTES: usize = 1 << 20;

/// How long an idempotency key is remembered.
const KEY_SECS: i64 = 24 * 60 * 60;

/// A request as it came in.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// `GET`, `POST` or `DELETE`.
    pub method: String,
    /// From `/v1` on, without the query.
    pub path: String,
    /// What the form or the query said, nested.
    pub params: Value,
    /// `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// `Stripe-Version`.
    pub version: Option<String>,
    /// `Stripe-Account`.
    pub account: Option<String>,
}

/// What was answered to an idempotency key.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    method: String,
    path: String,
    params: Value,
    status: u16,
    body: Value,
    request: String,
    at: i64,
}

/// The connection ends without an answer.
#[derive(Debug)]
struct HungUp;

impl fmt::Display for HungUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the fake hung up, as it was told to")
    }
}

impl std::error::Error for HungUp {}

/// Takes connections for as long as the runtime lives.
pub(crate) async fn serve(fake: StripeFake, listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        if !fake.lock().faults.down {
            tokio::spawn(connection(fake.clone(), stream));
        }
    }
}

async fn connection(fake: StripeFake, stream: TcpStream) {
    let service = service_fn(move |request| answer(fake.clone(), request));
    // How a connection ends is the client's matter.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(fake: StripeFake, request: Request<Incoming>) -> Result<Response<Body>, HungUp> {
    if fake.lock().faults.down {
        return Err(HungUp);
    }
    let (head, body) = request.into_parts();
    let body = to_bytes(Body::new(body), MOST_BYTES).await.map_err(|_| HungUp)?;
    let body = String::from_utf8_lossy(&body).into_owned();
    let path = head.uri.path();
    if !path.starts_with("/v1/") {
        let form = parse(&body);
        let answer = pages::answer(&fake, &head.method, path, &form);
        fake.after_change();
        return Ok(answer);
    }
    let query = head.uri.query().unwrap_or_default();
    let both = if body.is_empty() || query.is_empty() {
        format!("{query}{body}")
    } else {
        format!("{query}&{body}")
    };
    let call = Call::new(&head.method, path, parse(&both), &head.headers);
    let fault = {
        let mut state = fake.lock();
        state.recorded.push(call.recorded.clone());
        state.faults.take(path)
    };
    match fault {
        Some(Fault::HangUp) => return Err(HungUp),
        Some(Fault::Status(status)) => {
            let request = fake.lock().id("req_");
            return Ok(call.respond(status, &made_up(status).json(&request), &request, None));
        }
        Some(Fault::Garbage) => return Ok(garbage()),
        Some(Fault::Slow(_) | Fault::HangUpAfter | Fault::GarbageAfter) | None => {}
    }
    let answer = call.answer(&mut fake.lock(), fake.secret_key());
    fake.after_change();
    match fault {
        Some(Fault::HangUpAfter) => Err(HungUp),
        Some(Fault::GarbageAfter) => Ok(garbage()),
        Some(Fault::Slow(ms)) => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            Ok(answer)
        }
        _ => Ok(answer),
    }
}

/// The error a status stands for.
fn made_up(status: u16) -> ApiError {
    match status {
        429 => ApiError::new(429, "invalid_request_error", "Request rate limit exceeded.").code("rate_limit"),
        409 => ApiError::new(
            409,
            "idempotency_error",
            "There is currently another in-progress request using this Idempotent Key.",
        )
        .code("idempotency_key_in_use"),
        400..=499 => ApiError::new(status, "invalid_request_error", "The request was unacceptable."),
        _ => ApiError::new(status, "api_error", "An unknown error occurred."),
    }
}

fn garbage() -> Response<Body> {
    let mut response = Response::new(Body::from("<html><body>Bad gateway</body></html>"));
    response.headers_mut().insert("content-type", axum::http::HeaderValue::from_static("text/html"));
    response
}

/// A request in work.
struct Call {
    recorded: Recorded,
    key: Option<String>,
}

impl Call {
    fn new(method: &Method, path: &str, params: Value, headers: &HeaderMap) -> Self {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let recorded = Recorded {
            method: method.to_string(),
            path: path.to_owned(),
            params,
            idempotency_key: header("idempotency-key"),
            version: header("stripe-version"),
            account: header("stripe-account"),
        };
        Self { recorded, key: header("authorization").and_then(|value| key_of(&value)) }
    }

    /// Answers, and remembers the answer if there is a key for it.
    fn answer(&self, state: &mut State, secret: &str) -> Response<Body> {
        let id = state.id("req_");
        if let Err(error) = self.authorise(state, secret) {
            return self.respond(error.status, &error.json(&id), &id, None);
        }
        let key = self.recorded.idempotency_key.clone().filter(|_| self.recorded.method == "POST");
        let slot = key.clone().map(|key| (self.recorded.account.clone().unwrap_or_default(), key));
        if let Some(stored) = slot.as_ref().and_then(|slot| state.stored.get(slot))
            && state.now() - stored.at < KEY_SECS
        {
            return match self.same(stored) {
                Ok(()) => self.respond(stored.status, &stored.body, &id, Some(&stored.request)),
                Err(error) => self.respond(error.status, &error.json(&id), &id, None),
            };
        }
        state.request = Some((id.clone(), key));
        let params = Params { value: self.recorded.params.clone(), account: self.recorded.account.clone() };
        checkout::expire_due(state);
        let mut answer = self.dispatch(state, &params);
        state.request = None;
        if let Ok(object) = &mut answer
            && let Err(mut error) = lists::expand(state, &params, object)
        {
            // The endpoint has done its work, so a key must not do it again.
            error.kept = true;
            answer = Err(error);
        }
        let (status, body, kept) = match answer {
            Ok(body) => (200, body, true),
            Err(error) => (error.status, error.clone().json(&id), error.kept),
        };
        if let (Some(slot), true) = (slot, kept) {
            let Recorded { method, path, params, .. } = self.recorded.clone();
            let at = state.now();
            state.stored.insert(
                slot,
                Stored { method, path, params, status, body: body.clone(), request: id.clone(), at },
            );
        }
        self.respond(status, &body, &id, None)
    }

    fn dispatch(&self, state: &mut State, params: &Params) -> Answer {
        let path = self.recorded.path.trim_start_matches("/v1/").trim_end_matches('/');
        let parts: Vec<&str> = path.split('/').collect();
        route::dispatch(state, &self.recorded.method, &parts, params)
    }

    fn authorise(&self, state: &State, secret: &str) -> Result<(), ApiError> {
        let Some(key) = &self.key else {
            let message = "You did not provide an API key. You need to provide your API key in the Authorization \
                           header, using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').";
            return Err(ApiError::new(401, "invalid_request_error", message));
        };
        if key != secret {
            let shown: String = key.chars().rev().take(4).collect::<Vec<_>>().into_iter().rev().collect();
            let message = format!("Invalid API Key provided: ********{shown}");
            return Err(ApiError::new(401, "invalid_request_error", message));
        }
        let account = self.recorded.account.as_deref();
        let known = account.is_none_or(|id| {
            state.find("account", id).is_some_and(|account| !account["deleted"].as_bool().unwrap_or_default())
        });
        if known { Ok(()) } else { Err(no_access(account.unwrap_or_default())) }
    }

    /// Whether an answer that is kept belongs to this request.
    fn same(&self, stored: &Stored) -> Result<(), ApiError> {
        let now = &self.recorded;
        let message = if stored.method != now.method || stored.path != now.path {
            "Keys for idempotent requests can only be used for the same endpoint they were first used for"
        } else if stored.params != now.params {
            "Keys for idempotent requests can only be used with the same parameters they were first used with"
        } else {
            return Ok(());
        };
        let key = now.idempotency_key.as_deref().unwrap_or_default();
        let message = format!(
            "{message}. Try using a key other than '{key}' if you meant to execute a different request."
        );
        Err(ApiError::new(400, "idempotency_error", message))
    }

    fn respond(&self, status: u16, body: &Value, request: &str, original: Option<&str>) -> Response<Body> {
        let version = self.recorded.version.as_deref().unwrap_or(API_VERSION);
        let mut builder = Response::builder()
            .status(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
            .header("content-type", "application/json")
            .header("request-id", request)
            .header("stripe-version", version)
            .header(
                "stripe-should-retry",
                if matches!(status, 409 | 429 | 500..) { "true" } else { "false" },
            );
        if let Some(key) = &self.recorded.idempotency_key {
            builder = builder.header("idempotency-key", key);
        }
        if let Some(account) = &self.recorded.account {
            builder = builder.header("stripe-account", account);
        }
        if let Some(original) = original {
            builder = builder.header("idempotent-replayed", "true").header("original-request", original);
        }
        let text = format!("{body:#}");
        builder.body(Body::from(text)).unwrap_or_else(|_| Response::new(Body::empty()))
    }
}

/// The error for an account that is not there or not ours.
pub(crate) fn no_access(account: &str) -> ApiError {
    let message = format!(
        "The provided key 'sk_test_********' does not have access to account '{account}' (or that account does \
         not exist). Application access may have been revoked."
    );
    ApiError::new(403, "invalid_request_error", message).code("account_invalid")
}

/// The secret key in an `Authorization` header.
fn key_of(header: &str) -> Option<String> {
    if let Some(key) = header.strip_prefix("Bearer ") {
        return Some(key.trim().to_owned());
    }
    let encoded = header.strip_prefix("Basic ")?.trim();
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).ok()?;
    let both = String::from_utf8(bytes).ok()?;
    Some(both.split(':').next().unwrap_or_default().to_owned())
}
