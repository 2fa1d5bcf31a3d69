//! What has become of a batch, and the wish to cancel it. A batch can be asked for like a job, because existing clients do.

use std::sync::Arc;
use std::time::Duration;

use db::{DbError, Tx};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use types::id::{JobId, UserId};
use types::money::MicroCredits;
use types::units::Units;

use super::{Batch, Child, ChildState, MAX_MERGED_BYTES, State, store};
use crate::app::App;
use crate::jobs::{self, BidSource, Job, JobError, Origin, Usage};

/// How often the database is asked how far a batch is that another coordinator drives.
pub const LOOK: Duration = Duration::from_millis(500);
/// How long a batch that is driven here is left alone without a change.
const LONG: Duration = Duration::from_secs(5);
/// How long the end of a batch that is cancelled is waited for.
const PATIENCE: Duration = Duration::from_secs(15);

/// A batch of this user, with its inputs.
///
/// # Errors
/// [`JobError::NotFound`] if it is not there or another's.
pub async fn batch(app: &App, user: UserId, id: JobId) -> Result<(Batch, Vec<Child>), JobError> {
    let found = app.db.read("batch", async move |tx| with_children(tx, id).await).await?;
    found.filter(|(batch, _)| batch.user == user).ok_or(JobError::NotFound)
}

/// Batches of a user, newest first, with their inputs, and how many there are in all.
///
/// # Errors
/// A [`JobError`].
pub async fn list(
    app: &App,
    user: UserId,
    limit: u32,
    offset: u32,
) -> Result<(Vec<(Batch, Vec<Child>)>, i64), JobError> {
    let found = app
        .db
        .read("batches", async move |tx| {
            let batches = store::batches_of(tx, user, limit, offset).await?;
            let ids: Vec<JobId> = batches.iter().map(|batch| batch.id).collect();
            let children = store::children_of(tx, &ids).await?;
            Ok::<_, DbError>((batches.into_iter().zip(children).collect(), store::count_of(tx, user).await?))
        })
        .await?;
    Ok(found)
}

/// A job of this user with its output, or a batch of theirs as a job: its state in a job's words, what its jobs cost
/// together, and their outputs put together.
///
/// # Errors
/// [`JobError::NotFound`] if it is neither, or another's.
pub async fn find(app: &App, user: UserId, id: JobId) -> Result<(Job, Option<String>), JobError> {
    match jobs::look::find(app, user, id).await {
        Err(JobError::NotFound) => as_job(app, user, id).await,
        found => found,
    }
}

/// A batch of this user as a job.
///
/// # Errors
/// [`JobError::NotFound`] if it is not there or another's.
pub async fn as_job(app: &App, user: UserId, id: JobId) -> Result<(Job, Option<String>), JobError> {
    let found = app
        .db
        .read("batch_as_job", async move |tx| {
            let Some((batch, children)) = with_children(tx, id).await? else { return Ok(None) };
            if batch.user != user {
                return Ok(None);
            }
            let inputs = store::inputs(tx, id).await?;
            let outputs = match batch.state {
                State::Running => Vec::new(),
                _ => outputs(tx, &batch).await?,
            };
            Ok::<_, DbError>(Some((job_of(&batch, &children, &inputs), batch.merge, outputs)))
        })
        .await?;
    let (job, merge, outputs) = found.ok_or(JobError::NotFound)?;
    if outputs.is_empty() {
        return Ok((job, None));
    }
    // Reading millions of elements is nothing for a thread that others wait for.
    let merged = tokio::task::spawn_blocking(move || merge.merge(&outputs)).await;
    Ok((job, Some(merged.map_err(|_| JobError::Internal)?)))
}

async fn with_children(tx: &mut Tx<'_>, id: JobId) -> Result<Option<(Batch, Vec<Child>)>, DbError> {
    let Some(batch) = store::batch(tx, id).await? else { return Ok(None) };
    let children = store::children(tx, id).await?;
    Ok(Some((batch, children)))
}

/// The outputs of what succeeded; nothing if that would be too much.
async fn outputs(tx: &mut Tx<'_>, batch: &Batch) -> Result<Vec<String>, DbError> {
    let length = store::output_length(tx, batch.id).await?;
    if usize::try_from(length).unwrap_or(usize::MAX) > MAX_MERGED_BYTES {
        return Ok(Vec::new());
    }
    store::outputs(tx, batch.id).await
}

fn job_of(batch: &Batch, children: &[Child], inputs: &[String]) -> Job {
    let bid = batch.bid.or_else(|| children.iter().filter_map(|child| child.bid).max());
    let started_at = children.iter().filter_map(|child| child.started_at).min();
    let state = match batch.state {
        State::Running if children.iter().all(|child| child.state == ChildState::Pending) => {
            jobs::State::Pending
        }
        State::Running => jobs::State::Running,
        State::Succeeded => jobs::State::Completed,
        State::Failed => jobs::State::Failed,
        State::Cancelled => jobs::State::Cancelled,
    };
    Job {
        id: batch.id,
        node: batch.node,
        user: batch.user,
        key: batch.key,
        workload: batch.workload,
        origin: Origin::Api,
        state,
        input: Arc::from(format!("{{\"inputs\":[{}]}}", inputs.join(","))),
        bid: bid.unwrap_or_default(),
        unit_bid: MicroCredits::ZERO,
        bid_source: if batch.bid.is_some() { BidSource::Explicit } else { BidSource::Ceiling },
        region: batch.region.clone(),
        model: batch.model.clone(),
        min_trust: batch.min_trust,
        priority: batch.priority,
        created_at: batch.created_at,
        deadline: batch.created_at,
        started_at,
        completed_at: batch.ended_at,
        attempts: 0,
        island: None,
        charge: cost(children),
        units: Units::from_parts(
            children.iter().fold(0, |sum, child| child.units.parts().saturating_add(sum)),
        ),
        usage: usage(children),
        finish_reason: None,
        error: batch.error.clone(),
    }
}

/// What the inputs cost together.
#[must_use]
pub fn cost(children: &[Child]) -> MicroCredits {
    // A hundred of what a job may cost at most is within the range.
    children.iter().fold(MicroCredits::ZERO, |sum, child| sum.plus(child.charge).unwrap_or(sum))
}

/// What was counted of all inputs together, where it was.
#[must_use]
pub fn usage(children: &[Child]) -> Usage {
    let sum = |of: fn(&Usage) -> Option<i64>| {
        children.iter().filter_map(|child| of(&child.usage)).reduce(i64::saturating_add)
    };
    Usage {
        prompt_tokens: sum(|usage| usage.prompt_tokens),
        completion_tokens: sum(|usage| usage.completion_tokens),
    }
}

/// Cancels a job of this user, or what is left of a batch, and waits until it has ended.
///
/// # Errors
/// [`JobError::NotFound`]; [`JobError::Ended`] if it had ended already; [`JobError::Unavailable`] if that takes long, in
/// which case the wish stays.
pub async fn cancel(app: &Arc<App>, user: UserId, id: JobId) -> Result<Arc<Job>, JobError> {
    match jobs::look::cancel(app, user, id).await {
        Err(JobError::NotFound) => cancel_batch(app, user, id).await,
        done => done,
    }
}

async fn cancel_batch(app: &Arc<App>, user: UserId, id: JobId) -> Result<Arc<Job>, JobError> {
    let (batch, _) = batch(app, user, id).await?;
    if batch.state.is_final() {
        return Err(JobError::Ended);
    }
    let now = app.clock.now();
    // Written first, so that it is not forgotten whoever drives the batch, now or after a restart.
    let open = app.db.tx("cancel_batch", async move |tx| store::want_cancelled(tx, id, now).await).await?;
    if !open {
        return Err(JobError::Ended);
    }
    if let Some(live) = app.batches.get(id) {
        live.cancel();
    }
    let until = Instant::now() + PATIENCE;
    let mut changes = Changes::of(app, id);
    loop {
        let (job, _) = as_job(app, user, id).await?;
        if job.state.is_final() {
            return Ok(Arc::new(job));
        }
        if Instant::now() >= until {
            return Err(JobError::Unavailable(
                "The batch has not ended yet. What is left of it will be cancelled.",
            ));
        }
        changes.next().await;
    }
}

/// Tells that something has become of a batch, or may have.
#[derive(Debug)]
pub struct Changes {
    app: Arc<App>,
    id: JobId,
    told: Option<watch::Receiver<()>>,
}

impl Changes {
    /// Of this batch, from now on.
    #[must_use]
    pub fn of(app: &Arc<App>, id: JobId) -> Self {
        Self { app: Arc::clone(app), id, told: app.batches.get(id).map(|live| live.changes()) }
    }

    /// Waits for the next one; not for long when another coordinator drives the batch.
    pub async fn next(&mut self) {
        let Some(told) = &mut self.told else {
            sleep(LOOK).await;
            self.told = self.app.batches.get(self.id).map(|live| live.changes());
            return;
        };
        let changed = timeout(LONG, told.changed()).await;
        if matches!(changed, Ok(Err(_))) {
            // It is driven here no more: then it has ended, or is soon driven elsewhere.
            self.told = None;
        }
    }
}
