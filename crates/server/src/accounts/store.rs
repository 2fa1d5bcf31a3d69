//! Statements about users, links, sessions and keys.

use std::collections::HashSet;

use db::{DbError, Question, Row, Tx, params};
use ledger::Period;
use types::id::{ApiKeyId, UserId};
use types::money::MicroCredits;
use types::time::Timestamp;

use super::api_keys::{ApiKey, Scopes};
use super::bids::Bids;
use super::{User, networks};

const USER: &str = "u.id, u.email, u.name, u.wallet_id, u.earnings_id, u.created_at, u.bids";
/// How many columns those are.
const USER_COLUMNS: usize = 7;
const KEY: &str = "k.id, k.name, k.prefix, k.scopes, k.created_at, k.last_used_at, k.expires_at, k.allowed,
    (SELECT max(o.valid_until) FROM api_key_old_secrets o WHERE o.key_id = k.id)";
/// How many columns those are.
const KEY_COLUMNS: usize = 9;

pub async fn insert_user(tx: &mut Tx<'_>, user: &User) -> Result<(), DbError> {
    let sql = "INSERT INTO users (id, email, name, wallet_id, earnings_id, created_at) VALUES ($1, $2, $3, $4, $5, $6)";
    let row = params![user.id, &user.email, &user.name, user.wallet, user.earnings, user.created_at];
    tx.execute_one(sql, &row).await
}

pub async fn user_by_email(tx: &mut Tx<'_>, email: &str) -> Result<Option<User>, DbError> {
    let sql = format!("SELECT {USER} FROM users u WHERE u.email = $1");
    tx.query_opt(&sql, &params![email]).await?.as_ref().map(read_user).transpose()
}

pub async fn user_by_id(tx: &mut Tx<'_>, id: UserId) -> Result<Option<User>, DbError> {
    let sql = format!("SELECT {USER} FROM users u WHERE u.id = $1");
    tx.query_opt(&sql, &params![id]).await?.as_ref().map(read_user).transpose()
}

pub async fn rename_user(tx: &mut Tx<'_>, id: UserId, name: &str) -> Result<(), DbError> {
    tx.execute_one("UPDATE users SET name = $2 WHERE id = $1", &params![id, name]).await
}

/// How many links were made for an address: by this browser, and by all.
pub async fn links_since(
    tx: &mut Tx<'_>,
    email: &str,
    browser: &str,
    since: Timestamp,
) -> Result<(i64, i64), DbError> {
    let sql = "SELECT coalesce(sum(CASE WHEN browser_hash = $2 THEN 1 ELSE 0 END), 0), count(*)
               FROM magic_links WHERE email = $1 AND created_at > $3";
    let row = tx.query_one(sql, &params![email, browser, since]).await?;
    Ok((row.get(0)?, row.get(1)?))
}

pub async fn insert_link(
    tx: &mut Tx<'_>,
    hash: &str,
    email: &str,
    browser: &str,
    (now, expires): (Timestamp, Timestamp),
) -> Result<(), DbError> {
    let sql = "INSERT INTO magic_links (token_hash, email, browser_hash, created_at, expires_at)
               VALUES ($1, $2, $3, $4, $5)";
    tx.execute_one(sql, &params![hash, email, browser, now, expires]).await
}

/// The address and the browser of a link that still works.
pub async fn live_link(
    tx: &mut Tx<'_>,
    hash: &str,
    now: Timestamp,
) -> Result<Option<(String, String)>, DbError> {
    let sql = "SELECT email, browser_hash FROM magic_links
               WHERE token_hash = $1 AND used_at IS NULL AND expires_at > $2";
    let row = tx.query_opt(sql, &params![hash, now]).await?;
    row.map(|row| Ok((row.get(0)?, row.get(1)?))).transpose()
}

/// Uses a link up; answers whether it was still there to be used.
pub async fn use_link(tx: &mut Tx<'_>, hash: &str, now: Timestamp) -> Result<bool, DbError> {
    let sql =
        "UPDATE magic_links SET used_at = $2 WHERE token_hash = $1 AND used_at IS NULL AND expires_at > $2";
    Ok(tx.execute(sql, &params![hash, now]).await? == 1)
}

pub async fn insert_session(
    tx: &mut Tx<'_>,
    hash: &str,
    user: UserId,
    csrf: &str,
    (now, expires): (Timestamp, Timestamp),
) -> Result<(), DbError> {
    let sql = "INSERT INTO sessions (token_hash, user_id, csrf, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)";
    tx.execute_one(sql, &params![hash, user, csrf, now, expires]).await
}

pub async fn session(
    tx: &mut Tx<'_>,
    hash: &str,
    now: Timestamp,
) -> Result<Option<(User, String, Timestamp)>, DbError> {
    let sql = format!(
        "SELECT {USER}, s.csrf, s.expires_at FROM sessions s JOIN users u ON u.id = s.user_id
         WHERE s.token_hash = $1 AND s.expires_at > $2"
    );
    let row = tx.query_opt(&sql, &params![hash, now]).await?;
    row.map(|row| Ok((read_user(&row)?, row.get(USER_COLUMNS)?, row.get(USER_COLUMNS + 1)?))).transpose()
}

pub async fn extend_session(tx: &mut Tx<'_>, hash: &str, expires: Timestamp) -> Result<(), DbError> {
    tx.execute("UPDATE sessions SET expires_at = $2 WHERE token_hash = $1", &params![hash, expires])
        .await
        .map(drop)
}

pub async fn delete_session(tx: &mut Tx<'_>, hash: &str) -> Result<(), DbError> {
    tx.execute("DELETE FROM sessions WHERE token_hash = $1", &params![hash]).await.map(drop)
}

pub async fn delete_sessions_of(tx: &mut Tx<'_>, user: UserId) -> Result<usize, DbError> {
    tx.execute("DELETE FROM sessions WHERE user_id = $1", &params![user]).await
}

pub async fn delete_stale(tx: &mut Tx<'_>, now: Timestamp, links_before: Timestamp) -> Result<(), DbError> {
    tx.execute("DELETE FROM sessions WHERE expires_at <= $1", &params![now]).await?;
    tx.execute("DELETE FROM magic_links WHERE expires_at <= $1", &params![links_before]).await?;
    tx.execute("DELETE FROM api_key_old_secrets WHERE valid_until <= $1", &params![now]).await.map(drop)
}

pub async fn insert_key(
    tx: &mut Tx<'_>,
    user: UserId,
    key: &ApiKey,
    secret_hash: &str,
) -> Result<(), DbError> {
    let sql = "INSERT INTO api_keys (id, user_id, name, prefix, secret_hash, scopes, created_at, expires_at, allowed)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let (scopes, allowed) = (key.scopes.to_string(), networks::to_stored(&key.allowed));
    let row = params![
        key.id,
        user,
        &key.name,
        &key.prefix,
        secret_hash,
        &scopes,
        key.created_at,
        key.expires_at,
        &allowed
    ];
    tx.execute_one(sql, &row).await
}

/// Whose key it is, which, and, when the secret was replaced, until when it still opens.
pub async fn key_by_secret(
    tx: &mut Tx<'_>,
    secret_hash: &str,
) -> Result<Option<(User, ApiKey, Option<Timestamp>)>, DbError> {
    let sql = format!(
        "SELECT {USER}, {KEY} FROM api_keys k JOIN users u ON u.id = k.user_id
         WHERE k.secret_hash = $1 AND k.revoked_at IS NULL"
    );
    if let Some(row) = tx.query_opt(&sql, &params![secret_hash]).await? {
        return Ok(Some((read_user(&row)?, read_key(&row, USER_COLUMNS)?, None)));
    }
    let sql = format!(
        "SELECT {USER}, {KEY}, s.valid_until FROM api_key_old_secrets s
         JOIN api_keys k ON k.id = s.key_id JOIN users u ON u.id = k.user_id
         WHERE s.secret_hash = $1 AND k.revoked_at IS NULL"
    );
    let row = tx.query_opt(&sql, &params![secret_hash]).await?;
    row.map(|row| {
        let until = row.get(USER_COLUMNS + KEY_COLUMNS)?;
        Ok((read_user(&row)?, read_key(&row, USER_COLUMNS)?, Some(until)))
    })
    .transpose()
}

/// Whose key it is, which, and since when it is revoked, if it is: of keys that work and those that do not, for the operator.
pub async fn any_key_by_secret(
    tx: &mut Tx<'_>,
    secret_hash: &str,
) -> Result<Option<(User, ApiKey, Option<Timestamp>)>, DbError> {
    let sql = format!(
        "SELECT {USER}, {KEY}, k.revoked_at FROM api_keys k JOIN users u ON u.id = k.user_id
         WHERE k.secret_hash = $1
           OR k.id IN (SELECT s.key_id FROM api_key_old_secrets s WHERE s.secret_hash = $1)"
    );
    let row = tx.query_opt(&sql, &params![secret_hash]).await?;
    row.map(|row| Ok((read_user(&row)?, read_key(&row, USER_COLUMNS)?, row.get(USER_COLUMNS + KEY_COLUMNS)?)))
        .transpose()
}

/// A key that is not revoked.
pub async fn key_by_id(tx: &mut Tx<'_>, id: ApiKeyId) -> Result<Option<ApiKey>, DbError> {
    let sql = format!("SELECT {KEY} FROM api_keys k WHERE k.id = $1 AND k.revoked_at IS NULL");
    tx.query_opt(&sql, &params![id]).await?.map(|row| read_key(&row, 0)).transpose()
}

pub async fn keys_of(tx: &mut Tx<'_>, user: UserId) -> Result<Vec<ApiKey>, DbError> {
    let sql = format!(
        "SELECT {KEY} FROM api_keys k WHERE k.user_id = $1 AND k.revoked_at IS NULL ORDER BY k.id DESC"
    );
    tx.query(&sql, &params![user]).await?.iter().map(|row| read_key(row, 0)).collect()
}

pub async fn key_of(tx: &mut Tx<'_>, user: UserId, id: ApiKeyId) -> Result<Option<ApiKey>, DbError> {
    let sql =
        format!("SELECT {KEY} FROM api_keys k WHERE k.id = $1 AND k.user_id = $2 AND k.revoked_at IS NULL");
    tx.query_opt(&sql, &params![id, user]).await?.map(|row| read_key(&row, 0)).transpose()
}

/// Writes what can be changed of a key.
pub async fn update_key(tx: &mut Tx<'_>, key: &ApiKey) -> Result<(), DbError> {
    let sql = "UPDATE api_keys SET name = $2, expires_at = $3, allowed = $4 WHERE id = $1";
    let allowed = networks::to_stored(&key.allowed);
    tx.execute_one(sql, &params![key.id, &key.name, key.expires_at, &allowed]).await
}

/// The secret that a key has opens until then, whatever it has later.
pub async fn keep_old_secret(tx: &mut Tx<'_>, id: ApiKeyId, until: Timestamp) -> Result<(), DbError> {
    let sql = "INSERT INTO api_key_old_secrets (secret_hash, key_id, valid_until)
               SELECT secret_hash, id, $2 FROM api_keys WHERE id = $1";
    tx.execute_one(sql, &params![id, until]).await
}

/// Replaced secrets of a key open no longer, but for so many that end last.
pub async fn drop_oldest_secrets(tx: &mut Tx<'_>, id: ApiKeyId, keep: usize) -> Result<(), DbError> {
    let sql = "SELECT secret_hash FROM api_key_old_secrets WHERE key_id = $1 ORDER BY valid_until DESC";
    let rows = tx.query(sql, &params![id]).await?;
    let old: Vec<String> = rows.iter().skip(keep).map(|row| row.get(0)).collect::<Result<_, _>>()?;
    let sql = "DELETE FROM api_key_old_secrets WHERE secret_hash = $1";
    tx.execute_many(sql, old.iter().map(|hash| params![hash])).await
}

/// No replaced secret of a key opens any longer.
pub async fn end_old_secrets(tx: &mut Tx<'_>, id: ApiKeyId) -> Result<(), DbError> {
    tx.execute("DELETE FROM api_key_old_secrets WHERE key_id = $1", &params![id]).await.map(drop)
}

pub async fn replace_secret(tx: &mut Tx<'_>, key: &ApiKey, secret_hash: &str) -> Result<(), DbError> {
    let sql = "UPDATE api_keys SET secret_hash = $2, prefix = $3 WHERE id = $1";
    tx.execute_one(sql, &params![key.id, secret_hash, &key.prefix]).await
}

pub async fn revoke_key(
    tx: &mut Tx<'_>,
    user: UserId,
    id: ApiKeyId,
    now: Timestamp,
) -> Result<bool, DbError> {
    let sql = "UPDATE api_keys SET revoked_at = $3 WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL";
    Ok(tx.execute(sql, &params![id, user, now]).await? == 1)
}

/// Which of these keys are revoked or have expired. Asked in the transaction that spends.
pub async fn ask_revoked(
    tx: &mut Tx<'_>,
    keys: &[ApiKeyId],
    now: Timestamp,
) -> Result<Question<HashSet<ApiKeyId>>, DbError> {
    let sql = "SELECT id FROM api_keys WHERE id = $1 AND (revoked_at IS NOT NULL OR expires_at <= $2)";
    tx.ask_many(sql, keys.iter().map(|&key| params![key, now]), |rows| {
        rows.iter().flatten().map(|row| row.get(0)).collect()
    })
    .await
}

/// Keys used since then, that are not revoked.
pub async fn keys_used_since(tx: &mut Tx<'_>, since: Timestamp) -> Result<Vec<ApiKeyId>, DbError> {
    let sql = "SELECT id FROM api_keys WHERE last_used_at >= $1 AND revoked_at IS NULL";
    tx.query(sql, &params![since]).await?.iter().map(|row| row.get(0)).collect()
}

/// A key that is not revoked, and whose it is.
pub async fn owner_of_key(tx: &mut Tx<'_>, id: ApiKeyId) -> Result<Option<(User, ApiKey)>, DbError> {
    let sql = format!(
        "SELECT {USER}, {KEY} FROM api_keys k JOIN users u ON u.id = k.user_id
         WHERE k.id = $1 AND k.revoked_at IS NULL"
    );
    let row = tx.query_opt(&sql, &params![id]).await?;
    row.map(|row| Ok((read_user(&row)?, read_key(&row, USER_COLUMNS)?))).transpose()
}

/// What is told of a limit of a key, once.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    pub key: ApiKeyId,
    pub period: Period,
    /// When the period began.
    pub since: Timestamp,
    pub limit: MicroCredits,
    /// In percent.
    pub level: i64,
    pub at: Timestamp,
}

pub async fn was_told(tx: &mut Tx<'_>, told: &Told) -> Result<bool, DbError> {
    let sql = "SELECT at FROM api_key_alerts
               WHERE key_id = $1 AND period = $2 AND since = $3 AND amount = $4 AND level = $5";
    let row = params![told.key, told.period.name(), told.since, told.limit, told.level];
    Ok(tx.query_opt(sql, &row).await?.is_some())
}

/// Notes it; answers whether it is new.
pub async fn note_told(tx: &mut Tx<'_>, told: &Told) -> Result<bool, DbError> {
    let sql = "INSERT INTO api_key_alerts (key_id, period, since, amount, level, at) VALUES ($1, $2, $3, $4, $5, $6)
               ON CONFLICT (key_id, period, since, amount, level) DO NOTHING";
    let row = params![told.key, told.period.name(), told.since, told.limit, told.level, told.at];
    Ok(tx.execute(sql, &row).await? == 1)
}

pub async fn touch_keys(tx: &mut Tx<'_>, used: &[(ApiKeyId, Timestamp)]) -> Result<(), DbError> {
    let sql = "UPDATE api_keys SET last_used_at = $2 WHERE id = $1";
    tx.execute_many(sql, used.iter().map(|&(key, at)| params![key, at])).await
}

fn read_user(row: &Row) -> Result<User, DbError> {
    Ok(User {
        id: row.get(0)?,
        email: row.get(1)?,
        name: row.get(2)?,
        wallet: row.get(3)?,
        earnings: row.get(4)?,
        created_at: row.get(5)?,
        bids: Bids::from_stored(&row.get::<String>(6)?),
    })
}

/// The own maxima of a user, as stored.
pub async fn bids_of(tx: &mut Tx<'_>, user: UserId) -> Result<Bids, DbError> {
    let row = tx.query_one("SELECT bids FROM users WHERE id = $1", &params![user]).await?;
    Ok(Bids::from_stored(&row.get::<String>(0)?))
}

pub async fn set_bids(tx: &mut Tx<'_>, user: UserId, bids: &Bids) -> Result<(), DbError> {
    let stored = bids.to_stored();
    tx.execute_one("UPDATE users SET bids = $2 WHERE id = $1", &params![user, &stored]).await
}

fn read_key(row: &Row, first: usize) -> Result<ApiKey, DbError> {
    Ok(ApiKey {
        id: row.get(first)?,
        name: row.get(first + 1)?,
        prefix: row.get(first + 2)?,
        scopes: Scopes::parse(&row.get::<String>(first + 3)?),
        created_at: row.get(first + 4)?,
        last_used_at: row.get(first + 5)?,
        expires_at: row.get(first + 6)?,
        allowed: networks::from_stored(&row.get::<String>(first + 7)?),
        old_until: row.get(first + 8)?,
    })
}
