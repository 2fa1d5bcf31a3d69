//! Usage: what a user's jobs came to, and what their Islands earned, by day, Cargo, key and Island.
//!
//! Guarantees:
//!
//! * the sums are exact, and agree with the jobs and so with the ledger at every moment: they are written in the transaction
//!   that ends the jobs (I15), and `audit` compares them;
//! * looking costs by the number of days, Cargos, keys and Islands, not by the number of jobs: a row holds a day's sum of
//!   each combination there was.
//!
//! Days are those of UTC on which jobs ended.

pub mod export;
pub(crate) mod store;

use std::collections::{BTreeMap, HashMap, HashSet};

use db::{DbError, Tx};
use types::id::{ApiKeyId, Id, IslandId, UserId};
use types::money::MicroCredits;
use types::time::{DAY_MS, Timestamp};

use crate::app::App;
use crate::jobs::State;
use crate::jobs::command::{Command, Finish};

/// Most days that are summed at once.
pub const MAX_DAYS: i64 = 400;
/// Most lines that are answered at once.
pub const MAX_LINES: usize = 10_000;

/// What jobs came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// How many ended.
    pub jobs: i64,
    /// How many of them were completed.
    pub completed: i64,
    /// How many failed or timed out.
    pub failed: i64,
    /// What they cost together, or earned.
    pub amount: MicroCredits,
    /// Tokens of their prompts, as far as counted.
    pub prompt_tokens: i64,
    /// Tokens of their answers, as far as counted.
    pub completion_tokens: i64,
}

/// Which side of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// What the user's jobs cost.
    Spent,
    /// What the user's Islands earned.
    Earned,
}

/// What is summed apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Days.
    Day,
    /// Cargos.
    Workload,
    /// API keys.
    Key,
    /// Islands.
    Host,
}

/// What is to be summed.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Which side.
    pub view: View,
    /// The first day, counted from 1970.
    pub first_day: i64,
    /// The day after the last.
    pub end_day: i64,
    /// What is summed apart.
    pub groups: Vec<Group>,
    /// Only this Cargo.
    pub workload: Option<i64>,
    /// Only this key; 0 stands for pages.
    pub key: Option<i64>,
    /// Only this Island.
    pub island: Option<IslandId>,
}

/// A sum and what it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The day, if days are summed apart.
    pub day: Option<i64>,
    /// The Cargo's number, if Cargos are.
    pub workload: Option<i64>,
    /// The key, if keys are; 0 for pages.
    pub key: Option<i64>,
    /// The Island, if Islands are; 0 if none was at work.
    pub island: Option<i64>,
    /// What it came to.
    pub sums: Sums,
}

/// What Cargos, keys and Islands of some lines are called.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Slug and name of Cargos by number.
    pub workloads: HashMap<i64, (String, String)>,
    /// Names of the user's keys, revoked ones too.
    pub keys: HashMap<i64, String>,
    /// Names of Islands.
    pub islands: HashMap<i64, String>,
}

impl View {
    /// As written in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spent => "spent",
            Self::Earned => "earned",
        }
    }
}

impl Group {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Day, Self::Workload, Self::Key, Self::Host];

    /// As written in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Workload => "workload",
            Self::Key => "key",
            Self::Host => "host",
        }
    }
}

impl Sums {
    /// Both together. Counts stop at the edge of their range; amounts of one network are far from it.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            jobs: self.jobs.saturating_add(other.jobs),
            completed: self.completed.saturating_add(other.completed),
            failed: self.failed.saturating_add(other.failed),
            amount: self.amount.plus(other.amount).unwrap_or(self.amount),
            prompt_tokens: self.prompt_tokens.saturating_add(other.prompt_tokens),
            completion_tokens: self.completion_tokens.saturating_add(other.completion_tokens),
        }
    }

    fn of(finish: &Finish) -> Self {
        Self {
            jobs: 1,
            completed: i64::from(finish.state == State::Completed),
            failed: i64::from(matches!(finish.state, State::Failed | State::Timeout)),
            amount: finish.charge,
            prompt_tokens: finish.usage.prompt_tokens.unwrap_or(0),
            completion_tokens: finish.usage.completion_tokens.unwrap_or(0),
        }
    }
}

/// The first moment of a day.
#[must_use]
pub const fn start_of(day: i64) -> Timestamp {
    Timestamp::from_millis(day * DAY_MS)
}

/// The day of a moment.
#[must_use]
pub const fn day_of(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(DAY_MS)
}

/// User, day, Cargo, key, Island.
type Place = (UserId, i64, i64, i64, i64);

/// Writes what a batch of commands adds: one statement, with a row for each combination that occurs in it.
///
/// # Errors
/// A [`DbError`].
pub async fn write(tx: &mut Tx<'_>, written: &[&Command]) -> Result<(), DbError> {
    let mut sums: BTreeMap<Place, Sums> = BTreeMap::new();
    for command in written {
        let Command::Finish(finish) = command else { continue };
        let key = finish.key.map_or(0, ApiKeyId::get);
        let island = finish.attempt.as_ref().map_or(0, |attempt| attempt.island.get());
        let place = (finish.user, day_of(finish.at), finish.workload, key, island);
        let sum = sums.entry(place).or_default();
        *sum = sum.plus(Sums::of(finish));
    }
    if sums.is_empty() { Ok(()) } else { store::add(tx, &sums).await }
}

/// Lines of a user, in the order of what they are grouped by.
///
/// # Errors
/// A [`DbError`].
pub async fn lines(app: &App, user: UserId, wanted: Wanted) -> Result<Vec<Line>, DbError> {
    app.db.read("usage", async move |tx| store::lines(tx, user, &wanted).await).await
}

/// The same for several questions, answered at one moment.
///
/// # Errors
/// A [`DbError`].
pub async fn many(app: &App, user: UserId, wanted: Vec<Wanted>) -> Result<Vec<Vec<Line>>, DbError> {
    app.db
        .read("usage", async move |tx| {
            let mut all = Vec::with_capacity(wanted.len());
            for wanted in &wanted {
                all.push(store::lines(tx, user, wanted).await?);
            }
            Ok::<_, DbError>(all)
        })
        .await
}

/// All of some lines together.
#[must_use]
pub fn total(lines: &[Line]) -> Sums {
    lines.iter().fold(Sums::default(), |sum, line| sum.plus(line.sums))
}

/// What is named in these lines.
///
/// # Errors
/// A [`DbError`].
pub async fn names<'a>(
    app: &App,
    user: UserId,
    lines: impl IntoIterator<Item = &'a Line>,
) -> Result<Names, DbError> {
    let islands: HashSet<i64> = lines.into_iter().filter_map(|line| line.island).collect();
    names_of(app, user, islands.into_iter().collect()).await
}

/// What the Cargos, the user's keys and these Islands are called.
///
/// # Errors
/// A [`DbError`].
pub async fn names_of(app: &App, user: UserId, islands: Vec<i64>) -> Result<Names, DbError> {
    let (slugs, keys, islands) = app
        .db
        .read("usage_names", async move |tx| {
            let slugs = store::workloads(tx).await?;
            let keys = store::keys(tx, user).await?;
            Ok::<_, DbError>((slugs, keys, store::islands(tx, &islands).await?))
        })
        .await?;
    let named = slugs.into_iter().map(|(id, slug)| {
        // One that was taken out of the configuration is left with its slug.
        let name = app.market.by_id(id).map_or(slug.clone(), |market| market.workload.name.clone());
        (id, (slug, name))
    });
    Ok(Names { workloads: named.collect(), keys, islands })
}
