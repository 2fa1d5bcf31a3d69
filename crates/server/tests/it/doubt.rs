//! A commit whose answer is lost: what was written counts once, what was not is written then, and nothing is said before
//! that is known.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use db::{Engine, FaultPoint, Faults, OpenOptions};
use server::accounts::User;
use server::credits;
use server::jobs::command::{Begin, Command, Finish, Open, Suspend};
use server::jobs::commit::Done;
use server::jobs::look::find;
use server::jobs::{Attempt, BidSource, Job, JobError, Origin, State, Usage, recover};
use server::nodes;
use types::money::MicroCredits;

use crate::world::inside::Inside;

/// Lets go wrong what a test says, once each, in order.
#[derive(Debug, Default)]
struct Script(Mutex<VecDeque<FaultPoint>>);

impl Faults for Script {
    fn fails(&self, point: FaultPoint) -> bool {
        let mut script = self.0.lock().unwrap();
        let now = script.front() == Some(&point);
        if now {
            script.pop_front();
        }
        now
    }
}

impl Script {
    fn next(&self, points: &[FaultPoint]) {
        let mut script = self.0.lock().unwrap();
        assert!(script.is_empty(), "what was to go wrong before did not: {script:?}");
        script.extend(points);
    }

    fn is_over(&self) -> bool {
        self.0.lock().unwrap().is_empty()
    }
}

struct Doubt {
    inside: Inside,
    script: Arc<Script>,
    ana: User,
}

const PRICE: MicroCredits = MicroCredits::new(2_000_000);

impl Doubt {
    async fn with_credits(credits: i64) -> Self {
        let script = Arc::new(Script::default());
        let options = OpenOptions { faults: Some(Arc::clone(&script) as _), ..OpenOptions::server() };
        let mut inside = Inside::open(options).await;
        inside.commit();
        let ana = inside.user("ana").await;
        credits::grant(&inside.app, &ana, MicroCredits::new(credits * 1_000_000), "test").await.unwrap();
        Self { inside, script, ana }
    }

    fn job(&self) -> Job {
        let app = &self.inside.app;
        let now = app.clock.now();
        Job {
            id: app.ids.next(now),
            node: app.node.number,
            user: self.ana.id,
            key: None,
            workload: 1,
            origin: Origin::Api,
            state: State::Pending,
            input: Arc::from("{}"),
            bid: PRICE,
            unit_bid: PRICE,
            bid_source: BidSource::Explicit,
            region: None,
            model: None,
            min_trust: 0,
            priority: 0,
            created_at: now,
            deadline: now.plus_millis(60_000),
            started_at: None,
            completed_at: None,
            attempts: 0,
            island: None,
            charge: MicroCredits::ZERO,
            units: types::units::Units::ZERO,
            usage: Usage::default(),
            finish_reason: None,
            error: None,
        }
    }

    fn attempt(&self, number: i64) -> Attempt {
        let app = &self.inside.app;
        Attempt {
            id: app.ids.next(app.clock.now()),
            number,
            island: app.ids.next(app.clock.now()),
            earnings: self.ana.earnings,
            price: PRICE,
            ask: PRICE,
            units: types::units::Units::ONE,
            own: false,
            considered: "[]".to_owned(),
        }
    }

    fn open(&self, job: &Job, attempt: Option<&Attempt>) -> Command {
        Command::Open(Arc::new(Open {
            job: job.clone(),
            wallet: self.ana.wallet,
            attempt: attempt.cloned(),
            least: MicroCredits::ZERO,
            cap: None,
            hold_until: job.deadline,
            idempotency: None,
        }))
    }

    fn begin(&self, job: &Job, attempt: &Attempt) -> Command {
        Command::Begin(Arc::new(Begin {
            job: job.id,
            user: self.ana.id,
            key: None,
            wallet: self.ana.wallet,
            at: self.inside.app.clock.now(),
            attempt: attempt.clone(),
            cap: None,
            hold_until: job.deadline,
        }))
    }

    fn finish(&self, job: &Job, attempt: &Attempt) -> Command {
        Command::Finish(Arc::new(Finish {
            job: job.id,
            at: self.inside.app.clock.now(),
            user: job.user,
            key: job.key,
            workload: 1,
            state: State::Completed,
            attempt: Some(attempt.clone()),
            charge: PRICE,
            fee: MicroCredits::ZERO,
            units: types::units::Units::ONE,
            output: Some("hello".to_owned()),
            message: None,
            usage: Usage::default(),
            finish_reason: None,
            error: None,
            unserved: None,
        }))
    }

    fn cancel(&self, job: &Job) -> Command {
        Command::Finish(Arc::new(Finish {
            job: job.id,
            at: self.inside.app.clock.now(),
            user: job.user,
            key: job.key,
            workload: 1,
            state: State::Cancelled,
            attempt: None,
            charge: MicroCredits::ZERO,
            fee: MicroCredits::ZERO,
            units: types::units::Units::ONE,
            output: None,
            message: None,
            usage: Usage::default(),
            finish_reason: None,
            error: None,
            unserved: None,
        }))
    }

    /// Commits while this goes wrong.
    async fn commit(&self, command: Command, points: &[FaultPoint]) -> Result<Done, JobError> {
        self.script.next(points);
        let answer = self.inside.app.committer.commit(command).await;
        assert!(self.script.is_over(), "all of it went wrong");
        answer
    }

    /// (available, held), in credits.
    async fn credits(&self) -> (i64, i64) {
        let balance = credits::balance(&self.inside.app, self.ana.wallet).await.unwrap();
        (balance.available().get() / 1_000_000, balance.held.get() / 1_000_000)
    }

    async fn state(&self, job: &Job) -> Option<State> {
        find(&self.inside.app, self.ana.id, job.id).await.ok().map(|(job, _)| job.state)
    }
}

const LOST: &[FaultPoint] = &[FaultPoint::AfterCommit];

#[tokio::test]
async fn each_step_of_a_job_counts_once_when_its_answer_is_lost() {
    let doubt = Doubt::with_credits(10).await;
    let (job, first, second) = (doubt.job(), doubt.attempt(1), doubt.attempt(2));
    assert_eq!(doubt.commit(doubt.open(&job, Some(&first)), LOST).await, Ok(Done::Written));
    assert_eq!((doubt.credits().await, doubt.state(&job).await), ((8, 2), Some(State::Running)));
    let suspend = Suspend { job: job.id, attempt: first.id, error: "no luck".to_owned() };
    assert_eq!(doubt.commit(Command::Suspend(Arc::new(suspend)), LOST).await, Ok(Done::Written));
    assert_eq!((doubt.credits().await, doubt.state(&job).await), ((10, 0), Some(State::Pending)));
    assert_eq!(doubt.commit(doubt.begin(&job, &second), LOST).await, Ok(Done::Written));
    assert_eq!((doubt.credits().await, doubt.state(&job).await), ((8, 2), Some(State::Running)));
    let finish = doubt.finish(&job, &second);
    assert_eq!(doubt.commit(finish.clone(), LOST).await, Ok(Done::Written));
    assert_eq!((doubt.credits().await, doubt.state(&job).await), ((8, 0), Some(State::Completed)));
    // The same end once more, without any doubt, is another end.
    assert_eq!(doubt.commit(finish, &[]).await, Err(JobError::Ended));
    assert_eq!(doubt.credits().await, (8, 0));
    doubt.inside.finish().await;
}

/// The database stays away for a while after the answer was lost: "nothing was changed" would be a lie then.
#[tokio::test]
async fn what_is_in_doubt_is_not_called_refused() {
    let doubt = Doubt::with_credits(10).await;
    if doubt.inside.app.db.engine() == Engine::Postgres {
        // The engine finds out by itself and has no doubts to hand on, unless its server stays away for long.
        return;
    }
    let (job, attempt) = (doubt.job(), doubt.attempt(1));
    let points = [FaultPoint::AfterCommit, FaultPoint::BeforeBegin, FaultPoint::BeforeBegin];
    assert_eq!(doubt.commit(doubt.open(&job, Some(&attempt)), &points).await, Ok(Done::Written));
    assert_eq!((doubt.credits().await, doubt.state(&job).await), ((8, 2), Some(State::Running)));
    doubt.script.next(&[FaultPoint::AfterCommit, FaultPoint::BeforeCommit, FaultPoint::AfterCommit]);
    let finish = doubt.finish(&job, &attempt);
    assert_eq!(doubt.inside.app.committer.commit_patiently(finish).await, Ok(Done::Written));
    assert!(doubt.script.is_over());
    assert_eq!((doubt.credits().await, doubt.state(&job).await), ((8, 0), Some(State::Completed)));
    doubt.inside.finish().await;
}

/// Many commands in one lost commit, one of them refused: each gets its own answer.
#[tokio::test]
async fn a_whole_batch_in_doubt_is_answered_command_by_command() {
    let doubt = Doubt::with_credits(7).await;
    let jobs: Vec<(Job, Attempt)> = (0..5).map(|_| (doubt.job(), doubt.attempt(1))).collect();
    doubt.script.next(LOST);
    let commits =
        jobs.iter().map(|(job, attempt)| doubt.inside.app.committer.commit(doubt.open(job, Some(attempt))));
    let answers = futures_util::future::join_all(commits).await;
    assert!(doubt.script.is_over());
    let written = answers.iter().filter(|answer| **answer == Ok(Done::Written)).count();
    assert_eq!(written, 3, "{answers:?}");
    for ((job, _), answer) in jobs.iter().zip(&answers) {
        assert_eq!(doubt.state(job).await.is_some(), answer.is_ok());
    }
    assert_eq!(doubt.credits().await, (1, 6));
    doubt.inside.finish().await;
}

/// A commit that fails is answered as what it is, and changed nothing.
#[tokio::test]
async fn a_commit_that_fails_changes_nothing() {
    let doubt = Doubt::with_credits(10).await;
    let (job, attempt) = (doubt.job(), doubt.attempt(1));
    let answer = doubt.commit(doubt.open(&job, Some(&attempt)), &[FaultPoint::BeforeCommit]).await;
    assert!(matches!(answer, Err(JobError::Unavailable(_))), "{answer:?}");
    assert_eq!((doubt.credits().await, doubt.state(&job).await), ((10, 0), None));
    assert_eq!(doubt.commit(doubt.open(&job, Some(&attempt)), &[]).await, Ok(Done::Written));
    doubt.inside.finish().await;
}

/// Whoever has lost its number writes nothing any more, not even the end of its own jobs.
#[tokio::test]
async fn a_coordinator_that_was_replaced_begins_and_ends_nothing() {
    let doubt = Doubt::with_credits(10).await;
    let (job, attempt) = (doubt.job(), doubt.attempt(1));
    assert_eq!(doubt.commit(doubt.open(&job, Some(&attempt)), &[]).await, Ok(Done::Written));
    let app = &doubt.inside.app;
    let now = app.clock.now();
    let other = nodes::claim(&app.db, &app.config, &types::rng::SystemRandom, now).await.unwrap();
    assert_eq!(other.node.number, app.node.number, "started again on the same data directory");
    let another = (doubt.job(), doubt.attempt(1));
    for command in [doubt.open(&another.0, Some(&another.1)), doubt.finish(&job, &attempt)] {
        assert_eq!(doubt.commit(command, &[]).await, Err(JobError::Replaced));
    }
    assert_eq!((doubt.credits().await, doubt.state(&job).await), ((8, 2), Some(State::Running)));
    assert!(matches!(nodes::beat_once(app).await.unwrap(), nodes::Beat::Lost { twin: true }));
    doubt.inside.finish().await;
}

/// Holds whose time has passed are ended by the coordinator whose job it is, and by no other.
#[tokio::test]
async fn i7_an_expired_hold_is_its_own_coordinators_affair() {
    let doubt = Doubt::with_credits(10).await;
    let mut job = doubt.job();
    job.deadline = job.created_at.plus_millis(-1);
    let attempt = doubt.attempt(1);
    assert_eq!(doubt.commit(doubt.open(&job, Some(&attempt)), &[]).await, Ok(Done::Written));
    let mut other = doubt.inside.beside().await;
    other.commit();
    assert_ne!(other.app.node.number, doubt.inside.app.node.number);
    assert_eq!(recover::expire_once(&other.app).await.unwrap(), 0);
    assert_eq!((doubt.credits().await, doubt.state(&job).await), ((8, 2), Some(State::Running)));
    assert_eq!(recover::expire_once(&doubt.inside.app).await.unwrap(), 1);
    assert_eq!((doubt.credits().await, doubt.state(&job).await), ((10, 0), Some(State::Failed)));
    doubt.inside.finish().await;
}

/// Two ends of one job in one batch, as two tasks may send them: one counts.
#[tokio::test]
async fn of_two_ends_at_once_one_counts() {
    let doubt = Doubt::with_credits(10).await;
    let committer = &doubt.inside.app.committer;
    for round in 0..5 {
        let job = doubt.job();
        assert_eq!(doubt.commit(doubt.open(&job, None), &[]).await, Ok(Done::Written));
        let (one, two) =
            tokio::join!(committer.commit(doubt.cancel(&job)), committer.commit(doubt.cancel(&job)));
        let mut answers = [one, two];
        answers.sort_by_key(Result::is_err);
        assert_eq!(answers, [Ok(Done::Written), Err(JobError::Ended)], "round {round}");
    }
    doubt.inside.finish().await;
}
