//! What pages send back. Every form and every request of a script proves that it comes from a page that we gave to
//! this session (or, signed out, to this browser): it carries a token that other sites cannot read, and says no origin but ours.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::rejection::FormRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use types::id::Id;

use super::session::{Browser, Refused, SignedIn};
use crate::accounts::sessions::Session;
use crate::api::extract::{too_often, unreadable};
use crate::app::App;
use crate::error::ApiError;
use crate::limits::Kind;
use crate::secrets;

const CSRF_HEADER: &str = "x-csrf-token";

/// The fields of a form. What was not filled in is empty.
#[derive(Debug)]
pub struct Form(HashMap<String, String>);

/// A form sent by somebody who is signed in.
#[derive(Debug)]
pub struct Posted {
    /// Who.
    pub session: Session,
    /// What.
    pub form: Form,
}

/// A form sent by a browser, signed in or not.
#[derive(Debug)]
pub struct FromBrowser {
    /// Which one.
    pub browser: Browser,
    /// What.
    pub form: Form,
}

/// A request of a page's script by somebody who is signed in.
#[derive(Debug)]
pub struct Pressed(pub Session);

impl Form {
    /// A field.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// Whether a box was ticked.
    #[must_use]
    pub fn ticked(&self, name: &str) -> bool {
        !self.get(name).is_empty()
    }
}

impl FromRequest<Arc<App>> for Form {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let fields = axum::Form::<HashMap<String, String>>::from_request(request, app).await;
        let axum::Form(fields) = fields.map_err(not_a_form)?;
        // The one character that not every database can keep. No page of ours sends it.
        if fields.values().any(|value| value.contains('\0')) {
            return Err(unreadable_form());
        }
        Ok(Self(fields))
    }
}

impl FromRequest<Arc<App>> for Posted {
    type Rejection = Refused;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Refused> {
        let (mut parts, body) = request.into_parts();
        let SignedIn(session) = SignedIn::from_request_parts(&mut parts, app).await?;
        check_origin(app, &parts.headers).map_err(Refused::Error)?;
        let form = Form::from_request(Request::from_parts(parts, body), app).await.map_err(Refused::Error)?;
        check_token(&session.csrf, form.get("csrf")).map_err(Refused::Error)?;
        check_rate(app, &session).map_err(Refused::Error)?;
        Ok(Self { session, form })
    }
}

impl FromRequest<Arc<App>> for FromBrowser {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        let Ok(browser) = Browser::from_request_parts(&mut parts, app).await;
        check_origin(app, &parts.headers)?;
        let form = Form::from_request(Request::from_parts(parts, body), app).await?;
        if browser.fresh {
            return Err(ApiError::forbidden(
                "csrf",
                "Your browser sent no cookie of ours. Allow cookies for this site, reload the page and try again.",
            ));
        }
        check_token(&browser.csrf(), form.get("csrf"))?;
        Ok(Self { browser, form })
    }
}

impl FromRequestParts<Arc<App>> for Pressed {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refused> {
        let SignedIn(session) = SignedIn::from_request_parts(parts, app).await?;
        check_origin(app, &parts.headers).map_err(Refused::Error)?;
        let given = parts.headers.get(CSRF_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
        check_token(&session.csrf, given).map_err(Refused::Error)?;
        check_rate(app, &session).map_err(Refused::Error)?;
        Ok(Self(session))
    }
}

fn check_token(expected: &str, given: &str) -> Result<(), ApiError> {
    if !expected.is_empty() && secrets::equal(expected, given) { Ok(()) } else { Err(out_of_date()) }
}

fn check_origin(app: &App, headers: &HeaderMap) -> Result<(), ApiError> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    match text(header::ORIGIN) {
        Some(origin) if !ours(origin, text(header::HOST), &app.config.public_url()) => Err(out_of_date()),
        _ => Ok(()),
    }
}

fn check_rate(app: &App, session: &Session) -> Result<(), ApiError> {
    app.limiter.take(session.user.id.get(), Kind::Form, app.clock.now()).map(drop).map_err(too_often)
}

/// Whether an origin is the host that was asked, or the one people reach us by.
fn ours(origin: &str, host: Option<&str>, public_url: &str) -> bool {
    let Some(authority) = authority(origin) else { return false };
    let same = |other: Option<&str>| other.is_some_and(|other| other.eq_ignore_ascii_case(authority));
    same(host) || same(self::authority(public_url))
}

fn authority(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    rest.split('/').next().filter(|authority| !authority.is_empty())
}

fn out_of_date() -> ApiError {
    ApiError::forbidden(
        "csrf",
        "This page is no longer up to date, so nothing was changed. Go back, reload the page and try again.",
    )
}

fn not_a_form(rejection: FormRejection) -> ApiError {
    match rejection {
        FormRejection::BytesRejection(rejection) => unreadable(rejection),
        FormRejection::InvalidFormContentType(_) => ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "A form is sent as application/x-www-form-urlencoded.",
        ),
        _ => unreadable_form(),
    }
}

fn unreadable_form() -> ApiError {
    ApiError::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "invalid_form",
        "The form could not be read. Reload the page and try again.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_origin_is_ours() {
        let cases = [
            ("http://127.0.0.1:4000", Some("127.0.0.1:4000"), true),
            ("http://LOCALHOST:4000", Some("localhost:4000"), true),
            ("https://exchange.example", Some("10.0.0.1:80"), true),
            ("https://exchange.example", None, true),
            ("https://exchange.example.evil.example", Some("127.0.0.1:4000"), false),
            ("http://127.0.0.1:4001", Some("127.0.0.1:4000"), false),
            ("null", Some("127.0.0.1:4000"), false),
            ("", Some(""), false),
            ("http://", Some(""), false),
        ];
        for (origin, host, expected) in cases {
            assert_eq!(ours(origin, host, "https://exchange.example"), expected, "{origin}");
        }
    }

    #[test]
    fn an_empty_token_opens_nothing() {
        assert!(check_token("", "").is_err());
        assert!(check_token("secret", "").is_err());
        assert!(check_token("secret", "secreT").is_err());
        assert!(check_token("secret", "secret").is_ok());
    }
}
