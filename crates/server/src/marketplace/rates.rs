//! Rates: statistics over cleared prices and live asks. Jobs on one's own Island never enter (incident 97).
//!
//! What cleared is read from the database, because other coordinators trade too; asks and waiting jobs are those of this
//! coordinator's book. Means are weighted by units and rounded down to the micro-credit. A median is the price at or below
//! which at least half of the jobs cleared, as [`tape::level`](super::tape::level) counts it. A window ends now and begins at
//! a round step of its history, so it may be shorter than its name by less than a step. Nothing is said of what was not traded.

use db::DbError;
use types::money::MicroCredits;
use types::time::{DAY_MS, HOUR_MS, MINUTE_MS, Timestamp};
use types::units::Units;

use super::depth::Standing;
use super::suggest::{self, AskReason, BidReason};
use super::{Market, store};
use crate::app::App;

/// How far back one looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Span {
    /// An hour, by the minute.
    Hour,
    /// 24 hours, by the quarter.
    #[default]
    Day,
    /// 7 days, by two hours.
    Week,
    /// 30 days, by six hours.
    Month,
}

impl Span {
    /// All of them, shortest first.
    pub const ALL: [Self; 4] = [Self::Hour, Self::Day, Self::Week, Self::Month];

    /// As addresses say it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::Day => "24h",
            Self::Week => "7d",
            Self::Month => "30d",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|span| span.name() == name)
    }

    /// Minutes between the points of its history.
    #[must_use]
    pub const fn step(self) -> i64 {
        match self {
            Self::Hour => 1,
            Self::Day => 15,
            Self::Week => 120,
            Self::Month => 360,
        }
    }

    /// How many points its history has.
    #[must_use]
    pub const fn points(self) -> i64 {
        let length = match self {
            Self::Hour => HOUR_MS,
            Self::Day => DAY_MS,
            Self::Week => 7 * DAY_MS,
            Self::Month => 30 * DAY_MS,
        };
        length / MINUTE_MS / self.step()
    }

    /// The minute it begins with.
    #[must_use]
    pub const fn start(self, now: Timestamp) -> i64 {
        let current = now.as_millis() / MINUTE_MS / self.step();
        (current + 1 - self.points()) * self.step()
    }
}

/// How often which price was met, lowest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread(Vec<(MicroCredits, i64)>);

impl Spread {
    /// From (price, how often), lowest first.
    #[must_use]
    pub const fn new(prices: Vec<(MicroCredits, i64)>) -> Self {
        Self(prices)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> i64 {
        self.0.iter().map(|(_, count)| count).fold(0, |sum, &count| sum.saturating_add(count))
    }

    /// The lowest price such that at least `percent` of 100 are at or below it.
    #[must_use]
    pub fn at_most(&self, percent: i64) -> Option<MicroCredits> {
        let wanted = i128::from(self.count()) * i128::from(percent);
        let mut below = 0_i128;
        self.0.iter().find_map(|&(price, count)| {
            below += i128::from(count);
            (below * 100 >= wanted).then_some(price)
        })
    }

    /// The price at or below which at least half are.
    #[must_use]
    pub fn median(&self) -> Option<MicroCredits> {
        self.at_most(50)
    }

    /// The highest price.
    #[must_use]
    pub fn highest(&self) -> Option<MicroCredits> {
        self.0.last().map(|&(price, _)| price)
    }
}

/// What cleared in a window of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// How many jobs.
    pub trades: i64,
    /// Their units, in parts.
    pub units: i64,
    /// What was paid for them.
    pub paid: MicroCredits,
    /// The lowest price, if there was a trade.
    pub lowest: Option<MicroCredits>,
    /// The highest price, if there was a trade.
    pub highest: Option<MicroCredits>,
    /// The median of the prices, if there was a trade.
    pub median: Option<MicroCredits>,
}

impl Window {
    /// The mean price per unit, weighted by units, rounded down to the micro-credit; nothing if nothing was traded.
    #[must_use]
    pub fn mean(&self) -> Option<MicroCredits> {
        let paid = i128::from(self.paid.get()) * i128::from(Units::SCALE);
        let mean = i64::try_from(paid.checked_div(i128::from(self.units))?).ok()?;
        // Each charge was rounded up to the micro-credit, which for very few units could show.
        Some(MicroCredits::new(mean).clamp(self.lowest?, self.highest?.max(self.lowest?)))
    }

    fn add(&mut self, more: &Self) {
        self.trades = self.trades.saturating_add(more.trades);
        self.units = self.units.saturating_add(more.units);
        self.paid = self.paid.plus(more.paid).unwrap_or(self.paid);
        self.lowest = self.lowest.into_iter().chain(more.lowest).min();
        self.highest = self.highest.into_iter().chain(more.highest).max();
    }
}

/// One step of a history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Point {
    /// When it begins.
    pub at: Timestamp,
    /// What cleared in it. The median is not told.
    pub window: Window,
    /// The last price in it, if there was a trade.
    pub last: Option<MicroCredits>,
    /// How the books stood when they were last noted in it, if they were.
    pub noted: Option<Noted>,
}

/// The books of all coordinators at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// Minutes since the epoch.
    pub minute: i64,
    /// The lowest ask of a free slot.
    pub best_ask: Option<MicroCredits>,
    /// Islands.
    pub islands: i64,
    /// Jobs that waited.
    pub waiting: i64,
}

/// A trade as everybody may see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sale {
    /// When it was paid.
    pub at: Timestamp,
    /// Per unit.
    pub price: MicroCredits,
    /// How many units.
    pub units: Units,
}

/// A Cargo's rate now.
#[derive(Clone, Debug)]
pub struct Rate {
    /// The Cargo's slug.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// The lowest live ask, busy or not.
    pub best_ask: Option<MicroCredits>,
    /// The last cleared price.
    pub last: Option<MicroCredits>,
    /// The last price before the window, or the first in it.
    pub before: Option<MicroCredits>,
    /// The last 24 hours.
    pub day: Window,
    /// Islands in the book.
    pub islands: usize,
    /// Jobs waiting.
    pub waiting: usize,
    /// The book.
    pub book: Standing,
}

impl Rate {
    /// By how much the last price differs from the one 24 hours before, in tenths of a percent, rounded towards zero.
    #[must_use]
    pub fn change(&self) -> Option<i64> {
        let (last, before) = (i128::from(self.last?.get()), i128::from(self.before?.get()));
        i64::try_from(((last - before) * 1000).checked_div(before)?).ok()
    }
}

/// Everything about one Cargo.
#[derive(Clone, Debug)]
pub struct Detail {
    /// Its rate.
    pub rate: Rate,
    /// All windows, shortest first.
    pub windows: [Window; 4],
    /// Jobs that no Island took in the last 24 hours, by what they bid.
    pub unserved: Spread,
    /// What to bid, and why.
    pub suggested_bid: Option<(MicroCredits, BidReason)>,
    /// What to ask, and why.
    pub suggested_ask: Option<(MicroCredits, AskReason)>,
}

impl Detail {
    /// The shortest window from a day up in which anything cleared; an empty one if nothing did.
    #[must_use]
    pub fn recent(&self) -> &Window {
        let recent = self.windows[1..].iter().find(|window| window.trades > 0);
        recent.unwrap_or(&self.windows[1])
    }
}

/// The rates of all Cargos, in the order of the configuration.
///
/// # Errors
/// A [`DbError`].
pub async fn all(app: &App) -> Result<Vec<Rate>, DbError> {
    let ids: Vec<i64> = app.market.all().iter().map(|market| market.workload.id).collect();
    let since = Span::Day.start(app.clock.now());
    let cleared = app.db.read("rates", async move |tx| store::cleared(tx, &ids, since).await).await?;
    Ok(app.market.all().iter().zip(cleared).map(|(market, cleared)| rate(market, cleared)).collect())
}

/// Everything about one Cargo.
///
/// # Errors
/// A [`DbError`].
pub async fn detail(app: &App, market: &Market) -> Result<Detail, DbError> {
    let (id, now) = (market.workload.id, app.clock.now());
    let since = Span::Day.start(now);
    let read = app.db.read("rate", async move |tx| {
        let cleared = store::cleared(tx, &[id], since).await?.pop().unwrap_or_default();
        let mut windows = Vec::new();
        for span in Span::ALL {
            windows.push(store::window(tx, id, span.start(now)).await?);
        }
        let day = store::spread(tx, id, since).await?;
        let unserved = store::unserved(tx, id, now.plus_millis(-DAY_MS)).await?;
        Ok::<_, DbError>((cleared, windows, day, unserved))
    });
    let (cleared, windows, day, unserved) = read.await?;
    let rate = rate(market, cleared);
    let windows: [Window; 4] = windows.try_into().unwrap_or_default();
    let suggested_bid = suggest::bid(&rate.book, &day);
    let mut detail = Detail { rate, windows, unserved, suggested_bid, suggested_ask: None };
    detail.suggested_ask = suggest::ask(detail.recent(), &detail.unserved, detail.rate.book.best_ask);
    Ok(detail)
}

/// What cleared in a span, step by step, also the steps in which nothing did.
///
/// # Errors
/// A [`DbError`].
pub async fn history(app: &App, workload: i64, span: Span) -> Result<Vec<Point>, DbError> {
    let start = span.start(app.clock.now());
    let read = app.db.read("history", async move |tx| {
        let minutes = store::minutes(tx, workload, start).await?;
        Ok::<_, DbError>((minutes, store::noted(tx, workload, start).await?))
    });
    let (minutes, noted) = read.await?;
    let mut points = steps(&minutes, start, span.step(), span.points());
    for noted in noted {
        if let Some(point) = at(&mut points, noted.minute, start, span.step()) {
            point.noted = Some(noted);
        }
    }
    Ok(points)
}

/// The last 24 hours of each Cargo, hour by hour, in the order of the configuration.
///
/// # Errors
/// A [`DbError`].
pub async fn sparks(app: &App) -> Result<Vec<Vec<Point>>, DbError> {
    let ids: Vec<i64> = app.market.all().iter().map(|market| market.workload.id).collect();
    let start = (app.clock.now().as_millis() / HOUR_MS - 23) * 60;
    let read = app.db.read("sparks", async move |tx| {
        let mut all = Vec::new();
        for &id in &ids {
            all.push(steps(&store::minutes(tx, id, start).await?, start, 60, 24));
        }
        Ok::<_, DbError>(all)
    });
    read.await
}

/// The newest trades of a Cargo.
///
/// # Errors
/// A [`DbError`].
pub async fn sales(app: &App, workload: i64, limit: u32) -> Result<Vec<Sale>, DbError> {
    app.db.read("sales", async move |tx| store::sales(tx, workload, limit).await).await
}

fn rate(market: &Market, cleared: store::Cleared) -> Rate {
    let (best_ask, islands, waiting) = market.snapshot();
    let workload = &market.workload;
    Rate {
        slug: workload.slug.clone(),
        name: workload.name.clone(),
        best_ask,
        last: cleared.last,
        before: cleared.before,
        day: cleared.window,
        islands,
        waiting,
        book: market.standing(),
    }
}

/// Adds minutes up to steps.
fn steps(minutes: &[store::MinuteRow], start: i64, step: i64, count: i64) -> Vec<Point> {
    let point = |index: i64| Point {
        at: Timestamp::from_millis((start + index * step) * MINUTE_MS),
        ..Point::default()
    };
    let mut points: Vec<Point> = (0..count).map(point).collect();
    for row in minutes {
        if let Some(point) = at(&mut points, row.minute, start, step) {
            point.window.add(&row.window);
            point.last = Some(row.last);
        }
    }
    points
}

/// The step a minute falls in.
fn at(points: &mut [Point], minute: i64, start: i64, step: i64) -> Option<&mut Point> {
    points.get_mut(usize::try_from((minute - start).div_euclid(step)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn price(micros: i64) -> MicroCredits {
        MicroCredits::new(micros)
    }

    fn window(trades: i64, units: i64, paid: i64, (lowest, highest): (i64, i64)) -> Window {
        let (lowest, highest) = (Some(price(lowest)), Some(price(highest)));
        Window { trades, units, paid: price(paid), lowest, highest, median: None }
    }

    #[test]
    fn no_trades_have_no_mean_and_no_median() {
        assert_eq!(Window::default().mean(), None);
        assert_eq!(Spread::default().median(), None);
        assert_eq!(Spread::default().count(), 0);
    }

    #[test]
    fn a_mean_is_weighted_by_units_and_rounded_down() {
        // One unit at 2 and three at 3 are 2.75 each; a third of a micro-credit is not shown.
        assert_eq!(window(2, 400_000, 11, (2, 3)).mean(), Some(price(2)));
        assert_eq!(window(2, 400_000, 11_000_000, (2_000_000, 3_000_000)).mean(), Some(price(2_750_000)));
        assert_eq!(window(3, 300_000, 10, (3, 4)).mean(), Some(price(3)));
        // A hundred-thousandth of a unit at 5 costs a micro-credit, which is no price of 100,000.
        assert_eq!(window(1, 1, 1, (5, 5)).mean(), Some(price(5)));
        assert_eq!(window(1, i64::MAX, i64::MAX, (0, i64::MAX)).mean(), Some(price(100_000)));
    }

    #[test]
    fn half_of_the_jobs_are_at_or_below_the_median() {
        for (prices, median, ninety) in [
            (&[(4, 1)][..], 4, 4),
            (&[(1, 1), (9, 1)], 1, 9),
            (&[(1, 1), (5, 1), (9, 1)], 5, 9),
            (&[(1, 49), (2, 2), (3, 49)], 2, 3),
            (&[(1, 90), (7, 10)], 1, 1),
            (&[(1, 89), (7, 11)], 1, 7),
        ] {
            let spread = Spread::new(prices.iter().map(|&(at, count)| (price(at), count)).collect());
            assert_eq!((spread.median(), spread.at_most(90)), (Some(price(median)), Some(price(ninety))));
        }
    }

    #[test]
    fn a_span_ends_with_the_step_of_now() {
        let now = Timestamp::from_millis(1_795_348_860_123);
        let minute = now.as_millis() / MINUTE_MS;
        for span in Span::ALL {
            let end = span.start(now) + span.points() * span.step();
            assert!(minute < end && minute >= end - span.step(), "{span:?}");
            assert_eq!(Span::from_name(span.name()), Some(span));
        }
        assert_eq!(Span::from_name("24H"), None);
    }

    #[test]
    fn what_was_not_traded_is_a_gap() {
        let row = |minute, at| store::MinuteRow {
            minute,
            window: window(1, 100_000, at, (at, at)),
            last: price(at),
        };
        let points = steps(&[row(100, 4), row(102, 6), row(121, 9)], 100, 10, 3);
        let seen: Vec<_> = points.iter().map(|point| (point.window.mean(), point.last)).collect();
        assert_eq!(seen, [(Some(price(5)), Some(price(6))), (None, None), (Some(price(9)), Some(price(9)))]);
    }

    #[test]
    fn a_change_is_told_in_tenths_of_a_percent() {
        let mut rate = Rate {
            slug: String::new(),
            name: String::new(),
            best_ask: None,
            last: Some(price(1125)),
            before: Some(price(1000)),
            day: Window::default(),
            islands: 0,
            waiting: 0,
            book: Standing::default(),
        };
        assert_eq!(rate.change(), Some(125));
        rate.before = Some(price(0));
        assert_eq!(rate.change(), None);
        rate.before = None;
        assert_eq!(rate.change(), None);
    }
}
