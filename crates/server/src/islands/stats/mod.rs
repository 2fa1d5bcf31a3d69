//! What Islands did, by the hour, for their owners. Written with the ends of the attempts, summed for each batch.

pub(crate) mod store;

use std::collections::BTreeMap;

use db::{DbError, Tx};
use types::id::{Id, IslandId};
use types::money::MicroCredits;
use types::time::{DAY_MS, HOUR_MS, Timestamp};

use crate::app::App;
use crate::jobs::State;
use crate::jobs::command::{Command, Finish};

/// Hours in a day.
pub const DAY_HOURS: i64 = DAY_MS / HOUR_MS;
/// Hours older than this are summed into days.
const HOURS_KEPT_MS: i64 = 90 * DAY_MS;

/// Sums hours of long ago into days. Days are kept for ever: they say how often an Island was paid.
///
/// # Errors
/// A [`DbError`].
pub async fn thin_once(app: &App, now: Timestamp) -> Result<(), DbError> {
    let before = now.plus_millis(-HOURS_KEPT_MS).as_millis() / HOUR_MS;
    app.db.tx("thin_island_hours", async move |tx| store::thin(tx, before).await).await
}

/// What one Island did for one Cargo in one hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hour {
    /// Which Island.
    pub island: IslandId,
    /// The Cargo's number.
    pub workload: i64,
    /// Hours since the epoch. Of long ago: the first hour of a day, for the whole day.
    pub hour: i64,
    /// Attempts that completed.
    pub completed: i64,
    /// Attempts that failed by the Island's doing.
    pub failed: i64,
    /// Attempts that earned something.
    pub paid: i64,
    /// What the owner earned.
    pub earned: MicroCredits,
    /// How much of the Cargo was charged for, in 1/100,000 of its unit.
    pub units: i64,
    /// How long attempts ran, in milliseconds; those that ran beside each other are added.
    pub busy_ms: i64,
}

/// How long an Island was online in one hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Which Island.
    pub island: IslandId,
    /// Hours since the epoch. Of long ago: the first hour of a day, for the whole day.
    pub hour: i64,
    /// Seconds.
    pub online_secs: i64,
}

/// Writes what a batch adds; answers it.
///
/// # Errors
/// A [`DbError`].
pub async fn write(tx: &mut Tx<'_>, written: &[&Command], now: Timestamp) -> Result<Vec<Hour>, DbError> {
    let mut sums = Sums { hour: now.as_millis() / HOUR_MS, hours: BTreeMap::new() };
    let mut failed = Vec::new();
    for command in written {
        match command {
            Command::Finish(finish) => sums.add(finish, now),
            // Only the database knows whose attempt it was.
            Command::Suspend(suspend) => failed.push(suspend.attempt),
            Command::Open(_) | Command::Begin(_) => {}
        }
    }
    if !failed.is_empty() {
        for (island, workload, since) in store::places(tx, &failed).await? {
            let sum = sums.of(island, workload);
            sum.failed += 1;
            sum.busy_ms += busy_ms(since, now);
        }
    }
    let hours: Vec<Hour> = sums.hours.into_values().collect();
    store::add(tx, &hours).await?;
    Ok(hours)
}

/// What Islands did for Cargos in an hour: a row for each two.
struct Sums {
    hour: i64,
    hours: BTreeMap<(IslandId, i64), Hour>,
}

impl Sums {
    fn of(&mut self, island: IslandId, workload: i64) -> &mut Hour {
        self.hours.entry((island, workload)).or_insert(Hour {
            island,
            workload,
            hour: self.hour,
            completed: 0,
            failed: 0,
            paid: 0,
            earned: MicroCredits::ZERO,
            units: 0,
            busy_ms: 0,
        })
    }

    fn add(&mut self, finish: &Finish, now: Timestamp) {
        let Some(attempt) = &finish.attempt else { return };
        let sum = self.of(attempt.island, finish.workload);
        sum.completed += i64::from(finish.state == State::Completed);
        sum.failed += i64::from(failed_by_island(finish));
        // An attempt's id is made when it is matched.
        sum.busy_ms += busy_ms(attempt.id.made_at(), now);
        let earned = finish.charge.minus(finish.fee).unwrap_or_default();
        if earned.is_positive() && !attempt.own {
            sum.paid += 1;
            // A statistic: at the edge of the range it stops growing rather than stopping the batch.
            sum.earned = sum.earned.plus(earned).unwrap_or(sum.earned);
            sum.units = sum.units.saturating_add(finish.units.parts());
        }
    }
}

/// Whether an attempt that ended like this is held against its Island.
#[must_use]
pub fn is_failure(state: State, code: Option<&str>) -> bool {
    // Of an input that cannot be, and of our own restart, the Island is innocent.
    matches!(state, State::Failed | State::Timeout) && !matches!(code, Some("input_refused" | "interrupted"))
}

fn failed_by_island(finish: &Finish) -> bool {
    is_failure(finish.state, finish.error.as_ref().map(|(code, _)| code.as_str()))
}

fn busy_ms(since: Timestamp, now: Timestamp) -> i64 {
    now.millis_since(since).clamp(0, DAY_MS)
}
