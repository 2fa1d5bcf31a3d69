//! Statements about auto top-up and balance alerts.

use db::{DbError, Row, Tx, params};
use types::id::{AccountId, Id, PurchaseId, UserId};
use types::money::{Cents, MicroCredits};
use types::time::Timestamp;

use super::rules::{Rule, State};

const RULE: &str =
    "t.user_id, t.enabled, t.threshold, t.package_slug, t.monthly_max_cents, t.state, t.epoch, t.purchase_id,
    t.in_flight, t.tries, t.declines, t.next_try_at, t.last_error, t.confirm_url";

pub async fn rule(tx: &mut Tx<'_>, user: UserId) -> Result<Option<Rule>, DbError> {
    let sql = format!("SELECT {RULE} FROM topups t WHERE t.user_id = $1");
    tx.query_opt(&sql, &params![user]).await?.as_ref().map(read_rule).transpose()
}

/// Rules that are switched on, with the wallets they fill.
pub async fn enabled(tx: &mut Tx<'_>) -> Result<Vec<(Rule, AccountId)>, DbError> {
    let sql = format!(
        "SELECT {RULE}, u.wallet_id FROM topups t JOIN users u ON u.id = t.user_id WHERE t.enabled = 1 ORDER BY t.user_id"
    );
    tx.query(&sql, &[]).await?.iter().map(|row| Ok((read_rule(row)?, row.get(14)?))).collect()
}

/// Writes all of a rule.
pub async fn put(tx: &mut Tx<'_>, rule: &Rule, now: Timestamp) -> Result<(), DbError> {
    let sql = "INSERT INTO topups (user_id, enabled, threshold, package_slug, monthly_max_cents, state, epoch, purchase_id,
                 in_flight, tries, declines, next_try_at, last_error, confirm_url, updated_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
               ON CONFLICT (user_id) DO UPDATE SET enabled = excluded.enabled, threshold = excluded.threshold,
                 package_slug = excluded.package_slug, monthly_max_cents = excluded.monthly_max_cents,
                 state = excluded.state, epoch = excluded.epoch, purchase_id = excluded.purchase_id,
                 in_flight = excluded.in_flight, tries = excluded.tries, declines = excluded.declines,
                 next_try_at = excluded.next_try_at, last_error = excluded.last_error,
                 confirm_url = excluded.confirm_url, updated_at = excluded.updated_at";
    let row = params![
        rule.user,
        i64::from(rule.enabled),
        rule.threshold,
        &rule.package_slug,
        rule.monthly_max,
        rule.state.name(),
        rule.epoch,
        rule.purchase.map_or(0, Id::get),
        i64::from(rule.in_flight),
        rule.tries,
        rule.declines,
        rule.next_try_at,
        rule.last_error.as_deref(),
        rule.confirm_url.as_deref(),
        now
    ];
    tx.execute_one(sql, &row).await
}

/// What is to come into a wallet: credits of purchases that are paid and have not arrived.
pub async fn pending(tx: &mut Tx<'_>, user: UserId) -> Result<MicroCredits, DbError> {
    let sql = "SELECT CAST(coalesce(sum(credits * 1000000), 0) AS BIGINT) FROM purchases
               WHERE user_id = $1 AND state = 'pending'";
    tx.query_one(sql, &params![user]).await?.get(0)
}

/// What was charged by auto top-up since, in cents; what is on its way included.
pub async fn charged_since(tx: &mut Tx<'_>, user: UserId, since: Timestamp) -> Result<Cents, DbError> {
    let sql = "SELECT CAST(coalesce(sum(amount_cents), 0) AS BIGINT) FROM purchases
               WHERE user_id = $1 AND attempt_key LIKE 'topup-%' AND state IN ('granted', 'pending')
                 AND coalesce(granted_at, created_at) >= $2";
    tx.query_one(sql, &params![user, since]).await?.get(0)
}

/// Gives up a purchase nobody was charged for.
pub async fn abandon(tx: &mut Tx<'_>, purchase: PurchaseId) -> Result<(), DbError> {
    let sql = "UPDATE purchases SET state = 'expired' WHERE id = $1 AND state = 'created'";
    tx.execute(sql, &params![purchase]).await.map(drop)
}

/// The thresholds of a user, lowest first.
pub async fn alerts(tx: &mut Tx<'_>, user: UserId) -> Result<Vec<(MicroCredits, bool)>, DbError> {
    let sql = "SELECT threshold, episode_open FROM balance_alerts WHERE user_id = $1 ORDER BY threshold";
    tx.query(sql, &params![user]).await?.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// Thresholds somebody set.
#[derive(Clone, Debug)]
pub struct Alert {
    /// Who.
    pub user: UserId,
    /// Their wallet.
    pub wallet: AccountId,
    /// Where they are told.
    pub email: String,
    /// Below how much.
    pub threshold: MicroCredits,
    /// They were told, and the balance has not been above since.
    pub open: bool,
}

const ALERT: &str = "SELECT a.user_id, u.wallet_id, u.email, a.threshold, a.episode_open
    FROM balance_alerts a JOIN users u ON u.id = a.user_id";

pub async fn all_alerts(tx: &mut Tx<'_>) -> Result<Vec<Alert>, DbError> {
    let sql = format!("{ALERT} ORDER BY a.user_id, a.threshold");
    tx.query(&sql, &[]).await?.iter().map(read_alert).collect()
}

pub async fn alerts_of(tx: &mut Tx<'_>, user: UserId) -> Result<Vec<Alert>, DbError> {
    let sql = format!("{ALERT} WHERE a.user_id = $1 ORDER BY a.threshold");
    tx.query(&sql, &params![user]).await?.iter().map(read_alert).collect()
}

/// Sets the thresholds of a user; one that was there keeps its episode.
pub async fn set_alerts(tx: &mut Tx<'_>, user: UserId, thresholds: &[MicroCredits]) -> Result<(), DbError> {
    for (old, _) in alerts(tx, user).await? {
        if !thresholds.contains(&old) {
            let sql = "DELETE FROM balance_alerts WHERE user_id = $1 AND threshold = $2";
            tx.execute_one(sql, &params![user, old]).await?;
        }
    }
    let sql = "INSERT INTO balance_alerts (user_id, threshold, episode_open) VALUES ($1, $2, 0)
               ON CONFLICT (user_id, threshold) DO NOTHING";
    for threshold in thresholds {
        tx.execute(sql, &params![user, *threshold]).await?;
    }
    Ok(())
}

pub async fn set_episode(tx: &mut Tx<'_>, alert: &Alert) -> Result<(), DbError> {
    let sql = "UPDATE balance_alerts SET episode_open = $3 WHERE user_id = $1 AND threshold = $2";
    let row = params![alert.user, alert.threshold, i64::from(alert.open)];
    tx.execute_one(sql, &row).await
}

fn read_alert(row: &Row) -> Result<Alert, DbError> {
    Ok(Alert {
        user: row.get(0)?,
        wallet: row.get(1)?,
        email: row.get(2)?,
        threshold: row.get(3)?,
        open: row.get(4)?,
    })
}

fn read_rule(row: &Row) -> Result<Rule, DbError> {
    let state: String = row.get(5)?;
    let purchase: i64 = row.get(7)?;
    Ok(Rule {
        user: row.get(0)?,
        enabled: row.get(1)?,
        threshold: row.get(2)?,
        package_slug: row.get(3)?,
        monthly_max: row.get(4)?,
        state: State::from_name(&state).ok_or_else(|| DbError::Other(format!("a top-up is {state}")))?,
        epoch: row.get(6)?,
        purchase: (purchase != 0).then(|| PurchaseId::from_i64(purchase)),
        in_flight: row.get(8)?,
        tries: row.get(9)?,
        declines: row.get(10)?,
        next_try_at: row.get(11)?,
        last_error: row.get(12)?,
        confirm_url: row.get(13)?,
    })
}
