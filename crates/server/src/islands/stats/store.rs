//! Statements about what Islands did, by the hour.

use db::{DbError, Row, Tx, params};
use types::id::{AttemptId, IslandId};
use types::island_protocol::Today;
use types::time::Timestamp;

use super::{DAY_HOURS, Hour, Presence};

const UPSERT: &str = "ON CONFLICT (island_id, hour, workload_id) DO UPDATE SET
    completed = island_hours.completed + excluded.completed,
    failed = island_hours.failed + excluded.failed,
    paid = island_hours.paid + excluded.paid,
    earned = island_hours.earned + excluded.earned,
    units = island_hours.units + excluded.units,
    busy_ms = island_hours.busy_ms + excluded.busy_ms";

/// Adds what a batch of attempts did. One statement for each Island and Cargo, however many attempts.
pub async fn add(tx: &mut Tx<'_>, hours: &[Hour]) -> Result<(), DbError> {
    let sql = format!(
        "INSERT INTO island_hours (island_id, hour, workload_id, completed, failed, paid, earned, units, busy_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) {UPSERT}"
    );
    let rows = hours.iter().map(|one| {
        params![
            one.island,
            one.hour,
            one.workload,
            one.completed,
            one.failed,
            one.paid,
            one.earned,
            one.units,
            one.busy_ms
        ]
    });
    tx.execute_many(&sql, rows).await
}

/// Where attempts ran, of which Cargo, and since when.
pub async fn places(
    tx: &mut Tx<'_>,
    attempts: &[AttemptId],
) -> Result<Vec<(IslandId, i64, Timestamp)>, DbError> {
    let sql = "SELECT a.island_id, j.workload_id, a.started_at FROM attempts a JOIN jobs j ON j.id = a.job_id
               WHERE a.id = $1";
    let rows = tx.query_many(sql, attempts.iter().map(|&id| params![id])).await?;
    rows.iter().flatten().map(|row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).collect()
}

/// Adds the seconds that Islands were online.
pub async fn add_presence(tx: &mut Tx<'_>, hour: i64, online: &[(IslandId, i64)]) -> Result<(), DbError> {
    let sql = "INSERT INTO island_presence (island_id, hour, online_secs) VALUES ($1, $2, $3)
               ON CONFLICT (island_id, hour) DO UPDATE SET
                 online_secs = island_presence.online_secs + excluded.online_secs";
    tx.execute_many(sql, online.iter().map(|&(id, seconds)| params![id, hour, seconds])).await
}

/// How often an Island was ever paid, and what it did since an hour.
pub async fn totals(tx: &mut Tx<'_>, id: IslandId, since: i64) -> Result<(u64, Today), DbError> {
    let sql = "SELECT CAST(coalesce(sum(paid), 0) AS BIGINT),
                 CAST(coalesce(sum(CASE WHEN hour >= $2 THEN paid ELSE 0 END), 0) AS BIGINT),
                 CAST(coalesce(sum(CASE WHEN hour >= $2 THEN earned ELSE 0 END), 0) AS BIGINT)
               FROM island_hours WHERE island_id = $1";
    let row = tx.query_one(sql, &params![id, since]).await?;
    let number = |column| Ok::<_, DbError>(u64::try_from(row.get::<i64>(column)?).unwrap_or_default());
    Ok((number(0)?, Today { jobs: number(1)?, earned: row.get(2)? }))
}

/// What these Islands did since an hour, oldest first.
pub async fn hours(tx: &mut Tx<'_>, ids: &[IslandId], since: i64) -> Result<Vec<Hour>, DbError> {
    let sql = "SELECT island_id, workload_id, hour, completed, failed, paid, earned, units, busy_ms
               FROM island_hours WHERE island_id = $1 AND hour >= $2 ORDER BY hour, workload_id";
    let mut hours = Vec::new();
    for &id in ids {
        for row in tx.query(sql, &params![id, since]).await? {
            hours.push(read_hour(&row)?);
        }
    }
    Ok(hours)
}

/// How long these Islands were online since an hour, oldest first.
pub async fn presence(tx: &mut Tx<'_>, ids: &[IslandId], since: i64) -> Result<Vec<Presence>, DbError> {
    let sql = "SELECT island_id, hour, online_secs FROM island_presence
               WHERE island_id = $1 AND hour >= $2 ORDER BY hour";
    let mut presence = Vec::new();
    for &id in ids {
        for row in tx.query(sql, &params![id, since]).await? {
            presence.push(Presence { island: row.get(0)?, hour: row.get(1)?, online_secs: row.get(2)? });
        }
    }
    Ok(presence)
}

/// How long these Islands were online since an hour, in seconds each.
pub async fn online_since(tx: &mut Tx<'_>, ids: &[IslandId], since: i64) -> Result<Vec<i64>, DbError> {
    let sql = "SELECT CAST(coalesce(sum(online_secs), 0) AS BIGINT) FROM island_presence
               WHERE island_id = $1 AND hour >= $2";
    let rows = tx.query_many(sql, ids.iter().map(|&id| params![id, since])).await?;
    rows.iter().map(|row| row.as_ref().map_or(Ok(0), |row| row.get(0))).collect()
}

/// Sums the hours of whole days before an hour into the first hour of their day.
pub async fn thin(tx: &mut Tx<'_>, before: i64) -> Result<(), DbError> {
    let before = before - before.rem_euclid(DAY_HOURS);
    let sql = format!(
        "INSERT INTO island_hours (island_id, hour, workload_id, completed, failed, paid, earned, units, busy_ms)
         SELECT island_id, hour - hour % 24, workload_id, CAST(sum(completed) AS BIGINT), CAST(sum(failed) AS BIGINT),
           CAST(sum(paid) AS BIGINT), CAST(sum(earned) AS BIGINT), CAST(sum(units) AS BIGINT), CAST(sum(busy_ms) AS BIGINT)
         FROM island_hours WHERE hour < $1 AND hour % 24 <> 0
         GROUP BY island_id, hour - hour % 24, workload_id {UPSERT}"
    );
    tx.execute(&sql, &params![before]).await?;
    tx.execute("DELETE FROM island_hours WHERE hour < $1 AND hour % 24 <> 0", &params![before]).await?;
    let sql = "INSERT INTO island_presence (island_id, hour, online_secs)
               SELECT island_id, hour - hour % 24, CAST(sum(online_secs) AS BIGINT)
               FROM island_presence WHERE hour < $1 AND hour % 24 <> 0
               GROUP BY island_id, hour - hour % 24
               ON CONFLICT (island_id, hour) DO UPDATE SET
                 online_secs = island_presence.online_secs + excluded.online_secs";
    tx.execute(sql, &params![before]).await?;
    tx.execute("DELETE FROM island_presence WHERE hour < $1 AND hour % 24 <> 0", &params![before])
        .await
        .map(drop)
}

fn read_hour(row: &Row) -> Result<Hour, DbError> {
    Ok(Hour {
        island: row.get(0)?,
        workload: row.get(1)?,
        hour: row.get(2)?,
        completed: row.get(3)?,
        failed: row.get(4)?,
        paid: row.get(5)?,
        earned: row.get(6)?,
        units: row.get(7)?,
        busy_ms: row.get(8)?,
    })
}
