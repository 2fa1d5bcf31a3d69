//! Statements about jobs and attempts.

use std::sync::Arc;

use db::{DbError, Question, Row, Tx, params};
use types::id::{AttemptId, JobId, UserId};
use types::money::MicroCredits;
use types::time::Timestamp;
use types::units::Units;

use super::command::{Command, Finish};
use super::message::Message;
use super::{Attempt, BidSource, Job, Origin, State, Usage};
use crate::nodes::Node;

const JOB: &str = "j.id, j.user_id, j.key_id, j.workload_id, j.origin, j.state, j.input, j.bid, j.bid_source,
    j.region, j.priority, j.created_at, j.deadline, j.started_at, j.completed_at, j.attempts, j.island_id, j.charge,
    j.prompt_tokens, j.completion_tokens, j.finish_reason, j.error_code, j.error, j.node,
    coalesce(j.unit_bid, j.bid), j.units, j.model, j.min_trust";
/// How many columns those are.
const JOB_COLUMNS: usize = 28;

/// Writes the rows of the commands that were not refused, one vectorised statement for each kind of row.
pub async fn write(tx: &mut Tx<'_>, commands: &[&Command], now: Timestamp) -> Result<(), DbError> {
    insert_jobs(tx, commands).await?;
    insert_idempotency(tx, commands, now).await?;
    end_attempts(tx, commands, now).await?;
    insert_attempts(tx, commands, now).await?;
    begin_jobs(tx, commands).await?;
    suspend_jobs(tx, commands).await?;
    finish_jobs(tx, commands).await
}

async fn insert_jobs(tx: &mut Tx<'_>, commands: &[&Command]) -> Result<(), DbError> {
    let sql =
        "INSERT INTO jobs (id, user_id, key_id, workload_id, origin, state, input, bid, bid_source, region,
                 priority, created_at, deadline, started_at, attempts, island_id, node, unit_bid, model, min_trust)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)";
    let opens = commands.iter().filter_map(|command| match command {
        Command::Open(open) => Some(open),
        _ => None,
    });
    let rows = opens.map(|open| {
        let (job, attempt) = (&open.job, open.attempt.as_ref());
        let state = if attempt.is_some() { State::Running } else { State::Pending };
        params![
            job.id,
            job.user,
            job.key,
            job.workload,
            job.origin.name(),
            state.name(),
            &*job.input,
            job.bid,
            job.bid_source.name(),
            &job.region,
            job.priority,
            job.created_at,
            job.deadline,
            job.started_at,
            attempt.map_or(0, |attempt| attempt.number),
            attempt.map(|attempt| attempt.island),
            job.node,
            job.unit_bid,
            &job.model,
            job.min_trust
        ]
    });
    tx.execute_many(sql, rows).await
}

async fn insert_idempotency(tx: &mut Tx<'_>, commands: &[&Command], now: Timestamp) -> Result<(), DbError> {
    let sql =
        "INSERT INTO idempotency (user_id, idempotency_key, request_hash, job_id, status, answer, created_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let rows = commands.iter().filter_map(|command| match command {
        Command::Open(open) => {
            let (claim, answer) = open.idempotency.as_ref()?;
            let (status, body) =
                answer.as_ref().map(|answer| (i64::from(answer.status), answer.body.as_str())).unzip();
            Some(params![open.job.user, &claim.key, &claim.hash, open.job.id, status, body, now])
        }
        _ => None,
    });
    tx.execute_many(sql, rows).await
}

async fn insert_attempts(tx: &mut Tx<'_>, commands: &[&Command], now: Timestamp) -> Result<(), DbError> {
    let sql = "INSERT INTO attempts (id, job_id, number, island_id, earnings_id, price, ask, own, considered, state,
                 started_at, units)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'running', $10, $11)";
    let begun = commands.iter().filter_map(|command| match command {
        Command::Open(open) => open.attempt.as_ref().map(|attempt| (open.job.id, attempt)),
        Command::Begin(begin) => Some((begin.job, &begin.attempt)),
        Command::Suspend(_) | Command::Finish(_) => None,
    });
    let rows = begun.map(|(job, a)| {
        params![
            a.id,
            job,
            a.number,
            a.island,
            a.earnings,
            a.price,
            a.ask,
            a.own,
            &a.considered,
            now,
            a.units.parts()
        ]
    });
    tx.execute_many(sql, rows).await
}

async fn end_attempts(tx: &mut Tx<'_>, commands: &[&Command], now: Timestamp) -> Result<(), DbError> {
    let sql = "UPDATE attempts SET state = $2, error = $3, ended_at = $4, charge = $5, fee = $6
               WHERE id = $1 AND state = 'running'";
    let rows = commands.iter().filter_map(|command| match command {
        Command::Open(_) | Command::Begin(_) => None,
        Command::Suspend(suspend) => {
            Some(params![suspend.attempt, "released", &suspend.error, now, 0_i64, 0_i64])
        }
        Command::Finish(finish) => {
            let attempt = finish.attempt.as_ref()?;
            let settled = finish.charge.is_positive() || finish.state == State::Completed;
            let error = finish.error.as_ref().map(|(_, error)| error.as_str());
            let state = if settled { "settled" } else { "released" };
            Some(params![attempt.id, state, error, now, finish.charge, finish.fee])
        }
    });
    tx.execute_many(sql, rows).await
}

async fn begin_jobs(tx: &mut Tx<'_>, commands: &[&Command]) -> Result<(), DbError> {
    let sql = "UPDATE jobs SET state = 'running', started_at = coalesce(started_at, $2), attempts = $3, island_id = $4
               WHERE id = $1 AND completed_at IS NULL";
    let rows = commands.iter().filter_map(|command| match command {
        Command::Begin(begin) => {
            Some(params![begin.job, begin.at, begin.attempt.number, begin.attempt.island])
        }
        _ => None,
    });
    tx.execute_many(sql, rows).await
}

async fn suspend_jobs(tx: &mut Tx<'_>, commands: &[&Command]) -> Result<(), DbError> {
    let sql = "UPDATE jobs SET state = 'pending' WHERE id = $1 AND completed_at IS NULL";
    let rows = commands.iter().filter_map(|command| match command {
        Command::Suspend(suspend) => Some(params![suspend.job]),
        _ => None,
    });
    tx.execute_many(sql, rows).await
}

async fn finish_jobs(tx: &mut Tx<'_>, commands: &[&Command]) -> Result<(), DbError> {
    let finishes = || {
        commands.iter().filter_map(|command| match command {
            Command::Finish(finish) => Some(&**finish),
            _ => None,
        })
    };
    let sql = "UPDATE jobs SET state = $2, completed_at = $3, charge = $4, prompt_tokens = $5, completion_tokens = $6,
                 finish_reason = $7, error_code = $8, error = $9, units = $10
               WHERE id = $1 AND completed_at IS NULL";
    let rows = finishes().map(|finish: &Finish| {
        let error = finish.error.as_ref();
        params![
            finish.job,
            finish.state.name(),
            finish.at,
            finish.charge,
            finish.usage.prompt_tokens,
            finish.usage.completion_tokens,
            &finish.finish_reason,
            error.map(|(code, _)| code.as_str()),
            error.map(|(_, text)| text.as_str()),
            finish.units.parts()
        ]
    });
    tx.execute_many(sql, rows).await?;
    let sql = "INSERT INTO job_outputs (job_id, output, message) VALUES ($1, $2, $3)";
    let rows = finishes().filter(|finish| finish.output.is_some() || finish.message.is_some());
    let rows =
        rows.map(|finish| params![finish.job, finish.output.as_deref().unwrap_or_default(), &finish.message]);
    tx.execute_many(sql, rows).await
}

const REPEATED: &str =
    "SELECT request_hash, job_id FROM idempotency WHERE user_id = $1 AND idempotency_key = $2";

/// The fingerprint and the job of a request that was taken before.
pub async fn repeated(
    tx: &mut Tx<'_>,
    user: UserId,
    key: &str,
) -> Result<Option<(String, Option<JobId>)>, DbError> {
    tx.query_opt(REPEATED, &params![user, key]).await?.as_ref().map(read_repeated).transpose()
}

/// The same for many.
pub async fn ask_repeated(
    tx: &mut Tx<'_>,
    keys: &[(UserId, &str)],
) -> Result<Question<Vec<Option<(String, Option<JobId>)>>>, DbError> {
    tx.ask_many(REPEATED, keys.iter().map(|&(user, key)| params![user, key]), |rows| {
        rows.iter().map(|row| row.as_ref().map(read_repeated).transpose()).collect()
    })
    .await
}

fn read_repeated(row: &Row) -> Result<(String, Option<JobId>), DbError> {
    Ok((row.get(0)?, row.get(1)?))
}

/// For each job whether it has not ended and is this coordinator's. Only the key is looked for: a condition on the state
/// would let a database choose the index of open jobs, where jobs that have just ended lie about.
pub async fn ask_still_open(
    tx: &mut Tx<'_>,
    node: Node,
    jobs: &[JobId],
) -> Result<Question<Vec<bool>>, DbError> {
    let sql = "SELECT node, completed_at FROM jobs WHERE id = $1";
    tx.ask_many(sql, jobs.iter().map(|&job| params![job]), move |rows| {
        let open = |row: &Option<Row>| match row {
            Some(row) => Ok(read_node(row, 0)? == node.number && row.get::<Option<Timestamp>>(1)?.is_none()),
            None => Ok(false),
        };
        rows.iter().map(open).collect()
    })
    .await
}

/// For each job that is there how far it is, and when it ended.
pub async fn ends_of(
    tx: &mut Tx<'_>,
    jobs: &[JobId],
) -> Result<Vec<Option<(State, Option<Timestamp>)>>, DbError> {
    let sql = "SELECT state, completed_at FROM jobs WHERE id = $1";
    let rows = tx.query_many(sql, jobs.iter().map(|&job| params![job])).await?;
    let read = |row: &Row| Ok((read_state(row, 0)?, row.get(1)?));
    rows.iter().map(|row| row.as_ref().map(read).transpose()).collect()
}

/// For each attempt that is there its state.
pub async fn attempt_states(
    tx: &mut Tx<'_>,
    attempts: &[Option<AttemptId>],
) -> Result<Vec<Option<String>>, DbError> {
    let sql = "SELECT state FROM attempts WHERE id = $1";
    let rows = tx.query_many(sql, attempts.iter().map(|&attempt| params![attempt])).await?;
    rows.iter().map(|row| row.as_ref().map(|row| row.get(0)).transpose()).collect()
}

pub async fn job(tx: &mut Tx<'_>, id: JobId) -> Result<Option<Job>, DbError> {
    let sql = format!("SELECT {JOB} FROM jobs j WHERE j.id = $1");
    tx.query_opt(&sql, &params![id]).await?.as_ref().map(read_job).transpose()
}

pub async fn output(tx: &mut Tx<'_>, id: JobId) -> Result<Option<String>, DbError> {
    let sql = "SELECT nullif(output, '') FROM job_outputs WHERE job_id = $1";
    let row = tx.query_opt(sql, &params![id]).await?;
    Ok(row.map(|row| row.get(0)).transpose()?.flatten())
}

/// What the answer of a job has beyond its text.
pub async fn message(tx: &mut Tx<'_>, id: JobId) -> Result<Option<Message>, DbError> {
    let sql = "SELECT message FROM job_outputs WHERE job_id = $1";
    let row = tx.query_opt(sql, &params![id]).await?;
    let text: Option<String> = row.map(|row| row.get(0)).transpose()?.flatten();
    text.map(|text| serde_json::from_str(&text).map_err(|_| strange("message"))).transpose()
}

/// Jobs of a user, newest first, with their outputs. A list is to be looked over: inputs and outputs too large for that are
/// left out of it; each job by itself has them.
pub async fn jobs_of(
    tx: &mut Tx<'_>,
    user: UserId,
    limit: u32,
    offset: u32,
) -> Result<Vec<(Job, Option<String>)>, DbError> {
    let short = JOB.replace("j.input", "CASE WHEN length(j.input) <= 65536 THEN j.input ELSE '{}' END");
    let sql = format!(
        "SELECT {short}, CASE WHEN length(o.output) <= 65536 THEN nullif(o.output, '') END
         FROM jobs j LEFT JOIN job_outputs o ON o.job_id = j.id
         WHERE j.user_id = $1 ORDER BY j.id DESC LIMIT $2 OFFSET $3"
    );
    let rows = tx.query(&sql, &params![user, limit, offset]).await?;
    rows.iter().map(|row| Ok((read_job(row)?, row.get(JOB_COLUMNS)?))).collect()
}

pub async fn count_of(tx: &mut Tx<'_>, user: UserId) -> Result<i64, DbError> {
    tx.query_one("SELECT count(*) FROM jobs WHERE user_id = $1", &params![user]).await?.get(0)
}

/// The newest completed jobs of a user for a Cargo, without their outputs, with the names of their Islands.
pub async fn completed_of(
    tx: &mut Tx<'_>,
    user: UserId,
    workload: i64,
    limit: u32,
) -> Result<Vec<(Job, Option<String>)>, DbError> {
    let sql = format!(
        "SELECT {JOB}, i.name FROM jobs j LEFT JOIN islands i ON i.id = j.island_id
         WHERE j.user_id = $1 AND j.workload_id = $2 AND j.state = 'completed' ORDER BY j.id DESC LIMIT $3"
    );
    let rows = tx.query(&sql, &params![user, workload, limit]).await?;
    rows.iter().map(|row| Ok((read_job(row)?, row.get(JOB_COLUMNS)?))).collect()
}

/// The newest job of a user for a Cargo that was asked for on a page and has not ended.
pub async fn open_on_page(tx: &mut Tx<'_>, user: UserId, workload: i64) -> Result<Option<JobId>, DbError> {
    let sql = "SELECT max(id) FROM jobs WHERE user_id = $1 AND workload_id = $2 AND origin = 'page'
               AND state IN ('pending', 'running')";
    tx.query_one(sql, &params![user, workload]).await?.get(0)
}

/// Jobs of a coordinator that have not ended, oldest first; of those that run without what was asked.
pub async fn open_of(tx: &mut Tx<'_>, node: u16) -> Result<Vec<Job>, DbError> {
    let short = JOB.replace("j.input", "CASE WHEN j.state = 'pending' THEN j.input ELSE '{}' END");
    let sql = format!(
        "SELECT {short} FROM jobs j WHERE j.node = $1 AND j.state IN ('pending', 'running') ORDER BY j.id"
    );
    tx.query(&sql, &params![node]).await?.iter().map(read_job).collect()
}

/// Gives the open jobs of one coordinator to another.
pub async fn hand_over(tx: &mut Tx<'_>, from: u16, to: Node) -> Result<usize, DbError> {
    let sql = "UPDATE jobs SET node = $2 WHERE node = $1 AND state IN ('pending', 'running')";
    tx.execute(sql, &params![from, to.number]).await
}

/// Notes the wish to cancel a job, for the coordinator that drives it; answers whether it is open.
pub async fn want_cancelled(tx: &mut Tx<'_>, job: JobId, now: Timestamp) -> Result<bool, DbError> {
    let sql = "UPDATE jobs SET cancel_wanted_at = $2 WHERE id = $1 AND state IN ('pending', 'running')";
    Ok(tx.execute(sql, &params![job, now]).await? == 1)
}

/// Open jobs of a coordinator that somebody wished to cancel through another.
pub async fn to_cancel(tx: &mut Tx<'_>, node: Node) -> Result<Vec<JobId>, DbError> {
    let sql = "SELECT id FROM jobs
               WHERE node = $1 AND cancel_wanted_at IS NOT NULL AND state IN ('pending', 'running')";
    tx.query(sql, &params![node.number]).await?.iter().map(|row| row.get(0)).collect()
}

/// Raises the bid of a job that waits; answers whether it did.
pub async fn raise_bid(
    tx: &mut Tx<'_>,
    job: JobId,
    (bid, unit_bid): (MicroCredits, MicroCredits),
    now: Timestamp,
) -> Result<bool, DbError> {
    let sql = "UPDATE jobs SET bid = $2, unit_bid = $3, bid_source = 'explicit', bid_raised_at = $4
               WHERE id = $1 AND state = 'pending' AND bid < $2";
    Ok(tx.execute(sql, &params![job, bid, unit_bid, now]).await? == 1)
}

/// Waiting jobs of a coordinator whose bid was raised since they came.
pub async fn raised(tx: &mut Tx<'_>, node: Node) -> Result<Vec<(JobId, MicroCredits)>, DbError> {
    let sql = "SELECT id, bid FROM jobs WHERE node = $1 AND bid_raised_at IS NOT NULL AND state = 'pending'";
    let rows = tx.query(sql, &params![node.number]).await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// What the newest completed jobs of a Cargo took: units, milliseconds. Looks at the newest jobs of all Cargos only.
pub async fn recent_of(tx: &mut Tx<'_>, workload: i64, limit: usize) -> Result<Vec<(Units, i64)>, DbError> {
    let sql = "SELECT units, completed_at - started_at
               FROM (SELECT * FROM jobs ORDER BY id DESC LIMIT 20000) AS newest
               WHERE workload_id = $1 AND state = 'completed' AND units > 0 ORDER BY id DESC LIMIT $2";
    let rows = tx.query(sql, &params![workload, i64::try_from(limit).unwrap_or(i64::MAX)]).await?;
    rows.iter().map(|row| Ok((Units::from_parts(row.get(0)?), row.get(1)?))).collect()
}

/// The attempt a job is in, if it is in one.
pub async fn running_attempt(tx: &mut Tx<'_>, job: JobId) -> Result<Option<Attempt>, DbError> {
    let sql = "SELECT id, number, island_id, earnings_id, price, ask, own, considered, units FROM attempts
               WHERE job_id = $1 AND state = 'running'";
    let row = tx.query_opt(sql, &params![job]).await?;
    row.map(|row| {
        Ok(Attempt {
            id: row.get(0)?,
            number: row.get(1)?,
            island: row.get(2)?,
            earnings: row.get(3)?,
            price: row.get(4)?,
            ask: row.get(5)?,
            own: row.get(6)?,
            considered: row.get(7)?,
            units: Units::from_parts(row.get(8)?),
        })
    })
    .transpose()
}

/// Job, Cargo and Island of attempts.
pub async fn places_of(
    tx: &mut Tx<'_>,
    attempts: &[AttemptId],
) -> Result<Vec<Option<(JobId, i64, String)>>, DbError> {
    let sql = "SELECT a.job_id, j.workload_id, i.name FROM attempts a
               JOIN jobs j ON j.id = a.job_id JOIN islands i ON i.id = a.island_id WHERE a.id = $1";
    let rows = tx.query_many(sql, attempts.iter().map(|&attempt| params![attempt])).await?;
    rows.iter()
        .map(|row| row.as_ref().map(|row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).transpose())
        .collect()
}

/// For each attempt that is in progress the coordinator of its job, if that is open too.
pub async fn drivers_of(
    tx: &mut Tx<'_>,
    attempts: &[AttemptId],
) -> Result<Vec<Option<(JobId, u16)>>, DbError> {
    let sql = "SELECT j.id, j.node FROM attempts a JOIN jobs j ON j.id = a.job_id
               WHERE a.id = $1 AND a.state = 'running' AND j.state IN ('pending', 'running')";
    let rows = tx.query_many(sql, attempts.iter().map(|&attempt| params![attempt])).await?;
    let read = |row: &Row| Ok((row.get(0)?, read_node(row, 1)?));
    rows.iter().map(|row| row.as_ref().map(read).transpose()).collect()
}

/// The columns of a job for [`read_joined`]. What was asked is left out: it can be large.
pub fn without_input() -> String {
    JOB.replace("j.input", "'{}'")
}

/// A job that was joined to something else, its columns beginning at `first`; nothing if there was none.
pub fn read_joined(row: &Row, first: usize) -> Result<Option<Job>, DbError> {
    row.get::<Option<JobId>>(first)?.map(|_| read_job_at(row, first)).transpose()
}

fn read_job(row: &Row) -> Result<Job, DbError> {
    read_job_at(row, 0)
}

fn read_job_at(row: &Row, first: usize) -> Result<Job, DbError> {
    let error_code: Option<String> = row.get(first + 21)?;
    let error: Option<String> = row.get(first + 22)?;
    Ok(Job {
        id: row.get(first)?,
        node: read_node(row, first + 23)?,
        user: row.get(first + 1)?,
        key: row.get(first + 2)?,
        workload: row.get(first + 3)?,
        origin: Origin::from_name(&row.get::<String>(first + 4)?).ok_or_else(|| strange("origin"))?,
        state: read_state(row, first + 5)?,
        input: Arc::from(row.get::<String>(first + 6)?),
        bid: row.get(first + 7)?,
        bid_source: BidSource::from_name(&row.get::<String>(first + 8)?)
            .ok_or_else(|| strange("bid_source"))?,
        region: row.get(first + 9)?,
        priority: u8::try_from(row.get::<i64>(first + 10)?).map_err(|_| strange("priority"))?,
        created_at: row.get(first + 11)?,
        deadline: row.get(first + 12)?,
        started_at: row.get(first + 13)?,
        completed_at: row.get(first + 14)?,
        attempts: row.get(first + 15)?,
        island: row.get(first + 16)?,
        charge: row.get(first + 17)?,
        usage: Usage { prompt_tokens: row.get(first + 18)?, completion_tokens: row.get(first + 19)? },
        finish_reason: row.get(first + 20)?,
        error: error_code.map(|code| (code, error.unwrap_or_default())),
        unit_bid: row.get(first + 24)?,
        units: Units::from_parts(row.get(first + 25)?),
        model: row.get(first + 26)?,
        min_trust: u8::try_from(row.get::<i64>(first + 27)?).map_err(|_| strange("min_trust"))?,
    })
}

fn read_state(row: &Row, column: usize) -> Result<State, DbError> {
    State::from_name(&row.get::<String>(column)?).ok_or_else(|| strange("state"))
}

fn read_node(row: &Row, column: usize) -> Result<u16, DbError> {
    u16::try_from(row.get::<i64>(column)?).map_err(|_| strange("coordinator"))
}

fn strange(what: &str) -> DbError {
    DbError::Other(format!("a job has a strange {what}"))
}
