//! What a user sets about themselves: a name, letters, where they are signed in; and what was earned, moved to the wallet.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use types::money::MicroCredits;

use super::extract::{ApiUser, Fields};
use super::shapes::Data;
use crate::accounts::{self, sessions};
use crate::api::operation::{Access, Operation, Repeat, Repeatable};
use crate::app::App;
use crate::credits;
use crate::error::ApiError;
use crate::idempotency::{Answer, Once};
use crate::islands::alerts;
use crate::providers::ProviderError;
use crate::purchases;

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::patch("/account", "changeAccount", rename)
            .says("Change your name", "")
            .tag("Account")
            .access(Access::Manage)
            .body::<AccountWish>(json!({"name": "Ana"}))
            .answers::<Data<Profile>>(200, "Your name."),
        Operation::delete("/account/sessions", "endSessions", end_sessions)
            .says("Sign out everywhere", "Ends every session of yours in a browser. API keys stay as they are.")
            .tag("Account")
            .access(Access::Manage)
            .answers::<Data<Ended>>(200, "How many there were."),
        Operation::get("/account/letters", "getLetters", letters)
            .says("Which letters you get", "")
            .tag("Account")
            .answers::<Data<Letters>>(200, "Which letters you get."),
        Operation::put("/account/letters", "setLetters", set_letters)
            .says("Choose which letters you get", "")
            .tag("Account")
            .body::<LettersWish>(json!({"islands": false}))
            .answers::<Data<Letters>>(200, "Which letters you get now."),
        Operation::post("/earnings/move", "moveEarnings", move_earnings)
            .says("Move your earnings to your wallet", "All of them, at once, to be spent.")
            .tag("Payouts")
            .answers::<Data<Moved>>(200, "How much was moved.")
            .errors(&["nothing_to_move"]),
        Operation::post("/credits/portal", "openCardPortal", portal)
            .says(
                "Manage your saved cards",
                "Opens the page of the payment provider where a person looks at their saved cards and removes them.",
            )
            .tag("Credits")
            .repeat(Repeat::Sealed)
            .answers::<Data<Portal>>(201, "Where a person goes on.")
            .errors(&["no_saved_card"]),
    ]
}

/// What may be changed of an account.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
struct AccountWish {
    /// What you are called, up to 80 characters; empty for no name.
    name: String,
}

/// Which letters shall be sent.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
struct LettersWish {
    /// Whether to write when an Island of yours goes offline, and when it is back.
    islands: bool,
}

/// Who one is.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Profile {
    /// What you are called.
    name: String,
}

/// Sessions that were ended.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Ended {
    /// How many.
    ended: usize,
}

/// Which letters are sent.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Letters {
    /// Whether you are told when an Island of yours goes offline, and when it is back.
    islands: bool,
}

/// Earnings that were moved.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Moved {
    /// How many credits.
    moved: MicroCredits,
}

/// A page of the payment provider.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Portal {
    /// Its address. It is for the owner of this account alone, and good for a few minutes.
    url: String,
}

/// `PATCH /api/v1/account`: sets the `name`.
///
/// # Errors
/// 401, 403, 422, 429, 503.
pub async fn rename(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    fields: Fields,
) -> Result<Response, ApiError> {
    fields.only(&["name"])?;
    let name = fields.need_text("name")?.trim().to_owned();
    let shown = Data { data: Profile { name: name.clone() } };
    let once = Once::new(claim, move |()| Answer::ok(&shown));
    if !accounts::rename(&app, &caller.user, &name, &once).await? {
        return Err(ApiError::invalid("name", "must have at most 80 characters and no control characters"));
    }
    Ok(once.respond(&()))
}

/// `DELETE /api/v1/account/sessions`.
///
/// # Errors
/// 401, 403, 429, 503.
pub async fn end_sessions(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
) -> Result<Response, ApiError> {
    let once = Once::new(claim, |&ended: &usize| Answer::ok(&Data { data: Ended { ended } }));
    Ok(once.respond(&sessions::end_all(&app, caller.user.id, &once).await?))
}

/// `GET /api/v1/account/letters`.
///
/// # Errors
/// 401, 403, 429.
pub async fn letters(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
) -> Result<Json<Data<Letters>>, ApiError> {
    Ok(Json(Data { data: Letters { islands: alerts::wanted(&app, caller.user.id).await? } }))
}

/// `PUT /api/v1/account/letters`: sets `islands`.
///
/// # Errors
/// 401, 403, 422, 429, 503.
pub async fn set_letters(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    fields: Fields,
) -> Result<Response, ApiError> {
    fields.only(&["islands"])?;
    fields.need("islands")?;
    let islands = fields.truth("islands")?;
    let once = Once::new(claim, move |()| Answer::ok(&Data { data: Letters { islands } }));
    alerts::want(&app, caller.user.id, islands, &once).await?;
    Ok(once.respond(&()))
}

/// `POST /api/v1/earnings/move`: all of them.
///
/// # Errors
/// 401, 403, 409 when there are none, 429, 503.
pub async fn move_earnings(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
) -> Result<Response, ApiError> {
    let once = Once::new(claim, |&moved: &MicroCredits| Answer::ok(&Data { data: Moved { moved } }));
    Ok(once.respond(&credits::move_earnings(&app, &caller.user, &once).await?))
}

/// `POST /api/v1/credits/portal`: a person goes on at `url`.
///
/// # Errors
/// 401, 403, 409 when no card is saved, 429, 503.
pub async fn portal(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
) -> Result<Response, ApiError> {
    let no_card = || {
        let text = "No card is saved. Buy credits once and let your card be saved.";
        ApiError::new(axum::http::StatusCode::CONFLICT, "no_saved_card", text).with("buy_url", "/credits")
    };
    let once = Once::new(claim, |url: &String| Answer::created(&Data { data: Portal { url: url.clone() } }));
    let url = match purchases::portal(&app, &caller.user).await {
        Ok(Some(url)) => url,
        Ok(None) | Err(purchases::PurchaseError::Provider(ProviderError::NotFound(_))) => {
            return Err(no_card());
        }
        Err(error) => return Err(error.into()),
    };
    Ok(once.respond(&once.keep(&app, url).await?))
}
