//! `GET /api/v1/account`: who one is and what one has.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use types::id::UserId;
use types::money::MicroCredits;
use types::time::Timestamp;

use super::clients;
use super::extract::ApiUser;
use super::shapes::Data;
use super::words::VerificationStatus;
use crate::api::operation::Operation;
use crate::app::App;
use crate::error::ApiError;
use crate::{credits, identity};

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/account", "getAccount", show)
            .says("Your account and balance", "Who the key belongs to, and what is left to spend.")
            .tag("Account")
            .answers::<Data<AccountBody>>(200, "Your account."),
    ]
}

/// An account.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Account")]
pub struct AccountBody {
    /// Whose: text like `usr_…`; for the command line client (by its `User-Agent`) a number.
    #[schemars(with = "AccountId")]
    id: Value,
    /// Where mail goes.
    email: String,
    /// What you want to be called.
    name: String,
    /// What can be spent now, in credits.
    credits: MicroCredits,
    /// What running jobs may still cost, in credits; not part of `credits`.
    held: MicroCredits,
    /// What your Islands earned and you have not moved or been paid, in credits.
    earnings: MicroCredits,
    /// Whether the account may not spend, by the operator's word.
    frozen: bool,
    /// Whether you may spend.
    verification: VerificationStatus,
    /// Since when you are here.
    created_at: Timestamp,
    /// `created_at`, as the JavaScript SDK spells it.
    #[serde(rename = "createdAt")]
    camel_created_at: Timestamp,
}

/// An account's id as text or as a number.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "read by the OpenAPI document only")]
enum AccountId {
    /// For everybody but the command line client.
    Text(UserId),
    /// For the command line client.
    Number(i64),
}

/// The handler.
///
/// # Errors
/// 401, 403, 429.
pub async fn show(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    headers: HeaderMap,
) -> Result<Json<Data<AccountBody>>, ApiError> {
    let user = &caller.user;
    let balance = credits::balance(&app, user.wallet).await?;
    let earnings = credits::balance(&app, user.earnings).await?;
    let verification = identity::state(&app, user.id).await?;
    let data = AccountBody {
        id: clients::account_id(&headers, user.id),
        email: user.email.clone(),
        name: user.name.clone(),
        credits: balance.available(),
        held: balance.held,
        earnings: earnings.available(),
        frozen: balance.frozen,
        verification: VerificationStatus(verification.name()),
        created_at: user.created_at,
        camel_created_at: user.created_at,
    };
    Ok(Json(Data { data }))
}
