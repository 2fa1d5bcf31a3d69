//! What owners see of their Islands.

use db::DbError;
use types::id::{IslandId, UserId};
use types::island_protocol::Today;
use types::time::{DAY_MS, HOUR_MS, SECOND_MS, Timestamp};

use super::health::Record;
use super::karma::{Karma, karma};
use super::profile::Standing;
use super::stats::store::online_since;
pub use super::stats::{Hour, Presence};
use super::{IslandRecord, stats, store};
use crate::app::App;

/// Uptime is that of so much time.
const UPTIME_MS: i64 = 7 * DAY_MS;
/// An Island that another coordinator saw this lately is online there.
const ELSEWHERE_MS: i64 = 60 * SECOND_MS;

/// An Island, as its owner sees it.
#[derive(Clone, Debug)]
pub struct IslandOverview {
    /// What is stored of it.
    pub record: IslandRecord,
    /// It is connected, here or to another coordinator.
    pub online: bool,
    /// Since when it has been, or has not been; nothing if it never was.
    pub since: Option<Timestamp>,
    /// How good it is, for people.
    pub karma: Karma,
    /// The share of its last attempts that succeeded, in percent; nothing before the first.
    pub success_percent: Option<u8>,
    /// How many of the last attempts those are, at most a hundred.
    pub attempts: usize,
    /// How long it lately took to its first output, in milliseconds.
    pub latency_ms: Option<u32>,
    /// How many attempts it works on.
    pub running: usize,
    /// What it did since midnight (UTC).
    pub today: Today,
    /// Whether it is approved or suspended.
    pub standing: Standing,
}

/// What a user's Islands did, for charts.
#[derive(Clone, Debug, Default)]
pub struct Hours {
    /// Attempts and earnings, of each Island oldest first. Hours in which nothing happened are left out.
    pub work: Vec<Hour>,
    /// Time online, of each Island oldest first.
    pub presence: Vec<Presence>,
}

/// A user's Islands, oldest first.
///
/// # Errors
/// A [`DbError`].
pub async fn overview(app: &App, user: UserId) -> Result<Vec<IslandOverview>, DbError> {
    let records = app.db.read("islands", async move |tx| store::islands_of(tx, user).await).await?;
    overview_of(app, records).await
}

/// The same of any Islands.
///
/// # Errors
/// A [`DbError`].
pub async fn overview_of(app: &App, records: Vec<IslandRecord>) -> Result<Vec<IslandOverview>, DbError> {
    let now = app.clock.now();
    let (day, week) =
        (now.day_start().as_millis() / HOUR_MS, now.plus_millis(-UPTIME_MS).as_millis() / HOUR_MS);
    let ids: Vec<IslandId> = records.iter().map(|record| record.id).collect();
    let (online, totals) = app
        .db
        .read("islands_overview", async move |tx| {
            let mut totals = Vec::new();
            for &id in &ids {
                totals.push(stats::store::totals(tx, id, day).await?.1);
            }
            Ok::<_, DbError>((online_since(tx, &ids, week).await?, totals))
        })
        .await?;
    let all = records.into_iter().zip(online).zip(totals);
    Ok(all.map(|((record, online), today)| one(app, record, online, today, now)).collect())
}

fn one(app: &App, record: IslandRecord, online_secs: i64, today: Today, now: Timestamp) -> IslandOverview {
    let session = app.islands.get(record.id);
    let here = app.islands.profile(record.id);
    let lately = record.last_seen_at.is_some_and(|at| now.millis_since(at) < ELSEWHERE_MS);
    let online = session.is_some() || (record.online_since.is_some() && lately);
    let attempts: Record = here.as_ref().map_or_else(|| record.attempts.clone(), |profile| profile.record());
    let counts = attempts.counts();
    let possible = now.millis_since(record.created_at).clamp(0, UPTIME_MS) / SECOND_MS;
    let percent = (counts.0 * 100).checked_div(counts.1).and_then(|percent| u8::try_from(percent).ok());
    IslandOverview {
        online,
        since: if online { record.online_since } else { record.last_seen_at },
        karma: karma(counts, attempts.latency_ms(), (online_secs, possible)),
        success_percent: percent,
        attempts: counts.1,
        latency_ms: attempts.latency_ms(),
        running: session.map_or(0, |session| session.running()),
        today: here.map_or(today, |profile| profile.today(now)),
        standing: record.standing,
        record,
    }
}

/// What a user's Islands did since a moment.
///
/// # Errors
/// A [`DbError`].
pub async fn hours(app: &App, user: UserId, since: Timestamp) -> Result<Hours, DbError> {
    let since = since.as_millis().div_euclid(HOUR_MS);
    app.db
        .read("island_hours", async move |tx| {
            let records = store::islands_of(tx, user).await?;
            let ids: Vec<IslandId> = records.iter().map(|record| record.id).collect();
            let work = stats::store::hours(tx, &ids, since).await?;
            let presence = stats::store::presence(tx, &ids, since).await?;
            Ok::<_, DbError>(Hours { work, presence })
        })
        .await
}
