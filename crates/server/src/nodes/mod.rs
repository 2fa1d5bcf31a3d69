//! Which coordinators run on this database, each under a number of its own.
//!
//! Guarantees:
//!
//! * two processes that live at the same time never have the same number, so they never make the same id;
//! * a process that has lost its number begins and ends no job any more: [`store::owns`] is asked in the transaction
//!   itself (`jobs::commit`), so nothing depends on clocks or on the lost one noticing;
//! * a coordinator that is started again on its data directory has its number, and with it its jobs, again at once;
//! * the jobs of one that is not heard of for [`takeover`](crate::config::Coordinators::takeover_secs) seconds are taken over by
//!   another (`jobs::recover`), and its number is free.
//!
//! A sign of life is a count that grows. Who watches measures with its own clock how long the count has stood still while
//! the database could be read, so clocks that disagree, and a database that was away, take nobody's jobs.

pub(crate) mod store;

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use db::{Db, DbError};
use tokio::time::Instant;
use types::rng::Random;
use types::time::{MINUTE_MS, Timestamp};

use crate::app::{App, StartError};
use crate::secrets;

/// How many numbers there are; they are ten bits of every id.
const NUMBERS: u16 = 1024;
/// In the data directory: which coordinator this is.
const INSTANCE: &str = "instance";
/// When every number is taken, one that was not heard of for so long by the clock is taken all the same.
const FORGOTTEN_MS: i64 = 5 * MINUTE_MS;

/// The number of a process, as long as it has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// The number, below 1024.
    pub number: u16,
    /// Which process: made anew at every start.
    run: i64,
}

/// A number, and what its ids must be later than.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// The number.
    pub node: Node,
    /// When whoever had it before was last heard of.
    pub not_before: Timestamp,
}

/// A number that was taken once.
#[derive(Clone, Debug)]
pub struct Taken {
    number: u16,
    instance: String,
    run: i64,
    beat: i64,
    heartbeat_at: Timestamp,
}

/// A number whose process gives no sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale {
    /// The number.
    pub number: u16,
    run: i64,
    beat: i64,
}

/// What a sign of life was answered with.
#[derive(Debug)]
pub enum Beat {
    /// The number is ours; these are all that are taken.
    Ours(Vec<Taken>),
    /// Another process has it, or had it since.
    Lost {
        /// It was started as the same coordinator, on a copy of our data directory.
        twin: bool,
    },
}

/// The number of the coordinator of this data directory: the one it had before, or a free one.
///
/// # Errors
/// A [`StartError`].
pub async fn claim(
    db: &Db,
    data_dir: &Path,
    random: &dyn Random,
    now: Timestamp,
) -> Result<Claim, StartError> {
    let instance = instance(data_dir, random)?;
    claim_as(db, instance, run(random), false, now).await
}

/// A number for a command that works beside the coordinators. To be [released](release).
///
/// # Errors
/// A [`StartError`].
pub async fn claim_for_command(db: &Db, random: &dyn Random, now: Timestamp) -> Result<Claim, StartError> {
    let instance = secrets::new(random, "command-");
    claim_as(db, instance, run(random), true, now).await
}

async fn claim_as(
    db: &Db,
    instance: String,
    run: i64,
    from_the_top: bool,
    now: Timestamp,
) -> Result<Claim, StartError> {
    let claim = db
        .tx("claim_node", async move |tx| {
            let taken = store::all(tx).await?;
            let Some(number) = choose(&taken, &instance, from_the_top, now) else { return Ok(None) };
            let before = taken.iter().find(|one| one.number == number);
            let not_before = before.map_or(now, |one| one.heartbeat_at.max(now));
            let node = Node { number, run };
            store::claim(tx, node, &instance, not_before).await?;
            Ok::<_, DbError>(Some(Claim { node, not_before }))
        })
        .await?;
    claim.ok_or_else(|| {
        StartError::Refused(format!(
            "{NUMBERS} coordinators and commands are at work on this database, which is as many as there can be; try again in a few minutes"
        ))
    })
}

/// Its own number, else a free one (coordinators have low numbers, commands high ones), else one long forgotten.
fn choose(taken: &[Taken], instance: &str, from_the_top: bool, now: Timestamp) -> Option<u16> {
    if let Some(own) = taken.iter().find(|one| one.run != 0 && one.instance == instance) {
        return Some(own.number);
    }
    let is_free = |number: &u16| !taken.iter().any(|one| one.number == *number && one.run != 0);
    let free = if from_the_top { (0..NUMBERS).rev().find(is_free) } else { (0..NUMBERS).find(is_free) };
    free.or_else(|| {
        let oldest = taken.iter().min_by_key(|one| one.heartbeat_at)?;
        (oldest.heartbeat_at.plus_millis(FORGOTTEN_MS) < now).then_some(oldest.number)
    })
}

fn run(random: &dyn Random) -> i64 {
    let mut bytes = [0; 8];
    random.fill(&mut bytes);
    // Positive, and never 0, which stands for nobody.
    (i64::from_le_bytes(bytes) & i64::MAX).max(1)
}

/// Which coordinator this data directory belongs to.
fn instance(data_dir: &Path, random: &dyn Random) -> Result<String, StartError> {
    let path = data_dir.join(INSTANCE);
    let known = fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
    if !known.is_empty() {
        return Ok(known);
    }
    let new = secrets::new(random, "");
    fs::write(&path, format!("{new}\n"))
        .map_err(|error| StartError::Refused(format!("{} cannot be written: {error}", path.display())))?;
    Ok(new)
}

/// This data directory is a copy: at the next start its coordinator is another one.
pub fn become_another(data_dir: &Path) {
    let path = data_dir.join(INSTANCE);
    if let Err(error) = fs::remove_file(&path) {
        tracing::warn!(%error, "{} could not be removed", path.display());
    }
}

/// Gives the number of a command back.
///
/// # Errors
/// A [`DbError`].
pub async fn release(db: &Db, node: Node) -> Result<(), DbError> {
    db.tx("release_node", async move |tx| store::release(tx, node).await).await
}

/// Gives a sign of life.
///
/// # Errors
/// A [`DbError`]; then nothing is known.
pub async fn beat_once(app: &App) -> Result<Beat, DbError> {
    let (node, now) = (app.node, app.clock.now());
    let (ours, taken) = app
        .db
        .tx("heartbeat", async move |tx| {
            Ok::<_, DbError>((store::beat(tx, node, now).await?, store::all(tx).await?))
        })
        .await?;
    if ours {
        return Ok(Beat::Ours(taken));
    }
    let known = fs::read_to_string(app.config.data_dir.join(INSTANCE)).unwrap_or_default();
    let twin = taken.iter().any(|one| one.number == node.number && one.instance == known.trim());
    Ok(Beat::Lost { twin })
}

/// How long the others have been silent, by our own clock.
#[derive(Debug)]
pub struct Watch {
    own: u16,
    /// Silent for this long: taken over.
    limit: Duration,
    /// With a longer time between two looks nothing is known of the time between.
    blink: Duration,
    looked: Option<Instant>,
    /// Number to (run, beat, since when).
    seen: HashMap<u16, (i64, i64, Instant)>,
}

impl Watch {
    /// Watches all but `own`.
    #[must_use]
    pub fn new(own: u16, limit: Duration, blink: Duration) -> Self {
        Self { own, limit, blink, looked: None, seen: HashMap::new() }
    }

    /// Takes note of who gave a sign of life; answers who has been silent for too long.
    pub fn look(&mut self, taken: &[Taken], now: Instant) -> Vec<Stale> {
        if self.looked.is_none_or(|before| now.duration_since(before) > self.blink) {
            self.seen.clear();
        }
        self.looked = Some(now);
        let others: Vec<&Taken> = taken.iter().filter(|one| one.run != 0 && one.number != self.own).collect();
        self.seen.retain(|number, _| others.iter().any(|one| one.number == *number));
        let mut stale = Vec::new();
        for one in others {
            let seen = self.seen.entry(one.number).or_insert((one.run, one.beat, now));
            if (seen.0, seen.1) != (one.run, one.beat) {
                *seen = (one.run, one.beat, now);
            } else if now.duration_since(seen.2) >= self.limit {
                stale.push(Stale { number: one.number, run: one.run, beat: one.beat });
            }
        }
        stale
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(number: u16, instance: &str, run: i64, beat: i64) -> Taken {
        let heartbeat_at = Timestamp::from_millis(1000 + i64::from(number));
        Taken { number, instance: instance.to_owned(), run, beat, heartbeat_at }
    }

    #[test]
    fn a_coordinator_has_its_own_number_again_or_a_free_one() {
        let now = Timestamp::from_millis(2000);
        let some = [taken(0, "a", 5, 1), taken(1, "", 0, 9), taken(2, "b", 6, 1), taken(1023, "c", 7, 1)];
        assert_eq!(choose(&some, "b", false, now), Some(2));
        assert_eq!(choose(&some, "new", false, now), Some(1), "given back");
        assert_eq!(choose(&some, "", false, now), Some(1), "nobody is nobody's");
        assert_eq!(choose(&some, "new", true, now), Some(1022));
        assert_eq!(choose(&[], "new", false, now), Some(0));
        let all: Vec<Taken> = (0..NUMBERS).map(|number| taken(number, "x", 1, 1)).collect();
        assert_eq!(choose(&all, "new", false, now), None);
        assert_eq!(choose(&all, "new", false, now.plus_millis(FORGOTTEN_MS)), Some(0));
    }

    #[test]
    fn silence_is_measured_only_while_we_look() {
        let limit = Duration::from_secs(9);
        let mut watch = Watch::new(0, limit, Duration::from_secs(6));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let one = |beat| [taken(0, "we", 1, 1), taken(1, "other", 5, beat), taken(2, "", 0, 3)];
        for second in [0, 3, 6] {
            assert_eq!(watch.look(&one(1), at(second)), [], "{second}");
        }
        let stale = Stale { number: 1, run: 5, beat: 1 };
        assert_eq!(watch.look(&one(1), at(9)), [stale]);
        assert_eq!(watch.look(&one(2), at(12)), [], "it lives");
        assert_eq!(watch.look(&one(2), at(18)), []);
        assert_eq!(watch.look(&one(2), at(21)), [Stale { beat: 2, ..stale }]);
        // The database was away: whoever came back with it gets its time.
        assert_eq!(watch.look(&one(2), at(60)), []);
        assert_eq!(watch.look(&one(2), at(66)), []);
        assert_eq!(watch.look(&[taken(1, "other", 6, 2)], at(69)), [], "started again");
    }

    #[test]
    fn a_data_directory_keeps_its_coordinator_until_it_is_a_copy() {
        let folder = tempfile::tempdir().unwrap();
        let random = types::rng::SeededRandom::new(1);
        let first = instance(folder.path(), &random).unwrap();
        assert_eq!(instance(folder.path(), &random).unwrap(), first);
        become_another(folder.path());
        assert_ne!(instance(folder.path(), &random).unwrap(), first);
    }
}
