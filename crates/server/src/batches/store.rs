//! Statements about batches and their inputs.

use db::{DbError, Row, Tx, params};
use types::id::{JobId, UserId};
use types::money::MicroCredits;
use types::time::Timestamp;
use types::units::Units;

use super::{Batch, Child, ChildState, FailMode, Merge, State};
use crate::jobs::{self, Usage};
use crate::nodes::Node;

const BATCH: &str =
    "id, user_id, key_id, node, workload_id, state, merge_strategy, fail_mode, parallelism, bid, region,
    model, min_trust, priority, size, input_bytes, created_at, ended_at, error_code, error, cancel_wanted_at";

/// Writes a batch and its inputs.
pub async fn insert(tx: &mut Tx<'_>, batch: &Batch, inputs: &[(JobId, Box<str>)]) -> Result<(), DbError> {
    let sql = "INSERT INTO batches (id, user_id, key_id, node, workload_id, state, merge_strategy, fail_mode, parallelism,
                 bid, region, model, min_trust, priority, size, input_bytes, created_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)";
    let values = params![
        batch.id,
        batch.user,
        batch.key,
        batch.node,
        batch.workload,
        batch.state.name(),
        batch.merge.name(),
        batch.fail_mode.name(),
        number(batch.parallelism),
        batch.bid,
        &batch.region,
        &batch.model,
        batch.min_trust,
        batch.priority,
        number(batch.size),
        number(batch.input_bytes),
        batch.created_at
    ];
    tx.execute_one(sql, &values).await?;
    let sql = "INSERT INTO batch_children (batch_id, position, job_id, input, state)
               VALUES ($1, $2, $3, $4, 'waiting')";
    let rows = inputs
        .iter()
        .enumerate()
        .map(|(position, (job, input))| params![batch.id, number(position), *job, &**input]);
    tx.execute_many(sql, rows).await
}

/// How many batches of a user have not ended, and how long their inputs are.
pub async fn open_of_user(tx: &mut Tx<'_>, user: UserId) -> Result<(i64, i64), DbError> {
    let sql = "SELECT count(*), CAST(coalesce(sum(input_bytes), 0) AS BIGINT) FROM batches
               WHERE user_id = $1 AND state = 'running'";
    let row = tx.query_one(sql, &params![user]).await?;
    Ok((row.get(0)?, row.get(1)?))
}

pub async fn batch(tx: &mut Tx<'_>, id: JobId) -> Result<Option<Batch>, DbError> {
    let sql = format!("SELECT {BATCH} FROM batches WHERE id = $1");
    tx.query_opt(&sql, &params![id]).await?.as_ref().map(read_batch).transpose()
}

/// Batches of a user, newest first.
pub async fn batches_of(
    tx: &mut Tx<'_>,
    user: UserId,
    limit: u32,
    offset: u32,
) -> Result<Vec<Batch>, DbError> {
    let sql = format!("SELECT {BATCH} FROM batches WHERE user_id = $1 ORDER BY id DESC LIMIT $2 OFFSET $3");
    tx.query(&sql, &params![user, limit, offset]).await?.iter().map(read_batch).collect()
}

pub async fn count_of(tx: &mut Tx<'_>, user: UserId) -> Result<i64, DbError> {
    tx.query_one("SELECT count(*) FROM batches WHERE user_id = $1", &params![user]).await?.get(0)
}

/// The inputs of batches, in order, with what has become of them: one list for each batch.
pub async fn children_of(tx: &mut Tx<'_>, batches: &[JobId]) -> Result<Vec<Vec<Child>>, DbError> {
    let mut all = Vec::with_capacity(batches.len());
    for batch in batches {
        all.push(children(tx, *batch).await?);
    }
    Ok(all)
}

/// The inputs of a batch, in order, with what has become of them.
pub async fn children(tx: &mut Tx<'_>, batch: JobId) -> Result<Vec<Child>, DbError> {
    let sql = "SELECT c.position, c.job_id, c.state, c.error_code, c.error, j.state, j.error_code, j.error, j.island_id,
                 j.bid, j.charge, j.units, j.prompt_tokens, j.completion_tokens, j.started_at
               FROM batch_children c LEFT JOIN jobs j ON j.id = c.job_id
               WHERE c.batch_id = $1 ORDER BY c.position";
    tx.query(sql, &params![batch]).await?.iter().map(read_child).collect()
}

/// What was asked, as JSON.
pub async fn input(tx: &mut Tx<'_>, job: JobId) -> Result<Option<String>, DbError> {
    let sql = "SELECT input FROM batch_children WHERE job_id = $1";
    tx.query_opt(sql, &params![job]).await?.map(|row| row.get(0)).transpose()
}

/// All that was asked, in order.
pub async fn inputs(tx: &mut Tx<'_>, batch: JobId) -> Result<Vec<String>, DbError> {
    let sql = "SELECT input FROM batch_children WHERE batch_id = $1 ORDER BY position";
    tx.query(sql, &params![batch]).await?.iter().map(|row| row.get(0)).collect()
}

/// How long the outputs of a batch are together, of what succeeded.
pub async fn output_length(tx: &mut Tx<'_>, batch: JobId) -> Result<i64, DbError> {
    let sql = "SELECT CAST(coalesce(sum(octet_length(o.output)), 0) AS BIGINT)
               FROM batch_children c JOIN jobs j ON j.id = c.job_id JOIN job_outputs o ON o.job_id = c.job_id
               WHERE c.batch_id = $1 AND j.state = 'completed'";
    tx.query_one(sql, &params![batch]).await?.get(0)
}

/// The outputs of what succeeded, in the order of the inputs.
pub async fn outputs(tx: &mut Tx<'_>, batch: JobId) -> Result<Vec<String>, DbError> {
    let sql = "SELECT o.output
               FROM batch_children c JOIN jobs j ON j.id = c.job_id JOIN job_outputs o ON o.job_id = c.job_id
               WHERE c.batch_id = $1 AND j.state = 'completed' ORDER BY c.position";
    tx.query(sql, &params![batch]).await?.iter().map(|row| row.get(0)).collect()
}

/// Batches of a coordinator that have not ended, oldest first.
pub async fn open_of(tx: &mut Tx<'_>, node: Node) -> Result<Vec<JobId>, DbError> {
    let sql = "SELECT id FROM batches WHERE node = $1 AND state = 'running' ORDER BY id";
    tx.query(sql, &params![node.number]).await?.iter().map(|row| row.get(0)).collect()
}

/// Gives the open batches of one coordinator to another.
pub async fn hand_over(tx: &mut Tx<'_>, from: u16, to: Node) -> Result<(), DbError> {
    let sql = "UPDATE batches SET node = $2 WHERE node = $1 AND state = 'running'";
    tx.execute(sql, &params![from, to.number]).await.map(drop)
}

/// Notes that an input cannot be started.
pub async fn refuse(tx: &mut Tx<'_>, job: JobId, (code, text): (&str, &str)) -> Result<(), DbError> {
    let sql = "UPDATE batch_children SET state = 'failed', error_code = $2, error = $3
               WHERE job_id = $1 AND state = 'waiting'";
    tx.execute(sql, &params![job, code, text]).await.map(drop)
}

/// Ends a batch of this coordinator; answers whether it was open and still that coordinator's.
pub async fn finish(
    tx: &mut Tx<'_>,
    (id, node): (JobId, u16),
    state: State,
    error: Option<(&str, &str)>,
    now: Timestamp,
) -> Result<bool, DbError> {
    let sql = "UPDATE batches SET state = $3, ended_at = $4, error_code = $5, error = $6
               WHERE id = $1 AND node = $2 AND state = 'running'";
    let (code, text) = error.unzip();
    Ok(tx.execute(sql, &params![id, node, state.name(), now, code, text]).await? == 1)
}

/// Notes that the inputs of a batch that have no job will have none.
pub async fn close(tx: &mut Tx<'_>, batch: JobId, error: (&str, &str)) -> Result<(), DbError> {
    let sql = "UPDATE batch_children SET state = 'cancelled', error_code = $2, error = $3
               WHERE batch_id = $1 AND state = 'waiting' AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = job_id)";
    tx.execute(sql, &params![batch, error.0, error.1]).await.map(drop)
}

/// Notes the wish to cancel a batch; answers whether it is open.
pub async fn want_cancelled(tx: &mut Tx<'_>, id: JobId, now: Timestamp) -> Result<bool, DbError> {
    let sql = "UPDATE batches SET cancel_wanted_at = $2 WHERE id = $1 AND state = 'running'";
    Ok(tx.execute(sql, &params![id, now]).await? == 1)
}

/// Open batches of a coordinator that somebody wished to cancel.
pub async fn to_cancel(tx: &mut Tx<'_>, node: Node) -> Result<Vec<JobId>, DbError> {
    let sql = "SELECT id FROM batches WHERE node = $1 AND state = 'running' AND cancel_wanted_at IS NOT NULL";
    tx.query(sql, &params![node.number]).await?.iter().map(|row| row.get(0)).collect()
}

fn read_batch(row: &Row) -> Result<Batch, DbError> {
    Ok(Batch {
        id: row.get(0)?,
        user: row.get(1)?,
        key: row.get(2)?,
        node: small(row, 3)?,
        workload: row.get(4)?,
        state: State::from_name(&row.get::<String>(5)?).ok_or_else(|| strange("state"))?,
        merge: Merge::from_name(&row.get::<String>(6)?).ok_or_else(|| strange("merge_strategy"))?,
        fail_mode: FailMode::from_name(&row.get::<String>(7)?).ok_or_else(|| strange("fail_mode"))?,
        parallelism: small(row, 8)?,
        bid: row.get(9)?,
        region: row.get(10)?,
        model: row.get(11)?,
        min_trust: small(row, 12)?,
        priority: small(row, 13)?,
        size: small(row, 14)?,
        input_bytes: small(row, 15)?,
        created_at: row.get(16)?,
        ended_at: row.get(17)?,
        error: read_error(row, 18)?,
        cancel_wanted: row.get::<Option<Timestamp>>(20)?.is_some(),
    })
}

fn read_child(row: &Row) -> Result<Child, DbError> {
    let job: Option<String> = row.get(5)?;
    let state = match &job {
        Some(state) => ChildState::of_job(jobs::State::from_name(state).ok_or_else(|| strange("job"))?),
        None => match row.get::<String>(2)?.as_str() {
            "waiting" => ChildState::Pending,
            "failed" => ChildState::Failed,
            "cancelled" => ChildState::Cancelled,
            _ => return Err(strange("input")),
        },
    };
    Ok(Child {
        position: small(row, 0)?,
        job: row.get(1)?,
        state,
        error: read_error(row, if job.is_some() { 6 } else { 3 })?,
        island: row.get(8)?,
        bid: row.get(9)?,
        charge: row.get::<Option<MicroCredits>>(10)?.unwrap_or_default(),
        units: Units::from_parts(row.get::<Option<i64>>(11)?.unwrap_or_default()),
        usage: Usage { prompt_tokens: row.get(12)?, completion_tokens: row.get(13)? },
        started_at: row.get(14)?,
    })
}

fn read_error(row: &Row, first: usize) -> Result<Option<(String, String)>, DbError> {
    let (code, text): (Option<String>, Option<String>) = (row.get(first)?, row.get(first + 1)?);
    Ok(code.map(|code| (code, text.unwrap_or_default())))
}

fn small<T: TryFrom<i64>>(row: &Row, column: usize) -> Result<T, DbError> {
    T::try_from(row.get(column)?).map_err(|_| strange("number"))
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn strange(what: &str) -> DbError {
    DbError::Other(format!("a batch has a strange {what}"))
}
