//! `/api/v1/verification`: who one is, which has to be known before credits are spent.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use types::time::Timestamp;

use super::extract::ApiUser;
use super::shapes::Data;
use crate::api::operation::{Operation, Repeatable};
use crate::app::App;
use crate::error::ApiError;
use crate::idempotency::{Answer, Once};
use crate::identity::{self, Verification};

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/verification/status", "getVerification", status)
            .says(
                "Whether your identity is verified",
                "Credits can be bought before, but only who is `verified` can spend them. While it is `pending` this asks the \
                 provider, so that there is nothing to wait for here.",
            )
            .tag("Verification")
            .polling()
            .answers::<Data<Status>>(200, "How far it is."),
        Operation::post("/verification/sessions", "startVerification", start)
            .says(
                "Verify your identity",
                "Begins a verification at the identity provider, or goes on with the one that is open; a person does the rest on \
                 the page at `url`.",
            )
            .tag("Verification")
            .answers::<Data<Begun>>(201, "Where a person goes on.")
            .errors(&["already_verified"]),
    ]
}

/// How far a verification is.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Status {
    /// `unverified`, `pending`, `verified` or `rejected`; who was rejected may try again.
    #[schemars(with = "super::words::VerificationStatus")]
    status: &'static str,
    /// Whether credits can be spent, as far as this goes.
    can_spend: bool,
    /// Since when it is verified.
    verified_at: Option<Timestamp>,
    /// The country of the document, two letters, if it is verified and was recorded.
    country: Option<String>,
    /// Why it was rejected.
    reason: Option<String>,
}

/// A verification that is open.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Begun {
    /// The page of the identity provider. It is for the owner of this account alone.
    url: String,
    /// Always `pending`.
    #[schemars(with = "super::words::VerificationStatus")]
    status: &'static str,
}

impl Status {
    fn of(verification: &Verification) -> Self {
        let (verified_at, country, reason) = match verification {
            Verification::Verified { country, at } => {
                (Some(*at), Some(country.clone()).filter(|country| !country.is_empty()), None)
            }
            Verification::Rejected { reason } => (None, None, Some(reason.clone())),
            Verification::Unverified | Verification::Pending { .. } => (None, None, None),
        };
        let (status, can_spend) = (verification.name(), verification.may_spend());
        Self { status, can_spend, verified_at, country, reason }
    }
}

/// `GET /api/v1/verification/status`.
///
/// # Errors
/// 401, 403, 429.
pub async fn status(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
) -> Result<Json<Data<Status>>, ApiError> {
    let state = match identity::refresh(&app, caller.user.id).await {
        Ok(state) => state,
        Err(error) => {
            // What is known is told; the webhook brings the news.
            tracing::warn!(%error, "a verification could not be read from the provider");
            identity::state(&app, caller.user.id).await?
        }
    };
    Ok(Json(Data { data: Status::of(&state) }))
}

/// `POST /api/v1/verification/sessions`: a person goes on at `url`.
///
/// # Errors
/// 401, 403, 409 when it is verified already, 429, 503.
pub async fn start(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
) -> Result<Response, ApiError> {
    let once = Once::new(claim, |url: &String| {
        Answer::created(&Data { data: Begun { url: url.clone(), status: "pending" } })
    });
    // Asked again, the open one is gone on with.
    let url = identity::start(&app, &caller.user).await?;
    Ok(once.respond(&once.keep(&app, url).await?))
}
