//! Errors as pages: what happened, what to do, and where to go.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pages::Nav;
use pages::error::ErrorPage;
use types::id::RequestId;

use super::{Page, frame, session};
use crate::app::App;
use crate::error::ApiError;

/// The page that says what went wrong, for whoever sent these headers.
pub async fn error_page(app: &App, error: &ApiError, request_id: RequestId, headers: &HeaderMap) -> Response {
    let mut response = (error.status, Page(view(app, error, request_id, headers).await)).into_response();
    if let Some(seconds) = error.retry_after_secs {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

async fn view(app: &App, error: &ApiError, request_id: RequestId, headers: &HeaderMap) -> ErrorPage {
    let (heading, advice, link) = words(error);
    // When not even the session can be read, the page says so without it.
    let session = session::of(app, headers).await.ok().flatten();
    let framed = frame::frame(app, session.as_ref(), heading, Nav::None).await;
    let layout = framed.unwrap_or_else(|_| frame::bare(app, heading));
    let request_id = request_id.to_string();
    if error.status == StatusCode::INTERNAL_SERVER_ERROR {
        return ErrorPage::internal(layout, request_id);
    }
    if error.code == "not_found" {
        return ErrorPage::not_found(layout, request_id);
    }
    ErrorPage {
        layout,
        status: error.status.as_u16(),
        heading: heading.to_owned(),
        sentence: capitalised(&error.message),
        advice: advice.to_owned(),
        link: (link.0.to_owned(), link.1.to_owned()),
        request_id,
    }
}

/// The heading, what to do, and a link that helps.
fn words(error: &ApiError) -> (&'static str, &'static str, (&'static str, &'static str)) {
    let front = ("/", "Go to the front page");
    match (error.status.as_u16(), error.code) {
        (401, _) => ("You are signed out", "Sign in, then try again.", ("/login", "Sign in")),
        (402, _) => ("Not enough credits", "Buy credits, then try again.", ("/credits", "Buy credits")),
        (403, "csrf") => {
            ("Please try that again", "This protects you from other sites acting in your name.", front)
        }
        (403, "verification_required") => (
            "Verify your identity first",
            "It is needed once and takes a few minutes.",
            ("/verify", "Verify now"),
        ),
        (403, _) => {
            ("This is not allowed", "If you think it should be, ask the operator of this network.", front)
        }
        (404, _) => ("Not found", "Check the address for a slip, or start again from the front page.", front),
        (405, _) => ("Not like this", "Start again from the front page.", front),
        (409, _) => {
            ("That has changed meanwhile", "Go back, reload the page and look how it stands now.", front)
        }
        (413, _) => ("That is too much at once", "Go back and send less.", front),
        (429, _) => ("Slowly, please", "Wait a moment, go back and try again. Nothing was changed.", front),
        (503, _) => ("Not possible right now", "Go back and try again in a minute.", front),
        (400..=499, _) => {
            ("That did not work", "Go back, correct it and try again. Nothing was changed.", front)
        }
        _ => ("Something went wrong", "Try again in a moment.", front),
    }
}

/// With a capital letter in front and a full stop behind.
#[must_use]
pub fn capitalised(text: &str) -> String {
    let mut letters = text.trim().chars();
    let first: String = letters.next().map(|first| first.to_uppercase().collect()).unwrap_or_default();
    let rest = letters.as_str();
    let stop = if rest.ends_with(['.', '!', '?', '…']) { "" } else { "." };
    format!("{first}{rest}{stop}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_begin_and_end_like_sentences() {
        assert_eq!(capitalised("name must have 1 to 64 characters"), "Name must have 1 to 64 characters.");
        assert_eq!(capitalised("Really?"), "Really?");
    }
}
