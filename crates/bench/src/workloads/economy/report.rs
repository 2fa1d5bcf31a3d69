//! What came of an economy, for people.

use types::money::MicroCredits;

use super::agents::CARGOS;
use super::record::{Band, PERIODS, Period};
use super::world::World;
use crate::report::row;
use crate::stats::{count, grouped, median, ratio};

/// One Cargo.
#[derive(Debug)]
pub struct Line {
    name: &'static str,
    served: u64,
    /// Share of the jobs that nobody did, in percent.
    unserved: f64,
    /// How busy the slots online were, in percent.
    busy: f64,
    /// The median price of the first two hours and of the last day, in credits.
    price: [f64; 2],
    /// Dispersion of clearing prices, at the start and at the end.
    pub cleared: [f64; 2],
    /// Dispersion of asks, at the start and at the end.
    pub asked: [f64; 2],
}

/// Everything.
#[derive(Debug)]
pub struct Report {
    /// By Cargo.
    pub lines: Vec<Line>,
    checks: Vec<String>,
}

impl Report {
    /// Of an economy whose books were found right.
    pub fn of(world: &World, charged: i64) -> Self {
        let lines = (0..CARGOS.len()).map(|cargo| Line::of(cargo, world.record.periods(cargo))).collect();
        let record = &world.record;
        let (served, unserved) = (record.all_served(), record.all_unserved());
        let gone = world.islands.iter().filter(|island| island.gone).count();
        let losses = world.islands.iter().filter(|island| island.earned < island.spent).count();
        let charged = MicroCredits::new(charged).display_grouped();
        let checks = vec![
            format!(
                "jobs: {} done, {} not in time, of which {} bid less than anybody asked; {} attempts spoilt; {} more wishes were \
                 beyond the day's budget",
                grouped(served),
                grouped(unserved),
                grouped(record.too_dear),
                grouped(record.failed),
                grouped(record.out_of_budget)
            ),
            format!("Islands: {}, of which {gone} gave up and {losses} lost money", world.islands.len()),
            format!(
                "market: {} commands; all {} matches watched: none above its bid, no cheaper one passed over",
                grouped(record.commands),
                grouped(record.watched)
            ),
            format!(
                "ledger: {} commands, {charged} credits charged = owners' earnings + fees; audit ok; {} holds refused",
                grouped(world.bank.commands),
                grouped(record.no_credits)
            ),
        ];
        Self { lines, checks }
    }

    /// For people.
    pub fn text(&self) -> String {
        let head =
            ["Cargo", "jobs", "unserved", "busy", "price", "at end", "spread", "at end", "of asks", "at end"];
        let mut lines = vec![wide(&head.map(str::to_owned))];
        for line in &self.lines {
            let mut cells = vec![line.name.to_owned(), grouped(line.served)];
            cells.extend([line.unserved, line.busy].map(|share| format!("{share:.1} %")));
            let rest = [line.price, line.cleared, line.asked];
            cells.extend(rest.into_iter().flatten().map(|value| format!("{value:.2}")));
            lines.push(wide(&cells));
        }
        lines.push("  spread: (p90 - p10) / median, first of clearing prices, then of asks".to_owned());
        lines.extend(self.checks.iter().cloned());
        lines.join("\n")
    }
}

impl Line {
    fn of(cargo: usize, periods: &[Period]) -> Self {
        let sum = |of: fn(&Period) -> u64| count(periods.iter().map(of).sum());
        let (served, unserved) = (sum(Period::served), sum(|period| period.unserved));
        let percent = |part: f64, whole: f64| ratio(part * 100.0, whole).unwrap_or_default();
        // The first two hours; the median of the last day's, as prices change with the hour.
        let ends = |of: fn(&Period) -> Option<f64>| {
            let first = periods.iter().find_map(of).unwrap_or_default();
            [first, median(periods.iter().rev().filter_map(of).take(PERIODS).collect())]
        };
        Self {
            name: CARGOS[cargo].name,
            served: periods.iter().map(Period::served).sum(),
            unserved: percent(unserved, served + unserved),
            busy: percent(sum(|period| period.worked), sum(|period| period.online)),
            price: ends(|period| period.cleared().map(|band| band.middle)),
            cleared: ends(|period| period.cleared().map(Band::dispersion)),
            asked: ends(|period| period.asked().map(Band::dispersion)),
        }
    }
}

fn wide(cells: &[String]) -> String {
    let mut cells = cells.to_vec();
    if let Some(name) = cells.first_mut() {
        *name = format!("{name:<16}");
    }
    row(&cells)
}
