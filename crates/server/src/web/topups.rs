//! The forms of `/credits` beside buying: auto top-up, alerts, promo codes, saved cards.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Redirect;
use db::DbError;
use pages::credits::{AutoTopUp, Choice};
use types::money::{Cents, MicroCredits};

use super::error::capitalised;
use super::forms::Posted;
use super::to_the_end;
use crate::accounts::User;
use crate::app::App;
use crate::error::ApiError;
use crate::idempotency::Once;
use crate::promo::{self, PromoError};
use crate::providers::ProviderError;
use crate::purchases::{self, PurchaseError};
use crate::topups::alerts::{self, AlertError};
use crate::topups::rules::{State as RuleState, Unfit};
use crate::topups::{self, TopUpError};

/// What the form of auto top-up shows.
///
/// # Errors
/// A [`DbError`].
pub async fn form(app: &App, user: &User) -> Result<AutoTopUp, DbError> {
    let (rule, charged) = topups::find(app, user.id).await?;
    let enabled = rule.as_ref().is_some_and(|rule| rule.enabled);
    let chosen = rule.as_ref().map_or("", |rule| &rule.package_slug);
    let packages = app.packages.iter().map(|package| Choice {
        value: package.slug.clone(),
        label: format!("{}: {} credits for {}", package.name, package.credits, package.price),
        selected: package.slug == chosen,
    });
    let rule = rule.as_ref();
    let shown = rule.filter(|rule| rule.enabled);
    Ok(AutoTopUp {
        enabled,
        paused: shown.is_some_and(|rule| rule.state == RuleState::Paused),
        problem: shown.and_then(|rule| rule.last_error.as_deref()).map(capitalised),
        confirm_url: shown.and_then(|rule| rule.confirm_url.clone()),
        threshold: rule.map_or_else(String::new, |rule| rule.threshold.to_string()),
        monthly_max: rule.map_or_else(String::new, |rule| dollars(rule.monthly_max)),
        packages: packages.collect(),
        charged: charged.to_string(),
    })
}

fn dollars(cents: Cents) -> String {
    cents.to_string().trim_start_matches('$').replace(',', "")
}

/// The thresholds of a user, as the form shows them.
///
/// # Errors
/// A [`DbError`].
pub async fn thresholds(app: &App, user: &User) -> Result<(Vec<String>, bool), DbError> {
    let set = alerts::of(app, user.id).await?;
    let below = set.iter().any(|(_, below)| *below);
    let mut shown: Vec<String> = set.iter().map(|(threshold, _)| threshold.to_string()).collect();
    shown.resize(alerts::MOST, String::new());
    Ok((shown, below))
}

/// `POST /credits/auto-topup`.
///
/// # Errors
/// 401, 403, 429, 500, 503.
pub async fn set(
    State(app): State<Arc<App>>,
    Posted { session, form }: Posted,
) -> Result<Redirect, ApiError> {
    if !form.ticked("enabled") {
        topups::remove(&app, session.user.id, &Once::unclaimed()).await?;
        return Ok(Redirect::to("/credits?done=topup_off#auto-topup"));
    }
    let (Ok(threshold), Ok(most)) = (
        form.get("threshold").trim().parse::<MicroCredits>(),
        Cents::parse_dollars(form.get("monthly_max").trim()),
    ) else {
        return Ok(Redirect::to("/credits?done=topup_amounts#auto-topup"));
    };
    let package = form.get("package").to_owned();
    let task = Arc::clone(&app);
    let set = to_the_end(async move {
        let once = Once::unclaimed();
        topups::set(&task, (&session.user, None), threshold, &package, most, &once).await
    })
    .await?;
    let code = match set {
        Ok(_) => "topup_on",
        Err(TopUpError::Unfit(Unfit::Threshold | Unfit::Package)) => "topup_amounts",
        Err(TopUpError::Unfit(Unfit::TooSmall)) => "topup_small",
        Err(TopUpError::Unfit(Unfit::Maximum(_))) => "topup_maximum",
        Err(TopUpError::NoCard) => "topup_no_card",
        Err(TopUpError::Provider(error)) => {
            tracing::warn!(%error, "it could not be asked whether a card is saved");
            "checkout_unavailable"
        }
        Err(error) => return Err(error.into()),
    };
    Ok(Redirect::to(&format!("/credits?done={code}#auto-topup")))
}

/// `POST /credits/alerts`.
///
/// # Errors
/// 401, 403, 429, 500, 503.
pub async fn set_alerts(
    State(app): State<Arc<App>>,
    Posted { session, form }: Posted,
) -> Result<Redirect, ApiError> {
    let fields = ["alert_1", "alert_2", "alert_3"].map(|name| form.get(name).trim().to_owned());
    let parsed: Result<Vec<MicroCredits>, _> =
        fields.iter().filter(|text| !text.is_empty()).map(|text| text.parse::<MicroCredits>()).collect();
    let Ok(thresholds) = parsed else { return Ok(Redirect::to("/credits?done=alerts_wrong#alerts")) };
    match alerts::set(&app, session.user.id, thresholds, &Once::unclaimed()).await {
        Ok(_) => Ok(Redirect::to("/credits?done=alerts_saved#alerts")),
        Err(AlertError::Db(error)) => Err(error.into()),
        Err(_) => Ok(Redirect::to("/credits?done=alerts_wrong#alerts")),
    }
}

/// `POST /credits/redeem`.
///
/// # Errors
/// 401, 403, 429, 500, 503.
pub async fn redeem(
    State(app): State<Arc<App>>,
    Posted { session, form }: Posted,
) -> Result<Redirect, ApiError> {
    let code = match promo::redeem(&app, &session.user, form.get("code"), form.get("attempt")).await {
        Ok(_) => "redeemed",
        Err(PromoError::Used) => "code_used",
        Err(PromoError::UsedUp | PromoError::Expired) => "code_gone",
        Err(PromoError::TooMany) => "code_too_many",
        Err(error @ PromoError::Db(_)) => return Err(error.into()),
        Err(_) => "code_unknown",
    };
    Ok(Redirect::to(&format!("/credits?done={code}")))
}

/// `POST /credits/portal`: on to the page where saved cards are managed.
///
/// # Errors
/// 401, 403, 429, 500, 503.
pub async fn portal(
    State(app): State<Arc<App>>,
    Posted { session, .. }: Posted,
) -> Result<Redirect, ApiError> {
    match purchases::portal(&app, &session.user).await {
        Ok(Some(url)) => Ok(Redirect::to(&url)),
        Ok(None) | Err(PurchaseError::Provider(ProviderError::NotFound(_))) => {
            Ok(Redirect::to("/credits?done=no_cards"))
        }
        Err(PurchaseError::Db(error)) => Err(error.into()),
        Err(error) => {
            tracing::warn!(%error, "the page of saved cards could not be opened");
            Ok(Redirect::to("/credits?done=checkout_unavailable"))
        }
    }
}
