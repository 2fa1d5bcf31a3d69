//! Statements about grants.

use db::{DbError, Tx, params};
use types::id::{GrantId, UserId};
use types::money::MicroCredits;
use types::time::Timestamp;

pub async fn insert_grant(
    tx: &mut Tx<'_>,
    id: GrantId,
    user: UserId,
    amount: MicroCredits,
    note: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "INSERT INTO grants (id, user_id, amount, note, created_at) VALUES ($1, $2, $3, $4, $5)";
    tx.execute_one(sql, &params![id, user, amount, note, now]).await
}
