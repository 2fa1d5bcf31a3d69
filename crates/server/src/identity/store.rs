//! Statements about verifications.

use std::collections::HashSet;

use db::{DbError, Question, Row, Tx, params};
use types::id::{UserId, VerificationId};
use types::time::Timestamp;

use super::Verification;

pub async fn state(tx: &mut Tx<'_>, user: UserId) -> Result<Verification, DbError> {
    let sql = "SELECT state, session_ref, country, reason, updated_at FROM verifications WHERE user_id = $1";
    let Some(row) = tx.query_opt(sql, &params![user]).await? else { return Ok(Verification::Unverified) };
    let text = |column| Ok::<_, DbError>(row.get::<Option<String>>(column)?.unwrap_or_default());
    Ok(match row.get::<String>(0)?.as_str() {
        "verified" => Verification::Verified { country: text(2)?, at: row.get(4)? },
        "rejected" => Verification::Rejected { reason: text(3)? },
        "erased" => Verification::Unverified,
        _ => Verification::Pending { session: text(1)? },
    })
}

/// Which of these users are verified. Asked in the transaction that spends.
pub async fn ask_verified(tx: &mut Tx<'_>, users: &[UserId]) -> Result<Question<HashSet<UserId>>, DbError> {
    let sql = "SELECT user_id FROM verifications WHERE user_id = $1 AND state = 'verified'";
    tx.ask_many(sql, users.iter().map(|&user| params![user]), |rows| {
        rows.iter().flatten().map(|row| row.get(0)).collect()
    })
    .await
}

/// For each user whose verification was decided whether it succeeded.
pub async fn decisions(tx: &mut Tx<'_>, users: &[UserId]) -> Result<Vec<Option<bool>>, DbError> {
    let sql = "SELECT state FROM verifications WHERE user_id = $1 AND state <> 'pending'";
    let rows = tx.query_many(sql, users.iter().map(|&user| params![user])).await?;
    let verified = |row: &Row| Ok(row.get::<String>(0)? == "verified");
    rows.iter().map(|row| row.as_ref().map(verified).transpose()).collect()
}

/// Begins a round; a user who is verified stays so.
pub async fn begin(
    tx: &mut Tx<'_>,
    user: UserId,
    id: VerificationId,
    provider: &str,
    session: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "INSERT INTO verifications (user_id, id, state, provider, session_ref, updated_at)
               VALUES ($1, $2, 'pending', $3, $4, $5)
               ON CONFLICT (user_id) DO UPDATE SET id = excluded.id, state = excluded.state, provider = excluded.provider,
                 session_ref = excluded.session_ref, reason = NULL, updated_at = excluded.updated_at
               WHERE verifications.state <> 'verified'";
    tx.execute(sql, &params![user, id, provider, session, now]).await.map(drop)
}

pub async fn verified(
    tx: &mut Tx<'_>,
    session: &str,
    name: &str,
    country: &str,
    now: Timestamp,
) -> Result<bool, DbError> {
    let sql =
        "UPDATE verifications SET state = 'verified', name = $2, country = $3, reason = NULL, updated_at = $4
               WHERE session_ref = $1 AND state IN ('pending', 'rejected')";
    Ok(tx.execute(sql, &params![session, name, country, now]).await? == 1)
}

/// Only forward: a rejection does not undo a verification.
pub async fn rejected(tx: &mut Tx<'_>, session: &str, reason: &str, now: Timestamp) -> Result<bool, DbError> {
    let sql = "UPDATE verifications SET state = 'rejected', reason = $2, updated_at = $3
               WHERE session_ref = $1 AND state = 'pending'";
    Ok(tx.execute(sql, &params![session, reason, now]).await? == 1)
}

/// What was known of a person is gone, and so is what it allowed.
pub async fn erased(tx: &mut Tx<'_>, session: &str, now: Timestamp) -> Result<bool, DbError> {
    let sql = "UPDATE verifications SET state = 'erased', name = NULL, country = NULL, reason = NULL, updated_at = $2
               WHERE session_ref = $1 AND state <> 'erased'";
    Ok(tx.execute(sql, &params![session, now]).await? == 1)
}

/// With whom and in which round a user was verified, or is being.
pub async fn session_of(tx: &mut Tx<'_>, user: UserId) -> Result<Option<(String, String)>, DbError> {
    let sql = "SELECT provider, session_ref FROM verifications WHERE user_id = $1";
    tx.query_opt(sql, &params![user]).await?.map(|row| Ok((row.get(0)?, row.get(1)?))).transpose()
}

pub async fn namesakes(tx: &mut Tx<'_>, user: UserId) -> Result<Vec<UserId>, DbError> {
    let sql = "SELECT o.user_id FROM verifications v JOIN verifications o ON o.name = v.name AND o.country = v.country
               WHERE v.user_id = $1 AND v.provider <> 'operator' AND v.state = 'verified' AND v.name <> ''
                 AND o.user_id <> $1 AND o.state = 'verified' ORDER BY o.user_id LIMIT 20";
    tx.query(sql, &params![user]).await?.iter().map(|row| row.get(0)).collect()
}

pub async fn user_of(tx: &mut Tx<'_>, session: &str) -> Result<Option<UserId>, DbError> {
    let row =
        tx.query_opt("SELECT user_id FROM verifications WHERE session_ref = $1", &params![session]).await?;
    row.map(|row| row.get(0)).transpose()
}
