//! `/exchange/{slug}`: one Cargo, for everybody to see.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use pages::Nav;
use pages::chart::{self, Ask, Bid, Moment, Plot, Prices};
use pages::exchange::{BidRow, Cargo, LevelRow, PointRow, Stat, Suggestion, TradeRow, WindowLink};
use types::money::MicroCredits;
use types::time::{DAY_MS, Timestamp};
use types::units::Units;

use super::Page;
use super::exchange::{change, rounded};
use super::frame::{frame, unit, when};
use super::session::Visitor;
use crate::api::market::LEVELS;
use crate::app::App;
use crate::error::ApiError;
use crate::marketplace::Market;
use crate::marketplace::depth::{BidLevel, PriceLevel};
use crate::marketplace::rates::{self, Detail, Point, Sale, Span, Spread};
use crate::marketplace::suggest::{AskReason, BidReason};

/// Rows of a table that are shown.
const ROWS: usize = 6;
/// Trades that are shown.
const TRADES: u32 = 8;

/// `GET /exchange/{slug}?window=1h|24h|7d|30d`.
///
/// # Errors
/// 404, 422, 500, 503.
pub async fn show(
    State(app): State<Arc<App>>,
    Visitor(visitor): Visitor,
    Path(slug): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Page<Cargo>, ApiError> {
    let market = app.market.get(&slug).ok_or_else(|| ApiError::not_found("Cargo"))?;
    let span = match query.get("window") {
        None => Span::default(),
        Some(name) => {
            Span::from_name(name).ok_or_else(|| ApiError::invalid("window", "must be 1h, 24h, 7d or 30d"))?
        }
    };
    let workload = &market.workload;
    let layout = frame(&app, visitor.as_ref(), &workload.name, Nav::Exchange).await?;
    let detail = rates::detail(&app, market).await?;
    let points = rates::history(&app, workload.id, span).await?;
    let sales = rates::sales(&app, workload.id, TRADES).await?;
    let (levels, demand) = (market.depth(LEVELS), market.demand(LEVELS));
    let suggestion =
        |price: MicroCredits, why: &str| Suggestion { price: price.display_grouped(), why: why.to_owned() };
    Ok(Page(Cargo {
        layout,
        slug,
        name: workload.name.clone(),
        description: workload.description.clone(),
        unit: unit(workload).to_owned(),
        stats: stats(&detail, span),
        windows: Span::ALL.into_iter().map(|one| link(one, span)).collect(),
        window: words(span).to_owned(),
        price: price(market, &points, span),
        points: points.iter().rev().filter_map(|point| point_row(point, span)).collect(),
        bid: detail.suggested_bid.map(|(price, why)| suggestion(price, bid_words(why))),
        ask: detail.suggested_ask.map(|(price, why)| suggestion(price, ask_words(why))),
        unserved: unserved_words(&detail.unserved),
        depth: depth(market, &levels, &demand),
        more: more(levels.len(), demand.len()),
        levels: levels.iter().take(ROWS).map(level_row).collect(),
        bids: demand.iter().take(ROWS).map(bid_row).collect(),
        trades: sales.iter().map(trade_row).collect(),
        fee_percent: app.config.market.fee_percent.to_string(),
    }))
}

/// A window in words.
pub(super) const fn words(span: Span) -> &'static str {
    match span {
        Span::Hour => "hour",
        Span::Day => "24 hours",
        Span::Week => "7 days",
        Span::Month => "30 days",
    }
}

fn link(span: Span, current: Span) -> WindowLink {
    let label = match span {
        Span::Hour => "1 h",
        Span::Day => "24 h",
        Span::Week => "7 d",
        Span::Month => "30 d",
    };
    let href = if span == Span::default() { String::new() } else { format!("?window={}", span.name()) };
    WindowLink { href, label: label.to_owned(), current: span == current }
}

fn stats(detail: &Detail, span: Span) -> Vec<Stat> {
    let (rate, book) = (&detail.rate, &detail.rate.book);
    let index = Span::ALL.iter().position(|one| *one == span).unwrap_or(1);
    let window = &detail.windows[index];
    let of = words(span);
    let stat = |label, value: Option<String>, none: &str, note: String| Stat {
        label,
        none: value.is_none(),
        value: value.unwrap_or_else(|| none.to_owned()),
        note,
    };
    let price = |amount: Option<MicroCredits>| amount.map(MicroCredits::display_grouped);
    let range = window.lowest.zip(window.highest);
    let range = range.map(|(low, high)| format!("{}–{}", low.display_grouped(), high.display_grouped()));
    let none_free = if book.islands == 0 { "No Island" } else { "All busy" };
    vec![
        stat(
            "Best free ask",
            price(book.best_ask),
            none_free,
            format!("{} of {} slots free", book.free, book.slots),
        ),
        stat(
            "Last price",
            price(rate.last),
            "No trades",
            change(rate).map(|by| format!("{by} in 24 h")).unwrap_or_default(),
        ),
        stat("Mean", window.mean().map(rounded), "No trades", format!("of {of}, by units")),
        stat("Median", price(window.median), "No trades", format!("of {of}")),
        stat("Lowest–highest", range, "No trades", format!("of {of}")),
        stat("Jobs", Some(window.trades.to_string()), "", format!("in {of}")),
        stat("Islands", Some(book.islands.to_string()), "", "online now".to_owned()),
        stat(
            "Waiting",
            Some(book.waiting.to_string()),
            "",
            price(book.best_bid).map_or("jobs".to_owned(), |bid| format!("jobs, bidding up to {bid}")),
        ),
    ]
}

fn bid_words(why: BidReason) -> &'static str {
    match why {
        BidReason::Plenty => {
            "Several Islands' slots are free at this ask: a job with this bid starts at once."
        }
        BidReason::Few => "Few slots are free at this ask, and nothing was traded lately to compare it with.",
        BidReason::Recent => "Nine of ten jobs of the last 24 hours cleared at or below this price.",
        BidReason::Busy => {
            "Every Island is busy and nothing was traded lately: this is the lowest ask there is, and a job waits its turn."
        }
    }
}

pub(super) fn ask_words(why: AskReason) -> &'static str {
    match why {
        AskReason::Median => "Half of the jobs cleared at or below this price.",
        AskReason::Undercut => {
            "An Island is free at this ask, which is below what half of the jobs cleared at. Jobs go to the cheapest."
        }
        AskReason::Unserved => "Jobs went unserved that bid more than what usually clears.",
        AskReason::Demand => "Nothing cleared yet, but jobs went unserved that bid this much.",
    }
}

/// `37 jobs went unserved in the last 24 hours, bidding up to 3.20.`
pub(super) fn unserved_words(unserved: &Spread) -> Option<String> {
    let (highest, median) = (unserved.highest()?, unserved.median()?);
    let jobs = match unserved.count() {
        1 => "1 job".to_owned(),
        count => format!("{count} jobs"),
    };
    let up_to = highest.display_grouped();
    Some(if highest == median {
        format!("{jobs} went unserved in the last 24 hours, bidding {up_to}.")
    } else {
        let half = median.display_grouped();
        format!(
            "{jobs} went unserved in the last 24 hours, bidding up to {up_to}; half of them {half} or less."
        )
    })
}

fn price(market: &Market, points: &[Point], span: Span) -> Option<Plot> {
    let moments: Vec<Moment> = points.iter().map(|point| moment(point, span)).collect();
    let traded = || points.iter().filter(|point| point.window.trades > 0);
    let low = traded().filter_map(|point| point.window.lowest).min()?.display_grouped();
    let high = traded().filter_map(|point| point.window.highest).max()?.display_grouped();
    let last = traded().next_back().and_then(|point| point.last).unwrap_or_default().display_grouped();
    let label = format!("Price of {}, credits per {}", market.workload.name, unit(&market.workload));
    let summary = if low == high {
        format!("In the last {} every job cleared at {low}.", words(span))
    } else {
        format!("In the last {} prices were from {low} to {high}; the last was {last}.", words(span))
    };
    chart::history("price", label, summary, &moments)
}

fn moment(point: &Point, span: Span) -> Moment {
    let (window, at) = (&point.window, label(point.at, span));
    let prices = window.mean().zip(window.lowest).zip(window.highest).zip(point.last);
    let Some((((mean, low), high), last)) = prices else {
        return Moment {
            tick: tick(point.at, span),
            text: format!("{at}: no trades"),
            prices: None,
            jobs: 0,
        };
    };
    let range = if low == high {
        low.display_grouped()
    } else {
        format!(
            "mean {}, last {}, from {} to {}",
            rounded(mean),
            last.display_grouped(),
            low.display_grouped(),
            high.display_grouped()
        )
    };
    let jobs = if window.trades == 1 { "1 job".to_owned() } else { format!("{} jobs", window.trades) };
    Moment {
        tick: tick(point.at, span),
        text: format!("{at}: {range}; {jobs}"),
        prices: Some(Prices { mean: mean.get(), last: last.get(), low: low.get(), high: high.get() }),
        jobs: window.trades,
    }
}

/// A word for the axis at round times: each quarter of an hour, of a day; every second day; each week.
pub(super) fn tick(at: Timestamp, span: Span) -> Option<String> {
    let minute = at.as_millis().div_euclid(60_000);
    let day = at.as_millis().div_euclid(DAY_MS);
    let (hour, date) = (time(at), date(at));
    let midnight = minute.rem_euclid(1440) == 0;
    match span {
        Span::Hour => (minute % 15 == 0).then_some(hour),
        Span::Day => (minute % 360 == 0).then_some(hour),
        Span::Week => (midnight && day % 2 == 0).then_some(date),
        Span::Month => (midnight && day % 7 == 4).then_some(date),
    }
}

/// When a step begins: `22 Nov, 14:30`.
pub(super) fn label(at: Timestamp, span: Span) -> String {
    match span {
        Span::Hour => time(at),
        _ => format!("{}, {}", date(at), time(at)),
    }
}

fn time(at: Timestamp) -> String {
    at.to_string().get(11..16).unwrap_or_default().to_owned()
}

fn date(at: Timestamp) -> String {
    let day = super::frame::day(at);
    day.rsplit_once(' ').map_or(day.clone(), |(date, _)| date.to_owned())
}

fn depth(market: &Market, levels: &[PriceLevel], demand: &[BidLevel]) -> Option<Plot> {
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let asks: Vec<Ask> = levels
        .iter()
        .map(|level| Ask {
            price: level.ask.get(),
            free: count(level.free_slots),
            slots: count(level.slots),
            text: level.ask.display_grouped(),
        })
        .collect();
    let bids: Vec<Bid> = demand
        .iter()
        .map(|one| Bid {
            price: one.bid.get(),
            jobs: i64::try_from(one.jobs).unwrap_or(i64::MAX),
            text: one.bid.display_grouped(),
        })
        .collect();
    let label = format!("Depth of the book of {}, slots and jobs by price", market.workload.name);
    let offered = match levels {
        [] => "No Island offers it".to_owned(),
        [first, ..] => {
            let (free, slots) =
                levels.iter().fold((0, 0), |(free, slots), one| (free + one.free_slots, slots + one.slots));
            format!("{free} of {slots} slots are free, asks begin at {}", first.ask.display_grouped())
        }
    };
    let wanted = match demand {
        [] => "no job waits".to_owned(),
        [first, ..] => {
            let jobs: usize = demand.iter().map(|one| one.jobs).sum();
            let wait = if jobs == 1 { "job waits" } else { "jobs wait" };
            format!("{jobs} {wait}, bidding up to {}", first.bid.display_grouped())
        }
    };
    chart::depth("depth", label, format!("{offered}; {wanted}."), &asks, &bids)
}

fn more(levels: usize, bids: usize) -> Option<String> {
    let (levels, bids) = (levels.saturating_sub(ROWS), bids.saturating_sub(ROWS));
    (levels + bids > 0).then(|| {
        format!(
            "Not in the tables: {levels} higher asks and {bids} lower bids. Neither Islands nor consumers are named in the book."
        )
    })
}

fn level_row(level: &PriceLevel) -> LevelRow {
    LevelRow {
        price: level.ask.display_grouped(),
        free: level.free_slots.to_string(),
        slots: level.slots.to_string(),
        islands: level.islands.to_string(),
    }
}

fn bid_row(demand: &BidLevel) -> BidRow {
    BidRow { price: demand.bid.display_grouped(), jobs: demand.jobs.to_string() }
}

fn trade_row(sale: &Sale) -> TradeRow {
    TradeRow { when: when(sale.at), price: sale.price.display_grouped(), units: units(sale.units) }
}

/// Units as people read them: `1`, `0.734`.
fn units(units: Units) -> String {
    MicroCredits::new(units.parts().saturating_mul(10)).to_string()
}

fn point_row(point: &Point, span: Span) -> Option<PointRow> {
    let (low, high) = (point.window.lowest?, point.window.highest?);
    Some(PointRow {
        when: label(point.at, span),
        mean: rounded(point.window.mean()?),
        range: format!("{}–{}", low.display_grouped(), high.display_grouped()),
        last: point.last?.display_grouped(),
        jobs: point.window.trades.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unserved_jobs_are_a_sentence() {
        let spread = |prices: &[(i64, i64)]| {
            Spread::new(prices.iter().map(|&(at, count)| (MicroCredits::new(at), count)).collect())
        };
        assert_eq!(unserved_words(&spread(&[])), None);
        assert_eq!(
            unserved_words(&spread(&[(3_200_000, 1)])).unwrap(),
            "1 job went unserved in the last 24 hours, bidding 3.20."
        );
        assert_eq!(
            unserved_words(&spread(&[(2_000_000, 30), (3_200_000, 7)])).unwrap(),
            "37 jobs went unserved in the last 24 hours, bidding up to 3.20; half of them 2.00 or less."
        );
    }

    #[test]
    fn every_window_has_a_few_words_on_its_axis() {
        let now = Timestamp::from_millis(1_795_348_800_123);
        for span in Span::ALL {
            let start = span.start(now);
            let ticks = (0..span.points()).filter_map(|index| {
                tick(Timestamp::from_millis((start + index * span.step()) * 60_000), span)
            });
            let ticks: Vec<String> = ticks.collect();
            assert!((3..=5).contains(&ticks.len()), "{span:?}: {ticks:?}");
        }
        assert_eq!(units(Units::ONE), "1");
        assert_eq!(units(Units::from_parts(73_412)), "0.73412");
    }
}
