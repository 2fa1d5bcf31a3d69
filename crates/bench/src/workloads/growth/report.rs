//! What was measured, as a table for people and as JSON.

use serde::Serialize;

use crate::meters::Memory;
use crate::report::{Machine, row};
use crate::stats::{grouped, median, ratio};

/// How many times what a cycle costs empty it may cost at most.
const BAR: f64 = 1.5;

/// Everything.
#[derive(Debug, Serialize)]
pub struct Report<'a, O> {
    /// Where it was measured.
    pub machine: Machine,
    /// How.
    pub options: &'a O,
    /// Each size, from small to large.
    pub points: Vec<Point>,
    /// What could not be done as asked.
    pub scaled: Vec<String>,
    /// Cycles done in all; the books hold them, to the micro-credit.
    pub cycles: u64,
}

/// A size, and what a cycle costs there.
#[derive(Debug, Serialize)]
pub struct Point {
    /// Consumers' accounts.
    pub accounts: u64,
    /// Entries in the history when measuring began, and when it had ended: it makes some of its own.
    pub entries: [u64; 2],
    /// Wall time of a cycle with full batches, in microseconds, with what was put off and done afterwards.
    pub cycle_us: f64,
    /// The same until it was acknowledged.
    pub acknowledged_us: f64,
    /// How many times what `cycle_us` was at the first size.
    pub ratio: f64,
    /// Processor time of this process for a cycle, in microseconds, without what was put off.
    pub own_cpu_us: f64,
    /// Each run.
    pub runs: Vec<Run>,
    /// What it takes on the disk.
    pub disk: Disk,
    /// Of this process, which has the ledger and SQLite in it.
    pub memory: Memory,
    /// Of the largest PostgreSQL process that served it, shared memory included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<Memory>,
}

/// What a cycle came to in one run, in microseconds. Of a point there are medians.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Run {
    /// Wall time, with what was put off.
    pub cycle_us: f64,
    /// Wall time until it was acknowledged.
    pub acknowledged_us: f64,
    /// Processor time of this process.
    pub own_cpu_us: f64,
}

/// Room taken on the disk, in MiB.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Disk {
    /// The database.
    pub database_mib: u64,
    /// What has been written but not yet moved into it.
    pub log_mib: u64,
}

impl Point {
    /// What the runs came to.
    pub fn new(
        accounts: u64,
        entries: [u64; 2],
        runs: Vec<Run>,
        disk: Disk,
        memory: (Memory, Option<Memory>),
    ) -> Self {
        let of = |column: fn(&Run) -> f64| median(runs.iter().map(column).collect());
        Self {
            accounts,
            entries,
            cycle_us: of(|run| run.cycle_us),
            acknowledged_us: of(|run| run.acknowledged_us),
            ratio: 1.0,
            own_cpu_us: of(|run| run.own_cpu_us),
            runs,
            disk,
            memory: memory.0,
            backend: memory.1,
        }
    }

    /// In a few words.
    pub fn line(&self) -> String {
        let [accounts, from, to] = [self.accounts, self.entries[0], self.entries[1]].map(grouped);
        format!("{accounts} accounts, {from} to {to} entries: {:.2} us a cycle", self.cycle_us)
    }

    fn row(&self) -> String {
        let Disk { database_mib, log_mib } = self.disk;
        let mut cells = vec![grouped(self.accounts)];
        cells.extend(self.entries.map(grouped));
        let times = [self.cycle_us, self.ratio, self.acknowledged_us, self.own_cpu_us];
        cells.extend(times.map(|number| format!("{number:.2}")));
        cells.extend([database_mib, log_mib, self.memory.now_mib, self.memory.peak_mib].map(grouped));
        cells.extend(self.backend.map(|backend| grouped(backend.peak_mib)));
        row(&cells)
    }
}

/// Sets the ratios, each to the first.
pub fn compare(points: &mut [Point]) {
    let Some(first) = points.first().map(|point| point.cycle_us) else { return };
    for point in points {
        point.ratio = ratio(point.cycle_us, first).unwrap_or_default();
    }
}

impl<O> Report<'_, O> {
    /// For people.
    pub fn table(&self) -> String {
        let mut lines = vec![self.machine.line(), String::new()];
        let head = [
            "accounts",
            "entries",
            "to",
            "us/cycle",
            "ratio",
            "acknowl. us",
            "CPU us own",
            "disk MiB",
            "log MiB",
            "RSS MiB",
            "peak MiB",
        ];
        let mut head: Vec<String> = head.map(str::to_owned).to_vec();
        if self.points.iter().any(|point| point.backend.is_some()) {
            head.push("PG peak MiB".to_owned());
        }
        lines.push(row(&head));
        lines.extend(self.points.iter().map(Point::row));
        if let Some(last) = self.points.last() {
            let verdict = if last.ratio <= BAR { "met" } else { "NOT met" };
            lines.push(format!("  largest / smallest: {:.2} (bar {BAR}: {verdict})", last.ratio));
        }
        lines.extend(self.scaled.iter().map(|scaled| format!("  scaled: {scaled}")));
        lines.push(format!("books: {} cycles; they agree", grouped(self.cycles)));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(accounts: u64, cycle_us: [f64; 3], backend: Option<Memory>) -> Point {
        let memory = Memory { now_mib: 1, peak_mib: 2 };
        let runs = cycle_us.map(|us| Run { cycle_us: us, acknowledged_us: us / 2.0, own_cpu_us: 1.0 });
        Point::new(accounts, [20, 30], runs.to_vec(), Disk::default(), (memory, backend))
    }

    #[test]
    fn costs_are_medians_and_compared_with_the_first() {
        let mut points = vec![
            point(10, [4.0, 5.0, 90.0], None),
            point(1_000_000, [9.0, 10.0, 8.0], Some(Memory { now_mib: 3, peak_mib: 44 })),
        ];
        compare(&mut points);
        assert_eq!(
            points.iter().map(|point| (point.cycle_us, point.ratio)).collect::<Vec<_>>(),
            [(5.0, 1.0), (9.0, 1.8)]
        );
        let machine = Machine { cores: 2, memory_gib: 24, sync_ms: 0.1 };
        let scaled = vec!["less of it".to_owned()];
        let table = Report { machine, options: &(), points, scaled, cycles: 1234 }.table();
        for expected in ["1,000,000", "1.80 (bar 1.5: NOT met)", "scaled: less of it", "44", "1,234 cycles"] {
            assert!(table.contains(expected), "{expected} is not in\n{table}");
        }
    }
}
