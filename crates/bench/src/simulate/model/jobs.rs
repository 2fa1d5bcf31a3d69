//! Jobs, told once more: what a batch of commands is answered, and what it leaves behind.

use std::collections::{BTreeMap, BTreeSet};

use ledger::{Period, Refusal};
use server::idempotency::Claim;
use server::jobs::command::{Command, Finish, Open};
use server::jobs::commit::{Asked, Done};
use server::jobs::{JobError, State};
use types::id::{Id, JobId, TransferId};
use types::money::MicroCredits;

use super::Model;
use crate::simulate::faults::{Fate, Fates};

/// By user and key: the fingerprint of the first request and its job.
pub type Requests = BTreeMap<(i64, String), (String, i64)>;

/// A job.
#[derive(Clone, Debug)]
pub struct Job {
    pub user: i64,
    pub node: u16,
    pub state: State,
    pub bid: i64,
    pub created_at: i64,
    pub ended_at: Option<i64>,
    pub attempts: i64,
    pub charge: i64,
    pub has_output: bool,
    /// Somebody wished it cancelled through another coordinator.
    pub unwanted: bool,
}

/// One try.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    pub job: i64,
    pub price: i64,
    pub earnings: i64,
    pub state: AttemptState,
}

/// How far a try is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptState {
    Running,
    Settled,
    Released,
}

impl AttemptState {
    /// As stored.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Settled => "settled",
            Self::Released => "released",
        }
    }
}

/// Who commits.
#[derive(Clone, Copy, Debug)]
pub struct Committer {
    pub number: u16,
    pub run: u64,
    pub now: i64,
}

/// What became of the transaction of a batch.
enum Transaction {
    Answered(Vec<Answer>),
    Failed(JobError),
    /// One of its commands cannot be written.
    Poisoned,
}

/// An answer.
pub type Answer = Result<Done, JobError>;

/// What the disk being full is answered with. The sentence is not ours to know.
pub const UNWRITABLE: JobError = JobError::Unavailable("unwritable");

impl Job {
    /// Whether it has not ended.
    pub const fn is_open(&self) -> bool {
        !self.state.is_final()
    }
}

impl Model {
    /// A batch of commands: one answer for each.
    pub fn commit(&mut self, batch: &[Asked], who: Committer, fates: &mut Fates) -> Vec<Answer> {
        let fate = fates.next();
        match self.transaction(batch, who, fate) {
            Transaction::Answered(answers) => answers,
            Transaction::Failed(error) => batch.iter().map(|_| Err(error.clone())).collect(),
            Transaction::Poisoned if batch.len() == 1 => vec![Err(JobError::Internal)],
            Transaction::Poisoned => {
                let alone = batch.iter().map(|one| self.commit(std::slice::from_ref(one), who, fates));
                alone.flatten().collect()
            }
        }
    }

    /// A command that is asked for until it is known what became of it.
    pub fn commit_for_certain(&mut self, mut asked: Asked, who: Committer, fates: &mut Fates) -> Answer {
        loop {
            let answer = self.commit(std::slice::from_ref(&asked), who, fates).pop();
            match answer {
                Some(Err(JobError::InDoubt)) => asked.doubtful = true,
                Some(Err(JobError::Unavailable(_))) if asked.doubtful => {}
                answer => return answer.unwrap_or(Err(JobError::Internal)),
            }
        }
    }

    fn transaction(&mut self, batch: &[Asked], who: Committer, fate: Fate) -> Transaction {
        if fate == Fate::NotBegun {
            return Transaction::Failed(UNWRITABLE);
        }
        let mut answers = self.foretell(batch, who);
        let mut draft = self.books.draft(who.now);
        for (answer, asked) in answers.iter_mut().zip(batch) {
            if answer.is_some() {
                continue;
            }
            if let Some(movement) = movement(&asked.command)
                && let Err(refusal) = draft.apply(&movement)
            {
                *answer = Some(Err(as_job_error(&refusal)));
            }
        }
        let changes = draft.changes();
        repeats_of_refused(&mut answers, batch);
        let written: Vec<&Command> = batch
            .iter()
            .zip(&answers)
            .filter(|(_, answer)| answer.is_none())
            .map(|(one, _)| &one.command)
            .collect();
        if self.is_poisoned(&written) {
            return Transaction::Poisoned;
        }
        if fate == Fate::NotKept {
            return Transaction::Failed(UNWRITABLE);
        }
        self.books.keep(changes);
        for command in written {
            self.write(command);
        }
        if fate == Fate::KeptUntold {
            return Transaction::Failed(JobError::InDoubt);
        }
        Transaction::Answered(answers.into_iter().map(|answer| answer.unwrap_or(Ok(Done::Written))).collect())
    }

    /// What is known of each command before any credits move; nothing of those that are to be tried.
    fn foretell(&self, batch: &[Asked], who: Committer) -> Vec<Option<Answer>> {
        let owns = self.owns(who.number, who.run);
        let mut seen = BTreeSet::new();
        let mut taken: BTreeMap<(i64, &str), (&str, i64)> = BTreeMap::new();
        let mut answers = Vec::new();
        for Asked { command, doubtful } in batch {
            let answer = if *doubtful && self.is_written(command) {
                Some(Ok(Done::Written))
            } else if !owns {
                Some(Err(JobError::Replaced))
            } else if let Some(error) = self.may_not_spend(command) {
                Some(Err(error))
            } else if let Command::Open(open) = command {
                self.repeated(open, &mut taken).or_else(|| self.pauper(open).map(Err))
            } else {
                let job = command.job().get();
                let open = self.jobs.get(&job).is_some_and(|job| job.is_open() && job.node == who.number);
                let first = seen.insert(job);
                (!open || !first).then_some(Err(JobError::Ended))
            };
            answers.push(answer);
        }
        answers
    }

    fn is_written(&self, command: &Command) -> bool {
        let state = |id: i64| self.attempts.get(&id).map(|attempt| attempt.state);
        match command {
            Command::Open(open) => self.jobs.contains_key(&open.job.id.get()),
            Command::Begin(begin) => state(begin.attempt.id.get()).is_some(),
            Command::Suspend(suspend) => state(suspend.attempt.get()) == Some(AttemptState::Released),
            Command::Finish(finish) => self
                .jobs
                .get(&finish.job.get())
                .is_some_and(|job| job.state == finish.state && job.ended_at == Some(finish.at.as_millis())),
        }
    }

    fn may_not_spend(&self, command: &Command) -> Option<JobError> {
        let (user, key) = command.spender()?;
        if key.is_some_and(|key| self.revoked.contains(&key.get())) {
            return Some(JobError::KeyRevoked);
        }
        (!self.verified.contains(&user.get())).then_some(JobError::Unverified)
    }

    fn repeated<'c>(
        &self,
        open: &'c Open,
        taken: &mut BTreeMap<(i64, &'c str), (&'c str, i64)>,
    ) -> Option<Answer> {
        let (claim, _) = open.idempotency.as_ref()?;
        let (key, hash) = (&claim.key, &claim.hash);
        let user = open.job.user.get();
        let before = self.requests.get(&(user, key.clone())).map(|(hash, job)| (hash.clone(), *job));
        let now = taken.get(&(user, key.as_str())).map(|(hash, job)| ((*hash).to_owned(), *job));
        match before.or(now) {
            Some((first, job)) if first == *hash => Some(Ok(Done::Replayed(JobId::from_i64(job)))),
            Some(_) => Some(Err(JobError::KeyTaken)),
            None => {
                taken.insert((user, key), (hash, open.job.id.get()));
                None
            }
        }
    }

    /// A job that would wait needs the credits for the lowest price it could start at.
    fn pauper(&self, open: &Open) -> Option<JobError> {
        if open.attempt.is_some() {
            return None;
        }
        let wallet = open.wallet.get();
        let (required, available) = (open.least.get(), self.books.available(wallet));
        if self.books.is_frozen(wallet) {
            Some(JobError::Frozen)
        } else if self.books.debt(wallet) > 0 {
            Some(JobError::InDebt { owed: MicroCredits::new(self.books.debt(wallet)) })
        } else if available < required {
            let (required, available) = (MicroCredits::new(required), MicroCredits::new(available));
            Some(JobError::InsufficientCredits { required, available, reason: "balance" })
        } else {
            None
        }
    }

    /// Whether a row is there already that may not be, or not there that must be.
    fn is_poisoned(&self, written: &[&Command]) -> bool {
        let mut jobs = BTreeSet::new();
        let mut attempts = BTreeSet::new();
        let runs = |id: i64| self.attempts.get(&id).is_some_and(|one| one.state == AttemptState::Running);
        written.iter().any(|command| match command {
            Command::Open(open) => {
                let id = open.job.id.get();
                let attempt = open.attempt.as_ref().map(|attempt| attempt.id.get());
                self.jobs.contains_key(&id)
                    || !jobs.insert(id)
                    || attempt.is_some_and(|id| self.attempts.contains_key(&id) || !attempts.insert(id))
            }
            Command::Begin(begin) => {
                let id = begin.attempt.id.get();
                self.attempts.contains_key(&id) || !attempts.insert(id)
            }
            Command::Suspend(suspend) => {
                let running =
                    self.jobs.get(&suspend.job.get()).is_some_and(|job| job.state == State::Running);
                !running || !runs(suspend.attempt.get())
            }
            Command::Finish(finish) => finish.attempt.as_ref().is_some_and(|attempt| !runs(attempt.id.get())),
        })
    }

    fn write(&mut self, command: &Command) {
        self.touched.insert(command.job().get());
        match command {
            Command::Open(open) => self.write_open(open),
            Command::Begin(begin) => {
                self.begin(begin.job.get(), &begin.attempt);
            }
            Command::Suspend(suspend) => {
                self.end_attempt(suspend.attempt.get(), AttemptState::Released);
                if let Some(job) = self.jobs.get_mut(&suspend.job.get()) {
                    job.state = State::Pending;
                }
            }
            Command::Finish(finish) => self.write_finish(finish),
        }
    }

    fn write_open(&mut self, open: &Open) {
        let job = &open.job;
        let id = job.id.get();
        self.jobs.insert(
            id,
            Job {
                user: job.user.get(),
                node: job.node,
                state: State::Pending,
                bid: job.bid.get(),
                created_at: job.created_at.as_millis(),
                ended_at: None,
                attempts: 0,
                charge: 0,
                has_output: false,
                unwanted: false,
            },
        );
        if let Some((Claim { key, hash, .. }, _)) = &open.idempotency {
            self.requests.insert((job.user.get(), key.clone()), (hash.clone(), id));
        }
        if let Some(attempt) = &open.attempt {
            self.begin(id, attempt);
        }
    }

    fn begin(&mut self, id: i64, attempt: &server::jobs::Attempt) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.state = State::Running;
            job.attempts = attempt.number;
        }
        let (price, earnings) = (attempt.price.get(), attempt.earnings.get());
        let attempt_id = attempt.id.get();
        self.attempts.insert(attempt_id, Attempt { job: id, price, earnings, state: AttemptState::Running });
    }

    fn end_attempt(&mut self, id: i64, state: AttemptState) {
        if let Some(attempt) = self.attempts.get_mut(&id) {
            attempt.state = state;
        }
    }

    fn write_finish(&mut self, finish: &Finish) {
        if let Some(attempt) = &finish.attempt {
            let settled = finish.charge.is_positive() || finish.state == State::Completed;
            let state = if settled { AttemptState::Settled } else { AttemptState::Released };
            self.end_attempt(attempt.id.get(), state);
            if finish.charge.is_positive() && !attempt.own {
                self.trades = (self.trades.0 + 1, self.trades.1 + attempt.price.get());
            }
        }
        if let Some(job) = self.jobs.get_mut(&finish.job.get()) {
            job.state = finish.state;
            job.ended_at = Some(finish.at.as_millis());
            job.charge = finish.charge.get();
            job.has_output = finish.output.is_some();
        }
    }
}

/// What a command does to credits.
fn movement(command: &Command) -> Option<ledger::Command> {
    let hold = |attempt: &server::jobs::Attempt, account, cap, expires_at| ledger::Command::Hold {
        id: TransferId::from_i64(attempt.id.get()),
        account,
        amount: attempt.price,
        cap,
        expires_at,
    };
    match command {
        Command::Open(open) => {
            open.attempt.as_ref().map(|attempt| hold(attempt, open.wallet, open.cap, open.hold_until))
        }
        Command::Begin(begin) => Some(hold(&begin.attempt, begin.wallet, begin.cap, begin.hold_until)),
        Command::Suspend(suspend) => {
            Some(ledger::Command::Release { hold: TransferId::from_i64(suspend.attempt.get()) })
        }
        Command::Finish(finish) => {
            let attempt = finish.attempt.as_ref()?;
            let hold = TransferId::from_i64(attempt.id.get());
            if finish.state == State::Completed || finish.charge.is_positive() {
                let Finish { charge, fee, .. } = **finish;
                return Some(ledger::Command::Settle { hold, charge, fee, to: attempt.earnings });
            }
            Some(ledger::Command::Release { hold })
        }
    }
}

/// A repeat of a request that is refused in the same batch is refused for the same reason.
fn repeats_of_refused(answers: &mut [Option<Answer>], batch: &[Asked]) {
    for index in 0..answers.len() {
        let Some(Some(Ok(Done::Replayed(first)))) = answers.get(index) else { continue };
        let refused =
            batch.iter().zip(answers.iter()).find_map(|(asked, answer)| match (&asked.command, answer) {
                (Command::Open(open), Some(Err(error))) if open.job.id == *first => Some(error.clone()),
                _ => None,
            });
        if let Some(error) = refused {
            answers[index] = Some(Err(error));
        }
    }
}

fn as_job_error(refusal: &Refusal) -> JobError {
    match *refusal {
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
        _ => JobError::Internal,
    }
}

/// Whether two answers say the same, as far as it is promised: not the sentence about the disk, nor which of two limits that
/// leave equally little is named.
pub fn same(foretold: &Answer, told: &Answer) -> bool {
    use JobError::InsufficientCredits as Short;
    match (foretold, told) {
        (Err(JobError::Unavailable(_)), Err(JobError::Unavailable(_))) => true,
        (
            Err(Short { required, available, reason }),
            Err(Short { required: told_required, available: told_available, reason: told_reason }),
        ) => {
            let capped = |reason: &str| reason.starts_with("key_limit");
            (required, available) == (told_required, told_available) && capped(reason) == capped(told_reason)
        }
        (foretold, told) => foretold == told,
    }
}
