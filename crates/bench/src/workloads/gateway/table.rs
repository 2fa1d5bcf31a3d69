//! What was found, for people.

use super::{Kind, Report};
use crate::report::{Run, row};
use crate::stats::Percentiles;

/// What is wanted of billed chat completions per second on a machine with two cores.
const RATE_BAR: f64 = 8000.0;
/// What may be added at half load, in milliseconds: 99th percentile.
const ADDED_BAR_MS: f64 = 5.0;

impl Report<'_> {
    pub(super) fn text(&self) -> String {
        let mut lines = vec![self.machine.line()];
        for kind in &self.kinds {
            lines.extend(kind.lines(self.options.connections, self.options.runs));
        }
        if let Some(idle) = &self.idle {
            let [before, first, last] = idle.memory_mib;
            let Percentiles { p50, p99, .. } = idle.others_ms;
            lines.push(format!("\n{} idle streams, opened in {:.1} s", idle.streams, idle.opened_s));
            lines.push(format!(
                "  memory of the coordinator: {before} MiB before, {first} when all were open, {last} after their silence: {:.1} KiB each",
                idle.each_kib
            ));
            lines.push(format!(
                "  meanwhile {:.1} % of a processor; whole answers to others p50 {p50:.2} ms, p99 {p99:.2} ms",
                idle.cpu_percent
            ));
        }
        lines.push("\nbooks and audit: ok".to_owned());
        lines.join("\n")
    }
}

impl Kind {
    fn lines(&self, connections: u32, runs: u32) -> Vec<String> {
        let what = if self.streamed { "streamed" } else { "whole answers" };
        let mut lines =
            vec![format!("\n{what}, {connections} connections, as fast as they can; median of {runs} runs")];
        lines
            .push(row(&["", "per second", "p50 ms", "p99 ms", "p99.9 ms", "server us", "island us"]
                .map(str::to_owned)));
        for run in &self.most {
            let Percentiles { p50, p99, p99_9, .. } = run.latency_ms;
            let cpu = |name| format!("{:.1}", run.cpu_us.get(name).copied().unwrap_or_default());
            let numbers = [p50, p99, p99_9].map(|time| format!("{time:.2}"));
            let mut cells = vec![run.target.to_owned(), format!("{:.0}", run.per_second)];
            cells.extend(numbers);
            cells.extend([cpu("server"), cpu("island")]);
            let met = if self.streamed || run.target == crate::report::UPSTREAM {
                String::new()
            } else {
                format!("  (bar {RATE_BAR:.0}: {})", word(run.per_second >= RATE_BAR))
            };
            lines.push(format!("{}{met}", row(&cells)));
            lines.extend(trouble(run));
        }
        lines.push(format!("\n{what}, at half of that; what is added to the upstream's own latency"));
        lines.push(row(&["", "per second", "added p50", "added p99", "added p99.9", "p99 ms", "upstream"]
            .map(str::to_owned)));
        for (alone, through) in &self.half {
            let (one, other) = (alone.latency_ms, through.latency_ms);
            let added = [(one.p50, other.p50), (one.p99, other.p99), (one.p99_9, other.p99_9)];
            let mut cells = vec![through.target.to_owned(), format!("{:.0}", through.per_second)];
            cells.extend(added.map(|(alone, through)| format!("{:.2}", through - alone)));
            cells.extend([other.p99, one.p99].map(|time| format!("{time:.2}")));
            let met = word(other.p99 - one.p99 < ADDED_BAR_MS);
            lines.push(format!("{}  (bar {ADDED_BAR_MS} ms: {met})", row(&cells)));
            lines.extend(trouble(through));
        }
        lines
    }
}

const fn word(met: bool) -> &'static str {
    if met { "met" } else { "NOT met" }
}

fn trouble(run: &Run) -> Vec<String> {
    let mut lines = Vec::new();
    if run.elsewhere_percent >= 5.0 {
        lines
            .push(format!("    other programs used {:.0} % of a processor meanwhile", run.elsewhere_percent));
    }
    if let Some(failure) = &run.failure {
        lines.push(format!("    {} requests FAILED, the first one: {failure}", run.failed));
    }
    lines
}
