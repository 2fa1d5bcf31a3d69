//! The hot path of the database: beginnings and endings of jobs, many in one transaction.
//!
//! Commands queue up while a commit is being made durable; the next transaction takes them all. One call to
//! `ledger::submit` moves all their credits, then their domain rows are written with one vectorised statement each, in the same
//! transaction (I15). A refused command changes nothing for its neighbours. If the transaction fails because of one command,
//! each is tried alone, so that only the culprit is answered with an error.
//!
//! A batch has a fixed number of statements, however many commands: up to 6 that look (is our number still ours, who is
//! verified, which keys are revoked, which requests are repeated, which jobs are open, what the wallets of jobs that will wait
//! have), those of `ledger::submit`, and up to 11 that write (jobs, requests, ends of attempts, attempts, three changes of jobs,
//! outputs, trades, what Islands did, what users used), and one more that looks when attempts failed before giving anything.
//!
//! When it is not known whether a transaction was kept, its commands are sent again as doubtful. The transaction that takes
//! them comes after the one in doubt is over (writers run one after another) and looks for what they would have written
//! (2 more statements): what is there was kept, what is not there is tried anew. Nothing is answered before that is known.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use db::{DbError, Tx};
use ledger::{Pace, Period, Refusal};
use tokio::sync::{Semaphore, mpsc, oneshot};
use types::id::{ApiKeyId, AttemptId, Id, JobId, TransferId};
use types::time::{SECOND_MS, Timestamp};

use super::checks::{Openness, Repeats, Spenders, refuse_repeats_of_refused, refuse_waiting_paupers};
use super::command::Command;
use super::{Attempt, JobError, State, store};
use crate::app::App;
use crate::hooks::Hooks;
use crate::islands::stats;
use crate::marketplace::tape::{Tape, Trade};
use crate::nodes::{self, Node};
use crate::usage;

/// Most commands in one transaction.
const BATCH: usize = 512;
/// Most commands waiting; beyond that callers are told that the server is busy.
pub const QUEUE: usize = 8192;
/// One transaction is written while the next waits behind it.
const IN_FLIGHT: usize = 2;
/// How long to wait before asking again what became of a command in doubt: from this to that.
const DOUBT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// How long after the longest possible run a hold that nobody ended may be expired.
pub const HOLD_MARGIN_MS: i64 = 120 * SECOND_MS;

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// It was written.
    Written,
    /// The same request had been taken before: this is its job.
    Replayed(JobId),
}

/// A command on its way, and who waits for it.
#[derive(Debug)]
pub struct Queued {
    asked: Asked,
    answer: Answer,
}

type Answer = oneshot::Sender<Result<Done, JobError>>;

/// A command, and what whoever sends it knows of it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What is to be written.
    pub command: Command,
    /// It was sent before, and what became of it then is not known.
    pub doubtful: bool,
}

/// What is known of each command of a batch so far; nothing of those that are still to be written.
pub(super) type Decided = [Option<Result<Done, JobError>>];

/// The queue in front of the hot path.
#[derive(Clone, Debug)]
pub struct Committer {
    queue: mpsc::Sender<Queued>,
}

/// Makes the queue; [`run`] empties it.
#[must_use]
pub fn channel() -> (Committer, mpsc::Receiver<Queued>) {
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
        let asked = Asked { command: command.clone(), doubtful: false };
        self.queue.try_send(Queued { asked, answer }).map_err(|_| JobError::BUSY)?;
        match done.await.unwrap_or(Err(JobError::STOPPING)) {
            Err(JobError::InDoubt) => self.resolve(command).await,
            answer => answer,
        }
    }

    /// Commits a command that must not be turned away because the queue is full: the end of a job.
    ///
    /// # Errors
    /// The [`JobError`] it was refused with.
    pub async fn commit_patiently(&self, command: Command) -> Result<Done, JobError> {
        match self.send(command.clone(), false).await? {
            Err(JobError::InDoubt) => self.resolve(command).await,
            answer => answer,
        }
    }

    /// Asks until it is known what became of a command.
    async fn resolve(&self, command: Command) -> Result<Done, JobError> {
        let mut pause = DOUBT.0;
        loop {
            tokio::time::sleep(pause).await;
            match self.send(command.clone(), true).await? {
                // It could not be looked. That nothing was changed is true of this time only.
                Err(JobError::InDoubt | JobError::Unavailable(_)) => pause = (pause * 2).min(DOUBT.1),
                answer => return answer,
            }
        }
    }

    /// Sends a command; fails only when nobody takes any more.
    async fn send(&self, command: Command, doubtful: bool) -> Result<Result<Done, JobError>, JobError> {
        let (answer, done) = oneshot::channel();
        let asked = Asked { command, doubtful };
        self.queue.send(Queued { asked, answer }).await.map_err(|_| JobError::STOPPING)?;
        done.await.map_err(|_| JobError::STOPPING)
    }
}

/// Empties the queue until it is closed.
///
/// While a transaction is being made durable the next one waits behind it already, so that no time passes between the two.
/// What it writes is decided when it begins: everything that has queued up by then.
pub async fn run(app: Arc<App>, queue: mpsc::Receiver<Queued>) {
    let queue = Arc::new(Mutex::new(queue));
    let in_flight = Arc::new(Semaphore::new(IN_FLIGHT));
    while let Ok(permit) = Arc::clone(&in_flight).acquire_owned().await {
        let Some(first) = poll_fn(|context| lock(&queue).poll_recv(context)).await else { break };
        let (app, queue) = (Arc::clone(&app), Arc::clone(&queue));
        tokio::spawn(async move {
            let batch = Batch { taken: Mutex::new(Taken::of(first)), queue: Some(queue) };
            let batch = Arc::new(batch);
            let results = commit(&app, &batch).await;
            let answers = std::mem::take(&mut lock(&batch.taken).answers);
            metrics::histogram!("archipelago_jobs_batch_size")
                .record(u32::try_from(answers.len()).unwrap_or(u32::MAX));
            for (answer, result) in answers.into_iter().zip(results) {
                // The one who asked may be gone; what is written stands.
                let _ = answer.send(result);
            }
            drop(permit);
        });
    }
    // Those in flight are finished.
    let _ = in_flight.acquire_many(u32::try_from(IN_FLIGHT).unwrap_or(1)).await;
}

/// Commits these commands: one answer for each, in order.
pub async fn commit_batch(app: &App, batch: Vec<Asked>) -> Vec<Result<Done, JobError>> {
    let taken = Taken { asked: batch.into_iter().map(Arc::new).collect(), answers: Vec::new() };
    commit(app, &Arc::new(Batch { taken: Mutex::new(taken), queue: None })).await
}

/// The commands of a transaction.
struct Batch {
    taken: Mutex<Taken>,
    /// Where more of them come from.
    queue: Option<Arc<Mutex<mpsc::Receiver<Queued>>>>,
}

#[derive(Default)]
struct Taken {
    asked: Vec<Arc<Asked>>,
    answers: Vec<Answer>,
}

impl Taken {
    fn of(first: Queued) -> Self {
        let mut taken = Self::default();
        taken.push(first);
        taken
    }

    fn push(&mut self, Queued { asked, answer }: Queued) {
        self.asked.push(Arc::new(asked));
        self.answers.push(answer);
    }
}

impl Batch {
    /// Takes in what has queued up, on the thread that writes. If the transaction runs again, it takes in more.
    fn gather(&self) -> Vec<Arc<Asked>> {
        let mut taken = lock(&self.taken);
        if let Some(queue) = &self.queue {
            let mut queue = lock(queue);
            while taken.asked.len() < BATCH
                && let Ok(queued) = queue.try_recv()
            {
                taken.push(queued);
            }
        }
        taken.asked.clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn commit(app: &App, batch: &Arc<Batch>) -> Vec<Result<Done, JobError>> {
    let error = match transaction(app, Arc::clone(batch)).await {
        Ok(results) => return results,
        Err(error) => error,
    };
    let asked = lock(&batch.taken).asked.clone();
    if asked.len() == 1 || !may_be_of_one(&error) {
        let error = JobError::from(error);
        return asked.iter().map(|_| Err(error.clone())).collect();
    }
    tracing::error!(%error, batch = asked.len(), "a batch failed; trying its commands one by one");
    let mut results = Vec::with_capacity(asked.len());
    for asked in asked {
        let taken = Taken { asked: vec![asked], answers: Vec::new() };
        let alone = transaction(app, Arc::new(Batch { taken: Mutex::new(taken), queue: None })).await;
        results.push(match alone {
            Ok(mut results) => results.pop().unwrap_or(Err(JobError::Internal)),
            Err(error) => Err(JobError::from(error)),
        });
    }
    results
}

/// Whether one command may be to blame, so that the others would be written without it.
const fn may_be_of_one(error: &DbError) -> bool {
    !error.is_transient() && !matches!(error, DbError::Unknown(_) | DbError::Closed)
}

async fn transaction(app: &App, batch: Arc<Batch>) -> Result<Vec<Result<Done, JobError>>, DbError> {
    let (clock, node, pace, hooks) = (Arc::clone(&app.clock), app.node, app.pace, Arc::clone(&app.hooks));
    let work = async move |tx: &mut Tx<'_>| {
        let batch = batch.gather();
        let doubtful = batch.iter().any(|asked| asked.doubtful);
        let written = write(tx, &batch, node, &hooks, (clock.now(), &pace)).await?;
        Ok::<_, DbError>((written, doubtful))
    };
    let (written, doubtful) = app.db.tx_anew("jobs", work).await?;
    let Written { results, balances, hours, limits_met, told } = written;
    if told {
        app.hooks.wake();
    }
    for (key, period) in limits_met {
        app.keys.note_met(key, period);
    }
    app.live.balances(&balances);
    app.islands.earned(&hours, app.clock.now());
    if doubtful {
        // Of what a transaction in doubt has changed nobody was told.
        app.balances_stale.notify_one();
    }
    Ok(results)
}

/// What a batch did.
struct Written {
    results: Vec<Result<Done, JobError>>,
    balances: Vec<ledger::Balance>,
    hours: Vec<stats::Hour>,
    /// Limits of keys that stood in the way.
    limits_met: Vec<(ApiKeyId, Period)>,
    /// Events of jobs were written.
    told: bool,
}

/// One batch: find out who may do what, move the credits, write the rows.
async fn write(
    tx: &mut Tx<'_>,
    batch: &[Arc<Asked>],
    node: Node,
    hooks: &Hooks,
    (now, pace): (Timestamp, &Pace),
) -> Result<Written, DbError> {
    let commands: Vec<&Command> = batch.iter().map(|asked| &asked.command).collect();
    let mut decided = find_written(tx, batch).await?;
    // All that is to be known is asked at once.
    let owns = nodes::store::ask_owns(tx, node).await?;
    let spenders = Spenders::ask(tx, &commands, now).await?;
    let repeats = Repeats::ask(tx, &commands).await?;
    let openness = Openness::ask(tx, &commands, node).await?;
    let listeners = hooks.ask(tx, &commands).await?;
    let ledger = ledger::begin(tx).await?;
    if !tx.answer(owns).await? {
        let replaced = |one: Option<_>| one.unwrap_or(Err(JobError::Replaced));
        return Ok(Written {
            results: decided.into_iter().map(replaced).collect(),
            balances: Vec::new(),
            hours: Vec::new(),
            limits_met: Vec::new(),
            told: false,
        });
    }
    spenders.refuse(tx, &mut decided).await?;
    repeats.find(tx, &mut decided).await?;
    openness.refuse_ended(tx, &mut decided).await?;
    refuse_waiting_paupers(tx, &commands, &mut decided).await?;

    let mut moves = Vec::new();
    let mut mover = Vec::new();
    for (index, command) in commands.iter().enumerate() {
        if decided[index].is_none() {
            let wanted = ledger_commands(command);
            mover.extend(wanted.iter().map(|_| index));
            moves.extend(wanted);
        }
    }
    let submitted = ledger.submit(tx, &moves, now, pace).await?;
    let mut limits_met = Vec::new();
    for ((index, outcome), asked) in mover.into_iter().zip(submitted.outcomes).zip(&moves) {
        if let Err(refusal) = outcome {
            limits_met.extend(limit_met(&refusal, asked));
            decided[index] = Some(Err(refused(refusal, asked)));
        }
    }

    refuse_repeats_of_refused(&commands, &mut decided);
    let undecided = commands.iter().zip(&decided).filter(|(_, decided)| decided.is_none());
    let written: Vec<&Command> = undecided.map(|(command, _)| *command).collect();
    store::write(tx, &written, now).await?;
    tape_of(&written, now).write(tx).await?;
    let hours = stats::write(tx, &written, now).await?;
    let told = hooks.tell_jobs(tx, listeners, &written, now).await?;
    usage::write(tx, &written).await?;
    let results = decided.into_iter().map(|one| one.unwrap_or(Ok(Done::Written))).collect();
    Ok(Written { results, balances: submitted.balances, hours, limits_met, told })
}

/// What these commands say about the market. A job on one's own Island says nothing (incident 97).
fn tape_of(written: &[&Command], now: Timestamp) -> Tape {
    let mut tape = Tape::new(now);
    for command in written {
        let Command::Finish(finish) = command else { continue };
        if let Some(bid) = finish.unserved {
            tape.unserved(finish.workload, bid);
        }
        if let Some(attempt) = finish.attempt.as_ref().filter(|one| !one.own && finish.charge.is_positive()) {
            tape.trade(Trade {
                job: finish.job,
                workload: finish.workload,
                price: attempt.ask,
                units: finish.units,
                paid: finish.charge,
            });
        }
    }
    tape
}

/// Which of the doubtful commands were written after all, told by what they would have left.
async fn find_written(
    tx: &mut Tx<'_>,
    batch: &[Arc<Asked>],
) -> Result<Vec<Option<Result<Done, JobError>>>, DbError> {
    let mut decided = vec![None; batch.len()];
    let doubtful: Vec<(usize, &Command)> = batch
        .iter()
        .enumerate()
        .filter(|(_, one)| one.doubtful)
        .map(|(index, one)| (index, &one.command))
        .collect();
    if doubtful.is_empty() {
        return Ok(decided);
    }
    let jobs: Vec<JobId> = doubtful.iter().map(|(_, command)| command.job()).collect();
    let ends = store::ends_of(tx, &jobs).await?;
    let attempts: Vec<Option<AttemptId>> = doubtful.iter().map(|(_, command)| command.attempt()).collect();
    let states = store::attempt_states(tx, &attempts).await?;
    for (((index, command), end), state) in doubtful.into_iter().zip(ends).zip(states) {
        let there = match command {
            Command::Open(_) => end.is_some(),
            Command::Begin(_) => state.is_some(),
            Command::Suspend(_) => state.as_deref() == Some("released"),
            Command::Finish(finish) => end == Some((finish.state, Some(finish.at))),
        };
        decided[index] = there.then_some(Ok(Done::Written));
    }
    Ok(decided)
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

/// The limit that refused a hold, and whose it is: a cap has its key's number.
fn limit_met(refusal: &Refusal, asked: &ledger::Command) -> Option<(ApiKeyId, Period)> {
    match (refusal, asked) {
        (Refusal::CapExceeded { period, .. }, ledger::Command::Hold { cap: Some(cap), .. }) => {
            Some((ApiKeyId::from_i64(*cap), *period))
        }
        _ => None,
    }
}

fn refused(refusal: Refusal, asked: &ledger::Command) -> JobError {
    match refusal {
        Refusal::InsufficientCredits { required, available } => {
            JobError::InsufficientCredits { required, available, reason: "balance" }
        }
        Refusal::CapExceeded { period, required, available } => {
            let reason = match period {
                Period::Total => "key_limit",
                Period::Day => "key_limit_day",
                Period::Week => "key_limit_week",
                Period::Month => "key_limit_month",
            };
            JobError::InsufficientCredits { required, available, reason }
        }
        Refusal::Frozen => JobError::Frozen,
        Refusal::InDebt { owed } => JobError::InDebt { owed },
        Refusal::HoldEnded { .. } => JobError::Ended,
        refusal => {
            tracing::error!(%refusal, ?asked, "the ledger refused what it should not");
            JobError::Internal
        }
    }
}
