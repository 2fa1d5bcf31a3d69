//! What `server::jobs::drive` does, without its sockets: the same commands in the same order, priced by the same rule, for what an
//! Island or a consumer does.

use std::sync::Arc;

use server::jobs::command::{Begin, Command, Finish, Suspend};
use server::jobs::commit::{Asked, Done};
use server::jobs::live::LiveJob;
use server::jobs::{Attempt, Ending, Job, JobError, State, Usage};
use server::marketplace::measure;
use types::id::{AccountId, IslandId, JobId};
use types::money::MicroCredits;
use types::time::Timestamp;

/// How often the end of a job is tried to be written while the disk is full.
const FINISH_TRIES: u32 = 4;

/// A job that is driven.
#[derive(Debug)]
pub struct Drive {
    pub live: Arc<LiveJob>,
    pub job: Job,
    pub wallet: AccountId,
    pub cap: Option<i64>,
    pub excluded: Vec<IslandId>,
    pub stage: Stage,
    /// The client that waits for the job to be taken.
    pub client: Option<usize>,
    /// Whether the program's rule of charges said what it must.
    pub charge_is_right: bool,
}

impl Drive {
    /// A job that is driven from here on.
    pub const fn new(
        live: Arc<LiveJob>,
        job: Job,
        wallet: AccountId,
        cap: Option<i64>,
        stage: Stage,
    ) -> Self {
        Self { live, job, wallet, cap, excluded: Vec::new(), stage, client: None, charge_is_right: true }
    }
}

/// How far it is.
#[derive(Clone, Debug)]
pub enum Stage {
    /// It is being written.
    Opening(Option<Attempt>),
    /// It waits for an Island.
    Waiting,
    /// An attempt is being written.
    Beginning(Attempt),
    /// An Island works on it.
    Running(Attempt),
    /// Its attempt is being given up.
    Suspending(Attempt, Verdict),
    /// Its end is being written.
    Finishing(Arc<Finish>, u32),
}

/// How an attempt ended, seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Done,
    Failed { retryable: bool },
    Rejected,
    TooMuch,
    Malformed,
    Lost,
    LeaseExpired,
    RanTooLong,
    Cancelled,
}

/// What follows from it.
#[derive(Clone, Copy, Debug)]
pub struct Verdict {
    pub state: State,
    pub ending: Ending,
    /// The code of the error, if it is one.
    pub error: Option<&'static str>,
}

/// What the rules of a run are.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub now: Timestamp,
    pub attempts: i64,
    pub fee_percent: u8,
}

/// What is to be done next.
#[derive(Debug)]
pub enum Next {
    /// To wait for something else.
    Wait,
    /// To send a command.
    Send(Command),
    /// To ask once more what became of a command.
    AskAgain(Command),
    /// Nothing: the job is not driven any more.
    Gone,
}

const fn broken(state: State, error: &'static str) -> Verdict {
    Verdict { state, ending: Ending::Broken, error: Some(error) }
}

const CANCELLED: Verdict =
    Verdict { state: State::Cancelled, ending: Ending::CancelledByConsumer, error: None };

impl Drive {
    /// Something became of its attempt.
    pub fn ended(&mut self, ended: Ended, rules: Rules) -> Next {
        let Stage::Running(attempt) = &self.stage else { return Next::Wait };
        let attempt = attempt.clone();
        let (verdict, retry) = self.judge(ended);
        if !retry || attempt.number >= rules.attempts {
            return self.finish(Some(attempt), verdict, rules);
        }
        self.excluded.push(attempt.island);
        let error = verdict.error.unwrap_or_default().to_owned();
        let suspend = Suspend { job: self.job.id, attempt: attempt.id, error };
        self.stage = Stage::Suspending(attempt, verdict);
        Next::Send(Command::Suspend(Arc::new(suspend)))
    }

    fn judge(&self, ended: Ended) -> (Verdict, bool) {
        let output = self.live.has_output();
        match ended {
            Ended::Cancelled => (CANCELLED, false),
            Ended::Done if self.live.is_cancelled() => (CANCELLED, false),
            Ended::Done if output => {
                (Verdict { state: State::Completed, ending: Ending::Complete, error: None }, false)
            }
            Ended::Done => (broken(State::Failed, "no_output"), true),
            Ended::Failed { retryable: true } => (broken(State::Failed, "island_failed"), !output),
            Ended::Failed { retryable: false } => (broken(State::Failed, "input_refused"), false),
            Ended::Rejected => (broken(State::Failed, "island_rejected"), !output),
            Ended::TooMuch => (broken(State::Failed, "output_too_large"), false),
            Ended::Malformed => (broken(State::Failed, "island_failed"), !output),
            Ended::Lost => (broken(State::Failed, "island_lost"), !output),
            Ended::LeaseExpired => (broken(State::Failed, "lease_expired"), !output),
            Ended::RanTooLong => (broken(State::Timeout, "ran_too_long"), false),
        }
    }

    /// An Island takes it.
    pub fn begin(&mut self, attempt: Attempt, hold_until: Timestamp, at: Timestamp) -> Command {
        self.stage = Stage::Beginning(attempt.clone());
        Command::Begin(Arc::new(Begin {
            job: self.job.id,
            user: self.job.user,
            key: self.job.key,
            wallet: self.wallet,
            at,
            attempt,
            cap: self.cap,
            hold_until,
        }))
    }

    /// It waits no longer: nobody took it, or nobody wants it any more.
    pub fn give_up(&mut self, rules: Rules) -> Next {
        let verdict = if self.live.is_cancelled() { CANCELLED } else { broken(State::Timeout, "no_island") };
        self.finish(None, verdict, rules)
    }

    fn finish(&mut self, attempt: Option<Attempt>, verdict: Verdict, rules: Rules) -> Next {
        let price = attempt.as_ref().map_or(MicroCredits::ZERO, |attempt| attempt.price);
        let delivery = self.live.delivery(Usage::default());
        let bill = self.live.workload.measure.bill(&self.live.request, verdict.ending, &delivery);
        let cost = attempt
            .as_ref()
            .map_or(MicroCredits::ZERO, |attempt| measure::cost(bill.units, attempt.ask, attempt.price));
        self.charge_is_right = cost.get() == self.due(price.get(), verdict.ending);
        let kept = verdict.state == State::Completed || cost.is_positive();
        let finish = Finish {
            job: self.job.id,
            at: rules.now,
            user: self.job.user,
            key: self.job.key,
            workload: self.job.workload,
            state: verdict.state,
            charge: cost,
            fee: cost.percent_rounded_down(rules.fee_percent),
            units: bill.units,
            output: kept.then(|| self.live.output()).flatten(),
            message: None,
            usage: Usage::default(),
            finish_reason: None,
            error: verdict.error.map(|code| (code.to_owned(), code.to_owned())),
            unserved: None,
            attempt,
        };
        self.stage = Stage::Finishing(Arc::new(finish.clone()), 0);
        Next::Send(Command::Finish(Arc::new(finish)))
    }

    /// What a job costs, told once more (I6): its whole price when it was done, or cancelled after something had reached
    /// whoever cancelled it; else nothing.
    fn due(&self, price: i64, ending: Ending) -> i64 {
        let given = self.live.has_output();
        let delivered = self.live.delivery(Usage::default()).delivered > 0;
        let paid = given && (ending == Ending::Complete || ending != Ending::Broken && delivered);
        if paid { price } else { 0 }
    }

    /// The committer answered.
    pub fn answered(&mut self, asked: &Asked, answer: &Result<Done, JobError>, rules: Rules) -> Next {
        let lost = match answer {
            Err(JobError::InDoubt) => true,
            // It could not be looked, so it is not known any better.
            Err(JobError::Unavailable(_)) => asked.doubtful,
            _ => false,
        };
        if lost {
            return Next::AskAgain(asked.command.clone());
        }
        match (self.stage.clone(), answer) {
            (Stage::Opening(Some(attempt)), Ok(Done::Written)) => self.runs(attempt),
            (Stage::Opening(None), Ok(Done::Written)) => self.waits(),
            (Stage::Opening(_), _) => Next::Gone,
            (Stage::Beginning(attempt), Ok(_)) => self.runs(attempt),
            (Stage::Beginning(_), Err(error)) => self.finish(None, broken(State::Failed, code(error)), rules),
            (Stage::Suspending(..), Ok(_)) => self.waits(),
            (Stage::Suspending(attempt, verdict), Err(_)) => self.finish(Some(attempt), verdict, rules),
            (Stage::Finishing(finish, tried), Err(JobError::Unavailable(_))) if tried < FINISH_TRIES => {
                self.stage = Stage::Finishing(finish.clone(), tried + 1);
                Next::Send(Command::Finish(finish))
            }
            (Stage::Finishing(..), _) => Next::Gone,
            (Stage::Waiting | Stage::Running(_), _) => Next::Wait,
        }
    }

    fn runs(&mut self, attempt: Attempt) -> Next {
        self.job.state = State::Running;
        self.job.attempts = attempt.number;
        self.stage = Stage::Running(attempt);
        Next::Wait
    }

    fn waits(&mut self) -> Next {
        self.job.state = State::Pending;
        self.stage = Stage::Waiting;
        Next::Wait
    }

    /// Which job.
    pub const fn id(&self) -> JobId {
        self.job.id
    }
}

/// A job that waited and could not begin.
const fn code(error: &JobError) -> &'static str {
    match error {
        JobError::InsufficientCredits { .. } => "insufficient_credits",
        JobError::Unverified => "verification_required",
        JobError::Frozen => "account_frozen",
        JobError::InDebt { .. } => "in_debt",
        JobError::KeyRevoked => "key_revoked",
        JobError::Unavailable(_) | JobError::Replaced => "unavailable",
        _ => "internal",
    }
}
