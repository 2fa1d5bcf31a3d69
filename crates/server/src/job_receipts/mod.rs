//! The receipt of a job: the bid and where it came from, the asks that were considered and why each was passed over, the
//! clearing price, what was held, charged and earned. Signed, so that whoever has it can show it to anybody ([`keys`]), and
//! so written that its sums and its match can be checked without us ([`check`]).
//!
//! Guarantees: a receipt says what is stored, and says it the same way each time; the consumer sees all of it, the owner of an
//! Island what was earned there and nothing of the consumer's bid; nobody else sees any.

pub mod check;
pub mod keys;
pub(crate) mod store;

use db::DbError;
use serde_json::{Value, json};
use types::id::{AttemptId, IslandId, JobId, UserId};
use types::money::MicroCredits;
use types::time::Timestamp;
use types::units::Units;

use crate::app::App;
use crate::jobs::{self, Job, JobError};

/// What [`check`] knows how to read.
const VERSION: u32 = 1;

/// An attempt, as a receipt tells it.
#[derive(Clone, Debug)]
pub struct AttemptRow {
    /// Which one.
    pub id: AttemptId,
    /// From 1.
    pub number: i64,
    /// Where.
    pub island: IslandId,
    /// What its owner calls it.
    pub island_name: Option<String>,
    /// Whose Island it is.
    pub owner: Option<UserId>,
    /// The clearing price, per unit.
    pub ask: MicroCredits,
    /// What was held.
    pub hold: MicroCredits,
    /// The most it could take.
    pub units: Units,
    /// Whether the consumer owns the Island.
    pub own: bool,
    /// The asks considered, as stored.
    pub considered: String,
    /// `running`, `settled`, `released`.
    pub state: String,
    /// Why it failed.
    pub error: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// What was charged for it.
    pub charge: MicroCredits,
    /// The network's share of that.
    pub fee: MicroCredits,
}

/// A receipt and who it is for.
#[derive(Clone, Debug)]
pub struct JobReceipt {
    /// The job.
    pub job: Job,
    /// Its attempts, first to last: all for the consumer, those on own Islands for an owner.
    pub attempts: Vec<AttemptRow>,
    /// Whether it is the consumer's.
    pub for_consumer: bool,
}

/// The receipt of a job that has ended, for its consumer, or for the owner of an Island that worked on it.
///
/// # Errors
/// [`JobError::NotFound`] for anybody else, [`JobError::NotEnded`] before its end, and any other [`JobError`].
pub async fn find(app: &App, user: UserId, id: JobId) -> Result<JobReceipt, JobError> {
    let found = app
        .db
        .read("job_receipt", async move |tx| {
            let Some(job) = jobs::store::job(tx, id).await? else { return Ok(None) };
            Ok::<_, DbError>(Some((job, store::attempts(tx, id).await?)))
        })
        .await?;
    let (job, mut attempts) = found.ok_or(JobError::NotFound)?;
    let for_consumer = job.user == user;
    if !for_consumer {
        attempts.retain(|attempt| attempt.owner == Some(user));
        if attempts.is_empty() {
            return Err(JobError::NotFound);
        }
    }
    // A job that ended before receipts were kept: what each attempt cost is not stored.
    let told: i64 = attempts.iter().map(|attempt| attempt.charge.get()).sum();
    if for_consumer && job.state.is_final() && told != job.charge.get() {
        return Err(JobError::NotFound);
    }
    if job.state.is_final() {
        Ok(JobReceipt { job, attempts, for_consumer })
    } else {
        Err(JobError::NotEnded)
    }
}

impl JobReceipt {
    /// What is signed. Amounts are decimal strings, so that no reader rounds them.
    #[must_use]
    pub fn body(&self, app: &App) -> Value {
        let job = &self.job;
        let workload = app.market.by_id(job.workload).map(|market| &market.workload);
        let mut body = json!({
            "version": VERSION,
            "network": app.config.public_url(),
            "for": if self.for_consumer { "consumer" } else { "island_owner" },
            "job_id": job.id, "status": job.state.name(),
            "workload": workload.map(|workload| workload.slug.clone()),
            "unit": workload.map(|workload| workload.unit.name()),
            "created_at": job.created_at.to_string(),
            "started_at": job.started_at.map(|at| at.to_string()),
            "completed_at": job.completed_at.map(|at| at.to_string()),
            "units": units(job.units),
            "usage": {"prompt_tokens": job.usage.prompt_tokens, "completion_tokens": job.usage.completion_tokens},
            "attempts": self.attempts.iter().map(|attempt| self.attempt(attempt)).collect::<Vec<_>>(),
        });
        if let (true, Some(body)) = (self.for_consumer, body.as_object_mut()) {
            let bid = json!({
                "total": job.bid.to_string(), "per_unit": job.unit_bid.to_string(), "source": job.bid_source.name(),
            });
            body.insert("bid".to_owned(), bid);
            body.insert("charge".to_owned(), job.charge.to_string().into());
        }
        body
    }

    fn attempt(&self, attempt: &AttemptRow) -> Value {
        let earned = attempt.charge.minus(attempt.fee).unwrap_or_default();
        let mut body = json!({
            "attempt_id": attempt.id, "number": attempt.number,
            "island_id": attempt.island, "island": attempt.island_name, "own_island": attempt.own,
            "state": attempt.state, "error": attempt.error,
            "started_at": attempt.started_at.to_string(),
            "ended_at": attempt.ended_at.map(|at| at.to_string()),
            "clearing_price": attempt.ask.to_string(), "max_units": units(attempt.units),
            "hold": attempt.hold.to_string(),
            "charge": attempt.charge.to_string(), "fee": attempt.fee.to_string(),
            "island_earned": if attempt.own { "0".to_owned() } else { earned.to_string() },
        });
        if let (true, Some(body)) = (self.for_consumer, body.as_object_mut()) {
            let (asks, complete) = read_considered(&attempt.considered);
            let row = |(island, ask, verdict): &Considered| json!({"island_id": island, "ask": ask, "verdict": verdict, "reason": reason(verdict)});
            body.insert("asks_considered".to_owned(), asks.iter().map(row).collect());
            body.insert("asks_considered_all".to_owned(), complete.into());
        }
        body
    }
}

/// An ask that was looked at: whose, how much, what came of it.
pub type Considered = (IslandId, String, String);

/// The asks as stored with an attempt, in the order of choice, and whether those are all that came before the chosen one.
#[must_use]
pub fn read_considered(stored: &str) -> (Vec<Considered>, bool) {
    let rows: Vec<Option<Considered>> = serde_json::from_str(stored).unwrap_or_default();
    let complete = rows.iter().all(Option::is_some);
    (rows.into_iter().flatten().collect(), complete)
}

/// What a verdict means, as a sentence.
#[must_use]
pub fn reason(verdict: &str) -> &'static str {
    match verdict {
        "chosen" => "The job went there.",
        "busy" => "All of its slots were in use.",
        "failed_before" => "It had failed this job before.",
        "other_region" => "It stands in another region than the job asked for.",
        "other_model" => "It does not serve the model the job asked for.",
        "untrusted" => "It is not trusted as far as the job asked for.",
        "last_resort" => "Most of its last jobs failed, and another Island within the bid was free.",
        "above_bid" => "It asked for more than the bid.",
        _ => "It was passed over.",
    }
}

/// An amount of a Cargo in decimal.
#[must_use]
pub fn units(units: Units) -> String {
    // Five places of the six that micro-credits are written with.
    units.parts().checked_mul(10).map_or_else(String::new, |parts| MicroCredits::new(parts).to_string())
}
