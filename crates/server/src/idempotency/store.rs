//! The table `idempotency`.

use db::{DbError, Row, Tx, params};
use types::id::UserId;
use types::time::Timestamp;

use super::{Answer, Once, Record};

/// Rows deleted at once, so that writers wait for no long time.
pub(super) const AT_ONCE: usize = 5_000;

/// What is known of a key of a user.
pub(super) async fn find(tx: &mut Tx<'_>, user: UserId, key: &str) -> Result<Option<Record>, DbError> {
    let sql = "SELECT request_hash, job_id, status, answer FROM idempotency WHERE user_id = $1 AND idempotency_key = $2";
    tx.query_opt(sql, &params![user, key]).await?.map(|row| record(&row)).transpose()
}

fn record(row: &Row) -> Result<Record, DbError> {
    let status: Option<i64> = row.get(2)?;
    let body: Option<String> = row.get(3)?;
    let status = status.and_then(|status| u16::try_from(status).ok());
    let answer = status.zip(body).map(|(status, body)| Answer { status, body });
    Ok(Record { hash: row.get(0)?, job: row.get(1)?, answer })
}

/// Writes the answer to an effect in its transaction.
pub(super) async fn insert<T: Send + 'static>(
    tx: &mut Tx<'_>,
    once: &Once<T>,
    value: &T,
    now: Timestamp,
) -> Result<(), DbError> {
    match once.stored(value) {
        Some(answer) => insert_answer(tx, once, &answer, now).await,
        None => Ok(()),
    }
}

/// Writes an answer. One that is there already stays.
pub(super) async fn insert_answer<T: Send + 'static>(
    tx: &mut Tx<'_>,
    once: &Once<T>,
    answer: &Answer,
    now: Timestamp,
) -> Result<(), DbError> {
    let Some(claim) = once.claim() else { return Ok(()) };
    let sql = "INSERT INTO idempotency (user_id, idempotency_key, request_hash, status, answer, created_at)
               VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (user_id, idempotency_key) DO NOTHING";
    let values = params![claim.user, &claim.key, &claim.hash, i64::from(answer.status), &answer.body, now];
    tx.execute(sql, &values).await.map(drop)
}

/// Deletes what was written until `until`, oldest first; answers how many.
pub(super) async fn delete_until(tx: &mut Tx<'_>, until: Timestamp) -> Result<usize, DbError> {
    let sql = "DELETE FROM idempotency WHERE (user_id, idempotency_key) IN
                 (SELECT user_id, idempotency_key FROM idempotency WHERE created_at <= $1 ORDER BY created_at LIMIT $2)";
    tx.execute(sql, &params![until, i64::try_from(AT_ONCE).unwrap_or(i64::MAX)]).await
}
