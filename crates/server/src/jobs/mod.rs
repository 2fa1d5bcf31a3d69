//! Jobs: from a consumer's request to its one final money state.
//!
//! A job is pending (waits for an Island, reserves nothing), running (an Island works on it, its credits are held), and then
//! completed, failed, cancelled or timeout. Guarantees:
//!
//! * it is charged at most once, at the price frozen when it was matched, never above its bid (I3, I5);
//! * nothing delivered, nothing charged (I6): the rule is [`crate::marketplace::measure::Measure::bill`];
//! * job, attempt, hold and charge are written together ([`commit`], I15), and nothing is sent to an Island before its hold is durable;
//! * whatever fails, the hold ends (I7): [`drive`] ends it, [`recover`] ends what a crash left.

mod checks;
pub mod command;
pub mod commit;
pub mod drive;
pub mod elsewhere;
pub mod input;
pub mod live;
pub mod look;
pub mod message;
pub mod rebid;
pub mod recover;
pub(crate) mod store;
pub mod submit;

use std::sync::Arc;

use db::DbError;
use serde::Serialize;
use types::id::{AccountId, ApiKeyId, AttemptId, IslandId, JobId, UserId};
use types::money::MicroCredits;
use types::time::Timestamp;
use types::units::Units;

/// A consumer's request, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Which one.
    pub id: JobId,
    /// The number of the coordinator that drives it while it is open.
    pub node: u16,
    /// Whose.
    pub user: UserId,
    /// The key it came with.
    pub key: Option<ApiKeyId>,
    /// The Cargo's number.
    pub workload: i64,
    /// How it came in.
    pub origin: Origin,
    /// How far it is.
    pub state: State,
    /// What was asked, as JSON.
    pub input: Arc<str>,
    /// The most it may cost.
    pub bid: MicroCredits,
    /// The most it may cost for each unit of its Cargo, which is what the market compares.
    pub unit_bid: MicroCredits,
    /// Where the bid came from.
    pub bid_source: BidSource,
    /// Where the Island must stand.
    pub region: Option<String>,
    /// The model it wants.
    pub model: Option<String>,
    /// How far its Island must be trusted: 0 new, 1 established, 2 approved by the operator.
    pub min_trust: u8,
    /// Breaks ties between jobs of the same user, 0-100.
    pub priority: u8,
    /// When it came.
    pub created_at: Timestamp,
    /// Until when it may wait.
    pub deadline: Timestamp,
    /// When its first attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// How many Islands were tried.
    pub attempts: i64,
    /// The last Island tried.
    pub island: Option<IslandId>,
    /// What it cost.
    pub charge: MicroCredits,
    /// How much of its Cargo that was for.
    pub units: Units,
    /// What was counted.
    pub usage: Usage,
    /// Why its text ended.
    pub finish_reason: Option<String>,
    /// Why it failed: a code and a sentence.
    pub error: Option<(String, String)>,
}

/// How a job came in, which decides what becomes of it when nobody is there any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `POST /api/v1/jobs`: asked for later or streamed.
    Api,
    /// A request that waits for the answer: when its connection closes, the job is cancelled.
    Request,
    /// A page: the answer is kept for whoever comes back.
    Page,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Waits for an Island.
    Pending,
    /// An Island works on it.
    Running,
    /// Done.
    Completed,
    /// Not done.
    Failed,
    /// The consumer wanted it no more.
    Cancelled,
    /// It waited or ran too long.
    Timeout,
}

/// Where a bid came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BidSource {
    /// It was given with the job.
    Explicit,
    /// The user's own maximum for this Cargo.
    Preference,
    /// The Cargo's ceiling.
    Ceiling,
}

/// Tokens, where anybody counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the prompt.
    pub prompt_tokens: Option<i64>,
    /// Of the answer.
    pub completion_tokens: Option<i64>,
}

/// One try of a job on one Island.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Which one; also its hold and its transfer.
    pub id: AttemptId,
    /// From 1.
    pub number: i64,
    /// Where.
    pub island: IslandId,
    /// Who earns.
    pub earnings: AccountId,
    /// The most it can cost, which is held for it; nothing on one's own Island.
    pub price: MicroCredits,
    /// The Island's ask at the match, per unit: the clearing price, frozen.
    pub ask: MicroCredits,
    /// How much of the Cargo it can take at most.
    pub units: Units,
    /// Whether the consumer owns the Island.
    pub own: bool,
    /// The asks considered, as JSON.
    pub considered: String,
}

/// A finished image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Image {
    /// The file, in base64.
    #[serde(rename = "image_data")]
    pub data: String,
    /// `png`, `jpeg` or `webp`.
    pub format: String,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// The seed it was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// Why a job is refused or not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// No such Cargo.
    #[error("there is no such Cargo")]
    UnknownWorkload,
    /// A field is wrong.
    #[error("{field} {message}")]
    Invalid {
        /// Which.
        field: String,
        /// What is wrong with it.
        message: String,
    },
    /// The user has not verified who they are (I11).
    #[error("please verify your identity before spending credits")]
    Unverified,
    /// The account may not spend (I11).
    #[error("this account is frozen and cannot spend")]
    Frozen,
    /// The account owes credits (I11).
    #[error("{owed} credits are owed; what you buy pays them first")]
    InDebt {
        /// How much.
        owed: MicroCredits,
    },
    /// The key was revoked a moment ago.
    #[error("this API key has been revoked")]
    KeyRevoked,
    /// Not enough credits, or over the key's limit.
    #[error("not enough credits: {required} needed, {available} available")]
    InsufficientCredits {
        /// What it takes.
        required: MicroCredits,
        /// What there is.
        available: MicroCredits,
        /// `balance` or `key_limit`.
        reason: &'static str,
    },
    /// Too many jobs at once.
    #[error("too many jobs are waiting or running; wait for some to end")]
    TooManyJobs,
    /// Too many batches at once.
    #[error("too many batches are open, or their inputs are too long together; wait for some to end")]
    TooManyBatches,
    /// The key was used for another request (I9).
    #[error("this Idempotency-Key was used for another request")]
    KeyTaken,
    /// Not there, or another's.
    #[error("there is no such job")]
    NotFound,
    /// It waits or runs, so there is no receipt yet.
    #[error("the job has not ended yet")]
    NotEnded,
    /// It runs or has ended, so its bid cannot be raised.
    #[error("the job does not wait any more")]
    NotWaiting,
    /// It has ended, so it cannot be cancelled.
    #[error("the job has ended already")]
    Ended,
    /// The server cannot do it now; nothing was changed.
    #[error("{0}")]
    Unavailable(&'static str),
    /// Another coordinator has taken over the jobs of this one; nothing was changed.
    #[error("this coordinator is being replaced; nothing was changed, please try again")]
    Replaced,
    /// The database did not say whether it was written.
    #[error("it is not known yet whether this was saved; look before you repeat it")]
    InDoubt,
    /// A defect of ours.
    #[error("internal error")]
    Internal,
}

impl JobError {
    /// Too much is waiting to be written.
    pub const BUSY: Self = Self::Unavailable("The server is busy. Nothing was changed; please try again.");
    /// Nothing is written any more.
    pub const STOPPING: Self = Self::Unavailable("The server is shutting down.");

    /// The code a job ends with that could not begin for this reason: the one its submission would have been refused with.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::InsufficientCredits { .. } => "insufficient_credits",
            Self::Unverified => "verification_required",
            Self::Frozen => "account_frozen",
            Self::InDebt { .. } => "in_debt",
            Self::KeyRevoked => "key_revoked",
            Self::TooManyJobs => "too_many_jobs",
            Self::UnknownWorkload => "unknown_workload",
            Self::Invalid { .. } => "invalid",
            Self::Unavailable(_) | Self::Replaced => "unavailable",
            _ => "internal",
        }
    }
}

impl From<DbError> for JobError {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Busy => Self::BUSY,
            DbError::Unknown(error) => {
                tracing::warn!(error, "it is not known whether a transaction was kept");
                Self::InDoubt
            }
            DbError::Unwritable(_) | DbError::Closed => {
                tracing::error!(%error, "a job could not be written");
                Self::Unavailable("The server cannot save anything right now. Nothing was changed.")
            }
            error => {
                tracing::error!(%error, "a job could not be written");
                Self::Internal
            }
        }
    }
}

/// How an attempt ended, as far as money is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The Island did all of it.
    Complete,
    /// It failed, was lost, or took too long.
    Broken,
    /// The consumer wanted it no more.
    CancelledByConsumer,
    /// The Island gave what is no answer, or we went away: nobody pays for it.
    Void,
}

impl Image {
    /// As stored and as clients read it.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Job {
    /// From the first attempt to the end.
    #[must_use]
    pub fn duration_ms(&self) -> Option<i64> {
        Some(self.completed_at?.millis_since(self.started_at?).max(0))
    }
}

impl State {
    const ALL: [Self; 6] =
        [Self::Pending, Self::Running, Self::Completed, Self::Failed, Self::Cancelled, Self::Timeout];

    /// As stored and as written in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Timeout => "timeout",
        }
    }

    /// From what is stored.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether it is over.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }
}

impl Origin {
    /// As stored.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Request => "request",
            Self::Page => "page",
        }
    }

    /// From what is stored.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Api, Self::Request, Self::Page].into_iter().find(|origin| origin.name() == name)
    }
}

impl BidSource {
    /// As stored and as written in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Explicit => "explicit",
            Self::Preference => "preference",
            Self::Ceiling => "ceiling",
        }
    }

    /// From what is stored.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Explicit, Self::Preference, Self::Ceiling].into_iter().find(|source| source.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_the_words_existing_clients_know() {
        for state in State::ALL {
            assert_eq!(State::from_name(state.name()), Some(state));
        }
        assert_eq!(State::from_name("succeeded"), None);
    }
}
