//! Statements about Islands.

use db::{DbError, Row, Tx, params};
use types::id::{Id, IslandId, UserId};
use types::time::Timestamp;

use super::alerts::Outage;
use super::health::Record;
use super::profile::Standing;
use super::standing::{Change, Found};
use super::{Island, IslandRecord};

const RECORD: &str =
    "id, owner_id, name, token_prefix, created_at, last_seen_at, agent_version, capabilities, offers, online_since,
     approved_at, owner_suspended_at, operator_suspended_at, last_attempts, last_attempt_at, latency_ms";

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

/// The Island that a token opens: its present one, or the one before while that is good.
pub async fn by_token(tx: &mut Tx<'_>, hash: &str, now: Timestamp) -> Result<Option<Island>, DbError> {
    let select =
        "SELECT i.id, i.owner_id, u.earnings_id, i.name FROM islands i JOIN users u ON u.id = i.owner_id";
    let sql = format!("{select} WHERE i.token_hash = $1 AND i.revoked_at IS NULL");
    let mut row = tx.query_opt(&sql, &params![hash]).await?;
    if row.is_none() {
        let sql = format!(
            "{select} WHERE i.old_token_hash = $1 AND i.old_token_until > $2 AND i.revoked_at IS NULL"
        );
        row = tx.query_opt(&sql, &params![hash, now]).await?;
    }
    row.map(|row| {
        Ok(Island {
            id: row.get(0)?,
            owner: row.get(1)?,
            earnings: row.get(2)?,
            name: row.get::<String>(3)?.into(),
            token_hash: hash.into(),
        })
    })
    .transpose()
}

/// Gives an Island of this owner another token; the one before is good until a moment, if one is given.
pub async fn set_token(
    tx: &mut Tx<'_>,
    (id, owner): (IslandId, UserId),
    (hash, prefix): (&str, &str),
    old_until: Option<Timestamp>,
    now: Timestamp,
) -> Result<bool, DbError> {
    let sql = "UPDATE islands SET old_token_hash = CASE WHEN $5 > 0 THEN token_hash ELSE NULL END, old_token_until = $5,
                 token_hash = $3, token_prefix = $4, changed_at = $6
               WHERE id = $1 AND owner_id = $2 AND revoked_at IS NULL";
    let until = old_until.map_or(0, Timestamp::as_millis);
    Ok(tx.execute(sql, &params![id, owner, hash, prefix, until, now]).await? == 1)
}

pub async fn revoke(tx: &mut Tx<'_>, id: IslandId, owner: UserId, now: Timestamp) -> Result<bool, DbError> {
    let sql = "UPDATE islands SET revoked_at = $3, changed_at = $3 WHERE id = $1 AND owner_id = $2 AND revoked_at IS NULL";
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

/// Notes that an Island came.
pub async fn came(tx: &mut Tx<'_>, id: IslandId, now: Timestamp) -> Result<(), DbError> {
    let sql = "UPDATE islands SET online_since = $2, outage_told_at = NULL WHERE id = $1";
    tx.execute(sql, &params![id, now]).await.map(drop)
}

/// Notes that an Island went.
pub async fn went(tx: &mut Tx<'_>, id: IslandId, now: Timestamp) -> Result<(), DbError> {
    let sql = "UPDATE islands SET online_since = NULL, last_seen_at = $2 WHERE id = $1";
    tx.execute(sql, &params![id, now]).await.map(drop)
}

/// Stores how Islands do.
pub async fn set_records(tx: &mut Tx<'_>, records: &[(IslandId, Record)]) -> Result<(), DbError> {
    let sql = "UPDATE islands SET last_attempts = $2, last_attempt_at = $3, latency_ms = $4 WHERE id = $1";
    let stored: Vec<_> = records.iter().map(|(id, record)| (*id, record.stored())).collect();
    tx.execute_many(
        sql,
        stored.iter().map(|(id, (letters, since, latency))| params![*id, letters, *since, *latency]),
    )
    .await
}

/// Since when there is an Island, and how it does.
pub async fn profile(tx: &mut Tx<'_>, id: IslandId) -> Result<Option<(Timestamp, Record)>, DbError> {
    let sql = "SELECT created_at, last_attempts, last_attempt_at, latency_ms FROM islands WHERE id = $1";
    let row = tx.query_opt(sql, &params![id]).await?;
    row.map(|row| Ok((row.get(0)?, read_attempts(&row, 1)?))).transpose()
}

const STANDING: &str =
    "SELECT id, approved_at, owner_suspended_at, operator_suspended_at, revoked_at, token_hash,
    old_token_hash, old_token_until FROM islands";

/// How an Island stands, revoked or not.
pub async fn standing(tx: &mut Tx<'_>, id: IslandId) -> Result<Option<Found>, DbError> {
    let sql = format!("{STANDING} WHERE id = $1");
    tx.query_opt(&sql, &params![id]).await?.as_ref().map(read_found).transpose()
}

/// Islands whose standing or token changed since a moment.
pub async fn changed(tx: &mut Tx<'_>, since: Timestamp) -> Result<Vec<Found>, DbError> {
    let sql = format!("{STANDING} WHERE changed_at >= $1");
    tx.query(&sql, &params![since]).await?.iter().map(read_found).collect()
}

/// Changes how an Island stands; answers whether there is such a one. What is so already stays since when it was.
pub async fn change(tx: &mut Tx<'_>, id: IslandId, change: Change, now: Timestamp) -> Result<bool, DbError> {
    let (column, on, owner) = match change {
        Change::ByOwner { owner, suspended } => ("owner_suspended_at", suspended, Some(owner)),
        Change::ByOperator { suspended } => ("operator_suspended_at", suspended, None),
        Change::Approval { approved } => ("approved_at", approved, None),
    };
    let value = if on { format!("coalesce({column}, $2)") } else { "NULL".to_owned() };
    let whose = if owner.is_some() { "owner_id = $3" } else { "$3 = 0" };
    let sql = format!(
        "UPDATE islands SET {column} = {value}, changed_at = $2 WHERE id = $1 AND {whose} AND revoked_at IS NULL"
    );
    let owner = owner.map_or(0, Id::get);
    Ok(tx.execute(&sql, &params![id, now, owner]).await? == 1)
}

/// All Islands that were not revoked, newest first.
pub async fn all(tx: &mut Tx<'_>, most: u32) -> Result<Vec<(IslandRecord, String)>, DbError> {
    let record =
        RECORD.split(", ").map(|column| format!("i.{}", column.trim())).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "SELECT {record}, u.email FROM islands i JOIN users u ON u.id = i.owner_id
         WHERE i.revoked_at IS NULL ORDER BY i.id DESC LIMIT $1"
    );
    let rows = tx.query(&sql, &params![most]).await?;
    rows.iter().map(|row| Ok((read_record(row)?, row.get(16)?))).collect()
}

/// The address of an Island's owner.
pub async fn owner_email(tx: &mut Tx<'_>, id: IslandId) -> Result<Option<String>, DbError> {
    let sql = "SELECT u.email FROM islands i JOIN users u ON u.id = i.owner_id WHERE i.id = $1";
    tx.query_opt(sql, &params![id]).await?.map(|row| row.get(0)).transpose()
}

const OUTAGE: &str = "SELECT i.id, i.name, u.email, i.last_seen_at, i.outage_told_at
    FROM islands i JOIN users u ON u.id = i.owner_id";
/// Gone between $1 and $2, offered something, is not meant to be away, and nobody was told.
const GONE: &str =
    "i.last_seen_at > $1 AND i.last_seen_at <= $2 AND i.outage_told_at IS NULL AND i.revoked_at IS NULL
    AND i.owner_suspended_at IS NULL AND i.operator_suspended_at IS NULL AND i.offers <> '[]' AND i.demo = 0";

/// Islands whose owners are to be told that they are gone.
pub async fn gone(
    tx: &mut Tx<'_>,
    (from, to): (Timestamp, Timestamp),
    most: u32,
) -> Result<Vec<Outage>, DbError> {
    let sql = format!(
        "{OUTAGE} WHERE {GONE} AND NOT EXISTS (SELECT 1 FROM island_letters_off o WHERE o.user_id = i.owner_id)
         ORDER BY i.id LIMIT $3"
    );
    tx.query(&sql, &params![from, to, most]).await?.iter().map(read_outage).collect()
}

/// Notes that an owner is told of an outage; answers whether there is still something to tell.
pub async fn tell(
    tx: &mut Tx<'_>,
    id: IslandId,
    (from, to): (Timestamp, Timestamp),
    now: Timestamp,
) -> Result<bool, DbError> {
    let condition = GONE.replace("i.", "");
    let sql = format!("UPDATE islands SET outage_told_at = $4 WHERE id = $3 AND {condition}");
    Ok(tx.execute(&sql, &params![from, to, id, now]).await? == 1)
}

/// The outage of an Island, if it was ever seen.
pub async fn outage(tx: &mut Tx<'_>, id: IslandId) -> Result<Option<Outage>, DbError> {
    let sql = format!("{OUTAGE} WHERE i.id = $1 AND i.last_seen_at IS NOT NULL");
    tx.query_opt(&sql, &params![id]).await?.as_ref().map(read_outage).transpose()
}

/// Whether a user wants letters about their Islands.
pub async fn wants_letters(tx: &mut Tx<'_>, user: UserId) -> Result<bool, DbError> {
    let sql = "SELECT user_id FROM island_letters_off WHERE user_id = $1";
    Ok(tx.query_opt(sql, &params![user]).await?.is_none())
}

/// Notes whether they do.
pub async fn want_letters(tx: &mut Tx<'_>, user: UserId, wanted: bool) -> Result<(), DbError> {
    let sql = if wanted {
        "DELETE FROM island_letters_off WHERE user_id = $1"
    } else {
        "INSERT INTO island_letters_off (user_id) VALUES ($1) ON CONFLICT (user_id) DO NOTHING"
    };
    tx.execute(sql, &params![user]).await.map(drop)
}

fn read_outage(row: &Row) -> Result<Outage, DbError> {
    let told_at: Option<Timestamp> = row.get(4)?;
    Ok(Outage {
        island: row.get(0)?,
        name: row.get(1)?,
        email: row.get(2)?,
        last_seen_at: row.get(3)?,
        told_at: told_at.filter(|at| at.as_millis() > 0),
    })
}

fn read_found(row: &Row) -> Result<Found, DbError> {
    let mut tokens = vec![row.get(5)?];
    let old: Option<String> = row.get(6)?;
    // Whether it is still good is asked when somebody connects with it.
    tokens.extend(old);
    Ok(Found {
        id: row.get(0)?,
        standing: read_standing(row, 1)?,
        revoked: row.get::<Option<Timestamp>>(4)?.is_some(),
        tokens,
    })
}

/// Three columns.
fn read_standing(row: &Row, first: usize) -> Result<Standing, DbError> {
    let is = |column| Ok::<_, DbError>(row.get::<Option<Timestamp>>(column)?.is_some());
    Ok(Standing { approved: is(first)?, owner_suspended: is(first + 1)?, operator_suspended: is(first + 2)? })
}

/// Three columns.
fn read_attempts(row: &Row, first: usize) -> Result<Record, DbError> {
    Ok(Record::restore(&row.get::<String>(first)?, row.get(first + 1)?, row.get(first + 2)?))
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
        online_since: row.get(9)?,
        standing: read_standing(row, 10)?,
        attempts: read_attempts(row, 13)?,
    })
}
