//! What was measured, as a table for people and as JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::time::Duration;

use serde::Serialize;
use types::money::MicroCredits;

use crate::Result;
use crate::load::Outcome;
use crate::stats::{Percentiles, count, median};

/// Asked directly, without a coordinator.
pub const UPSTREAM: &str = "upstream";
/// A coordinator with its data in a file.
pub const SQLITE: &str = "SQLite";
/// A coordinator with its data on a PostgreSQL server.
pub const POSTGRES: &str = "PostgreSQL";
/// A coordinator on PostgreSQL must reach this share of its rate on SQLite.
const POSTGRES_BAR: f64 = 0.7;

/// Everything.
#[derive(Debug, Serialize)]
pub struct Report<'a, O> {
    /// Where it was measured.
    pub machine: Machine,
    /// How.
    pub options: &'a O,
    /// Of each load and target, the median of its runs, column by column.
    pub medians: Vec<Run>,
    /// Each run.
    pub runs: Vec<Run>,
    /// The most memory each program used, in MiB.
    pub peak_memory_mib: BTreeMap<String, u64>,
    /// What the books say.
    pub books: Books,
}

/// The machine.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// Its processors.
    pub cores: usize,
    /// Its memory.
    pub memory_gib: u64,
    /// How long its disk takes to make 4 KiB durable, in milliseconds.
    pub sync_ms: f64,
}

impl Machine {
    /// In words.
    pub fn line(&self) -> String {
        let Self { cores, memory_gib, sync_ms } = self;
        format!("{cores} cores, {memory_gib} GiB; the disk makes 4 KiB durable in {sync_ms:.2} ms")
    }
}

/// The books after everything.
#[derive(Debug, Serialize)]
pub struct Books {
    /// Completed jobs, warm-ups included.
    pub jobs: u64,
    /// What was charged for them.
    pub charged: MicroCredits,
    /// What the audit found.
    pub audit: &'static str,
}

/// A kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Load {
    /// As much as so many connections can send.
    Closed {
        /// How many.
        connections: u32,
    },
    /// So many requests a second.
    Constant {
        /// How many.
        rate: u32,
    },
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed { connections } => write!(f, "{connections} connections, as fast as they can"),
            Self::Constant { rate } => write!(f, "{rate} a second"),
        }
    }
}

/// One run, or the medians of several.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// Who was asked.
    pub target: &'static str,
    /// How.
    pub load: Load,
    /// Completed requests a second.
    pub per_second: f64,
    /// Latencies.
    pub latency_ms: Percentiles,
    /// How late requests were sent, where there was a time for each: 99th percentile.
    pub sent_late_ms_p99: f64,
    /// Processor time of each program for each completed request, in microseconds.
    pub cpu_us: BTreeMap<&'static str, f64>,
    /// How much of one processor everything else on the machine used, in percent.
    pub elsewhere_percent: f64,
    /// Requests that failed.
    pub failed: u64,
    /// How the first of them did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

impl Run {
    /// What a run came to.
    pub fn new(target: &'static str, load: Load, outcome: &Outcome) -> Self {
        let done = count(outcome.latencies.len());
        let each = |time: Duration| if done > 0.0 { time.as_secs_f64() * 1e6 / done } else { 0.0 };
        Self {
            target,
            load,
            per_second: done / outcome.elapsed.as_secs_f64(),
            latency_ms: Percentiles::of(&outcome.latencies),
            sent_late_ms_p99: count(outcome.lateness.value_at_quantile(0.99)) / 1000.0,
            cpu_us: outcome.used.groups.iter().map(|(name, time)| (*name, each(*time))).collect(),
            elsewhere_percent: outcome.used.elsewhere.as_secs_f64() / outcome.elapsed.as_secs_f64() * 100.0,
            failed: outcome.failed,
            failure: outcome.failure.clone(),
        }
    }

    /// In a few words.
    pub fn line(&self) -> String {
        let Percentiles { p50, p99, .. } = self.latency_ms;
        let mut line =
            format!("{:<11} {:>8.0}/s  p50 {p50:.2} ms  p99 {p99:.2} ms", self.target, self.per_second);
        if let Some(failure) = &self.failure {
            line.push_str(&format!("  {} FAILED, the first one: {failure}", self.failed));
        }
        line
    }
}

/// The medians of the runs of each load and target, in the order in which they were first seen. Column by column: the
/// median latency need not be of the run with the median rate.
pub fn medians(runs: &[Run]) -> Vec<Run> {
    let mut found: Vec<Run> = Vec::new();
    for first in runs {
        if found.iter().any(|one| one.target == first.target && one.load == first.load) {
            continue;
        }
        let same: Vec<&Run> =
            runs.iter().filter(|run| run.target == first.target && run.load == first.load).collect();
        let of = |column: &dyn Fn(&Run) -> f64| median(same.iter().map(|run| column(run)).collect());
        found.push(Run {
            target: first.target,
            load: first.load,
            per_second: of(&|run| run.per_second),
            latency_ms: Percentiles::medians(&same.iter().map(|run| run.latency_ms).collect::<Vec<_>>()),
            sent_late_ms_p99: of(&|run| run.sent_late_ms_p99),
            cpu_us: first.cpu_us.keys().map(|name| (*name, of(&|run| run.cpu_us[name]))).collect(),
            elsewhere_percent: of(&|run| run.elsewhere_percent),
            failed: same.iter().map(|run| run.failed).sum(),
            failure: same.iter().find_map(|run| run.failure.clone()),
        });
    }
    found
}

impl<O> Report<'_, O> {
    /// For people.
    pub fn table(&self) -> String {
        let mut lines = vec![self.machine.line()];
        let mut loads: Vec<Load> = self.medians.iter().map(|run| run.load).collect();
        loads.dedup();
        for load in loads {
            let of: Vec<&Run> = self.medians.iter().filter(|run| run.load == load).collect();
            let runs = self.runs.iter().filter(|run| run.load == load && run.target != UPSTREAM).count();
            let runs = runs / of.iter().filter(|run| run.target != UPSTREAM).count().max(1);
            lines.push(format!("\n{load}; median of {runs} runs"));
            lines.extend(latency_table(&of));
            lines.extend(cpu_table(&of));
            lines.extend(remarks(&of));
        }
        let memory: Vec<String> =
            self.peak_memory_mib.iter().map(|(name, mib)| format!("{name} {mib} MiB")).collect();
        lines.push(format!("\npeak memory: {}", memory.join(", ")));
        let Books { jobs, charged, audit } = &self.books;
        lines.push(format!("books: {jobs} jobs completed, {} credits charged", charged.display_grouped()));
        lines.push(format!("audit: {audit}"));
        lines.join("\n")
    }
}

fn latency_table(runs: &[&Run]) -> Vec<String> {
    let head = ["", "per second", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms"];
    let mut rows = vec![row(&head.map(str::to_owned))];
    for run in runs {
        let Percentiles { p50, p90, p99, p99_9, max } = run.latency_ms;
        let mut cells = vec![run.target.to_owned(), format!("{:.0}", run.per_second)];
        cells.extend([p50, p90, p99, p99_9, max].map(|latency| format!("{latency:.2}")));
        rows.push(row(&cells));
    }
    let find = |name| runs.iter().find(|run| run.target == name);
    for name in [SQLITE, POSTGRES] {
        if let (Some(upstream), Some(run)) = (find(UPSTREAM), find(name)) {
            rows.push(ratio(upstream, run));
        }
    }
    if let (Some(sqlite), Some(postgres), Some(Load::Closed { .. })) =
        (find(SQLITE), find(POSTGRES), runs.first().map(|run| run.load))
    {
        let ratio = postgres.per_second / sqlite.per_second;
        let met = if ratio >= POSTGRES_BAR { "met" } else { "NOT met" };
        rows.push(format!("  {POSTGRES} / {SQLITE}: {ratio:.2} (bar {POSTGRES_BAR}: {met})"));
    }
    rows
}

/// What a coordinator does beside what its upstream does alone.
fn ratio(upstream: &Run, run: &Run) -> String {
    let (one, other) = (upstream.latency_ms, run.latency_ms);
    let mut cells =
        vec![format!("{}/up.", run.target), format!("{:.2}", run.per_second / upstream.per_second)];
    let pairs = [
        (one.p50, other.p50),
        (one.p90, other.p90),
        (one.p99, other.p99),
        (one.p99_9, other.p99_9),
        (one.max, other.max),
    ];
    cells.extend(pairs.map(|(one, other)| format!("{:.1}", other / one)));
    row(&cells)
}

fn cpu_table(runs: &[&Run]) -> Vec<String> {
    let names = ["server", "island", "upstream", "bench"];
    let mut head = vec!["CPU us/job".to_owned()];
    head.extend(names.map(str::to_owned));
    head.push("sum".to_owned());
    let mut rows = vec![row(&head)];
    for run in runs {
        let used = names.map(|name| run.cpu_us.get(name).copied().unwrap_or_default());
        let mut cells = vec![run.target.to_owned()];
        cells.extend(used.map(|time| format!("{time:.1}")));
        cells.push(format!("{:.1}", used.iter().sum::<f64>()));
        rows.push(row(&cells));
    }
    rows
}

fn remarks(runs: &[&Run]) -> Vec<String> {
    let mut remarks = Vec::new();
    for run in runs {
        let target = run.target;
        if matches!(run.load, Load::Constant { .. }) {
            remarks.push(format!("  {target}: requests were sent {:.2} ms late (p99)", run.sent_late_ms_p99));
        }
        if run.elsewhere_percent >= 5.0 {
            let percent = run.elsewhere_percent;
            remarks.push(format!("  {target}: other programs used {percent:.0} % of a processor meanwhile"));
        }
        if let Some(failure) = &run.failure {
            remarks.push(format!("  {target}: {} requests FAILED, the first one: {failure}", run.failed));
        }
    }
    remarks
}

/// One line of a table.
pub fn row(cells: &[String]) -> String {
    let mut line = String::new();
    for (column, cell) in cells.iter().enumerate() {
        let padded = if column == 0 { format!("  {cell:<12}") } else { format!("{cell:>12}") };
        line.push_str(&padded);
    }
    line
}

/// Writes the results.
pub fn print(text: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(target: &'static str, per_second: f64, p99: f64) -> Run {
        Run {
            target,
            load: Load::Constant { rate: 10 },
            per_second,
            latency_ms: Percentiles { p50: 1.0, p90: 2.0, p99, p99_9: 4.0, max: 5.0 },
            sent_late_ms_p99: 0.1,
            cpu_us: BTreeMap::from([("server", per_second)]),
            elsewhere_percent: 1.0,
            failed: 0,
            failure: None,
        }
    }

    #[test]
    fn medians_are_of_each_column() {
        let runs = [
            run("archipelago", 30.0, 1.0),
            run("upstream", 7.0, 1.0),
            run("archipelago", 10.0, 3.0),
            run("archipelago", 20.0, 9.0),
        ];
        let medians = medians(&runs);
        assert_eq!(medians.len(), 2);
        assert_eq!(
            (medians[0].per_second, medians[0].latency_ms.p99, medians[0].cpu_us["server"]),
            (20.0, 3.0, 20.0)
        );
        assert_eq!(medians[1].per_second, 7.0);
    }

    #[test]
    fn the_table_shows_ratios_and_failures() {
        let failed = Run { failed: 3, failure: Some("HTTP 503".to_owned()), ..run(SQLITE, 5.0, 6.0) };
        let runs = vec![run(UPSTREAM, 10.0, 3.0), failed, run(POSTGRES, 4.0, 6.0)];
        let report = Report {
            machine: Machine { cores: 2, memory_gib: 24, sync_ms: 0.1 },
            options: &(),
            medians: medians(&runs),
            runs,
            peak_memory_mib: BTreeMap::from([("server (SQLite)".to_owned(), 100)]),
            books: Books { jobs: 5, charged: MicroCredits::new(5_000_000), audit: "ok" },
        };
        let table = report.table();
        for expected in [
            "0.50",
            "2.0",
            "3 requests FAILED",
            "HTTP 503",
            "audit: ok",
            "server (SQLite) 100 MiB",
            "5.00 credits",
        ] {
            assert!(table.contains(expected), "{expected} is not in\n{table}");
        }
        assert!(serde_json::to_string(&report).unwrap().contains(r#""charged":5,"#));
    }
}
