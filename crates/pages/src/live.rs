//! Messages of the event stream `/live` that every signed-in page listens to. Each is the `data` of an event
//! whose name is in `EVENT`.

use serde::Serialize;

/// The balance changed. Sent on connecting too. A page ignores one whose `version` it has already passed.
#[derive(Clone, Debug, Serialize)]
pub struct BalanceEvent {
    /// Grows with every change of the wallet.
    pub version: i64,
    /// Credits that can be spent: `494.00`.
    pub available: String,
    /// Credits held for running jobs, if any.
    pub held: Option<String>,
    /// Approximate value: `≈ $4.94`.
    pub usd: String,
    /// Fewer than ten credits are available.
    pub low: bool,
    /// Earnings that can be moved to the wallet.
    pub earnings: String,
}

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
    /// Islands online.
    pub islands: String,
    /// Jobs waiting.
    pub waiting: String,
}

/// A purchase changed its state.
#[derive(Clone, Debug, Serialize)]
pub struct PurchaseEvent {
    /// Which purchase.
    pub id: String,
    /// Its new state.
    pub state: String,
}

/// The identity check changed its state.
#[derive(Clone, Debug, Serialize)]
pub struct VerificationEvent {
    /// Its new state.
    pub state: String,
}

impl BalanceEvent {
    /// Name of the event.
    pub const EVENT: &'static str = "balance";
}

impl MarketEvent {
    /// Name of the event.
    pub const EVENT: &'static str = "market";
}

impl PurchaseEvent {
    /// Name of the event.
    pub const EVENT: &'static str = "purchase";
}

impl VerificationEvent {
    /// Name of the event.
    pub const EVENT: &'static str = "verification";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_balance_says_everything_even_what_is_not_there() {
        let event = BalanceEvent {
            version: 12,
            available: "494.00".into(),
            held: None,
            usd: "≈ $4.94".into(),
            low: false,
            earnings: "0.00".into(),
        };
        assert_eq!(
            serde_json::to_string(&event).expect("json"),
            r#"{"version":12,"available":"494.00","held":null,"usd":"≈ $4.94","low":false,"earnings":"0.00"}"#
        );
    }
}
