//! Jobs as they are: one, a list, what a line of a statement was for; and calling one off.

use std::collections::HashMap;
use std::sync::Arc;

use types::id::{AttemptId, Id, JobId, TransferId, UserId};

use super::{Job, JobError, elsewhere};
use crate::app::App;

/// A job of this user, as stored, with its output.
///
/// # Errors
/// [`JobError::NotFound`] if it is not there or another's.
pub async fn find(app: &App, user: UserId, id: JobId) -> Result<(Job, Option<String>), JobError> {
    let found = app
        .db
        .read("job", async move |tx| {
            let Some(job) = super::store::job(tx, id).await? else { return Ok(None) };
            let output = super::store::output(tx, id).await?;
            Ok::<_, db::DbError>(Some((job, output)))
        })
        .await?;
    found.filter(|(job, _)| job.user == user).ok_or(JobError::NotFound)
}

/// Jobs of a user, newest first, with their outputs, and how many there are in all.
///
/// # Errors
/// A [`JobError`].
pub async fn list(
    app: &App,
    user: UserId,
    limit: u32,
    offset: u32,
) -> Result<(Vec<(Job, Option<String>)>, i64), JobError> {
    let found = app
        .db
        .read("jobs", async move |tx| {
            let rows = super::store::jobs_of(tx, user, limit, offset).await?;
            Ok::<_, db::DbError>((rows, super::store::count_of(tx, user).await?))
        })
        .await?;
    Ok(found)
}

/// The newest completed jobs of a user for a Cargo, with the names of their Islands.
///
/// # Errors
/// A [`JobError`].
pub async fn recent_images(
    app: &App,
    user: UserId,
    workload: i64,
    limit: u32,
) -> Result<Vec<(Job, Option<String>)>, JobError> {
    let found = app
        .db
        .read("recent_images", async move |tx| super::store::completed_of(tx, user, workload, limit).await)
        .await?;
    Ok(found)
}

/// The newest job of a user for a Cargo that was asked for on a page and has not ended, whoever drives it.
///
/// # Errors
/// A [`JobError`].
pub async fn open_on_page(app: &App, user: UserId, workload: i64) -> Result<Option<JobId>, JobError> {
    let found = app
        .db
        .read("open_on_page", async move |tx| super::store::open_on_page(tx, user, workload).await)
        .await?;
    Ok(found)
}

/// What a line of a statement was for.
#[derive(Clone, Debug)]
pub struct Charged {
    /// The job.
    pub job: JobId,
    /// The Cargo's name, while the network still has it.
    pub workload: Option<String>,
    /// The Island's name.
    pub island: String,
}

/// What these lines of a statement were for, as far as they charged a job.
///
/// # Errors
/// A [`JobError`].
pub async fn charged_by(
    app: &App,
    lines: &[ledger::statement::Line],
) -> Result<HashMap<TransferId, Charged>, JobError> {
    let jobs = lines.iter().filter(|line| line.kind == ledger::TransferKind::Job);
    let attempts: Vec<AttemptId> = jobs.map(|line| AttemptId::from_i64(line.transfer.get())).collect();
    let ids = attempts.clone();
    let places = app.db.read("charged_by", async move |tx| super::store::places_of(tx, &ids).await).await?;
    let charged = attempts.into_iter().zip(places).filter_map(|(attempt, place)| {
        let (job, workload, island) = place?;
        let workload = app.market.by_id(workload).map(|market| market.workload.name.clone());
        Some((TransferId::from_i64(attempt.get()), Charged { job, workload, island }))
    });
    Ok(charged.collect())
}

/// Cancels a job of this user and waits until it has ended. One that another coordinator drives is cancelled by that one.
///
/// # Errors
/// [`JobError::NotFound`]; [`JobError::Ended`] if it had ended already; [`JobError::Unavailable`] if the other coordinator does
/// not answer, in which case the wish stays.
pub async fn cancel(app: &App, user: UserId, id: JobId) -> Result<Arc<Job>, JobError> {
    let (job, _) = find(app, user, id).await?;
    if job.state.is_final() {
        return Err(JobError::Ended);
    }
    let Some(live) = app.jobs.get(id) else { return elsewhere::cancel(app, user, id).await };
    live.cancel();
    Ok(live.ended().await)
}
