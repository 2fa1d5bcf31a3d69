//! A job comes in: check it, find an Island or a place in the queue, write it, and let it run.

use std::sync::Arc;
use std::time::Duration;

use market::Order;
use serde_json::value::RawValue;
use tokio::time::timeout;
use types::id::{Id, IslandId, JobId};
use types::money::{MAX_AMOUNT, MicroCredits};
use types::time::{SECOND_MS, Timestamp};
use types::units::Units;

use super::command::{Command, Open};
use super::commit::{Done, HOLD_MARGIN_MS};
use super::drive::{Drive, First};
use super::input::Input;
use super::live::{Event, LiveJob};
use super::{Attempt, BidSource, Job, JobError, Origin, State, Usage, input};
use crate::accounts::api_keys::ApiKey;
use crate::accounts::{SharedUser, User};
use crate::app::App;
use crate::idempotency::Once;
use crate::islands::session::Session;
use crate::marketplace::{Market, Permit, Placed, Workload};

/// What a consumer wants.
#[derive(Debug)]
pub struct Submission {
    /// Who.
    pub user: SharedUser,
    /// With which key.
    pub key: Option<Arc<ApiKey>>,
    /// Which Cargo.
    pub market: Arc<Market>,
    /// What is asked.
    pub input: Box<RawValue>,
    /// The most it may cost, if the consumer said so.
    pub bid: Option<MicroCredits>,
    /// Where the Island must stand.
    pub region: Option<String>,
    /// The model it wants.
    pub model: Option<String>,
    /// How far its Island must be trusted: 0 new, 1 established, 2 approved by the operator.
    pub min_trust: u8,
    /// Breaks ties between jobs of the same user.
    pub priority: u8,
    /// How it came in.
    pub origin: Origin,
    /// The request's claim on its key, and how it is answered (I9).
    pub once: Once<Job>,
}

/// A job that was taken.
#[derive(Debug)]
pub struct Accepted {
    /// The job, as stored.
    pub job: Job,
    /// The job while it lives; nothing if it is a repeated request whose job has ended.
    pub live: Option<Arc<LiveJob>>,
    /// Whether the same request had been taken before.
    pub replayed: bool,
}

/// How long to wait for the database before saying that it is not known whether the job was taken.
const PATIENCE: Duration = Duration::from_secs(30);

/// Takes a job. It is durable when this answers.
///
/// Runs in a task of its own: a consumer who goes away in the middle cannot leave a job that is written but not driven.
///
/// # Errors
/// A [`JobError`]; then nothing is held, charged or sent anywhere (with [`JobError::InDoubt`] that is not known).
pub async fn submit(app: &Arc<App>, submission: Submission) -> Result<Accepted, JobError> {
    submit_as(app, submission, None).await
}

/// The same under an id that was made for this job before, so that it cannot be taken twice.
///
/// # Errors
/// As [`submit`].
pub async fn submit_as(
    app: &Arc<App>,
    submission: Submission,
    id: Option<JobId>,
) -> Result<Accepted, JobError> {
    let task = tokio::spawn(take(Arc::clone(app), submission, id));
    match timeout(PATIENCE, task).await {
        Ok(Ok((taken, unread))) => {
            unread.was_read();
            taken
        }
        Ok(Err(error)) => {
            tracing::error!(%error, "taking a job failed");
            Err(JobError::Internal)
        }
        Err(_) => Err(JobError::InDoubt),
    }
}

async fn take(
    app: Arc<App>,
    submission: Submission,
    id: Option<JobId>,
) -> (Result<Accepted, JobError>, Unread) {
    let waits = submission.origin == Origin::Request;
    let taken = take_for(app, submission, id).await;
    let live = match &taken {
        Ok(Accepted { live: Some(live), replayed: false, .. }) if waits => Some(Arc::clone(live)),
        _ => None,
    };
    (taken, Unread(live))
}

/// Goes with the answer to a request that waits for its job. If whoever asked has left, for one reason or another, it is dropped
/// with the answer, and the job is cancelled: nobody waits for it.
struct Unread(Option<Arc<LiveJob>>);

impl Unread {
    fn was_read(mut self) {
        self.0 = None;
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        if let Some(live) = &self.0 {
            live.cancel();
        }
    }
}

async fn take_for(app: Arc<App>, submission: Submission, id: Option<JobId>) -> Result<Accepted, JobError> {
    let workload = Arc::clone(&submission.market.workload);
    let checked = input::check(&workload, &submission.input)?;
    if let Some(first) = repeated(&app, &submission).await? {
        return Ok(first);
    }
    let now = app.clock.now();
    let job = new_job(&app, &submission, &checked, now);
    let job = Job { id: id.unwrap_or(job.id), ..job };
    let live = Arc::new(LiveJob::new(&job, workload, checked.request));
    let limits = &app.config.limits;
    if !app.jobs.insert(&live, limits.open_jobs_per_user, limits.open_input_bytes_per_user) {
        return Err(JobError::TooManyJobs);
    }
    let entry = Entry { app: Arc::clone(&app), job: live.id, kept: false };
    let drive = Drive::new(Arc::clone(&app), Arc::clone(&live), &submission, job);
    let result = write(&app, drive, submission.once).await;
    entry.keep_if(matches!(result, Ok(Accepted { replayed: false, .. })));
    result
}

/// A place among the live jobs, given back unless the job is kept.
struct Entry {
    app: Arc<App>,
    job: JobId,
    kept: bool,
}

impl Entry {
    fn keep_if(mut self, kept: bool) {
        self.kept = kept;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if !self.kept {
            self.app.jobs.remove(self.job);
        }
    }
}

/// The job of the same request, if it was taken before. Looked up before any limit is; the transaction looks again.
async fn repeated(app: &App, submission: &Submission) -> Result<Option<Accepted>, JobError> {
    let Some(claim) = submission.once.claim() else { return Ok(None) };
    let (key, hash) = (claim.key.clone(), claim.hash.clone());
    let user = submission.user.id;
    let found = app
        .db
        .read("repeated", async move |tx| {
            let Some((hash, Some(id))) = super::store::repeated(tx, user, &key).await? else {
                return Ok(None);
            };
            Ok::<_, db::DbError>(Some((hash, super::store::job(tx, id).await?)))
        })
        .await?;
    match found {
        None => Ok(None),
        Some((first, _)) if first != hash => Err(JobError::KeyTaken),
        Some((_, job)) => {
            // Another coordinator took it since the guard looked; the guard looks again.
            claim.note_taken();
            let job = job.ok_or(JobError::Internal)?;
            Ok(Some(Accepted { live: app.jobs.get(job.id), job, replayed: true }))
        }
    }
}

/// The most a job may cost, the most for each unit, and who says so: the job for the whole of it, else the user for each unit,
/// else the Cargo for each unit.
#[must_use]
pub fn bid_of(
    (workload, most): (&Workload, Units),
    user: &User,
    explicit: Option<MicroCredits>,
) -> (MicroCredits, MicroCredits, BidSource) {
    if let Some(bid) = explicit {
        return (bid, most.price_within(bid), BidSource::Explicit);
    }
    let (unit_bid, source) = match user.bids.get(workload.id) {
        Some(bid) => (bid, BidSource::Preference),
        None => (workload.ceiling, BidSource::Ceiling),
    };
    (most.cost(unit_bid).unwrap_or(MAX_AMOUNT), unit_bid, source)
}

fn new_job(app: &App, submission: &Submission, input: &Input, now: Timestamp) -> Job {
    let workload = &submission.market.workload;
    let most = workload.measure.most(&input.request);
    let (bid, unit_bid, bid_source) = bid_of((workload, most), &submission.user, submission.bid);
    Job {
        id: app.ids.next(now),
        node: app.node.number,
        user: submission.user.id,
        key: submission.key.as_ref().map(|key| key.id),
        workload: submission.market.workload.id,
        origin: submission.origin,
        state: State::Pending,
        input: Arc::from(input.json.get()),
        bid,
        unit_bid,
        bid_source,
        region: submission.region.clone(),
        model: submission.model.clone(),
        min_trust: submission.min_trust,
        priority: submission.priority,
        created_at: now,
        deadline: now.plus_millis(i64::from(app.config.jobs.wait_secs) * SECOND_MS),
        started_at: None,
        completed_at: None,
        attempts: 0,
        island: None,
        charge: MicroCredits::ZERO,
        units: Units::ZERO,
        usage: Usage::default(),
        finish_reason: None,
        error: None,
    }
}

/// Matches the job, writes it, and starts what drives it.
async fn write(app: &Arc<App>, mut drive: Drive, once: Once<Job>) -> Result<Accepted, JobError> {
    let placed = drive.place()?;
    let (first, attempt, least) = match placed {
        Found::Island(permit, attempt) => {
            drive.underway = Some(app.jobs.underway());
            drive.began(&attempt, app.clock.now());
            (First::Running(permit, attempt.clone()), Some(attempt), MicroCredits::ZERO)
        }
        Found::Queue(permit, best_ask) => {
            drive.live.push(Event::Waiting { best_ask });
            // The lowest price it could start at: the lowest ask within the bid, or, while there is none, anything at all.
            let within = best_ask
                .filter(|ask| *ask <= drive.job.unit_bid)
                .and_then(|ask| drive.live.most.cost(ask))
                .unwrap_or(MicroCredits::new(1));
            let least = if app.islands.owns_any(drive.job.user) { MicroCredits::ZERO } else { within };
            (First::Waiting(permit), None, least)
        }
    };
    let open = Open {
        job: drive.job.clone(),
        wallet: drive.wallet,
        attempt,
        least,
        cap: drive.cap,
        hold_until: hold_until(app, app.clock.now()),
        idempotency: once.claim().map(|claim| (claim.clone(), once.stored(&drive.job))),
    };
    let outcome = app.committer.commit(Command::Open(Arc::new(open))).await;
    match outcome {
        Ok(Done::Written) => {
            once.note_written();
            let accepted =
                Accepted { job: drive.job.clone(), live: Some(Arc::clone(&drive.live)), replayed: false };
            tokio::spawn(drive.run(first));
            Ok(accepted)
        }
        Ok(Done::Replayed(id)) => {
            if let Some(claim) = once.claim() {
                claim.note_taken();
            }
            drive.give_up_waiting(&first);
            let job = app.db.read("job", async move |tx| super::store::job(tx, id).await).await?;
            Ok(Accepted { job: job.ok_or(JobError::Internal)?, live: app.jobs.get(id), replayed: true })
        }
        Err(error) => {
            drive.give_up_waiting(&first);
            Err(error)
        }
    }
}

/// What the market is asked for a job that no Island has failed yet.
#[must_use]
pub fn order_of(job: &Job) -> Order {
    Order {
        job: job.id,
        user: job.user,
        bid: job.unit_bid,
        excluded: Vec::new(),
        region: job.region.clone(),
        model: job.model.clone(),
        min_trust: job.min_trust,
        deadline: job.deadline,
        priority: job.priority,
        may_wait: true,
    }
}

/// When a hold taken now may be expired: after the longest run, and then some.
#[must_use]
pub fn hold_until(app: &App, now: Timestamp) -> Timestamp {
    now.plus_millis(i64::from(app.config.jobs.run_secs) * SECOND_MS + HOLD_MARGIN_MS)
}

/// The codes of jobs that no Island took: those of [`Drive::why_not_taken`].
pub const NOT_TAKEN: [&str; 3] = ["no_island", "bid_too_low", "no_match"];

/// Where a job was placed.
#[derive(Debug)]
pub enum Found {
    /// On an Island.
    Island(Permit, Attempt),
    /// In the queue, with the lowest ask of any eligible Island.
    Queue(tokio::sync::oneshot::Receiver<Permit>, Option<MicroCredits>),
}

impl Drive {
    /// Asks the market for an Island.
    ///
    /// # Errors
    /// [`JobError::TooManyJobs`] when the queue of the Cargo is full.
    pub fn place(&mut self) -> Result<Found, JobError> {
        loop {
            match self.market.place(self.order()) {
                Placed::Matched(permit) => match self.attempt_on(&permit) {
                    Some(attempt) => return Ok(Found::Island(permit, attempt)),
                    // It left the moment it was matched.
                    None => self.excluded.push(permit.island()),
                },
                Placed::Waiting { permit, best_ask } => return Ok(Found::Queue(permit, best_ask)),
                Placed::Refused => return Err(JobError::TooManyJobs),
            }
        }
    }

    /// The attempt that a permit stands for, if its Island is still connected.
    #[must_use]
    pub fn attempt_on(&self, permit: &Permit) -> Option<Attempt> {
        let connection = self.app.islands.get(permit.island())?;
        Some(self.attempt(permit, &connection))
    }

    fn attempt(&self, permit: &Permit, connection: &Session) -> Attempt {
        let own = connection.island.owner == self.job.user;
        let most = self.live.most;
        Attempt {
            id: self.app.ids.next(self.app.clock.now()),
            number: self.job.attempts + 1,
            island: permit.island(),
            earnings: connection.island.earnings,
            // Work on one's own Island costs nothing and earns nothing (incident 72).
            // Within the bid, because the match was within the bid for each unit.
            price: if own { MicroCredits::ZERO } else { most.cost(permit.price()).unwrap_or(MAX_AMOUNT) },
            ask: permit.price(),
            units: most,
            own,
            considered: considered(permit),
        }
    }

    /// Why no Island took the job in time: whether it asked for what nobody offers, or all were busy or away.
    #[must_use]
    pub fn why_not_taken(&self) -> (&'static str, String) {
        let Order { bid, excluded, region, model, min_trust, .. } = self.order();
        let picky = region.is_some() || model.is_some() || min_trust > 0;
        match self.market.best_eligible(&self.order()) {
            Some(ask) if ask > bid => {
                let needed = self.live.most.cost(ask).unwrap_or(MAX_AMOUNT);
                let text = format!(
                    "No Island asks as little as this job bids: it needs a bid of {needed} credits. You were not charged."
                );
                ("bid_too_low", text)
            }
            None if picky && excluded.is_empty() && self.market.lowest_ask().is_some() => {
                let text =
                    "No Island offers what this job asks for (region, model, trust). You were not charged.";
                ("no_match", text.to_owned())
            }
            _ => {
                ("no_island", "No Island took this job before its deadline. You were not charged.".to_owned())
            }
        }
    }

    /// Leaves the queue, if the job is in it.
    pub fn give_up_waiting(&self, first: &First) {
        if matches!(first, First::Waiting(_)) {
            self.market.withdraw(self.job.id);
        }
    }
}

/// The asks that were considered, as stored with the attempt: `[["isl_…","2.5","chosen"],…]`; followed by `null` when not all
/// that came before the chosen one are among them.
fn considered(permit: &Permit) -> String {
    use market::Verdict;
    let word = |verdict| match verdict {
        Verdict::Chosen => "chosen",
        Verdict::Busy => "busy",
        Verdict::Excluded => "failed_before",
        Verdict::OtherRegion => "other_region",
        Verdict::OtherModel => "other_model",
        Verdict::Untrusted => "untrusted",
        Verdict::LastResort => "last_resort",
        Verdict::AboveBid => "above_bid",
    };
    let matched = &permit.matched;
    let row = |one: &market::Considered| Some((one.island, one.ask.to_string(), word(one.verdict)));
    let mut rows: Vec<Option<(IslandId, String, &str)>> = matched.considered.iter().map(row).collect();
    if !matched.complete {
        rows.push(None);
    }
    serde_json::to_string(&rows).unwrap_or_default()
}

/// The ledger cap of a key. Every key has one, so that a limit set while a job is on its way counts for it too.
#[must_use]
pub fn cap_of(key: Option<&ApiKey>) -> Option<i64> {
    key.map(|key| key.id.get())
}
