//! Every URL of the API, and what every answer goes through. The pages' URLs are in `web::routes`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::RequestBodyTimeoutLayer;
use types::id::RequestId;

use crate::api::{clients, openai, operation, operations};
use crate::app::App;
use crate::config::Config;
use crate::error::ApiError;
use crate::web;

/// How long a client may be silent in the middle of a body.
const BODY_SILENCE: Duration = Duration::from_secs(20);

/// Everything the server answers.
pub fn router(app: &Arc<App>) -> Router {
    Router::new()
        .merge(operation::router(app, operations()))
        .merge(web::routes())
        .fallback(|uri: Uri| async move { openai::unknown(uri.path()) })
        .method_not_allowed_fallback(|| async {
            ApiError::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "This method is not known here.",
            )
        })
        .layer(CatchPanicLayer::custom(|_| panicked()))
        .layer(DefaultBodyLimit::max(app.config.limits.body_bytes))
        .layer(RequestBodyTimeoutLayer::new(BODY_SILENCE))
        .layer(from_fn_with_state(Arc::clone(app), outermost))
        .with_state(Arc::clone(app))
}

fn panicked() -> Response {
    tracing::error!("a handler panicked");
    let text = "Something went wrong on our side. Nothing was charged for this request.";
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", text).into_response()
}

/// Gives the request an id, turns an [`ApiError`] into the body its caller understands, adds the headers every answer
/// has, and counts.
async fn outermost(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id: RequestId = app.ids.next(app.clock.now());
    let path = request.uri().path().to_owned();
    let for_program = is_for_programs(&path);
    // The pages' own scripts use a session; nobody else's may.
    let for_everybody = path.starts_with("/api/") || path.starts_with("/v1/");
    let method = request.method().clone();
    // Of what a program sends only this is still asked for when it has been read.
    let asks = if for_program {
        Asks::Program { is_command_line: clients::is_command_line(request.headers()) }
    } else {
        Asks::Person(request.headers().clone())
    };
    let route = request.extensions().get::<MatchedPath>().cloned();
    if for_everybody && method == Method::OPTIONS {
        return preflight(request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS));
    }
    let mut response = next.run(request).await;
    // Bodies that could not be read answer by themselves, in words of the framework.
    if response.status().is_client_error() || response.status().is_server_error() {
        response = explain(&app, response, &asks, id).await;
    }
    add_headers(&mut response, &app.policy, id);
    let route = route.as_ref().map_or("unknown", MatchedPath::as_str);
    app.metrics.answered(route, response.status().as_u16(), started.elapsed());
    if for_everybody {
        let exposed = HeaderValue::from_static(EXPOSED);
        response.headers_mut().insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
    response
}

fn is_for_programs(path: &str) -> bool {
    ["/api/", "/v1/", "/webhooks/", "/app/"].iter().any(|prefix| path.starts_with(prefix))
        || matches!(path, "/health" | "/ready" | "/metrics")
}

/// Who wants to know what went wrong.
enum Asks {
    /// A program, which reads a body made for it.
    Program { is_command_line: bool },
    /// Somebody in front of a page, with what their browser sent.
    Person(HeaderMap),
}

async fn explain(app: &Arc<App>, response: Response, asks: &Asks, id: RequestId) -> Response {
    let error = match response.extensions().get::<ApiError>() {
        Some(error) => error.clone(),
        // A page that renders its own error (an expired link, a form with a mistake) stays as it is.
        None if response
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html")) =>
        {
            return response;
        }
        None => ApiError::new(response.status(), "bad_request", "The request could not be understood."),
    };
    // That an Island failed a job, or none was there, is no trouble of the server's; the job's own log tells of it.
    if error.status.is_server_error() && !matches!(error.code, "job_failed" | "no_island") {
        tracing::error!(request = %id, code = error.code, "request {id} was answered {}: {}", error.status, error.message);
    }
    let is_command_line = match asks {
        Asks::Person(headers) => return web::error::error_page(app, &error, id, headers).await,
        Asks::Program { is_command_line } => *is_command_line,
    };
    let body = error.body(&id.to_string(), is_command_line).to_string();
    let (mut parts, _) = response.into_parts();
    parts.status = error.status;
    if let Some(retry) = clients::should_retry(&error) {
        let value = HeaderValue::from_static(if retry { "true" } else { "false" });
        parts.headers.insert(clients::SHOULD_RETRY, value);
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Response::from_parts(parts, Body::from(body))
}

/// What pages may load and where their forms may lead: to us, and through us to the pages of the providers.
#[must_use]
pub fn content_policy(config: &Config) -> HeaderValue {
    let forms =
        if config.uses_stripe() { format!("'self' {}", config.stripe.pages()) } else { "'self'".to_owned() };
    let policy = format!(
        "default-src 'self'; img-src 'self' data: blob:; style-src 'self'; script-src 'self'; connect-src 'self'; \
         frame-ancestors 'none'; form-action {forms}; base-uri 'none'; object-src 'none'"
    );
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'self'"))
}

fn add_headers(response: &mut Response, policy: &HeaderValue, id: RequestId) {
    let headers = response.headers_mut();
    let mut set = |name: &'static str, value: &'static str| {
        headers.entry(HeaderName::from_static(name)).or_insert(HeaderValue::from_static(value));
    };
    set("x-content-type-options", "nosniff");
    set("x-frame-options", "DENY");
    set("referrer-policy", "same-origin");
    set("permissions-policy", "camera=(), microphone=(), geolocation=()");
    set("cross-origin-opener-policy", "same-origin");
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert_with(|| policy.clone());
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        headers.insert(HeaderName::from_static("x-request-id"), value);
    }
}

/// What scripts of other sites may read of an answer besides its body.
const EXPOSED: &str = "x-request-id, x-job-id, x-credits-used, retry-after, x-should-retry, idempotent-replayed, \
    x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset";

/// Browsers may call the API from any page: it is a key that opens it, never a cookie. They ask first.
fn preflight(asked: Option<&HeaderValue>) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    // Clients send headers of their own; without cookies none of them opens anything.
    let usual =
        HeaderValue::from_static("authorization, content-type, idempotency-key, x-bid-price, x-max-price");
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.cloned().unwrap_or(usual));
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "GET, POST, PUT, PATCH, DELETE"),
        ("access-control-expose-headers", EXPOSED),
        ("access-control-max-age", "86400"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}
