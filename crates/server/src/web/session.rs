//! Who asks: the session behind the cookie, the browser when nobody is signed in, and ids in addresses.

use std::convert::Infallible;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method, header};
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use db::DbError;
use types::time::{DAY_MS, HOUR_MS, SECOND_MS};

use crate::accounts::sessions::{self, SESSION_MS, Session};
use crate::app::App;
use crate::error::ApiError;
use crate::secrets;

/// Holds the secret of the session.
pub const SESSION: &str = "archipelago_session";
/// Holds a random number that tells one browser from another before anybody signs in.
pub const BROWSER: &str = "archipelago_browser";
/// Holds where to go after signing in.
pub const NEXT: &str = "archipelago_next";

const BROWSER_MS: i64 = 365 * DAY_MS;
const NEXT_MS: i64 = HOUR_MS;
/// Longest cookie of ours, and longest address to go on to.
const LONGEST: usize = 256;

/// Cookies to be set with an answer.
pub type Cookies = AppendHeaders<Vec<(HeaderName, String)>>;

/// Whoever looks at a page that anybody may see.
#[derive(Clone, Debug)]
pub struct Visitor(pub Option<Session>);

/// Somebody who is signed in. Others are sent to sign in when they open a page, and refused otherwise.
#[derive(Clone, Debug)]
pub struct SignedIn(pub Session);

/// Why [`SignedIn`] is not.
#[derive(Debug)]
pub enum Refused {
    /// Signing in comes first; then this address again.
    SignInFirst(String),
    /// Any other reason.
    Error(ApiError),
}

/// A browser, signed in or not.
#[derive(Clone, Debug)]
pub struct Browser {
    /// What its cookie holds.
    pub secret: String,
    /// The cookie is still to be set.
    pub fresh: bool,
}

/// The part of the address in braces, read as what it names. What cannot be read is not there.
#[derive(Clone, Debug)]
pub struct Named<T>(pub T);

/// The session that a request's cookie stands for.
///
/// # Errors
/// A [`DbError`].
pub async fn of(app: &App, headers: &HeaderMap) -> Result<Option<Session>, DbError> {
    match cookie(headers, SESSION) {
        Some(secret) => sessions::find(app, secret).await,
        None => Ok(None),
    }
}

impl FromRequestParts<Arc<App>> for Visitor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        Ok(Self(of(app, &parts.headers).await?))
    }
}

impl FromRequestParts<Arc<App>> for SignedIn {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refused> {
        match of(app, &parts.headers).await.map_err(|error| Refused::Error(error.into()))? {
            Some(session) => Ok(Self(session)),
            None => Err(not_signed_in(parts)),
        }
    }
}

fn not_signed_in(parts: &Parts) -> Refused {
    let path = parts.uri.path();
    let opens_page =
        matches!(parts.method, Method::GET | Method::HEAD) && !path.starts_with("/app/") && path != "/live";
    if opens_page {
        let address = parts.uri.path_and_query().map_or(path, |address| address.as_str());
        return Refused::SignInFirst(local(address).unwrap_or("/chat").to_owned());
    }
    Refused::Error(ApiError::unauthenticated("You are signed out. Sign in again; nothing was changed."))
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Self::SignInFirst(next) => {
                Redirect::to(&format!("/login?next={}", encode(&next))).into_response()
            }
            Self::Error(error) => error.into_response(),
        }
    }
}

impl FromRequestParts<Arc<App>> for Browser {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Infallible> {
        Ok(match cookie(&parts.headers, BROWSER) {
            Some(secret) => Self { secret: secret.to_owned(), fresh: false },
            None => Self { secret: secrets::new(&*app.random, "br_"), fresh: true },
        })
    }
}

impl Browser {
    /// What forms for this browser must carry.
    #[must_use]
    pub fn csrf(&self) -> String {
        secrets::hash(&format!("csrf{}", self.secret))
    }

    /// The cookie, if it is still to be set.
    pub fn cookies(&self, app: &App) -> Cookies {
        let cookie = || set_cookie(app, BROWSER, &self.secret, BROWSER_MS);
        AppendHeaders(self.fresh.then(cookie).into_iter().collect())
    }
}

impl<T: FromStr + Send, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let not_there = || ApiError::not_found("page");
        let Path(text) = Path::<String>::from_request_parts(parts, state).await.map_err(|_| not_there())?;
        // Nothing of ours has that character in its name, and not every database can look for it.
        if text.contains('\0') {
            return Err(not_there());
        }
        text.parse().map(Self).map_err(|_| not_there())
    }
}

/// The header that gives a browser its session.
#[must_use]
pub fn begin(app: &App, secret: &str) -> (HeaderName, String) {
    set_cookie(app, SESSION, secret, SESSION_MS)
}

/// The header that takes a browser's session away.
#[must_use]
pub fn forget(app: &App) -> (HeaderName, String) {
    set_cookie(app, SESSION, "", 0)
}

/// The header that remembers where to go after signing in; `None` forgets it.
#[must_use]
pub fn remember_next(app: &App, next: Option<&str>) -> (HeaderName, String) {
    set_cookie(app, NEXT, next.unwrap_or_default(), if next.is_some() { NEXT_MS } else { 0 })
}

fn set_cookie(app: &App, name: &str, value: &str, milliseconds: i64) -> (HeaderName, String) {
    (
        header::SET_COOKIE,
        cookie_text(name, value, milliseconds, app.config.public_url().starts_with("https://")),
    )
}

fn cookie_text(name: &str, value: &str, milliseconds: i64, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    let seconds = milliseconds / SECOND_MS;
    format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}")
}

/// A cookie of ours: not empty, not longer than ours are, and of the characters ours are made of.
#[must_use]
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let texts = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let value = pairs.find(|(key, _)| *key == name)?.1;
    let fine = !value.is_empty() && value.len() <= LONGEST && value.bytes().all(plain);
    fine.then_some(value)
}

/// An address on this server to go on to, if it is one: it begins with a single slash and has no character that
/// could make it anything else.
#[must_use]
pub fn local(address: &str) -> Option<&str> {
    let ours = address.starts_with('/') && !address.starts_with("//");
    (ours && address.len() <= LONGEST && address.bytes().all(plain)).then_some(address)
}

/// An address of ours without the host: it works under whatever name this server was opened by, and a form may lead
/// there. Addresses of others stay as they are.
#[must_use]
pub fn on_this_host<'a>(app: &App, url: &'a str) -> &'a str {
    without_host(url, &app.config.public_url())
}

fn without_host<'a>(url: &'a str, public_url: &str) -> &'a str {
    url.strip_prefix(public_url).and_then(local).unwrap_or(url)
}

/// Characters of our addresses and secrets. They need no quoting in a cookie.
fn plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/_-.~?=&%".contains(&byte)
}

/// An address as a value in another one.
fn encode(address: &str) -> String {
    address.bytes().fold(String::with_capacity(address.len()), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"/_-.~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (header::COOKIE, HeaderValue::from_str(line).unwrap())).collect()
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let long = format!("a={}", "x".repeat(LONGEST + 1));
        let cases = [
            ("a=1; b=2", Some("1")),
            ("b=2;a=1", Some("1")),
            ("b=2;   a=1  ", Some("1")),
            ("a=1; a=2", Some("1")),
            ("a=/chat?x=1&y=%2F", Some("/chat?x=1&y=%2F")),
            ("ba=1", None),
            ("a", None),
            ("a=", None),
            ("a=\"1\"", None),
            ("a=1,2", None),
            ("", None),
            (&long, None),
        ];
        for (line, expected) in cases {
            assert_eq!(cookie(&headers(&[line]), "a"), expected, "{line}");
        }
        assert_eq!(cookie(&headers(&["b=2", "a=1"]), "a"), Some("1"));
        assert_eq!(cookie(&HeaderMap::new(), "a"), None);
    }

    #[test]
    fn only_addresses_of_ours_are_gone_on_to() {
        for good in ["/", "/chat", "/chat/con_0123", "/credits?before=12&x=1", "/a%20b"] {
            assert_eq!(local(good), Some(good));
        }
        let long = format!("/{}", "a".repeat(LONGEST));
        for bad in [
            "",
            "chat",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/a\r\nb",
            "/a b",
            "/a;b",
            "/ä",
            &long,
        ] {
            assert_eq!(local(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn our_addresses_lose_their_host_and_no_others() {
        let cases = [
            ("http://127.0.0.1:4000/verify/return", "/verify/return"),
            ("http://127.0.0.1:4000/credits?cancelled=1", "/credits?cancelled=1"),
            ("http://127.0.0.1:4000", "http://127.0.0.1:4000"),
            ("http://127.0.0.1:40001/x", "http://127.0.0.1:40001/x"),
            ("https://checkout.example/pay", "https://checkout.example/pay"),
        ];
        for (url, expected) in cases {
            assert_eq!(without_host(url, "http://127.0.0.1:4000"), expected);
        }
    }

    #[test]
    fn cookies_are_ours_alone() {
        assert_eq!(cookie_text("a", "b", 5000, false), "a=b; Path=/; Max-Age=5; HttpOnly; SameSite=Lax");
        assert!(cookie_text("a", "b", 5000, true).ends_with("; Secure"));
        assert_eq!(encode("/credits?before=1&x"), "/credits%3Fbefore%3D1%26x");
    }
}
