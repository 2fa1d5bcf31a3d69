//! The part of `/islands` about payouts, and what its forms do.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use pages::islands::{PayoutAccount as AccountView, PayoutRow, Payouts, ScheduleOption};
use pages::{Badge, Flash, Tone};
use types::id::PayoutId;
use types::money::MICROS_PER_CREDIT;

use super::error::capitalised;
use super::forms::Posted;
use super::frame::when;
use super::session::{Named, SignedIn, on_this_host};
use super::{islands, to_the_end};
use crate::accounts::User;
use crate::api::extract::id;
use crate::app::App;
use crate::config::Schedule;
use crate::credits::export::write_text;
use crate::error::ApiError;
use crate::idempotency::Once;
use crate::payouts::{self, Payout, PayoutAccount, PayoutError, State as PayoutState, Wish, accounts};
use crate::secrets;

/// How many earlier payouts are shown.
const SHOWN: u32 = 50;

/// What the page shows; nothing where nobody is paid out.
///
/// # Errors
/// 500, 503.
pub async fn view(app: &App, user: &User) -> Result<Option<Payouts>, ApiError> {
    if !app.config.payouts_offered() {
        return Ok(None);
    }
    let (earned, account, history) = payouts::overview(app, user, SHOWN).await?;
    let chosen = account.as_ref().and_then(|account| account.schedule);
    let option = |schedule: Schedule| ScheduleOption {
        value: schedule.name().to_owned(),
        label: label(schedule).to_owned(),
        selected: schedule == chosen.unwrap_or(app.config.payouts.schedule),
    };
    let schedules = account.iter().flat_map(|_| Schedule::ALL).map(option).collect();
    let minimum = app.config.payouts.minimum();
    Ok(Some(Payouts {
        available: earned.available.display_grouped(),
        available_usd: earned.available.approximate_usd().to_string(),
        pending: earned.pending.display_grouped(),
        hold_days: app.config.payouts.hold_days.to_string(),
        paid: earned.paid.display_grouped(),
        minimum: minimum.display_grouped(),
        account: account_view(account),
        can_pay: earned.available >= minimum
            && !history
                .iter()
                .any(|payout| matches!(payout.state, PayoutState::Wanted | PayoutState::Sending)),
        most: (earned.available.get() / MICROS_PER_CREDIT).to_string(),
        least: app.config.payouts.minimum_credits.to_string(),
        attempt: secrets::new(&*app.random, ""),
        schedules,
        history: history.iter().map(row).collect(),
    }))
}

fn account_view(account: Option<PayoutAccount>) -> AccountView {
    match account {
        None => AccountView::None,
        Some(account) if account.ready => AccountView::Ready,
        Some(account) => AccountView::Unfinished { missing: account.missing },
    }
}

const fn label(schedule: Schedule) -> &'static str {
    match schedule {
        Schedule::Manual => "Only when I ask",
        Schedule::Daily => "Every day",
        Schedule::Weekly => "Every week",
        Schedule::Monthly => "Every month",
    }
}

fn row(payout: &Payout) -> PayoutRow {
    let status = match payout.state {
        PayoutState::Wanted | PayoutState::Sending => Badge::new("on its way", Tone::Warn),
        PayoutState::Sent if payout.error.is_some() => Badge::new("sent, look at your account", Tone::Warn),
        PayoutState::Sent => Badge::new("sent", Tone::Good),
        PayoutState::Paid => Badge::new("paid", Tone::Good),
        PayoutState::Failed => Badge::new("failed, credits are back", Tone::Bad),
        PayoutState::Cancelled => Badge::new("called off", Tone::Plain),
    };
    // Why a payout waits is the operator's matter until it has ended.
    let open = matches!(payout.state, PayoutState::Wanted | PayoutState::Sending);
    PayoutRow {
        id: payout.id.to_string(),
        date: when(payout.created_at),
        credits: payout.amount.display_grouped(),
        amount: payout.cents.to_string(),
        status,
        error: payout.error.clone().filter(|_| !open),
        can_cancel: payout.state == PayoutState::Wanted,
    }
}

/// `POST /islands/payouts`: pays out.
///
/// # Errors
/// 401, 403, 415, 429, 500, 503.
pub async fn ask(
    State(app): State<Arc<App>>,
    Posted { session, form }: Posted,
) -> Result<Response, ApiError> {
    let amount = match form.get("credits").trim() {
        "" => None,
        text => match text.parse() {
            Ok(amount) => Some(amount),
            Err(error) => return Err(ApiError::invalid("credits", format!("{error}"))),
        },
    };
    let attempt = Some(form.get("attempt")).filter(|key| !key.is_empty() && key.len() <= 255);
    let wish = Wish { amount, attempt: attempt.map(str::to_owned), period: None };
    let (task, user) = (Arc::clone(&app), session.user.clone());
    match to_the_end(async move { payouts::request(&task, &user, wish).await }).await? {
        Ok(_) => Ok(Redirect::to("/islands?done=payout_asked").into_response()),
        Err(PayoutError::Db(error)) => Err(error.into()),
        Err(error) => {
            let flash = Flash::bad(format!("{}.", capitalised(&error.to_string())));
            let page = islands::page(&app, &session, None, Some(flash)).await?;
            Ok((StatusCode::CONFLICT, page).into_response())
        }
    }
}

/// `POST /islands/payouts/setup`: on to the page of the payout provider.
///
/// # Errors
/// 401, 403, 409, 429, 500, 503.
pub async fn set_up(
    State(app): State<Arc<App>>,
    Posted { session, .. }: Posted,
) -> Result<Redirect, ApiError> {
    let task = Arc::clone(&app);
    match to_the_end(async move { accounts::onboard(&task, &session.user).await }).await? {
        Ok(url) => Ok(Redirect::to(on_this_host(&app, &url))),
        Err(PayoutError::Provider(error)) => {
            tracing::warn!(%error, "a payout account could not be set up");
            Ok(Redirect::to("/islands?done=payouts_unavailable"))
        }
        Err(error) => Err(error.into()),
    }
}

/// `GET /islands/payouts/return`: back from the payout provider, or from a page of it that was too old.
///
/// # Errors
/// 500, 503.
pub async fn back(State(app): State<Arc<App>>, SignedIn(session): SignedIn) -> Result<Redirect, ApiError> {
    let user = session.user.id;
    let known = to_the_end(async move { accounts::refresh(&app, user).await }).await?;
    Ok(Redirect::to(match known {
        Ok(Some((account, _))) if account.ready => "/islands?done=payouts_ready",
        Ok(_) => "/islands?done=payouts_unfinished",
        Err(error) => {
            tracing::warn!(%error, %user, "the payout account of {user} could not be read");
            "/islands?done=payouts_unavailable"
        }
    }))
}

/// `POST /islands/payouts/schedule`.
///
/// # Errors
/// 401, 403, 409, 415, 422, 429, 500, 503.
pub async fn schedule(
    State(app): State<Arc<App>>,
    Posted { session, form }: Posted,
) -> Result<Redirect, ApiError> {
    let schedule = Schedule::from_name(form.get("schedule"))
        .ok_or_else(|| ApiError::invalid("schedule", "must be one of those in the list"))?;
    accounts::set_schedule(&app, session.user.id, schedule, &Once::unclaimed()).await?;
    Ok(Redirect::to("/islands?done=schedule_saved"))
}

/// `POST /islands/payouts/{id}/cancel`.
///
/// # Errors
/// 401, 403, 404, 409, 415, 429, 500, 503.
pub async fn cancel(
    State(app): State<Arc<App>>,
    Named(id): Named<PayoutId>,
    Posted { session, .. }: Posted,
) -> Result<Redirect, ApiError> {
    payouts::cancel(&app, Some(session.user.id), id, &Once::unclaimed()).await?;
    Ok(Redirect::to("/islands?done=payout_cancelled"))
}

/// `GET /islands/payouts/{id}.csv`: the statement of one payout.
///
/// # Errors
/// 404, 500, 503.
pub async fn statement(
    State(app): State<Arc<App>>,
    SignedIn(session): SignedIn,
    Named(file): Named<String>,
) -> Result<Response, ApiError> {
    let name = file.strip_suffix(".csv").ok_or_else(|| ApiError::not_found("payout"))?;
    let payout = payouts::find(&app, session.user.id, id(name, "payout")?).await?;
    let kind = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}.csv\"")),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((kind, csv(&payout)).into_response())
}

fn csv(payout: &Payout) -> String {
    let time = |time: Option<types::time::Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
    let cents = payout.cents.get();
    let fields = [
        payout.id.to_string(),
        payout.created_at.to_string(),
        time(payout.sent_at),
        time(payout.ended_at),
        (payout.amount.get() / MICROS_PER_CREDIT).to_string(),
        "0.01".to_owned(),
        format!("{}.{:02}", cents / 100, cents % 100),
        "USD".to_owned(),
        payout.state.name().to_owned(),
        payout.provider.clone(),
        payout.transfer.clone().unwrap_or_default(),
        payout.error.clone().unwrap_or_default(),
    ];
    let mut line = String::new();
    for (place, field) in fields.iter().enumerate() {
        if place > 0 {
            line.push(',');
        }
        write_text(&mut line, field);
    }
    let head = "payout,asked_at,sent_at,ended_at,credits,usd_per_credit,amount,currency,state,provider,reference,error";
    format!("{head}\r\n{line}\r\n")
}
