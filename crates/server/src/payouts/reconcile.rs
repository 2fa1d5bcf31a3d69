//! Comparing the transfers the provider made with the payouts we count, to the cent.

use serde::Serialize;
use types::money::Cents;
use types::time::Timestamp;

use super::provider::TransferState;
use super::{Payout, PayoutError, State, send, store};
use crate::app::App;

/// A payout that is not what the provider says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Which one.
    pub payout: String,
    /// The provider's name for the transfer, if there is one.
    pub transfer: Option<String>,
    /// What differs, in a sentence.
    pub what: String,
    /// How much more left the network than credits did, in cents; negative when credits left and no money.
    pub cents: i64,
    /// Whether it was put right.
    pub healed: bool,
}

/// What a comparison found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Payouts compared.
    pub payouts: usize,
    /// What the provider moved for them, less what came back, in cents.
    pub moved_cents: i64,
    /// What credits left for, in cents.
    pub counted_cents: i64,
    /// Where they differ.
    pub differences: Vec<Difference>,
}

/// Compares all payouts since a time. With `apply`, puts right what can be. One that is being sent is nobody's fault yet.
///
/// # Errors
/// A [`PayoutError`] when the provider or the database cannot be asked.
pub async fn run(app: &App, since: Timestamp, apply: bool) -> Result<Report, PayoutError> {
    let provider = app.payouts.name();
    let payouts =
        app.db.read("payouts_since", async move |tx| store::since(tx, provider, since).await).await?;
    let mut report = Report { payouts: payouts.len(), ..Report::default() };
    for payout in payouts {
        let found = app.payouts.find(payout.id).await?;
        let (moved, counted) = (worth(found.as_ref()), counted(&payout));
        report.moved_cents += moved;
        report.counted_cents += counted;
        if moved == counted || payout.state == State::Sending {
            continue;
        }
        let transfer = found.map(|transfer| transfer.id);
        let healed = match &transfer {
            Some(transfer) if apply => heals(app, &payout, transfer, moved).await?,
            _ => false,
        };
        if healed {
            report.counted_cents += moved - counted;
        }
        report.differences.push(Difference {
            payout: payout.id.to_string(),
            transfer,
            what: format!(
                "{} moved by the provider, {} counted; the payout is {}",
                Cents::new(moved),
                Cents::new(counted),
                payout.state.name()
            ),
            cents: moved - counted,
            healed,
        });
    }
    Ok(report)
}

/// Brings a payout to where its transfer is; answers whether they agree then.
async fn heals(app: &App, payout: &Payout, transfer: &str, moved: i64) -> Result<bool, PayoutError> {
    send::sync_transfer(app, transfer, None).await?;
    let id = payout.id;
    let now = app.db.read("payout", async move |tx| store::payout(tx, id).await).await?;
    Ok(now.is_some_and(|now| counted(&now) == moved))
}

fn worth(transfer: Option<&TransferState>) -> i64 {
    transfer.map_or(0, |transfer| transfer.amount.get() - transfer.reversed.get())
}

fn counted(payout: &Payout) -> i64 {
    if matches!(payout.state, State::Sent | State::Paid) { payout.cents.get() } else { 0 }
}
