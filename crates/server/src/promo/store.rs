//! Statements about promo codes.

use db::{DbError, Row, Tx, params};
use types::id::{GrantId, UserId};
use types::time::Timestamp;

use super::Promo;

const PROMO: &str =
    "code, credits, total_limit, per_user_limit, used, expires_at, note, created_at, disabled";

/// Makes a code; answers whether there was none of that name.
pub async fn insert(tx: &mut Tx<'_>, promo: &Promo) -> Result<bool, DbError> {
    let sql = "INSERT INTO promo_codes (code, credits, total_limit, per_user_limit, used, expires_at, note, created_at, disabled)
               VALUES ($1, $2, $3, $4, 0, $5, $6, $7, 0) ON CONFLICT (code) DO NOTHING";
    let row = params![
        &promo.code,
        promo.credits,
        promo.total_limit,
        promo.per_user_limit,
        promo.expires_at,
        &promo.note,
        promo.created_at
    ];
    Ok(tx.execute(sql, &row).await? == 1)
}

pub async fn find(tx: &mut Tx<'_>, code: &str) -> Result<Option<Promo>, DbError> {
    let sql = format!("SELECT {PROMO} FROM promo_codes WHERE code = $1");
    tx.query_opt(&sql, &params![code]).await?.as_ref().map(read).transpose()
}

pub async fn list(tx: &mut Tx<'_>) -> Result<Vec<Promo>, DbError> {
    let sql = format!("SELECT {PROMO} FROM promo_codes ORDER BY created_at DESC, code");
    tx.query(&sql, &[]).await?.iter().map(read).collect()
}

/// Answers whether there is such a code.
pub async fn disable(tx: &mut Tx<'_>, code: &str) -> Result<bool, DbError> {
    Ok(tx.execute("UPDATE promo_codes SET disabled = 1 WHERE code = $1", &params![code]).await? == 1)
}

pub async fn used_by(tx: &mut Tx<'_>, code: &str, user: UserId) -> Result<i64, DbError> {
    let sql = "SELECT CAST(count(*) AS BIGINT) FROM promo_redemptions WHERE code = $1 AND user_id = $2";
    tx.query_one(sql, &params![code, user]).await?.get(0)
}

/// The code an attempt redeemed.
pub async fn by_attempt(tx: &mut Tx<'_>, user: UserId, attempt: &str) -> Result<Option<String>, DbError> {
    let sql = "SELECT code FROM promo_redemptions WHERE user_id = $1 AND attempt_key = $2";
    tx.query_opt(sql, &params![user, attempt]).await?.map(|row| row.get(0)).transpose()
}

pub async fn redeem(
    tx: &mut Tx<'_>,
    id: GrantId,
    (code, user, number): (&str, UserId, i64),
    attempt: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "INSERT INTO promo_redemptions (id, code, user_id, number, attempt_key, created_at)
               VALUES ($1, $2, $3, $4, $5, $6)";
    tx.execute_one(sql, &params![id, code, user, number, attempt, now]).await?;
    tx.execute_one("UPDATE promo_codes SET used = used + 1 WHERE code = $1", &params![code]).await
}

pub async fn misses_since(tx: &mut Tx<'_>, user: UserId, since: Timestamp) -> Result<i64, DbError> {
    let sql = "SELECT CAST(count(*) AS BIGINT) FROM promo_misses WHERE user_id = $1 AND created_at > $2";
    tx.query_one(sql, &params![user, since]).await?.get(0)
}

/// Remembers a wrong code, and forgets those that do not count any more.
pub async fn miss(
    tx: &mut Tx<'_>,
    id: GrantId,
    user: UserId,
    now: Timestamp,
    since: Timestamp,
) -> Result<(), DbError> {
    let old = "DELETE FROM promo_misses WHERE user_id = $1 AND created_at <= $2";
    tx.execute(old, &params![user, since]).await?;
    let sql = "INSERT INTO promo_misses (id, user_id, created_at) VALUES ($1, $2, $3)";
    tx.execute_one(sql, &params![id, user, now]).await
}

fn read(row: &Row) -> Result<Promo, DbError> {
    Ok(Promo {
        code: row.get(0)?,
        credits: row.get(1)?,
        total_limit: row.get(2)?,
        per_user_limit: row.get(3)?,
        used: row.get(4)?,
        expires_at: row.get(5)?,
        note: row.get(6)?,
        created_at: row.get(7)?,
        disabled: row.get(8)?,
    })
}
