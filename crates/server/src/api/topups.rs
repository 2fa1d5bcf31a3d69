//! `/api/v1/credits/…`: auto top-up, balance alerts, promo codes.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use types::money::{Cents, MicroCredits, parse_json_amount};
use types::time::Timestamp;

use super::extract::{ApiUser, Fields};
use super::shapes::Data;
use crate::accounts::api_keys::KeyError;
use crate::api::operation::{Operation, Repeatable};
use crate::app::App;
use crate::error::ApiError;
use crate::idempotency::{Answer, Claim, Once};
use crate::promo::{self, PromoError};
use crate::secrets;
use crate::topups::alerts::{self, AlertError};
use crate::topups::{self, Shown, TopUpError};

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    let mut operations = about_topups();
    operations.extend([
        Operation::get("/credits/alerts", "getAlerts", alerts)
            .says("Alerts about your balance", "")
            .tag("Credits")
            .answers::<Data<Vec<Alert>>>(200, "The amounts, lowest first."),
        Operation::put("/credits/alerts", "setAlerts", set_alerts)
            .says(
                "Set alerts about your balance",
                "A letter is sent each time the available balance falls below one of up to three amounts; 0 tells when nothing is left.",
            )
            .tag("Credits")
            .body::<AlertsWish>(json!({"thresholds": [100, 10]}))
            .answers::<Data<Vec<Alert>>>(200, "The amounts, lowest first."),
        Operation::post("/credits/redeem", "redeemCode", redeem)
            .says("Redeem a promo code", "Its credits are in the wallet at once.")
            .tag("Credits")
            .body::<CodeWish>(json!({"code": "WELCOME"}))
            .answers::<Data<Redeemed>>(201, "What the code was worth.")
            .errors(&["code_redeemed", "code_used_up", "code_expired", "too_many_codes"]),
    ]);
    operations
}

fn about_topups() -> Vec<Operation> {
    vec![
        Operation::get("/credits/auto-topup", "getAutoTopup", show)
            .says("Auto top-up", "Whether a package is bought with your saved card when few credits are left.")
            .tag("Credits")
            .answers::<Data<AutoTopup>>(200, "What is set, and how it goes."),
        Operation::put("/credits/auto-topup", "setAutoTopup", put)
            .says(
                "Set auto top-up",
                "Switches it on, or changes it. Needs a saved card: buy credits once and let the card be saved. What had paused \
                 it is forgotten.",
            )
            .tag("Credits")
            .body::<TopupWish>(json!({"threshold": 100, "package": "starter", "monthly_max_cents": 2000}))
            .answers::<Data<AutoTopup>>(200, "What is set now.")
            .errors(&["no_saved_card", "limited_key"]),
        Operation::delete("/credits/auto-topup", "deleteAutoTopup", delete)
            .says("Turn auto top-up off", "A charge that is on its way is still granted.")
            .tag("Credits")
            .answers::<Data<AutoTopup>>(200, "It is off."),
    ]
}

/// What auto top-up shall do.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
struct TopupWish {
    /// Below how many available credits it buys; above 0.
    threshold: MicroCredits,
    /// What it buys: the `slug` of a package, which must have at least as many credits as the threshold.
    package: String,
    /// The most it may charge in a calendar month (UTC), in US cents, 1 to 100,000,000; at least the price of the package.
    #[schemars(range(min = 1, max = 100_000_000))]
    monthly_max_cents: i64,
}

/// Of what balances you want to be told.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
struct AlertsWish {
    /// Up to three amounts in credits, 0 or more; an empty list ends the alerts.
    #[schemars(length(max = 3))]
    thresholds: Vec<MicroCredits>,
}

/// A code to redeem.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
struct CodeWish {
    /// The promo code; small letters are as good as large ones.
    code: String,
}

/// Auto top-up. Where it is off, only `enabled` and `charged_this_month_cents` are there.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct AutoTopup {
    /// Whether it is switched on.
    enabled: bool,
    /// What it has charged in this calendar month (UTC), in US cents.
    charged_this_month_cents: i64,
    /// How it goes.
    #[serde(flatten)]
    rule: Option<TopupRule>,
}

/// A rule that is switched on.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct TopupRule {
    /// `active`, or `paused` until you set it again or pay in another way.
    #[schemars(with = "super::words::TopupState")]
    state: &'static str,
    /// Below how many available credits it buys.
    threshold: MicroCredits,
    /// The `slug` of the package it buys.
    package: String,
    /// The most it may charge in a calendar month (UTC), in US cents.
    monthly_max_cents: i64,
    /// How often the card was declined since it last worked.
    declines: i64,
    /// Why it did not buy, in a few words.
    last_error: Option<String>,
    /// Where you confirm a payment that your bank wants confirmed.
    confirm_url: Option<String>,
    /// When a declined card is tried again.
    next_try_at: Option<Timestamp>,
}

/// An amount of which you are told when the balance falls below it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Alert {
    /// The amount, in credits.
    threshold: MicroCredits,
    /// Whether the balance is below it, and you were told.
    below: bool,
}

/// What a code was worth.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Redeemed {
    /// The code, in capital letters.
    code: String,
    /// The credits it has brought.
    credits: MicroCredits,
}

impl AutoTopup {
    fn of((rule, charged): Shown, now: Timestamp) -> Self {
        let rule = rule.filter(|rule| rule.enabled).map(|rule| TopupRule {
            state: rule.state.name(),
            threshold: rule.threshold,
            package: rule.package_slug,
            monthly_max_cents: rule.monthly_max.get(),
            declines: rule.declines,
            last_error: rule.last_error,
            confirm_url: rule.confirm_url,
            next_try_at: (rule.next_try_at > now).then_some(rule.next_try_at),
        });
        Self { enabled: rule.is_some(), charged_this_month_cents: charged.get(), rule }
    }

    /// How a change of it is answered.
    fn answered(app: &App, claim: Option<Claim>) -> Once<Shown> {
        let now = app.clock.now();
        Once::new(claim, move |shown: &Shown| Answer::ok(&Data { data: Self::of(shown.clone(), now) }))
    }
}

impl Alert {
    fn all(set: &[(MicroCredits, bool)]) -> Data<Vec<Self>> {
        Data { data: set.iter().map(|&(threshold, below)| Self { threshold, below }).collect() }
    }
}

/// `GET /api/v1/credits/auto-topup`.
///
/// # Errors
/// 401, 403, 429.
pub async fn show(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
) -> Result<Json<Data<AutoTopup>>, ApiError> {
    let found = topups::find(&app, caller.user.id).await?;
    Ok(Json(Data { data: AutoTopup::of(found, app.clock.now()) }))
}

/// `PUT /api/v1/credits/auto-topup`: switches it on with `threshold`, `package` and `monthly_max_cents`.
///
/// # Errors
/// 401, 403, 409, 422, 429, 503.
pub async fn put(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    fields: Fields,
) -> Result<Response, ApiError> {
    fields.only(&["threshold", "package", "monthly_max_cents"])?;
    let threshold = amount("threshold", fields.need("threshold")?)?;
    let package = fields.need_text("package")?;
    let most = fields.whole("monthly_max_cents", 1, 100_000_000)?;
    let most = Cents::new(most.ok_or_else(|| ApiError::invalid("monthly_max_cents", "is missing"))?);
    let once = AutoTopup::answered(&app, claim);
    let by = (&*caller.user, Some(caller.key.id));
    let set = topups::set(&app, by, threshold, &package, most, &once).await?;
    Ok(once.respond(&set))
}

/// `DELETE /api/v1/credits/auto-topup`: switches it off.
///
/// # Errors
/// 401, 403, 429.
pub async fn delete(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
) -> Result<Response, ApiError> {
    let once = AutoTopup::answered(&app, claim);
    Ok(once.respond(&topups::remove(&app, caller.user.id, &once).await?))
}

/// `GET /api/v1/credits/alerts`.
///
/// # Errors
/// 401, 403, 429.
pub async fn alerts(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
) -> Result<Json<Data<Vec<Alert>>>, ApiError> {
    Ok(Json(Alert::all(&alerts::of(&app, caller.user.id).await?)))
}

/// `PUT /api/v1/credits/alerts`: sets up to three `thresholds`.
///
/// # Errors
/// 401, 403, 422, 429.
pub async fn set_alerts(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    fields: Fields,
) -> Result<Response, ApiError> {
    fields.only(&["thresholds"])?;
    let listed: Vec<Box<RawValue>> = serde_json::from_str(fields.need("thresholds")?.get())
        .map_err(|_| ApiError::invalid("thresholds", "must be a list of amounts"))?;
    let thresholds: Result<Vec<MicroCredits>, ApiError> =
        listed.iter().map(|one| amount("thresholds", one)).collect();
    let once = Once::new(claim, |set: &Vec<(MicroCredits, bool)>| Answer::ok(&Alert::all(set)));
    let set = alerts::set(&app, caller.user.id, thresholds?, &once).await?;
    Ok(once.respond(&set))
}

/// `POST /api/v1/credits/redeem`: redeems a `code`.
///
/// # Errors
/// 401, 403, 409, 410, 422, 429.
pub async fn redeem(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    fields: Fields,
) -> Result<Response, ApiError> {
    fields.only(&["code"])?;
    let code = fields.need_text("code")?;
    // The same attempt redeems once, so that the answer can be written after it.
    let attempt = claim.as_ref().map_or_else(|| secrets::new(&*app.random, "once_"), Claim::attempt);
    let shown = promo::normalise(&code).unwrap_or_default();
    let once = Once::new(claim, move |credits: &MicroCredits| {
        Answer::created(&Data { data: Redeemed { code: shown.clone(), credits: *credits } })
    });
    let credits = promo::redeem(&app, &caller.user, &code, &attempt).await?;
    Ok(once.respond(&once.keep(&app, credits).await?))
}

fn amount(name: &str, value: &RawValue) -> Result<MicroCredits, ApiError> {
    parse_json_amount(value.get()).map_err(|error| ApiError::invalid(name, error.to_string()))
}

impl From<TopUpError> for ApiError {
    fn from(error: TopUpError) -> Self {
        match error {
            TopUpError::Unfit(unfit) => Self::invalid(
                if unfit.field() == "monthly_max" { "monthly_max_cents" } else { unfit.field() },
                unfit.to_string(),
            ),
            TopUpError::NoCard => Self::new(
                StatusCode::CONFLICT,
                "no_saved_card",
                "No card is saved. Buy credits once and let your card be saved, then switch auto top-up on.",
            )
            .with("buy_url", "/credits"),
            TopUpError::Key(KeyError::Limited) => Self::forbidden(
                "limited_key",
                "An API key with a spending limit cannot switch auto top-up on.",
            ),
            TopUpError::Key(error) => error.into(),
            TopUpError::Provider(error) => error.into(),
            TopUpError::Db(error) => error.into(),
        }
    }
}

impl From<AlertError> for ApiError {
    fn from(error: AlertError) -> Self {
        match error {
            AlertError::Db(error) => error.into(),
            error => Self::invalid("thresholds", error.to_string()),
        }
    }
}

impl From<PromoError> for ApiError {
    fn from(error: PromoError) -> Self {
        let text = error.to_string();
        match error {
            PromoError::Unknown => Self::invalid("code", text),
            PromoError::Used => {
                Self::new(StatusCode::CONFLICT, "code_redeemed", "You have redeemed this code already.")
            }
            PromoError::UsedUp => Self::new(StatusCode::GONE, "code_used_up", "This code has been used up."),
            PromoError::Expired => Self::new(StatusCode::GONE, "code_expired", "This code has expired."),
            PromoError::TooMany => {
                let text = "Too many wrong codes. Please wait an hour and try again.";
                let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_codes", text);
                Self { retry_after_secs: Some(3600), ..error }
            }
            PromoError::KeyTaken => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "This key was used for another code.",
            ),
            PromoError::Unfit(text) => Self::invalid("attempt", text),
            PromoError::Db(error) => error.into(),
        }
    }
}
