//! `bench market`: what a command of the book costs, on one core and without any input or output, with more and more asks
//! in it.
//!
//! The asks are as different as a large network's: prices, regions, models, trust, health and latency are drawn from a
//! seed, and a third of the Islands, the cheapest, are busy. Each command is timed on its own.

use std::hint::black_box;
use std::time::Instant;

use clap::Args;
use hdrhistogram::Histogram;
use market::{Ask, Book, Command, Event, Health, Limits, Order, Reservation};
use serde::Serialize;
use types::id::{Id, IslandId, JobId, UserId};
use types::money::MicroCredits;
use types::time::Timestamp;

use crate::report::{print, row};
use crate::simulate::dice::Dice;
use crate::stats::{count, grouped, median, ratio, whole};
use crate::{Result, meters, note};

/// A match among this many asks is to take less than so many nanoseconds.
const BAR: (u32, f64) = (10_000, 20_000.0);
/// How many jobs wait to be served.
const WAITING: i64 = 10_000;
const REGIONS: usize = 8;
const MODELS: usize = 20;
/// Prices are below this many micro-credits, and not below [`LOWEST`].
const PRICES: i64 = 1_000_000;
const LOWEST: i64 = 10_000;

/// How the measurement is done.
#[derive(Debug, Args, Serialize)]
pub struct Options {
    /// How many asks there are: one measurement for each number.
    #[arg(long, value_delimiter = ',', default_values_t = [1000, 10_000, 100_000, 1_000_000],
          value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    asks: Vec<u32>,
    /// How many commands of each kind are timed.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(100..=100_000_000))]
    commands: u32,
    /// How often everything is repeated; medians are reported.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// What chance is made of.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Answer in JSON.
    #[arg(long)]
    #[serde(skip)]
    json: bool,
}

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// A job without wishes is submitted and matched.
    Match,
    /// The same with a region, a model and trust.
    MatchWishes,
    /// A slot is given back, and nobody waits for it.
    Release,
    /// An Island changes its price.
    Change,
    /// An Island says what it said before.
    Same,
    /// A slot is given back, and one of many waiting jobs gets it.
    Serve,
    /// Which place an Island has by price.
    Rank,
}

const KINDS: [(Kind, &str); 7] = [
    (Kind::Match, "match"),
    (Kind::MatchWishes, "with wishes"),
    (Kind::Release, "release"),
    (Kind::Change, "new price"),
    (Kind::Same, "same again"),
    (Kind::Serve, "serve"),
    (Kind::Rank, "rank"),
];

/// One kind of command, in nanoseconds; of medians, those of all runs.
#[derive(Clone, Debug, Serialize)]
struct Timing {
    asks: u32,
    kind: Kind,
    p50_ns: f64,
    p99_ns: f64,
    times: u64,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    cores: usize,
    memory_gib: u64,
    options: &'a Options,
    medians: Vec<Timing>,
    runs: Vec<Timing>,
}

/// Measures and reports.
pub fn run(options: &Options) -> Result<()> {
    let mut runs = Vec::new();
    for &asks in &options.asks {
        for number in 1..=options.runs {
            note(&format!("{} asks, run {number} of {}", grouped(asks.into()), options.runs));
            runs.extend(Exchange::new(asks, options.seed + u64::from(number))?.measure(options.commands)?);
        }
    }
    let (cores, memory_gib) = meters::machine();
    let report = Report { cores, memory_gib, options, medians: medians(&runs), runs };
    print(&if options.json { serde_json::to_string_pretty(&report)? } else { report.table() })
}

/// A book with asks in it.
struct Exchange {
    book: Book,
    asks: Vec<Ask>,
    dice: Dice,
    events: Vec<Event>,
    jobs: i64,
}

impl Exchange {
    /// With a third of the Islands busy.
    fn new(asks: u32, seed: u64) -> Result<Self> {
        let dice = Dice::new(seed);
        let asks: Vec<Ask> = (1..=i64::from(asks)).map(|island| ask(&dice, island)).collect();
        let mut exchange =
            Self { book: Book::new(Limits::default()), asks, dice, events: Vec::new(), jobs: 0 };
        for ask in exchange.asks.clone() {
            exchange.book.apply(Command::SetAsk(ask), &mut exchange.events);
        }
        let slots: u64 = exchange.asks.iter().map(|ask| u64::from(ask.slots)).sum();
        for _ in 0..slots / 3 {
            let order = exchange.order();
            exchange.matched(order)?;
        }
        Ok(exchange)
    }

    /// A job of no special wishes that pays any price.
    fn order(&mut self) -> Order {
        self.jobs += 1;
        Order {
            job: JobId::from_i64(self.jobs),
            user: UserId::from_i64(self.jobs % 1000),
            bid: MicroCredits::new(PRICES),
            excluded: Vec::new(),
            region: None,
            model: None,
            min_trust: 0,
            deadline: Timestamp::from_millis(self.jobs),
            priority: 0,
            may_wait: true,
        }
    }

    fn wish(&mut self) -> Order {
        let (region, model) = (region(&self.dice), model(&self.dice));
        let min_trust = self.dice.one_of([0, 1, 2]);
        Order { region: Some(region), model: Some(model), min_trust, ..self.order() }
    }

    /// Submits what must be matched.
    fn matched(&mut self, order: Order) -> Result<Reservation> {
        self.events.clear();
        self.book.apply(Command::Submit(order), &mut self.events);
        match self.events.first() {
            Some(Event::Matched(matched)) => Ok(matched.reservation),
            other => Err(format!("a job was not matched: {other:?}").into()),
        }
    }

    /// Carries out a command; how long it took.
    fn timed(&mut self, command: Command) -> u64 {
        self.events.clear();
        let started = Instant::now();
        self.book.apply(command, &mut self.events);
        nanoseconds(started)
    }

    fn measure(mut self, commands: u32) -> Result<Vec<Timing>> {
        let mut times = Vec::with_capacity(KINDS.len());
        for _ in KINDS {
            times.push(Histogram::<u64>::new_with_bounds(1, 1_000_000_000, 3)?);
        }
        let mut note = |kind: Kind, nanoseconds: u64| {
            let place = KINDS.iter().position(|(known, _)| *known == kind).unwrap_or_default();
            if let Some(times) = times.get_mut(place) {
                times.saturating_record(nanoseconds);
            }
        };
        for number in 0..commands {
            // Among those matched before: what is released is not always the cheapest.
            for kind in [Kind::Match, Kind::MatchWishes] {
                let order = if kind == Kind::Match { self.order() } else { self.wish() };
                let time = self.timed(Command::Submit(order.clone()));
                let Some(Event::Matched(matched)) = self.events.first() else {
                    // In a small book somebody's wishes may be met by nobody.
                    self.timed(Command::Withdraw { job: order.job });
                    continue;
                };
                let reservation = matched.reservation;
                note(kind, time);
                note(Kind::Release, self.timed(Command::Release { reservation }));
            }
            let place = self.dice.below(self.asks.len());
            let new = Ask { ask: price(&self.dice), ..self.asks[place].clone() };
            self.asks[place] = new.clone();
            note(Kind::Change, self.timed(Command::SetAsk(new.clone())));
            note(Kind::Same, self.timed(Command::SetAsk(new.clone())));
            if number % 8 == 0 {
                let started = Instant::now();
                black_box(self.book.rank(new.island));
                note(Kind::Rank, nanoseconds(started));
            }
        }
        self.serve(&mut note)?;
        let asks = u32::try_from(self.asks.len())?;
        Ok(KINDS.iter().zip(&times).map(|((kind, _), times)| Timing::of(asks, *kind, times)).collect())
    }

    /// Many jobs wait that pay less than anybody asks, until one Island comes that asks less. Every other one of them
    /// wishes for something; that Island has some of it.
    fn serve(&mut self, note: &mut impl FnMut(Kind, u64)) -> Result<()> {
        for number in 0..WAITING {
            let bid = MicroCredits::new(LOWEST - 1 - self.dice.between(0, 99));
            let order = if number % 2 == 0 { self.order() } else { self.wish() };
            self.events.clear();
            self.book.apply(Command::Submit(Order { bid, ..order }), &mut self.events);
            if !matches!(self.events.first(), Some(Event::Waiting { .. })) {
                return Err("a job does not wait".into());
            }
        }
        let cheap = Ask {
            ask: MicroCredits::new(1),
            slots: 1,
            trust: 2,
            models: vec![String::from("model 1"), String::from("model 2")],
            region: Some(String::from("region 1")),
            ..self.asks[0].clone()
        };
        // It comes anew, with all its slots free.
        self.timed(Command::RemoveAsk { island: cheap.island });
        self.timed(Command::SetAsk(cheap));
        let mut served = 1;
        while let Some(Event::Matched(matched)) = self.events.first() {
            let reservation = matched.reservation;
            let time = self.timed(Command::Release { reservation });
            if !self.events.is_empty() {
                note(Kind::Serve, time);
                served += 1;
            }
        }
        // That no job it suits waits on is the business of the market's own tests.
        if served < WAITING / 2 {
            Err(format!("only {served} waiting jobs were served").into())
        } else {
            Ok(())
        }
    }
}

fn nanoseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn price(dice: &Dice) -> MicroCredits {
    MicroCredits::new(dice.between(LOWEST, PRICES))
}

fn region(dice: &Dice) -> String {
    format!("region {}", dice.below(REGIONS))
}

fn model(dice: &Dice) -> String {
    format!("model {}", dice.below(MODELS).min(dice.below(MODELS)))
}

fn ask(dice: &Dice, island: i64) -> Ask {
    let mut models: Vec<String> = (0..1 + dice.below(4)).map(|_| model(dice)).collect();
    models.sort();
    models.dedup();
    Ask {
        island: IslandId::from_i64(island),
        ask: price(dice),
        slots: dice.one_of([1, 1, 2, 4]),
        region: Some(region(dice)),
        models,
        trust: dice.one_of([0, 1, 1, 2]),
        health: [Health::Normal, Health::Low, Health::LastResort][dice.weighted([85, 10, 5].into_iter())],
        latency_ms: dice.one_of([0, 40, 80, 150, 300, 900]),
    }
}

impl Timing {
    fn of(asks: u32, kind: Kind, times: &Histogram<u64>) -> Self {
        let at = |quantile| count(times.value_at_quantile(quantile));
        Self { asks, kind, p50_ns: at(0.5), p99_ns: at(0.99), times: times.len() }
    }
}

fn medians(runs: &[Timing]) -> Vec<Timing> {
    let mut found: Vec<Timing> = Vec::new();
    for first in runs {
        let is_same = |run: &&Timing| run.asks == first.asks && run.kind == first.kind;
        if found.iter().any(|run| is_same(&run)) {
            continue;
        }
        let same: Vec<&Timing> = runs.iter().filter(is_same).collect();
        let of = |column: fn(&Timing) -> f64| median(same.iter().map(|run| column(run)).collect());
        let (p50_ns, p99_ns) = (of(|run| run.p50_ns), of(|run| run.p99_ns));
        let times = same.iter().map(|run| run.times).sum();
        found.push(Timing { asks: first.asks, kind: first.kind, p50_ns, p99_ns, times });
    }
    found
}

impl Report<'_> {
    fn table(&self) -> String {
        let Self { cores, memory_gib, options, .. } = self;
        let mut lines = vec![format!(
            "{cores} cores, {memory_gib} GiB; one core used; median of {} runs; nanoseconds, p50 / p99",
            options.runs
        )];
        let head = KINDS.iter().map(|(_, name)| format!("{name:>20}"));
        lines.push(row(&std::iter::once("asks".to_owned()).chain(head).collect::<Vec<_>>()));
        for &asks in &options.asks {
            let mut cells = vec![grouped(asks.into())];
            for (kind, _) in KINDS {
                let timing = self.of(asks, kind);
                let shown = timing.map(|one| format!("{} / {}", nanos(one.p50_ns), nanos(one.p99_ns)));
                cells.push(format!("{:>20}", shown.unwrap_or_default()));
            }
            lines.push(row(&cells));
        }
        let (asks, bar) = BAR;
        for kind in [Kind::Match, Kind::MatchWishes] {
            if let Some(timing) = self.of(asks, kind) {
                let name = KINDS.iter().find(|(known, _)| *known == kind).map_or("", |(_, name)| name);
                let verdict = if timing.p99_ns < bar { "met" } else { "NOT met" };
                let (asks, time) = (grouped(asks.into()), timing.p99_ns / 1000.0);
                lines.push(format!("{name} against {asks} asks, p99: {time:.1} us (bar 20: {verdict})"));
            }
        }
        lines.extend(self.growth());
        lines.join("\n")
    }

    fn of(&self, asks: u32, kind: Kind) -> Option<&Timing> {
        self.medians.iter().find(|one| one.asks == asks && one.kind == kind)
    }

    /// How a match grows beside the logarithm.
    fn growth(&self) -> Option<String> {
        let (&least, &most) = (self.options.asks.iter().min()?, self.options.asks.iter().max()?);
        let (small, large) = (self.of(least, Kind::Match)?, self.of(most, Kind::Match)?);
        let times = ratio(large.p50_ns, small.p50_ns)?;
        let logarithm = ratio(f64::from(most).ln(), f64::from(least).ln())?;
        let asks = [least, most].map(|asks| grouped(asks.into()));
        Some(format!(
            "match, p50, from {} to {} asks: x {times:.1} (the logarithm: x {logarithm:.1})",
            asks[0], asks[1]
        ))
    }
}

fn nanos(time: f64) -> String {
    grouped(whole(time).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_timed() {
        let options = Options { asks: vec![50, 400], commands: 100, runs: 2, seed: 3, json: false };
        let mut runs = Vec::new();
        for &asks in &options.asks {
            for number in 0..2 {
                runs.extend(Exchange::new(asks, number).unwrap().measure(options.commands).unwrap());
            }
        }
        assert_eq!(runs.len(), 2 * 2 * KINDS.len());
        assert!(runs.iter().all(|one| one.times > 10 && one.p50_ns > 0.0), "{runs:?}");
        let report = Report { cores: 1, memory_gib: 1, options: &options, medians: medians(&runs), runs };
        let table = report.table();
        assert!(table.contains("from 50 to 400 asks"), "{table}");
        assert_eq!(report.medians.len(), 2 * KINDS.len());
    }

    #[test]
    fn medians_are_of_the_same_kind_and_number() {
        let one = |asks, kind, p50_ns| Timing { asks, kind, p50_ns, p99_ns: 1.0, times: 5 };
        let runs = [
            one(1, Kind::Match, 10.0),
            one(2, Kind::Match, 99.0),
            one(1, Kind::Match, 30.0),
            one(1, Kind::Rank, 7.0),
        ];
        let found: Vec<_> =
            medians(&runs).iter().map(|one| (one.asks, one.kind, one.p50_ns, one.times)).collect();
        assert_eq!(found, [(1, Kind::Match, 20.0, 10), (2, Kind::Match, 99.0, 5), (1, Kind::Rank, 7.0, 5)]);
    }
}
