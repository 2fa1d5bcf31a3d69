//! The table `usage_days`, and what is named in it.

use std::collections::{BTreeMap, HashMap};

use db::{DbError, Row, Tx, params};
use types::id::{Id, JobId, UserId};
use types::time::Timestamp;

use super::export::Ended;
use super::{Group, Line, MAX_LINES, Place, Sums, View, Wanted};
use crate::jobs::Usage;
use types::units::Units;

/// Adds what a batch of jobs came to: one statement.
pub(super) async fn add(tx: &mut Tx<'_>, sums: &BTreeMap<Place, Sums>) -> Result<(), DbError> {
    let sql =
        "INSERT INTO usage_days (user_id, day, workload_id, key_id, island_id, jobs, completed, failed, charge,
                 prompt_tokens, completion_tokens)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
               ON CONFLICT (user_id, day, workload_id, key_id, island_id) DO UPDATE SET
                 jobs = usage_days.jobs + excluded.jobs,
                 completed = usage_days.completed + excluded.completed,
                 failed = usage_days.failed + excluded.failed,
                 charge = usage_days.charge + excluded.charge,
                 prompt_tokens = usage_days.prompt_tokens + excluded.prompt_tokens,
                 completion_tokens = usage_days.completion_tokens + excluded.completion_tokens";
    let rows = sums.iter().map(|((user, day, workload, key, island), sum)| {
        params![
            *user,
            *day,
            *workload,
            *key,
            *island,
            sum.jobs,
            sum.completed,
            sum.failed,
            sum.amount,
            sum.prompt_tokens,
            sum.completion_tokens
        ]
    });
    tx.execute_many(sql, rows).await
}

/// The sums that are wanted, in the order of what they are grouped by; at most one more than [`MAX_LINES`].
pub(super) async fn lines(tx: &mut Tx<'_>, user: UserId, wanted: &Wanted) -> Result<Vec<Line>, DbError> {
    let columns: Vec<&str> = wanted.groups.iter().map(|group| column(wanted.view, *group)).collect();
    let (sums, from) = match wanted.view {
        View::Spent => (SPENT, SPENT_FROM),
        View::Earned => (EARNED, EARNED_FROM),
    };
    let grouped = columns.join(", ");
    let sql = if columns.is_empty() {
        format!("SELECT {sums} FROM {from}")
    } else {
        format!("SELECT {sums}, {grouped} FROM {from} GROUP BY {grouped} ORDER BY {grouped} LIMIT $7")
    };
    let any = |number: Option<i64>| number.unwrap_or(-1);
    let limit = i64::try_from(MAX_LINES).unwrap_or(i64::MAX) + 1;
    let values = params![
        user,
        wanted.first_day,
        wanted.end_day,
        any(wanted.workload),
        any(wanted.island.map(Id::get)),
        any(wanted.key),
        limit
    ];
    let given = if columns.is_empty() { &values[..6] } else { &values[..] };
    let rows = tx.query(&sql, given).await?;
    rows.iter().map(|row| read_line(row, &wanted.groups)).collect()
}

const SPENT: &str = "CAST(coalesce(sum(jobs), 0) AS BIGINT), CAST(coalesce(sum(completed), 0) AS BIGINT),
    CAST(coalesce(sum(failed), 0) AS BIGINT), CAST(coalesce(sum(charge), 0) AS BIGINT),
    CAST(coalesce(sum(prompt_tokens), 0) AS BIGINT), CAST(coalesce(sum(completion_tokens), 0) AS BIGINT)";
const SPENT_FROM: &str = "usage_days WHERE user_id = $1 AND day >= $2 AND day < $3
    AND (CAST($4 AS BIGINT) = -1 OR workload_id = $4) AND (CAST($5 AS BIGINT) = -1 OR island_id = $5)
    AND (CAST($6 AS BIGINT) = -1 OR key_id = $6)";
const EARNED: &str =
    "CAST(coalesce(sum(h.completed + h.failed), 0) AS BIGINT), CAST(coalesce(sum(h.completed), 0) AS BIGINT),
    CAST(coalesce(sum(h.failed), 0) AS BIGINT), CAST(coalesce(sum(h.earned), 0) AS BIGINT),
    CAST(0 AS BIGINT), CAST(0 AS BIGINT)";
// Nothing was earned by a key of the owner's.
const EARNED_FROM: &str = "island_hours h JOIN islands i ON i.id = h.island_id
    WHERE i.owner_id = $1 AND h.hour >= CAST($2 AS BIGINT) * 24 AND h.hour < CAST($3 AS BIGINT) * 24
    AND (CAST($4 AS BIGINT) = -1 OR h.workload_id = $4) AND (CAST($5 AS BIGINT) = -1 OR h.island_id = $5)
    AND CAST($6 AS BIGINT) = -1";

const fn column(view: View, group: Group) -> &'static str {
    match (view, group) {
        (View::Spent, Group::Day) => "day",
        (View::Spent, Group::Workload) => "workload_id",
        (View::Spent, Group::Key) => "key_id",
        (View::Spent, Group::Host) => "island_id",
        (View::Earned, Group::Day | Group::Key) => "h.hour / 24",
        (View::Earned, Group::Workload) => "h.workload_id",
        (View::Earned, Group::Host) => "h.island_id",
    }
}

fn read_line(row: &Row, groups: &[Group]) -> Result<Line, DbError> {
    let sums = Sums {
        jobs: row.get(0)?,
        completed: row.get(1)?,
        failed: row.get(2)?,
        amount: row.get(3)?,
        prompt_tokens: row.get(4)?,
        completion_tokens: row.get(5)?,
    };
    let mut line = Line { day: None, workload: None, key: None, island: None, sums };
    for (index, group) in groups.iter().enumerate() {
        let number = Some(row.get(6 + index)?);
        match group {
            Group::Day => line.day = number,
            Group::Workload => line.workload = number,
            Group::Key => line.key = number,
            Group::Host => line.island = number,
        }
    }
    Ok(line)
}

/// All Cargos there ever were.
pub(super) async fn workloads(tx: &mut Tx<'_>) -> Result<Vec<(i64, String)>, DbError> {
    let rows = tx.query("SELECT id, slug FROM workloads", &[]).await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// The names of all keys a user ever had.
pub(super) async fn keys(tx: &mut Tx<'_>, user: UserId) -> Result<HashMap<i64, String>, DbError> {
    let rows = tx.query("SELECT id, name FROM api_keys WHERE user_id = $1", &params![user]).await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// The names of these Islands.
pub(super) async fn islands(tx: &mut Tx<'_>, ids: &[i64]) -> Result<HashMap<i64, String>, DbError> {
    let rows =
        tx.query_many("SELECT name FROM islands WHERE id = $1", ids.iter().map(|&id| params![id])).await?;
    let named = ids.iter().zip(&rows).filter_map(|(id, row)| row.as_ref().map(|row| Ok((*id, row.get(0)?))));
    named.collect()
}

/// The jobs of a user before one, newest first: ended ones and, as nothing, those that have not ended.
pub(super) async fn jobs_before(
    tx: &mut Tx<'_>,
    user: UserId,
    before: JobId,
    limit: u32,
) -> Result<Vec<(JobId, Option<Ended>)>, DbError> {
    let sql = "SELECT j.id, j.completed_at, j.workload_id, j.key_id, j.island_id, j.units, j.prompt_tokens,
                 j.completion_tokens, j.bid, j.charge, j.state, j.error_code, i.name
               FROM jobs j LEFT JOIN islands i ON i.id = j.island_id
               WHERE j.user_id = $1 AND j.id < $2 ORDER BY j.id DESC LIMIT $3";
    let rows = tx.query(sql, &params![user, before, limit]).await?;
    rows.iter().map(read_ended).collect()
}

fn read_ended(row: &Row) -> Result<(JobId, Option<Ended>), DbError> {
    let id = row.get(0)?;
    let Some(at) = row.get::<Option<Timestamp>>(1)? else { return Ok((id, None)) };
    let ended = Ended {
        job: id,
        at,
        workload: row.get(2)?,
        key: row.get(3)?,
        island: row.get(4)?,
        units: Units::from_parts(row.get(5)?),
        usage: Usage { prompt_tokens: row.get(6)?, completion_tokens: row.get(7)? },
        bid: row.get(8)?,
        charge: row.get(9)?,
        status: row.get(10)?,
        error_code: row.get(11)?,
        island_name: row.get(12)?,
    };
    Ok((id, Some(ended)))
}
