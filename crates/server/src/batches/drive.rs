//! Drives one batch to its end: starts its inputs as jobs, at most so many at once, and decides what follows from how
//! they end.
//!
//! One task for each batch. It keeps nothing that is not in the database: when it dies, another one begins with what it finds
//! there ([`super::recover`]). While credits are short and other inputs of the batch run, it waits for what those give back.

use std::collections::{BTreeMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use db::DbError;
use futures_util::FutureExt;
use serde_json::value::RawValue;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use types::id::JobId;

use super::live::LiveBatch;
use super::{Batch, Child, ChildState, FailMode, State, store};
use crate::accounts::api_keys::ApiKey;
use crate::accounts::{self, SharedUser};
use crate::app::App;
use crate::hooks::events::{BatchData, Event, Kind};
use crate::idempotency::Once;
use crate::jobs::submit::{Submission, submit_as};
use crate::jobs::{self, JobError, Origin};
use crate::marketplace::Market;

/// How long until an input is tried again that could not be started just now.
const RETRY: Duration = Duration::from_millis(250);
/// How often the database is asked about a job that is not heard of.
const LOOK: Duration = Duration::from_millis(500);
/// How long to wait for a job before looking whether it is still there.
const FORGOTTEN: Duration = Duration::from_secs(30);
/// With these codes no other input of the batch could be paid for either.
const DRY: [&str; 5] =
    ["insufficient_credits", "verification_required", "account_frozen", "in_debt", "key_revoked"];

/// Drives a batch, unless that is done already.
pub fn start(app: &Arc<App>, id: JobId) {
    let Some(live) = app.batches.insert(id) else { return };
    let app = Arc::clone(app);
    tokio::spawn(async move {
        match AssertUnwindSafe(drive(&app, id, &live)).catch_unwind().await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, batch = %id, "batch {id} could not be driven on; it is tried again");
            }
            Err(_) => tracing::error!(batch = %id, "driving batch {id} panicked"),
        }
        app.batches.remove(id);
    });
}

async fn drive(app: &Arc<App>, id: JobId, live: &Arc<LiveBatch>) -> Result<(), DbError> {
    let Some((mut driver, spender)) = Driver::load(app, id, live).await? else { return Ok(()) };
    let result = driver.run(spender).await;
    live.note_changed();
    result
}

/// Whose jobs the inputs become.
struct Spender {
    user: SharedUser,
    key: Option<Arc<ApiKey>>,
    market: Arc<Market>,
}

/// A batch and what is known of its inputs.
struct Driver {
    app: Arc<App>,
    live: Arc<LiveBatch>,
    batch: Batch,
    waiting: VecDeque<(usize, JobId)>,
    /// Jobs that have not ended, and their positions.
    open: BTreeMap<JobId, usize>,
    ends: JoinSet<(JobId, Option<End>)>,
    succeeded: usize,
    /// The first that failed, and how many did.
    failure: Option<(usize, String)>,
    /// Nothing is started any more.
    stop: Option<Stop>,
    /// The jobs that run have been told to end.
    cancelled: bool,
}

/// How a job ended.
struct End {
    state: ChildState,
    error: Option<(String, String)>,
}

/// Why nothing is started any more.
enum Stop {
    /// The consumer wants it no more.
    Cancelled,
    /// An input failed, and one that fails is all that matters.
    Failed { position: usize, code: String, text: String },
    /// The account cannot pay, or may not.
    Dry { code: String, text: String },
}

/// What became of an input that was to be started.
enum Started {
    Taken,
    Later,
    Refused(JobError),
    Dry(JobError),
    Replaced,
}

impl Driver {
    /// Reads a batch and what has become of it; nothing if it is not ours or has ended.
    async fn load(
        app: &Arc<App>,
        id: JobId,
        live: &Arc<LiveBatch>,
    ) -> Result<Option<(Self, Result<Spender, JobError>)>, DbError> {
        let found = app
            .db
            .read("batch", async move |tx| {
                let Some(batch) = store::batch(tx, id).await? else { return Ok(None) };
                let children = store::children(tx, id).await?;
                let user = accounts::store::user_by_id(tx, batch.user).await?;
                let key = match batch.key {
                    Some(key) => accounts::store::key_of(tx, batch.user, key).await?,
                    None => None,
                };
                Ok::<_, DbError>(Some((batch, children, user, key)))
            })
            .await?;
        let Some((batch, children, user, key)) = found else { return Ok(None) };
        if batch.state.is_final() || batch.node != app.node.number {
            return Ok(None);
        }
        let spender = match (user, app.market.by_id(batch.workload)) {
            (Some(_), _) if batch.key.is_some() && key.is_none() => Err(JobError::KeyRevoked),
            (Some(user), Some(market)) => {
                Ok(Spender { user: Arc::new(user), key: key.map(Arc::new), market: Arc::clone(market) })
            }
            _ => Err(JobError::UnknownWorkload),
        };
        if batch.cancel_wanted {
            live.cancel();
        }
        let mut driver = Self {
            app: Arc::clone(app),
            live: Arc::clone(live),
            batch,
            waiting: VecDeque::new(),
            open: BTreeMap::new(),
            ends: JoinSet::new(),
            succeeded: 0,
            failure: None,
            stop: None,
            cancelled: false,
        };
        children.into_iter().for_each(|child| driver.take_up(child));
        Ok(Some((driver, spender)))
    }

    fn take_up(&mut self, child: Child) {
        match child.state {
            // Whether it was written is being found out: it must not be taken twice.
            ChildState::Pending if self.app.jobs.has(child.job) => self.follow(child.position, child.job),
            ChildState::Pending => self.waiting.push_back((child.position, child.job)),
            ChildState::Queued | ChildState::Running => self.follow(child.position, child.job),
            state => self.note(child.position, End { state, error: child.error }),
        }
    }

    /// Starts inputs and follows them until there is nothing more to do.
    async fn run(&mut self, spender: Result<Spender, JobError>) -> Result<(), DbError> {
        let (live, app) = (Arc::clone(&self.live), Arc::clone(&self.app));
        if let Err(error) = &spender {
            self.dry(error);
        }
        // What was found when the batch was taken up may mean the end of jobs that were taken up after it.
        match &self.stop {
            Some(Stop::Dry { .. }) => self.leave_queue(),
            Some(Stop::Failed { .. } | Stop::Cancelled) => self.cancel_jobs(),
            None => {}
        }
        loop {
            if live.is_cancelled() && !self.cancelled {
                self.stop.get_or_insert(Stop::Cancelled);
                self.cancel_jobs();
            }
            let blocked = match &spender {
                Ok(spender) if self.stop.is_none() => match self.fill(spender).await? {
                    Some(blocked) => blocked,
                    None => return Ok(()),
                },
                _ => false,
            };
            // What is stored of a job that ends because we stop is for the next one to look at.
            if app.is_stopping() {
                return Ok(());
            }
            if self.open.is_empty() && (self.waiting.is_empty() || self.stop.is_some()) {
                return self.finish().await;
            }
            tokio::select! {
                biased;
                () = app.stopping() => return Ok(()),
                () = live.cancelled(), if !self.cancelled => {}
                Some(ended) = self.ends.join_next(), if !self.ends.is_empty() => {
                    let (job, end) = ended.map_err(|error| DbError::Other(error.to_string()))?;
                    self.ended(job, end);
                }
                () = sleep(RETRY), if blocked => {}
            }
            live.note_changed();
        }
    }

    /// Starts as many inputs as may run. Answers whether one could not be started just now; nothing if this coordinator is
    /// one no more.
    async fn fill(&mut self, spender: &Spender) -> Result<Option<bool>, DbError> {
        while self.open.len() < self.batch.parallelism && !self.live.is_cancelled() {
            let Some(&(position, job)) = self.waiting.front() else { break };
            match self.start(spender, job).await? {
                Started::Taken => {
                    self.waiting.pop_front();
                    self.follow(position, job);
                }
                Started::Later => return Ok(Some(true)),
                Started::Replaced => return Ok(None),
                Started::Refused(error) => {
                    self.waiting.pop_front();
                    self.refuse(position, job, &error).await?;
                }
                // Those that run may give some of their credits back.
                Started::Dry(JobError::InsufficientCredits { .. }) if !self.open.is_empty() => break,
                Started::Dry(error) => self.dry(&error),
            }
            if self.stop.is_some() {
                break;
            }
        }
        Ok(Some(false))
    }

    async fn start(&self, spender: &Spender, job: JobId) -> Result<Started, DbError> {
        let read = self.app.db.read("batch_input", async move |tx| store::input(tx, job).await).await?;
        let input = RawValue::from_string(read.unwrap_or_default())
            .map_err(|error| DbError::Other(format!("an input of a batch cannot be read: {error}")))?;
        let submission = Submission {
            user: Arc::clone(&spender.user),
            key: spender.key.clone(),
            market: Arc::clone(&spender.market),
            input,
            bid: self.batch.bid,
            region: self.batch.region.clone(),
            model: self.batch.model.clone(),
            min_trust: self.batch.min_trust,
            priority: self.batch.priority,
            origin: Origin::Api,
            once: Once::unclaimed(),
        };
        Ok(match submit_as(&self.app, submission, Some(job)).await {
            // What is in doubt is followed until it is known.
            Ok(_) | Err(JobError::InDoubt) => Started::Taken,
            Err(JobError::TooManyJobs | JobError::Unavailable(_)) => Started::Later,
            Err(JobError::Replaced) => Started::Replaced,
            Err(
                error @ (JobError::InsufficientCredits { .. }
                | JobError::Unverified
                | JobError::Frozen
                | JobError::InDebt { .. }
                | JobError::KeyRevoked),
            ) => Started::Dry(error),
            Err(error) => Started::Refused(error),
        })
    }

    fn follow(&mut self, position: usize, job: JobId) {
        self.open.insert(job, position);
        let app = Arc::clone(&self.app);
        self.ends.spawn(async move { (job, end_of(&app, job).await) });
    }

    fn ended(&mut self, job: JobId, end: Option<End>) {
        let Some(position) = self.open.remove(&job) else { return };
        match end {
            Some(end) => self.note(position, end),
            // It was in doubt, and was not written.
            None => self.waiting.push_front((position, job)),
        }
    }

    /// What follows from the end of an input.
    fn note(&mut self, position: usize, end: End) {
        match end.state {
            ChildState::Succeeded => self.succeeded += 1,
            ChildState::Failed => {
                let (code, text) =
                    end.error.unwrap_or_else(|| ("failed".to_owned(), "It failed.".to_owned()));
                self.failure.get_or_insert_with(|| (position, text.clone()));
                if self.stop.is_some() {
                    return;
                }
                if DRY.contains(&code.as_str()) {
                    self.stop = Some(Stop::Dry { code, text });
                    self.leave_queue();
                } else if self.batch.fail_mode == FailMode::FailFast {
                    self.stop = Some(Stop::Failed { position, code, text });
                    self.cancel_jobs();
                }
            }
            // One that its user cancelled is no failure.
            _ => {}
        }
    }

    /// Notes that an input is refused for its own sake.
    async fn refuse(&mut self, position: usize, job: JobId, error: &JobError) -> Result<(), DbError> {
        let (code, text) = (error.code(), sentence(error));
        let stored = (code, text.clone());
        self.app
            .db
            .tx("refuse_batch_input", async move |tx| store::refuse(tx, job, (stored.0, &stored.1)).await)
            .await?;
        self.note(position, End { state: ChildState::Failed, error: Some((code.to_owned(), text)) });
        Ok(())
    }

    fn dry(&mut self, error: &JobError) {
        self.stop.get_or_insert(Stop::Dry { code: error.code().to_owned(), text: sentence(error) });
        self.leave_queue();
    }

    /// Jobs of this batch that wait for an Island wait no longer; those that run come to their end.
    fn leave_queue(&self) {
        let Some(market) = self.app.market.by_id(self.batch.workload) else { return };
        for job in self.open.keys().filter(|job| market.place_in_queue(**job).is_some()) {
            self.cancel_job(*job);
        }
    }

    fn cancel_jobs(&mut self) {
        self.cancelled = true;
        self.open.keys().for_each(|job| self.cancel_job(*job));
    }

    fn cancel_job(&self, job: JobId) {
        if let Some(live) = self.app.jobs.get(job) {
            live.cancel();
        }
    }

    /// Writes the end of the batch.
    async fn finish(&self) -> Result<(), DbError> {
        let (state, error, skipped) = self.verdict();
        let (id, now) = ((self.batch.id, self.batch.node), self.app.clock.now());
        let (hooks, user) = (Arc::clone(&self.app.hooks), self.batch.user);
        let told = BatchData { id: id.0, status: state.name(), inputs: self.batch.size, completed_at: now };
        self.app
            .db
            .tx("finish_batch", async move |tx| {
                let error = error.as_ref().map(|(code, text)| (code.as_str(), text.as_str()));
                if store::finish(tx, id, state, error, now).await? {
                    store::close(tx, id.0, (&skipped.0, &skipped.1)).await?;
                    hooks.tell(tx, user, Event::new(Kind::BatchCompleted, &told), now).await?;
                }
                Ok::<_, DbError>(())
            })
            .await?;
        metrics::counter!("archipelago_batches_total", "state" => state.name()).increment(1);
        Ok(())
    }

    /// How the batch ended, and what is said of inputs that were not started.
    fn verdict(&self) -> (State, Option<(String, String)>, (String, String)) {
        let size = self.batch.size;
        match &self.stop {
            Some(Stop::Cancelled) => {
                let skipped =
                    ("cancelled".to_owned(), "The batch was cancelled before this began.".to_owned());
                (State::Cancelled, None, skipped)
            }
            Some(Stop::Failed { position, code, text }) => {
                let why = format!("inputs[{position}] failed: {text} The others were cancelled (fail_fast).");
                let skipped = "Not started, because another input failed (fail_fast).".to_owned();
                (State::Failed, Some((code.clone(), why)), ("not_started".to_owned(), skipped))
            }
            Some(Stop::Dry { code, text }) => {
                let why = format!("{text} {} of {size} inputs were done.", self.succeeded);
                (State::Failed, Some((code.clone(), why)), (code.clone(), format!("Not started: {text}")))
            }
            None => self.verdict_of_all(),
        }
    }

    fn verdict_of_all(&self) -> (State, Option<(String, String)>, (String, String)) {
        let skipped = ("not_started".to_owned(), "Not started.".to_owned());
        match &self.failure {
            _ if self.succeeded > 0 => (State::Succeeded, None, skipped),
            Some((position, text)) => {
                let why = format!("None of the inputs succeeded. inputs[{position}]: {text}");
                (State::Failed, Some(("all_failed".to_owned(), why)), skipped)
            }
            // All of them were cancelled one by one.
            None => (State::Cancelled, None, skipped),
        }
    }
}

/// Waits for the end of a job; nothing if it turns out that there is no such job.
async fn end_of(app: &App, job: JobId) -> Option<End> {
    loop {
        if let Some(live) = app.jobs.get(job) {
            // One that could not be written goes without an end, so it is looked at again.
            if let Ok(ended) = timeout(FORGOTTEN, live.ended()).await {
                return Some(End { state: ChildState::of_job(ended.state), error: ended.error.clone() });
            }
            continue;
        }
        match app.db.read("batch_job", async move |tx| jobs::store::job(tx, job).await).await {
            Ok(None) if !app.jobs.has(job) => return None,
            Ok(Some(found)) if found.state.is_final() => {
                return Some(End { state: ChildState::of_job(found.state), error: found.error });
            }
            _ => sleep(LOOK).await,
        }
    }
}

/// What went wrong, as a sentence.
fn sentence(error: &JobError) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let end = if text.ends_with('.') { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}
