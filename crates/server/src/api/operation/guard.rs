//! What stands before every operation: who calls and whether they may, how often, and whether they have called before.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{Access, Known, Pace, Repeat};
use crate::accounts::api_keys::{self, Caller};
use crate::api::extract::{Peer, address, bearer, idempotency_key, too_often, unreadable};
use crate::app::App;
use crate::error::ApiError;
use crate::idempotency::{Answer, Before, Claim, Running, Seal};
use crate::limits::{Kind, Left};
use crate::secrets;
use types::id::Id;

/// What the guard of an operation knows.
#[derive(Clone)]
pub(super) struct Gate {
    pub app: Arc<App>,
    pub access: Access,
    pub pace: Pace,
    pub repeat: Repeat,
    pub known: Option<Known>,
}

/// The claim of this request on its `Idempotency-Key`, if it has one. Whoever changes something hands it on to
/// [`crate::idempotency::Once`].
#[derive(Clone, Debug, Default)]
pub struct Repeatable(pub Option<Claim>);

impl<S: Send + Sync> FromRequestParts<S> for Repeatable {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, std::convert::Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

pub(super) async fn guard(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let mut request = request;
    if let Some(known) = gate.known.clone() {
        request.extensions_mut().insert(known);
    }
    if matches!(gate.access, Access::Public | Access::Island | Access::Signed) {
        return next.run(request).await;
    }
    let peer = request.extensions().get::<Peer>().copied();
    let (caller, left) = match admit(&gate, peer, request.headers()).await {
        Ok(admitted) => admitted,
        Err(error) => return error.into_response(),
    };
    if gate.access == Access::Manage
        && request.method() != Method::GET
        && let Err(error) = check_manages(&gate.app, &caller).await
    {
        return error.into_response();
    }
    request.extensions_mut().insert(caller.clone());
    // A job that is the answer ends with whoever waits for it; any other change is made to its end, also when the caller goes
    // away in the middle: what follows its transaction (a key is forgotten, pages are told) must not be left out.
    let to_the_end = matches!(gate.repeat, Repeat::Answer | Repeat::Sealed);
    let answered = async move { repeated(&gate, &caller, request, next).await };
    let answered = if to_the_end { finish(answered).await } else { answered.await };
    let mut response = answered.unwrap_or_else(IntoResponse::into_response);
    add_rate(response.headers_mut(), left);
    response
}

/// Goes on to the end, whether or not somebody still waits for it.
async fn finish<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            // As if it had happened here.
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is ending, and so is whoever waits.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Who calls, with a key that may do this, not too often.
async fn admit(gate: &Gate, peer: Option<Peer>, headers: &HeaderMap) -> Result<(Caller, Left), ApiError> {
    let app = &gate.app;
    let secret = bearer(headers).ok_or_else(|| {
        ApiError::unauthenticated("An API key is needed: send the header \"Authorization: Bearer ak_…\".")
    })?;
    let caller = app.keys.find(app, secret).await?;
    let caller = caller
        .ok_or_else(|| ApiError::unauthenticated("This API key is not valid. It may have been revoked."))?;
    let now = app.clock.now();
    caller.check(now, || address(peer, headers))?;
    if let Some(scope) = lacks(&caller, gate.access) {
        let text = format!("This API key lacks the scope \"{scope}\".");
        return Err(ApiError::forbidden("missing_scope", &text).with("scope", scope));
    }
    let kind = match gate.pace {
        Pace::Usual => Kind::Call,
        Pace::Polling => Kind::Poll,
    };
    app.keys.note_used(caller.key.id, now);
    let (key, user) = (caller.key.id.get(), caller.user.id.get());
    let left = app.limiter.take_call(key, user, kind, now).map_err(too_often)?;
    Ok((caller, left))
}

/// A key with a spending limit manages nothing, nor does a secret that was replaced: what they made or changed would know no
/// limit, and would outlive them. What changes keys and webhooks asks again in its transaction.
async fn check_manages(app: &App, caller: &Caller) -> Result<(), ApiError> {
    if caller.replaced.is_some() {
        let text = "This secret was replaced by a new one, so it manages nothing. Use the new one.";
        return Err(ApiError::forbidden("replaced_key", text));
    }
    Ok(api_keys::check_may_manage(app, caller.key.id).await?)
}

/// The scope that a caller would need and has not.
fn lacks(caller: &Caller, access: Access) -> Option<&'static str> {
    let scopes = caller.key.scopes;
    match access {
        Access::Read if !scopes.read => Some("read"),
        Access::Write if !scopes.write => Some("write"),
        Access::Manage if !scopes.may_manage() => Some("manage"),
        _ => None,
    }
}

/// Answers what was answered before, or runs the handler.
async fn repeated(gate: &Gate, caller: &Caller, request: Request, next: Next) -> Result<Response, ApiError> {
    if gate.repeat == Repeat::Plain {
        return Ok(next.run(request).await);
    }
    let Some(key) = idempotency_key(request.headers())? else { return Ok(next.run(request).await) };
    let (request, body) = with_body(gate, request).await?;
    let claim = claim(gate, caller, key, &request, &body);
    // Only one at a time is answered; whoever looks now finds either nothing or all of it.
    let Some(_entry) = Running::begin(&gate.app, &claim) else { return Err(in_flight()) };
    if let Some(answer) = answered_before(&gate.app, &claim).await? {
        return Ok(answer);
    }
    let mut request = request;
    request.extensions_mut().insert(Repeatable(Some(claim.clone())));
    let response = next.run(request).await;
    if claim.is_taken()
        && let Some(answer) = answered_before(&gate.app, &claim).await?
    {
        return Ok(answer);
    }
    if response.status().is_success() && gate.repeat != Repeat::Job && !claim.is_written() {
        tracing::error!("a request with an Idempotency-Key was answered without writing that down");
    }
    Ok(response)
}

/// The first answer to this request, if there was one.
async fn answered_before(app: &App, claim: &Claim) -> Result<Option<Response>, ApiError> {
    match claim.before(app).await? {
        Before::Answered(answer) => Ok(Some(replay(answer))),
        Before::Another => Err(ApiError::key_reused()),
        Before::Nothing | Before::Job(_) => Ok(None),
    }
}

async fn with_body(gate: &Gate, request: Request) -> Result<(Request, Bytes), ApiError> {
    let (parts, body) = request.into_parts();
    // The body's limits are in the extensions, which both halves need.
    let mut reading = Request::new(body);
    *reading.extensions_mut() = parts.extensions.clone();
    let bytes = Bytes::from_request(reading, &gate.app).await.map_err(unreadable)?;
    Ok((Request::from_parts(parts, Body::from(bytes.clone())), bytes))
}

fn claim(gate: &Gate, caller: &Caller, key: String, request: &Request, body: &[u8]) -> Claim {
    let uri = request.uri();
    // Both spellings of a path are one operation.
    let path = request.extensions().get::<axum::extract::OriginalUri>().map_or(uri.path(), |uri| uri.path());
    let path = path.strip_prefix("/api").unwrap_or(path);
    let parts =
        [request.method().as_str(), path, uri.query().unwrap_or_default(), &String::from_utf8_lossy(body)];
    let hash = secrets::fingerprint(&parts);
    let seal =
        (gate.repeat == Repeat::Sealed).then(|| Seal::of(bearer(request.headers()).unwrap_or_default()));
    Claim::new(caller.user.id, key, hash, seal)
}

fn replay(answer: Answer) -> Response {
    let mut response = answer.into_response();
    response
        .headers_mut()
        .insert(HeaderName::from_static("idempotent-replayed"), HeaderValue::from_static("true"));
    response
}

/// 409: the same request is being answered.
fn in_flight() -> ApiError {
    let text =
        "The first request with this Idempotency-Key is still being answered. Please try again in a moment.";
    let error = ApiError::new(StatusCode::CONFLICT, "in_flight", text);
    ApiError { retry_after_secs: Some(1), ..error }
}

/// How many requests are left in this minute.
fn add_rate(headers: &mut HeaderMap, left: Left) {
    for (name, value) in [
        ("x-ratelimit-limit", left.limit),
        ("x-ratelimit-remaining", left.remaining),
        ("x-ratelimit-reset", left.full_in_secs),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_was_begun_is_finished_when_nobody_waits_any_more() {
        let (go, gone) = oneshot::channel::<()>();
        let (done, is_done) = oneshot::channel::<String>();
        let caller = tokio::spawn(finish(async move {
            drop(gone.await);
            drop(done.send("done".to_owned()));
        }));
        tokio::task::yield_now().await;
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        go.send(()).unwrap();
        assert_eq!(is_done.await.unwrap(), "done");
    }

    #[tokio::test]
    async fn what_breaks_breaks_as_if_it_had_not_been_alone() {
        let broken: tokio::task::JoinHandle<()> = tokio::spawn(finish(async { panic!("on purpose") }));
        assert!(broken.await.unwrap_err().is_panic());
    }
}
