//! Signing in by a link sent by mail, and signing out.
//!
//! In the browser that asked for the link, opening it signs in at once. Anywhere else, and for programs that open the
//! links of a mail, a button comes first. Where to go on to is kept in a cookie of the browser, never in the mail.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use pages::Layout;
use pages::login::{Login, LoginConfirm, LoginExpired, LoginSent};

use super::Page;
use super::forms::{FromBrowser, Posted};
use super::frame::{Said, bare};
use super::session::{self, Browser, NEXT, Named, Visitor, cookie, local, on_this_host};
use crate::accounts::magic_link::{self, SignInError};
use crate::accounts::sessions;
use crate::api::extract::Address;
use crate::app::App;
use crate::error::ApiError;
use crate::limits::Errand;

/// `GET /login`: the form that asks for an address. `?next=` says where to go on to.
pub async fn form(
    State(app): State<Arc<App>>,
    Visitor(visitor): Visitor,
    browser: Browser,
    Query(query): Query<HashMap<String, String>>,
    Said(flash): Said,
) -> Response {
    let next = query.get("next").and_then(|next| local(next));
    if visitor.is_some() {
        return Redirect::to(next.unwrap_or("/chat")).into_response();
    }
    let mut layout = framed(&app, &browser, "Sign in");
    layout.flash = flash;
    let AppendHeaders(mut cookies) = browser.cookies(&app);
    cookies.extend(next.map(|next| session::remember_next(&app, Some(next))));
    (AppendHeaders(cookies), Page(Login { layout, email: String::new(), error: None })).into_response()
}

/// `POST /login`: mails the link.
///
/// # Errors
/// 403, 415, 422, 429, 500, 503.
pub async fn send(
    State(app): State<Arc<App>>,
    address: Address,
    FromBrowser { browser, form }: FromBrowser,
) -> Result<Response, ApiError> {
    address.take(&app, Errand::SignIn)?;
    let email = form.get("email");
    let (status, sentence) = match magic_link::send(&app, email, &browser.secret).await {
        Ok(sent) => {
            let layout = framed(&app, &browser, "Check your mail");
            let demo_link = app.demo.then(|| on_this_host(&app, &sent.url).to_owned());
            return Ok(Page(LoginSent { layout, email: sent.email, demo_link }).into_response());
        }
        Err(SignInError::NotAnAddress) => {
            let text = "This is not an e-mail address. It should look like name@example.org.";
            (StatusCode::UNPROCESSABLE_ENTITY, text)
        }
        Err(SignInError::TooManyLinks) => {
            let text =
                "We have sent several links to this address already. Use the newest one, or wait an hour.";
            (StatusCode::TOO_MANY_REQUESTS, text)
        }
        Err(SignInError::Mail) => {
            (StatusCode::SERVICE_UNAVAILABLE, "The mail could not be sent. Please try again in a minute.")
        }
        Err(error) => return Err(error.into()),
    };
    let layout = framed(&app, &browser, "Sign in");
    let again = Login { layout, email: email.to_owned(), error: Some(sentence.to_owned()) };
    Ok((status, Page(again)).into_response())
}

/// `GET /login/{token}`: the link in the mail.
///
/// # Errors
/// 500, 503.
pub async fn follow(
    State(app): State<Arc<App>>,
    Named(token): Named<String>,
    browser: Browser,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asked_here = (!browser.fresh).then_some(browser.secret.as_str());
    match magic_link::look(&app, &token, asked_here).await {
        Ok((_, true)) => finish(&app, &token, &browser, &headers).await,
        Ok((email, false)) => {
            let layout = framed(&app, &browser, "Sign in");
            Ok((browser.cookies(&app), Page(LoginConfirm { layout, email, token })).into_response())
        }
        Err(SignInError::DeadLink) => Ok(dead_link(&app, &browser)),
        Err(error) => Err(error.into()),
    }
}

/// `POST /login/confirm`: the button behind the link.
///
/// # Errors
/// 403, 415, 422, 500, 503.
pub async fn confirm(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    FromBrowser { browser, form }: FromBrowser,
) -> Result<Response, ApiError> {
    finish(&app, form.get("token"), &browser, &headers).await
}

/// `POST /logout`.
///
/// # Errors
/// 401, 403, 429, 500, 503.
pub async fn out(State(app): State<Arc<App>>, Posted { session, .. }: Posted) -> Result<Response, ApiError> {
    sessions::end(&app, &session).await?;
    Ok((AppendHeaders([session::forget(&app)]), Redirect::to("/?done=signed_out")).into_response())
}

/// Uses the link up, begins the session, and goes on.
async fn finish(
    app: &App,
    token: &str,
    browser: &Browser,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let before = app.clock.now();
    let secret = match magic_link::redeem(app, token).await {
        Ok(secret) => secret,
        Err(SignInError::DeadLink) => return Ok(dead_link(app, browser)),
        Err(error) => return Err(error.into()),
    };
    if let Some(old) = session::of(app, headers).await? {
        sessions::end(app, &old).await?;
    }
    let new = sessions::find(app, &secret).await?;
    let first_time = new.is_some_and(|session| session.user.created_at >= before);
    let usual = if first_time { "/quickstart" } else { "/chat" };
    let next = cookie(headers, NEXT).and_then(local).unwrap_or(usual);
    let cookies = AppendHeaders([session::begin(app, &secret), session::remember_next(app, None)]);
    Ok((cookies, Redirect::to(next)).into_response())
}

fn dead_link(app: &App, browser: &Browser) -> Response {
    let layout = framed(app, browser, "Link expired");
    let page = LoginExpired { layout, email: String::new(), used: false };
    (StatusCode::GONE, browser.cookies(app), Page(page)).into_response()
}

/// The frame of a page for somebody who is not signed in yet, with the token of the browser.
fn framed(app: &App, browser: &Browser, title: &str) -> Layout {
    Layout { csrf: browser.csrf(), ..bare(app, title) }
}
