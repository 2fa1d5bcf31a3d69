//! What a crash left: every open attempt is ended, every hold given back, waiting jobs wait on (I7).
//!
//! A coordinator keeps what an Island streams in memory until the job ends, so an attempt that was open when it was killed
//! has nothing stored to be charged for: its hold is released and its job ends `failed` with the code
//! `interrupted`. The same code ends what anything else may have left behind while the coordinator runs.

use std::sync::Arc;

use db::DbError;
use futures_util::{StreamExt, stream};
use ledger::Command as LedgerCommand;
use types::id::{AttemptId, Id, TransferId};
use types::money::MicroCredits;
use types::time::SECOND_MS;

use super::commit::{Command, Finish};
use super::drive::{Drive, First};
use super::live::{Event, LiveJob};
use super::submit::{Found, Submission};
use super::{Job, Origin, State, Usage, store};
use crate::accounts;
use crate::app::App;

/// Jobs ended at once.
const AT_ONCE: usize = 256;
/// How long after it must be over a job that nobody drives is ended.
const MARGIN_MS: i64 = 300 * SECOND_MS;

/// Ends what was running and takes up what was waiting. To be called before anything is served.
///
/// # Errors
/// A [`DbError`].
pub async fn at_start(app: &Arc<App>) -> Result<(), DbError> {
    let open = app.db.read("open_jobs", async |tx| store::open_jobs(tx).await).await?;
    let (mut to_end, mut waiting) = (Vec::new(), 0_usize);
    for job in open {
        if job.state == State::Pending && job.origin != Origin::Request && wait_on(app, &job).await? {
            waiting += 1;
        } else {
            to_end.push(job);
        }
    }
    // Many at once, so that they share commits.
    let ended = to_end.len();
    let mut endings = stream::iter(to_end.iter().map(|job| end(app, job))).buffer_unordered(AT_ONCE);
    while let Some(done) = endings.next().await {
        done?;
    }
    let orphans = release_orphans(app).await?;
    if ended + waiting + orphans > 0 {
        tracing::info!(
            ended,
            waiting,
            orphans,
            "recovered: {ended} interrupted jobs ended, {waiting} wait on"
        );
    }
    Ok(())
}

/// Ends open holds whose time has passed and whose job is not alive here.
///
/// # Errors
/// A [`DbError`].
pub async fn expire_once(app: &App) -> Result<usize, DbError> {
    let now = app.clock.now();
    let expired =
        app.db.read("expired_holds", async move |tx| ledger::holds_expired(tx, now, 256).await).await?;
    let mut count = 0;
    for hold in expired {
        let attempt = AttemptId::from_i64(hold.get());
        let job = app
            .db
            .read("expired_job", async move |tx| {
                let Some(id) = store::job_of_attempt(tx, attempt).await? else { return Ok(None) };
                store::job(tx, id).await
            })
            .await?;
        match job {
            // A live job ends its own hold; the clock is only the net below it (incident 66).
            Some(job) if app.jobs.get(job.id).is_some() => continue,
            Some(job) if !job.state.is_final() => log(end(app, &job).await),
            _ => log(release(app, vec![hold]).await),
        }
        count += 1;
        tracing::warn!(%attempt, "the hold of attempt {attempt} was left open; it was given back");
    }
    Ok(count)
}

/// Ends jobs that are open in the database, long over, and driven by nobody.
///
/// # Errors
/// A [`DbError`].
pub async fn end_forgotten_once(app: &App) -> Result<(), DbError> {
    let jobs = &app.config.jobs;
    let longest = i64::from(jobs.wait_secs) + i64::from(jobs.run_secs) * i64::from(jobs.attempts);
    let before = app.clock.now().plus_millis(-longest * SECOND_MS - MARGIN_MS);
    let open = app.db.read("open_jobs", async |tx| store::open_jobs(tx).await).await?;
    for job in open.iter().filter(|job| job.created_at < before && !app.jobs.has(job.id)) {
        tracing::warn!(job = %job.id, "job {} was driven by nobody; it was ended", job.id);
        log(end(app, job).await);
    }
    Ok(())
}

/// One that cannot be ended must not keep the others from it.
fn log(result: Result<(), DbError>) {
    if let Err(error) = result {
        tracing::error!(%error, "what was left open could not be ended");
    }
}

async fn end(app: &App, job: &Job) -> Result<(), DbError> {
    let id = job.id;
    let attempt =
        app.db.read("running_attempt", async move |tx| store::running_attempt(tx, id).await).await?;
    let (state, error) = match (job.state, job.origin) {
        (State::Pending, Origin::Request) => {
            (State::Cancelled, ("interrupted", "The connection that waited for this job was closed."))
        }
        (State::Pending, _) => {
            (State::Timeout, ("no_island", "No Island took this job before its deadline."))
        }
        _ => (
            State::Failed,
            ("interrupted", "The coordinator was restarted while this job ran. You were not charged."),
        ),
    };
    let finish = Finish {
        job: id,
        at: app.clock.now(),
        workload: job.workload,
        state,
        attempt,
        charge: MicroCredits::ZERO,
        fee: MicroCredits::ZERO,
        output: None,
        usage: Usage::default(),
        finish_reason: None,
        error: Some((error.0.to_owned(), error.1.to_owned())),
    };
    let done = app.committer.commit_patiently(Command::Finish(Box::new(finish))).await;
    done.map(drop).map_err(|error| DbError::Other(format!("job {id} could not be ended: {error}")))
}

/// Lets a job that was waiting wait on. Answers whether it could.
async fn wait_on(app: &Arc<App>, job: &Job) -> Result<bool, DbError> {
    let Some(market) = app.market.by_id(job.workload).cloned() else { return Ok(false) };
    if job.deadline <= app.clock.now() {
        return Ok(false);
    }
    let (user, key) = (job.user, job.key);
    let found = app
        .db
        .read("waiting_user", async move |tx| {
            let user = accounts::store::user_by_id(tx, user).await?;
            let keys = match &user {
                Some(user) => accounts::store::keys_of(tx, user.id).await?,
                None => Vec::new(),
            };
            Ok::<_, DbError>(user.map(|user| (user, keys)))
        })
        .await?;
    let Some((user, keys)) = found else { return Ok(false) };
    let live = Arc::new(LiveJob::new(job, Arc::clone(&market.workload)));
    if !app.jobs.insert(&live, usize::MAX, usize::MAX) {
        return Ok(false);
    }
    let submission = Submission {
        user: Arc::new(user),
        key: key.and_then(|id| keys.into_iter().find(|key| key.id == id)).map(Arc::new),
        market,
        input: serde_json::value::RawValue::from_string(job.input.to_string()).unwrap_or_default(),
        bid: Some(job.bid),
        region: job.region.clone(),
        priority: job.priority,
        origin: job.origin,
        idempotency: None,
    };
    let mut drive = Drive::new(Arc::clone(app), Arc::clone(&live), &submission, job.clone());
    match drive.place() {
        Ok(Found::Queue(queue, best_ask)) => {
            live.push(Event::Waiting { best_ask });
            tokio::spawn(drive.run(First::Waiting(queue)));
            Ok(true)
        }
        // No Island is connected yet, so nothing else can happen here; were it so, the job would end.
        Ok(Found::Island(..)) | Err(_) => {
            app.jobs.remove(live.id);
            Ok(false)
        }
    }
}

/// Open holds that no running attempt stands behind.
async fn release_orphans(app: &App) -> Result<usize, DbError> {
    let open = app.db.read("open_holds", async |tx| ledger::holds_open(tx).await).await?;
    let count = open.len();
    if count > 0 {
        release(app, open).await?;
    }
    Ok(count)
}

async fn release(app: &App, holds: Vec<TransferId>) -> Result<(), DbError> {
    let now = app.clock.now();
    let commands: Vec<_> = holds.into_iter().map(|hold| LedgerCommand::Release { hold }).collect();
    let balances = app
        .db
        .tx("release_holds", async move |tx| {
            Ok::<_, DbError>(ledger::submit(tx, &commands, now).await?.balances)
        })
        .await?;
    app.live.balances(&balances);
    Ok(())
}
