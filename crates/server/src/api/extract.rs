//! What handlers are handed: who calls, the fields of the body, ids and pages of lists.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::value::RawValue;
use types::id::Id;

use crate::accounts::api_keys::Caller;
use crate::api::operation::Known;
use crate::app::App;
use crate::error::ApiError;
use crate::limits::Errand;

/// Who calls. The guard of the operation has let them in.
#[derive(Clone, Debug)]
pub struct ApiUser(pub Caller);

impl<S: Send + Sync> FromRequestParts<S> for ApiUser {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let caller = parts.extensions.get::<Caller>().cloned();
        // Only an operation that lets anybody in has no caller, and its handler asks for none.
        caller.map(Self).ok_or_else(|| ApiError::unauthenticated("An API key is needed."))
    }
}

/// Where a connection comes from, as whoever accepts connections notes it with each request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// Where a request comes from. When the connection comes from this very machine, so from a proxy in front of us, it is what
/// that says last in `X-Forwarded-For`.
#[derive(Clone, Debug)]
pub struct Address(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Address {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(address(parts.extensions.get().copied(), &parts.headers).to_string()))
    }
}

/// The same of a request that is not taken apart.
#[must_use]
pub fn address(peer: Option<Peer>, headers: &HeaderMap) -> IpAddr {
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0).to_canonical();
    let forwarded = headers.get_all("x-forwarded-for").iter().next_back();
    let said = forwarded.and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse().ok());
    let from: IpAddr = if peer.is_loopback() { said.unwrap_or(peer) } else { peer };
    from.to_canonical()
}

impl Address {
    /// Counts an errand of this address.
    ///
    /// # Errors
    /// 429 when there were too many of them in the last hour.
    pub fn take(&self, app: &App, errand: Errand) -> Result<(), ApiError> {
        let wait = match app.addresses.take(&self.0, errand, app.clock.now()) {
            Ok(()) => return Ok(()),
            Err(wait) => wait,
        };
        let what = match errand {
            Errand::SignIn => "sign-in links",
            Errand::Checkout => "checkouts",
        };
        let minutes = wait.div_ceil(60);
        let text = format!("Too many {what} were asked for from your address. Please wait {minutes} min.");
        let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", text);
        Err(ApiError { retry_after_secs: Some(wait), ..error })
    }
}

/// 429.
#[must_use]
pub fn too_often(seconds: u32) -> ApiError {
    let error = ApiError::new(
        StatusCode::TOO_MANY_REQUESTS,
        "rate_limited",
        format!("Too many requests. Please wait {seconds} s."),
    );
    ApiError { retry_after_secs: Some(seconds), ..error }
}

/// The token of an `Authorization: Bearer` header.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.len() <= 256).then_some(token)
}

/// The body of a request: a JSON object, its values not yet looked at, so that numbers keep their digits.
#[derive(Debug)]
pub struct Fields {
    fields: HashMap<String, Box<RawValue>>,
    body: Bytes,
}

impl FromRequest<Arc<App>> for Fields {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let known = request.extensions().get::<Known>().cloned();
        let body = Bytes::from_request(request, app).await.map_err(unreadable)?;
        let fields: HashMap<String, Box<RawValue>> = serde_json::from_slice(&body).map_err(|error| {
            let text = format!("The body must be a JSON object: {error}.");
            ApiError::new(StatusCode::BAD_REQUEST, "invalid_json", text)
        })?;
        if let Some(Known(known)) = known
            && let Some(name) = fields.keys().filter(|name| !known.contains(name)).min()
        {
            return Err(unknown_field(name, &known));
        }
        Ok(Self { fields, body })
    }
}

/// 422: a field that is not one of the known ones.
fn unknown_field(name: &str, known: &[String]) -> ApiError {
    let shown: String = name.chars().filter(|letter| !letter.is_control()).take(64).collect();
    ApiError::invalid(shown, format!("is not known here; known are {}", known.join(", ")))
}

/// The same where everything in the body may be left out: without a body it is an empty one.
#[derive(Debug)]
pub struct OptionalFields(pub Fields);

impl FromRequest<Arc<App>> for OptionalFields {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let body = Bytes::from_request(request, app).await.map_err(unreadable)?;
        if body.is_empty() {
            return Ok(Self(Fields { fields: HashMap::new(), body }));
        }
        Fields::from_request(Request::new(body.into()), app).await.map(Self)
    }
}

impl Fields {
    /// Whether a field is there, even if it is null.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// A list of texts, if it is there.
    ///
    /// # Errors
    /// 422 naming it if it is something else, or has the one character that not every database can keep.
    pub fn texts(&self, name: &str) -> Result<Option<Vec<String>>, ApiError> {
        let texts = self.typed::<Vec<String>>(name, "must be a list of texts")?;
        match texts {
            Some(texts) if texts.iter().any(|text| text.contains('\0')) => {
                Err(ApiError::invalid(name, "must not contain the character U+0000"))
            }
            texts => Ok(texts),
        }
    }
}

/// A body that could not be read: too large, or cut off.
#[must_use]
#[expect(clippy::needless_pass_by_value, reason = "the shape map_err wants")]
pub fn unreadable(rejection: BytesRejection) -> ApiError {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "The request is too large.");
    }
    ApiError::new(StatusCode::BAD_REQUEST, "unreadable", "The request could not be read.")
}

impl Fields {
    /// The body, as it came.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// A field that is there and not null.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&RawValue> {
        self.fields.get(name).map(|value| &**value).filter(|value| value.get() != "null")
    }

    /// A field that must be there.
    ///
    /// # Errors
    /// 422 naming it.
    pub fn need(&self, name: &str) -> Result<&RawValue, ApiError> {
        self.get(name).ok_or_else(|| ApiError::invalid(name, "is missing"))
    }

    /// No other fields than these: one with a mistake in its name must not be taken for one that is not there.
    ///
    /// # Errors
    /// 422 naming the first other one.
    pub fn only(&self, names: &[&str]) -> Result<(), ApiError> {
        let other = self.fields.keys().filter(|name| !names.contains(&name.as_str())).min();
        let Some(other) = other else { return Ok(()) };
        let known =
            if names.is_empty() { "none are".to_owned() } else { format!("only {}", names.join(", ")) };
        let other: String = other.chars().take(64).collect();
        Err(ApiError::invalid(other, format!("is not known here; {known}")))
    }

    /// A text, if it is there.
    ///
    /// # Errors
    /// 422 naming it if it is something else, or has the one character that not every database can keep.
    pub fn text(&self, name: &str) -> Result<Option<String>, ApiError> {
        match self.typed::<String>(name, "must be a text")? {
            Some(text) if text.contains('\0') => {
                Err(ApiError::invalid(name, "must not contain the character U+0000"))
            }
            text => Ok(text),
        }
    }

    /// A text that must be there.
    ///
    /// # Errors
    /// 422 naming it.
    pub fn need_text(&self, name: &str) -> Result<String, ApiError> {
        self.text(name)?.ok_or_else(|| ApiError::invalid(name, "is missing"))
    }

    /// A truth value; false if it is not there.
    ///
    /// # Errors
    /// 422 naming it if it is something else.
    pub fn truth(&self, name: &str) -> Result<bool, ApiError> {
        Ok(self.typed(name, "must be true or false")?.unwrap_or(false))
    }

    /// A whole number from `least` to `most`, if it is there.
    ///
    /// # Errors
    /// 422 naming it if it is something else.
    pub fn whole(&self, name: &str, least: i64, most: i64) -> Result<Option<i64>, ApiError> {
        let message = format!("must be a whole number from {least} to {most}");
        match self.typed::<i64>(name, &message)? {
            Some(number) if !(least..=most).contains(&number) => Err(ApiError::invalid(name, message)),
            number => Ok(number),
        }
    }

    /// All fields but those of these names.
    pub fn without<'a>(&'a self, names: &'a [&str]) -> impl Iterator<Item = (&'a str, &'a RawValue)> {
        self.fields
            .iter()
            .map(|(name, value)| (name.as_str(), &**value))
            .filter(|(name, _)| !names.contains(name))
    }

    fn typed<T: serde::de::DeserializeOwned>(
        &self,
        name: &str,
        message: &str,
    ) -> Result<Option<T>, ApiError> {
        self.get(name)
            .map(|value| serde_json::from_str(value.get()).map_err(|_| ApiError::invalid(name, message)))
            .transpose()
    }
}

/// An id of a path; what is not one is not there.
///
/// # Errors
/// 404.
pub fn id<I: Id + FromStr>(text: &str, what: &str) -> Result<I, ApiError> {
    text.parse().map_err(|_| ApiError::not_found(what))
}

/// The `Idempotency-Key`, if there is one.
///
/// # Errors
/// 422 if it is empty, long, not printable, or there are two.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    if text.is_empty() || text.len() > 255 || values.next().is_some() {
        return Err(ApiError::invalid(
            "Idempotency-Key",
            "must be given once and have 1 to 255 printable ASCII characters",
        ));
    }
    Ok(Some(text.to_owned()))
}

/// `limit` and `offset` of a list.
///
/// # Errors
/// 422 naming the one that is out of range.
pub fn page(query: &HashMap<String, String>) -> Result<(u32, u32), ApiError> {
    let read = |name: &str, otherwise: u32, least: u32, most: u32| {
        let Some(text) = query.get(name) else { return Ok(otherwise) };
        match text.parse() {
            Ok(number) if (least..=most).contains(&number) => Ok(number),
            _ => Err(ApiError::invalid(name, format!("must be a whole number from {least} to {most}"))),
        }
    };
    Ok((read("limit", 20, 1, 100)?, read("offset", 0, 0, 1_000_000)?))
}
