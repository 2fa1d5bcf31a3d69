//! `/exchange`: what each Cargo costs, for everybody to see.

use std::sync::Arc;

use axum::extract::State;
use pages::Nav;
use pages::exchange::{Day, Exchange, ExchangeRow};
use pages::live::{MarketEvent, MarketRow};
use serde_json::Value;
use types::money::MicroCredits;

use super::Page;
use super::frame::{frame, shown, unit};
use super::session::Visitor;
use crate::app::App;
use crate::error::ApiError;
use crate::marketplace::rates::{self, Rate, Window};

/// `GET /exchange`.
///
/// # Errors
/// 500, 503.
pub async fn show(
    State(app): State<Arc<App>>,
    Visitor(visitor): Visitor,
) -> Result<Page<Exchange>, ApiError> {
    let layout = frame(&app, visitor.as_ref(), "Compute Exchange", Nav::Exchange).await?;
    let rates = rates::all(&app).await?;
    Ok(Page(Exchange {
        layout,
        rows: rates.into_iter().map(|rate| row(&app, rate)).collect(),
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
        islands: rate.islands.to_string(),
        waiting: rate.waiting.to_string(),
    };
    let event = MarketEvent { rows: rates.iter().map(row).collect() };
    serde_json::to_value(event).unwrap_or_default()
}

fn row(app: &App, rate: Rate) -> ExchangeRow {
    let unit = app.market.get(&rate.slug).map_or("", |market| unit(&market.workload));
    ExchangeRow {
        unit: unit.to_owned(),
        best_ask: shown(rate.best_ask),
        last: shown(rate.last),
        day: day(&rate.day),
        islands: rate.islands.to_string(),
        waiting: rate.waiting.to_string(),
        slug: rate.slug,
        name: rate.name,
    }
}

fn day(window: &Window) -> Option<Day> {
    Some(Day {
        low: window.lowest?.display_grouped(),
        high: window.highest?.display_grouped(),
        average: to_hundredths(window.mean()?).display_grouped(),
    })
}

/// An average, rounded half up to a hundredth of a credit: more digits would say nothing.
fn to_hundredths(amount: MicroCredits) -> MicroCredits {
    const HUNDREDTH: i64 = 10_000;
    MicroCredits::new(amount.get().saturating_add(HUNDREDTH / 2).div_euclid(HUNDREDTH) * HUNDREDTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(trades: i64, total: i64) -> Window {
        let some = |micros| (trades > 0).then_some(MicroCredits::new(micros));
        Window { trades, total: MicroCredits::new(total), lowest: some(1_500_000), highest: some(3_000_001) }
    }

    #[test]
    fn a_day_without_trades_is_none() {
        assert!(day(&window(0, 0)).is_none());
        let day = day(&window(3, 7_000_000)).unwrap();
        assert_eq!((day.low.as_str(), day.high.as_str(), day.average.as_str()), ("1.50", "3.000001", "2.33"));
    }

    #[test]
    fn pages_are_told_what_the_table_shows() {
        let rate = Rate {
            slug: "llm-chat".to_owned(),
            name: "Chat".to_owned(),
            best_ask: Some(MicroCredits::new(1_500_000)),
            last: None,
            day: window(0, 0),
            islands: 2,
            waiting: 0,
        };
        let expected =
            r#"{"rows":[{"best_ask":"1.50","islands":"2","last":null,"slug":"llm-chat","waiting":"0"}]}"#;
        assert_eq!(market_event(&[rate]).to_string(), expected);
    }
}
