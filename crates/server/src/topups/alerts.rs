//! Alerts of a low balance: at up to three thresholds, one letter each time the balance falls below one.
//!
//! The letter is queued in the transaction that opens the episode; the episode ends when the balance is above again.

use std::sync::Arc;

use db::DbError;
use types::id::{AccountId, MailId, UserId};
use types::money::MicroCredits;

use super::store::{self, Alert};
use crate::app::App;
use crate::hooks::events::{BalanceData, Event, Kind};
use crate::idempotency::Once;
use crate::mail::letters::{BalanceExhausted, Letter, LowBalance};
use crate::mail::outbox;

/// Thresholds one user may have.
pub const MOST: usize = 3;

/// Why thresholds are not set.
#[derive(Debug, thiserror::Error)]
pub enum AlertError {
    /// Too many.
    #[error("can have at most 3 amounts")]
    TooMany,
    /// One would never tell, or always.
    #[error("must be amounts from 0 up")]
    Negative,
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// The thresholds of a user, lowest first, and whether the balance is below.
///
/// # Errors
/// A [`DbError`].
pub async fn of(app: &App, user: UserId) -> Result<Vec<(MicroCredits, bool)>, DbError> {
    app.db.read("alerts", async move |tx| store::alerts(tx, user).await).await
}

/// Sets them; answers them as [`of`] does.
///
/// # Errors
/// An [`AlertError`]; nothing is changed then.
pub async fn set(
    app: &App,
    user: UserId,
    mut thresholds: Vec<MicroCredits>,
    once: &Once<Vec<(MicroCredits, bool)>>,
) -> Result<Vec<(MicroCredits, bool)>, AlertError> {
    thresholds.sort_unstable();
    thresholds.dedup();
    if thresholds.len() > MOST {
        return Err(AlertError::TooMany);
    }
    if thresholds.iter().any(|threshold| threshold.get() < 0) {
        return Err(AlertError::Negative);
    }
    let set = once.tx(app, "set_alerts", async move |tx| {
        store::set_alerts(tx, user, &thresholds).await?;
        store::alerts(tx, user).await
    });
    Ok(set.await?)
}

/// At 0 one is told when nothing is left; above, when less than that is.
fn is_below(available: MicroCredits, threshold: MicroCredits) -> bool {
    if threshold.is_positive() { available < threshold } else { !available.is_positive() }
}

/// Looks at all of them.
///
/// # Errors
/// A [`DbError`].
pub async fn once(app: &App) -> Result<(), DbError> {
    let alerts = app.db.read("alerts", async |tx| store::all_alerts(tx).await).await?;
    let wallets: Vec<AccountId> = alerts.iter().map(|alert| alert.wallet).collect();
    let available = super::available(app, &wallets).await?;
    let mut crossed: Vec<UserId> = Vec::new();
    for (alert, available) in alerts.iter().zip(available) {
        if is_below(available, alert.threshold) != alert.open && crossed.last() != Some(&alert.user) {
            crossed.push(alert.user);
        }
    }
    for user in crossed {
        cross(app, user).await?;
    }
    Ok(())
}

/// Opens and ends the episodes of a user. Who falls below several thresholds at once is told of the lowest.
async fn cross(app: &App, user: UserId) -> Result<(), DbError> {
    let now = app.clock.now();
    let (mail, site): (MailId, _) = (app.ids.next(now), app.config.public_url());
    let hooks = Arc::clone(&app.hooks);
    app.db
        .tx("cross_alerts", async move |tx| {
            let alerts = store::alerts_of(tx, user).await?;
            let Some(wallet) = alerts.first().map(|alert| alert.wallet) else { return Ok(()) };
            let available = ledger::balance(tx, wallet).await?.available();
            let mut lowest: Option<Alert> = None;
            for mut alert in alerts {
                let below = is_below(available, alert.threshold);
                if below == alert.open {
                    continue;
                }
                alert.open = below;
                store::set_episode(tx, &alert).await?;
                if below && lowest.is_none() {
                    lowest = Some(alert);
                }
            }
            let Some(alert) = lowest else { return Ok(()) };
            let (site, threshold) = (site.clone(), alert.threshold);
            let kind = if available.is_positive() { Kind::BalanceLow } else { Kind::BalanceExhausted };
            hooks.tell(tx, user, Event::new(kind, &BalanceData { available, threshold }), now).await?;
            let letter: Box<dyn Letter> = if available.is_positive() {
                Box::new(LowBalance { site, available, threshold })
            } else {
                Box::new(BalanceExhausted { site, available })
            };
            let key = format!("low_balance:{user}:{}:{}", threshold.get(), now.as_millis());
            outbox::queue(tx, mail, &*letter, &alert.email, &key, now).await
        })
        .await?;
    app.mail.wake();
    app.hooks.wake();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incident_082_zero_tells_when_nothing_is_left() {
        let of = |available, threshold| is_below(MicroCredits::new(available), MicroCredits::new(threshold));
        assert!(of(0, 0) && !of(1, 0));
        assert!(of(99, 100) && !of(100, 100));
    }
}
