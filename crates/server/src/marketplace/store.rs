//! Statements about Cargos, cleared prices and asks set by owners.

use std::collections::BTreeMap;

use db::{DbError, Row, Tx, params};
use types::id::IslandId;
use types::money::MicroCredits;
use types::time::{HOUR_MS, Timestamp};
use types::units::Units;

use super::depth::Standing;
use super::rates::{Noted, Sale, Spread, Window};
use super::tape::{BUCKET, Minute, Trade};

/// What cleared for a Cargo.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cleared {
    /// In the window.
    pub window: Window,
    /// The last price ever.
    pub last: Option<MicroCredits>,
    /// The last price before the window, or the first in it.
    pub before: Option<MicroCredits>,
}

/// A stored minute; an hour or a day when it is older.
#[derive(Clone, Copy, Debug)]
pub struct MinuteRow {
    /// Minutes since the epoch.
    pub minute: i64,
    /// What cleared in it.
    pub window: Window,
    /// The last price in it.
    pub last: MicroCredits,
}

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

/// Adds cleared prices to the minute they fell in. One row for each Cargo and minute, however many trades.
pub async fn add_minutes<'a>(
    tx: &mut Tx<'_>,
    minutes: impl Iterator<Item = &'a Minute>,
) -> Result<(), DbError> {
    let sql = "INSERT INTO market_minutes (workload_id, minute, trades, total, lowest, highest, last, units, paid)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
               ON CONFLICT (workload_id, minute) DO UPDATE SET
                 trades = market_minutes.trades + excluded.trades,
                 total = market_minutes.total + excluded.total,
                 lowest = CASE WHEN excluded.lowest < market_minutes.lowest THEN excluded.lowest ELSE market_minutes.lowest END,
                 highest = CASE WHEN excluded.highest > market_minutes.highest THEN excluded.highest ELSE market_minutes.highest END,
                 last = excluded.last,
                 units = market_minutes.units + excluded.units,
                 paid = market_minutes.paid + excluded.paid";
    let rows = minutes.map(|m| {
        params![m.workload, m.minute, m.count, m.total, m.lowest, m.highest, m.last, m.units, m.paid]
    });
    tx.execute_many(sql, rows).await
}

/// Counts prices, by (Cargo, level), in a bucket.
pub async fn add_prices(
    tx: &mut Tx<'_>,
    bucket: i64,
    prices: &BTreeMap<(i64, MicroCredits), i64>,
) -> Result<(), DbError> {
    let sql = "INSERT INTO market_prices (workload_id, bucket, price, trades) VALUES ($1, $2, $3, $4)
               ON CONFLICT (workload_id, bucket, price) DO UPDATE SET
                 trades = market_prices.trades + excluded.trades";
    let rows = prices.iter().map(|(&(workload, price), &trades)| params![workload, bucket, price, trades]);
    tx.execute_many(sql, rows).await
}

/// Puts trades on the list of recent ones.
pub async fn list_trades(tx: &mut Tx<'_>, at: Timestamp, trades: &[Trade]) -> Result<(), DbError> {
    let sql = "INSERT INTO market_trades (workload_id, at, job_id, price, units) VALUES ($1, $2, $3, $4, $5)";
    let rows = trades.iter().map(|t| params![t.workload, at, t.job, t.price, t.units.parts()]);
    tx.execute_many(sql, rows).await
}

/// Counts unserved jobs, by (Cargo, level of the bid).
pub async fn add_unserved(
    tx: &mut Tx<'_>,
    hour: i64,
    unserved: &BTreeMap<(i64, MicroCredits), i64>,
) -> Result<(), DbError> {
    let sql = "INSERT INTO market_unserved (workload_id, hour, bid, jobs) VALUES ($1, $2, $3, $4)
               ON CONFLICT (workload_id, hour, bid) DO UPDATE SET jobs = market_unserved.jobs + excluded.jobs";
    let rows = unserved.iter().map(|(&(workload, bid), &jobs)| params![workload, hour, bid, jobs]);
    tx.execute_many(sql, rows).await
}

/// For each Cargo what cleared from the minute `since` on, without medians, and the prices around it.
pub async fn cleared(tx: &mut Tx<'_>, workloads: &[i64], since: i64) -> Result<Vec<Cleared>, DbError> {
    let sums = tx.query_many(SUMS, workloads.iter().map(|&id| params![id, since])).await?;
    let last = "SELECT last FROM market_minutes WHERE workload_id = $1 ORDER BY minute DESC LIMIT 1";
    let last = tx.query_many(last, workloads.iter().map(|&id| params![id])).await?;
    let before =
        "SELECT last FROM market_minutes WHERE workload_id = $1 AND minute < $2 ORDER BY minute DESC LIMIT 1";
    let before = tx.query_many(before, workloads.iter().map(|&id| params![id, since])).await?;
    // A single minute is nothing to compare with.
    let first = "SELECT last FROM market_minutes AS m WHERE workload_id = $1 AND minute >= $2
                   AND EXISTS (SELECT 1 FROM market_minutes AS n WHERE n.workload_id = $1 AND n.minute > m.minute)
                 ORDER BY minute LIMIT 1";
    let first = tx.query_many(first, workloads.iter().map(|&id| params![id, since])).await?;
    let mut all = Vec::with_capacity(workloads.len());
    for (index, &workload) in workloads.iter().enumerate() {
        let price = |rows: &[Option<Row>]| rows[index].as_ref().map(|row| row.get(0)).transpose();
        let mut window = sums[index].as_ref().map(read_sums).transpose()?.unwrap_or_default();
        if window.trades > 0 {
            window.median = spread(tx, workload, since).await?.median();
        }
        let before = price(&before)?.or(price(&first)?);
        all.push(Cleared { window, last: price(&last)?, before });
    }
    Ok(all)
}

/// What cleared for a Cargo from the minute `since` on.
pub async fn window(tx: &mut Tx<'_>, workload: i64, since: i64) -> Result<Window, DbError> {
    let window = read_sums(&tx.query_one(SUMS, &params![workload, since]).await?)?;
    let median = spread(tx, workload, since).await?.median();
    Ok(Window { median: median.filter(|_| window.trades > 0), ..window })
}

/// How many jobs cleared, ever. Old minutes are added up to days, so that the rows stay few.
pub async fn trades_ever(tx: &mut Tx<'_>) -> Result<i64, DbError> {
    let sql = "SELECT CAST(coalesce(sum(trades), 0) AS BIGINT) FROM market_minutes";
    tx.query_one(sql, &[]).await?.get(0)
}

const SUMS: &str = "SELECT CAST(coalesce(sum(trades), 0) AS BIGINT), CAST(coalesce(sum(units), 0) AS BIGINT),
      CAST(coalesce(sum(paid), 0) AS BIGINT), min(lowest), max(highest)
    FROM market_minutes WHERE workload_id = $1 AND minute >= $2";

fn read_sums(row: &Row) -> Result<Window, DbError> {
    Ok(Window {
        trades: row.get(0)?,
        units: row.get(1)?,
        paid: row.get(2)?,
        lowest: row.get(3)?,
        highest: row.get(4)?,
        median: None,
    })
}

/// How often which price cleared from the minute `since` on.
pub async fn spread(tx: &mut Tx<'_>, workload: i64, since: i64) -> Result<Spread, DbError> {
    let sql = "SELECT price, CAST(sum(trades) AS BIGINT) FROM market_prices
               WHERE workload_id = $1 AND bucket >= $2 GROUP BY price ORDER BY price";
    let since = since.div_euclid(BUCKET) * BUCKET;
    read_spread(&tx.query(sql, &params![workload, since]).await?)
}

/// How many jobs went unserved since an hour, by what they bid.
pub async fn unserved(tx: &mut Tx<'_>, workload: i64, since: Timestamp) -> Result<Spread, DbError> {
    let sql = "SELECT bid, CAST(sum(jobs) AS BIGINT) FROM market_unserved
               WHERE workload_id = $1 AND hour > $2 GROUP BY bid ORDER BY bid";
    read_spread(&tx.query(sql, &params![workload, since.as_millis() / HOUR_MS]).await?)
}

fn read_spread(rows: &[Row]) -> Result<Spread, DbError> {
    let prices = rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?)));
    Ok(Spread::new(prices.collect::<Result<_, DbError>>()?))
}

/// The minutes of a Cargo from `since` on, oldest first.
pub async fn minutes(tx: &mut Tx<'_>, workload: i64, since: i64) -> Result<Vec<MinuteRow>, DbError> {
    let sql = "SELECT trades, units, paid, lowest, highest, minute, last FROM market_minutes
               WHERE workload_id = $1 AND minute >= $2 ORDER BY minute";
    let rows = tx.query(sql, &params![workload, since]).await?;
    rows.iter()
        .map(|row| Ok(MinuteRow { minute: row.get(5)?, window: read_sums(row)?, last: row.get(6)? }))
        .collect()
}

/// The newest trades of a Cargo.
pub async fn sales(tx: &mut Tx<'_>, workload: i64, limit: u32) -> Result<Vec<Sale>, DbError> {
    let sql = "SELECT at, price, units FROM market_trades WHERE workload_id = $1
               ORDER BY at DESC, job_id DESC LIMIT $2";
    let rows = tx.query(sql, &params![workload, i64::from(limit)]).await?;
    let sale =
        |row: &Row| Ok(Sale { at: row.get(0)?, price: row.get(1)?, units: Units::from_parts(row.get(2)?) });
    rows.iter().map(sale).collect()
}

/// Forgets trades of a Cargo beyond the newest `keep`: the oldest of them, about `most` of them. Answers how many.
pub async fn forget_trades(tx: &mut Tx<'_>, workload: i64, keep: i64, most: i64) -> Result<usize, DbError> {
    let sql = "DELETE FROM market_trades WHERE workload_id = $1
                 AND at < (SELECT at FROM market_trades WHERE workload_id = $1 ORDER BY at DESC LIMIT 1 OFFSET $2)
                 AND at <= coalesce((SELECT at FROM market_trades WHERE workload_id = $1
                                     ORDER BY at LIMIT 1 OFFSET $3), $4)";
    tx.execute(sql, &params![workload, keep - 1, most - 1, i64::MAX]).await
}

/// Notes how the books stand, in place of what was noted in the same bucket before.
pub async fn note_standing(
    tx: &mut Tx<'_>,
    (bucket, node): (i64, u16),
    books: &[(i64, Standing)],
) -> Result<(), DbError> {
    let sql = "INSERT INTO market_snapshots
                 (workload_id, bucket, node, best_ask, lowest_ask, islands, slots, free_slots, waiting, best_bid)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
               ON CONFLICT (workload_id, bucket, node) DO UPDATE SET
                 best_ask = excluded.best_ask, lowest_ask = excluded.lowest_ask, islands = excluded.islands,
                 slots = excluded.slots, free_slots = excluded.free_slots, waiting = excluded.waiting,
                 best_bid = excluded.best_bid";
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let rows = books.iter().map(|(workload, book)| {
        params![
            *workload,
            bucket,
            i64::from(node),
            book.best_ask,
            book.lowest_ask,
            number(book.islands),
            number(book.slots),
            number(book.free),
            number(book.waiting),
            book.best_bid
        ]
    });
    tx.execute_many(sql, rows).await
}

/// How the books of all coordinators stood from the minute `since` on, oldest first.
pub async fn noted(tx: &mut Tx<'_>, workload: i64, since: i64) -> Result<Vec<Noted>, DbError> {
    let sql = "SELECT bucket, min(best_ask), CAST(sum(islands) AS BIGINT), CAST(sum(waiting) AS BIGINT)
               FROM market_snapshots WHERE workload_id = $1 AND bucket >= $2 GROUP BY bucket ORDER BY bucket";
    let rows = tx.query(sql, &params![workload, since]).await?;
    let noted = |row: &Row| {
        Ok(Noted { minute: row.get(0)?, best_ask: row.get(1)?, islands: row.get(2)?, waiting: row.get(3)? })
    };
    rows.iter().map(noted).collect()
}

/// The periods of `length` minutes with rows inside them that begin before `until`, oldest first.
pub async fn to_thin(
    tx: &mut Tx<'_>,
    workload: i64,
    (from, until): (i64, i64),
    length: i64,
    most: i64,
) -> Result<Vec<i64>, DbError> {
    let sql = "SELECT DISTINCT period FROM (
                 SELECT minute / $4 AS period FROM market_minutes
                   WHERE workload_id = $1 AND minute >= $2 AND minute < $3 AND minute % $4 <> 0
                 UNION SELECT bucket / $4 FROM market_prices
                   WHERE workload_id = $1 AND bucket >= $2 AND bucket < $3 AND bucket % $4 <> 0
                 UNION SELECT bucket / $4 FROM market_snapshots
                   WHERE workload_id = $1 AND bucket >= $2 AND bucket < $3 AND bucket % $4 <> 0) AS periods
               ORDER BY period LIMIT $5";
    let rows = tx.query(sql, &params![workload, from, until, length, most]).await?;
    rows.iter().map(|row| Ok(row.get::<i64>(0)? * length)).collect()
}

/// Adds up what there is of a Cargo in the `length` minutes from `start` on, under its first minute. Of snapshots the first
/// is kept. Doing it again changes nothing.
pub async fn thin(tx: &mut Tx<'_>, workload: i64, start: i64, length: i64) -> Result<(), DbError> {
    let range = params![workload, start, start + length];
    let rows = "SELECT trades, units, paid, lowest, highest, minute, last, total FROM market_minutes
                WHERE workload_id = $1 AND minute >= $2 AND minute < $3 ORDER BY minute";
    let rows = tx.query(rows, &range).await?;
    if let (Some(newest), true) = (rows.last(), rows.len() > 1) {
        let sql = "SELECT CAST(sum(trades) AS BIGINT), CAST(sum(units) AS BIGINT), CAST(sum(paid) AS BIGINT),
                     min(lowest), max(highest), CAST(sum(total) AS BIGINT)
                   FROM market_minutes WHERE workload_id = $1 AND minute >= $2 AND minute < $3";
        let sums = tx.query_one(sql, &range).await?;
        let (window, total, last) =
            (read_sums(&sums)?, sums.get::<MicroCredits>(5)?, newest.get::<MicroCredits>(6)?);
        let sql = "DELETE FROM market_minutes WHERE workload_id = $1 AND minute >= $2 AND minute < $3";
        tx.execute(sql, &range).await?;
        let merged = Minute {
            workload,
            minute: start,
            count: window.trades,
            total,
            units: window.units,
            paid: window.paid,
            lowest: window.lowest.unwrap_or_default(),
            highest: window.highest.unwrap_or_default(),
            last,
        };
        add_minutes(tx, std::iter::once(&merged)).await?;
    } else if !rows.is_empty() {
        let sql =
            "UPDATE market_minutes SET minute = $2 WHERE workload_id = $1 AND minute >= $2 AND minute < $3";
        tx.execute(sql, &range).await?;
    }
    let sql = "SELECT price, CAST(sum(trades) AS BIGINT) FROM market_prices
               WHERE workload_id = $1 AND bucket >= $2 AND bucket < $3 GROUP BY price";
    let prices = tx.query(sql, &range).await?;
    let mut merged = BTreeMap::new();
    for row in &prices {
        merged.insert((workload, row.get(0)?), row.get(1)?);
    }
    let sql = "DELETE FROM market_prices WHERE workload_id = $1 AND bucket >= $2 AND bucket < $3";
    tx.execute(sql, &range).await?;
    add_prices(tx, start, &merged).await?;
    let sql = "DELETE FROM market_snapshots WHERE workload_id = $1 AND bucket > $2 AND bucket < $3";
    tx.execute(sql, &range).await.map(drop)
}

/// All asks set by owners.
pub async fn overrides(tx: &mut Tx<'_>) -> Result<Vec<(IslandId, i64, MicroCredits, Timestamp)>, DbError> {
    let sql = "SELECT island_id, workload_id, ask, set_at FROM ask_overrides";
    let rows = tx.query(sql, &[]).await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).collect()
}

/// Sets an ask, if the Island is still its owner's.
pub async fn set_override(
    tx: &mut Tx<'_>,
    (island, workload): (IslandId, i64),
    ask: MicroCredits,
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "INSERT INTO ask_overrides (island_id, workload_id, ask, set_at) VALUES ($1, $2, $3, $4)
               ON CONFLICT (island_id, workload_id) DO UPDATE SET ask = excluded.ask, set_at = excluded.set_at";
    tx.execute_one(sql, &params![island, workload, ask, now]).await
}

/// Resets an ask; answers whether there was one.
pub async fn reset_override(tx: &mut Tx<'_>, island: IslandId, workload: i64) -> Result<bool, DbError> {
    let sql = "DELETE FROM ask_overrides WHERE island_id = $1 AND workload_id = $2";
    Ok(tx.execute(sql, &params![island, workload]).await? == 1)
}
