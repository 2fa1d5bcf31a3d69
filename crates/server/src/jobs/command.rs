//! What the hot path can be asked to write. [`commit`](super::commit) writes it.

use std::sync::Arc;

use types::id::{AccountId, ApiKeyId, AttemptId, JobId, UserId};
use types::money::MicroCredits;
use types::time::Timestamp;
use types::units::Units;

use super::{Attempt, Job, State, Usage};
use crate::idempotency::{Answer, Claim};

/// Something to commit. Cheap to clone: whoever sends it keeps it, to ask again should its fate not be known.
#[derive(Clone, Debug)]
pub enum Command {
    /// A new job: with an attempt it runs, without it waits.
    Open(Arc<Open>),
    /// A waiting job begins its next attempt.
    Begin(Arc<Begin>),
    /// An attempt failed before giving anything; the job waits for another Island.
    Suspend(Arc<Suspend>),
    /// A job ends.
    Finish(Arc<Finish>),
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
    /// The request's claim on its key, and its answer unless that is how the job ends (I9).
    pub idempotency: Option<(Claim, Option<Answer>)>,
}

/// The next attempt of a job.
#[derive(Clone, Debug)]
pub struct Begin {
    /// The job.
    pub job: JobId,
    /// Its user.
    pub user: UserId,
    /// Its key.
    pub key: Option<ApiKeyId>,
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
    /// Its user.
    pub user: UserId,
    /// Its key.
    pub key: Option<ApiKeyId>,
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
    /// How much of the Cargo was charged for.
    pub units: Units,
    /// What it gave.
    pub output: Option<String>,
    /// What its answer has beyond text, as JSON.
    pub message: Option<String>,
    /// What was counted.
    pub usage: Usage,
    /// Why its text ended.
    pub finish_reason: Option<String>,
    /// Why it failed.
    pub error: Option<(String, String)>,
    /// What it bid per unit, if it ended because no Island took it.
    pub unserved: Option<MicroCredits>,
}

impl Command {
    /// The job it is about.
    #[must_use]
    pub fn job(&self) -> JobId {
        match self {
            Self::Open(open) => open.job.id,
            Self::Begin(begin) => begin.job,
            Self::Suspend(suspend) => suspend.job,
            Self::Finish(finish) => finish.job,
        }
    }

    /// Who wants to spend, with which key.
    #[must_use]
    pub fn spender(&self) -> Option<(UserId, Option<ApiKeyId>)> {
        match self {
            Self::Open(open) => Some((open.job.user, open.job.key)),
            Self::Begin(begin) => Some((begin.user, begin.key)),
            Self::Suspend(_) | Self::Finish(_) => None,
        }
    }

    /// The attempt it begins or ends, of those that do nothing else.
    #[must_use]
    pub fn attempt(&self) -> Option<AttemptId> {
        match self {
            Self::Begin(begin) => Some(begin.attempt.id),
            Self::Suspend(suspend) => Some(suspend.attempt),
            Self::Open(_) | Self::Finish(_) => None,
        }
    }
}
