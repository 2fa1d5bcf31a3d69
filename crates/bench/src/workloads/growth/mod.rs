//! `bench growth`: what a cycle of hold and settlement costs on an empty ledger, and after it has grown. The history is made the
//! way all history is made, through `ledger::submit`, as fast as it goes.

mod plan;
mod report;

use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use db::DbError;
use serde::Serialize;

use self::plan::{Cost, Room, Step, allowed, steps};
use self::report::{Disk, Point, Report, Run, compare};
use super::ledger::books::Books;
use super::ledger::driver::{self, Work};
use super::ledger::engine::Engine;
use super::ledger::trade::{Totals, Trade};
use super::ledger::{Batches, ISLANDS, data_folder};
use crate::meters::{self, Memory};
use crate::postgres::Server;
use crate::report::print;
use crate::stats::{count, grouped, ratio, seconds};
use crate::{Result, note};

/// Accounts are opened in portions of this, with a look at the clock between.
const PORTION: u64 = 65_536;
/// What each consumer is granted, in micro-credits: enough for 100,000 cycles.
const GRANT: i64 = 500 * 1_000_000;
/// Entries of a cycle: the consumer's, the Island's, the network's.
const ENTRIES_OF_CYCLE: u64 = 3;
/// Entries of a grant.
const ENTRIES_OF_GRANT: u64 = 2;
const LOG_SIZE: &str = "SELECT coalesce(sum(size), 0)::bigint FROM pg_ls_waldir()";
const MIB: u64 = 1024 * 1024;

/// How the measurement is done.
#[derive(Debug, Args, Serialize)]
pub struct Options {
    /// Numbers of accounts to grow to. The smallest is what the others are compared with.
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 1_000_000, 10_000_000],
          value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    accounts: Vec<u64>,
    /// Numbers of entries to grow to, in turn with those of accounts. The grants of new accounts count.
    #[arg(long, value_delimiter = ',', default_values_t = [10_000_000, 100_000_000],
          value_parser = clap::value_parser!(u64).range(1..=10_000_000_000))]
    entries: Vec<u64>,
    /// Which database.
    #[arg(long, value_enum, default_value_t = Database::Sqlite)]
    engine: Database,
    /// A PostgreSQL server where databases may be made. Default: one is started, with default settings.
    #[arg(long, value_name = "URL")]
    #[serde(skip)]
    postgres: Option<String>,
    /// How long everything may take; what does not fit is scaled down.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    budget_minutes: u32,
    /// How much of the disk is left free.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=100_000))]
    free_gib: u64,
    /// How long each run is measured, after a quarter of that. What it does becomes part of the history.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// How many runs there are at each size; the median is reported.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    #[command(flatten)]
    batches: Batches,
    /// What chance is made of.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Answer in JSON.
    #[arg(long)]
    #[serde(skip)]
    json: bool,
    /// In which folder the data are kept while it runs; it should be on a real disk. Default: where programs are
    /// built.
    #[arg(long)]
    #[serde(skip)]
    data: Option<PathBuf>,
}

/// Where the ledger is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Database {
    Sqlite,
    Postgres,
}

/// Measures, checks the books, and reports.
pub async fn run(options: &Options) -> Result<()> {
    let report = measure(options).await?;
    print(&if options.json { serde_json::to_string_pretty(&report)? } else { report.table() })
}

async fn measure(options: &Options) -> Result<Report<'_, Options>> {
    let folder = data_folder(options.data.as_deref())?;
    let machine = meters::described(folder.path())?;
    let server = match options.engine {
        Database::Sqlite => None,
        Database::Postgres => Some(Server::start(options.postgres.as_deref())?),
    };
    let file = folder.path().join("ledger.db");
    let url = match &server {
        None => format!("sqlite:{}", file.display()),
        Some(server) => server.create("growth").await?,
    };
    let steps = steps(&options.accounts, &options.entries);
    let Some(Step::Accounts(consumers)) = steps.first() else { return Err("no accounts at all".into()) };
    let mut growth = Growth::open(options, &url, file, *consumers).await?;
    growth.backends = server.as_ref().is_some_and(Server::is_own);
    growth.measure().await?;
    for step in &steps[1..] {
        growth.step(*step).await?;
    }
    growth.books()?.compare(growth.totals).await?;
    let Growth { mut points, scaled, totals, engine, .. } = growth;
    compare(&mut points);
    drop(engine);
    if let Some(server) = server {
        server.drop_all().await?;
    }
    Ok(Report { machine, options, points, scaled, cycles: totals.cycles })
}

struct Growth<'a> {
    options: &'a Options,
    engine: Rc<Engine>,
    /// The SQLite file, if there is one.
    file: PathBuf,
    /// Whether there are processes of PostgreSQL that can be looked at.
    backends: bool,
    deadline: Instant,
    next: u64,
    totals: Totals,
    entries: u64,
    account_cost: Cost,
    cycle_cost: Cost,
    points: Vec<Point>,
    scaled: Vec<String>,
}

impl<'a> Growth<'a> {
    async fn open(options: &'a Options, url: &str, file: PathBuf, consumers: u64) -> Result<Self> {
        let deadline = Instant::now() + Duration::from_secs(60) * options.budget_minutes;
        let trade = Trade { consumers: 0, islands: ISLANDS, seed: options.seed };
        let books = Books::open(url, trade, options.batches.limits()?).await?;
        let mut growth = Self {
            options,
            engine: Rc::new(Engine::Books(books)),
            file,
            backends: false,
            deadline,
            next: 0,
            totals: Totals::default(),
            entries: 0,
            account_cost: Cost::default(),
            cycle_cost: Cost::default(),
            points: Vec::new(),
            scaled: Vec::new(),
        };
        growth.open_accounts(consumers).await?;
        Ok(growth)
    }

    fn books(&self) -> Result<&Books> {
        match &*self.engine {
            Engine::Books(books) => Ok(books),
            _ => Err("not our ledger".into()),
        }
    }

    /// Grows to a size and measures there, as far as there is room.
    async fn step(&mut self, step: Step) -> Result<()> {
        let (what, target, present, each) = match step {
            Step::Accounts(target) => {
                ("accounts", target, self.books()?.trade().consumers, self.account_cost)
            }
            Step::Entries(target) => ("entries", target, self.entries, self.cycle_cost.per(ENTRIES_OF_CYCLE)),
        };
        if target <= present {
            let text =
                format!("{} {what}: left out, there are {} already", grouped(target), grouped(present));
            self.say(text);
            return Ok(());
        }
        let (more, in_the_way) = allowed(target - present, each, self.room()?);
        if let Some(reason) = in_the_way {
            let reached = grouped(present + more);
            self.say(format!("{} {what}: {reached}, because of {reason} there is", grouped(target)));
        }
        note(&format!("growing to {} {what}", grouped(present + more)));
        let reached = match step {
            Step::Accounts(_) => {
                self.open_accounts(present + more).await?;
                self.books()?.trade().consumers
            }
            Step::Entries(_) => {
                self.make_history(more.div_ceil(ENTRIES_OF_CYCLE)).await?;
                self.entries
            }
        };
        if reached < present + more {
            self.say(format!("{} {what}: {}, then the time was over", grouped(target), grouped(reached)));
        }
        if reached > present { self.measure().await } else { Ok(()) }
    }

    /// Opens and funds accounts until there are `consumers`, or until the time is over.
    async fn open_accounts(&mut self, consumers: u64) -> Result<()> {
        let (since, before) = (Instant::now(), self.disk().await?);
        let first = self.books()?.trade().consumers;
        let mut present = first;
        let until = self.growing_ends();
        while present < consumers && (Instant::now() < until || first == 0) {
            let some = consumers.min(present + PORTION);
            self.books()?.grow(some, GRANT, self.next).await?;
            self.entries += (some - present) * ENTRIES_OF_GRANT;
            present = some;
        }
        self.account_cost = Cost::of(present - first, since, before, self.disk().await?);
        Ok(())
    }

    /// Does so many cycles, or as many as there is time for.
    async fn make_history(&mut self, cycles: u64) -> Result<()> {
        let (since, before) = (Instant::now(), self.disk().await?);
        let done = self.cycles(Work::Cycles { count: cycles, until: self.growing_ends() }).await?;
        self.cycle_cost = Cost::of(done.measured, since, before, self.disk().await?);
        Ok(())
    }

    async fn cycles(&mut self, work: Work) -> Result<driver::Outcome> {
        let outcome = driver::run(&self.engine, work, self.next).await?;
        self.next = outcome.cycles.end;
        self.totals += self.books()?.trade().totals(outcome.cycles.clone());
        self.entries += (outcome.cycles.end - outcome.cycles.start) * ENTRIES_OF_CYCLE;
        Ok(outcome)
    }

    /// What a cycle costs now.
    async fn measure(&mut self) -> Result<()> {
        let measured = seconds(self.options.seconds)?;
        let (since, before, first) = (Instant::now(), self.disk().await?, self.next);
        let (accounts, entries) = (self.books()?.trade().consumers, self.entries);
        let mut runs = Vec::new();
        for _ in 0..self.options.runs {
            let outcome = self.cycles(Work::Full { warm_up: measured / 4, measured }).await?;
            let each =
                |time: Duration| ratio(time.as_secs_f64() * 1e6, count(outcome.measured)).unwrap_or_default();
            runs.push(Run {
                cycle_us: each(outcome.complete()),
                acknowledged_us: each(outcome.elapsed),
                own_cpu_us: each(outcome.used.groups.iter().map(|(_, time)| *time).sum()),
            });
        }
        let disk = self.disk().await?;
        if self.cycle_cost.seconds <= 0.0 {
            self.cycle_cost = Cost::of(self.next - first, since, before, disk);
        }
        let memory = (meters::memory(std::process::id())?, self.backend_memory().await?);
        let point = Point::new(accounts, [entries, self.entries], runs, disk, memory);
        note(&point.line());
        self.points.push(point);
        Ok(())
    }

    fn say(&mut self, text: String) {
        note(&text);
        self.scaled.push(text);
    }

    /// When growing must end so that what it led to can still be measured.
    fn growing_ends(&self) -> Instant {
        let runs = self.options.runs;
        let measuring = seconds(self.options.seconds).unwrap_or_default() * 2 * runs;
        self.deadline.checked_sub(measuring).unwrap_or(self.deadline)
    }

    fn room(&self) -> Result<Room> {
        let folder = if self.backends { std::env::temp_dir() } else { self.file.with_file_name(".") };
        let free = meters::free_bytes(&folder)?;
        let bytes = free.saturating_sub(self.options.free_gib * 1024 * MIB);
        Ok(Room { time: self.growing_ends().saturating_duration_since(Instant::now()), bytes })
    }

    async fn disk(&self) -> Result<Disk> {
        if self.options.engine == Database::Sqlite {
            let mib = |file: PathBuf| std::fs::metadata(file).map_or(0, |file| file.len() / MIB);
            return Ok(Disk {
                database_mib: mib(self.file.clone()),
                log_mib: mib(self.file.with_extension("db-wal")),
            });
        }
        let own = self.backends;
        let sizes = async move |tx: &mut db::Tx<'_>| {
            let database = tx.query_one("SELECT pg_database_size(current_database())", &[]).await?.get(0)?;
            // Not everybody may ask this.
            let log = if own { tx.query_one(LOG_SIZE, &[]).await?.get(0)? } else { 0 };
            Ok([database, log])
        };
        let sizes: [i64; 2] = self.books()?.db().read::<_, DbError, _>("sizes", sizes).await?;
        let [database, log] = sizes.map(|bytes| u64::try_from(bytes).unwrap_or_default() / MIB);
        Ok(Disk { database_mib: database, log_mib: log })
    }

    /// Of the largest process of PostgreSQL that serves this database.
    async fn backend_memory(&self) -> Result<Option<Memory>> {
        if !self.backends {
            return Ok(None);
        }
        let pids = async |tx: &mut db::Tx<'_>| {
            let sql = "SELECT pid::bigint FROM pg_stat_activity WHERE datname = current_database()";
            tx.query(sql, &[]).await?.iter().map(|row| row.get(0)).collect()
        };
        let pids: Vec<i64> = self.books()?.db().read::<_, DbError, _>("backends", pids).await?;
        // One that is gone by now was not the one that serves.
        let all = pids.into_iter().filter_map(|pid| meters::memory(u32::try_from(pid).ok()?).ok());
        Ok(all.max_by_key(|memory| memory.peak_mib))
    }
}

impl Cost {
    /// Of each of `number` that were made since.
    fn of(number: u64, since: Instant, before: Disk, after: Disk) -> Self {
        let grown = (after.database_mib + after.log_mib).saturating_sub(before.database_mib + before.log_mib);
        let each = |all: f64| ratio(all, count(number)).unwrap_or_default();
        Self { seconds: each(since.elapsed().as_secs_f64()), bytes: each(count(grown * MIB)) }
    }

    /// If what it is of is made of `parts`.
    fn per(self, parts: u64) -> Self {
        Self { seconds: self.seconds / count(parts), bytes: self.bytes / count(parts) }
    }
}

#[cfg(test)]
mod tests;
