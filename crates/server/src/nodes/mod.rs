//! Which coordinators run on this database, each under a number of its own.
//!
//! Guarantees:
//!
//! * two processes that live at the same time never have the same number, so they never make the same id;
//! * nor does one that has a number after another, although its clock may have gone back meanwhile: it begins later than
//!   the other can have come to ([`Claim::ids`]);
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
use types::id::{IdGenerator, RequestId};
use types::rng::Random;
use types::time::{MINUTE_MS, Timestamp};

use crate::app::{App, StartError};
use crate::config::{Config, Coordinators};
use crate::secrets;

/// How many numbers there are; they are ten bits of every id.
const NUMBERS: u16 = 1024;
/// In the data directory: which coordinator this is.
const INSTANCE: &str = "instance";
/// How the names begin that commands have instead; they give no signs of life.
const COMMAND: &str = "command-";
/// How often signs of life are looked for by one who waits for them.
const LOOK: Duration = Duration::from_millis(100);
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
    /// What its ids must not be earlier than.
    not_before: Timestamp,
}

impl Claim {
    /// Makes ids that are later than any this number was used for.
    #[must_use]
    pub fn ids(&self) -> IdGenerator {
        let ids = IdGenerator::new(self.node.number);
        // Ids never go back, so those to come are later than this one.
        let _: RequestId = ids.next(self.not_before);
        ids
    }
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

impl Taken {
    /// What ids with this number are certainly earlier than, whatever the clock of who had it did since. One that gave the
    /// number back, or from whom it was taken, said so itself.
    fn used_until(&self, patience: Duration) -> Timestamp {
        let unheard = if self.run == 0 { Duration::ZERO } else { patience };
        self.heartbeat_at.plus_millis(i64::try_from(unheard.as_millis()).unwrap_or(i64::MAX)).plus_millis(1)
    }
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

/// For how long a coordinator may be silent before its jobs are taken over. Nor does one that is longer silent write anything,
/// if it can help it: its ids are at most that much later than its last sign of life.
#[must_use]
pub fn patience(config: &Coordinators) -> Duration {
    Duration::from_secs(u64::from(config.takeover_secs)) * 3 / 5
}

/// The number of the coordinator of this data directory: the one it had before, or a free one.
///
/// # Errors
/// A [`StartError`].
pub async fn claim(
    db: &Db,
    config: &Config,
    random: &dyn Random,
    now: Timestamp,
) -> Result<Claim, StartError> {
    let instance = instance(&config.data_dir, random)?;
    claim_as(db, instance, run(random), false, (now, patience(&config.coordinators))).await
}

/// A number for a command that works beside the coordinators. To be [released](release).
///
/// # Errors
/// A [`StartError`].
pub async fn claim_for_command(db: &Db, random: &dyn Random, now: Timestamp) -> Result<Claim, StartError> {
    let instance = secrets::new(random, COMMAND);
    // Those it may find silent have been so for longer than this.
    claim_as(db, instance, run(random), true, (now, Duration::ZERO)).await
}

async fn claim_as(
    db: &Db,
    instance: String,
    run: i64,
    from_the_top: bool,
    (now, patience): (Timestamp, Duration),
) -> Result<Claim, StartError> {
    let claim = db
        .tx("claim_node", async move |tx| {
            let taken = store::all(tx).await?;
            let Some(number) = choose(&taken, &instance, from_the_top, now) else { return Ok(None) };
            let before = taken.iter().find(|one| one.number == number);
            let not_before = before.map_or(now, |one| one.used_until(patience).max(now));
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

/// Which coordinator this data directory belongs to, if one has run on it.
#[must_use]
pub fn known_instance(data_dir: &Path) -> Option<String> {
    let known = fs::read_to_string(data_dir.join(INSTANCE)).unwrap_or_default().trim().to_owned();
    (!known.is_empty()).then_some(known)
}

/// The same, from now on if not before.
fn instance(data_dir: &Path, random: &dyn Random) -> Result<String, StartError> {
    if let Some(known) = known_instance(data_dir) {
        return Ok(known);
    }
    let path = data_dir.join(INSTANCE);
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
pub async fn release(db: &Db, node: Node, now: Timestamp) -> Result<(), DbError> {
    db.tx("release_node", async move |tx| store::release(tx, node, now).await).await
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
    let known = known_instance(&app.config.data_dir).unwrap_or_default();
    let twin = taken.iter().any(|one| one.number == node.number && one.instance == known);
    Ok(Beat::Lost { twin })
}

/// The number of a coordinator that gives a sign of life within `patience`, if one does. Those called `gone` are known not to
/// run. When there are others, `waits` is told the number of one before they are waited for.
///
/// # Errors
/// A [`DbError`].
pub async fn alive(
    db: &Db,
    gone: &[String],
    patience: Duration,
    waits: impl Fn(u16),
) -> Result<Option<u16>, DbError> {
    let may_run =
        |one: &Taken| one.run != 0 && !one.instance.starts_with(COMMAND) && !gone.contains(&one.instance);
    let look = async || -> Result<Vec<Taken>, DbError> {
        let taken = db.read("coordinators", async |tx| store::all(tx).await).await?;
        Ok(taken.into_iter().filter(may_run).collect())
    };
    let before = look().await?;
    let Some(first) = before.first() else { return Ok(None) };
    waits(first.number);
    let started = Instant::now();
    while started.elapsed() < patience {
        tokio::time::sleep(LOOK).await;
        let silent = |one: &Taken| before.iter().any(|old| (old.run, old.beat) == (one.run, one.beat));
        if let Some(lives) = look().await?.iter().find(|one| !silent(one)) {
            return Ok(Some(lives.number));
        }
    }
    Ok(None)
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
    use types::id::Id;

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

    #[tokio::test]
    async fn ids_never_repeat_though_the_clock_goes_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::load(None, []).unwrap();
        config.data_dir = folder.path().to_path_buf();
        let db = crate::app::open_database(&config, db::OpenOptions::command()).await.unwrap();
        let random = types::rng::SeededRandom::new(1);
        let at = |seconds: i64| Timestamp::from_millis(1_800_000_000_000 + seconds * 1000);
        let mut latest = RequestId::from_i64(0);
        let mut makes = |claim: Claim, now| {
            let ids = claim.ids();
            for _ in 0..5 {
                let id = ids.next(now);
                assert!(id > latest, "{id} was made before");
                latest = id;
            }
        };
        // Killed just before it would have given a sign of life; started again with a clock that went back, twice.
        let first = claim(&db, &config, &random, at(100)).await.unwrap();
        makes(first, at(100));
        makes(first, at(109));
        for now in [50, 49] {
            let again = claim(&db, &config, &random, at(now)).await.unwrap();
            assert_eq!(again.node.number, first.node.number);
            makes(again, at(now));
        }
        // A number that was given back, or taken away.
        let last = claim(&db, &config, &random, at(200)).await.unwrap();
        makes(last, at(209));
        let stale = Stale { number: last.node.number, run: last.node.run, beat: 4 };
        let patience = patience(&config.coordinators);
        let freed = db.tx("free", async move |tx| store::free(tx, stale, patience).await).await.unwrap();
        assert!(freed, "it had the number four times");
        fs::remove_file(folder.path().join(INSTANCE)).unwrap();
        let other = claim(&db, &config, &random, at(40)).await.unwrap();
        assert_eq!(other.node.number, last.node.number);
        makes(other, at(40));
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
