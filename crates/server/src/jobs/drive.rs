//! Drives one job from its first attempt (or its place in the queue) to its end.
//!
//! One task for each job, read top to bottom: wait for a permit, take the hold, send the work, listen, decide, write.
//! Every way out ends the hold; a panic on the way is caught and ends it too.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use market::Order;
use tokio::sync::oneshot;
use tokio::time::timeout;
use types::id::{AccountId, IslandId};
use types::money::MicroCredits;
use types::time::{SECOND_MS, Timestamp};

use super::command::{Begin, Command, Finish, Suspend};
use super::live::{Event, LiveJob, Underway};
use super::submit::{Found, NOT_TAKEN, Submission, cap_of, hold_until, order_of};
use super::{Attempt, Ending, Job, JobError, State, Usage};
use crate::app::App;
use crate::config::Unit;
use crate::islands::offers::note_attempt;
use crate::islands::session::{Assignment, End};
use crate::islands::stats::is_failure;
use crate::marketplace::measure::{self, Bill};
use crate::marketplace::{Market, Permit};

/// How long an Island may take to stop after being told to, before its slot counts as free.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// How often the end of a job is tried to be written while the database cannot be written.
const FINISH_TRIES: u32 = 60;

/// A job and what it takes to drive it.
#[derive(Debug)]
pub struct Drive {
    /// The program.
    pub app: Arc<App>,
    /// The job, for whoever watches.
    pub live: Arc<LiveJob>,
    /// The job, as stored.
    pub job: Job,
    /// Where it is matched.
    pub market: Arc<Market>,
    /// Whose credits.
    pub wallet: AccountId,
    /// The spending limit it counts against.
    pub cap: Option<i64>,
    /// Islands that failed it.
    pub excluded: Vec<IslandId>,
    /// While there is an attempt whose end is to be written, which whoever stops the program waits for.
    pub underway: Option<Underway>,
}

/// How a job begins.
#[derive(Debug)]
pub enum First {
    /// With an attempt whose hold is durable.
    Running(Permit, Attempt),
    /// In the queue.
    Waiting(oneshot::Receiver<Permit>),
}

/// How an attempt ended, seen from here.
#[derive(Debug)]
enum Ended {
    ByIsland(End),
    Cancelled,
    LeaseExpired,
    RanTooLong,
}

/// What follows from that.
struct Verdict {
    state: State,
    ending: Ending,
    usage: Usage,
    finish_reason: Option<String>,
    error: Option<(&'static str, String)>,
}

impl Drive {
    /// A job to be driven.
    #[must_use]
    pub fn new(app: Arc<App>, live: Arc<LiveJob>, submission: &Submission, job: Job) -> Self {
        Self {
            app,
            live,
            job,
            market: Arc::clone(&submission.market),
            wallet: submission.user.wallet,
            cap: cap_of(submission.key.as_deref()),
            excluded: Vec::new(),
            underway: None,
        }
    }

    /// What the market is asked.
    #[must_use]
    pub fn order(&self) -> Order {
        Order { bid: self.unit_bid(), excluded: self.excluded.clone(), ..order_of(&self.job) }
    }

    /// The most it may cost for each unit, which may have been raised since it came.
    #[must_use]
    pub fn unit_bid(&self) -> MicroCredits {
        let bid = self.live.bid();
        if bid > self.job.bid { self.live.most.price_within(bid) } else { self.job.unit_bid }
    }

    /// Notes that an attempt begins.
    pub fn began(&mut self, attempt: &Attempt, now: Timestamp) {
        self.job.state = State::Running;
        self.job.attempts = attempt.number;
        self.job.island = Some(attempt.island);
        self.job.started_at.get_or_insert(now);
    }

    /// Drives the job to its end.
    pub async fn run(mut self, first: First) {
        let mut current = None;
        let driven = std::panic::AssertUnwindSafe(self.drive(first, &mut current)).catch_unwind().await;
        if driven.is_err() {
            tracing::error!(job = %self.job.id, "driving job {} panicked", self.job.id);
            let error = ("internal", "Something went wrong on our side. You were not charged.".to_owned());
            self.finish(current, broken(State::Failed, error)).await;
        }
        self.app.jobs.remove(self.job.id);
    }

    async fn drive(&mut self, first: First, current: &mut Option<Attempt>) {
        let mut step = first;
        loop {
            let (permit, attempt) = match step {
                First::Running(permit, attempt) => (permit, attempt),
                First::Waiting(queue) => match self.wait_and_begin(queue).await {
                    Ok(begun) => begun,
                    Err(verdict) => return self.finish(None, verdict).await,
                },
            };
            *current = Some(attempt.clone());
            let ended = self.listen(permit, &attempt).await;
            let (verdict, retry) = self.judge(ended);
            self.tell_of(&attempt, &verdict);
            if !retry || attempt.number >= i64::from(self.app.config.jobs.attempts) {
                return self.finish(Some(attempt), verdict).await;
            }
            if self.suspend(&attempt, &verdict).await.is_err() {
                return self.finish(Some(attempt), verdict).await;
            }
            // Only now is there no hold that a panic would have to end.
            *current = None;
            self.underway = None;
            step = match self.place_again() {
                Ok(queue) => First::Waiting(queue),
                // The hold has been given back already.
                Err(_) => return self.finish(None, verdict).await,
            };
        }
    }

    /// Waits for a permit and takes the hold. A permit whose Island has left since is given back and another awaited.
    async fn wait_and_begin(
        &mut self,
        queue: oneshot::Receiver<Permit>,
    ) -> Result<(Permit, Attempt), Verdict> {
        let mut queue = queue;
        loop {
            let permit = self.wait(queue).await?;
            if let Some(attempt) = self.attempt_on(&permit) {
                self.underway = Some(self.app.jobs.underway());
                self.begin(&attempt).await?;
                return Ok((permit, attempt));
            }
            drop(permit);
            queue = self.place_again().map_err(|error| refused(&error))?;
        }
    }

    async fn wait(&self, mut queue: oneshot::Receiver<Permit>) -> Result<Permit, Verdict> {
        let waited = tokio::select! {
            biased;
            // Nothing comes once the deadline has passed and the book has let the job go.
            permit = &mut queue => permit.ok(),
            () = self.live.cancelled() => {
                self.market.withdraw(self.job.id);
                return Err(Verdict { state: State::Cancelled, ending: Ending::CancelledByConsumer, ..nothing() });
            }
        };
        self.market.withdraw(self.job.id);
        waited.ok_or_else(|| broken(State::Timeout, self.why_not_taken()))
    }

    /// Takes the hold of an attempt.
    async fn begin(&mut self, attempt: &Attempt) -> Result<(), Verdict> {
        let at = self.app.clock.now();
        let begin = Begin {
            job: self.job.id,
            user: self.job.user,
            key: self.job.key,
            wallet: self.wallet,
            at,
            attempt: attempt.clone(),
            cap: self.cap,
            hold_until: hold_until(&self.app, at),
        };
        let begun = self.app.committer.commit_patiently(Command::Begin(Arc::new(begin))).await;
        begun.map_err(|error| refused(&error))?;
        self.began(attempt, at);
        Ok(())
    }

    /// Sends the work to the Island and listens until it is over, one way or another.
    async fn listen(&self, permit: Permit, attempt: &Attempt) -> Ended {
        let Some(connection) = self.app.islands.get(attempt.island) else {
            return Ended::ByIsland(End::Lost);
        };
        let fee = attempt.price.percent_rounded_down(self.app.config.market.fee_percent);
        let assignment = Assignment {
            attempt: attempt.id,
            live: Arc::clone(&self.live),
            input: Arc::clone(&self.job.input),
            model: self.job.model.clone(),
            earns: attempt.price.minus(fee).unwrap_or_default(),
        };
        let Ok((mut end, lease)) = connection.assign(assignment, self.app.clock.now()) else {
            return Ended::ByIsland(End::Lost);
        };
        self.live.push(Event::Running { island: Arc::clone(&connection.island.name) });
        let run_until =
            self.app.clock.now().plus_millis(i64::from(self.app.config.jobs.run_secs) * SECOND_MS);
        let stopped = loop {
            let until = lease.until().min(run_until);
            let left = until.millis_since(self.app.clock.now()).max(0);
            tokio::select! {
                biased;
                ended = &mut end => return Ended::ByIsland(ended.unwrap_or(End::Lost)),
                () = self.live.cancelled() => break Ended::Cancelled,
                () = tokio::time::sleep(millis(left + 1)) => {
                    let now = self.app.clock.now();
                    if now >= run_until {
                        break Ended::RanTooLong;
                    }
                    if now >= lease.until() {
                        break Ended::LeaseExpired;
                    }
                }
            }
        };
        // The slot is free when the Island has stopped, not when we would like it to.
        connection.cancel(attempt.id);
        let attempt = attempt.id;
        tokio::spawn(async move {
            if timeout(STOP_GRACE, end).await.is_err() {
                connection.forget(attempt);
            }
            drop(permit);
        });
        stopped
    }

    /// What follows from how an attempt ended, and whether another Island is tried.
    fn judge(&self, ended: Ended) -> (Verdict, bool) {
        let output = self.live.has_output();
        let failed = |code, text: &str| broken(State::Failed, (code, text.to_owned()));
        // Nobody pays for what is no answer, however it is priced.
        let void = |code, text: &str| Verdict { ending: Ending::Void, ..failed(code, text) };
        // What arrived after the wish to cancel was not taken, so this is no whole answer.
        let ended = match ended {
            Ended::ByIsland(End::Done { .. }) if self.live.is_cancelled() => Ended::Cancelled,
            ended => ended,
        };
        match ended {
            // It is we who went away, not the consumer.
            Ended::Cancelled | Ended::LeaseExpired | Ended::ByIsland(End::Lost) if self.app.is_stopping() => {
                (
                    void(
                        "interrupted",
                        "The coordinator was stopped while this job ran. You were not charged.",
                    ),
                    false,
                )
            }
            Ended::ByIsland(End::Done { usage, finish_reason }) if output => (
                Verdict {
                    state: State::Completed,
                    ending: Ending::Complete,
                    usage,
                    finish_reason,
                    error: None,
                },
                false,
            ),
            Ended::ByIsland(End::Done { .. }) => (
                void("no_output", "The Island reported success without any output. You were not charged."),
                true,
            ),
            Ended::ByIsland(End::Failed { error, retryable }) => {
                let code = if retryable { "island_failed" } else { "input_refused" };
                (broken(State::Failed, (code, error)), retryable && !output)
            }
            Ended::ByIsland(End::Rejected) => {
                (failed("island_rejected", "The Island did not take the job."), !output)
            }
            Ended::ByIsland(End::TooMuch) => (
                void("output_too_large", "The Island gave more output than a job may. You were not charged."),
                false,
            ),
            Ended::ByIsland(End::Malformed) => {
                (void("island_failed", "The Island broke the protocol. You were not charged."), !output)
            }
            Ended::ByIsland(End::Lost) => (
                failed("island_lost", "The connection to the Island was lost. You were not charged."),
                !output,
            ),
            Ended::LeaseExpired => (
                failed("lease_expired", "The Island was not heard of any more. You were not charged."),
                !output,
            ),
            Ended::RanTooLong => {
                let text = "The job ran longer than a job may. You were not charged.".to_owned();
                (broken(State::Timeout, ("ran_too_long", text)), false)
            }
            Ended::Cancelled => {
                (Verdict { state: State::Cancelled, ending: Ending::CancelledByConsumer, ..nothing() }, false)
            }
        }
    }

    /// What an attempt says about its Island, if it ended by the Island's doing.
    fn tell_of(&self, attempt: &Attempt, verdict: &Verdict) {
        let succeeded = verdict.state == State::Completed;
        if succeeded || is_failure(verdict.state, verdict.error.as_ref().map(|(code, _)| *code)) {
            note_attempt(&self.app, attempt.island, succeeded);
        }
    }

    /// Gives the hold back, so that the next-cheapest Island can be asked for.
    async fn suspend(&mut self, attempt: &Attempt, verdict: &Verdict) -> Result<(), JobError> {
        self.excluded.push(attempt.island);
        let error = verdict.error.as_ref().map(|(_, text)| text.clone()).unwrap_or_default();
        tracing::info!(job = %self.job.id, island = %attempt.island, error, "attempt {} of job {} failed", attempt.number, self.job.id);
        metrics::counter!("archipelago_attempts_failed_total").increment(1);
        let suspend = Suspend { job: self.job.id, attempt: attempt.id, error };
        self.app.committer.commit_patiently(Command::Suspend(Arc::new(suspend))).await?;
        self.job.state = State::Pending;
        Ok(())
    }

    /// Asks for an Island again; a match at once comes through the channel like any other.
    ///
    /// # Errors
    /// [`JobError::TooManyJobs`] when the queue of the Cargo is full.
    pub fn place_again(&mut self) -> Result<oneshot::Receiver<Permit>, JobError> {
        match self.place()? {
            Found::Queue(queue, best_ask) => {
                self.live.push(Event::Waiting { best_ask });
                Ok(queue)
            }
            Found::Island(permit, _) => {
                let (sender, queue) = oneshot::channel();
                // The other end is in our hands.
                drop(sender.send(permit));
                Ok(queue)
            }
        }
    }

    /// Writes the end of the job and tells whoever watches.
    async fn finish(&mut self, attempt: Option<Attempt>, verdict: Verdict) {
        let Verdict { state, ending, usage, finish_reason, error } = verdict;
        let delivery = self.live.delivery(usage);
        let bill = match &attempt {
            Some(_) => self.live.workload.measure.bill(&self.live.request, ending, &delivery),
            None => Bill::default(),
        };
        let cost = attempt
            .as_ref()
            .map_or(MicroCredits::ZERO, |attempt| measure::cost(bill.units, attempt.ask, attempt.price));
        // What is not paid for is not kept; what was streamed of it cannot be taken back.
        let (output, message) = match state {
            State::Completed => self.live.answer_within(usize::MAX),
            _ if cost.is_positive() && self.live.workload.unit == Unit::Request => {
                self.live.answer_within(usize::MAX)
            }
            _ if cost.is_positive() => self.live.answer_within(delivery.delivered),
            _ => (None, None),
        };
        let at = self.app.clock.now();
        let unserved = error.as_ref().is_some_and(|(code, _)| NOT_TAKEN.contains(code));
        let finish = Finish {
            job: self.job.id,
            at,
            user: self.job.user,
            key: self.job.key,
            workload: self.job.workload,
            state,
            charge: cost,
            fee: cost.percent_rounded_down(self.app.config.market.fee_percent),
            units: bill.units,
            output,
            message: message.and_then(|message| serde_json::to_string(&message).ok()),
            usage: bill.usage,
            finish_reason: finish_reason.clone(),
            error: error.map(|(code, text)| (code.to_owned(), what_it_cost(text, cost))),
            unserved: unserved.then(|| self.unit_bid()),
            attempt,
        };
        self.job.state = state;
        self.job.completed_at = Some(at);
        self.job.charge = cost;
        self.job.units = bill.units;
        self.job.bid = self.live.bid();
        self.job.usage = bill.usage;
        self.job.finish_reason = finish_reason;
        self.job.error.clone_from(&finish.error);
        self.write_finish(finish).await;
        if self.job.state == State::Completed {
            self.market.recent.note(self.job.units, self.job.duration_ms().unwrap_or_default());
        }
        metrics::counter!("archipelago_jobs_total", "state" => self.job.state.name()).increment(1);
        self.live.push(Event::Ended(Arc::new(self.job.clone())));
    }

    /// Writes the end, patiently: while the disk is full the hold stays and nothing is charged.
    async fn write_finish(&mut self, finish: Finish) {
        let command = Command::Finish(Arc::new(finish));
        for tried in 0..FINISH_TRIES {
            match self.app.committer.commit_patiently(command.clone()).await {
                Ok(_) => return,
                Err(JobError::Unavailable(_)) => {
                    tokio::time::sleep(Duration::from_millis(50 << tried.min(5))).await;
                }
                // Whoever took the job over ends it.
                Err(JobError::Replaced) => break,
                Err(error) => {
                    tracing::error!(job = %self.job.id, %error, "the end of job {} was refused", self.job.id);
                    break;
                }
            }
        }
        // Not written, so not charged: what is left of it is ended by `recover`.
        let text = "The result could not be saved. You were not charged.";
        self.job.state = State::Failed;
        self.job.charge = MicroCredits::ZERO;
        self.job.error = Some(("not_saved".to_owned(), text.to_owned()));
    }
}

/// A sentence that says that nothing was charged, made true when what had been delivered is charged for.
fn what_it_cost(text: String, cost: MicroCredits) -> String {
    const FREE: &str = "You were not charged.";
    match text.strip_suffix(FREE) {
        Some(text) if cost.is_positive() => format!("{text}You were charged for what had been delivered."),
        _ => text,
    }
}

fn nothing() -> Verdict {
    Verdict {
        state: State::Failed,
        ending: Ending::Broken,
        usage: Usage::default(),
        finish_reason: None,
        error: None,
    }
}

fn broken(state: State, error: (&'static str, String)) -> Verdict {
    Verdict { state, error: Some(error), ..nothing() }
}

/// A job that waited and could not begin ends with the code its submission would have been refused with.
fn refused(error: &JobError) -> Verdict {
    broken(State::Failed, (error.code(), error.to_string()))
}

fn millis(milliseconds: i64) -> Duration {
    Duration::from_millis(milliseconds.unsigned_abs())
}
