//! What was measured, as a table for people and as JSON.

use serde::Serialize;

use super::baseline::Style;
use super::competitor::Competitor;
use super::driver::Outcome;
use super::trade::{Spread, Totals};
use crate::report::{Machine, row};
use crate::stats::{Percentiles, count, grouped, median, ratio, whole};

/// What our ledger is to be worth beside others: at least so many times as many cycles.
const BAR_TIGERBEETLE: f64 = 2.0;
const BAR_BASELINE: f64 = 15.0;
const BAR_BASELINE_HOT: f64 = 50.0;
/// What a command's p99 is to be below at half the speed, in milliseconds.
const BAR_P99_MS: f64 = 10.0;

/// Everything.
#[derive(Debug, Serialize)]
pub struct Report<'a, O> {
    /// Where it was measured.
    machine: Machine,
    /// How.
    options: &'a O,
    /// The median of the runs of each load, column by column.
    pub medians: Vec<Row>,
    /// What is worth how many times what, from the medians.
    pub ratios: Vec<Ratio>,
    /// Each run.
    pub runs: Vec<Row>,
    /// What all books together hold, as they should.
    pub verified: Verified,
}

/// What was checked.
#[derive(Debug, Serialize)]
pub struct Verified {
    /// Cycles, warm-ups included.
    pub cycles: u64,
    /// What was charged for them, in micro-credits.
    pub charged: i64,
}

/// A kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Load {
    /// As fast as it goes.
    Full,
    /// Cycles at a constant rate, half of the median at full speed.
    Half {
        /// So many a second.
        rate: u64,
    },
}

/// One run, or the medians of several.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Over how many accounts.
    pub spread: Spread,
    /// Who.
    pub engine: Competitor,
    /// How.
    pub load: Load,
    /// Which run; of medians, how many there were.
    pub run: u32,
    /// Cycles a second.
    pub per_second: f64,
    /// Cycles a second, if what was put off meanwhile and done afterwards is counted too.
    pub complete_per_second: f64,
    /// From when a command was due until it was durable.
    pub command_ms: Percentiles,
    /// From when a hold was due until its settlement was durable.
    pub cycle_ms: Percentiles,
    /// Commands in a batch, on average.
    pub batch: f64,
    /// Processor time of this process, which has the ledger and SQLite in it, for each cycle, in microseconds.
    pub own_cpu_us: f64,
    /// Processor time of everything else on the machine, such as PostgreSQL, for each cycle, in microseconds.
    pub other_cpu_us: f64,
}

/// How many times as many cycles one does as another.
#[derive(Clone, Debug, Serialize)]
pub struct Ratio {
    /// Over how many accounts.
    pub spread: Spread,
    /// Who is compared.
    pub of: String,
    /// How many times as many.
    pub times: f64,
    /// How many times it should be at least.
    pub bar: Option<f64>,
}

impl Row {
    /// What a run came to.
    pub fn new(spread: Spread, engine: Competitor, load: Load, run: u32, outcome: &Outcome) -> Self {
        let cycles = count(outcome.measured);
        let own = outcome.used.groups.iter().map(|(_, time)| time.as_secs_f64()).sum::<f64>();
        let each = |seconds: f64| ratio(seconds * 1e6, cycles).unwrap_or_default();
        Self {
            spread,
            engine,
            load,
            run,
            per_second: ratio(cycles, outcome.elapsed.as_secs_f64()).unwrap_or_default(),
            complete_per_second: ratio(cycles, outcome.complete().as_secs_f64()).unwrap_or_default(),
            command_ms: Percentiles::of(&outcome.commands),
            cycle_ms: Percentiles::of(&outcome.whole),
            batch: ratio(count(outcome.batched), count(outcome.batches)).unwrap_or_default(),
            own_cpu_us: each(own),
            other_cpu_us: each(outcome.used.elsewhere.as_secs_f64()),
        }
    }

    /// In a few words.
    pub fn line(&self) -> String {
        let load = match self.load {
            Load::Full => "full speed".to_owned(),
            Load::Half { rate } => format!("{} a second", grouped(rate)),
        };
        let (name, Percentiles { p50, p99, .. }) = (self.engine.name(), self.command_ms);
        format!(
            "{name}, {load}, run {}: {:.0}/s  p50 {p50:.2} ms  p99 {p99:.2} ms",
            self.run, self.per_second
        )
    }

    fn same(&self, other: &Self) -> bool {
        self.spread == other.spread && self.engine == other.engine && self.load == other.load
    }
}

/// The medians of the runs of each engine under each load, in the order in which they were first seen.
fn medians(runs: &[Row]) -> Vec<Row> {
    let mut found: Vec<Row> = Vec::new();
    for first in runs {
        if found.iter().any(|one| one.same(first)) {
            continue;
        }
        let same: Vec<&Row> = runs.iter().filter(|run| run.same(first)).collect();
        let of = |column: fn(&Row) -> f64| median(same.iter().map(|run| column(run)).collect());
        let latencies = |column: fn(&Row) -> Percentiles| {
            Percentiles::medians(&same.iter().map(|run| column(run)).collect::<Vec<_>>())
        };
        found.push(Row {
            run: u32::try_from(same.len()).unwrap_or(u32::MAX),
            per_second: of(|run| run.per_second),
            complete_per_second: of(|run| run.complete_per_second),
            command_ms: latencies(|run| run.command_ms),
            cycle_ms: latencies(|run| run.cycle_ms),
            batch: of(|run| run.batch),
            own_cpu_us: of(|run| run.own_cpu_us),
            other_cpu_us: of(|run| run.other_cpu_us),
            ..*first
        });
    }
    found
}

/// All comparisons that can be made at full speed over `spread`.
fn ratios(medians: &[Row], spread: Spread) -> Vec<Ratio> {
    let best = |wanted: fn(Competitor) -> bool| {
        let rates = medians.iter().filter(|row| row.spread == spread && row.load == Load::Full);
        rates.filter(|row| wanted(row.engine)).map(|row| row.complete_per_second).max_by(f64::total_cmp)
    };
    let sqlite = best(|one| one == Competitor::Sqlite);
    let postgres = best(|one| one == Competitor::Postgres);
    let tigerbeetle = best(|one| one == Competitor::TigerBeetle);
    let baseline = best(|one| matches!(one, Competitor::Baseline(Style::Transaction, _)));
    let statement = best(|one| matches!(one, Competitor::Baseline(Style::Statement, _)));
    let bar = if spread == Spread::Hot { BAR_BASELINE_HOT } else { BAR_BASELINE };
    let pairs = [
        ("SQLite / TigerBeetle", sqlite, tigerbeetle, Some(BAR_TIGERBEETLE)),
        ("PostgreSQL / baseline", postgres, baseline, Some(bar)),
        ("PostgreSQL / one statement", postgres, statement, None),
    ];
    let mut found = Vec::new();
    for (of, one, other, bar) in pairs {
        let times = one.zip(other).and_then(|(one, other)| ratio(one, other));
        found.extend(times.map(|times| Ratio { spread, of: of.to_owned(), times, bar }));
    }
    found
}

impl<'a, O> Report<'a, O> {
    /// Of all runs.
    pub fn new(machine: Machine, options: &'a O, runs: Vec<Row>, totals: Totals) -> Self {
        let medians = medians(&runs);
        let ratios = spreads(&medians).into_iter().flat_map(|spread| ratios(&medians, spread)).collect();
        let verified = Verified { cycles: totals.cycles, charged: totals.charged };
        Self { machine, options, medians, ratios, runs, verified }
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut lines = vec![self.machine.line()];
        for spread in spreads(&self.medians) {
            let of = |load: fn(&Row) -> bool| -> Vec<&Row> {
                self.medians.iter().filter(|row| row.spread == spread && load(row)).collect()
            };
            let name = spread.name();
            let full = of(|row| row.load == Load::Full);
            let runs = full.first().map_or(0, |row| row.run);
            lines.push(format!("\n{name}, full speed; median of {runs} runs"));
            lines.extend(rows(&full));
            let half = of(|row| row.load != Load::Full);
            if !half.is_empty() {
                lines.push(format!("\n{name}, at half that speed, evenly spaced; median of {runs} runs"));
                lines.extend(rows(&half));
            }
            lines.extend(self.ratios.iter().filter(|one| one.spread == spread).map(Ratio::line));
            lines.extend(half.into_iter().filter_map(Row::latency_line));
        }
        let Verified { cycles, charged } = &self.verified;
        let charged = types::money::MicroCredits::new(*charged).display_grouped();
        lines.push(format!("\nbooks: {} cycles, {charged} credits charged; all agree", grouped(*cycles)));
        lines.join("\n")
    }
}

fn spreads(rows: &[Row]) -> Vec<Spread> {
    let mut spreads = Vec::new();
    for row in rows {
        if !spreads.contains(&row.spread) {
            spreads.push(row.spread);
        }
    }
    spreads
}

fn rows(of: &[&Row]) -> Vec<String> {
    let head = [
        "cycles/s",
        "complete/s",
        "in a batch",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "cycle p99",
        "CPU us own",
        "other",
    ];
    let mut lines = vec![line("", &head.map(str::to_owned))];
    for one in of {
        let Percentiles { p50, p99, p99_9, .. } = one.command_ms;
        let mut cells = [one.per_second, one.complete_per_second]
            .map(|rate| grouped(whole(rate).unwrap_or_default()))
            .to_vec();
        cells.push(format!("{:.0}", one.batch));
        cells.extend([p50, p99, p99_9, one.cycle_ms.p99].map(|latency| format!("{latency:.2}")));
        cells.extend([one.own_cpu_us, one.other_cpu_us].map(|time| format!("{time:.1}")));
        lines.push(line(&one.engine.name(), &cells));
    }
    lines
}

fn line(name: &str, cells: &[String]) -> String {
    let mut all = vec![format!("{name:<22}")];
    all.extend_from_slice(cells);
    row(&all)
}

impl Ratio {
    fn line(&self) -> String {
        let Self { of, times, bar, .. } = self;
        let bar =
            bar.map(|bar| format!(" (bar {bar:.0}: {})", if *times >= bar { "met" } else { "NOT met" }));
        format!("  {of}: {times:.1}{}", bar.unwrap_or_default())
    }
}

impl Row {
    /// Whether the latency is as it should be, for those of whom it is asked.
    fn latency_line(&self) -> Option<String> {
        if !matches!(self.engine, Competitor::Sqlite | Competitor::Postgres) {
            return None;
        }
        let p99 = self.command_ms.p99;
        let verdict = if p99 < BAR_P99_MS { "met" } else { "NOT met" };
        Some(format!(
            "  {} p99 at half speed: {p99:.2} ms (bar {BAR_P99_MS:.0}: {verdict})",
            self.engine.name()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(engine: Competitor, spread: Spread, load: Load, per_second: f64) -> Row {
        let latency = Percentiles { p50: 1.0, p90: 2.0, p99: 12.0, p99_9: 13.0, max: 14.0 };
        let (command_ms, cycle_ms) = (latency, latency);
        Row {
            spread,
            engine,
            load,
            run: 1,
            per_second: per_second * 1.1,
            complete_per_second: per_second,
            command_ms,
            cycle_ms,
            batch: 7.0,
            own_cpu_us: 2.0,
            other_cpu_us: 1.0,
        }
    }

    fn baseline(clients: usize) -> Competitor {
        Competitor::Baseline(Style::Transaction, clients)
    }

    #[test]
    fn ratios_are_of_medians_and_against_the_best_of_the_baseline() {
        let spread = Spread::Accounts(10_000);
        let rates = [
            (Competitor::Postgres, [70.0, 90.0, 80.0]),
            (baseline(16), [4.0, 4.0, 4.0]),
            (baseline(64), [5.0, 1.0, 5.0]),
            (Competitor::Sqlite, [300.0, 100.0, 200.0]),
            (Competitor::TigerBeetle, [100.0, 120.0, 90.0]),
        ];
        let mut runs = Vec::new();
        for (engine, rates) in rates {
            runs.extend(rates.map(|rate| row(engine, spread, Load::Full, rate)));
        }
        runs.push(row(Competitor::Postgres, Spread::Hot, Load::Full, 49.0));
        runs.push(row(baseline(16), Spread::Hot, Load::Full, 1.0));
        runs.push(row(Competitor::Sqlite, spread, Load::Half { rate: 100 }, 100.0));
        let machine = Machine { cores: 2, memory_gib: 24, sync_ms: 0.1 };
        let report = Report::new(machine, &(), runs, Totals::default());
        let times: Vec<(Spread, f64)> = report.ratios.iter().map(|one| (one.spread, one.times)).collect();
        assert_eq!(times, [(spread, 2.0), (spread, 16.0), (Spread::Hot, 49.0)]);
        let table = report.table();
        for expected in [
            "SQLite / TigerBeetle: 2.0 (bar 2: met)",
            "PostgreSQL / baseline: 16.0 (bar 15: met)",
            "PostgreSQL / baseline: 49.0 (bar 50: NOT met)",
            "SQLite p99 at half speed: 12.00 ms (bar 10: NOT met)",
            "one hot account, full speed; median of 1 runs",
            "spread over 10,000 accounts, full speed; median of 3 runs",
        ] {
            assert!(table.contains(expected), "{expected} is not in\n{table}");
        }
        assert!(serde_json::to_string(&report).unwrap().contains(r#""engine":"baseline, 64 clients""#));
    }
}
