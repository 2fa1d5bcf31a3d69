//! What a crash left: every open attempt is ended, every hold given back, waiting jobs wait on (I7).
//!
//! A coordinator keeps what an Island streams in memory until the job ends, so an attempt that was open when it was killed
//! has nothing stored to be charged for: its hold is released and its job ends `failed` with the code
//! `interrupted`. The same code ends what anything else may have left behind while the coordinator runs.
//!
//! Whose job it is stands in its row. A coordinator ends its own jobs only: those it finds when it is started again, and those
//! of a silent coordinator once it has made them its own ([`take_over`]), which no two can do.

use std::sync::Arc;
use std::time::Duration;

use db::DbError;
use futures_util::{StreamExt, stream};
use ledger::Command as LedgerCommand;
use types::id::{AttemptId, Id, TransferId};
use types::money::MicroCredits;
use types::time::SECOND_MS;

use super::command::{Command, Finish};
use super::drive::{Drive, First};
use super::live::LiveJob;
use super::submit::Submission;
use super::{Job, JobError, Origin, State, Usage, input, store};
use crate::app::App;
use crate::idempotency::Once;
use crate::marketplace::recent::REMEMBERED;
use crate::nodes::Stale;
use crate::{accounts, batches, nodes};

/// Jobs ended at once.
const AT_ONCE: usize = 256;
/// How long after it must be over a job that nobody drives is ended.
const MARGIN_MS: i64 = 300 * SECOND_MS;
/// How long to wait before another try at a job that could not be ended.
const PAUSE: Duration = Duration::from_secs(1);

/// Ends what was running and takes up what was waiting. To be called before anything is served.
///
/// # Errors
/// A [`DbError`].
pub async fn at_start(app: &Arc<App>) -> Result<(), DbError> {
    let open = open_jobs(app).await?;
    let (mut ended, mut waiting) = (0_usize, 0_usize);
    // Many at once, so that they share commits.
    let mut jobs = stream::iter(open.iter().map(|job| resume(app, job))).buffer_unordered(AT_ONCE);
    while let Some(resumed) = jobs.next().await {
        match resumed? {
            Some(waits) => {
                waits.drive();
                waiting += 1;
            }
            None => ended += 1,
        }
    }
    let orphans = release_orphans(app).await?;
    remember_recent(app).await?;
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

/// So that quotes know what jobs usually take.
async fn remember_recent(app: &App) -> Result<(), DbError> {
    for market in app.market.all() {
        let workload = market.workload.id;
        let recent = app
            .db
            .read("recent_jobs", async move |tx| store::recent_of(tx, workload, REMEMBERED).await)
            .await?;
        recent.into_iter().rev().for_each(|(units, run_ms)| market.recent.note(units, run_ms));
    }
    Ok(())
}

/// Jobs of this coordinator that have not ended, oldest first.
///
/// # Errors
/// A [`DbError`].
pub async fn open_jobs(app: &App) -> Result<Vec<Job>, DbError> {
    let number = app.node.number;
    app.db.read("open_jobs", async move |tx| store::open_of(tx, number).await).await
}

/// Makes the jobs of a silent coordinator our own, unless it gave a sign of life or another was first. What is answered is
/// to be given to [`resume_all`].
///
/// # Errors
/// A [`DbError`].
pub async fn take_over(app: &App, stale: Stale) -> Result<Vec<Job>, DbError> {
    let (node, patience) = (app.node, nodes::patience(&app.config.coordinators));
    let jobs = app
        .db
        .tx("take_over", async move |tx| {
            if !nodes::store::owns(tx, node).await? || !nodes::store::free(tx, stale, patience).await? {
                return Ok(None);
            }
            let jobs = store::open_of(tx, stale.number).await?;
            store::hand_over(tx, stale.number, node).await?;
            batches::recover::hand_over(tx, stale.number, node).await?;
            Ok::<_, DbError>(Some(jobs))
        })
        .await?;
    if let Some(jobs) = &jobs {
        tracing::warn!(
            node = stale.number,
            jobs = jobs.len(),
            "coordinator {} is not heard of any more; its {} open jobs are taken over",
            stale.number,
            jobs.len()
        );
    }
    Ok(jobs.unwrap_or_default())
}

/// Ends or takes up jobs that were taken over, until all are.
pub async fn resume_all(app: &Arc<App>, mut jobs: Vec<Job>) {
    while !jobs.is_empty() && !app.is_stopping() {
        let tried = stream::iter(jobs).map(|job| try_resume(Arc::clone(app), job)).buffer_unordered(AT_ONCE);
        let left: Vec<Option<Job>> = tried.collect().await;
        jobs = left.into_iter().flatten().collect();
        if !jobs.is_empty() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Answers the job if that has to be tried again.
async fn try_resume(app: Arc<App>, job: Job) -> Option<Job> {
    match resume(&app, &job).await {
        Ok(Some(waits)) => waits.drive(),
        Ok(None) => {}
        Err(error) => {
            tracing::warn!(%error, job = %job.id, "job {} could not be taken over yet", job.id);
            return Some(job);
        }
    }
    None
}

/// A job in its place in the queue, to be driven on.
#[derive(Debug)]
pub struct Waits {
    /// The job and what it takes to drive it.
    pub drive: Drive,
    /// Its place.
    pub place: First,
}

impl Waits {
    /// Drives it on, in a task of its own.
    fn drive(self) {
        tokio::spawn(self.drive.run(self.place));
    }
}

/// Lets a job that was waiting wait on, and ends any other. Answers the one that waits.
///
/// # Errors
/// A [`DbError`].
pub async fn resume(app: &Arc<App>, job: &Job) -> Result<Option<Waits>, DbError> {
    if job.state == State::Pending
        && job.origin != Origin::Request
        && let Some(waits) = wait_on(app, job).await?
    {
        return Ok(Some(waits));
    }
    end(app, job).await?;
    Ok(None)
}

/// Ends open holds whose time has passed: of our own jobs that are not alive here, and of no job at all. Those of another
/// coordinator are its own affair, or of whoever takes it over.
///
/// # Errors
/// A [`DbError`].
pub async fn expire_once(app: &App) -> Result<usize, DbError> {
    let now = app.clock.now();
    let expired = app
        .db
        .read_behind("expired_holds", async move |tx| {
            let holds = ledger::holds_expired(tx, now, 256).await?;
            let attempts: Vec<_> = holds.iter().map(|hold| AttemptId::from_i64(hold.get())).collect();
            let drivers = store::drivers_of(tx, &attempts).await?;
            let mut found = Vec::new();
            for (hold, driver) in holds.into_iter().zip(drivers) {
                let job = match driver {
                    Some((job, _)) => store::job(tx, job).await?,
                    None => None,
                };
                found.push((hold, job));
            }
            Ok::<_, DbError>(found)
        })
        .await?;
    let mut count = 0;
    for (hold, job) in expired {
        match job {
            // A live job ends its own hold; the clock is only the net below it (incident 66).
            Some(job) if job.node != app.node.number || app.jobs.has(job.id) => continue,
            Some(job) => log(end(app, &job).await),
            None => log(release(app, vec![hold]).await),
        }
        count += 1;
        tracing::warn!(%hold, "the hold {hold} was left open; it was given back");
    }
    Ok(count)
}

/// Ends jobs of ours that are open in the database, long over, and driven by nobody.
///
/// # Errors
/// A [`DbError`].
pub async fn end_forgotten_once(app: &App) -> Result<(), DbError> {
    let jobs = &app.config.jobs;
    let longest = i64::from(jobs.wait_secs) + i64::from(jobs.run_secs) * i64::from(jobs.attempts);
    let before = app.clock.now().plus_millis(-longest * SECOND_MS - MARGIN_MS);
    let open = open_jobs(app).await?;
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
        user: job.user,
        key: job.key,
        workload: job.workload,
        state,
        attempt,
        charge: MicroCredits::ZERO,
        fee: MicroCredits::ZERO,
        units: types::units::Units::ZERO,
        output: None,
        message: None,
        usage: Usage::default(),
        finish_reason: None,
        error: Some((error.0.to_owned(), error.1.to_owned())),
        unserved: (error.0 == "no_island").then_some(job.unit_bid),
    };
    match app.committer.commit_patiently(Command::Finish(Arc::new(finish))).await {
        // Somebody else was first, which is as good.
        Ok(_) | Err(JobError::Ended) => Ok(()),
        Err(error) => Err(DbError::Other(format!("job {id} could not be ended: {error}"))),
    }
}

/// Lets a job that was waiting wait on, if it can.
async fn wait_on(app: &Arc<App>, job: &Job) -> Result<Option<Waits>, DbError> {
    let Some(market) = app.market.by_id(job.workload).cloned() else { return Ok(None) };
    if job.deadline <= app.clock.now() {
        return Ok(None);
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
    let Some((user, keys)) = found else { return Ok(None) };
    let input = serde_json::value::RawValue::from_string(job.input.to_string()).unwrap_or_default();
    // What was fine when it came may not be so under another configuration.
    let Ok(checked) = input::check(&market.workload, &input) else { return Ok(None) };
    let live = Arc::new(LiveJob::new(job, Arc::clone(&market.workload), checked.request));
    if !app.jobs.insert(&live, usize::MAX, usize::MAX) {
        return Ok(None);
    }
    let submission = Submission {
        user: Arc::new(user),
        key: key.and_then(|id| keys.into_iter().find(|key| key.id == id)).map(Arc::new),
        market,
        input,
        bid: Some(job.bid),
        region: job.region.clone(),
        model: job.model.clone(),
        min_trust: job.min_trust,
        priority: job.priority,
        origin: job.origin,
        once: Once::unclaimed(),
    };
    let mut drive = Drive::new(Arc::clone(app), Arc::clone(&live), &submission, job.clone());
    // An Island may be free at once; either way the permit comes through the queue.
    match drive.place_again() {
        Ok(queue) => Ok(Some(Waits { drive, place: First::Waiting(queue) })),
        Err(_) => {
            app.jobs.remove(live.id);
            Ok(None)
        }
    }
}

/// Gives open holds back that no attempt in progress stands behind. Both are looked up in one snapshot, so that no hold of a
/// job that is just beginning, here or elsewhere, is among them. Answers how many there were.
///
/// # Errors
/// A [`DbError`].
pub async fn release_orphans(app: &App) -> Result<usize, DbError> {
    let orphans = app
        .db
        .read("open_holds", async |tx| {
            let open: Vec<TransferId> = ledger::open_holds(tx).await?.iter().map(|hold| hold.id).collect();
            let attempts: Vec<_> = open.iter().map(|hold| AttemptId::from_i64(hold.get())).collect();
            let drivers = store::drivers_of(tx, &attempts).await?;
            let alone = open.into_iter().zip(drivers).filter(|(_, driver)| driver.is_none());
            Ok::<_, DbError>(alone.map(|(hold, _)| hold).collect::<Vec<_>>())
        })
        .await?;
    let count = orphans.len();
    if count > 0 {
        release(app, orphans).await?;
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
