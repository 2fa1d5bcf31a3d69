//! `/exchange`: what each Cargo costs, for everybody to see.

use std::sync::Arc;

use axum::extract::State;
use pages::Nav;
use pages::chart::spark;
use pages::exchange::{Exchange, ExchangeRow};
use pages::live::{MarketEvent, MarketRow};
use serde_json::Value;
use types::money::MicroCredits;

use super::Page;
use super::frame::{frame, shown, unit};
use super::session::Visitor;
use crate::app::App;
use crate::error::ApiError;
use crate::marketplace::Market;
use crate::marketplace::rates::{self, Point, Rate};

/// `GET /exchange`.
///
/// # Errors
/// 500, 503.
pub async fn show(
    State(app): State<Arc<App>>,
    Visitor(visitor): Visitor,
) -> Result<Page<Exchange>, ApiError> {
    let layout = frame(&app, visitor.as_ref(), "Compute Exchange", Nav::Exchange).await?;
    let (rates, sparks) = (rates::all(&app).await?, rates::sparks(&app).await?);
    let rows = app.market.all().iter().zip(rates).zip(sparks);
    Ok(Page(Exchange {
        layout,
        rows: rows.map(|((market, rate), spark)| row(market, rate, &spark)).collect(),
        fee_percent: app.config.market.fee_percent.to_string(),
    }))
}

/// The event `market` of the pages' stream.
#[must_use]
pub fn market_event(rates: &[Rate]) -> Value {
    let row = |rate: &Rate| MarketRow {
        slug: rate.slug.clone(),
        best_ask: shown(rate.best_ask),
        last: shown(rate.last),
        mean: rate.day.mean().map(rounded),
        change: change(rate),
        jobs: rate.day.trades.to_string(),
        islands: rate.islands.to_string(),
        waiting: rate.waiting.to_string(),
    };
    let event = MarketEvent { rows: rates.iter().map(row).collect() };
    serde_json::to_value(event).unwrap_or_default()
}

fn row(market: &Market, rate: Rate, hours: &[Point]) -> ExchangeRow {
    let means: Vec<Option<i64>> =
        hours.iter().map(|hour| hour.window.mean().map(MicroCredits::get)).collect();
    let words = match (rate.day.lowest, rate.day.highest, rate.day.mean()) {
        (Some(low), Some(high), Some(mean)) => format!(
            "24 hours: from {} to {}, on average {}",
            low.display_grouped(),
            high.display_grouped(),
            rounded(mean)
        ),
        _ => "No trades in 24 hours".to_owned(),
    };
    ExchangeRow {
        unit: unit(&market.workload).to_owned(),
        best_ask: shown(rate.best_ask),
        last: shown(rate.last),
        mean: rate.day.mean().map(rounded),
        change: change(&rate),
        jobs: rate.day.trades.to_string(),
        islands: rate.islands.to_string(),
        waiting: rate.waiting.to_string(),
        spark: spark(&means, words),
        slug: rate.slug,
        name: rate.name,
    }
}

/// By how much the price changed: `+12.5 %`. Nothing if nothing was traded in the day.
pub(super) fn change(rate: &Rate) -> Option<String> {
    let change = rate.change().filter(|_| rate.day.trades > 0)?;
    let sign = match change {
        ..0 => "−",
        0 => "±",
        _ => "+",
    };
    let size = change.unsigned_abs();
    Some(format!("{sign}{}.{} %", size / 10, size % 10))
}

/// A mean, rounded half up to a hundredth of a credit, or a thousandth of itself if that is finer: more digits would
/// say nothing.
pub(super) fn rounded(mean: MicroCredits) -> String {
    let mut place = 10_000;
    while place > 1 && mean.get() / place < 1000 {
        place /= 10;
    }
    let place = if mean.get() >= 1_000_000 { 10_000 } else { place };
    MicroCredits::new(mean.get().saturating_add(place / 2).div_euclid(place) * place).display_grouped()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marketplace::depth::Standing;
    use crate::marketplace::rates::Window;

    fn rate(day: Window) -> Rate {
        Rate {
            slug: "llm-chat".to_owned(),
            name: "Chat".to_owned(),
            best_ask: Some(MicroCredits::new(1_500_000)),
            last: None,
            before: None,
            day,
            islands: 2,
            waiting: 0,
            book: Standing::default(),
        }
    }

    #[test]
    fn pages_are_told_what_the_table_shows() {
        let expected = r#"{"rows":[{"best_ask":"1.50","change":null,"islands":"2","jobs":"0","last":null,"mean":null,"slug":"llm-chat","waiting":"0"}]}"#;
        assert_eq!(market_event(&[rate(Window::default())]).to_string(), expected);
    }

    #[test]
    fn a_change_has_a_sign() {
        let micros = |amount| Some(MicroCredits::new(amount));
        let mut rate = rate(Window { trades: 1, ..Window::default() });
        for (before, last, expected) in [
            (micros(1000), micros(1125), Some("+12.5 %")),
            (micros(1000), micros(970), Some("−3.0 %")),
            (micros(1000), micros(1000), Some("±0.0 %")),
            (micros(0), micros(1000), None),
            (None, micros(1000), None),
        ] {
            (rate.before, rate.last) = (before, last);
            assert_eq!(change(&rate).as_deref(), expected);
        }
    }

    #[test]
    fn a_mean_has_as_many_digits_as_say_something() {
        for (micros, expected) in
            [(2_333_333, "2.33"), (2_335_000, "2.34"), (123_456, "0.1235"), (7, "0.000007"), (0, "0.00")]
        {
            assert_eq!(rounded(MicroCredits::new(micros)), expected);
        }
    }
}
