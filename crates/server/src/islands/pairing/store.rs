//! Statements about pairings.

use db::{DbError, Row, Tx, params};
use types::id::{IslandId, PairingId, UserId};
use types::time::Timestamp;

use super::{Machine, Pairing, State};

const PAIRING: &str =
    "SELECT id, name, agent_version, capabilities, address, state, island_id, expires_at FROM pairings";

/// Inserts one; answers whether its code was free.
pub async fn insert(
    tx: &mut Tx<'_>,
    pairing: &Pairing,
    (code, poll): (&str, &str),
    now: Timestamp,
) -> Result<bool, DbError> {
    let sql =
        "INSERT INTO pairings (id, code_hash, poll_hash, name, agent_version, capabilities, address, state,
                 created_at, expires_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (code_hash) DO NOTHING";
    let machine = &pairing.machine;
    let capabilities = serde_json::to_string(&machine.capabilities).unwrap_or_default();
    let row = params![
        pairing.id,
        code,
        poll,
        &machine.name,
        &machine.agent_version,
        &capabilities,
        &machine.address,
        pairing.state.name(),
        now,
        pairing.expires_at
    ];
    Ok(tx.execute(sql, &row).await? == 1)
}

/// How many wait, of an address and in all.
pub async fn open(tx: &mut Tx<'_>, address: &str, now: Timestamp) -> Result<(i64, i64), DbError> {
    let here = "SELECT count(*) FROM pairings WHERE address = $1 AND expires_at > $2 AND state = 'waiting'";
    let all = "SELECT count(*) FROM pairings WHERE expires_at > $1";
    let here = tx.query_one(here, &params![address, now]).await?.get(0)?;
    Ok((here, tx.query_one(all, &params![now]).await?.get(0)?))
}

/// Forgets what ended before.
pub async fn forget(tx: &mut Tx<'_>, before: Timestamp) -> Result<(), DbError> {
    tx.execute("DELETE FROM pairings WHERE expires_at < $1", &params![before]).await.map(drop)
}

/// What waits under a code.
pub async fn by_code(tx: &mut Tx<'_>, hash: &str, now: Timestamp) -> Result<Option<Pairing>, DbError> {
    let sql = format!("{PAIRING} WHERE code_hash = $1 AND state = 'waiting' AND expires_at > $2");
    tx.query_opt(&sql, &params![hash, now]).await?.as_ref().map(read).transpose()
}

/// What a machine polls for.
pub async fn by_poll(tx: &mut Tx<'_>, hash: &str) -> Result<Option<Pairing>, DbError> {
    let sql = format!("{PAIRING} WHERE poll_hash = $1");
    tx.query_opt(&sql, &params![hash]).await?.as_ref().map(read).transpose()
}

/// Somebody said yes or no.
pub async fn decide(
    tx: &mut Tx<'_>,
    id: PairingId,
    state: State,
    island: Option<IslandId>,
    until: Timestamp,
) -> Result<(), DbError> {
    let sql =
        "UPDATE pairings SET state = $2, island_id = $3, expires_at = $4 WHERE id = $1 AND state = 'waiting'";
    tx.execute_one(sql, &params![id, state.name(), island, until]).await
}

/// Gives an Island its first token, or finds that it has this one and has not connected; answers its name. Nothing if it has
/// another by now, has connected, or was revoked.
pub async fn give(
    tx: &mut Tx<'_>,
    island: IslandId,
    (hash, prefix): (&str, &str),
    now: Timestamp,
) -> Result<Option<String>, DbError> {
    let sql = "UPDATE islands SET token_hash = $2, token_prefix = $3, changed_at = $4
               WHERE id = $1 AND (token_prefix = '' OR token_hash = $2) AND last_seen_at IS NULL AND revoked_at IS NULL";
    if tx.execute(sql, &params![island, hash, prefix, now]).await? == 0 {
        return Ok(None);
    }
    tx.query_one("SELECT name FROM islands WHERE id = $1", &params![island]).await?.get(0).map(Some)
}

/// How many wrong codes a user entered since a moment.
pub async fn misses_since(tx: &mut Tx<'_>, user: UserId, since: Timestamp) -> Result<i64, DbError> {
    let sql = "SELECT count(*) FROM pairing_misses WHERE user_id = $1 AND created_at > $2";
    tx.query_one(sql, &params![user, since]).await?.get(0)
}

/// Counts a wrong code; those of long ago are forgotten.
pub async fn miss(
    tx: &mut Tx<'_>,
    id: PairingId,
    user: UserId,
    now: Timestamp,
    since: Timestamp,
) -> Result<(), DbError> {
    let sql = "DELETE FROM pairing_misses WHERE user_id = $1 AND created_at <= $2";
    tx.execute(sql, &params![user, since]).await?;
    let sql = "INSERT INTO pairing_misses (id, user_id, created_at) VALUES ($1, $2, $3)";
    tx.execute_one(sql, &params![id, user, now]).await
}

fn read(row: &Row) -> Result<Pairing, DbError> {
    let (capabilities, state): (String, String) = (row.get(3)?, row.get(5)?);
    Ok(Pairing {
        id: row.get(0)?,
        machine: Machine {
            name: row.get(1)?,
            agent_version: row.get(2)?,
            capabilities: serde_json::from_str(&capabilities).unwrap_or_default(),
            address: row.get(4)?,
        },
        state: State::from_name(&state).ok_or_else(|| DbError::Other(format!("a pairing is {state}")))?,
        island: row.get(6)?,
        expires_at: row.get(7)?,
    })
}
