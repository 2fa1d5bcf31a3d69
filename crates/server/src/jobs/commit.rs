//! The hot path of the database: beginnings and endings of jobs, many in one transaction.
//!
//! Commands queue up while a commit is being made durable; the next transaction takes them all. One call to
//! `ledger::submit` moves all their credits, then their domain rows are written with one vectorised statement each, in the same
//! transaction (I15). A refused command changes nothing for its neighbours. If the transaction itself fails because of one
//! command, each is tried alone, so that only the culprit is answered with an error.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use db::{DbError, Tx};
use ledger::Refusal;
use tokio::sync::{mpsc, oneshot};
use types::id::{AccountId, AttemptId, Id, JobId, TransferId, UserId};
use types::money::MicroCredits;
use types::time::{SECOND_MS, Timestamp};

use super::{Attempt, Job, JobError, State, Usage, store};
use crate::app::App;
use crate::marketplace::rates::aggregate;
use crate::{accounts, identity};

/// Most commands in one transaction.
const BATCH: usize = 512;
/// Most commands waiting; beyond that callers are told that the server is busy.
const QUEUE: usize = 8192;

/// Something to commit.
#[derive(Clone, Debug)]
pub enum Command {
    /// A new job: with an attempt it runs, without it waits.
    Open(Box<Open>),
    /// A waiting job begins its next attempt.
    Begin(Box<Begin>),
    /// An attempt failed before giving anything; the job waits for another Island.
    Suspend(Box<Suspend>),
    /// A job ends.
    Finish(Box<Finish>),
}

/// A new job.
#[derive(Clone, Debug)]
pub struct Open {
    /// The job, as it shall be stored.
    pub job: Job,
    /// Whose credits.
    pub wallet: AccountId,
    /// The attempt it begins with.
    pub attempt: Option<Attempt>,
    /// What must at least be available for a job that waits.
    pub least: MicroCredits,
    /// The spending limit to count it against.
    pub cap: Option<i64>,
    /// When the hold may be expired.
    pub hold_until: Timestamp,
    /// The caller's key for this request and the request's fingerprint (I9).
    pub idempotency: Option<(String, String)>,
}

/// The next attempt of a job.
#[derive(Clone, Debug)]
pub struct Begin {
    /// The job.
    pub job: JobId,
    /// Its user.
    pub user: UserId,
    /// Its key.
    pub key: Option<types::id::ApiKeyId>,
    /// Whose credits.
    pub wallet: AccountId,
    /// When.
    pub at: Timestamp,
    /// The attempt that begins.
    pub attempt: Attempt,
    /// The spending limit to count it against.
    pub cap: Option<i64>,
    /// When the hold may be expired.
    pub hold_until: Timestamp,
}

/// A job goes back to waiting.
#[derive(Clone, Debug)]
pub struct Suspend {
    /// The job.
    pub job: JobId,
    /// The attempt that failed.
    pub attempt: AttemptId,
    /// Why.
    pub error: String,
}

/// The end of a job.
#[derive(Clone, Debug)]
pub struct Finish {
    /// The job.
    pub job: JobId,
    /// When.
    pub at: Timestamp,
    /// Its Cargo.
    pub workload: i64,
    /// How it ended.
    pub state: State,
    /// The attempt in progress.
    pub attempt: Option<Attempt>,
    /// What it costs.
    pub charge: MicroCredits,
    /// The network's share of that.
    pub fee: MicroCredits,
    /// What it gave.
    pub output: Option<String>,
    /// What was counted.
    pub usage: Usage,
    /// Why its text ended.
    pub finish_reason: Option<String>,
    /// Why it failed.
    pub error: Option<(String, String)>,
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// It was written.
    Written,
    /// The same request had been taken before: this is its job.
    Replayed(JobId),
}

type Answer = oneshot::Sender<Result<Done, JobError>>;

/// The queue in front of the hot path.
#[derive(Clone, Debug)]
pub struct Committer {
    queue: mpsc::Sender<(Command, Answer)>,
}

/// Makes the queue; [`run`] empties it.
#[must_use]
pub fn channel() -> (Committer, mpsc::Receiver<(Command, Answer)>) {
    let (queue, receiver) = mpsc::channel(QUEUE);
    (Committer { queue }, receiver)
}

impl Committer {
    /// Commits a command; answers when it is durable.
    ///
    /// # Errors
    /// The [`JobError`] it was refused with; then nothing of it was written.
    pub async fn commit(&self, command: Command) -> Result<Done, JobError> {
        let (answer, done) = oneshot::channel();
        self.queue.try_send((command, answer)).map_err(|_| {
            JobError::Unavailable("The server is busy. Nothing was changed; please try again.")
        })?;
        done.await.unwrap_or(Err(JobError::Unavailable("The server is shutting down.")))
    }

    /// Commits a command that must not be turned away because the queue is full: the end of a job.
    ///
    /// # Errors
    /// The [`JobError`] it was refused with.
    pub async fn commit_patiently(&self, command: Command) -> Result<Done, JobError> {
        let (answer, done) = oneshot::channel();
        let closed = JobError::Unavailable("The server is shutting down.");
        self.queue.send((command, answer)).await.map_err(|_| closed.clone())?;
        done.await.unwrap_or(Err(closed))
    }
}

/// Empties the queue until it is closed.
pub async fn run(app: Arc<App>, mut queue: mpsc::Receiver<(Command, Answer)>) {
    let mut taken = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut taken, BATCH).await > 0 {
        let (commands, answers): (Vec<Command>, Vec<Answer>) = taken.drain(..).unzip();
        metrics::histogram!("archipelago_jobs_batch_size")
            .record(u32::try_from(commands.len()).unwrap_or(u32::MAX));
        let results = commit_batch(&app, commands).await;
        for (answer, result) in answers.into_iter().zip(results) {
            // The one who asked may be gone; what is written stands.
            let _ = answer.send(result);
        }
    }
}

async fn commit_batch(app: &App, commands: Vec<Command>) -> Vec<Result<Done, JobError>> {
    let commands = Arc::new(commands);
    match transaction(app, Arc::clone(&commands)).await {
        Ok(results) => results,
        Err(error) if error.is_transient() || commands.len() == 1 => {
            let error = JobError::from(error);
            commands.iter().map(|_| Err(error.clone())).collect()
        }
        Err(error) => {
            tracing::error!(%error, batch = commands.len(), "a batch failed; trying its commands one by one");
            let mut results = Vec::with_capacity(commands.len());
            for command in commands.iter() {
                let alone = transaction(app, Arc::new(vec![command.clone()])).await;
                results.push(match alone {
                    Ok(mut results) => results.pop().unwrap_or(Err(JobError::Internal)),
                    Err(error) => Err(JobError::from(error)),
                });
            }
            results
        }
    }
}

async fn transaction(app: &App, commands: Arc<Vec<Command>>) -> Result<Vec<Result<Done, JobError>>, DbError> {
    let now = app.clock.now();
    let (results, balances) = app.db.tx("jobs", async move |tx| write(tx, &commands, now).await).await?;
    app.live.balances(&balances);
    Ok(results)
}

/// One batch: check who may spend, find repeated requests, move the credits, write the rows.
async fn write(
    tx: &mut Tx<'_>,
    commands: &[Command],
    now: Timestamp,
) -> Result<(Vec<Result<Done, JobError>>, Vec<ledger::Balance>), DbError> {
    let mut results: Vec<Result<Done, JobError>> = vec![Ok(Done::Written); commands.len()];
    refuse_spenders(tx, commands, &mut results).await?;
    find_repeated(tx, commands, &mut results).await?;
    refuse_ended(tx, commands, &mut results).await?;
    refuse_waiting_paupers(tx, commands, &mut results).await?;

    let mut moves = Vec::new();
    let mut mover = Vec::new();
    for (index, command) in commands.iter().enumerate() {
        if results[index] == Ok(Done::Written) {
            let wanted = ledger_commands(command);
            mover.extend(wanted.iter().map(|_| index));
            moves.extend(wanted);
        }
    }
    let submitted = ledger::submit(tx, &moves, now).await?;
    for ((index, outcome), asked) in mover.into_iter().zip(submitted.outcomes).zip(&moves) {
        if let Err(refusal) = outcome {
            results[index] = Err(refused(refusal, asked));
        }
    }

    refuse_repeats_of_refused(commands, &mut results);
    let written: Vec<&Command> = commands
        .iter()
        .zip(&results)
        .filter(|(_, result)| **result == Ok(Done::Written))
        .map(|(c, _)| c)
        .collect();
    store::write(tx, &written, now).await?;
    let cleared = written.iter().filter_map(|command| match command {
        Command::Finish(finish) => {
            let attempt = finish.attempt.as_ref().filter(|attempt| !attempt.own)?;
            finish.charge.is_positive().then_some((finish.workload, attempt.price))
        }
        _ => None,
    });
    crate::marketplace::store::add_trades(tx, &aggregate(cleared, now)).await?;
    Ok((results, submitted.balances))
}

/// The movements a command causes. A hold, its settlement and its release carry the attempt's id.
fn ledger_commands(command: &Command) -> Vec<ledger::Command> {
    let hold = |attempt: &Attempt, account, cap, expires_at| ledger::Command::Hold {
        id: TransferId::from_i64(attempt.id.get()),
        account,
        amount: attempt.price,
        cap,
        expires_at,
    };
    let release = |id: AttemptId| ledger::Command::Release { hold: TransferId::from_i64(id.get()) };
    match command {
        Command::Open(open) => {
            open.attempt.iter().map(|attempt| hold(attempt, open.wallet, open.cap, open.hold_until)).collect()
        }
        Command::Begin(begin) => vec![hold(&begin.attempt, begin.wallet, begin.cap, begin.hold_until)],
        Command::Suspend(suspend) => vec![release(suspend.attempt)],
        Command::Finish(finish) => match &finish.attempt {
            None => Vec::new(),
            Some(attempt) if finish.charge.is_positive() || finish.state == State::Completed => {
                vec![ledger::Command::Settle {
                    hold: TransferId::from_i64(attempt.id.get()),
                    charge: finish.charge,
                    fee: finish.fee,
                    to: attempt.earnings,
                }]
            }
            Some(attempt) => vec![release(attempt.id)],
        },
    }
}

fn refused(refusal: Refusal, asked: &ledger::Command) -> JobError {
    match refusal {
        Refusal::InsufficientCredits { required, available } => {
            JobError::InsufficientCredits { required, available, reason: "balance" }
        }
        Refusal::CapExceeded { required, available } => {
            JobError::InsufficientCredits { required, available, reason: "key_limit" }
        }
        Refusal::Frozen => JobError::Frozen,
        Refusal::HoldEnded { .. } => JobError::Ended,
        refusal => {
            tracing::error!(%refusal, ?asked, "the ledger refused what it should not");
            JobError::Internal
        }
    }
}

/// Who wants to spend, with which key.
fn spender(command: &Command) -> Option<(UserId, Option<types::id::ApiKeyId>)> {
    match command {
        Command::Open(open) => Some((open.job.user, open.job.key)),
        Command::Begin(begin) => Some((begin.user, begin.key)),
        Command::Suspend(_) | Command::Finish(_) => None,
    }
}

/// I11, asked in the transaction that spends: verified, and with a key that still is one.
async fn refuse_spenders(
    tx: &mut Tx<'_>,
    commands: &[Command],
    results: &mut [Result<Done, JobError>],
) -> Result<(), DbError> {
    let spenders: Vec<_> = commands.iter().map(spender).collect();
    let users: HashSet<UserId> = spenders.iter().flatten().map(|(user, _)| *user).collect();
    let keys: HashSet<_> = spenders.iter().flatten().filter_map(|(_, key)| *key).collect();
    let users: Vec<UserId> = users.into_iter().collect();
    let keys: Vec<_> = keys.into_iter().collect();
    let verified: HashSet<UserId> = identity::store::verified_of(tx, &users).await?.into_iter().collect();
    let revoked: HashSet<_> = accounts::store::revoked(tx, &keys).await?.into_iter().collect();
    for (result, spender) in results.iter_mut().zip(&spenders) {
        let Some((user, key)) = spender else { continue };
        if key.is_some_and(|key| revoked.contains(&key)) {
            *result = Err(JobError::KeyRevoked);
        } else if !verified.contains(user) {
            *result = Err(JobError::Unverified);
        }
    }
    Ok(())
}

/// I9: a request that was taken before gets its first job; another request with its key is refused.
async fn find_repeated(
    tx: &mut Tx<'_>,
    commands: &[Command],
    results: &mut [Result<Done, JobError>],
) -> Result<(), DbError> {
    let mut seen: HashMap<(UserId, &str), (&str, JobId)> = HashMap::new();
    for (command, result) in commands.iter().zip(results) {
        let Command::Open(open) = command else { continue };
        let (Some((key, hash)), Ok(_)) = (&open.idempotency, &result) else { continue };
        let first = match seen.get(&(open.job.user, key.as_str())) {
            Some(&(hash, job)) => Some((hash.to_owned(), job)),
            None => store::repeated(tx, open.job.user, key).await?,
        };
        match first {
            Some((first_hash, job)) if first_hash == *hash => *result = Ok(Done::Replayed(job)),
            Some(_) => *result = Err(JobError::KeyTaken),
            None => drop(seen.insert((open.job.user, key), (hash, open.job.id))),
        }
    }
    Ok(())
}

/// A repeat of a request that was refused in this very batch gets the refusal: there is no job to answer with.
fn refuse_repeats_of_refused(commands: &[Command], results: &mut [Result<Done, JobError>]) {
    let refused: HashMap<JobId, JobError> = commands
        .iter()
        .zip(results.iter())
        .filter_map(|(command, result)| match (command, result) {
            (Command::Open(open), Err(error)) => Some((open.job.id, error.clone())),
            _ => None,
        })
        .collect();
    for result in results {
        if let Ok(Done::Replayed(first)) = result
            && let Some(error) = refused.get(first)
        {
            *result = Err(error.clone());
        }
    }
}

/// A job that has ended does not begin or end again, whatever this process believes (I3).
async fn refuse_ended(
    tx: &mut Tx<'_>,
    commands: &[Command],
    results: &mut [Result<Done, JobError>],
) -> Result<(), DbError> {
    let asked: Vec<(usize, JobId)> = commands
        .iter()
        .enumerate()
        .filter_map(|(index, command)| match command {
            Command::Open(_) => None,
            Command::Begin(begin) => Some((index, begin.job)),
            Command::Suspend(suspend) => Some((index, suspend.job)),
            Command::Finish(finish) => Some((index, finish.job)),
        })
        .collect();
    let ids: Vec<JobId> = asked.iter().map(|(_, job)| *job).collect();
    let open = store::still_open(tx, &ids).await?;
    for ((index, _), open) in asked.into_iter().zip(open) {
        if !open {
            results[index] = Err(JobError::Ended);
        }
    }
    Ok(())
}

/// A job that would wait is refused when there are not even credits for the lowest price it could start at.
async fn refuse_waiting_paupers(
    tx: &mut Tx<'_>,
    commands: &[Command],
    results: &mut [Result<Done, JobError>],
) -> Result<(), DbError> {
    for (command, result) in commands.iter().zip(results) {
        let Command::Open(open) = command else { continue };
        if open.attempt.is_some() || result.is_err() {
            continue;
        }
        let balance = ledger::balance(tx, open.wallet).await?;
        let available = balance.available();
        if balance.frozen {
            *result = Err(JobError::Frozen);
        } else if available < open.least {
            *result =
                Err(JobError::InsufficientCredits { required: open.least, available, reason: "balance" });
        }
    }
    Ok(())
}

/// How long after the longest possible run a hold that nobody ended may be expired.
pub const HOLD_MARGIN_MS: i64 = 120 * SECOND_MS;
