//! Payouts by schedule: once in each period, as soon as there is enough.

use db::DbError;

use super::{PayoutError, Wish, store};
use crate::accounts;
use crate::app::App;

/// Pays out whoever is due.
///
/// # Errors
/// A [`DbError`].
pub async fn once(app: &App) -> Result<(), DbError> {
    if !app.config.payouts_offered() {
        return Ok(());
    }
    let (now, provider) = (app.clock.now(), app.payouts.name());
    let ready = app.db.read("payout_accounts", async move |tx| store::ready(tx, provider).await).await?;
    for account in ready {
        let schedule = account.schedule.unwrap_or(app.config.payouts.schedule);
        let Some(period) = schedule.period(now) else { continue };
        let id = account.user;
        let user = app.db.read("user", async move |tx| accounts::store::user_by_id(tx, id).await).await?;
        let Some(user) = user else { continue };
        let wish = Wish { period: Some(period), ..Wish::default() };
        match super::request(app, &user, wish).await {
            Ok(payout) => tracing::info!(payout = %payout.id, "payout {} by schedule", payout.id),
            Err(PayoutError::Db(error)) => return Err(error),
            // Not this time: too little, one is open, or it was done in this period.
            Err(error) => tracing::debug!(%error, user = %user.id, "no payout by schedule"),
        }
    }
    Ok(())
}
