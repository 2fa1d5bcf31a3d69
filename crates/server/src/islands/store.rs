//! Statements about Islands.

use db::{DbError, Row, Tx, params};
use types::id::{IslandId, UserId};
use types::time::Timestamp;

use super::{Island, IslandRecord};

const RECORD: &str =
    "id, owner_id, name, token_prefix, created_at, last_seen_at, agent_version, capabilities, offers";

pub async fn insert(
    tx: &mut Tx<'_>,
    (id, owner): (IslandId, UserId),
    name: &str,
    (hash, prefix): (&str, &str),
    now: Timestamp,
    demo: bool,
) -> Result<(), DbError> {
    let sql = "INSERT INTO islands (id, owner_id, name, token_hash, token_prefix, created_at, demo)
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    tx.execute_one(sql, &params![id, owner, name, hash, prefix, now, demo]).await
}

pub async fn by_token(tx: &mut Tx<'_>, hash: &str) -> Result<Option<Island>, DbError> {
    let sql =
        "SELECT i.id, i.owner_id, u.earnings_id, i.name FROM islands i JOIN users u ON u.id = i.owner_id
               WHERE i.token_hash = $1 AND i.revoked_at IS NULL";
    let row = tx.query_opt(sql, &params![hash]).await?;
    row.map(|row| {
        Ok(Island {
            id: row.get(0)?,
            owner: row.get(1)?,
            earnings: row.get(2)?,
            name: row.get::<String>(3)?.into(),
        })
    })
    .transpose()
}

pub async fn revoke(tx: &mut Tx<'_>, id: IslandId, owner: UserId, now: Timestamp) -> Result<bool, DbError> {
    let sql = "UPDATE islands SET revoked_at = $3 WHERE id = $1 AND owner_id = $2 AND revoked_at IS NULL";
    Ok(tx.execute(sql, &params![id, owner, now]).await? == 1)
}

/// Islands of an earlier demo: their tokens are lost with the process that had them.
pub async fn revoke_demo(tx: &mut Tx<'_>, now: Timestamp) -> Result<(), DbError> {
    let sql = "UPDATE islands SET revoked_at = $1 WHERE demo = 1 AND revoked_at IS NULL";
    tx.execute(sql, &params![now]).await.map(drop)
}

pub async fn seen(
    tx: &mut Tx<'_>,
    id: IslandId,
    now: Timestamp,
    version: &str,
    (capabilities, offers): (&str, &str),
) -> Result<(), DbError> {
    let sql = "UPDATE islands SET last_seen_at = $2, agent_version = $3, capabilities = $4, offers = $5 WHERE id = $1";
    tx.execute_one(sql, &params![id, now, version, capabilities, offers]).await
}

/// Notes the moment for all Islands that are connected.
pub async fn all_seen(tx: &mut Tx<'_>, ids: &[IslandId], now: Timestamp) -> Result<(), DbError> {
    let sql = "UPDATE islands SET last_seen_at = $2 WHERE id = $1";
    tx.execute_many(sql, ids.iter().map(|&id| params![id, now])).await
}

pub async fn islands_of(tx: &mut Tx<'_>, owner: UserId) -> Result<Vec<IslandRecord>, DbError> {
    let sql = format!("SELECT {RECORD} FROM islands WHERE owner_id = $1 AND revoked_at IS NULL ORDER BY id");
    tx.query(&sql, &params![owner]).await?.iter().map(read_record).collect()
}

pub async fn record(tx: &mut Tx<'_>, id: IslandId) -> Result<Option<IslandRecord>, DbError> {
    let sql = format!("SELECT {RECORD} FROM islands WHERE id = $1 AND revoked_at IS NULL");
    tx.query_opt(&sql, &params![id]).await?.as_ref().map(read_record).transpose()
}

/// Those of these Islands that were not revoked.
pub async fn records(tx: &mut Tx<'_>, ids: &[IslandId]) -> Result<Vec<IslandRecord>, DbError> {
    let sql = format!("SELECT {RECORD} FROM islands WHERE id = $1 AND revoked_at IS NULL");
    let rows = tx.query_many(&sql, ids.iter().map(|&id| params![id])).await?;
    rows.iter().flatten().map(read_record).collect()
}

/// Names of Islands, revoked ones too: old jobs still say where they ran.
pub async fn name(tx: &mut Tx<'_>, id: IslandId) -> Result<Option<String>, DbError> {
    let row = tx.query_opt("SELECT name FROM islands WHERE id = $1", &params![id]).await?;
    row.map(|row| row.get(0)).transpose()
}

fn read_record(row: &Row) -> Result<IslandRecord, DbError> {
    let capabilities: Option<String> = row.get(7)?;
    let offers: Option<String> = row.get(8)?;
    Ok(IslandRecord {
        id: row.get(0)?,
        owner: row.get(1)?,
        name: row.get(2)?,
        token_prefix: row.get(3)?,
        created_at: row.get(4)?,
        last_seen_at: row.get(5)?,
        agent_version: row.get(6)?,
        capabilities: capabilities.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default(),
        offers: offers.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default(),
    })
}
