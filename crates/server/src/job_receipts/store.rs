//! Statements about receipts of jobs and the keys they are signed with.

use db::{DbError, Row, Tx, params};
use types::id::JobId;
use types::time::Timestamp;
use types::units::Units;

use super::AttemptRow;

pub async fn attempts(tx: &mut Tx<'_>, job: JobId) -> Result<Vec<AttemptRow>, DbError> {
    let sql = "SELECT a.id, a.number, a.island_id, i.name, i.owner_id, a.ask, a.price, a.units, a.own, a.considered,
                 a.state, a.error, a.started_at, a.ended_at, a.charge, a.fee
               FROM attempts a LEFT JOIN islands i ON i.id = a.island_id WHERE a.job_id = $1 ORDER BY a.number";
    tx.query(sql, &params![job]).await?.iter().map(read_attempt).collect()
}

fn read_attempt(row: &Row) -> Result<AttemptRow, DbError> {
    Ok(AttemptRow {
        id: row.get(0)?,
        number: row.get(1)?,
        island: row.get(2)?,
        island_name: row.get(3)?,
        owner: row.get(4)?,
        ask: row.get(5)?,
        hold: row.get(6)?,
        units: Units::from_parts(row.get(7)?),
        own: row.get(8)?,
        considered: row.get(9)?,
        state: row.get(10)?,
        error: row.get(11)?,
        started_at: row.get(12)?,
        ended_at: row.get(13)?,
        charge: row.get(14)?,
        fee: row.get(15)?,
    })
}

/// A key as stored: its id, its seed and its public half in base64, since when.
pub type KeyRow = (String, String, String, Timestamp);

/// All keys, the newest first.
pub async fn keys(tx: &mut Tx<'_>) -> Result<Vec<KeyRow>, DbError> {
    let sql = "SELECT id, seed, public, created_at FROM receipt_keys ORDER BY created_at DESC, id";
    let rows = tx.query(sql, &params![]).await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).collect()
}

pub async fn insert_key(tx: &mut Tx<'_>, (id, seed, public, at): &KeyRow) -> Result<(), DbError> {
    let sql = "INSERT INTO receipt_keys (id, seed, public, created_at) VALUES ($1, $2, $3, $4)";
    tx.execute_one(sql, &params![id, seed, public, *at]).await
}
