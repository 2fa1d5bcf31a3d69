//! Statements about purchases and the events of their provider.

use db::{DbError, Row, Tx, params};
use types::id::{PurchaseId, UserId};
use types::time::Timestamp;

use super::reversals::Standing;
use super::{Lot, Purchase, State};

const PURCHASE: &str =
    "id, user_id, wallet_id, package_slug, package_name, credits, amount_cents, currency, state,
    provider, session_ref, checkout_url, created_at, granted_at, payment_ref, taken, frozen, freeze_id, refunded_cents,
    lost_cents, disputed_cents";

pub async fn insert_purchase(tx: &mut Tx<'_>, purchase: &Purchase, attempt: &str) -> Result<(), DbError> {
    let sql =
        "INSERT INTO purchases (id, user_id, wallet_id, package_slug, package_name, credits, amount_cents,
                 currency, state, provider, attempt_key, created_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    let row = params![
        purchase.id,
        purchase.user,
        purchase.wallet,
        &purchase.package_slug,
        &purchase.package_name,
        purchase.credits,
        purchase.amount,
        &purchase.currency,
        purchase.state.name(),
        &purchase.provider,
        attempt,
        purchase.created_at
    ];
    tx.execute_one(sql, &row).await
}

pub async fn purchase(tx: &mut Tx<'_>, id: PurchaseId) -> Result<Option<Purchase>, DbError> {
    let sql = format!("SELECT {PURCHASE} FROM purchases WHERE id = $1");
    tx.query_opt(&sql, &params![id]).await?.as_ref().map(read_purchase).transpose()
}

pub async fn purchase_by_attempt(
    tx: &mut Tx<'_>,
    user: UserId,
    attempt: &str,
) -> Result<Option<Purchase>, DbError> {
    let sql = format!("SELECT {PURCHASE} FROM purchases WHERE user_id = $1 AND attempt_key = $2");
    tx.query_opt(&sql, &params![user, attempt]).await?.as_ref().map(read_purchase).transpose()
}

pub async fn by_session(tx: &mut Tx<'_>, session: &str) -> Result<Option<PurchaseId>, DbError> {
    let row = tx.query_opt("SELECT id FROM purchases WHERE session_ref = $1", &params![session]).await?;
    row.map(|row| row.get(0)).transpose()
}

/// Purchases of a user that people want to see: an abandoned checkout is none.
pub async fn history(tx: &mut Tx<'_>, user: UserId, limit: u32) -> Result<Vec<Purchase>, DbError> {
    let sql = format!(
        "SELECT {PURCHASE} FROM purchases
         WHERE user_id = $1 AND state IN ('granted', 'pending', 'failed') ORDER BY id DESC LIMIT $2"
    );
    tx.query(&sql, &params![user, limit]).await?.iter().map(read_purchase).collect()
}

/// For each user the newest purchase that was granted.
pub async fn newest_granted(tx: &mut Tx<'_>, users: &[UserId]) -> Result<Vec<Option<PurchaseId>>, DbError> {
    let sql = "SELECT id FROM purchases WHERE user_id = $1 AND state = 'granted' ORDER BY id DESC LIMIT 1";
    let rows = tx.query_many(sql, users.iter().map(|&user| params![user])).await?;
    rows.iter().map(|row| row.as_ref().map(|row| row.get(0)).transpose()).collect()
}

/// Purchases that are not finished and were begun since, or are waiting for their money.
pub async fn open_since(
    tx: &mut Tx<'_>,
    provider: &str,
    since: Timestamp,
) -> Result<Vec<PurchaseId>, DbError> {
    let sql = "SELECT id FROM purchases
               WHERE provider = $2 AND state IN ('created', 'pending') AND (state = 'pending' OR created_at > $1)
                 AND (session_ref IS NOT NULL OR payment_ref IS NOT NULL) ORDER BY id";
    tx.query(sql, &params![since, provider]).await?.iter().map(|row| row.get(0)).collect()
}

pub async fn set_checkout(
    tx: &mut Tx<'_>,
    id: PurchaseId,
    (session, url): (&str, Option<&str>),
    customer: Option<&str>,
) -> Result<(), DbError> {
    let sql = "UPDATE purchases SET session_ref = $2, checkout_url = $3, customer_ref = $4 WHERE id = $1";
    tx.execute_one(sql, &params![id, session, url, customer]).await
}

/// Who a user is at a provider.
pub async fn customer(tx: &mut Tx<'_>, user: UserId, provider: &str) -> Result<Option<String>, DbError> {
    let sql = "SELECT customer_ref FROM provider_customers WHERE user_id = $1 AND provider = $2";
    tx.query_opt(sql, &params![user, provider]).await?.map(|row| row.get(0)).transpose()
}

/// Remembers it.
pub async fn set_customer(
    tx: &mut Tx<'_>,
    user: UserId,
    provider: &str,
    customer: &str,
) -> Result<(), DbError> {
    let sql = "INSERT INTO provider_customers (user_id, provider, customer_ref) VALUES ($1, $2, $3)
               ON CONFLICT (user_id, provider) DO UPDATE SET customer_ref = excluded.customer_ref";
    tx.execute(sql, &params![user, provider, customer]).await.map(drop)
}

pub async fn set_state(
    tx: &mut Tx<'_>,
    id: PurchaseId,
    state: State,
    (payment, charge): (Option<&str>, Option<&str>),
    now: Timestamp,
) -> Result<(), DbError> {
    let granted_at = (state == State::Granted).then_some(now);
    let sql = "UPDATE purchases SET state = $2, payment_ref = coalesce($3, payment_ref),
                 charge_ref = coalesce($4, charge_ref), granted_at = $5
               WHERE id = $1 AND state <> 'granted'";
    tx.execute_one(sql, &params![id, state.name(), payment, charge, granted_at]).await
}

/// The payments of purchases granted since.
pub async fn payments_since(
    tx: &mut Tx<'_>,
    provider: &str,
    since: Timestamp,
) -> Result<Vec<String>, DbError> {
    let sql = "SELECT payment_ref FROM purchases
               WHERE provider = $2 AND state = 'granted' AND granted_at >= $1 AND payment_ref IS NOT NULL ORDER BY id";
    tx.query(sql, &params![since, provider]).await?.iter().map(|row| row.get(0)).collect()
}

fn read_purchase(row: &Row) -> Result<Purchase, DbError> {
    let state: String = row.get(8)?;
    Ok(Purchase {
        id: row.get(0)?,
        user: row.get(1)?,
        wallet: row.get(2)?,
        package_slug: row.get(3)?,
        package_name: row.get(4)?,
        credits: row.get(5)?,
        amount: row.get(6)?,
        currency: row.get(7)?,
        state: State::from_name(&state).ok_or_else(|| DbError::Other(format!("a purchase is {state}")))?,
        provider: row.get(9)?,
        session: row.get(10)?,
        checkout_url: row.get(11)?,
        created_at: row.get(12)?,
        granted_at: row.get(13)?,
        payment: row.get(14)?,
        lot: Lot {
            taken: row.get(15)?,
            frozen: row.get(16)?,
            freeze: row.get(17)?,
            standing: Standing { refunded: row.get(18)?, lost: row.get(19)?, disputed: row.get(20)? },
        },
    })
}
