//! `/api/v1/credits/…`: packages and purchases. Statements are in `statement`.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use types::id::PurchaseId;
use types::money::MicroCredits;
use types::time::Timestamp;

use super::extract::{Address, ApiUser, Fields, page};
use super::shapes::Data;
use crate::api::operation::{Operation, Repeatable};
use crate::app::App;
use crate::config;
use crate::error::ApiError;
use crate::idempotency::{Answer, Claim, Once};
use crate::limits::Errand;
use crate::purchases::{self, Purchase};
use crate::secrets;

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/credits/packages", "listPackages", packages)
            .says("What can be bought", "The packages of credits, with their prices.")
            .tag("Credits")
            .answers::<Data<Vec<Package>>>(200, "The packages."),
        Operation::get("/credits/purchases", "listPurchases", purchases)
            .says("Your purchases", "Newest first.")
            .tag("Credits")
            .query::<u32>("limit", "How many at most, 1 to 100; 20 if it is not given.")
            .answers::<Data<Vec<ShownPurchase>>>(200, "Your purchases, newest first."),
        Operation::post("/credits/purchases", "createPurchase", buy)
            .says(
                "Buy credits",
                "Makes a purchase and opens its checkout; a person pays at `checkout_url` within two hours. The credits are in \
                 the wallet as soon as the payment is confirmed. A purchase that nobody pays costs nothing.",
            )
            .tag("Credits")
            .body::<PurchaseWish>(json!({"package": "starter"}))
            .answers::<Data<ShownPurchase>>(201, "The purchase, to be paid at `checkout_url`."),
    ]
}

/// What to buy.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
struct PurchaseWish {
    /// The `slug` of a package.
    package: String,
}

/// A package of credits.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Package {
    /// What it is called in requests.
    slug: String,
    /// What people call it.
    name: String,
    /// How many credits it is.
    credits: i64,
    /// Its price, in US cents.
    price_cents: i64,
    /// Always `usd`.
    currency: &'static str,
}

/// A purchase.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ShownPurchase {
    /// Its id; also that of the transfer that grants it.
    id: PurchaseId,
    /// The `slug` of the package.
    package: String,
    /// What the package was called when it was bought.
    package_name: String,
    /// How many credits it is.
    credits: i64,
    /// Its price, in US cents.
    amount_cents: i64,
    /// Always `usd`.
    currency: String,
    /// `created` until it is paid, `pending` while the money is on its way, `granted`, `failed` or `expired`.
    #[schemars(with = "super::words::PurchaseState")]
    state: &'static str,
    /// Where a person pays it.
    checkout_url: Option<String>,
    /// When it was made.
    created_at: Timestamp,
    /// When the credits came.
    granted_at: Option<Timestamp>,
    /// The state, or what became of the money since: `partly_refunded`, `refunded`, `disputed`, `lost`.
    #[schemars(with = "super::words::PurchaseStanding")]
    standing: &'static str,
    /// How much of the money was given back, in US cents.
    refunded_cents: i64,
    /// How many of the credits were taken back for that.
    taken_back: MicroCredits,
    /// How many of the credits a dispute keeps from being spent.
    frozen: MicroCredits,
}

impl Package {
    fn of(package: &config::Package) -> Self {
        Self {
            slug: package.slug.clone(),
            name: package.name.clone(),
            credits: package.credits.get(),
            price_cents: package.price.get(),
            currency: purchases::CURRENCY,
        }
    }
}

impl ShownPurchase {
    fn of(purchase: &Purchase) -> Self {
        Self {
            id: purchase.id,
            package: purchase.package_slug.clone(),
            package_name: purchase.package_name.clone(),
            credits: purchase.credits.get(),
            amount_cents: purchase.amount.get(),
            currency: purchase.currency.clone(),
            state: purchase.state.name(),
            checkout_url: purchase.checkout_url.clone(),
            created_at: purchase.created_at,
            granted_at: purchase.granted_at,
            standing: purchase.standing_name(),
            refunded_cents: purchase.lot.standing.refunded.get(),
            taken_back: purchase.lot.taken,
            frozen: purchase.lot.frozen,
        }
    }
}

/// `GET /api/v1/credits/packages`.
pub async fn packages(State(app): State<Arc<App>>, _: ApiUser) -> Json<Data<Vec<Package>>> {
    Json(Data { data: app.packages.iter().map(Package::of).collect() })
}

/// `GET /api/v1/credits/purchases`.
///
/// # Errors
/// 401, 403, 422, 429.
pub async fn purchases(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<Data<Vec<ShownPurchase>>>, ApiError> {
    let (limit, _) = page(&query)?;
    let rows = purchases::history(&app, caller.user.id, limit).await?;
    Ok(Json(Data { data: rows.iter().map(ShownPurchase::of).collect() }))
}

/// `POST /api/v1/credits/purchases`: makes a purchase; a person pays it at `checkout_url`.
///
/// # Errors
/// 401, 403, 422, 429, 503.
pub async fn buy(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    address: Address,
    fields: Fields,
) -> Result<Response, ApiError> {
    fields.only(&["package"])?;
    let package = fields.need_text("package")?;
    address.take(&app, Errand::Checkout)?;
    // The same attempt is the same purchase with the same checkout, so that the answer can be written after it. Without a key
    // of the caller's every request is a purchase of its own; unpaid ones cost nothing.
    let attempt = claim.as_ref().map_or_else(|| secrets::new(&*app.random, "once_"), Claim::attempt);
    let once = Once::new(claim, |purchase| Answer::created(&Data { data: ShownPurchase::of(purchase) }));
    let purchase = purchases::buy(&app, &caller.user, &package, &attempt).await?;
    Ok(once.respond(&once.keep(&app, purchase).await?))
}
