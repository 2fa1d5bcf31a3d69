//! Jobs that another coordinator drives. What it has in memory is not here; the database is asked instead, and a wish to
//! cancel is written there for it to read.

use std::sync::Arc;
use std::time::Duration;

use db::DbError;
use tokio::time::{Instant, sleep};
use types::id::{JobId, UserId};

use super::look::find;
use super::{Job, JobError, store};
use crate::app::App;

/// How often the database is asked how far such a job is.
pub const LOOK: Duration = Duration::from_millis(500);
/// How long the other coordinator is waited for.
const PATIENCE: Duration = Duration::from_secs(15);

/// Asks for a job of this user to be cancelled and waits until it has ended.
///
/// # Errors
/// A [`JobError`].
pub async fn cancel(app: &App, user: UserId, id: JobId) -> Result<Arc<Job>, JobError> {
    want_cancelled(app, id).await?;
    let until = Instant::now() + PATIENCE;
    loop {
        let (job, _) = find(app, user, id).await?;
        if job.state.is_final() {
            return Ok(Arc::new(job));
        }
        if Instant::now() >= until {
            return Err(JobError::Unavailable(
                "The coordinator that runs this job does not answer. It will cancel the job when it does.",
            ));
        }
        sleep(LOOK).await;
    }
}

/// Notes the wish to cancel a job, for the coordinator that drives it.
///
/// # Errors
/// [`JobError::Ended`] if it has ended already, and any other [`JobError`].
pub async fn want_cancelled(app: &App, id: JobId) -> Result<(), JobError> {
    let now = app.clock.now();
    let open = app.db.tx("want_cancelled", async move |tx| store::want_cancelled(tx, id, now).await).await?;
    if open { Ok(()) } else { Err(JobError::Ended) }
}

/// Does what was wished through another coordinator for jobs of this one: cancels them, raises their bids.
///
/// # Errors
/// A [`DbError`].
pub async fn wishes_once(app: &App) -> Result<(), DbError> {
    let node = app.node;
    let wanted = app.db.read("to_cancel", async move |tx| store::to_cancel(tx, node).await).await?;
    for live in wanted.into_iter().filter_map(|id| app.jobs.get(id)) {
        live.cancel();
    }
    super::rebid::apply_raised_once(app).await
}
