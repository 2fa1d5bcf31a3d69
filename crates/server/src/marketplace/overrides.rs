//! Asks that owners set here, in place of what their Islands' agents say.
//!
//! Guarantees: an ask that was set stands at once in the book and after every reconnection, until it is reset; jobs already
//! matched keep their price. A change by more than a factor of ten must be confirmed (incident 104). Every coordinator
//! keeps all of them in memory, because the book is filled without asking the database, and follows what others set.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use db::{DbError, Tx};
use types::id::{IslandId, UserId};
use types::money::MicroCredits;
use types::time::Timestamp;

use super::depth::Rank;
use super::{Market, store};
use crate::app::App;
use crate::idempotency::Once;
use crate::islands::{self, IslandRecord};

/// A change by more than this factor must be confirmed.
pub const FACTOR: i64 = 10;

/// An ask that was set, and when.
pub type SetAsk = (MicroCredits, Timestamp);

/// All asks that were set.
#[derive(Debug, Default)]
pub struct Overrides {
    asks: Mutex<HashMap<(IslandId, i64), SetAsk>>,
    /// Held while database and memory are brought together, so that an older reading cannot come after a newer change.
    changing: tokio::sync::Mutex<()>,
}

/// An Island's ask for a Cargo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asking {
    /// Which Island.
    pub island: IslandId,
    /// What is in force.
    pub ask: Option<MicroCredits>,
    /// What its agent says.
    pub agent: Option<MicroCredits>,
    /// When the owner set it here, if the owner did.
    pub set_at: Option<Timestamp>,
    /// Its place among the asks, while it is there.
    pub rank: Option<Rank>,
}

/// Why an ask is not set.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Not there, or somebody else's.
    #[error("there is no such Island of yours")]
    Unknown,
    /// The Island does not serve this Cargo.
    #[error("this Island does not offer this Cargo")]
    NotOffered,
    /// Less than nothing.
    #[error("must not be negative")]
    Negative,
    /// It has to be confirmed.
    #[error(
        "this changes the ask from {old} to {new} credits, by more than a factor of ten; confirm it if it is meant"
    )]
    Confirm {
        /// What is in force.
        old: MicroCredits,
        /// What is wanted.
        new: MicroCredits,
    },
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl Overrides {
    /// What was set for an Island's Cargo.
    #[must_use]
    pub fn get(&self, island: IslandId, workload: i64) -> Option<SetAsk> {
        self.lock().get(&(island, workload)).copied()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(IslandId, i64), SetAsk>> {
        self.asks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts what was read in place of what is known; answers whose asks that changes.
    fn replace(&self, read: HashMap<(IslandId, i64), SetAsk>) -> HashSet<IslandId> {
        let mut asks = self.lock();
        let changed = |(key, ask): (&(IslandId, i64), &SetAsk), other: &HashMap<_, SetAsk>| {
            (other.get(key) != Some(ask)).then_some(key.0)
        };
        let mut islands: HashSet<_> = asks.iter().filter_map(|one| changed(one, &read)).collect();
        islands.extend(read.iter().filter_map(|one| changed(one, &asks)));
        *asks = read;
        islands
    }
}

/// Reads what was set, by whichever coordinator, and puts it into the books.
///
/// # Errors
/// A [`DbError`].
pub async fn follow_once(app: &App) -> Result<(), DbError> {
    let overrides = &app.market.overrides;
    let _changing = overrides.changing.lock().await;
    let rows = app.db.read("ask_overrides", async |tx| store::overrides(tx).await).await?;
    let read = rows.into_iter().map(|(island, workload, ask, at)| ((island, workload), (ask, at))).collect();
    for island in overrides.replace(read) {
        put_again(app, island);
    }
    Ok(())
}

/// Sets the ask of an Island of this owner for a Cargo. One already in force may be repeated.
///
/// # Errors
/// An [`AskError`]; then nothing was changed.
pub async fn set(
    app: &App,
    owner: UserId,
    (island, market): (IslandId, &Arc<Market>),
    (ask, confirmed): (MicroCredits, bool),
    once: &Once<Asking>,
) -> Result<Asking, AskError> {
    if ask < MicroCredits::ZERO {
        return Err(AskError::Negative);
    }
    let (record, workload, now) = (mine(app, owner, island).await?, market.workload.id, app.clock.now());
    let _changing = app.market.overrides.changing.lock().await;
    let before = asking(app, &record, market);
    if before.agent.is_none() {
        return Err(AskError::NotOffered);
    }
    if let Some(old) = before.ask.filter(|&old| !confirmed && is_a_leap(old, ask)) {
        return Err(AskError::Confirm { old, new: ask });
    }
    let key = (island, workload);
    let rank = market.rank_at(island, ask);
    let after = Asking { ask: Some(ask), set_at: Some(now), rank, ..before };
    let set = async move |tx: &mut Tx<'_>| {
        store::set_override(tx, key, ask, now).await?;
        Ok::<_, AskError>(after)
    };
    let after = once.tx(app, "set_ask", set).await?;
    app.market.overrides.lock().insert(key, (ask, now));
    put_again(app, island);
    Ok(after)
}

/// Lets the agent's ask be in force again. Resetting what was not set changes nothing.
///
/// # Errors
/// An [`AskError`]; then nothing was changed.
pub async fn reset(
    app: &App,
    owner: UserId,
    (island, market): (IslandId, &Arc<Market>),
    once: &Once<Asking>,
) -> Result<Asking, AskError> {
    let (record, workload) = (mine(app, owner, island).await?, market.workload.id);
    let _changing = app.market.overrides.changing.lock().await;
    let before = asking(app, &record, market);
    let rank = before.agent.and_then(|agent| market.rank_at(island, agent));
    let after = Asking { ask: before.agent, set_at: None, rank, ..before };
    let reset = async move |tx: &mut Tx<'_>| {
        store::reset_override(tx, island, workload).await?;
        Ok::<_, AskError>(after)
    };
    let after = once.tx(app, "reset_ask", reset).await?;
    app.market.overrides.lock().remove(&(island, workload));
    put_again(app, island);
    Ok(after)
}

/// What an Island asks for a Cargo, and who says so.
#[must_use]
pub fn asking(app: &App, record: &IslandRecord, market: &Market) -> Asking {
    let offers =
        app.islands.get(record.id).map_or_else(|| record.offers.clone(), |connection| connection.offers());
    let offer = offers.iter().find(|offer| offer.workload == market.workload.slug);
    let agent = offer.and_then(|offer| offer.ask.parse().ok());
    let set = app.market.overrides.get(record.id, market.workload.id);
    Asking {
        island: record.id,
        ask: agent.map(|agent| set.map_or(agent, |(ask, _)| ask)),
        agent,
        set_at: set.map(|(_, at)| at),
        rank: market.rank(record.id),
    }
}

/// Puts an Island's offers into the books again, if it is connected here.
fn put_again(app: &App, island: IslandId) {
    if let Some(session) = app.islands.get(island) {
        islands::offers::put_in_book(app, &session);
    }
}

async fn mine(app: &App, owner: UserId, island: IslandId) -> Result<IslandRecord, AskError> {
    islands::find(app, island).await?.filter(|record| record.owner == owner).ok_or(AskError::Unknown)
}

/// Whether a change is by more than [`FACTOR`], in either direction. From or to nothing always is.
fn is_a_leap(old: MicroCredits, new: MicroCredits) -> bool {
    let (less, more) = (old.min(new).get(), old.max(new).get());
    more > less.saturating_mul(FACTOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leap_is_more_than_ten_times() {
        for (old, new, leap) in [
            (2, 20, false),
            (2, 21, true),
            (21, 2, true),
            (20, 2, false),
            (5, 5, false),
            (0, 1, true),
            (1, 0, true),
            (0, 0, false),
            (i64::MAX, i64::MAX, false),
        ] {
            let (old, new) = (MicroCredits::new(old), MicroCredits::new(new));
            assert_eq!(is_a_leap(old, new), leap, "{old} {new}");
        }
    }
}
