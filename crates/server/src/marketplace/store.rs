//! Statements about Cargos and cleared prices.

use db::{DbError, Row, Tx, params};
use types::money::MicroCredits;
use types::time::{DAY_MS, MINUTE_MS, Timestamp};

use super::rates::{Trade, Window};

/// The number of a Cargo, given one if it has none.
pub async fn workload_id(tx: &mut Tx<'_>, slug: &str) -> Result<i64, DbError> {
    let find = "SELECT id FROM workloads WHERE slug = $1";
    if let Some(row) = tx.query_opt(find, &params![slug]).await? {
        return row.get(0);
    }
    let sql = "INSERT INTO workloads (id, slug) SELECT coalesce(max(id), 0) + 1, $1 FROM workloads";
    tx.execute_one(sql, &params![slug]).await?;
    tx.query_one(find, &params![slug]).await?.get(0)
}

/// Adds cleared prices to the minute they fell in. One statement for each Cargo and minute, however many trades.
pub async fn add_trades(tx: &mut Tx<'_>, trades: &[Trade]) -> Result<(), DbError> {
    let sql = "INSERT INTO market_minutes (workload_id, minute, trades, total, lowest, highest, last)
               VALUES ($1, $2, $3, $4, $5, $6, $7)
               ON CONFLICT (workload_id, minute) DO UPDATE SET
                 trades = market_minutes.trades + excluded.trades,
                 total = market_minutes.total + excluded.total,
                 lowest = CASE WHEN excluded.lowest < market_minutes.lowest THEN excluded.lowest ELSE market_minutes.lowest END,
                 highest = CASE WHEN excluded.highest > market_minutes.highest THEN excluded.highest ELSE market_minutes.highest END,
                 last = excluded.last";
    tx.execute_many(
        sql,
        trades.iter().map(|t| params![t.workload, t.minute, t.count, t.total, t.lowest, t.highest, t.last]),
    )
    .await
}

/// For each Cargo what cleared in the day before `now`, and the last price.
pub async fn cleared(
    tx: &mut Tx<'_>,
    workloads: &[i64],
    now: Timestamp,
) -> Result<Vec<(Window, Option<MicroCredits>)>, DbError> {
    let since = now.plus_millis(-DAY_MS).as_millis() / MINUTE_MS;
    let day = "SELECT CAST(coalesce(sum(trades), 0) AS BIGINT), CAST(coalesce(sum(total), 0) AS BIGINT),
                 min(lowest), max(highest)
               FROM market_minutes WHERE workload_id = $1 AND minute > $2";
    let days = tx.query_many(day, workloads.iter().map(|&id| params![id, since])).await?;
    let last = "SELECT last FROM market_minutes WHERE workload_id = $1 ORDER BY minute DESC LIMIT 1";
    let last = tx.query_many(last, workloads.iter().map(|&id| params![id])).await?;
    days.iter()
        .zip(&last)
        .map(|(day, last)| Ok((read_window(day.as_ref())?, read_price(last.as_ref())?)))
        .collect()
}

fn read_window(row: Option<&Row>) -> Result<Window, DbError> {
    let Some(row) = row else { return Ok(Window::default()) };
    Ok(Window { trades: row.get(0)?, total: row.get(1)?, lowest: row.get(2)?, highest: row.get(3)? })
}

fn read_price(row: Option<&Row>) -> Result<Option<MicroCredits>, DbError> {
    row.map(|row| row.get(0)).transpose()
}
