//! Statements about who runs.

use std::time::Duration;

use db::{DbError, Question, Row, Tx, params};
use types::time::Timestamp;

use super::{Node, Stale, Taken};

/// All numbers that were ever taken.
pub async fn all(tx: &mut Tx<'_>) -> Result<Vec<Taken>, DbError> {
    let sql = "SELECT node, instance, run, beat, heartbeat_at FROM coordinators ORDER BY node";
    tx.query(sql, &[]).await?.iter().map(read).collect()
}

/// Gives a number to a process, whoever had it before.
pub async fn claim(tx: &mut Tx<'_>, node: Node, instance: &str, now: Timestamp) -> Result<(), DbError> {
    let sql = "INSERT INTO coordinators (node, instance, run, beat, heartbeat_at) VALUES ($1, $2, $3, 1, $4)
               ON CONFLICT (node) DO UPDATE SET instance = excluded.instance, run = excluded.run,
                 beat = coordinators.beat + 1, heartbeat_at = excluded.heartbeat_at";
    tx.execute_one(sql, &params![node.number, instance, node.run, now]).await
}

/// Whether the process still has its number. Asked in every transaction that begins or ends jobs.
pub async fn ask_owns(tx: &mut Tx<'_>, node: Node) -> Result<Question<bool>, DbError> {
    let sql = "SELECT 1 FROM coordinators WHERE node = $1 AND run = $2";
    let rows = [params![node.number, node.run]];
    tx.ask_many(sql, rows, |rows| Ok(rows.iter().any(Option::is_some))).await
}

/// The same at once.
pub async fn owns(tx: &mut Tx<'_>, node: Node) -> Result<bool, DbError> {
    let asked = ask_owns(tx, node).await?;
    tx.answer(asked).await
}

/// A sign of life; answers whether the process still has its number.
pub async fn beat(tx: &mut Tx<'_>, node: Node, now: Timestamp) -> Result<bool, DbError> {
    let sql = "UPDATE coordinators SET beat = beat + 1,
                 heartbeat_at = CASE WHEN heartbeat_at > $3 THEN heartbeat_at ELSE $3 END
               WHERE node = $1 AND run = $2";
    Ok(tx.execute(sql, &params![node.number, node.run, now]).await? == 1)
}

/// Takes the number from a process that has not given a sign of life since; answers whether that was so. What it may have
/// made since is earlier than `patience` after that sign.
pub async fn free(tx: &mut Tx<'_>, stale: Stale, patience: Duration) -> Result<bool, DbError> {
    let sql = "UPDATE coordinators SET instance = '', run = 0, heartbeat_at = heartbeat_at + $4
               WHERE node = $1 AND run = $2 AND beat = $3";
    let unheard = i64::try_from(patience.as_millis()).unwrap_or_default();
    Ok(tx.execute(sql, &params![stale.number, stale.run, stale.beat, unheard]).await? == 1)
}

/// Gives the number back.
pub async fn release(tx: &mut Tx<'_>, node: Node, now: Timestamp) -> Result<(), DbError> {
    let sql = "UPDATE coordinators SET instance = '', run = 0,
                 heartbeat_at = CASE WHEN heartbeat_at > $3 THEN heartbeat_at ELSE $3 END
               WHERE node = $1 AND run = $2";
    tx.execute(sql, &params![node.number, node.run, now]).await.map(drop)
}

fn read(row: &Row) -> Result<Taken, DbError> {
    let strange = |_| DbError::Other("a coordinator has a strange number".to_owned());
    Ok(Taken {
        number: u16::try_from(row.get::<i64>(0)?).map_err(strange)?,
        instance: row.get(1)?,
        run: row.get(2)?,
        beat: row.get(3)?,
        heartbeat_at: row.get(4)?,
    })
}
