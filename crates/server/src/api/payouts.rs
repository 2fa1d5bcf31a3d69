//! `/api/v1/payouts`: what was earned leaves as money.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use types::id::PayoutId;
use types::money::MicroCredits;
use types::time::Timestamp;

use super::extract::{ApiUser, Fields, id, page};
use super::shapes::Data;
use crate::accounts::api_keys::{self, Caller, KeyError};
use crate::api::operation::{Operation, Repeat, Repeatable};
use crate::app::App;
use crate::config::Schedule;
use crate::error::ApiError;
use crate::idempotency::{Answer, Claim, Once};
use crate::payouts::{self, Payout, PayoutAccount, Wish, accounts};

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    let mut operations = of_accounts();
    operations.extend([
        Operation::get("/payouts", "listPayouts", list)
            .says("Your payouts", "What can be paid out, and what was, newest first.")
            .tag("Payouts")
            .query::<u32>("limit", "How many at most, 1 to 100; 20 if it is not given.")
            .answers::<Payouts>(200, "Your payouts and earnings."),
        Operation::post("/payouts", "createPayout", create)
            .says(
                "Pay out earnings",
                "Takes credits out of your earnings and sends them as money to your payout account. The answer may be `wanted` \
                 or `sending`: then it goes on by itself.",
            )
            .tag("Payouts")
            .body::<PayoutWish>(json!({"credits": 1000}))
            .answers::<Data<ShownPayout>>(201, "The payout.")
            .errors(&[
                "payouts_off", "verification_required", "account_frozen", "in_debt", "payouts_not_set_up", "payout_open",
                "below_minimum", "not_enough_earnings", "limited_key",
            ]),
        Operation::get("/payouts/{id}", "getPayout", show)
            .says("A payout", "")
            .tag("Payouts")
            .in_path::<PayoutId>("id", "The payout.")
            .answers::<Data<ShownPayout>>(200, "The payout."),
        Operation::delete("/payouts/{id}", "cancelPayout", cancel)
            .says("Cancel a payout", "As long as it has surely not been sent. The credits are in your earnings again.")
            .tag("Payouts")
            .in_path::<PayoutId>("id", "The payout.")
            .answers::<Data<ShownPayout>>(200, "The payout, cancelled.")
            .errors(&["too_late"]),
    ]);
    operations
}

fn of_accounts() -> Vec<Operation> {
    vec![
        Operation::get("/payouts/account", "getPayoutAccount", account)
            .says("Where payouts go", "")
            .tag("Payouts")
            .answers::<Data<Account>>(200, "Your account at the payout provider."),
        Operation::post("/payouts/account", "setUpPayoutAccount", set_up)
            .says(
                "Set up where payouts go",
                "Makes an account at the payout provider if you have none; a person goes on at `onboarding_url`, which is good \
                 for a few minutes. Ask again, with another key, for a fresh one.",
            )
            .tag("Payouts")
            // The answer leads to where somebody types in a bank account.
            .repeat(Repeat::Sealed)
            .answers::<Data<Account>>(201, "The account, with `onboarding_url`.")
            .errors(&["payouts_off", "limited_key"]),
        Operation::patch("/payouts/account", "changePayoutAccount", change)
            .says("Change the schedule of payouts", "")
            .tag("Payouts")
            .body::<AccountWish>(json!({"schedule": "monthly"}))
            .answers::<Data<Account>>(200, "The account, with its schedule.")
            .errors(&["payouts_not_set_up", "limited_key"]),
    ]
}

/// What to pay out.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
struct PayoutWish {
    /// How many credits, whole ones; a number or a text. All that can be paid out if it is not given.
    credits: Option<MicroCredits>,
}

/// How payouts shall be made.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
struct AccountWish {
    /// `manual`, `daily`, `weekly` or `monthly`.
    schedule: String,
}

/// Payouts, and what can be paid out.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Payouts {
    /// What was paid out, newest first.
    data: Vec<ShownPayout>,
    /// What was earned.
    earnings: ShownEarnings,
    /// The least that is paid out at once, in credits.
    minimum: MicroCredits,
}

/// What your Islands have earned, by what can be done with it.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct ShownEarnings {
    /// Credits that can be paid out.
    available: MicroCredits,
    /// Credits that are too young for that.
    pending: MicroCredits,
    /// Credits that were paid out and did not come back.
    paid: MicroCredits,
}

/// A payout.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ShownPayout {
    /// Its id; also that of the transfer that takes the credits.
    id: PayoutId,
    /// How many credits.
    credits: MicroCredits,
    /// The same in money, in US cents.
    amount_cents: i64,
    /// Always `usd`.
    currency: &'static str,
    /// `wanted`, `sending`, `sent`, `paid`, `failed` or `cancelled`.
    #[schemars(with = "super::words::PayoutState")]
    state: &'static str,
    /// Who pays.
    provider: String,
    /// The provider's name for the transfer.
    reference: Option<String>,
    /// What went wrong last.
    error: Option<String>,
    /// When it was asked for.
    created_at: Timestamp,
    /// When the provider moved the money.
    sent_at: Option<Timestamp>,
    /// When it ended.
    ended_at: Option<Timestamp>,
    /// Whether the credits are in your earnings again.
    returned: bool,
}

/// Where payouts go.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Account {
    /// Who pays.
    provider: &'static str,
    /// Whether this network pays out at all.
    offered: bool,
    /// Whether you have an account there.
    set_up: bool,
    /// Whether money can be sent to it.
    ready: bool,
    /// What is missing until then, in words.
    missing: String,
    /// When earnings are paid out: `manual`, `daily`, `weekly` or `monthly`.
    #[schemars(with = "super::words::PayoutSchedule")]
    schedule: &'static str,
    /// Where a person gives what is missing; only in the answer to the request for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    onboarding_url: Option<String>,
}

impl ShownPayout {
    fn of(payout: &Payout) -> Data<Self> {
        Data { data: Self::from(payout) }
    }
}

impl From<&Payout> for ShownPayout {
    fn from(payout: &Payout) -> Self {
        Self {
            id: payout.id,
            credits: payout.amount,
            amount_cents: payout.cents.get(),
            currency: "usd",
            state: payout.state.name(),
            provider: payout.provider.clone(),
            reference: payout.transfer.clone(),
            error: payout.error.clone(),
            created_at: payout.created_at,
            sent_at: payout.sent_at,
            ended_at: payout.ended_at,
            returned: payout.back != 0,
        }
    }
}

impl Account {
    fn of(app: &App, account: Option<&PayoutAccount>, onboarding_url: Option<String>) -> Data<Self> {
        let schedule = account.and_then(|account| account.schedule).unwrap_or(app.config.payouts.schedule);
        let data = Self {
            provider: app.payouts.name(),
            offered: app.config.payouts_offered(),
            set_up: account.is_some(),
            ready: account.is_some_and(|account| account.ready),
            missing: account.map_or_else(String::new, |account| account.missing.clone()),
            schedule: schedule.name(),
            onboarding_url,
        };
        Data { data }
    }
}

/// `GET /api/v1/payouts?limit=`: what can be paid out, and what was, newest first.
///
/// # Errors
/// 401, 403, 422, 429.
pub async fn list(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<Payouts>, ApiError> {
    let (limit, _) = page(&query)?;
    let (earned, _, rows) = payouts::overview(&app, &caller.user, limit).await?;
    Ok(Json(Payouts {
        data: rows.iter().map(ShownPayout::from).collect(),
        earnings: ShownEarnings { available: earned.available, pending: earned.pending, paid: earned.paid },
        minimum: app.config.payouts.minimum(),
    }))
}

/// `POST /api/v1/payouts`: pays out `credits`, or all that can be.
///
/// # Errors
/// 401, 402, 403, 409, 422, 429, 503.
pub async fn create(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    fields: Fields,
) -> Result<Response, ApiError> {
    // An amount under another name must not become all there is.
    fields.only(&["credits"])?;
    check(&app, &caller).await?;
    let amount = match fields.get("credits") {
        None => None,
        Some(raw) => {
            let text = raw.get().trim_matches('"');
            Some(text.parse().map_err(|error| ApiError::invalid("credits", format!("{error}")))?)
        }
    };
    // The same attempt is the same payout, so that the answer can be written when the provider was asked.
    let wish = Wish { amount, attempt: claim.as_ref().map(Claim::attempt), period: None };
    let once = Once::new(claim, |payout| Answer::created(&ShownPayout::of(payout)));
    let payout = payouts::request(&app, &caller.user, wish).await?;
    Ok(once.respond(&once.keep(&app, payout).await?))
}

/// `GET /api/v1/payouts/{id}`.
///
/// # Errors
/// 401, 403, 404, 429.
pub async fn show(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Path(name): Path<String>,
) -> Result<Json<Data<ShownPayout>>, ApiError> {
    let payout = payouts::find(&app, caller.user.id, id(&name, "payout")?).await?;
    Ok(Json(ShownPayout::of(&payout)))
}

/// `DELETE /api/v1/payouts/{id}`: calls it off while it has surely not been sent.
///
/// # Errors
/// 401, 403, 404, 409, 429.
pub async fn cancel(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    let once = Once::new(claim, |payout| Answer::ok(&ShownPayout::of(payout)));
    let payout = payouts::cancel(&app, Some(caller.user.id), id(&name, "payout")?, &once).await?;
    Ok(once.respond(&payout))
}

/// `GET /api/v1/payouts/account`: where one is paid to.
///
/// # Errors
/// 401, 403, 429.
pub async fn account(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
) -> Result<Json<Data<Account>>, ApiError> {
    let (_, account, _) = payouts::overview(&app, &caller.user, 1).await?;
    Ok(Json(Account::of(&app, account.as_ref(), None)))
}

/// `POST /api/v1/payouts/account`: a person goes on at `onboarding_url`.
///
/// # Errors
/// 401, 403, 409, 429, 503.
pub async fn set_up(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
) -> Result<Response, ApiError> {
    check(&app, &caller).await?;
    let for_answer = Arc::clone(&app);
    let once = Once::new(claim, move |(account, url): &(Option<PayoutAccount>, String)| {
        Answer::created(&Account::of(&for_answer, account.as_ref(), Some(url.clone())))
    });
    // Asked again, the provider knows the account.
    let url = accounts::onboard(&app, &caller.user).await?;
    let (_, account, _) = payouts::overview(&app, &caller.user, 1).await?;
    Ok(once.respond(&once.keep(&app, (account, url)).await?))
}

/// `PATCH /api/v1/payouts/account`: sets the `schedule`.
///
/// # Errors
/// 401, 403, 409, 422, 429.
pub async fn change(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    fields: Fields,
) -> Result<Response, ApiError> {
    fields.only(&["schedule"])?;
    let schedule = Schedule::from_name(&fields.need_text("schedule")?)
        .ok_or_else(|| ApiError::invalid("schedule", "must be manual, daily, weekly or monthly"))?;
    check(&app, &caller).await?;
    let for_answer = Arc::clone(&app);
    let once = Once::new(claim, move |account| Answer::ok(&Account::of(&for_answer, Some(account), None)));
    let account = accounts::set_schedule(&app, caller.user.id, schedule, &once).await?;
    Ok(once.respond(&account))
}

/// Where the money goes is not for a key that was given away with a limit.
async fn check(app: &App, caller: &Caller) -> Result<(), ApiError> {
    match api_keys::check_may_manage(app, caller.key.id).await {
        Err(KeyError::Limited) => {
            Err(ApiError::forbidden("limited_key", "A key with a spending limit cannot pay earnings out."))
        }
        checked => Ok(checked?),
    }
}

/// A payout, for programs.
#[must_use]
pub fn payout_json(payout: &Payout) -> Value {
    serde_json::to_value(ShownPayout::from(payout)).unwrap_or_default()
}
