//! The part of `/islands` about what Islands did, ask and may: its view, and what its forms do.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use pages::chart::{Bar, bars};
use pages::exchange::WindowLink;
use pages::islands::{AskRow, ConfirmAsk, IslandRow, Work};
use pages::{Badge, Flash, Tone};
use types::id::IslandId;
use types::money::MicroCredits;
use types::time::{HOUR_MS, Timestamp};

use super::cargo::{ask_words, label, unserved_words, words};
use super::error::capitalised;
use super::forms::Posted;
use super::frame::{unit, when};
use super::islands::full;
use crate::accounts::User;
use crate::api::extract::id;
use crate::app::App;
use crate::error::ApiError;
use crate::idempotency::Once;
use crate::islands::owner::{IslandOverview, hours};
use crate::jobs::JobError;
use crate::marketplace::Market;
use crate::marketplace::overrides::{self, AskError};
use crate::marketplace::rates::{self, Detail, Span};
use crate::marketplace::suggest;

/// `POST /islands/{id}/asks/{slug}`: sets an ask. A change by more than a factor of ten is shown first (incident 104).
///
/// # Errors
/// 401, 403, 404, 415, 429, 500, 503.
pub async fn set_ask(
    State(app): State<Arc<App>>,
    Path((island, slug)): Path<(String, String)>,
    Posted { session, form }: Posted,
) -> Result<Response, ApiError> {
    let (island, market) = named(&app, &island, &slug)?;
    let text = form.get("ask").trim();
    let ask: MicroCredits = match text.parse() {
        Ok(ask) => ask,
        Err(error) => return refused(&app, &session, &format!("The ask {error}.")).await,
    };
    let owner = session.user.id;
    match overrides::set(&app, owner, (island, market), (ask, form.ticked("confirm")), &Once::unclaimed())
        .await
    {
        Ok(_) => Ok(Redirect::to("/islands?done=ask_set").into_response()),
        Err(AskError::Confirm { old, new }) => {
            let workload = &market.workload;
            let confirm = ConfirmAsk {
                action: action(island, market),
                cargo: workload.name.clone(),
                island: crate::islands::name(&app, island).await?.unwrap_or_default(),
                old: old.display_grouped(),
                new: new.display_grouped(),
                value: new.to_string(),
                unit: unit(workload).to_owned(),
            };
            let page = full(&app, &session, Span::default(), (None, Some(confirm)), None).await?;
            Ok((StatusCode::CONFLICT, page).into_response())
        }
        Err(error @ (AskError::Negative | AskError::NotOffered)) => {
            let subject = if matches!(error, AskError::Negative) { "The ask " } else { "" };
            refused(&app, &session, &capitalised(&format!("{subject}{error}."))).await
        }
        Err(error) => Err(error.into()),
    }
}

/// `POST /islands/{id}/asks/{slug}/reset`: the agent's ask is in force again.
///
/// # Errors
/// 401, 403, 404, 415, 429, 500, 503.
pub async fn reset_ask(
    State(app): State<Arc<App>>,
    Path((island, slug)): Path<(String, String)>,
    Posted { session, .. }: Posted,
) -> Result<Redirect, ApiError> {
    overrides::reset(&app, session.user.id, named(&app, &island, &slug)?, &Once::unclaimed()).await?;
    Ok(Redirect::to("/islands?done=ask_reset"))
}

async fn refused(
    app: &App,
    session: &crate::accounts::sessions::Session,
    text: &str,
) -> Result<Response, ApiError> {
    let page = full(app, session, Span::default(), (None, None), Some(Flash::bad(text))).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

fn named<'a>(app: &'a App, island: &str, slug: &str) -> Result<(IslandId, &'a Arc<Market>), ApiError> {
    Ok((id(island, "Island")?, app.market.get(slug).ok_or(JobError::UnknownWorkload)?))
}

fn action(island: IslandId, market: &Market) -> String {
    format!("/islands/{island}/asks/{}", market.workload.slug)
}

/// A row of the table of Islands.
pub(super) fn island_row(app: &App, one: &IslandOverview) -> IslandRow {
    let offers =
        app.islands.get(one.record.id).map_or_else(|| one.record.offers.clone(), |session| session.offers());
    let standing = one.standing;
    let status = match one.online {
        _ if standing.operator_suspended => Badge::new("suspended by the operator", Tone::Bad),
        _ if standing.owner_suspended => Badge::new("suspended", Tone::Warn),
        true if standing.hindrance(app.config.islands.approval).is_some() => {
            Badge::new("waits for approval", Tone::Warn)
        }
        true if offers.is_empty() => Badge::new("online, offers nothing", Tone::Warn),
        true => Badge::new("online", Tone::Good),
        false => Badge::new("offline", Tone::Plain),
    };
    let karma = &one.karma;
    IslandRow {
        name: one.record.name.clone(),
        status,
        running: one.running.to_string(),
        id: one.record.id.to_string(),
        since: one.since.map(when),
        karma: karma.karma.to_string(),
        karma_parts: format!("success {}, speed {}, uptime {}", karma.success, karma.latency, karma.uptime),
        success: one.success_percent.map(|percent| format!("{percent}%")),
        today: one.today.earned.display_grouped(),
        suspended: standing.owner_suspended,
    }
}

/// What a user's Islands did in a window.
pub(super) async fn work(app: &App, user: &User, islands: usize, span: Span) -> Result<Work, ApiError> {
    let now = app.clock.now();
    let (step, count) = match span {
        Span::Hour | Span::Day => (1, 24),
        Span::Week => (6, 28),
        Span::Month => (24, 30),
    };
    let start = (now.as_millis().div_euclid(HOUR_MS * step) + 1 - count) * step;
    let done = hours(app, user.id, Timestamp::from_millis(start * HOUR_MS)).await?;
    let mut earned = vec![(0_i64, 0_i64); usize::try_from(count).unwrap_or(0)];
    let (mut completed, mut failed, mut total) = (0_i64, 0_i64, 0_i64);
    for hour in &done.work {
        completed += hour.completed;
        failed += hour.failed;
        total = total.saturating_add(hour.earned.get());
        let index = usize::try_from((hour.hour - start).div_euclid(step)).unwrap_or(usize::MAX);
        if let Some((amount, jobs)) = earned.get_mut(index) {
            *amount = amount.saturating_add(hour.earned.get());
            *jobs += hour.completed;
        }
    }
    let online: i64 = done.presence.iter().map(|presence| presence.online_secs).sum();
    let possible =
        (now.as_millis() / 1000 - start * 3600).saturating_mul(i64::try_from(islands).unwrap_or(1));
    let total = MicroCredits::new(total).display_grouped();
    let values: Vec<Bar> =
        (0_i64..).zip(&earned).map(|(index, value)| bar(start + index * step, *value, span)).collect();
    let summary =
        format!("In the last {} your Islands earned {total} credits with {completed} jobs.", words(span));
    let link = |one: Span, text: &str| WindowLink {
        href: format!("?window={}#work", one.name()),
        label: text.to_owned(),
        current: one == span,
    };
    Ok(Work {
        windows: vec![link(Span::Day, "24 h"), link(Span::Week, "7 d"), link(Span::Month, "30 d")],
        window: words(span).to_owned(),
        chart: bars("earned", "Earnings over time, credits".to_owned(), summary, "Earned", &values),
        earned: total,
        jobs: completed.to_string(),
        success: share(completed, completed + failed),
        online: share(online.min(possible), possible).filter(|_| online > 0),
    })
}

fn bar(hour: i64, (amount, jobs): (i64, i64), span: Span) -> Bar {
    let at = Timestamp::from_millis(hour * HOUR_MS);
    let day = hour.div_euclid(24);
    let of_day = hour.rem_euclid(24);
    let text = label(at, span);
    let (date, time) = text.split_once(", ").unwrap_or((&text, ""));
    let tick = match span {
        Span::Hour | Span::Day => (of_day % 6 == 0).then(|| time.to_owned()),
        Span::Week => (of_day == 0 && day % 2 == 0).then(|| date.to_owned()),
        Span::Month => (day % 7 == 4).then(|| date.to_owned()),
    };
    let when = if matches!(span, Span::Month) { date } else { &text };
    let earned = MicroCredits::new(amount).display_grouped();
    let jobs = if jobs == 1 { "1 job".to_owned() } else { format!("{jobs} jobs") };
    Bar { tick, text: format!("{when}: {earned} credits, {jobs}"), amount }
}

/// A share in percent with one decimal, rounded down.
fn share(part: i64, whole: i64) -> Option<String> {
    let share = part.saturating_mul(1000).checked_div(whole)?;
    Some(format!("{}.{}%", share / 10, share % 10))
}

/// What the Islands ask, with what an owner wants to know about it.
pub(super) async fn asks(app: &App, islands: &[&IslandOverview]) -> Result<Vec<AskRow>, ApiError> {
    let mut rows = Vec::new();
    for market in app.market.all() {
        let asked = islands.iter().map(|one| (one, overrides::asking(app, &one.record, market)));
        let asked: Vec<_> = asked.filter(|(_, asking)| asking.agent.is_some()).collect();
        if asked.is_empty() {
            continue;
        }
        let detail = rates::detail(app, market).await?;
        for (one, asking) in asked {
            let (Some(price), Some(agent)) = (asking.ask, asking.agent) else { continue };
            let record = &one.record;
            let rank = market.rank(record.id);
            rows.push(AskRow {
                key: format!("{}-{}", record.id, market.workload.id),
                action: action(record.id, market),
                cargo: market.workload.name.clone(),
                slug: market.workload.slug.clone(),
                island: record.name.clone(),
                price: price.display_grouped(),
                value: price.to_string(),
                unit: unit(&market.workload).to_owned(),
                agent: asking.set_at.map(|_| agent.display_grouped()),
                rank: rank_words(rank.as_ref()),
                unserved: unserved_words(&detail.unserved),
                suggested: suggested(&detail, rank.and_then(|rank| rank.best_other)),
            });
        }
    }
    Ok(rows)
}

fn suggested(detail: &Detail, best_other: Option<MicroCredits>) -> Option<(String, String)> {
    let (price, why) = suggest::ask(detail.recent(), &detail.unserved, best_other)?;
    Some((price.display_grouped(), ask_words(why).to_owned()))
}

/// `3rd cheapest of 12; the next cheaper asks 1.80.`
fn rank_words(rank: Option<&crate::marketplace::depth::Rank>) -> String {
    let Some(rank) = rank else {
        return "Not in the book now.".to_owned();
    };
    let place = match rank.place {
        1 => "Cheapest".to_owned(),
        place => format!("{} cheapest", ordinal(place)),
    };
    match (rank.of, rank.cheaper) {
        (1, _) => "The only one in the book.".to_owned(),
        (of, Some(cheaper)) => {
            format!("{place} of {of}; the next cheaper asks {}.", cheaper.display_grouped())
        }
        (of, None) => format!("{place} of {of}."),
    }
}

fn ordinal(number: usize) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marketplace::depth::Rank;

    #[test]
    fn a_place_is_a_sentence() {
        let cheaper = Some(MicroCredits::new(1_800_000));
        for (place, of, cheaper, expected) in [
            (3, 12, cheaper, "3rd cheapest of 12; the next cheaper asks 1.80."),
            (1, 12, None, "Cheapest of 12."),
            (1, 1, None, "The only one in the book."),
            (12, 12, cheaper, "12th cheapest of 12; the next cheaper asks 1.80."),
            (22, 30, cheaper, "22nd cheapest of 30; the next cheaper asks 1.80."),
        ] {
            assert_eq!(rank_words(Some(&Rank { place, of, cheaper, best_other: None })), expected);
        }
        assert_eq!(rank_words(None), "Not in the book now.");
    }

    #[test]
    fn a_share_of_nothing_is_none() {
        assert_eq!(share(0, 0), None);
        assert_eq!(share(2, 3).as_deref(), Some("66.6%"));
        assert_eq!(share(3, 3).as_deref(), Some("100.0%"));
    }
}
