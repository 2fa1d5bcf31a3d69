//! `bench ledger`: durable cycles of hold and settlement per second, our ledger on SQLite and PostgreSQL beside what people
//! write without one and, if there is a server, TigerBeetle. All in one invocation on one machine, run by run in turn, so
//! that what else the machine does hits all alike.

mod baseline;
pub mod books;
mod competitor;
pub mod driver;
pub mod engine;
#[cfg(test)]
mod fake;
mod report;
mod schedule;
#[cfg(feature = "tigerbeetle")]
mod tigerbeetle;
pub mod trade;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tempfile::TempDir;

use self::competitor::{Competitor, EngineName, Places, competitors};
use self::driver::{Limits, Work};
use self::engine::Engine;
use self::report::{Load, Report, Row};
use self::trade::{Spread, Totals, Trade};
use crate::postgres::Server;
use crate::report::print;
use crate::{Result, meters, note, stats};

/// How many Islands earn.
pub const ISLANDS: u64 = 1000;
/// Before anything is counted, at most.
const WARM_UP: Duration = Duration::from_secs(2);

/// How the measurement is done.
#[derive(Debug, Args, Serialize)]
pub struct Options {
    /// How long each run is measured, after a warm-up of as long, but at most 2 s.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// How often everything is repeated; medians are reported.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// Over how many accounts the consumers are spread: one measurement for each number.
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 1_000_000],
          value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    accounts: Vec<u64>,
    /// Leave out the measurement with a single consumer.
    #[arg(long)]
    no_hot: bool,
    /// Leave out the measurement at half the speed.
    #[arg(long)]
    no_half: bool,
    /// Who is measured.
    #[arg(long, value_enum, value_delimiter = ',',
          default_values_t = [EngineName::Sqlite, EngineName::Postgres, EngineName::Baseline])]
    engines: Vec<EngineName>,
    /// A PostgreSQL server where databases may be made. Default: one is started, with default settings.
    #[arg(long, value_name = "URL")]
    #[serde(skip)]
    postgres: Option<String>,
    /// The address of a TigerBeetle server, cluster 0.
    #[arg(long, value_name = "ADDRESS")]
    tigerbeetle: Option<String>,
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

/// What a ledger is given at once.
#[derive(Clone, Copy, Debug, Args, Serialize)]
pub struct Batches {
    /// Most commands in a batch; TigerBeetle takes 4,094 at most.
    #[arg(long, default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    batch: u32,
    /// Most batches under way: while one is made durable the next can be prepared.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    lanes: u32,
    /// How many cycles are outstanding at full speed. Default: enough to fill one batch more than are under way.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    outstanding: Option<u32>,
}

/// Someone who takes part, ready.
struct Player {
    competitor: Competitor,
    engine: Rc<Engine>,
    trade: Trade,
    /// What it has done so far.
    totals: Totals,
    next: u64,
    /// Cycles a second of each run at full speed.
    peaks: Vec<f64>,
}

/// Measures, checks all books, and reports.
pub async fn run(options: &Options) -> Result<()> {
    let report = measure(options).await?;
    print(&if options.json { serde_json::to_string_pretty(&report)? } else { report.table() })
}

async fn measure(options: &Options) -> Result<Report<'_, Options>> {
    if options.tigerbeetle.is_some() && !cfg!(feature = "tigerbeetle") {
        return Err("TigerBeetle cannot be asked: build with --features tigerbeetle".into());
    }
    let folder = data_folder(options.data.as_deref())?;
    let competitors = competitors(&options.engines, options.tigerbeetle.is_some());
    let wants_server = |one: &Competitor| matches!(one, Competitor::Postgres | Competitor::Baseline(..));
    let server = match (competitors.iter().any(wants_server), &options.postgres) {
        (false, _) => None,
        (true, given) => Some(Server::start(given.as_deref())?),
    };
    let machine = meters::described(folder.path())?;
    let mut rows = Vec::new();
    let mut verified = Totals::default();
    for spread in options.spreads() {
        let postgres = server.as_ref();
        let places = Places { folder: folder.path(), postgres, tigerbeetle: options.tigerbeetle.as_deref() };
        let mut bench = Bench { options, spread, players: Vec::new(), rows: Vec::new() };
        bench.set_up(&competitors, &places).await?;
        bench.run().await?;
        verified += bench.verify().await?;
        rows.append(&mut bench.rows);
        drop(bench);
        clear(folder.path(), server.as_ref()).await?;
    }
    Ok(Report::new(machine, options, rows, verified))
}

struct Bench<'a> {
    options: &'a Options,
    spread: Spread,
    players: Vec<Player>,
    rows: Vec<Row>,
}

impl Options {
    /// Each once.
    fn spreads(&self) -> Vec<Spread> {
        let mut spreads = Vec::new();
        let numbers = self.accounts.iter().map(|number| Spread::Accounts(*number));
        for spread in numbers.chain((!self.no_hot).then_some(Spread::Hot)) {
            if !spreads.contains(&spread) {
                spreads.push(spread);
            }
        }
        spreads
    }
}

impl Bench<'_> {
    async fn set_up(&mut self, competitors: &[Competitor], places: &Places<'_>) -> Result<()> {
        let trade = Trade { consumers: self.spread.consumers(), islands: ISLANDS, seed: self.options.seed };
        let limits = self.options.batches.limits()?;
        for &competitor in competitors {
            note(&format!("{}: {}, opening accounts", self.spread.name(), competitor.name()));
            let engine = Rc::new(competitor.open(places, trade, limits).await?);
            let (totals, peaks) = (Totals::default(), Vec::new());
            self.players.push(Player { competitor, engine, trade, totals, next: 0, peaks });
        }
        Ok(())
    }

    /// First everybody at full speed, then everybody at half of it.
    async fn run(&mut self) -> Result<()> {
        let measured = stats::seconds(self.options.seconds)?;
        let warm_up = measured.min(WARM_UP);
        for number in 1..=self.options.runs {
            for player in &mut self.players {
                let work = Work::Full { warm_up, measured };
                let row = player.run(self.spread, work, Load::Full, number).await?;
                player.peaks.push(row.per_second);
                self.rows.push(row);
            }
        }
        let runs = if self.options.no_half { 0 } else { self.options.runs };
        for number in 1..=runs {
            for player in &mut self.players {
                let rate = half(&player.peaks)?;
                let work = Work::Rate { rate, warm_up, measured };
                self.rows.push(player.run(self.spread, work, Load::Half { rate }, number).await?);
            }
        }
        Ok(())
    }

    /// Checks what everybody holds; answers all that was done.
    async fn verify(&self) -> Result<Totals> {
        let mut all = Totals::default();
        for player in &self.players {
            note(&format!("{}: {}, checking the books", self.spread.name(), player.competitor.name()));
            let checked = player.engine.verify(player.totals).await;
            checked.map_err(|error| format!("{}: {error}", player.competitor.name()))?;
            all += player.totals;
        }
        Ok(all)
    }
}

impl Player {
    async fn run(&mut self, spread: Spread, work: Work, load: Load, number: u32) -> Result<Row> {
        let outcome = driver::run(&self.engine, work, self.next).await;
        let outcome = outcome.map_err(|error| format!("{}: {error}", self.competitor.name()))?;
        self.next = outcome.cycles.end;
        self.totals += self.trade.totals(outcome.cycles.clone());
        let row = Row::new(spread, self.competitor, load, number, &outcome);
        note(&format!("{}: {}", spread.name(), row.line()));
        Ok(row)
    }
}

/// Half of the median.
fn half(peaks: &[f64]) -> Result<u64> {
    Ok(stats::whole(stats::median(peaks.to_vec()) / 2.0)?.max(1))
}

/// A folder for files that is gone when this is dropped.
pub fn data_folder(parent: Option<&Path>) -> Result<TempDir> {
    let programs = std::env::current_exe()?;
    let built = programs.parent().and_then(Path::parent);
    let parent =
        parent.or(built).ok_or("this program is in no folder; say with --data where to keep the data")?;
    Ok(tempfile::Builder::new().prefix("archipelago-bench-").tempdir_in(parent)?)
}

/// Removes the databases of a spread, so that they take no room from the next.
async fn clear(folder: &Path, server: Option<&Server>) -> Result<()> {
    for file in std::fs::read_dir(folder)? {
        match std::fs::remove_file(file?.path()) {
            // SQLite removes its log itself when it closes.
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    match server {
        Some(server) => server.drop_all().await,
        None => Ok(()),
    }
}

impl Batches {
    /// As the driver wants them.
    pub fn limits(&self) -> Result<Limits> {
        let (batch, lanes) = (usize::try_from(self.batch)?, usize::try_from(self.lanes)?);
        let enough = (lanes + 1) * batch;
        let outstanding = self.outstanding.map_or(Ok(enough), usize::try_from)?;
        Ok(Limits { batch, lanes, outstanding })
    }
}

#[cfg(test)]
mod tests;
