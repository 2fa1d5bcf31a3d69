//! Messages of the event stream `/live` that every signed-in page listens to.
//!
//! | event | data |
//! |---|---|
//! | `balance` | `version`, `available`, `held` or null, `usd`, `low`; sent on connecting too |
//! | `earnings` | `version`, `earnings`; sent on connecting too |
//! | `market` | [`MarketEvent`] |
//! | `purchase` | `id`, `state` |
//! | `verification` | `state` |
//!
//! A page ignores a balance or earnings whose `version` it has already passed. Amounts are written as in the pages.

use serde::Serialize;

/// Prices or demand changed.
#[derive(Clone, Debug, Serialize)]
pub struct MarketEvent {
    /// The Cargos that changed.
    pub rows: Vec<MarketRow>,
}

/// The live columns of one Cargo on the Exchange.
#[derive(Clone, Debug, Serialize)]
pub struct MarketRow {
    /// Which Cargo.
    pub slug: String,
    /// Lowest ask, if any Island is online.
    pub best_ask: Option<String>,
    /// Price of the last job, if there was one.
    pub last: Option<String>,
    /// Mean of 24 hours, if there were jobs.
    pub mean: Option<String>,
    /// From the price 24 hours before to the last.
    pub change: Option<String>,
    /// Jobs of 24 hours.
    pub jobs: String,
    /// Islands online.
    pub islands: String,
    /// Jobs waiting.
    pub waiting: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_everything_even_what_is_not_there() {
        let row = MarketRow {
            slug: "llm-chat".into(),
            best_ask: None,
            last: Some("2.00".into()),
            mean: Some("2.11".into()),
            change: None,
            jobs: "14".into(),
            islands: "0".into(),
            waiting: "3".into(),
        };
        assert_eq!(
            serde_json::to_string(&MarketEvent { rows: vec![row] }).expect("json"),
            r#"{"rows":[{"slug":"llm-chat","best_ask":null,"last":"2.00","mean":"2.11","change":null,"jobs":"14","islands":"0","waiting":"3"}]}"#
        );
    }
}
